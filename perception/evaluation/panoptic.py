"""Panoptic quality: every pixel has a class and an instance (Kirillov et al., CVPR 2019).

Images hold ``class * 1000 + instance`` in 16 bits, or just the class where there is no instance, as Cityscapes'
``instanceIds`` do; 65535 and void classes are void. A thing class without an instance in the ground truth is a crowd,
as in Cityscapes: it is never missed, and predictions of its class that lie in it are not false.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake
from perception.evaluation.label_classes import LabelClasses, label_classes
from perception.evaluation.readers_images import in_pairs, pair_images, read_image

__all__ = ["PanopticReport", "Segments", "evaluate_panoptic_folder", "panoptic_counts", "panoptic_metrics", "segments"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

PER_CLASS = 1000
VOID_VALUE = 65535
MATCH_IOU = 0.5
IGNORED_SHARE = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """The segments of one panoptic image.

    Attributes:
        rows: (H, W) i64 segment of each pixel, 0 void.
        class_ids: (S,) i64 class of each segment, -1 for the void at row 0.
        crowd: (S,) bool a thing class without instance.
    """

    rows: Int64Array
    class_ids: Int64Array
    crowd: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class PanopticReport:
    """What an evaluation found.

    Attributes:
        metrics: flat, such as ``PQ``, ``things/SQ`` and ``car/RQ``, in percent.
        names: of the classes.
        frame_names: of the frames.
        frame_counts: (F, C, 4) summed IoU, true positives, false positives, false negatives.
        notes: what a reader must know.
    """

    metrics: dict[str, float]
    names: tuple[str, ...]
    frame_names: list[str]
    frame_counts: Float64Array
    notes: list[str] = field(default_factory=list)


def segments(image: npt.NDArray[np.integer], classes: LabelClasses) -> Segments:
    """Splits a panoptic image.

    Raises:
        ValueError: a class that the list does not have.
    """
    values = np.flatnonzero(np.bincount(image.reshape(-1), minlength=1))
    labels = np.where(values >= PER_CLASS, values // PER_CLASS, values)
    labels[values == VOID_VALUE] = classes.void
    known = np.where(labels < 256, classes.class_of_label[np.minimum(labels, 255)], -2)
    if (known == -2).any():
        value = int(values[known == -2][0])
        raise ValueError(
            f"value {value} means class {int(labels[known == -2][0])}, but the classes are 0 to "
            f"{len(classes.names) - 1} and {classes.void} for void"
        )
    real = known >= 0
    table = np.zeros(int(image.max(initial=0)) + 1, np.int64)
    table[values[real]] = np.arange(1, int(real.sum()) + 1)
    is_thing = np.array([name in classes.things for name in classes.names])
    class_ids = np.concatenate([[-1], known[real]])
    crowd = np.concatenate([[False], is_thing[known[real]] & (values[real] < PER_CLASS)])
    return Segments(table[image], class_ids, crowd)


def panoptic_counts(gt: Segments, pred: Segments, class_count: int) -> Float64Array:
    """(C, 4) summed IoU, true positives, false positives and false negatives of one image.

    Raises:
        ValueError: the images differ in size.
    """
    if gt.rows.shape != pred.rows.shape:
        raise ValueError(f"the images must be of one size but are {gt.rows.shape} and {pred.rows.shape}")
    width = len(pred.class_ids)
    shared = np.bincount((gt.rows * width + pred.rows).reshape(-1), minlength=len(gt.class_ids) * width).reshape(
        -1, width
    )
    gt_area, pred_area = shared.sum(axis=1), shared.sum(axis=0)
    out = np.zeros((class_count, 4))
    same_class = (gt.class_ids[:, None] == pred.class_ids[None]) & (gt.class_ids[:, None] >= 0)
    # void pixels of the ground truth do not count against a prediction
    union = gt_area[:, None] + (pred_area - shared[0])[None] - shared
    iou = np.divide(shared, union, out=np.zeros(shared.shape), where=union > 0)
    matched = same_class & ~gt.crowd[:, None] & (iou > MATCH_IOU)
    gt_rows, pred_rows = np.nonzero(matched)
    np.add.at(out[:, 0], gt.class_ids[gt_rows], iou[gt_rows, pred_rows])
    np.add.at(out[:, 1], gt.class_ids[gt_rows], 1)
    missed = ~matched.any(axis=1) & (gt.class_ids >= 0) & ~gt.crowd
    np.add.at(out[:, 3], gt.class_ids[missed], 1)
    in_crowd = np.where(same_class & gt.crowd[:, None], shared, 0).sum(axis=0)
    ignored = (shared[0] + in_crowd) > IGNORED_SHARE * pred_area
    false = ~matched.any(axis=0) & (pred.class_ids >= 0) & ~ignored & (pred_area > 0)
    np.add.at(out[:, 2], pred.class_ids[false], 1)
    return out


def panoptic_metrics(counts: Float64Array, names: Sequence[str], things: Sequence[str]) -> dict[str, float]:
    """PQ, SQ and RQ by class and their means over all classes, things and stuff that occur, in percent.

    Args:
        counts: (C, 4) of ``panoptic_counts``, summed.
        names: of the classes.
        things: which of them are things.
    """
    iou_sum, tp, fp, fn = counts.T
    weight = tp + 0.5 * fp + 0.5 * fn
    occurring = weight > 0
    none = np.zeros(len(names))
    pq = np.divide(iou_sum, weight, out=none.copy(), where=occurring)
    sq = np.divide(iou_sum, tp, out=none.copy(), where=tp > 0)
    rq = np.divide(tp, weight, out=none.copy(), where=occurring)
    is_thing = np.array([name in things for name in names])
    metrics: dict[str, float] = {}
    for prefix, group in (("", occurring), ("things/", occurring & is_thing), ("stuff/", occurring & ~is_thing)):
        if group.any():
            metrics |= {f"{prefix}{m}": 100.0 * float(v[group].mean()) for m, v in (("PQ", pq), ("SQ", sq), ("RQ", rq))}
    for k in np.flatnonzero(occurring).tolist():
        metrics |= {f"{names[k]}/{m}": 100.0 * float(v[k]) for m, v in (("PQ", pq), ("SQ", sq), ("RQ", rq))}
    return metrics


def evaluate_panoptic_folder(
    gt_dir: Path,
    pred_dir: Path,
    classes: str = "cityscapes",
    *,
    frames: Sequence[str] = (),
    intake: Intake | None = None,
    threads: int = 2,
) -> PanopticReport:
    """Evaluates 16-bit PNG images ``class * 1000 + instance``, paired by name.

    Raises:
        InputFormatError: unreadable images, another size, unknown classes and so on, with the file.
    """
    intake = intake or Intake()
    known = label_classes(classes)

    def one(name: str, gt_path: Path, pred_path: Path) -> Float64Array | str:
        try:
            gt = read_image(gt_path, [np.uint16, np.uint8], "a panoptic image")
            pred = read_image(pred_path, [np.uint16, np.uint8], "a panoptic image")
            if gt.shape != pred.shape:
                return (
                    f"{pred_path}: {pred.shape[1]}x{pred.shape[0]} pixels, but the ground truth {gt_path.name} has "
                    f"{gt.shape[1]}x{gt.shape[0]}"
                )
            return panoptic_counts(segments(gt, known), segments(pred, known), len(known.names))
        except InputFormatError as error:
            return str(error)
        except ValueError as error:
            return f"frame {name} ({gt_path}, {pred_path}): {error}"

    names: list[str] = []
    counts: list[Float64Array] = []
    for name, outcome in in_pairs(pair_images(Path(gt_dir), Path(pred_dir), intake, frames), one, threads):
        if isinstance(outcome, str):
            intake.refuse("frame that cannot be compared", outcome)
            continue
        names.append(name)
        counts.append(outcome)
    if not names:
        raise InputFormatError(f"{pred_dir}: no frame is left to evaluate")
    frame_counts = np.stack(counts)
    metrics = panoptic_metrics(frame_counts.sum(axis=0), known.names, known.things)
    return PanopticReport(metrics, known.names, names, frame_counts, intake.summary())
