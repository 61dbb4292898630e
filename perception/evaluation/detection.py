"""KITTI object detection: 2D, bird's-eye view, 3D and orientation, by the devkit's rules to the letter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.errors import InputFormatError
from perception.evaluation.detection_curve import DetectionCurve, ap40_cap, curve_scores
from perception.evaluation.intake import Intake
from perception.evaluation.kitti_rows import KITTI_CLASSES, NEIGHBOURS, KittiRows, kitti_class_id, read_object_files
from perception.evaluation.tracking_data import frame_pairs
from perception.kernels.detection_curves import detection_steps
from perception.kernels.frame_overlaps import box_overlaps, inside_any
from perception.kernels.rotated_iou import paired_bev_overlap, paired_overlap_3d

__all__ = ["DIFFICULTIES", "DetectionReport", "Difficulty", "evaluate_detection", "evaluate_detection_folder"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_DONT_CARE = KITTI_CLASSES.index("DontCare")
UNKNOWN_ALPHA = -10.0


@dataclass(frozen=True, slots=True)
class Difficulty:
    """Which labels and detections count (the devkit's MIN_HEIGHT, MAX_OCCLUSION and MAX_TRUNCATION)."""

    name: str
    min_height_px: float
    max_occlusion: int
    max_truncation: float


DIFFICULTIES = (
    Difficulty("easy", 40.0, 0, 0.15),
    Difficulty("moderate", 25.0, 1, 0.30),
    Difficulty("hard", 25.0, 2, 0.50),
)

# strict is the benchmark's own; loose is what papers print beside it
STRICT_IOU = {"Car": 0.7, "Van": 0.7, "Truck": 0.7, "Tram": 0.7}
LOOSE_IOU = {"Car": 0.5, "Van": 0.5, "Truck": 0.5, "Tram": 0.5}
STRICT_IOU_OTHERS, LOOSE_IOU_OTHERS = 0.5, 0.25


@dataclass(frozen=True, slots=True, eq=False)
class DetectionReport:
    """What an evaluation of detection found.

    Attributes:
        metrics: flat, such as ``Car/3d@0.7/AP40/moderate``.
        curves: by ``Car/3d@0.7/moderate``.
        frame_names: of the frames, in order.
        gt: the labels.
        det: the detections.
        notes: what a reader must know.
    """

    metrics: dict[str, float]
    curves: dict[str, DetectionCurve]
    frame_names: list[str]
    gt: KittiRows
    det: KittiRows
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Overlaps of every label with every detection of its frame, by space."""

    gt_rows: Int64Array
    det_rows: Int64Array
    overlaps: dict[str, Float64Array]


def evaluate_detection(
    gt: KittiRows,
    det: KittiRows,
    frame_count: int,
    classes: Sequence[str] = ("Car", "Pedestrian", "Cyclist"),
) -> tuple[dict[str, float], dict[str, DetectionCurve], list[str]]:
    """Scores detections against labels, rows of all frames together.

    Args:
        gt: labels, DontCare with them.
        det: detections with scores.
        frame_count: frames, with the empty ones.
        classes: KITTI class names.

    Returns:
        Metrics, curves and notes; see ``DetectionReport``.
    """
    names = [KITTI_CLASSES[kitti_class_id(name)] for name in classes]
    notes: list[str] = []
    with_3d = not len(det) or bool((det.locations_cam[:, 0] != -1000).any())
    if not with_3d:
        notes.append("no detection has a 3D box: bird's-eye view and 3D are not evaluated")
    with_orientation = bool((det.alphas != UNKNOWN_ALPHA).all())
    if not with_orientation:
        notes.append("some detections have no orientation (alpha -10): AOS is not evaluated, as in the devkit")

    regions = gt.select(gt.class_ids == _DONT_CARE)
    gt = gt.select(np.isin(gt.class_ids, [kitti_class_id(n) for n in (*names, *_neighbours_of(names))]))
    pairs = _all_pairs(gt, det, frame_count, with_3d)
    metrics: dict[str, float] = {}
    curves: dict[str, DetectionCurve] = {}
    for name in names:
        strict = STRICT_IOU.get(name, STRICT_IOU_OTHERS)
        loose = LOOSE_IOU.get(name, LOOSE_IOU_OTHERS)
        in_region = {
            iou: inside_any(
                det.boxes_xyxy, det.starts(frame_count), regions.boxes_xyxy, regions.starts(frame_count), iou
            )
            for iou in (strict, loose)
        }
        for difficulty in DIFFICULTIES:
            selected = _select(gt, det, name, difficulty, frame_count, pairs)
            for space in pairs.overlaps:
                for iou in (strict, loose):
                    curve = selected.curve(space, iou, in_region[iou] if space == "2d" else None)
                    key = f"{name}/{space}@{iou:g}"
                    curves[f"{key}/{difficulty.name}"] = curve
                    for metric, value in curve_scores(curve).items():
                        metrics[f"{key}/{metric}/{difficulty.name}"] = value
                    gt_count = int(curve.gt_counts.sum())
                    metrics[f"{key}/AP40_cap/{difficulty.name}"] = ap40_cap(gt_count)
                    if space == "2d" and with_orientation:
                        for metric, value in curve_scores(curve, orientation=True).items():
                            metrics[f"{name}/aos@{iou:g}/{metric}/{difficulty.name}"] = value
            metrics[f"{name}/labels/{difficulty.name}"] = float(selected.gt_counts.sum())
            if not selected.gt_counts.sum():
                notes.append(f"{name} has no {difficulty.name} label: its scores are 0, as in the devkit")
    return metrics, curves, notes


def _neighbours_of(names: Sequence[str]) -> list[str]:
    return [neighbour for name in names for neighbour in NEIGHBOURS.get(name, ())]


def _all_pairs(gt: KittiRows, det: KittiRows, frame_count: int, with_3d: bool) -> _Pairs:
    gt_starts, det_starts = gt.starts(frame_count), det.starts(frame_count)
    gt_rows, det_rows = frame_pairs(gt_starts, det_starts)
    overlaps = {"2d": box_overlaps(gt.boxes_xyxy, gt_starts, det.boxes_xyxy, det_starts)}
    if with_3d:
        gt_boxes, det_boxes = gt.boxes3d, det.boxes3d
        flat = [0, 1, 3, 4, 6]
        overlaps["bev"] = paired_bev_overlap(gt_boxes[:, flat], det_boxes[:, flat], gt_rows, det_rows)[1]
        overlaps["3d"] = paired_overlap_3d(gt_boxes, det_boxes, gt_rows, det_rows)[1]
    return _Pairs(gt_rows, det_rows, overlaps)


@dataclass(frozen=True, slots=True, eq=False)
class _Selected:
    """Labels and detections that take part for one class and difficulty."""

    gt: KittiRows
    det: KittiRows
    gt_ignored: BoolArray
    det_ignored: BoolArray
    det_rows: Int64Array
    gt_counts: Int64Array
    overlaps: dict[str, Float64Array]

    def curve(self, space: str, iou: float, in_region: BoolArray | None) -> DetectionCurve:
        frame_count = len(self.gt_counts)
        steps = detection_steps(
            self.gt.starts(frame_count),
            self.gt_ignored,
            self.gt.alphas,
            self.det.starts(frame_count),
            self.det_ignored,
            # DontCare regions have no 3D box, so they excuse nothing there
            np.zeros(len(self.det), np.bool_) if in_region is None else in_region[self.det_rows],
            self.det.scores,
            self.det.alphas,
            self.overlaps[space],
            iou,
        )
        return DetectionCurve(self.gt_counts, *steps)


def _select(
    gt: KittiRows, det: KittiRows, name: str, difficulty: Difficulty, frame_count: int, pairs: _Pairs
) -> _Selected:
    class_id = kitti_class_id(name)
    of_class = gt.class_ids == class_id
    gt_taken = of_class | np.isin(gt.class_ids, [kitti_class_id(n) for n in NEIGHBOURS.get(name, ())])
    hard = (
        (gt.occlusions > difficulty.max_occlusion)
        | (gt.truncations > difficulty.max_truncation)
        | (gt.boxes_xyxy[:, 3] - gt.boxes_xyxy[:, 1] < difficulty.min_height_px)
    )
    counts = of_class & ~hard
    # the devkit calls a low detection of whatever class ignored, and lets it be matched
    low = np.trunc(np.abs(det.boxes_xyxy[:, 1] - det.boxes_xyxy[:, 3])) < difficulty.min_height_px
    det_taken = low | (det.class_ids == class_id)
    kept = gt_taken[pairs.gt_rows] & det_taken[pairs.det_rows]
    return _Selected(
        gt.select(gt_taken),
        det.select(det_taken),
        ~counts[gt_taken],
        low[det_taken],
        np.flatnonzero(det_taken),
        np.bincount(gt.frames[counts], minlength=frame_count),
        {space: values[kept] for space, values in pairs.overlaps.items()},
    )


def _label_folder(gt_dir: Path) -> Path:
    for inner in ("label_2", "training/label_2"):
        if (gt_dir / inner).is_dir():
            return gt_dir / inner
    return gt_dir


def evaluate_detection_folder(
    gt_dir: Path,
    pred_dir: Path,
    classes: Sequence[str] = ("Car", "Pedestrian", "Cyclist"),
    *,
    frames: Sequence[str] = (),
    intake: Intake | None = None,
) -> DetectionReport:
    """Evaluates KITTI object results (``FRAME.txt`` each, with score) against labels.

    Args:
        gt_dir: ``label_2``, or a folder that holds it.
        pred_dir: the results; a folder ``data`` inside is taken, as the devkit wants it.
        classes: KITTI class names, in any case.
        frames: only these; all that have labels by default.
        intake: strict by default. A lenient one takes a missing result file as empty and counts it.

    Raises:
        InputFormatError: a malformed row, a missing or superfluous file and so on, with its place.
    """
    intake = intake or Intake()
    gt_dir, pred_dir = _label_folder(Path(gt_dir)), Path(pred_dir)
    if not any(pred_dir.glob("*.txt")) and (pred_dir / "data").is_dir():
        pred_dir = pred_dir / "data"
    gt_files, pred_files = _text_files(gt_dir, "labels"), _text_files(pred_dir, "results")
    if frames:
        unknown = [name for name in frames if name not in gt_files]
        if unknown:
            raise InputFormatError(f"{gt_dir}: no frame {unknown[0]!r}")
        gt_files = {name: gt_files[name] for name in frames}
        pred_files = {name: path for name, path in pred_files.items() if name in gt_files}
    for name in sorted(pred_files.keys() - gt_files.keys()):
        intake.refuse(
            "result file of a frame without labels",
            f"{pred_files[name]}: the ground truth {gt_dir} has no frame {name}",
        )
    names = list(gt_files)
    for name in names:
        if name not in pred_files:
            intake.refuse(
                "missing result file (counted as empty)",
                f"{pred_dir / (name + '.txt')}: no such file, but the ground truth has frame {name}; "
                "an empty file says that nothing was found",
            )
    gt = read_object_files(list(gt_files.values()), intake, scored=False)
    present = [k for k, name in enumerate(names) if name in pred_files]
    det = read_object_files([pred_files[names[k]] for k in present], intake, scored=True)
    det = det.with_frames(np.array(present, np.int64)[det.frames])
    metrics, curves, notes = evaluate_detection(gt, det, len(names), classes)
    return DetectionReport(metrics, curves, names, gt, det, [*intake.summary(), *notes])


def _text_files(folder: Path, what: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputFormatError(f"{folder}: no such folder of {what}")
    files = {path.stem: path for path in sorted(folder.glob("*.txt"))}
    if not files:
        raise InputFormatError(f"{folder}: an empty folder of {what}; one FRAME.txt for every frame is expected")
    return files
