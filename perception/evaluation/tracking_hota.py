"""HOTA: detection and association in one number (Luiten et al., IJCV 2021), as TrackEval 1.3.0 computes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.evaluation.tracking_data import TrackingSequence
from perception.kernels.evaluation import hota_matches

__all__ = ["ALPHAS", "HotaScore", "hota"]

Float64Array = npt.NDArray[np.float64]

ALPHAS: Float64Array = np.arange(0.05, 0.99, 0.05)
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class HotaScore:
    """Sums at the 19 localisation thresholds, from which every ratio follows; sums of sequences add up.

    Attributes:
        tp, fn, fp: (19,) detections matched, missed and false.
        localisation: (19,) summed similarity of the matched.
        association, association_recall, association_precision: (19,) summed over the matched.
    """

    tp: Float64Array
    fn: Float64Array
    fp: Float64Array
    localisation: Float64Array
    association: Float64Array
    association_recall: Float64Array
    association_precision: Float64Array

    @classmethod
    def combine(cls, scores: Sequence[HotaScore]) -> HotaScore:
        """Of several sequences together."""
        names = cls.__dataclass_fields__
        return cls(*(np.sum([getattr(s, n) for s in scores], axis=0, initial=0.0) + np.zeros(19) for n in names))

    @property
    def det_a(self) -> Float64Array:
        """(19,) detection accuracy."""
        return self.tp / np.maximum(1.0, self.tp + self.fn + self.fp)

    @property
    def det_re(self) -> Float64Array:
        """(19,) detection recall."""
        return self.tp / np.maximum(1.0, self.tp + self.fn)

    @property
    def det_pr(self) -> Float64Array:
        """(19,) detection precision."""
        return self.tp / np.maximum(1.0, self.tp + self.fp)

    @property
    def ass_a(self) -> Float64Array:
        """(19,) association accuracy."""
        return self.association / np.maximum(1.0, self.tp)

    @property
    def ass_re(self) -> Float64Array:
        """(19,) association recall."""
        return self.association_recall / np.maximum(1.0, self.tp)

    @property
    def ass_pr(self) -> Float64Array:
        """(19,) association precision."""
        return self.association_precision / np.maximum(1.0, self.tp)

    @property
    def loc_a(self) -> Float64Array:
        """(19,) localisation accuracy; 1 where nothing is matched."""
        return np.maximum(1e-10, self.localisation) / np.maximum(1e-10, self.tp)

    @property
    def hota(self) -> Float64Array:
        """(19,) the geometric mean of detection and association accuracy."""
        return np.sqrt(self.det_a * self.ass_a)

    def metrics(self) -> dict[str, float]:
        """Means over the thresholds, in percent."""
        curves = {
            "HOTA": self.hota, "DetA": self.det_a, "AssA": self.ass_a, "DetRe": self.det_re, "DetPr": self.det_pr,
            "AssRe": self.ass_re, "AssPr": self.ass_pr, "LocA": self.loc_a,
        }  # fmt: skip
        values = {name: 100.0 * float(np.mean(curve)) for name, curve in curves.items()}
        return values | {
            "OWTA": 100.0 * float(np.mean(np.sqrt(self.det_re * self.ass_a))),
            "HOTA(0)": 100.0 * float(self.hota[0]),
            "LocA(0)": 100.0 * float(self.loc_a[0]),
        }


def hota(sequence: TrackingSequence) -> HotaScore:
    """Scores one sequence.

    >>> perfect = TrackingSequence.from_frames([[1, 2]] * 3, [[5, 6]] * 3, [[[1, 0], [0, 1]]] * 3)
    >>> hota(perfect).metrics()["HOTA"]
    100.0
    """
    gt_total, pred_total = float(len(sequence.gt_ids)), float(len(sequence.pred_ids))
    gt_ids, pred_ids, similarity = hota_matches(
        sequence.gt_starts,
        sequence.gt_ids,
        sequence.pred_starts,
        sequence.pred_ids,
        sequence.pair_starts,
        sequence.similarity,
        sequence.gt_id_count,
        sequence.pred_id_count,
    )
    gt_frames = np.bincount(sequence.gt_ids, minlength=sequence.gt_id_count).astype(np.float64)
    pred_frames = np.bincount(sequence.pred_ids, minlength=sequence.pred_id_count).astype(np.float64)
    pair_codes, pair_of_match = np.unique(gt_ids * max(1, sequence.pred_id_count) + pred_ids, return_inverse=True)
    gt_of_pair, pred_of_pair = np.divmod(pair_codes, max(1, sequence.pred_id_count))
    gt_length, pred_length = gt_frames[gt_of_pair], pred_frames[pred_of_pair]

    tp, localisation = np.zeros(len(ALPHAS)), np.zeros(len(ALPHAS))
    association, recall, precision = np.zeros(len(ALPHAS)), np.zeros(len(ALPHAS)), np.zeros(len(ALPHAS))
    for a, alpha in enumerate(ALPHAS):
        matched = similarity >= alpha - EPS
        tp[a] = np.count_nonzero(matched)
        localisation[a] = similarity[matched].sum()
        together = np.bincount(pair_of_match.reshape(-1)[matched], minlength=len(pair_codes)).astype(np.float64)
        squared = together * together
        association[a] = (squared / np.maximum(1.0, gt_length + pred_length - together)).sum()
        recall[a] = (squared / np.maximum(1.0, gt_length)).sum()
        precision[a] = (squared / np.maximum(1.0, pred_length)).sum()
    return HotaScore(tp, gt_total - tp, pred_total - tp, localisation, association, recall, precision)
