"""Boxes that survived suppression, moved to where those that they suppressed put the object."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["voted_boxes"]

Float32Array = npt.NDArray[np.float32]

_SPREAD = 0.05  # of (1 - IoU)^2 in a vote's weight, as He et al. set it


def voted_boxes(
    boxes_xyxy: Float32Array,
    scores: Float32Array,
    groups: npt.NDArray[np.int64],
    keep: npt.NDArray[np.int64],
    least_iou: float,
) -> Float32Array:
    """Averages every kept box with the boxes of its group that overlap it, weighed by score and overlap.

    Gidaris and Komodakis, "Object detection via a multi-region and semantic segmentation-aware CNN model", ICCV 2015,
    with the weights of He et al., "Bounding box regression with uncertainty", CVPR 2019. Scores stay as they are.

    Args:
        boxes_xyxy: (N, 4) f32 before suppression.
        scores: (N,) f32.
        groups: (N,) i64, boxes of different groups do not vote for each other.
        keep: (K,) i64 rows that survived.
        least_iou: 0 ... 1, boxes that overlap less do not vote.

    Returns:
        (K, 4) f32.

    Raises:
        ValueError: the shapes do not belong together, or a row is out of range.
    """
    boxes = np.require(boxes_xyxy, np.float32, "C")
    weights = np.require(scores, np.float32, "C")
    group_ids = np.require(groups, np.int64, "C")
    rows = np.require(keep, np.int64, "C")
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not len(boxes) == len(weights) == len(group_ids) or rows.ndim != 1:
        raise ValueError(
            f"boxes_xyxy must be (N, 4), scores and groups (N,), keep (K,) but got shapes {boxes.shape}, "
            f"{weights.shape}, {group_ids.shape} and {rows.shape}"
        )
    if len(rows) and not (rows.min() >= 0 and rows.max() < len(boxes)):
        raise ValueError(f"keep must be rows 0 ... {len(boxes) - 1} but got {rows.min()} ... {rows.max()}")
    out = np.empty((len(rows), 4), np.float32)
    _vote(boxes, weights, group_ids, rows, least_iou, out)
    return out


@njit("void(float32[:, ::1], float32[::1], int64[::1], int64[::1], float64, float32[:, ::1])", cache=True, nogil=True)
def _vote(boxes, scores, groups, keep, least_iou, out):  # type: ignore[no-untyped-def]
    for place in range(len(keep)):
        row = keep[place]
        x1, y1, x2, y2 = boxes[row]
        area = (x2 - x1) * (y2 - y1)
        total, a, b, c, d = 0.0, 0.0, 0.0, 0.0, 0.0
        for other in range(len(boxes)):
            if groups[other] != groups[row]:
                continue
            overlap_u = min(x2, boxes[other, 2]) - max(x1, boxes[other, 0])
            overlap_v = min(y2, boxes[other, 3]) - max(y1, boxes[other, 1])
            if not (overlap_u > 0 and overlap_v > 0):
                continue
            overlap = overlap_u * overlap_v
            beside = (boxes[other, 2] - boxes[other, 0]) * (boxes[other, 3] - boxes[other, 1])
            iou = overlap / (area + beside - overlap)
            if iou < least_iou:
                continue
            weight = scores[other] * np.exp(-((1.0 - iou) ** 2) / _SPREAD)
            total += weight
            a += weight * boxes[other, 0]
            b += weight * boxes[other, 1]
            c += weight * boxes[other, 2]
            d += weight * boxes[other, 3]
        if total > 0.0:
            out[place, 0], out[place, 1], out[place, 2], out[place, 3] = a / total, b / total, c / total, d / total
        else:
            out[place] = boxes[row]
