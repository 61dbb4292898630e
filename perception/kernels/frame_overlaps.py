"""Overlaps of image boxes frame by frame, and the counts over matched trajectories.

Frames lie one after the other in flat arrays; ``starts`` (F + 1) says where each begins.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["box_overlaps", "count_switches", "inside_any"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

EPS = float(np.finfo(np.float64).eps)


def _boxes(name: str, boxes: npt.ArrayLike) -> Float64Array:
    array: Float64Array = as_array(name, boxes, np.float64, (None, 4))
    return array


def _starts(name: str, starts: npt.ArrayLike, count: int) -> Int64Array:
    array: Int64Array = as_array(name, starts, np.int64, (None,))
    if not len(array) or array[0] != 0 or array[-1] != count or (np.diff(array) < 0).any():
        raise ValueError(f"{name} must rise from 0 to {count} but is {array[:3].tolist()} … {array[-3:].tolist()}")
    return array


@njit("f8[::1](f8[:,::1],i8[::1],f8[:,::1],i8[::1])", cache=True, nogil=True)
def _box_overlaps(gt: Float64Array, gt_starts: Int64Array, pred: Float64Array, pred_starts: Int64Array) -> Float64Array:
    total = 0
    for f in range(len(gt_starts) - 1):
        total += (gt_starts[f + 1] - gt_starts[f]) * (pred_starts[f + 1] - pred_starts[f])
    out = np.zeros(total)
    k = 0
    for f in range(len(gt_starts) - 1):
        for i in range(gt_starts[f], gt_starts[f + 1]):
            area_i = (gt[i, 2] - gt[i, 0]) * (gt[i, 3] - gt[i, 1])
            for j in range(pred_starts[f], pred_starts[f + 1]):
                width = min(gt[i, 2], pred[j, 2]) - max(gt[i, 0], pred[j, 0])
                height = min(gt[i, 3], pred[j, 3]) - max(gt[i, 1], pred[j, 1])
                if width > 0.0 and height > 0.0:
                    area_j = (pred[j, 2] - pred[j, 0]) * (pred[j, 3] - pred[j, 1])
                    inter = width * height
                    union = area_i + area_j - inter
                    if area_i > EPS and area_j > EPS and union > EPS:
                        out[k] = inter / union
                k += 1
    return out


def box_overlaps(
    gt_boxes: npt.ArrayLike, gt_starts: npt.ArrayLike, pred_boxes: npt.ArrayLike, pred_starts: npt.ArrayLike
) -> Float64Array:
    """IoU of every ground truth with every prediction of its frame, flat.

    Args:
        gt_boxes: (G, 4) x1, y1, x2, y2, frames one after the other.
        gt_starts: (F + 1) where each frame begins in ``gt_boxes``.
        pred_boxes: (P, 4).
        pred_starts: (F + 1).
    """
    gt, pred = _boxes("gt_boxes", gt_boxes), _boxes("pred_boxes", pred_boxes)
    result: Float64Array = _box_overlaps(
        gt, _starts("gt_starts", gt_starts, len(gt)), pred, _starts("pred_starts", pred_starts, len(pred))
    )
    return result


@njit("b1[::1](f8[:,::1],i8[::1],f8[:,::1],i8[::1],f8)", cache=True, nogil=True)
def _inside_any(
    boxes: Float64Array, starts: Int64Array, regions: Float64Array, region_starts: Int64Array, least: float
) -> BoolArray:
    out = np.zeros(len(boxes), np.bool_)
    for f in range(len(starts) - 1):
        for i in range(starts[f], starts[f + 1]):
            area = (boxes[i, 2] - boxes[i, 0]) * (boxes[i, 3] - boxes[i, 1])
            if area <= EPS:
                continue
            for j in range(region_starts[f], region_starts[f + 1]):
                width = min(boxes[i, 2], regions[j, 2]) - max(boxes[i, 0], regions[j, 0])
                height = min(boxes[i, 3], regions[j, 3]) - max(boxes[i, 1], regions[j, 1])
                if width > 0.0 and height > 0.0 and width * height / area > least:
                    out[i] = True
                    break
    return out


def inside_any(
    boxes: npt.ArrayLike, starts: npt.ArrayLike, regions: npt.ArrayLike, region_starts: npt.ArrayLike, least: float
) -> BoolArray:
    """(N,) whether more than ``least`` of a box's area lies in one region of its frame."""
    whole, parts = _boxes("boxes", boxes), _boxes("regions", regions)
    result: BoolArray = _inside_any(
        whole,
        _starts("starts", starts, len(whole)),
        parts,
        _starts("region_starts", region_starts, len(parts)),
        float(least),
    )
    return result


@njit("i8[::1](i8[::1],i8[::1],b1[::1])", cache=True, nogil=True)
def _count_switches(starts: Int64Array, pred_ids: Int64Array, ignored: BoolArray) -> Int64Array:
    # identity switches, fragments, mostly tracked, partly tracked, mostly lost, trajectories ignored throughout
    out = np.zeros(6, np.int64)
    for k in range(len(starts) - 1):
        s0, s1 = starts[k], starts[k + 1]
        length = s1 - s0
        ignored_count = 0
        matched_any = False
        for i in range(s0, s1):
            ignored_count += ignored[i]
            matched_any = matched_any or pred_ids[i] != -1
        if ignored_count == length:
            out[5] += 1
            continue
        if not matched_any:
            out[4] += 1
            continue
        last = pred_ids[s0]
        tracked = 1 if pred_ids[s0] >= 0 else 0
        for i in range(s0 + 1, s1):
            if ignored[i]:
                last = -1
                continue
            here, before = pred_ids[i], pred_ids[i - 1]
            if last != here and last != -1 and here != -1 and before != -1:
                out[0] += 1
            if i < s1 - 1 and before != here and last != -1 and here != -1 and pred_ids[i + 1] != -1:
                out[1] += 1
            if here != -1:
                tracked += 1
                last = here
        end = s1 - 1
        if (
            length > 1
            and pred_ids[end - 1] != pred_ids[end]
            and last != -1
            and pred_ids[end] != -1
            and not ignored[end]
        ):
            out[1] += 1
        share = tracked / (length - ignored_count)
        if share > 0.8:
            out[2] += 1
        elif share < 0.2:
            out[4] += 1
        else:
            out[3] += 1
    return out


def count_switches(starts: npt.ArrayLike, pred_ids: npt.ArrayLike, ignored: npt.ArrayLike) -> Int64Array:
    """KITTI's and AB3DMOT's count over ground-truth trajectories that lie one after the other.

    Args:
        starts: (K + 1) where each trajectory begins.
        pred_ids: (G,) predicted id matched in each of its frames, -1 for none.
        ignored: (G,) whether that frame does not count.

    Returns:
        (6,) identity switches, fragments, mostly tracked, partly tracked, mostly lost, ignored in every frame.
    """
    ids: Int64Array = as_array("pred_ids", pred_ids, np.int64, (None,))
    result: Int64Array = _count_switches(
        _starts("starts", starts, len(ids)), ids, as_array("ignored", ignored, np.bool_, (len(ids),))
    )
    return result
