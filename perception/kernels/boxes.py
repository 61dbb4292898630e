"""Overlap of axis-aligned boxes (x1, y1, x2, y2), every pair of two sets at once, in float32.

All three measures check the boxes they are given, within the kernel: corners must be finite with x1 <= x2 and y1 <= y2.
With ``out`` given nothing is allocated but the columns' workspace, 12 KB whatever the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array, as_boxes

__all__ = ["diou_matrix", "giou_matrix", "iou_matrix"]

Float32Array = npt.NDArray[np.float32]

_FLOAT32 = np.dtype(np.float32)
_IOU, _GIOU, _DIOU = 0, 1, 2


def iou_matrix(a_xyxy: npt.ArrayLike, b_xyxy: npt.ArrayLike, out: Float32Array | None = None) -> Float32Array:
    """Intersection over union of every pair.

    Args:
        a_xyxy: (N, 4) corners.
        b_xyxy: (M, 4) corners.
        out: (N, M) C-contiguous f32 to write to and return; a new array without it.

    Returns:
        (N, M) f32, 0 ... 1; 0 where either box has no area.

    Raises:
        ValueError: a shape is wrong, or a row is not finite or has its corners out of order; the message names it.

    >>> iou_matrix([[0, 0, 2, 2]], [[1, 0, 3, 2], [5, 5, 6, 6]]).round(4).tolist()
    [[0.33329999446868896, 0.0]]
    """
    try:
        if out is None:
            out = np.empty((len(a_xyxy), len(b_xyxy)), _FLOAT32)  # type: ignore[arg-type]
        _iou(a_xyxy, b_xyxy, out)
    except (TypeError, ValueError, AttributeError):  # as in _measured, which costs a call more
        return _measured(_iou, a_xyxy, b_xyxy, out)
    return out


def giou_matrix(a_xyxy: npt.ArrayLike, b_xyxy: npt.ArrayLike, out: Float32Array | None = None) -> Float32Array:
    """Generalised IoU of every pair (Rezatofighi et al., CVPR 2019): IoU less the hull's empty share.

    Arguments and errors are those of ``iou_matrix``.

    Returns:
        (N, M) f32, -1 ... 1; -1 where the hull has no area.
    """
    return _measured(_giou, a_xyxy, b_xyxy, out)


def diou_matrix(a_xyxy: npt.ArrayLike, b_xyxy: npt.ArrayLike, out: Float32Array | None = None) -> Float32Array:
    """Distance IoU of every pair (Zheng et al., AAAI 2020): IoU less squared centre distance over the hull's diagonal.

    Arguments and errors are those of ``iou_matrix``.

    Returns:
        (N, M) f32, -1 ... 1.
    """
    return _measured(_diou, a_xyxy, b_xyxy, out)


def _measured(kernel: Callable[..., None], a_xyxy: npt.ArrayLike, b_xyxy: npt.ArrayLike, out: Any) -> Float32Array:
    try:
        result = np.empty((len(a_xyxy), len(b_xyxy)), _FLOAT32) if out is None else out  # type: ignore[arg-type]
        kernel(a_xyxy, b_xyxy, result)
    except (TypeError, ValueError, AttributeError):  # another type, layout or shape than the compiled one, or a bad box
        a, b = as_boxes("a_xyxy", a_xyxy), as_boxes("b_xyxy", b_xyxy)
        result = (
            np.empty((len(a), len(b)), _FLOAT32) if out is None else as_array("out", out, _FLOAT32, (len(a), len(b)))
        )
        if out is not None and result is not out:
            raise ValueError("out must be a C-contiguous, writable float32 array") from None
        kernel(a, b, result)
    return result


def _kernel(measure: int) -> Callable[..., None]:
    """One of the three measures, compiled by itself: what ``measure`` rules out is not in it."""

    @njit("void(float32[:, ::1], float32[:, ::1], float32[:, ::1])", cache=True, error_model="numpy")
    def overlap(a, b, out):  # type: ignore[no-untyped-def]
        zero, one, quarter = np.float32(0.0), np.float32(1.0), np.float32(0.25)
        rows, columns = a.shape[0], b.shape[0]
        if a.shape[1] != 4 or b.shape[1] != 4 or out.shape[0] != rows or out.shape[1] != columns:
            raise ValueError("boxes must be (N, 4) and (M, 4), and out (N, M)")
        # Corners and areas of up to 512 columns, and a row of results, each in an array of its own: the inner loop is
        # then SIMD. Constant distances between them, and whole eights, spare it most of its checks.
        work = np.empty(6 * 512, np.float32)
        bad = 0
        for first in range(0, max(columns, 1), 512):
            count = min(512, columns - first)
            for j in range(count):
                x1, y1, x2, y2 = b[first + j, 0], b[first + j, 1], b[first + j, 2], b[first + j, 3]
                area = (x2 - x1) * (y2 - y1)
                # false for NaN, infinite and inverted corners alike
                bad += np.int64(not (x2 >= x1 and y2 >= y1 and area < np.inf))
                work[j], work[512 + j], work[2 * 512 + j], work[3 * 512 + j] = x1, y1, x2, y2
                work[4 * 512 + j] = area
            whole = (count + 7) & -8
            for j in range(count, whole):
                work[j] = work[512 + j] = work[2 * 512 + j] = work[3 * 512 + j] = work[4 * 512 + j] = zero
            for i in range(rows):
                ax1, ay1, ax2, ay2 = a[i, 0], a[i, 1], a[i, 2], a[i, 3]
                a_area = (ax2 - ax1) * (ay2 - ay1)
                bad += np.int64(not (ax2 >= ax1 and ay2 >= ay1 and a_area < np.inf))
                for j in range(whole):
                    x1, y1, x2, y2 = work[j], work[512 + j], work[2 * 512 + j], work[3 * 512 + j]
                    left, top = ax1 if ax1 > x1 else x1, ay1 if ay1 > y1 else y1
                    right, bottom = ax2 if ax2 < x2 else x2, ay2 if ay2 < y2 else y2
                    width, height = right - left, bottom - top
                    inter = (width if width > zero else zero) * (height if height > zero else zero)
                    union = a_area + work[4 * 512 + j] - inter
                    # a division by 1 where there is nothing to divide by keeps the loop free of branches
                    result = inter / (union if union > zero else one)
                    if measure != _IOU:
                        hull_x = (ax2 if ax2 > x2 else x2) - (ax1 if ax1 < x1 else x1)
                        hull_y = (ay2 if ay2 > y2 else y2) - (ay1 if ay1 < y1 else y1)
                        if measure == _GIOU:
                            hull = hull_x * hull_y
                            empty = (hull - union) / (hull if hull > zero else one)
                            result = result - empty if hull > zero else -one
                        else:
                            diagonal = hull_x * hull_x + hull_y * hull_y
                            apart_x, apart_y = ax1 + ax2 - x1 - x2, ay1 + ay2 - y1 - y2
                            apart = quarter * (apart_x * apart_x + apart_y * apart_y)
                            result -= apart / (diagonal if diagonal > zero else one)
                    work[5 * 512 + j] = result
                for j in range(count):
                    out[i, first + j] = work[5 * 512 + j]
        if bad > 0:
            raise ValueError("boxes must be finite with x1 <= x2 and y1 <= y2, and their areas within float32")

    return overlap  # type: ignore[no-any-return]


_iou, _giou, _diou = _kernel(_IOU), _kernel(_GIOU), _kernel(_DIOU)
