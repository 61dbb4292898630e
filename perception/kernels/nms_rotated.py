"""Greedy non-maximum suppression of rotated boxes seen from above, of upright 3D boxes, and by any overlap matrix."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array
from perception.kernels.rotated_iou import pairwise_bev_iou, pairwise_iou_3d

__all__ = ["nms_3d", "nms_by_overlap", "nms_rotated"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def nms_rotated(boxes_bev: npt.ArrayLike, scores: npt.ArrayLike, iou_threshold: float) -> Int64Array:
    """Rows of (N, 5) boxes x, y, length, width, yaw that stay, best first.

    Raises:
        ValueError: a shape is wrong or a value is not finite.
    """
    boxes = _finite("boxes_bev", as_array("boxes_bev", boxes_bev, np.float64, (None, 5)))
    order, ranked = _ranked(scores, len(boxes))
    overlaps = np.ascontiguousarray(pairwise_bev_iou(boxes[order], boxes[order]))
    return np.asarray(order[_greedy(overlaps, ranked, float(iou_threshold))])


def nms_3d(boxes: npt.ArrayLike, scores: npt.ArrayLike, iou_threshold: float) -> Int64Array:
    """Rows of (N, 7) upright boxes x, y, z, length, width, height, yaw that stay by 3D IoU, best first.

    Raises:
        ValueError: a shape is wrong or a value is not finite.
    """
    rows = _finite("boxes", as_array("boxes", boxes, np.float64, (None, 7)))
    order, ranked = _ranked(scores, len(rows))
    overlaps = np.ascontiguousarray(pairwise_iou_3d(rows[order], rows[order]))
    return np.asarray(order[_greedy(overlaps, ranked, float(iou_threshold))])


def nms_by_overlap(overlaps: npt.ArrayLike, scores: npt.ArrayLike, threshold: float) -> Int64Array:
    """Rows that stay, best first, given the (N, N) overlap of every pair, whatever it measures.

    Raises:
        ValueError: a shape is wrong, or a score or overlap is not finite.
    """
    order, ranked = _ranked(scores, None)
    matrix = _finite("overlaps", as_array("overlaps", overlaps, np.float64, (len(order), len(order))))
    ordered = np.ascontiguousarray(matrix[np.ix_(order, order)])
    return np.asarray(order[_greedy(ordered, ranked, float(threshold))])


def _ranked(scores: npt.ArrayLike, count: int | None) -> tuple[Int64Array, Int64Array]:
    score = _finite("scores", as_array("scores", scores, np.float64, (count,)))
    order = np.argsort(-score, kind="stable").astype(np.int64)
    return order, np.arange(len(order))


def _finite(name: str, array: Float64Array) -> Float64Array:
    if not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0, 0])
        raise ValueError(f"{name} must be finite but row {row} is {array[row].tolist()}")
    return array


@njit("int64[::1](float64[:, ::1], int64[::1], float64)", cache=True, nogil=True)
def _greedy(overlaps, ranked, threshold):  # type: ignore[no-untyped-def]
    kept = np.empty(ranked.size, np.int64)
    fallen = np.zeros(ranked.size, np.bool_)
    found = 0
    for i in ranked:
        if fallen[i]:
            continue
        kept[found] = i
        found += 1
        for j in range(i + 1, ranked.size):
            fallen[j] |= overlaps[i, j] > threshold
    return kept[:found].copy()
