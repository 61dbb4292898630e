"""Tracking folders against each other: HOTA, CLEAR MOT, IDF1, and AB3DMOT's averages for 3D boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake
from perception.evaluation.kitti_rows import KITTI_CLASSES, KittiRows, kitti_class_id, read_tracking_file
from perception.evaluation.readers_text import read_lines
from perception.evaluation.tracking_amota import AmotaScore, amota
from perception.evaluation.tracking_clear import ClearScore, clear
from perception.evaluation.tracking_data import TrackingSequence
from perception.evaluation.tracking_hota import HotaScore, hota
from perception.evaluation.tracking_identity import IdentityScore, identity
from perception.evaluation.tracking_kitti import amota_sequence, drop_duplicate_ids, kitti_sequence

__all__ = [
    "SequenceFiles",
    "SequenceScores",
    "TrackingReport",
    "evaluate_tracking_folder",
    "pair_sequences",
    "score_sequences",
]

# AB3DMOT's settings for KITTI; its paper prints cars at all three
AMOTA_IOUS: dict[str, tuple[float, ...]] = {
    "Car": (0.25, 0.5, 0.7), "Pedestrian": (0.25, 0.5), "Cyclist": (0.25, 0.5),
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class SequenceScores:
    """One class of one sequence."""

    hota: HotaScore
    clear: ClearScore
    identity: IdentityScore

    @classmethod
    def combine(cls, scores: Sequence[SequenceScores]) -> SequenceScores:
        """Of several sequences together."""
        return cls(
            HotaScore.combine([s.hota for s in scores]),
            ClearScore.combine([s.clear for s in scores]),
            IdentityScore.combine([s.identity for s in scores]),
        )

    def metrics(self) -> dict[str, float]:
        """All of them, in percent or as counts."""
        return self.hota.metrics() | self.clear.metrics() | self.identity.metrics()


@dataclass(frozen=True, slots=True, eq=False)
class TrackingReport:
    """What an evaluation of tracking found.

    Attributes:
        metrics: flat, such as ``car/HOTA`` (2D boxes or masks), ``car/3d/HOTA``, ``car/3d@0.25/sAMOTA``.
        sequences: scores of each key (``car``, ``car/3d``) and sequence.
        averages: AB3DMOT's curves by key (``car/3d@0.25``).
        notes: what a reader must know, such as what was left out.
        rows: labels, results and frame count by sequence, of boxes; for pictures.
    """

    metrics: dict[str, float]
    sequences: dict[str, dict[str, SequenceScores]]
    averages: dict[str, AmotaScore] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    rows: dict[str, tuple[KittiRows, KittiRows, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SequenceFiles:
    """The two files of one sequence; ``pred`` is None when a lenient intake passed over a missing file."""

    name: str
    gt: Path
    pred: Path | None


def score_sequences(sequences: Sequence[TrackingSequence]) -> dict[str, SequenceScores]:
    """Every metric of each sequence by its name."""
    return {s.name: SequenceScores(hota(s), clear(s), identity(s)) for s in sequences}


def pair_sequences(gt_dir: Path, pred_dir: Path, intake: Intake, only: Sequence[str] = ()) -> list[SequenceFiles]:
    """Pairs ``SEQUENCE.txt`` of both folders by name; a single label file goes with a single result file.

    Raises:
        InputFormatError: a folder is missing or empty, or a file has no counterpart.
    """
    gt_files = _text_files(gt_dir, "ground truth")
    pred_files = _text_files(pred_dir, "predictions")
    if gt_dir.is_file() and len(pred_files) == 1:
        return [SequenceFiles(gt_dir.stem, gt_dir, next(iter(pred_files.values())))]
    if only:
        unknown = [name for name in only if name not in gt_files]
        if unknown:
            raise InputFormatError(f"{gt_dir}: no sequence {unknown[0]!r}; there are {', '.join(gt_files)}")
        gt_files = {name: gt_files[name] for name in only}
        pred_files = {name: path for name, path in pred_files.items() if name in gt_files}
    for name in pred_files.keys() - gt_files.keys():
        intake.refuse(
            "prediction file without ground truth",
            f"{pred_files[name]}: the ground truth {gt_dir} has no sequence {name}",
        )
    pairs = []
    for name, gt in gt_files.items():
        if name not in pred_files:
            intake.refuse(
                "missing prediction file (counted as empty)",
                f"{pred_dir / (name + '.txt')}: no such file, but the ground truth has sequence {name}",
            )
        pairs.append(SequenceFiles(name, gt, pred_files.get(name)))
    return pairs


def _text_files(folder: Path, what: str) -> dict[str, Path]:
    if folder.is_file():
        return {folder.stem: folder}
    if not folder.is_dir():
        raise InputFormatError(f"{folder}: no such folder of {what}")
    files = {path.stem: path for path in sorted(folder.glob("*.txt"))}
    if not files:
        raise InputFormatError(f"{folder}: an empty folder of {what}; one SEQUENCE.txt for every sequence is expected")
    return files


def _label_folder(gt_dir: Path) -> Path:
    for inner in ("label_02", "training/label_02"):
        if (gt_dir / inner).is_dir():
            return gt_dir / inner
    return gt_dir


def _lengths(label_dir: Path) -> dict[str, int]:
    """Frames of each sequence by the devkit's seqmap files beside the labels, where there are any."""
    lengths: dict[str, int] = {}
    folder_of_labels = label_dir.parent if label_dir.is_file() else label_dir
    for folder in (folder_of_labels, folder_of_labels.parent):
        for path in sorted(folder.glob("evaluate_tracking.seqmap*")):
            if path.suffix == ".test":
                continue
            for line in read_lines(path):
                fields = line.split()
                if len(fields) >= 4 and fields[3].isdigit():
                    lengths[fields[0]] = int(fields[3])
    return lengths


def _within(rows: KittiRows, frame_count: int, files: SequenceFiles, intake: Intake) -> KittiRows:
    outside = rows.frames >= frame_count
    if outside.any():
        intake.refuse(
            "predicted row in a frame that the ground truth lacks",
            f"{files.pred}: frame {int(rows.frames[outside][0])} is predicted, but sequence {files.name} of the "
            f"ground truth ends with frame {frame_count - 1}",
            int(outside.sum()),
        )
        rows = rows.select(~outside)
    return rows


def evaluate_tracking_folder(
    gt_dir: Path,
    pred_dir: Path,
    classes: Sequence[str] = ("Car", "Pedestrian"),
    *,
    spaces: Sequence[str] | None = None,
    sequences: Sequence[str] = (),
    intake: Intake | None = None,
) -> TrackingReport:
    """Evaluates KITTI tracking results (``SEQUENCE.txt`` each) against labels.

    Args:
        gt_dir: ``label_02``, or a folder that holds it, or one label file.
        pred_dir: the results, or one result file.
        classes: KITTI class names, in any case.
        spaces: ``2d`` and ``3d``; by default 3d too when every predicted row has a 3D box.
        sequences: only these; all that have labels by default.
        intake: strict by default.

    Raises:
        InputFormatError: a malformed row, missing file, duplicated id and so on, with its place.
    """
    intake = intake or Intake()
    names = [KITTI_CLASSES[kitti_class_id(name)] for name in classes]
    label_dir = _label_folder(Path(gt_dir))
    lengths = _lengths(label_dir)
    loaded: list[tuple[str, KittiRows, KittiRows, int]] = []
    for files in pair_sequences(label_dir, Path(pred_dir), intake, sequences):
        gt = drop_duplicate_ids(read_tracking_file(files.gt, intake), files.name, "the ground truth", intake)
        frame_count = max(lengths.get(files.name, 0), int(gt.frames[-1]) + 1 if len(gt) else 0)
        pred = KittiRows.empty() if files.pred is None else read_tracking_file(files.pred, intake)
        pred = drop_duplicate_ids(_within(pred, frame_count, files, intake), files.name, "the prediction", intake)
        loaded.append((files.name, gt, pred, frame_count))
    if spaces is None:
        spaces = (
            ("2d", "3d")
            if any(len(p) for _, _, p, _ in loaded) and all(bool(p.has_3d.all()) for _, _, p, _ in loaded)
            else ("2d",)
        )

    metrics: dict[str, float] = {}
    by_sequence: dict[str, dict[str, SequenceScores]] = {}
    averages: dict[str, AmotaScore] = {}
    for name in names:
        for space in spaces:
            key = name.lower() if space == "2d" else f"{name.lower()}/3d"
            scores = score_sequences([kitti_sequence(g, p, name, n, s, space) for s, g, p, n in loaded])
            by_sequence[key] = scores
            combined = SequenceScores.combine(list(scores.values()))
            metrics |= {f"{key}/{metric}": value for metric, value in combined.metrics().items()}
        if "3d" in spaces:
            prepared = [amota_sequence(g, p, name, n, s) for s, g, p, n in loaded]
            for iou in AMOTA_IOUS.get(name, (0.25, 0.5)):
                average = averages[f"{name.lower()}/3d@{iou:g}"] = amota(prepared, iou)
                metrics |= {f"{name.lower()}/3d@{iou:g}/{m}": value for m, value in average.metrics().items()}
    unscored = sum(int(np.isnan(p.scores).sum()) for _, _, p, _ in loaded)
    notes = intake.summary()
    if unscored and "3d" in spaces:
        notes.append(f"{unscored} predicted rows have no score: sAMOTA, AMOTA and AMOTP take them as -1")
    rows = {name: (gt, pred, frame_count) for name, gt, pred, frame_count in loaded}
    return TrackingReport(metrics, by_sequence, averages, notes, rows)
