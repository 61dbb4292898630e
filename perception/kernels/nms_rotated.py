"""Greedy non-maximum suppression of rotated boxes seen from above, of upright 3D boxes, and by any overlap matrix."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array
from perception.kernels.rotated_iou import pairwise_bev_iou, pairwise_iou_3d

__all__ = ["nms_3d", "nms_by_overlap", "nms_rotated"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


# candidates whose overlaps are held at once: memory grows with the boxes, not with their square
_BATCH = 256


def nms_rotated(boxes_bev: npt.ArrayLike, scores: npt.ArrayLike, iou_threshold: float) -> Int64Array:
    """Rows of (N, 5) boxes x, y, length, width, yaw that stay, best first.

    Raises:
        ValueError: a shape is wrong or a value is not finite.
    """
    boxes = _finite("boxes_bev", as_array("boxes_bev", boxes_bev, np.float64, (None, 5)))
    return _suppress(boxes, scores, iou_threshold, pairwise_bev_iou)


def nms_3d(boxes: npt.ArrayLike, scores: npt.ArrayLike, iou_threshold: float) -> Int64Array:
    """Rows of (N, 7) upright boxes x, y, z, length, width, height, yaw that stay by 3D IoU, best first.

    Raises:
        ValueError: a shape is wrong or a value is not finite.
    """
    rows = _finite("boxes", as_array("boxes", boxes, np.float64, (None, 7)))
    return _suppress(rows, scores, iou_threshold, pairwise_iou_3d)


def _suppress(
    boxes: Float64Array,
    scores: npt.ArrayLike,
    iou_threshold: float,
    overlap: Callable[[Float64Array, Float64Array], Float64Array],
) -> Int64Array:
    order = _ranked(scores, len(boxes))
    kept = np.zeros(0, np.int64)
    for first in range(0, len(order), _BATCH):
        rows = order[first : first + _BATCH]
        if len(kept):
            rows = rows[~(overlap(boxes[rows], boxes[kept]) > iou_threshold).any(axis=1)]
        within = np.ascontiguousarray(overlap(boxes[rows], boxes[rows]))
        kept = np.concatenate([kept, rows[_greedy(within, float(iou_threshold))]])
    return kept


def nms_by_overlap(overlaps: npt.ArrayLike, scores: npt.ArrayLike, threshold: float) -> Int64Array:
    """Rows that stay, best first, given the (N, N) overlap of every pair, whatever it measures.

    Raises:
        ValueError: a shape is wrong, or a score or overlap is not finite.
    """
    order = _ranked(scores, None)
    matrix = _finite("overlaps", as_array("overlaps", overlaps, np.float64, (len(order), len(order))))
    ordered = np.ascontiguousarray(matrix[np.ix_(order, order)])
    return np.asarray(order[_greedy(ordered, float(threshold))])


def _ranked(scores: npt.ArrayLike, count: int | None) -> Int64Array:
    score = _finite("scores", as_array("scores", scores, np.float64, (count,)))
    return np.argsort(-score, kind="stable").astype(np.int64)


def _finite(name: str, array: Float64Array) -> Float64Array:
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0, 0])
        raise ValueError(f"{name} must be finite but row {row} is {array[row].tolist()}")
    return array


@njit("int64[::1](float64[:, ::1], float64)", cache=True, nogil=True)
def _greedy(overlaps, threshold):  # type: ignore[no-untyped-def]
    """Rows that stay of an overlap matrix in order of score."""
    count = overlaps.shape[0]
    kept = np.empty(count, np.int64)
    fallen = np.zeros(count, np.bool_)
    found = 0
    for i in range(count):
        if fallen[i]:
            continue
        kept[found] = i
        found += 1
        for j in range(i + 1, count):
            fallen[j] |= overlaps[i, j] > threshold
    return kept[:found].copy()
