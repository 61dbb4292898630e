"""Semantic segmentation: IoU by class, mIoU, frequency-weighted IoU, accuracy, boundary F."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake
from perception.evaluation.label_classes import LabelClasses, label_classes
from perception.evaluation.readers_images import in_pairs, pair_images, read_image
from perception.kernels.label_maps import boundary_hits, label_pairs

__all__ = [
    "SegmentationReport",
    "boundary_f",
    "confusion",
    "evaluate_segmentation_folder",
    "iou_of_classes",
    "segmentation_metrics",
]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]

# share of the image diagonal within which boundaries agree (Csurka et al., BMVC 2013)
BOUNDARY_TOLERANCE = 0.0075


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationReport:
    """What an evaluation of segmentation found.

    Attributes:
        metrics: flat, such as ``mIoU`` and ``road/IoU``, in percent.
        names: of the classes.
        frame_names: of the frames.
        frame_confusions: (F, C, C + 1) i64 pixels by true and predicted class; the last column is "no class".
        frame_boundaries: (F, C) f64 boundary F of the frame, NaN where the class is in neither image; or None.
        notes: what a reader must know.
    """

    metrics: dict[str, float]
    names: tuple[str, ...]
    frame_names: list[str]
    frame_confusions: Int64Array
    frame_boundaries: Float64Array | None = None
    notes: list[str] = field(default_factory=list)


def confusion(gt: UInt8Array, pred: UInt8Array, classes: LabelClasses) -> Int64Array:
    """(C, C + 1) pixels by true and predicted class, void pixels of the ground truth left out.

    The last column counts pixels that the prediction calls void.

    Raises:
        ValueError: a label that the class list does not have.
    """
    table = label_pairs(gt, pred)
    known = classes.class_of_label
    for owner, counts in (("the ground truth", table.sum(axis=1)), ("the prediction", table.sum(axis=0))):
        strange = (known == -2) & (counts > 0)
        if strange.any():
            label = int(np.flatnonzero(strange)[0])
            raise ValueError(
                f"{owner} has label {label} in {int(counts[label])} pixels, but the classes are 0 to "
                f"{len(classes.names) - 1} and {classes.void} for void"
            )
    count = len(classes.names)
    out = np.zeros((count, count + 1), np.int64)
    for value in np.flatnonzero((known >= 0) & (table.sum(axis=1) > 0)):
        row = np.bincount(np.where(known >= 0, known, count), weights=table[value], minlength=count + 1)
        out[known[value]] += row.astype(np.int64)
    return out


def iou_of_classes(matrix: npt.NDArray[np.number]) -> Float64Array:
    """(C,) IoU, NaN for a class that is neither labelled nor predicted.

    Args:
        matrix: (C, C + 1) of ``confusion``.
    """
    count = matrix.shape[0]
    hit = np.diagonal(matrix).astype(np.float64)
    union = matrix.sum(axis=1) + matrix[:, :count].sum(axis=0) - hit
    result: Float64Array = np.divide(hit, union, out=np.full(count, np.nan), where=union > 0)
    return result


def segmentation_metrics(matrix: npt.NDArray[np.number], names: Sequence[str]) -> dict[str, float]:
    """All measures of one confusion matrix, in percent; classes that do not occur are left out of the means.

    >>> segmentation_metrics(np.array([[3, 1, 0], [0, 4, 0]]), ["a", "b"])["mIoU"]
    77.5
    """
    iou = iou_of_classes(matrix)
    labelled = matrix.sum(axis=1).astype(np.float64)
    total = labelled.sum()
    hit = np.diagonal(matrix)
    recall = np.divide(hit, labelled, out=np.full(len(iou), np.nan), where=labelled > 0)
    occurring = ~np.isnan(iou)
    metrics = {
        "mIoU": 100.0 * float(iou[occurring].mean()) if occurring.any() else 0.0,
        "fwIoU": 100.0 * float(np.nansum(labelled * np.nan_to_num(iou)) / total) if total else 0.0,
        "pixel_accuracy": 100.0 * float(hit.sum() / total) if total else 0.0,
        "mean_accuracy": 100.0 * float(np.nanmean(recall)) if (labelled > 0).any() else 0.0,
    }
    return metrics | {f"{names[k]}/IoU": 100.0 * float(iou[k]) for k in np.flatnonzero(occurring).tolist()}


def boundary_f(gt: UInt8Array, pred: UInt8Array, classes: LabelClasses) -> Float64Array:
    """(C,) F-measure of the class boundaries of one image, NaN for a class without boundary in both images."""
    tolerance_px = math.ceil(BOUNDARY_TOLERANCE * math.hypot(*gt.shape))
    void = 255
    table = np.where(classes.class_of_label >= 0, classes.class_of_label, void).astype(np.uint8)
    of_gt, of_pred = boundary_hits(table[gt], table[pred], tolerance_px, void)
    count = len(classes.names)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = of_gt[:count, 1] / of_gt[:count, 0]
        precision = of_pred[:count, 1] / of_pred[:count, 0]
        score = 2 * precision * recall / (precision + recall)
    either = (of_gt[:count, 0] > 0) | (of_pred[:count, 0] > 0)
    return np.where(either, np.nan_to_num(score), np.nan)


def evaluate_segmentation_folder(
    gt_dir: Path,
    pred_dir: Path,
    classes: str = "camvid",
    *,
    boundary: bool = False,
    frames: Sequence[str] = (),
    intake: Intake | None = None,
    threads: int = 2,
) -> SegmentationReport:
    """Evaluates PNG images of class ids, paired by name.

    Args:
        gt_dir: ground truth.
        pred_dir: predictions.
        classes: a list known to ``label_classes`` or a file.
        boundary: boundary F too, which takes longer.
        frames: only these.
        intake: strict by default.
        threads: that decode and count.

    Raises:
        InputFormatError: unreadable images, another size, unknown labels and so on, with the file.
    """
    intake = intake or Intake()
    known = label_classes(classes)

    def one(name: str, gt_path: Path, pred_path: Path) -> tuple[Int64Array, Float64Array | None] | str:
        try:
            gt = read_image(gt_path, [np.uint8], "an image of class ids")
            pred = read_image(pred_path, [np.uint8], "an image of class ids")
            if gt.shape != pred.shape:
                return (
                    f"{pred_path}: {pred.shape[1]}x{pred.shape[0]} pixels, but the ground truth {gt_path.name} has "
                    f"{gt.shape[1]}x{gt.shape[0]}"
                )
            return confusion(gt, pred, known), boundary_f(gt, pred, known) if boundary else None
        except InputFormatError as error:
            return str(error)
        except ValueError as error:
            return f"frame {name} ({gt_path}, {pred_path}): {error}"

    names: list[str] = []
    matrices: list[Int64Array] = []
    boundaries: list[Float64Array] = []
    for name, outcome in in_pairs(pair_images(Path(gt_dir), Path(pred_dir), intake, frames), one, threads):
        if isinstance(outcome, str):
            intake.refuse("frame that cannot be compared", outcome)
            continue
        names.append(name)
        matrices.append(outcome[0])
        if outcome[1] is not None:
            boundaries.append(outcome[1])
    if not names:
        raise InputFormatError(f"{pred_dir}: no frame is left to evaluate")
    confusions = np.stack(matrices)
    metrics = segmentation_metrics(confusions.sum(axis=0), known.names)
    frame_boundaries = np.stack(boundaries) if boundaries else None
    if frame_boundaries is not None:
        metrics |= boundary_metrics(frame_boundaries, known.names)
    return SegmentationReport(metrics, known.names, names, confusions, frame_boundaries, intake.summary())


def boundary_metrics(frame_boundaries: Float64Array, names: Sequence[str]) -> dict[str, float]:
    """Boundary F by class, mean over the frames that have the class, and over classes, in percent."""
    seen = ~np.isnan(frame_boundaries)
    sums, counts = np.where(seen, frame_boundaries, 0.0).sum(axis=0), seen.sum(axis=0)
    by_class = {f"{names[k]}/boundary_F": 100.0 * float(sums[k] / counts[k]) for k in np.flatnonzero(counts).tolist()}
    mean = float(np.mean(list(by_class.values()))) if by_class else 0.0
    return {"boundary_F": mean} | by_class
