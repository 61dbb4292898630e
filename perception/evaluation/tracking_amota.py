"""sAMOTA, AMOTA and AMOTP: MOTA and MOTP averaged over recall, as AB3DMOT defines and computes them.

Weng et al., 3D Multi-Object Tracking: A Baseline and New Evaluation Metrics (IROS 2020). Tracks are dropped whole, by
their mean score, at the thresholds that reach recalls 1/40, 2/40 … 1; recalls that are never reached count 0.

One thing is left out on purpose: the original averages a track's scores anew on every pass, and so drifts by a last bit
that can drop the very track that set a threshold. Here the mean is taken once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.evaluation.recall_sampling import RECALL_STEPS, recall_thresholds
from perception.kernels.evaluation import amota_frames
from perception.kernels.frame_overlaps import count_switches

__all__ = ["AmotaScore", "AmotaSequence", "amota"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class AmotaSequence:
    """One class of one sequence.

    Attributes:
        name: for messages.
        gt_starts: (F + 1) where each frame begins.
        gt_ids: (G,) trajectories.
        gt_ignorable: (G,) neither missed nor found counts (occluded, truncated, neighbouring class).
        pred_starts: (F + 1).
        pred_ids: (P,).
        pred_scores: (P,); a track's score is their mean.
        pred_ignorable: (P,) not false when unmatched (small, in a DontCare region, neighbouring class).
        similarity: (pairs,) row-major blocks per frame.
    """

    name: str
    gt_starts: Int64Array
    gt_ids: Int64Array
    gt_ignorable: BoolArray
    pred_starts: Int64Array
    pred_ids: Int64Array
    pred_scores: Float64Array
    pred_ignorable: BoolArray
    similarity: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class AmotaScore:
    """The averages over recall, and the counts at the threshold of the best MOTA.

    Attributes:
        recalls: (K,) nominal recalls reached, 1/40 …
        thresholds: (K,) score at each.
        motas, s_motas, motps: (K,) 0 … 1 (MOTA may be negative).
        at_best: MOTA, MOTP and so on at the best threshold, in percent or as counts.
    """

    recalls: Float64Array
    thresholds: Float64Array
    motas: Float64Array
    s_motas: Float64Array
    motps: Float64Array
    at_best: dict[str, float]

    def metrics(self) -> dict[str, float]:
        """In percent, as the paper prints them."""
        return {
            "sAMOTA": 100.0 * float(self.s_motas.sum()) / RECALL_STEPS,
            "AMOTA": 100.0 * float(self.motas.sum()) / RECALL_STEPS,
            "AMOTP": 100.0 * float(self.motps.sum()) / RECALL_STEPS,
        } | self.at_best


@dataclass(slots=True)
class _Prepared:
    sequence: AmotaSequence
    pair_starts: Int64Array
    scores: Float64Array  # (P,) mean over the row's track
    pred_ids: Int64Array  # compact
    by_trajectory: Int64Array  # rows of gt, trajectory by trajectory
    trajectory_starts: Int64Array
    ever_matched: BoolArray


def _prepare(sequence: AmotaSequence) -> _Prepared:
    pair_counts = np.diff(sequence.gt_starts) * np.diff(sequence.pred_starts)
    _, compact = np.unique(sequence.pred_ids, return_inverse=True)
    compact = compact.reshape(-1)
    means = np.bincount(compact, weights=sequence.pred_scores) / np.maximum(1, np.bincount(compact))
    order = np.argsort(sequence.gt_ids, kind="stable")
    _, counts = np.unique(sequence.gt_ids, return_counts=True)
    return _Prepared(
        sequence,
        np.concatenate([[0], np.cumsum(pair_counts)]),
        means[compact],
        compact,
        order,
        np.concatenate([[0], np.cumsum(counts)]),
        np.zeros(len(compact), np.bool_),
    )


@dataclass(slots=True)
class _Pass:
    tp: int = 0
    fn: int = 0
    fp: int = 0
    gt: int = 0
    overlap: float = 0.0
    switches: int = 0
    fragments: int = 0
    mostly_tracked: int = 0
    partly_tracked: int = 0
    mostly_lost: int = 0

    @property
    def mota(self) -> float:
        return 1.0 - (self.fn + self.fp + self.switches) / self.gt if self.gt else -np.inf

    @property
    def motp(self) -> float:
        return self.overlap / self.tp if self.tp else 0.0

    def s_mota(self, recall: float) -> float:
        if not self.gt:
            return -np.inf
        wrong = self.fn + self.fp + self.switches - (1.0 - recall) * self.gt
        return min(1.0, max(0.0, 1.0 - wrong / (recall * self.gt)))


def _run(prepared: Sequence[_Prepared], iou: float, threshold: float) -> tuple[_Pass, Float64Array]:
    total = _Pass()
    matched_scores = []
    for item in prepared:
        s = item.sequence
        counts, overlap, pred_of_gt = amota_frames(
            s.gt_starts,
            s.pred_starts,
            item.pair_starts,
            s.similarity,
            s.gt_ignorable,
            ~(item.scores < threshold),
            s.pred_ignorable,
            item.ever_matched,
            iou,
        )
        matched = pred_of_gt >= 0
        matched_scores.append(item.scores[pred_of_gt[matched]])
        ids = np.full(len(pred_of_gt), -1, np.int64)
        ids[matched] = item.pred_ids[pred_of_gt[matched]]
        switches = count_switches(item.trajectory_starts, ids[item.by_trajectory], s.gt_ignorable[item.by_trajectory])
        total.tp += int(counts[0])
        total.fn += int(counts[1])
        total.fp += int(counts[2])
        total.gt += int(counts[3])
        total.overlap += overlap
        total.switches += int(switches[0])
        total.fragments += int(switches[1])
        total.mostly_tracked += int(switches[2])
        total.partly_tracked += int(switches[3])
        total.mostly_lost += int(switches[4])
    return total, np.concatenate([*matched_scores, np.zeros(0)])


def amota(sequences: Sequence[AmotaSequence], iou: float) -> AmotaScore:
    """Scores all sequences of one class together.

    Args:
        sequences: of one class.
        iou: least overlap of a match, such as 0.25 in 3D.
    """
    prepared = [_prepare(sequence) for sequence in sequences]
    everything, scores = _run(prepared, iou, -10000.0)
    found = everything.tp + everything.fn
    thresholds, recalls = recall_thresholds(scores, found) if found else (np.zeros(0), np.zeros(0))
    # the first is recall 0
    thresholds, recalls = thresholds[1:], recalls[1:]
    passes = [_run(prepared, iou, float(threshold))[0] for threshold in thresholds]
    motas = np.array([one.mota for one in passes])
    best_threshold = -10000.0
    if len(motas) and motas.max() > 0:
        best_threshold = float(thresholds[int(np.argmax(motas))])
    best = _run(prepared, iou, best_threshold)[0]
    trajectories = max(1, best.mostly_tracked + best.partly_tracked + best.mostly_lost)
    return AmotaScore(
        recalls,
        thresholds,
        motas,
        np.array([one.s_mota(float(recall)) for one, recall in zip(passes, recalls, strict=True)]),
        np.array([one.motp for one in passes]),
        {
            "MOTA": 100.0 * best.mota if best.gt else 0.0,
            "MOTP": 100.0 * best.motp,
            "IDS": float(best.switches),
            "FRAG": float(best.fragments),
            "MT": 100.0 * best.mostly_tracked / trajectories,
            "ML": 100.0 * best.mostly_lost / trajectories,
            "recall": 100.0 * best.tp / max(1, best.tp + best.fn),
            "precision": 100.0 * best.tp / max(1, best.tp + best.fp),
            "TP": float(best.tp),
            "FP": float(best.fp),
            "FN": float(best.fn),
        },
    )
