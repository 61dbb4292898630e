"""Suppression that lowers scores or merges boxes instead of dropping them: soft NMS, fusion, matrix NMS of masks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array, as_boxes

__all__ = ["fuse_boxes", "matrix_nms", "soft_nms"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def soft_nms(
    boxes_xyxy: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    sigma: float | None = None,
    iou_threshold: float = 0.3,
    min_score: float = 0.001,
) -> tuple[Int64Array, Float32Array]:
    """Lowers the score of boxes that overlap a better one (Bodla et al., ICCV 2017).

    Args:
        boxes_xyxy: (N, 4) corners.
        scores: (N,) 0 ... 1.
        sigma: of the gaussian form, score * exp(-IoU^2 / sigma); None takes the linear form, score * (1 - IoU) where
            the IoU exceeds ``iou_threshold``.
        iou_threshold: of the linear form.
        min_score: boxes that fall below it are dropped.

    Returns:
        (K,) rows that stay in the order in which they were taken, and their lowered scores.

    Raises:
        ValueError: a shape or box is wrong, a score lies outside 0 ... 1, or sigma is not positive.
    """
    boxes = as_boxes("boxes_xyxy", boxes_xyxy)
    score = _scores(scores, len(boxes))
    if sigma is not None and not sigma > 0.0:
        raise ValueError(f"sigma must be positive but got {sigma}")
    rows, lowered = _soft_nms(boxes, score, 0.0 if sigma is None else float(sigma), float(iou_threshold), min_score)
    return rows, lowered.astype(np.float32)


def fuse_boxes(
    boxes_xyxy: npt.ArrayLike,
    scores: npt.ArrayLike,
    class_ids: npt.ArrayLike,
    *,
    sources: int = 1,
    iou_threshold: float = 0.55,
    min_score: float = 0.0,
) -> tuple[Float32Array, Float32Array, Int64Array]:
    """Weighted box fusion (Solovyev et al., 2021): boxes of several detectors become score-weighted means.

    Each box, best first, joins the cluster of its class whose mean it overlaps most, above ``iou_threshold``, or founds
    a new one. A cluster's score is the mean of its members' times min(members, sources) / sources: what only one of
    several detectors saw counts less.

    Returns:
        (K, 4) boxes, (K,) scores falling, (K,) class ids.

    Raises:
        ValueError: a shape or box is wrong, a score lies outside 0 ... 1, or ``sources`` is not positive.
    """
    boxes = as_boxes("boxes_xyxy", boxes_xyxy)
    score = _scores(scores, len(boxes))
    classes = as_array("class_ids", class_ids, np.int64, (len(boxes),))
    if sources < 1:
        raise ValueError(f"sources must be positive but got {sources}")
    order = np.argsort(-score, kind="stable")
    order = order[score[order] >= min_score]
    fused, fused_scores, fused_classes = _fuse(
        boxes[order].astype(np.float64), score[order], classes[order], float(iou_threshold), int(sources)
    )
    best_first = np.argsort(-fused_scores, kind="stable")
    return (
        fused[best_first].astype(np.float32),
        fused_scores[best_first].astype(np.float32),
        fused_classes[best_first],
    )


def matrix_nms(
    overlaps: npt.ArrayLike, scores: npt.ArrayLike, class_ids: npt.ArrayLike, *, sigma: float | None = 2.0
) -> Float32Array:
    """Scores lowered all at once by the overlap with better ones (SOLOv2, Wang et al., NeurIPS 2020), for masks.

    Args:
        overlaps: (N, N) IoU of every pair, such as ``masks.rle_iou`` gives.
        scores: (N,) 0 ... 1.
        class_ids: (N,) whole numbers; classes do not touch each other.
        sigma: of the gaussian decay exp(-sigma IoU^2); None takes the linear one, 1 - IoU.

    Returns:
        (N,) f32 scores in the order of the input.

    Raises:
        ValueError: a shape is wrong, an overlap is not finite, or a score lies outside 0 ... 1.
    """
    score = _scores(scores, None)
    matrix = as_array("overlaps", overlaps, np.float64, (len(score), len(score)))
    if not np.isfinite(matrix).all():
        raise ValueError("overlaps must be finite")
    classes = as_array("class_ids", class_ids, np.int64, (len(score),))
    order = np.argsort(-score, kind="stable").astype(np.int64)
    result = _matrix_nms(matrix, score, classes, order, -1.0 if sigma is None else float(sigma))
    return np.asarray(result, np.float32)


def _scores(scores: npt.ArrayLike, count: int | None) -> Float64Array:
    score: Float64Array = as_array("scores", scores, np.float64, (count,))
    good = (score >= 0.0) & (score <= 1.0)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise ValueError(f"scores must lie in 0 ... 1 but row {row} is {score[row]}")
    return score


@njit("float64(float64, float64, float64, float64, float64, float64, float64, float64)", cache=True, nogil=True)
def _iou(ax1, ay1, ax2, ay2, bx1, by1, bx2, by2):  # type: ignore[no-untyped-def]
    inter = max(min(ax2, bx2) - max(ax1, bx1), 0.0) * max(min(ay2, by2) - max(ay1, by1), 0.0)
    union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inter
    return inter / union if union > 0.0 else 0.0


@njit(
    "Tuple((int64[::1], float64[::1]))(float32[:, ::1], float64[::1], float64, float64, float64)",
    cache=True,
    nogil=True,
)
def _soft_nms(boxes, scores, sigma, iou_threshold, min_score):  # type: ignore[no-untyped-def]
    count = boxes.shape[0]
    left = scores.copy()
    rows = np.arange(count)
    taken = 0
    while taken < count:
        best = taken
        for k in range(taken + 1, count):
            better = left[rows[k]] > left[rows[best]]
            if better or (left[rows[k]] == left[rows[best]] and rows[k] < rows[best]):
                best = k
        if left[rows[best]] < min_score:
            break
        rows[taken], rows[best] = rows[best], rows[taken]
        a = boxes[rows[taken]]
        taken += 1
        for k in range(taken, count):
            b = boxes[rows[k]]
            iou = _iou(a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3])
            if sigma > 0.0:
                left[rows[k]] *= np.exp(-iou * iou / sigma)
            elif iou > iou_threshold:
                left[rows[k]] *= 1.0 - iou
    return rows[:taken].copy(), left[rows[:taken]]


@njit(
    "Tuple((float64[:, ::1], float64[::1], int64[::1]))(float64[:, ::1], float64[::1], int64[::1], float64, int64)",
    cache=True,
    nogil=True,
)
def _fuse(boxes, scores, classes, iou_threshold, sources):  # type: ignore[no-untyped-def]
    count = boxes.shape[0]
    means = np.zeros((count, 4))
    totals = np.zeros(count)
    members = np.zeros(count, np.int64)
    cluster_class = np.empty(count, np.int64)
    found = 0
    for i in range(count):
        best, best_iou = -1, iou_threshold
        for k in range(found):
            if cluster_class[k] != classes[i]:
                continue
            iou = _iou(
                means[k, 0], means[k, 1], means[k, 2], means[k, 3], boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
            )
            if iou > best_iou:
                best, best_iou = k, iou
        if best < 0:
            best = found
            cluster_class[best] = classes[i]
            found += 1
        weight = totals[best] + scores[i]
        share = scores[i] / weight if weight > 0.0 else 1.0
        for c in range(4):
            means[best, c] += share * (boxes[i, c] - means[best, c])
        totals[best] = weight
        members[best] += 1
    for k in range(found):
        totals[k] = totals[k] / members[k] * min(members[k], sources) / sources
    return means[:found].copy(), totals[:found].copy(), cluster_class[:found].copy()


@njit("float64[::1](float64[:, ::1], float64[::1], int64[::1], int64[::1], float64)", cache=True, nogil=True)
def _matrix_nms(overlaps, scores, classes, order, sigma):  # type: ignore[no-untyped-def]
    out = scores.copy()
    count = order.size
    # how much each suppressor is itself overlapped by something better
    covered = np.zeros(count)
    for b in range(count):
        for a in range(b):
            if classes[order[a]] == classes[order[b]]:
                covered[b] = max(covered[b], overlaps[order[a], order[b]])
    for b in range(count):
        decay = 1.0
        for a in range(b):
            if classes[order[a]] != classes[order[b]]:
                continue
            iou = overlaps[order[a], order[b]]
            if sigma >= 0.0:
                factor = np.exp(-sigma * (iou * iou - covered[a] * covered[a]))
            else:
                factor = (1.0 - iou) / max(1.0 - covered[a], 1e-9)
            decay = min(decay, factor)
        out[order[b]] *= decay
    return out
