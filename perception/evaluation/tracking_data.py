"""What every tracking metric takes: who is where in each frame, and how alike each pair is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake

__all__ = ["TrackingSequence", "first_of_each_id", "frame_pairs", "refuse_duplicates"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class TrackingSequence:
    """Ground truth and predictions of one sequence and class after all rules on what counts.

    Attributes:
        name: for messages.
        gt_starts: (F + 1) i64, where each frame begins in ``gt_ids``.
        gt_ids: (G,) i64, 0 ... K - 1 without gaps.
        pred_starts: (F + 1) i64.
        pred_ids: (P,) i64, 0 ... L - 1 without gaps.
        pair_starts: (F + 1) i64, where each frame's block begins in ``similarity``.
        similarity: (pairs,) f64 0 ... 1, row-major blocks of (ground truth, prediction).
    """

    name: str
    gt_starts: Int64Array
    gt_ids: Int64Array
    pred_starts: Int64Array
    pred_ids: Int64Array
    pair_starts: Int64Array
    similarity: Float64Array

    @property
    def frame_count(self) -> int:
        """Frames, with the empty ones."""
        return len(self.gt_starts) - 1

    @property
    def gt_id_count(self) -> int:
        """Ground-truth trajectories."""
        return int(self.gt_ids.max()) + 1 if len(self.gt_ids) else 0

    @property
    def pred_id_count(self) -> int:
        """Predicted trajectories."""
        return int(self.pred_ids.max()) + 1 if len(self.pred_ids) else 0

    @classmethod
    def build(
        cls,
        name: str,
        gt_starts: Int64Array,
        gt_ids: Int64Array,
        pred_starts: Int64Array,
        pred_ids: Int64Array,
        similarity: Float64Array,
    ) -> TrackingSequence:
        """From flat arrays with any ids.

        Raises:
            InputFormatError: an id occurs twice in one frame.
            ValueError: lengths do not fit.
        """
        refuse_duplicates(name, "the ground truth", gt_starts, gt_ids)
        refuse_duplicates(name, "the prediction", pred_starts, pred_ids)
        pair_starts = np.concatenate([[0], np.cumsum(np.diff(gt_starts) * np.diff(pred_starts))])
        if pair_starts[-1] != len(similarity):
            raise ValueError(f"similarity of {name} must hold {pair_starts[-1]} pairs but got {len(similarity)}")
        return cls(
            name,
            np.asarray(gt_starts, np.int64),
            np.unique(gt_ids, return_inverse=True)[1].reshape(-1).astype(np.int64),
            np.asarray(pred_starts, np.int64),
            np.unique(pred_ids, return_inverse=True)[1].reshape(-1).astype(np.int64),
            pair_starts.astype(np.int64),
            np.asarray(similarity, np.float64),
        )

    @classmethod
    def from_frames(
        cls,
        gt_ids: Sequence[npt.ArrayLike],
        pred_ids: Sequence[npt.ArrayLike],
        similarity: Sequence[npt.ArrayLike],
        name: str = "sequence",
    ) -> TrackingSequence:
        """From one entry per frame: ids, ids, and the (ground truth, prediction) similarity.

        >>> TrackingSequence.from_frames([[7], [7]], [[1], [2, 3]], [[[0.9]], [[0.8, 0.0]]]).pred_ids.tolist()
        [0, 1, 2]
        """
        if not len(gt_ids) == len(pred_ids) == len(similarity):
            raise ValueError(
                f"one entry per frame is needed but got {len(gt_ids)}, {len(pred_ids)} and {len(similarity)}"
            )
        gt = [np.asarray(ids, np.int64).reshape(-1) for ids in gt_ids]
        pred = [np.asarray(ids, np.int64).reshape(-1) for ids in pred_ids]
        blocks = []
        for f, block in enumerate(similarity):
            array = np.asarray(block, np.float64)
            if array.size != len(gt[f]) * len(pred[f]):
                raise ValueError(
                    f"similarity of frame {f} must be ({len(gt[f])}, {len(pred[f])}) but got {array.shape}"
                )
            blocks.append(array.reshape(-1))
        none = np.zeros(0, np.int64)
        return cls.build(
            name,
            np.concatenate([[0], np.cumsum([len(ids) for ids in gt])]).astype(np.int64),
            np.concatenate([*gt, none]),
            np.concatenate([[0], np.cumsum([len(ids) for ids in pred])]).astype(np.int64),
            np.concatenate([*pred, none]),
            np.concatenate([*blocks, np.zeros(0)]),
        )

    def keep(self, gt_kept: BoolArray, pred_kept: BoolArray) -> TrackingSequence:
        """The sequence without the rows whose mask is False, ids renumbered."""
        gt_rows, pred_rows = frame_pairs(self.gt_starts, self.pred_starts)
        return TrackingSequence.build(
            self.name,
            np.concatenate([[0], np.cumsum(gt_kept)])[self.gt_starts],
            self.gt_ids[gt_kept],
            np.concatenate([[0], np.cumsum(pred_kept)])[self.pred_starts],
            self.pred_ids[pred_kept],
            self.similarity[gt_kept[gt_rows] & pred_kept[pred_rows]],
        )


def frame_pairs(gt_starts: Int64Array, pred_starts: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Rows of every (ground truth, prediction) pair that shares a frame, in the order of the similarity blocks."""
    pred_counts = np.diff(pred_starts)
    frame_of_gt = np.repeat(np.arange(len(gt_starts) - 1), np.diff(gt_starts))
    repeats = pred_counts[frame_of_gt]
    gt_rows = np.repeat(np.arange(len(frame_of_gt)), repeats)
    first_pair = np.concatenate([[0], np.cumsum(repeats)])[:-1]
    within = np.arange(len(gt_rows)) - np.repeat(first_pair, repeats)
    return gt_rows, pred_starts[:-1][frame_of_gt[gt_rows]] + within


def refuse_duplicates(name: str, owner: str, starts: Int64Array, ids: Int64Array) -> None:
    """Raises ``InputFormatError`` for the first id that occurs twice in one frame."""
    if not len(ids):
        return
    frames = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    order = np.lexsort((ids, frames))
    same = (frames[order][1:] == frames[order][:-1]) & (ids[order][1:] == ids[order][:-1])
    if same.any():
        row = order[int(np.flatnonzero(same)[0])]
        raise InputFormatError(
            f"sequence {name}, frame {int(frames[row])}: {owner} has track id {int(ids[row])} more than once"
        )


def first_of_each_id(
    name: str,
    owner: str,
    frames: Int64Array,
    ids: Int64Array,
    intake: Intake,
    groups: Int64Array | None = None,
) -> BoolArray:
    """Refuses an id that occurs twice in one frame, as the devkits do; a lenient intake keeps the first row.

    Args:
        name: the sequence, for the message.
        owner: ``the ground truth`` or ``the prediction``.
        frames: (N,).
        ids: (N,); negative ones may repeat.
        intake: what to do.
        groups: (N,) such as classes, within which ids must be unique; all rows by default.

    Returns:
        (N,) mask of the rows to keep.
    """
    keep = np.ones(len(ids), np.bool_)
    groups = np.zeros(len(ids), np.int64) if groups is None else groups
    order = np.lexsort((ids, groups, frames))
    f, g, i = frames[order], groups[order], ids[order]
    same = (f[1:] == f[:-1]) & (g[1:] == g[:-1]) & (i[1:] == i[:-1]) & (i[1:] >= 0)
    for place in np.flatnonzero(same) + 1:
        intake.refuse(
            "row with an id that its frame already has",
            f"sequence {name}, frame {int(f[place])}: {owner} has track id {int(i[place])} more than once",
        )
        keep[order[place]] = False
    return keep
