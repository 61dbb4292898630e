"""Generalised and distance IoU of rotated boxes seen from above and of upright 3D boxes, every pair of two sets.

The layouts are those of ``perception.kernels.rotated_iou``, which gives plain IoU: (x, y, length, width, yaw) from
above and (x, y, z, length, width, height, yaw) in 3D. The hull of two boxes is their convex hull (times the joint
height in 3D), as in the generalised IoU of AB3DMOT.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array
from perception.kernels.rotated_iou import pairwise_bev_iou, pairwise_iou_3d

__all__ = ["bev_diou_matrix", "bev_giou_matrix", "diou_3d_matrix", "giou_3d_matrix"]

Float64Array = npt.NDArray[np.float64]


def bev_giou_matrix(a_bev: npt.ArrayLike, b_bev: npt.ArrayLike) -> Float64Array:
    """(N, M) generalised IoU of (N, 5) and (M, 5) boxes, -1 ... 1."""
    a = as_array("a_bev", a_bev, np.float64, (None, 5))
    b = as_array("b_bev", b_bev, np.float64, (None, 5))
    result: Float64Array = _giou(_raised(a), _raised(b), np.ascontiguousarray(pairwise_bev_iou(a, b)))
    return result


def giou_3d_matrix(a_boxes: npt.ArrayLike, b_boxes: npt.ArrayLike) -> Float64Array:
    """(N, M) generalised IoU of (N, 7) and (M, 7) upright boxes, -1 ... 1."""
    a = as_array("a_boxes", a_boxes, np.float64, (None, 7))
    b = as_array("b_boxes", b_boxes, np.float64, (None, 7))
    result: Float64Array = _giou(a, b, np.ascontiguousarray(pairwise_iou_3d(a, b)))
    return result


def bev_diou_matrix(a_bev: npt.ArrayLike, b_bev: npt.ArrayLike) -> Float64Array:
    """(N, M) IoU less the squared distance of centres over the squared diameter of the pair's corners."""
    a = as_array("a_bev", a_bev, np.float64, (None, 5))
    b = as_array("b_bev", b_bev, np.float64, (None, 5))
    result: Float64Array = pairwise_bev_iou(a, b) - _apart(_raised(a, 0.0), _raised(b, 0.0))
    return result


def diou_3d_matrix(a_boxes: npt.ArrayLike, b_boxes: npt.ArrayLike) -> Float64Array:
    """(N, M) 3D IoU less the squared distance of centres over the squared diameter of the pair's corners."""
    a = as_array("a_boxes", a_boxes, np.float64, (None, 7))
    b = as_array("b_boxes", b_boxes, np.float64, (None, 7))
    result: Float64Array = pairwise_iou_3d(a, b) - _apart(a, b)
    return result


def _raised(boxes_bev: Float64Array, height: float = 1.0) -> Float64Array:
    """Boxes from above as 3D boxes of one height, so that areas are volumes."""
    out = np.zeros((len(boxes_bev), 7))
    out[:, [0, 1, 3, 4, 6]] = boxes_bev
    out[:, 5] = height
    return out


@njit("void(float64[::1], float64[:, ::1], int64)", cache=True, nogil=True)
def _corners(box, out, start):  # type: ignore[no-untyped-def]
    cosine, sine = np.cos(box[6]), np.sin(box[6])
    for k in range(4):
        along = 0.5 * box[3] if k == 0 or k == 3 else -0.5 * box[3]
        across = 0.5 * box[4] if k < 2 else -0.5 * box[4]
        out[start + k, 0] = box[0] + cosine * along - sine * across
        out[start + k, 1] = box[1] + sine * along + cosine * across


@njit("float64(float64[:, ::1])", cache=True, nogil=True)
def _hull_area(points):  # type: ignore[no-untyped-def]
    """Area of the convex hull of a few points: gift wrapping with the shoelace sum on the way."""
    count = points.shape[0]
    start = 0
    for k in range(1, count):
        if points[k, 0] < points[start, 0] or (points[k, 0] == points[start, 0] and points[k, 1] < points[start, 1]):
            start = k
    area = 0.0
    at = start
    for _ in range(count):
        following = -1
        for k in range(count):
            if points[k, 0] == points[at, 0] and points[k, 1] == points[at, 1]:
                continue
            if following < 0:
                following = k
                continue
            fx, fy = points[following, 0] - points[at, 0], points[following, 1] - points[at, 1]
            kx, ky = points[k, 0] - points[at, 0], points[k, 1] - points[at, 1]
            side = fx * ky - fy * kx
            if side < 0.0 or (side == 0.0 and kx * kx + ky * ky > fx * fx + fy * fy):
                following = k
        if following < 0:
            return 0.0
        area += points[at, 0] * points[following, 1] - points[following, 0] * points[at, 1]
        at = following
        if points[at, 0] == points[start, 0] and points[at, 1] == points[start, 1]:
            break
    return 0.5 * abs(area)


@njit("float64[:, ::1](float64[:, ::1], float64[:, ::1], float64[:, ::1])", cache=True, nogil=True)
def _giou(a, b, iou):  # type: ignore[no-untyped-def]
    out = np.empty((a.shape[0], b.shape[0]))
    points = np.empty((8, 2))
    for i in range(a.shape[0]):
        a_volume = a[i, 3] * a[i, 4] * a[i, 5]
        _corners(a[i], points, 0)
        for j in range(b.shape[0]):
            b_volume = b[j, 3] * b[j, 4] * b[j, 5]
            _corners(b[j], points, 4)
            top = max(a[i, 2] + 0.5 * a[i, 5], b[j, 2] + 0.5 * b[j, 5])
            bottom = min(a[i, 2] - 0.5 * a[i, 5], b[j, 2] - 0.5 * b[j, 5])
            hull = _hull_area(points) * (top - bottom)
            # iou = inter / (a + b - inter), so the union follows without clipping again
            union = (a_volume + b_volume) / (1.0 + iou[i, j])
            out[i, j] = iou[i, j] - (hull - union) / hull if hull > 0.0 else -1.0
    return out


@njit("float64[:, ::1](float64[:, ::1], float64[:, ::1])", cache=True, nogil=True)
def _apart(a, b):  # type: ignore[no-untyped-def]
    out = np.empty((a.shape[0], b.shape[0]))
    points = np.empty((8, 2))
    for i in range(a.shape[0]):
        _corners(a[i], points, 0)
        for j in range(b.shape[0]):
            _corners(b[j], points, 4)
            widest = 0.0
            for k in range(8):
                for m in range(k):
                    x, y = points[k, 0] - points[m, 0], points[k, 1] - points[m, 1]
                    widest = max(widest, x * x + y * y)
            top = max(a[i, 2] + 0.5 * a[i, 5], b[j, 2] + 0.5 * b[j, 5])
            bottom = min(a[i, 2] - 0.5 * a[i, 5], b[j, 2] - 0.5 * b[j, 5])
            x, y, z = a[i, 0] - b[j, 0], a[i, 1] - b[j, 1], a[i, 2] - b[j, 2]
            diameter = widest + (top - bottom) ** 2
            out[i, j] = (x * x + y * y + z * z) / diameter if diameter > 0.0 else 0.0
    return out
