"""Instance segmentation AP as Cityscapes defines it: ten overlaps, small objects, crowds and void not counted.

Source: cityscapesScripts, ``evalInstanceLevelSemanticLabeling.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake
from perception.evaluation.label_classes import LabelClasses, label_classes
from perception.evaluation.panoptic import PER_CLASS, Segments, segments
from perception.evaluation.readers_images import read_image
from perception.evaluation.readers_text import read_lines

__all__ = [
    "InstanceFrame",
    "InstancePrediction",
    "InstanceReport",
    "evaluate_instances_folder",
    "instance_ap",
    "match_instances",
]

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

OVERLAPS: Float64Array = np.arange(0.5, 1.0, 0.05)
MIN_REGION_PX = 100


@dataclass(frozen=True, slots=True, eq=False)
class InstancePrediction:
    """One predicted object of an image: its mask (H, W), class and confidence."""

    mask: BoolArray
    class_id: int
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class InstanceFrame:
    """How the labels and predictions of one image overlap; pixels.

    Attributes:
        gt_class_ids: (G,) of the segments.
        gt_areas: (G,).
        gt_crowd: (G,) groups that cannot be told apart.
        pred_class_ids: (P,).
        pred_areas: (P,).
        confidences: (P,).
        void_areas: (P,) of each prediction in void.
        shared: (G, P).
    """

    gt_class_ids: npt.NDArray[np.int64]
    gt_areas: Float64Array
    gt_crowd: BoolArray
    pred_class_ids: npt.NDArray[np.int64]
    pred_areas: Float64Array
    confidences: Float64Array
    void_areas: Float64Array
    shared: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class InstanceReport:
    """Metrics such as ``AP``, ``AP50`` and ``car/AP`` in percent, frames, and notes."""

    metrics: dict[str, float]
    frame_names: list[str]
    frames: list[InstanceFrame]
    notes: list[str] = field(default_factory=list)


def match_instances(gt: Segments, predictions: Sequence[InstancePrediction]) -> InstanceFrame:
    """Overlaps of one image.

    Raises:
        ValueError: a mask of another size.
    """
    count = len(gt.class_ids)
    shared = np.zeros((count, len(predictions)))
    for k, prediction in enumerate(predictions):
        if prediction.mask.shape != gt.rows.shape:
            raise ValueError(f"the mask must be {gt.rows.shape} but is {prediction.mask.shape}")
        shared[:, k] = np.bincount(gt.rows[prediction.mask], minlength=count)
    return InstanceFrame(
        gt.class_ids[1:],
        np.bincount(gt.rows.reshape(-1), minlength=count)[1:].astype(np.float64),
        gt.crowd[1:],
        np.array([p.class_id for p in predictions], np.int64),
        shared.sum(axis=0),
        np.array([p.confidence for p in predictions], np.float64),
        shared[0],
        shared[1:],
    )


def instance_ap(frames: Sequence[InstanceFrame], class_id: int) -> Float64Array:
    """(10,) AP 0 … 1 of one class at each overlap; NaN where the class has no label.

    Args:
        frames: all images.
        class_id: which class.
    """
    return np.array([_ap(frames, class_id, float(overlap)) for overlap in OVERLAPS])


def _ap(frames: Sequence[InstanceFrame], class_id: int, overlap: float) -> float:
    correct: list[bool] = []
    scores: list[float] = []
    missed = 0
    have_gt = have_pred = False
    for frame in frames:
        of_class = frame.gt_class_ids == class_id
        counted = of_class & ~frame.gt_crowd & (frame.gt_areas >= MIN_REGION_PX)
        preds = np.flatnonzero(frame.pred_class_ids == class_id)
        have_gt |= bool(counted.any())
        have_pred |= len(preds) > 0
        shared = frame.shared[:, preds]
        iou = shared / np.maximum(frame.gt_areas[:, None] + frame.pred_areas[preds][None] - shared, 1)
        over = iou > overlap
        for g in np.flatnonzero(counted):
            found = np.sort(frame.confidences[preds[over[g]]])[::-1].tolist()
            missed += not found
            # one of several is right, the others are false
            correct += [k == 0 for k in range(len(found))]
            scores += found
        ignored_gt = of_class & (frame.gt_crowd | (frame.gt_areas < MIN_REGION_PX))
        for place in np.flatnonzero(~over[of_class].any(axis=0)):
            ignored = frame.void_areas[preds[place]] + shared[ignored_gt, place].sum()
            if ignored / max(1.0, frame.pred_areas[preds[place]]) <= overlap:
                correct.append(False)
                scores.append(float(frame.confidences[preds[place]]))
    if not have_gt:
        return float("nan")
    if not have_pred or not scores:
        return 0.0
    return _area(np.array(correct), np.array(scores), missed)


def _area(correct: BoolArray, scores: Float64Array, missed: int) -> float:
    order = np.argsort(scores, kind="stable")
    hits_below = np.concatenate([[0], np.cumsum(correct[order])])
    first = np.unique(scores[order], return_index=True)[1]
    tp = hits_below[-1] - hits_below[first]
    found = len(scores) - first
    precision = np.append(tp / found, 1.0)
    recall = np.append(tp / max(1, hits_below[-1] + missed), 0.0)
    padded = np.concatenate([[recall[0]], recall, [0.0]])
    return float(np.dot(precision, 0.5 * (padded[:-2] - padded[2:])))


def evaluate_instances_folder(
    gt_dir: Path,
    pred_dir: Path,
    classes: str = "cityscapes-ids",
    *,
    intake: Intake | None = None,
) -> InstanceReport:
    """Evaluates Cityscapes instance results: ``FRAME….txt`` with rows ``mask.png label confidence``.

    Args:
        gt_dir: 16-bit ``…instanceIds.png``.
        pred_dir: text files, whose mask paths are relative to them.
        classes: a list known to ``label_classes``; its things are evaluated.
        intake: strict by default.

    Raises:
        InputFormatError: malformed rows, missing masks, another size and so on, with the place.
    """
    intake = intake or Intake()
    known = label_classes(classes)
    gt_dir, pred_dir = Path(gt_dir), Path(pred_dir)
    gt_files = sorted(path for path in gt_dir.rglob("*.png") if not path.name.startswith("."))
    if any("instanceIds" in path.name for path in gt_files):
        gt_files = [path for path in gt_files if "instanceIds" in path.name]
    if not gt_files:
        raise InputFormatError(
            f"{gt_dir}: no instance images; 16-bit PNG files class * {PER_CLASS} + instance expected"
        )
    names, frames = [], []
    for gt_path in gt_files:
        name = gt_path.stem.split("_gtFine")[0]
        gt = segments(read_image(gt_path, [np.uint16, np.uint8], "an instance image"), known)
        rows = sorted(pred_dir.rglob(f"{name}*.txt"))
        if not rows:
            intake.refuse("frame without prediction", f"{pred_dir}: no prediction {name}*.txt")
            continue
        frames.append(match_instances(gt, _read_predictions(rows[0], gt.rows.shape, known, intake)))
        names.append(name)
    if not frames:
        raise InputFormatError(f"{pred_dir}: no frame is left to evaluate")
    by_class = {name: instance_ap(frames, known.names.index(name)) for name in known.things}
    occurring = {name: ap for name, ap in by_class.items() if not np.isnan(ap).any()}
    metrics = {
        "AP": 100.0 * float(np.mean(list(occurring.values()))) if occurring else 0.0,
        "AP50": 100.0 * float(np.mean([ap[0] for ap in occurring.values()])) if occurring else 0.0,
    }
    for name, ap in occurring.items():
        metrics |= {f"{name}/AP": 100.0 * float(ap.mean()), f"{name}/AP50": 100.0 * float(ap[0])}
    return InstanceReport(metrics, names, frames, intake.summary())


def _read_predictions(
    path: Path, shape: tuple[int, ...], known: LabelClasses, intake: Intake
) -> list[InstancePrediction]:
    predictions = []
    for line_number, line in enumerate(read_lines(path), start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            predictions.append(_prediction(path, fields, shape, known))
        except (ValueError, InputFormatError) as error:
            intake.refuse("malformed row", f"{path}:{line_number}: {error}")
    return predictions


def _prediction(path: Path, fields: list[str], shape: tuple[int, ...], known: LabelClasses) -> InstancePrediction:
    if len(fields) != 3:
        raise ValueError(f"a row has a mask file, a label and a confidence but this one has {len(fields)} columns")
    label, confidence = int(fields[1]), float(fields[2])
    if not 0 <= label < 256 or known.class_of_label[label] < 0:
        raise ValueError(f"unknown class {label}")
    if not np.isfinite(confidence):
        raise ValueError(f"the confidence must be finite but is {fields[2]}")
    mask = cv2.imread(str(path.parent / fields[0]), cv2.IMREAD_UNCHANGED)
    if mask is None:
        raise ValueError(f"the mask {fields[0]} cannot be read")
    if mask.shape != shape:
        raise ValueError(f"the mask {fields[0]} must be {shape} but is {mask.shape}")
    return InstancePrediction(mask != 0, int(known.class_of_label[label]), confidence)
