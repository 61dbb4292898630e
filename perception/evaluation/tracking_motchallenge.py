"""MOTChallenge text: rows ``frame,id,x,y,w,h,confidence,class,visibility`` from frame 1, in and out."""

from __future__ import annotations

import configparser
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake
from perception.evaluation.readers_text import read_table
from perception.evaluation.tracking import SequenceScores, TrackingReport, score_sequences
from perception.evaluation.tracking_data import TrackingSequence, first_of_each_id
from perception.files import write_text_atomic
from perception.kernels.evaluation import unique_matches
from perception.kernels.frame_overlaps import box_overlaps

__all__ = ["MotRows", "evaluate_motchallenge_folder", "mot_sequence", "read_mot_file", "write_mot_file"]

PEDESTRIAN = 1
# person on vehicle, static person, distractor, reflection; MOT20 adds non-motorised vehicles
DISTRACTORS = (2, 7, 8, 12)
MOT20_DISTRACTORS = (*DISTRACTORS, 6)
KNOWN_CLASSES = range(1, 14)
MATCH_IOU = 0.5

_COLUMNS = ("frame", "id", "x", "y", "w", "h", "confidence", "class", "visibility", "unused")


@dataclass(frozen=True, slots=True, eq=False)
class MotRows:
    """Boxes of one sequence, by frame.

    Attributes:
        frames: (N,) i64 from 0 (the files count from 1), not falling.
        track_ids: (N,) i64.
        boxes_xyxy: (N, 4) f64 px.
        confidences: (N,) f64; in ground truth 0 marks a box to pass over.
        class_ids: (N,) i64; -1 where the file has none.
    """

    frames: npt.NDArray[np.int64]
    track_ids: npt.NDArray[np.int64]
    boxes_xyxy: npt.NDArray[np.float64]
    confidences: npt.NDArray[np.float64]
    class_ids: npt.NDArray[np.int64]

    def select(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> MotRows:
        """The given rows, by mask or index."""
        return MotRows(
            self.frames[rows], self.track_ids[rows], self.boxes_xyxy[rows], self.confidences[rows], self.class_ids[rows]
        )


def read_mot_file(path: Path, intake: Intake) -> MotRows:
    """Reads ``gt.txt`` or a result file.

    Raises:
        InputFormatError: a malformed row, with its line.
    """
    table = read_table(path, _COLUMNS, intake, optional=3, separator=",", what="MOTChallenge row")
    values = table.numbers
    bad = np.zeros(len(table), np.bool_)
    rules = (
        ("the frame must be a whole number from 1", (values[:, 0] < 1) | (values[:, 0] % 1 != 0), 0),
        ("the id must be a whole number", values[:, 1] % 1 != 0, 1),
        ("the width must not be negative", values[:, 4] < 0, 4),
        ("the height must not be negative", values[:, 5] < 0, 5),
    )
    for rule, broken, column in rules:
        for row in np.flatnonzero(broken & ~bad):
            intake.refuse("malformed row", f"{table.where(int(row))}: {rule} but is {values[row, column]:g}")
        bad |= broken
    values = values[~bad]
    order = np.argsort(values[:, 0], kind="stable")
    values = values[order]
    boxes = values[:, 2:6].copy()
    boxes[:, 2:] += boxes[:, :2]
    return MotRows(
        values[:, 0].astype(np.int64) - 1,
        values[:, 1].astype(np.int64),
        boxes,
        values[:, 6],
        np.where(np.isnan(values[:, 7]), -1, values[:, 7]).astype(np.int64),
    )


def write_mot_file(
    path: Path,
    frames: npt.ArrayLike,
    track_ids: npt.ArrayLike,
    boxes_xyxy: npt.ArrayLike,
    scores: npt.ArrayLike,
) -> None:
    """Writes a result file as the MOTChallenge server takes it.

    Args:
        path: ``SEQUENCE.txt``.
        frames: (N,) from 0.
        track_ids: (N,).
        boxes_xyxy: (N, 4) px.
        scores: (N,).
    """
    boxes = np.asarray(boxes_xyxy, np.float64).reshape(-1, 4)
    columns = zip(
        np.asarray(frames).tolist(), np.asarray(track_ids).tolist(), boxes.tolist(), np.asarray(scores).tolist(),
        strict=True,
    )  # fmt: skip
    lines = [
        f"{frame + 1},{track_id},{x1:.3f},{y1:.3f},{x2 - x1:.3f},{y2 - y1:.3f},{score:.6f},-1,-1,-1\n"
        for frame, track_id, (x1, y1, x2, y2), score in columns
    ]
    write_text_atomic(path, "".join(lines))


def mot_sequence(gt: MotRows, pred: MotRows, frame_count: int, name: str, benchmark: str = "MOT17") -> TrackingSequence:
    """Pedestrians of one sequence after TrackEval's preprocessing.

    Predictions that match a distractor (best match over all labels) are dropped, then all labels but pedestrians that
    count. MOT15 has no classes: only rows marked 0 are dropped.

    Raises:
        InputFormatError: an id occurs twice in one frame.
    """
    frames = np.arange(frame_count + 1)
    gt_starts, pred_starts = np.searchsorted(gt.frames, frames), np.searchsorted(pred.frames, frames)
    overlaps = box_overlaps(gt.boxes_xyxy, gt_starts, pred.boxes_xyxy, pred_starts)
    sequence = TrackingSequence.build(name, gt_starts, gt.track_ids, pred_starts, pred.track_ids, overlaps)
    counts = gt.confidences != 0
    if benchmark == "MOT15":
        return sequence.keep(counts, np.ones(len(pred.frames), np.bool_))
    distractors = MOT20_DISTRACTORS if benchmark == "MOT20" else DISTRACTORS
    gt_of_pred = unique_matches(gt_starts, pred_starts, sequence.pair_starts, sequence.similarity, MATCH_IOU)
    matched = gt_of_pred >= 0
    on_distractor = np.zeros(len(pred.frames), np.bool_)
    on_distractor[matched] = np.isin(gt.class_ids[gt_of_pred[matched]], distractors)
    return sequence.keep(counts & (gt.class_ids == PEDESTRIAN), ~on_distractor)


def evaluate_motchallenge_folder(
    gt_dir: Path,
    pred_dir: Path,
    *,
    benchmark: str = "MOT17",
    sequences: Sequence[str] = (),
    intake: Intake | None = None,
) -> TrackingReport:
    """Evaluates ``SEQUENCE.txt`` results against ``SEQUENCE/gt/gt.txt`` (or ``SEQUENCE.txt``) labels.

    Raises:
        InputFormatError: a malformed row, missing file, duplicated id and so on, with its place.
    """
    intake = intake or Intake()
    gt_dir, pred_dir = Path(gt_dir), Path(pred_dir)
    if not gt_dir.is_dir() or not pred_dir.is_dir():
        raise InputFormatError(f"{gt_dir if not gt_dir.is_dir() else pred_dir}: no such folder")
    files = {path.parent.parent.name: path for path in sorted(gt_dir.glob("*/gt/gt.txt"))}
    files = files or {path.stem: path for path in sorted(gt_dir.glob("*.txt"))}
    if not files:
        raise InputFormatError(f"{gt_dir}: neither SEQUENCE/gt/gt.txt nor SEQUENCE.txt")
    if sequences:
        unknown = [name for name in sequences if name not in files]
        if unknown:
            raise InputFormatError(f"{gt_dir}: no sequence {unknown[0]!r}; there are {', '.join(files)}")
        files = {name: files[name] for name in sequences}
    loaded = []
    for name, gt_path in files.items():
        gt = _unique(read_mot_file(gt_path, intake), name, "the ground truth", intake)
        pred = _read_prediction(pred_dir / f"{name}.txt", name, intake)
        frame_count = _length(gt_path, gt)
        outside = pred.frames >= frame_count
        if outside.any():
            intake.refuse(
                "predicted row in a frame that the ground truth lacks",
                f"{pred_dir / (name + '.txt')}: frame {int(pred.frames[outside][0]) + 1} is predicted, but sequence "
                f"{name} of the ground truth ends with frame {frame_count}",
                int(outside.sum()),
            )
            pred = pred.select(~outside)
        pred = _unique(pred, name, "the prediction", intake)
        loaded.append(mot_sequence(gt, pred, frame_count, name, benchmark))
    scores = score_sequences(loaded)
    combined = SequenceScores.combine(list(scores.values())).metrics()
    metrics = {f"pedestrian/{metric}": value for metric, value in combined.items()}
    return TrackingReport(metrics, {"pedestrian": scores}, notes=intake.summary())


def _unique(rows: MotRows, name: str, owner: str, intake: Intake) -> MotRows:
    keep = first_of_each_id(name, owner, rows.frames, rows.track_ids, intake)
    return rows if keep.all() else rows.select(keep)


def _read_prediction(path: Path, name: str, intake: Intake) -> MotRows:
    if not path.is_file():
        intake.refuse("missing prediction file (counted as empty)", f"{path}: no such file for sequence {name}")
        empty = np.zeros(0)
        return MotRows(empty.astype(np.int64), empty.astype(np.int64), np.zeros((0, 4)), empty, empty.astype(np.int64))
    pred = read_mot_file(path, intake)
    wrong = pred.class_ids > PEDESTRIAN
    if wrong.any():
        intake.refuse(
            "predicted row of another class",
            f"{path}: frame {int(pred.frames[wrong][0]) + 1} has class {int(pred.class_ids[wrong][0])}; "
            "MOTChallenge evaluates pedestrians (1) only",
            int(wrong.sum()),
        )
        pred = pred.select(~wrong)
    return pred


def _length(gt_path: Path, gt: MotRows) -> int:
    info = gt_path.parent.parent / "seqinfo.ini"
    last = int(gt.frames[-1]) + 1 if len(gt.frames) else 0
    if gt_path.name != "gt.txt" or not info.is_file():
        return last
    parser = configparser.ConfigParser()
    try:
        parser.read(info, encoding="utf-8")
        return max(last, parser.getint("Sequence", "seqLength"))
    except (configparser.Error, ValueError) as error:
        raise InputFormatError(f"{info}: [Sequence] seqLength must be a whole number ({error})") from None
