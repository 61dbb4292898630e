"""CLEAR MOT: MOTA, MOTP, identity switches, fragments, mostly tracked and lost, as TrackEval 1.3.0 computes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from perception.evaluation.tracking_data import TrackingSequence
from perception.kernels.evaluation import clear_frames

__all__ = ["ClearScore", "clear"]

MOSTLY_TRACKED = 0.8
MOSTLY_LOST = 0.2


@dataclass(frozen=True, slots=True)
class ClearScore:
    """Counts, from which every ratio follows; counts of sequences add up."""

    tp: int
    fn: int
    fp: int
    switches: int
    fragments: int
    mostly_tracked: int
    partly_tracked: int
    mostly_lost: int
    similarity_sum: float

    @classmethod
    def combine(cls, scores: Sequence[ClearScore]) -> ClearScore:
        """Of several sequences together."""
        return cls(*(sum(getattr(score, field.name) for score in scores) for field in fields(cls)))

    def metrics(self) -> dict[str, float]:
        """Ratios in percent, counts as they are."""
        labels = max(1, self.tp + self.fn)
        found = max(1, self.tp + self.fp)
        trajectories = max(1, self.mostly_tracked + self.partly_tracked + self.mostly_lost)
        logged = math.log10(self.switches) if self.switches > 0 else 0.0
        return {
            "MOTA": 100.0 * (self.tp - self.fp - self.switches) / labels,
            "MOTP": 100.0 * self.similarity_sum / max(1, self.tp),
            "MODA": 100.0 * (self.tp - self.fp) / labels,
            "sMOTA": 100.0 * (self.similarity_sum - self.fp - self.switches) / labels,
            "MOTAL": 100.0 * (self.tp - self.fp - logged) / labels,
            "recall": 100.0 * self.tp / labels,
            "precision": 100.0 * self.tp / found,
            "F1": 100.0 * self.tp / max(1.0, self.tp + 0.5 * self.fn + 0.5 * self.fp),
            "MT": 100.0 * self.mostly_tracked / trajectories,
            "PT": 100.0 * self.partly_tracked / trajectories,
            "ML": 100.0 * self.mostly_lost / trajectories,
            "IDSW": float(self.switches),
            "Frag": float(self.fragments),
            "TP": float(self.tp),
            "FN": float(self.fn),
            "FP": float(self.fp),
        }


def clear(sequence: TrackingSequence, threshold: float = 0.5) -> ClearScore:
    """Scores one sequence.

    Args:
        sequence: ground truth and predictions.
        threshold: least similarity of a true positive.

    >>> switched = TrackingSequence.from_frames([[1], [1]], [[5], [6]], [[[1.0]], [[1.0]]])
    >>> clear(switched).switches
    1
    """
    gt_total, pred_total = len(sequence.gt_ids), len(sequence.pred_ids)
    if not gt_total or not pred_total:
        return ClearScore(0, gt_total, pred_total, 0, 0, 0, 0, sequence.gt_id_count, 0.0)
    counts, similarity_sum, per_id = clear_frames(
        sequence.gt_starts,
        sequence.gt_ids,
        sequence.pred_starts,
        sequence.pred_ids,
        sequence.pair_starts,
        sequence.similarity,
        sequence.gt_id_count,
        threshold,
    )
    present, matched, stretches = per_id.T
    share = matched[present > 0] / present[present > 0]
    mostly_tracked = int(np.count_nonzero(share > MOSTLY_TRACKED))
    partly_tracked = int(np.count_nonzero(share >= MOSTLY_LOST)) - mostly_tracked
    return ClearScore(
        tp=int(counts[0]),
        fn=int(counts[1]),
        fp=int(counts[2]),
        switches=int(counts[3]),
        fragments=int((stretches[stretches > 0] - 1).sum()),
        mostly_tracked=mostly_tracked,
        partly_tracked=partly_tracked,
        mostly_lost=sequence.gt_id_count - mostly_tracked - partly_tracked,
        similarity_sum=float(similarity_sum),
    )
