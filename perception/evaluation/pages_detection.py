"""The page of a detection evaluation: curves, class confusion, and the frames with the most errors."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from perception.evaluation.detection import DetectionReport
from perception.evaluation.detection_curve import DetectionCurve
from perception.evaluation.kitti_rows import KITTI_CLASSES, KittiRows
from perception.evaluation.page import line_chart, matrix, picture, section
from perception.kernels.evaluation import unique_matches
from perception.kernels.frame_overlaps import box_overlaps

__all__ = ["boxes_picture", "detection_sections", "frame_image", "image_path"]

WORST_FRAMES = 6
CONFUSION_IOU = 0.5
Image = npt.NDArray[np.uint8]


def detection_sections(report: DetectionReport, label_dir: Path, images: Path | None) -> list[str]:
    """Precision over recall at every class and space, and the frames with the most errors.

    Args:
        report: the evaluation.
        label_dir: where the label files are, for the links.
        images: folder of ``FRAME.png`` or ``.jpg``; without it the pictures show boxes alone.
    """
    parts = []
    for head in dict.fromkeys(key.rsplit("/", 1)[0] for key in report.curves):
        series = {}
        for difficulty in ("easy", "moderate", "hard"):
            curve = report.curves[f"{head}/{difficulty}"]
            points, labels = curve.points(), int(curve.gt_counts.sum())
            if labels:
                found = np.maximum(1, points[:, 1] + points[:, 2])
                series[difficulty] = (points[:, 1] / labels, points[:, 1] / found)
        if series:
            parts.append(line_chart(head, series, "recall", "precision", x_range=(0.0, 1.0), y_range=(0.0, 1.0)))
    scores = _operating_scores(report)
    return [
        section("Precision and recall", *parts),
        section("Classes", _class_confusion(report, scores)),
        section("Worst frames", *_worst_frames(report, scores, label_dir, images)),
    ]


def _strict_curves(report: DetectionReport) -> dict[str, DetectionCurve]:
    """The moderate 2D curve of each class at its strict overlap, which comes before the loose one."""
    curves: dict[str, DetectionCurve] = {}
    for key, curve in report.curves.items():
        if "/2d@" in key and key.endswith("/moderate"):
            curves.setdefault(key.split("/")[0], curve)
    return curves


def _operating_scores(report: DetectionReport) -> dict[str, float]:
    """The score at which precision times recall is best, by class."""
    scores = {}
    for name, curve in _strict_curves(report).items():
        points = curve.points()
        if len(points):
            quality = points[:, 1] ** 2 / np.maximum(1, points[:, 1] + points[:, 2])
            scores[name] = float(points[int(np.argmax(quality)), 0])
    return scores


def _class_confusion(report: DetectionReport, scores: dict[str, float]) -> str:
    """Which class labels are detected as, whatever their difficulty, at the operating scores."""
    frame_count = len(report.frame_names)
    gt = report.gt.select(report.gt.class_ids != KITTI_CLASSES.index("DontCare"))
    least = np.array([scores.get(name, np.inf) for name in KITTI_CLASSES])
    det = report.det.select(report.det.scores >= least[report.det.class_ids])
    gt_starts, det_starts = gt.starts(frame_count), det.starts(frame_count)
    pair_starts = np.concatenate([[0], np.cumsum(np.diff(gt_starts) * np.diff(det_starts))])
    overlaps = box_overlaps(gt.boxes_xyxy, gt_starts, det.boxes_xyxy, det_starts)
    gt_of_det = unique_matches(gt_starts, det_starts, pair_starts, overlaps, CONFUSION_IOU)
    count = len(KITTI_CLASSES)
    table = np.zeros((count, count + 1))
    matched = gt_of_det >= 0
    np.add.at(table, (gt.class_ids[gt_of_det[matched]], det.class_ids[matched]), 1)
    missed = np.ones(len(gt), bool)
    missed[gt_of_det[matched]] = False
    np.add.at(table[:, count], gt.class_ids[missed], 1)
    rows = np.flatnonzero(table.sum(axis=1) > 0).tolist()
    columns = [*[k for k, name in enumerate(KITTI_CLASSES) if name in scores], count]
    names = [*KITTI_CLASSES, "missed"]
    return matrix(
        f"share of each labelled class, %; matched one to one at image IoU {CONFUSION_IOU:g}, at the scores "
        + ", ".join(f"{name} {score:.3g}" for name, score in scores.items()),
        table[rows][:, columns],
        [names[k] for k in rows],
        [names[k] for k in columns],
    )


def _worst_frames(report: DetectionReport, scores: dict[str, float], label_dir: Path, images: Path | None) -> list[str]:
    missed, false = np.zeros(len(report.frame_names)), np.zeros(len(report.frame_names))
    for name, curve in _strict_curves(report).items():
        taken = curve.steps[:, 0] >= scores.get(name, np.inf)
        frames, added = curve.step_frames[taken], curve.steps[taken]
        missed += curve.gt_counts - np.bincount(frames, added[:, 1], len(missed))
        false += np.bincount(frames, added[:, 2], len(missed))
    least = np.array([scores.get(name, np.inf) for name in KITTI_CLASSES])
    det = report.det.select(report.det.scores >= least[report.det.class_ids])
    pictures = []
    for f in np.argsort(-(missed + false), kind="stable")[:WORST_FRAMES].tolist():
        if missed[f] + false[f] == 0:
            break
        name = report.frame_names[f]
        gt_here, det_here = report.gt.select(report.gt.frames == f), det.select(det.frames == f)
        pictures.append(
            picture(
                boxes_picture(gt_here, det_here, frame_image(images, name)),
                f"frame {name}: {missed[f]:.0f} missed, {false[f]:.0f} false (2D, moderate, at the scores above); "
                "labels green, detections orange",
                image_path(images, name) or label_dir / f"{name}.txt",
            )
        )
    return pictures


def image_path(images: Path | None, name: str) -> Path | None:
    """The picture of a frame in a folder, if it is there."""
    if images is None:
        return None
    return next((path for suffix in (".png", ".jpg", ".jpeg") if (path := images / f"{name}{suffix}").is_file()), None)


def frame_image(images: Path | None, name: str) -> Image | None:
    """The same, read as BGR."""
    path = image_path(images, name)
    image = None if path is None else cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image, np.uint8)


def boxes_picture(gt: KittiRows, det: KittiRows, image: Image | None) -> Image:
    """Labels in green and results in orange, with their ids where they have any, over the image or on grey."""
    if image is None:
        boxes = np.concatenate([gt.boxes_xyxy, det.boxes_xyxy, [[0, 0, 1242, 375]]])
        image = np.full((int(boxes[:, 3].max()) + 1, int(boxes[:, 2].max()) + 1, 3), 40, np.uint8)
    canvas: Image = image.copy()
    for rows, colour in ((gt, (90, 200, 90)), (det, (40, 140, 255))):
        for box, class_id, track_id in zip(
            rows.boxes_xyxy, rows.class_ids.tolist(), rows.track_ids.tolist(), strict=True
        ):
            x1, y1, x2, y2 = (round(v) for v in box.tolist())
            faint = KITTI_CLASSES[class_id] == "DontCare"
            if track_id >= 0:
                cv2.putText(canvas, str(track_id), (x1, y1 - 4), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 1, cv2.LINE_AA)
            cv2.rectangle(canvas, (x1, y1), (x2, y2), (140, 140, 140) if faint else colour, 1 if faint else 2)
    return canvas
