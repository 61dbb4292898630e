"""From matching steps to KITTI's numbers: AP11, AP40, R40, and the cap that few labels put on AP40."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.evaluation.recall_sampling import RECALL_STEPS, recall_thresholds

__all__ = ["DetectionCurve", "ap40_cap", "curve_scores"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

SAMPLE_POINTS = RECALL_STEPS + 1


@dataclass(frozen=True, slots=True, eq=False)
class DetectionCurve:
    """All that is needed to score any choice of frames of one class, difficulty, space and overlap.

    Attributes:
        gt_counts: (F,) labels that count in each frame.
        hit_scores: (H,) scores of the true positives from which the devkit samples recall.
        hit_frames: (H,) their frames.
        steps: (S, 4) score, and what it adds to true positives, false positives and orientation similarity.
        step_frames: (S,) their frames.
    """

    gt_counts: Int64Array
    hit_scores: Float64Array
    hit_frames: Int64Array
    steps: Float64Array
    step_frames: Int64Array

    def points(self, weights: Float64Array | None = None) -> Float64Array:
        """(K, 4) score, true positives, false positives and similarity at every score that occurs, best first.

        Args:
            weights: (F,) how often each frame counts; once by default.
        """
        order = np.argsort(-self.steps[:, 0], kind="stable")
        scores = self.steps[order, 0]
        added = self.steps[order, 1:]
        if weights is not None:
            added = added * weights[self.step_frames[order], None]
        sums = np.cumsum(added, axis=0)
        last = np.flatnonzero(np.append(scores[1:] != scores[:-1], True)) if len(scores) else np.zeros(0, np.int64)
        return np.column_stack([scores[last], sums[last]])


def curve_scores(
    curve: DetectionCurve, weights: Float64Array | None = None, *, orientation: bool = False
) -> dict[str, float]:
    """AP11, AP40 and R40 in percent.

    Args:
        curve: of all frames.
        weights: (F,) how often each frame counts.
        orientation: average orientation similarity in place of precision.
    """
    repeats = np.ones(len(curve.gt_counts), np.int64) if weights is None else weights.astype(np.int64)
    gt_count = int((curve.gt_counts * repeats).sum())
    if not gt_count:
        return {"AP11": 0.0, "AP40": 0.0, "R40": 0.0}
    points = curve.points(None if weights is None else weights)
    good = points[:, 3] if orientation else points[:, 1]
    found = points[:, 1] + points[:, 2]
    ratio = np.divide(good, found, out=np.zeros(len(points)), where=found > 0.5)
    hits = curve.hit_scores if weights is None else np.repeat(curve.hit_scores, repeats[curve.hit_frames])
    sampled = np.zeros(SAMPLE_POINTS)
    if len(hits):
        thresholds = recall_thresholds(hits, gt_count)[0][:SAMPLE_POINTS]
        # the last point whose score is not under the threshold
        place = np.searchsorted(-points[:, 0], -thresholds, side="right") - 1
        sampled[: len(thresholds)] = np.where(place >= 0, ratio[np.maximum(place, 0)], 0.0)
        sampled = np.maximum.accumulate(sampled[::-1])[::-1]
    return {
        "AP11": 100.0 * float(sampled[::4].mean()),
        "AP40": 100.0 * float(sampled[1:].mean()),
        "R40": 100.0 * _interpolated(np.rint(points[:, 1]), ratio, gt_count),
    }


def _interpolated(tp: Float64Array, ratio: Float64Array, gt_count: int) -> float:
    """Mean over recalls 1/40 … 1 of the best ratio at that recall or a higher one; unreached recalls count 0."""
    if not len(tp):
        return 0.0
    order = np.argsort(tp, kind="stable")
    best_from = np.maximum.accumulate(ratio[order][::-1])[::-1]
    # in whole numbers, so that recall 3/40 of 80 labels is exactly 6 of them
    first = np.searchsorted(tp[order] * RECALL_STEPS, np.arange(1, SAMPLE_POINTS) * gt_count)
    reached = first < len(tp)
    return float(np.where(reached, best_from[np.minimum(first, len(tp) - 1)], 0.0).mean())


def ap40_cap(gt_count: int) -> float:
    """The AP40 of a perfect detector: the devkit samples no more recalls than there are labels.

    >>> ap40_cap(100), ap40_cap(11)
    (100.0, 25.0)
    """
    if not gt_count:
        return 0.0
    thresholds = recall_thresholds(np.zeros(gt_count), gt_count)[0]
    return 100.0 * (min(len(thresholds), SAMPLE_POINTS) - 1) / RECALL_STEPS
