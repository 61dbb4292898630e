"""KITTI MOTS: tracking of masks, rows ``frame id class height width run-lengths``, by TrackEval's rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake
from perception.evaluation.masks_rle import Rle, mask_tools, run_lengths
from perception.evaluation.readers_text import nearest, read_lines
from perception.evaluation.tracking import (
    SequenceFiles,
    SequenceScores,
    TrackingReport,
    pair_sequences,
    score_sequences,
)
from perception.evaluation.tracking_data import TrackingSequence, first_of_each_id
from perception.kernels.evaluation import unique_matches

__all__ = ["MOTS_CLASSES", "MotsRows", "evaluate_mots_folder", "mots_sequence", "read_mots_file"]

MOTS_CLASSES = {"car": 1, "pedestrian": 2}
IGNORE_CLASS = 10
MATCH_IOU = 0.5
IGNORED_SHARE = 0.5
EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True, slots=True, eq=False)
class MotsRows:
    """Masks of one sequence, by frame.

    Attributes:
        frames: (N,) i64, not falling.
        track_ids: (N,) i64.
        class_ids: (N,) i64: 1 car, 2 pedestrian, 10 region to ignore.
        masks: (N,) run lengths.
    """

    frames: npt.NDArray[np.int64]
    track_ids: npt.NDArray[np.int64]
    class_ids: npt.NDArray[np.int64]
    masks: list[Rle]

    def select(self, keep: npt.NDArray[np.bool_]) -> MotsRows:
        """The rows whose mask is True."""
        masks = [mask for mask, kept in zip(self.masks, keep, strict=True) if kept]
        return MotsRows(self.frames[keep], self.track_ids[keep], self.class_ids[keep], masks)


def read_mots_file(path: Path, intake: Intake) -> MotsRows:
    """Reads a MOTS label or result file, checking every mask.

    Raises:
        InputFormatError: a malformed row or mask, with its line.
    """
    frames: list[int] = []
    track_ids: list[int] = []
    class_ids: list[int] = []
    masks: list[Rle] = []
    for line_number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        fields = line.split()
        try:
            frame, track_id, class_id, height, width, counts = _row(fields)
        except ValueError as error:
            intake.refuse("malformed row", f"{path}:{line_number}: {error}")
            continue
        frames.append(frame)
        track_ids.append(track_id)
        class_ids.append(class_id)
        masks.append({"size": [height, width], "counts": counts})
    order = np.argsort(np.array(frames, np.int64), kind="stable")
    return MotsRows(
        np.array(frames, np.int64)[order],
        np.array(track_ids, np.int64)[order],
        np.array(class_ids, np.int64)[order],
        [masks[k] for k in order],
    )


def _row(fields: list[str]) -> tuple[int, int, int, int, int, bytes]:
    if len(fields) != 6:
        raise ValueError(f"a MOTS row has 6 columns (frame id class height width rle) but this one has {len(fields)}")
    names = ("frame", "id", "class", "height", "width")
    for name, text in zip(names, fields, strict=False):
        if not text.isdigit():
            raise ValueError(f"the {name} must be a whole number from 0 but is {text!r}")
    frame, track_id, class_id, height, width = map(int, fields[:5])
    if class_id not in (*MOTS_CLASSES.values(), IGNORE_CLASS):
        raise ValueError(f"unknown class {class_id}; MOTS has 1 (car), 2 (pedestrian) and 10 (ignore)")
    counts = fields[5].encode()
    pixels = int(run_lengths(counts).sum())
    if pixels != height * width:
        raise ValueError(f"the mask has {pixels} pixels but the image {width}x{height} has {height * width}")
    return frame, track_id, class_id, height, width, counts


def _refuse_overlaps(rows: MotsRows, name: str, owner: str, tools: ModuleType) -> None:
    starts = np.flatnonzero(np.diff(rows.frames, prepend=-1))
    for first, end in zip(starts, np.append(starts[1:], len(rows.frames)), strict=True):
        masks = rows.masks[first:end]
        sizes = {tuple(mask["size"]) for mask in masks}
        if len(sizes) > 1:
            raise InputFormatError(
                f"sequence {name}, frame {int(rows.frames[first])}: {owner} has masks of sizes {sizes}"
            )
        if len(masks) > 1 and int(tools.area(masks).sum()) != int(tools.area(tools.merge(masks))):
            raise InputFormatError(f"sequence {name}, frame {int(rows.frames[first])}: masks of {owner} overlap")


def mots_sequence(gt: MotsRows, pred: MotsRows, class_name: str, frame_count: int, name: str) -> TrackingSequence:
    """One class of one sequence after TrackEval's preprocessing.

    Predicted masks that match no label are dropped where more than half of them lies in a region to ignore.
    """
    tools = mask_tools()
    class_id = MOTS_CLASSES[class_name]
    gt_rows = np.flatnonzero(gt.class_ids == class_id)
    pred_rows = np.flatnonzero(pred.class_ids == class_id)
    frames = np.arange(frame_count + 1)
    gt_starts = np.searchsorted(gt.frames[gt_rows], frames)
    pred_starts = np.searchsorted(pred.frames[pred_rows], frames)
    region_rows = np.flatnonzero(gt.class_ids == IGNORE_CLASS)
    region_starts = np.searchsorted(gt.frames[region_rows], frames)

    blocks: list[npt.NDArray[np.float64]] = [np.zeros(0)]
    ignored = np.zeros(len(pred_rows), np.bool_)
    for f in range(frame_count):
        labels = [gt.masks[k] for k in gt_rows[gt_starts[f] : gt_starts[f + 1]]]
        found = [pred.masks[k] for k in pred_rows[pred_starts[f] : pred_starts[f + 1]]]
        if not found:
            continue
        if labels:
            # pycocotools gives one column per ground truth
            blocks.append(np.asarray(tools.iou(labels, found, [False] * len(found))).reshape(-1))
        regions = [gt.masks[k] for k in region_rows[region_starts[f] : region_starts[f + 1]]]
        if regions:
            region = tools.merge(regions)
            share = np.asarray(tools.iou(found, [region], [True])).reshape(-1)
            ignored[pred_starts[f] : pred_starts[f + 1]] = share > IGNORED_SHARE + EPS
    sequence = TrackingSequence.build(
        name, gt_starts, gt.track_ids[gt_rows], pred_starts, pred.track_ids[pred_rows], np.concatenate(blocks)
    )
    matched = (
        unique_matches(gt_starts, pred_starts, sequence.pair_starts, sequence.similarity, MATCH_IOU, below=-10000.0)
        >= 0
    )
    return sequence.keep(np.ones(len(gt_rows), np.bool_), matched | ~ignored)


def evaluate_mots_folder(
    gt_dir: Path,
    pred_dir: Path,
    classes: Sequence[str] = ("car", "pedestrian"),
    *,
    sequences: Sequence[str] = (),
    intake: Intake | None = None,
) -> TrackingReport:
    """Evaluates MOTS results (``SEQUENCE.txt`` each) against labels in the same format.

    Raises:
        InputFormatError: a malformed row or mask, overlapping masks, a duplicated id and so on, with its place.
    """
    intake = intake or Intake()
    names = [name.lower() for name in classes]
    for name in names:
        if name not in MOTS_CLASSES:
            raise InputFormatError(
                f"unknown class {name!r}{nearest(name, list(MOTS_CLASSES))}; MOTS has car, pedestrian"
            )
    tools = mask_tools()
    gt_dir = Path(gt_dir)
    for inner in ("label_02", "instances_txt"):
        if (gt_dir / inner).is_dir():
            gt_dir = gt_dir / inner
            break
    none = MotsRows(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int64), [])
    loaded = []
    for files in pair_sequences(gt_dir, Path(pred_dir), intake, sequences):
        gt = read_mots_file(files.gt, intake)
        frame_count = int(gt.frames[-1]) + 1 if len(gt.frames) else 0
        pred = none if files.pred is None else _within(read_mots_file(files.pred, intake), frame_count, files, intake)
        gt = _unique(gt, files.name, "the ground truth", intake)
        pred = _unique(pred, files.name, "the prediction", intake)
        _refuse_overlaps(gt, files.name, "the ground truth", tools)
        _refuse_overlaps(pred, files.name, "the prediction", tools)
        loaded.append((files.name, gt, pred, frame_count))
    metrics: dict[str, float] = {}
    by_sequence = {}
    for name in names:
        scores = score_sequences([mots_sequence(g, p, name, n, s) for s, g, p, n in loaded])
        by_sequence[name] = scores
        combined = SequenceScores.combine(list(scores.values())).metrics()
        # sMOTSA, MOTSA and MOTSP are CLEAR's sMOTA, MOTA and MOTP of masks
        combined |= {"sMOTSA": combined["sMOTA"], "MOTSA": combined["MOTA"], "MOTSP": combined["MOTP"]}
        metrics |= {f"{name}/{metric}": value for metric, value in combined.items()}
    return TrackingReport(metrics, by_sequence, notes=intake.summary())


def _within(rows: MotsRows, frame_count: int, files: SequenceFiles, intake: Intake) -> MotsRows:
    outside = rows.frames >= frame_count
    if not outside.any():
        return rows
    intake.refuse(
        "predicted row in a frame that the ground truth lacks",
        f"{files.pred}: frame {int(rows.frames[outside][0])} is predicted, but sequence {files.name} of the ground "
        f"truth ends with frame {frame_count - 1}",
        int(outside.sum()),
    )
    return rows.select(~outside)


def _unique(rows: MotsRows, name: str, owner: str, intake: Intake) -> MotsRows:
    ids = np.where(rows.class_ids == IGNORE_CLASS, -1, rows.track_ids)
    keep = first_of_each_id(name, owner, rows.frames, ids, intake)
    return rows if keep.all() else rows.select(keep)
