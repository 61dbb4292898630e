"""Overlap of axis-aligned boxes (x1, y1, x2, y2), every pair of two sets at once, in float32.

IoU is 0 where either box has no area. NaN corners give NaN or 0, never an error: check boxes where they enter.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["diou_matrix", "giou_matrix", "iou_matrix"]

Float32Array = npt.NDArray[np.float32]


def iou_matrix(a_xyxy: npt.ArrayLike, b_xyxy: npt.ArrayLike) -> Float32Array:
    """Intersection over union of every pair.

    Args:
        a_xyxy: (N, 4) corners.
        b_xyxy: (M, 4) corners.

    Returns:
        (N, M) f32, 0 ... 1.

    Raises:
        ValueError: a shape is wrong.

    >>> iou_matrix([[0, 0, 2, 2]], [[1, 0, 3, 2], [5, 5, 6, 6]]).round(4).tolist()
    [[0.33329999446868896, 0.0]]
    """
    result: Float32Array
    try:
        result = _iou_matrix(a_xyxy, b_xyxy)
    except (TypeError, AttributeError):  # another type or layout than the compiled one: the fast path checks nothing
        a = as_array("a_xyxy", a_xyxy, np.float32, (None, 4))
        result = _iou_matrix(a, as_array("b_xyxy", b_xyxy, np.float32, (None, 4)))
    return result


def giou_matrix(a_xyxy: npt.ArrayLike, b_xyxy: npt.ArrayLike) -> Float32Array:
    """Generalised IoU of every pair (Rezatofighi et al., CVPR 2019): IoU less the hull's empty share.

    Args:
        a_xyxy: (N, 4) corners.
        b_xyxy: (M, 4) corners.

    Returns:
        (N, M) f32, -1 ... 1; -1 where the hull has no area.

    Raises:
        ValueError: a shape is wrong.
    """
    result: Float32Array = _giou_matrix(
        as_array("a_xyxy", a_xyxy, np.float32, (None, 4)), as_array("b_xyxy", b_xyxy, np.float32, (None, 4))
    )
    return result


def diou_matrix(a_xyxy: npt.ArrayLike, b_xyxy: npt.ArrayLike) -> Float32Array:
    """Distance IoU of every pair (Zheng et al., AAAI 2020): IoU less squared centre distance over the hull's diagonal.

    Args:
        a_xyxy: (N, 4) corners.
        b_xyxy: (M, 4) corners.

    Returns:
        (N, M) f32, -1 ... 1.

    Raises:
        ValueError: a shape is wrong.
    """
    result: Float32Array = _diou_matrix(
        as_array("a_xyxy", a_xyxy, np.float32, (None, 4)), as_array("b_xyxy", b_xyxy, np.float32, (None, 4))
    )
    return result


@njit("float32[:, ::1](float32[:, ::1], float32[:, ::1])", cache=True, nogil=True)
def _iou_matrix(a, b):  # type: ignore[no-untyped-def]
    if a.shape[1] != 4 or b.shape[1] != 4:
        raise ValueError("boxes must be (N, 4) but their second axis is not 4")
    zero = np.float32(0.0)
    rows, columns = a.shape[0], b.shape[0]
    out = np.empty((rows, columns), np.float32)
    # columns as arrays of their own: the inner loop then becomes SIMD
    corner = np.empty((5, columns), np.float32)
    x1, y1, x2, y2, area = corner[0], corner[1], corner[2], corner[3], corner[4]
    for j in range(columns):
        x1[j], y1[j], x2[j], y2[j] = b[j, 0], b[j, 1], b[j, 2], b[j, 3]
        area[j] = (x2[j] - x1[j]) * (y2[j] - y1[j])
    for i in range(rows):
        ax1, ay1, ax2, ay2 = a[i, 0], a[i, 1], a[i, 2], a[i, 3]
        a_area = (ax2 - ax1) * (ay2 - ay1)
        line = out[i]
        for j in range(columns):
            left = ax1 if ax1 > x1[j] else x1[j]
            top = ay1 if ay1 > y1[j] else y1[j]
            right = ax2 if ax2 < x2[j] else x2[j]
            bottom = ay2 if ay2 < y2[j] else y2[j]
            width = right - left
            height = bottom - top
            width = width if width > zero else zero
            height = height if height > zero else zero
            inter = width * height
            union = a_area + area[j] - inter
            # a division by 1 where there is no union keeps the loop free of branches
            safe = union if union > zero else np.float32(1.0)
            line[j] = inter / safe
    return out


@njit("float32[:, ::1](float32[:, ::1], float32[:, ::1])", cache=True, nogil=True)
def _giou_matrix(a, b):  # type: ignore[no-untyped-def]
    zero = np.float32(0.0)
    one = np.float32(1.0)
    out = np.empty((a.shape[0], b.shape[0]), np.float32)
    for i in range(a.shape[0]):
        ax1, ay1, ax2, ay2 = a[i, 0], a[i, 1], a[i, 2], a[i, 3]
        for j in range(b.shape[0]):
            bx1, by1, bx2, by2 = b[j, 0], b[j, 1], b[j, 2], b[j, 3]
            inter = max(min(ax2, bx2) - max(ax1, bx1), zero) * max(min(ay2, by2) - max(ay1, by1), zero)
            union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inter
            hull = (max(ax2, bx2) - min(ax1, bx1)) * (max(ay2, by2) - min(ay1, by1))
            iou = inter / union if union > zero else zero
            out[i, j] = iou - (hull - union) / hull if hull > zero else -one
    return out


@njit("float32[:, ::1](float32[:, ::1], float32[:, ::1])", cache=True, nogil=True)
def _diou_matrix(a, b):  # type: ignore[no-untyped-def]
    zero = np.float32(0.0)
    quarter = np.float32(0.25)
    out = np.empty((a.shape[0], b.shape[0]), np.float32)
    for i in range(a.shape[0]):
        ax1, ay1, ax2, ay2 = a[i, 0], a[i, 1], a[i, 2], a[i, 3]
        for j in range(b.shape[0]):
            bx1, by1, bx2, by2 = b[j, 0], b[j, 1], b[j, 2], b[j, 3]
            inter = max(min(ax2, bx2) - max(ax1, bx1), zero) * max(min(ay2, by2) - max(ay1, by1), zero)
            union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inter
            hull_x = max(ax2, bx2) - min(ax1, bx1)
            hull_y = max(ay2, by2) - min(ay1, by1)
            diagonal = hull_x * hull_x + hull_y * hull_y
            apart_x = ax1 + ax2 - bx1 - bx2
            apart_y = ay1 + ay2 - by1 - by2
            iou = inter / union if union > zero else zero
            apart = quarter * (apart_x * apart_x + apart_y * apart_y)
            out[i, j] = iou - apart / diagonal if diagonal > zero else iou
    return out
