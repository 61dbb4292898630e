"""IDF1: how well one predicted id stands for one object over a sequence (Ristani et al., 2016), as TrackEval has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from perception.evaluation.tracking_data import TrackingSequence, frame_pairs

__all__ = ["IdentityScore", "identity"]


@dataclass(frozen=True, slots=True)
class IdentityScore:
    """Detections whose id is right, missed and false; counts of sequences add up."""

    idtp: int
    idfn: int
    idfp: int

    @classmethod
    def combine(cls, scores: Sequence[IdentityScore]) -> IdentityScore:
        """Of several sequences together."""
        return cls(sum(s.idtp for s in scores), sum(s.idfn for s in scores), sum(s.idfp for s in scores))

    def metrics(self) -> dict[str, float]:
        """Ratios in percent, counts as they are."""
        return {
            "IDF1": 100.0 * self.idtp / max(1.0, self.idtp + 0.5 * self.idfp + 0.5 * self.idfn),
            "IDR": 100.0 * self.idtp / max(1.0, self.idtp + self.idfn),
            "IDP": 100.0 * self.idtp / max(1.0, self.idtp + self.idfp),
            "IDTP": float(self.idtp),
            "IDFN": float(self.idfn),
            "IDFP": float(self.idfp),
        }


def identity(sequence: TrackingSequence, threshold: float = 0.5) -> IdentityScore:
    """Scores one sequence.

    Pairing objects with ids so that the fewest detections are wrong is the same as pairing them so that the most
    frames agree, which needs no rows and columns for "unpaired".

    >>> switched = TrackingSequence.from_frames([[1], [1], [1]], [[5], [6], [6]], [[[1.0]]] * 3)
    >>> identity(switched).idtp
    2
    """
    gt_rows, pred_rows = frame_pairs(sequence.gt_starts, sequence.pred_starts)
    alike = sequence.similarity >= threshold
    width = max(1, sequence.pred_id_count)
    codes = sequence.gt_ids[gt_rows[alike]] * width + sequence.pred_ids[pred_rows[alike]]
    agreeing = np.bincount(codes, minlength=sequence.gt_id_count * width).reshape(sequence.gt_id_count, width)
    rows, cols = linear_sum_assignment(agreeing, maximize=True)
    idtp = int(agreeing[rows, cols].sum())
    return IdentityScore(idtp, len(sequence.gt_ids) - idtp, len(sequence.pred_ids) - idtp)
