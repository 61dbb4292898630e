"""Overlap of rotated boxes seen from above, and of upright 3D boxes, exact to rounding.

Boxes from above are rows ``(x, y, length, width, yaw)``: length lies along the yaw, which turns x towards y. 3D boxes
are rows ``(x, y, z, length, width, height, yaw)`` with their geometric centre and yaw about z. Metres and radians, but
any unit works. A box with a side of 0 or less overlaps nothing.

Public: ``pairwise_bev_iou`` and ``pairwise_iou_3d`` (every row with every row), ``paired_bev_overlap`` and
``paired_overlap_3d`` (listed pairs, giving intersections too, for measures that need more than IoU, such as
generalised IoU or overlap with one box's own area).

The intersection is the first rectangle clipped at the four sides of the second (Sutherland and Hodgman, 1974) in the
second one's own axes, where each clip compares one coordinate; the area is by the shoelace formula about a corner.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["paired_bev_overlap", "paired_overlap_3d", "pairwise_bev_iou", "pairwise_iou_3d"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@njit("i8(f8[:,::1],i8,f8[:,::1],i8,f8,f8)", cache=True, nogil=True)
def _clip(polygon: Float64Array, count: int, out: Float64Array, axis: int, sign: float, limit: float) -> int:
    """Keeps the part of a convex polygon where ``sign * coordinate <= limit``."""
    kept = 0
    for i in range(count):
        j = i + 1 if i + 1 < count else 0
        from_inside = limit - sign * polygon[i, axis]
        to_inside = limit - sign * polygon[j, axis]
        if from_inside >= 0.0:
            out[kept, 0] = polygon[i, 0]
            out[kept, 1] = polygon[i, 1]
            kept += 1
        if (from_inside > 0.0 and to_inside < 0.0) or (from_inside < 0.0 and to_inside > 0.0):
            part = from_inside / (from_inside - to_inside)
            out[kept, 0] = polygon[i, 0] + part * (polygon[j, 0] - polygon[i, 0])
            out[kept, 1] = polygon[i, 1] + part * (polygon[j, 1] - polygon[i, 1])
            # exactly on the line, so that the next clip sees no rounding
            out[kept, axis] = sign * limit
            kept += 1
    return kept


@njit("f8(f8[::1],f8[::1],f8[:,::1],f8[:,::1])", cache=True, nogil=True)
def _intersection(a: Float64Array, b: Float64Array, front: Float64Array, back: Float64Array) -> float:
    if not (a[2] > 0.0 and a[3] > 0.0 and b[2] > 0.0 and b[3] > 0.0):
        return 0.0
    dx, dy = a[0] - b[0], a[1] - b[1]
    reach = 0.5 * (np.sqrt(a[2] * a[2] + a[3] * a[3]) + np.sqrt(b[2] * b[2] + b[3] * b[3]))
    if dx * dx + dy * dy > reach * reach:
        return 0.0
    cos_b, sin_b = np.cos(b[4]), np.sin(b[4])
    center_x = cos_b * dx + sin_b * dy
    center_y = -sin_b * dx + cos_b * dy
    turn = a[4] - b[4]
    cosine, sine = np.cos(turn), np.sin(turn)
    half_l, half_w = 0.5 * a[2], 0.5 * a[3]
    for k in range(4):
        along = half_l if k == 0 or k == 3 else -half_l
        across = half_w if k < 2 else -half_w
        front[k, 0] = center_x + cosine * along - sine * across
        front[k, 1] = center_y + sine * along + cosine * across
    count = _clip(front, 4, back, 0, 1.0, 0.5 * b[2])
    count = _clip(back, count, front, 0, -1.0, 0.5 * b[2])
    count = _clip(front, count, back, 1, 1.0, 0.5 * b[3])
    count = _clip(back, count, front, 1, -1.0, 0.5 * b[3])
    twice = 0.0
    for k in range(1, count - 1):
        twice += (front[k, 0] - front[0, 0]) * (front[k + 1, 1] - front[0, 1])
        twice -= (front[k + 1, 0] - front[0, 0]) * (front[k, 1] - front[0, 1])
    return max(0.5 * twice, 0.0)


@njit("f8[:,::1](f8[:,::1],f8[:,::1],i8[::1],i8[::1])", cache=True, nogil=True)
def _paired_bev(a: Float64Array, b: Float64Array, rows_a: Int64Array, rows_b: Int64Array) -> Float64Array:
    out = np.zeros((len(rows_a), 2))
    front, back = np.empty((16, 2)), np.empty((16, 2))
    for k in range(len(rows_a)):
        box_a, box_b = a[rows_a[k]], b[rows_b[k]]
        inter = _intersection(box_a, box_b, front, back)
        if inter > 0.0:
            out[k, 0] = inter
            out[k, 1] = inter / (box_a[2] * box_a[3] + box_b[2] * box_b[3] - inter)
    return out


@njit("f8[:,::1](f8[:,::1],f8[:,::1],i8[::1],i8[::1])", cache=True, nogil=True)
def _paired_3d(a: Float64Array, b: Float64Array, rows_a: Int64Array, rows_b: Int64Array) -> Float64Array:
    out = np.zeros((len(rows_a), 2))
    front, back = np.empty((16, 2)), np.empty((16, 2))
    flat_a, flat_b = np.empty(5), np.empty(5)
    for k in range(len(rows_a)):
        i, j = rows_a[k], rows_b[k]
        tall = min(a[i, 2] + 0.5 * a[i, 5], b[j, 2] + 0.5 * b[j, 5]) - max(
            a[i, 2] - 0.5 * a[i, 5], b[j, 2] - 0.5 * b[j, 5]
        )
        if not tall > 0.0:
            continue
        flat_a[0], flat_a[1], flat_a[2], flat_a[3], flat_a[4] = a[i, 0], a[i, 1], a[i, 3], a[i, 4], a[i, 6]
        flat_b[0], flat_b[1], flat_b[2], flat_b[3], flat_b[4] = b[j, 0], b[j, 1], b[j, 3], b[j, 4], b[j, 6]
        inter = _intersection(flat_a, flat_b, front, back) * tall
        if inter > 0.0:
            out[k, 0] = inter
            out[k, 1] = inter / (a[i, 3] * a[i, 4] * a[i, 5] + b[j, 3] * b[j, 4] * b[j, 5] - inter)
    return out


def _rows(name: str, rows: npt.ArrayLike, count: int, limit: int) -> Int64Array:
    array: Int64Array = as_array(name, rows, np.int64, (None,))
    if len(array) != count:
        raise ValueError(f"rows_a and rows_b must be of one length but got {count} and {len(array)}")
    if len(array) and not (0 <= int(array.min()) and int(array.max()) < limit):
        raise ValueError(f"{name} must lie in 0 ... {limit - 1} but spans {int(array.min())} ... {int(array.max())}")
    return array


def paired_bev_overlap(
    boxes_a: npt.ArrayLike, boxes_b: npt.ArrayLike, rows_a: npt.ArrayLike, rows_b: npt.ArrayLike
) -> tuple[Float64Array, Float64Array]:
    """Intersection area and IoU (K,) of the listed pairs.

    Args:
        boxes_a: (N, 5) x, y, length, width, yaw.
        boxes_b: (M, 5).
        rows_a: (K,) rows of ``boxes_a``.
        rows_b: (K,) rows of ``boxes_b``.
    """
    a, b = as_array("boxes_a", boxes_a, np.float64, (None, 5)), as_array("boxes_b", boxes_b, np.float64, (None, 5))
    count = len(np.atleast_1d(rows_a))
    out = _paired_bev(a, b, _rows("rows_a", rows_a, count, len(a)), _rows("rows_b", rows_b, count, len(b)))
    return out[:, 0], out[:, 1]


def paired_overlap_3d(
    boxes_a: npt.ArrayLike, boxes_b: npt.ArrayLike, rows_a: npt.ArrayLike, rows_b: npt.ArrayLike
) -> tuple[Float64Array, Float64Array]:
    """Intersection volume and IoU (K,) of the listed pairs.

    Args:
        boxes_a: (N, 7) x, y, z, length, width, height, yaw.
        boxes_b: (M, 7).
        rows_a: (K,) rows of ``boxes_a``.
        rows_b: (K,) rows of ``boxes_b``.
    """
    a, b = as_array("boxes_a", boxes_a, np.float64, (None, 7)), as_array("boxes_b", boxes_b, np.float64, (None, 7))
    count = len(np.atleast_1d(rows_a))
    out = _paired_3d(a, b, _rows("rows_a", rows_a, count, len(a)), _rows("rows_b", rows_b, count, len(b)))
    return out[:, 0], out[:, 1]


def pairwise_bev_iou(boxes_a: npt.ArrayLike, boxes_b: npt.ArrayLike) -> Float64Array:
    """(N, M) IoU from above of (N, 5) and (M, 5) boxes x, y, length, width, yaw.

    >>> pairwise_bev_iou([[0, 0, 2, 2, 0]], [[1, 0, 2, 2, 0], [0, 0, 2, 2, np.pi / 2]]).round(9).tolist()
    [[0.333333333, 1.0]]
    """
    a, b = as_array("boxes_a", boxes_a, np.float64, (None, 5)), as_array("boxes_b", boxes_b, np.float64, (None, 5))
    rows_a, rows_b = np.repeat(np.arange(len(a)), len(b)), np.tile(np.arange(len(b)), len(a))
    return np.asarray(_paired_bev(a, b, rows_a, rows_b)[:, 1].reshape(len(a), len(b)))


def pairwise_iou_3d(boxes_a: npt.ArrayLike, boxes_b: npt.ArrayLike) -> Float64Array:
    """(N, M) IoU of (N, 7) and (M, 7) upright boxes x, y, z, length, width, height, yaw."""
    a, b = as_array("boxes_a", boxes_a, np.float64, (None, 7)), as_array("boxes_b", boxes_b, np.float64, (None, 7))
    rows_a, rows_b = np.repeat(np.arange(len(a)), len(b)), np.tile(np.arange(len(b)), len(a))
    return np.asarray(_paired_3d(a, b, rows_a, rows_b)[:, 1].reshape(len(a), len(b)))
