"""The HTML page of each kind of evaluation: its table, its curves, and where it went worst."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from perception.evaluation.detection import DetectionReport
from perception.evaluation.detection_curve import DetectionCurve
from perception.evaluation.kitti_rows import KITTI_CLASSES, KittiRows
from perception.evaluation.latency import LatencyReport
from perception.evaluation.map_layers import MapReport
from perception.evaluation.odometry import OdometryReport
from perception.evaluation.page import line_chart, matrix, metric_table, picture, section
from perception.evaluation.readers_images import read_image
from perception.evaluation.segmentation import SegmentationReport, iou_of_classes
from perception.evaluation.tracking import SequenceScores, TrackingReport
from perception.evaluation.tracking_hota import ALPHAS
from perception.kernels.evaluation import unique_matches
from perception.kernels.frame_overlaps import box_overlaps

__all__ = [
    "all_metrics",
    "detection_sections",
    "latency_sections",
    "map_sections",
    "odometry_sections",
    "segmentation_sections",
    "tracking_sections",
]

WORST_FRAMES = 6
CONFUSION_IOU = 0.5
Image = npt.NDArray[np.uint8]


def all_metrics(metrics: dict[str, float]) -> str:
    """Every metric in one table."""
    rows = [(name, [f"{value:.4f}"]) for name, value in metrics.items()]
    return section("All numbers", metric_table(rows, ["metric", "value"]))


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
                _boxes_picture(gt_here, det_here, _image(images, name)),
                f"frame {name}: {missed[f]:.0f} missed, {false[f]:.0f} false (2D, moderate, at the scores above); "
                "labels green, detections orange",
                _image_path(images, name) or label_dir / f"{name}.txt",
            )
        )
    return pictures


def _image_path(images: Path | None, name: str) -> Path | None:
    if images is None:
        return None
    return next((path for suffix in (".png", ".jpg", ".jpeg") if (path := images / f"{name}{suffix}").is_file()), None)


def _image(images: Path | None, name: str) -> Image | None:
    path = _image_path(images, name)
    image = None if path is None else cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if image is None else np.asarray(image, np.uint8)


def _boxes_picture(gt: KittiRows, det: KittiRows, image: Image | None) -> Image:
    if image is None:
        boxes = np.concatenate([gt.boxes_xyxy, det.boxes_xyxy, [[0, 0, 1242, 375]]])
        image = np.full((int(boxes[:, 3].max()) + 1, int(boxes[:, 2].max()) + 1, 3), 40, np.uint8)
    canvas: Image = image.copy()
    for rows, colour in ((gt, (90, 200, 90)), (det, (40, 140, 255))):
        for box, class_id in zip(rows.boxes_xyxy, rows.class_ids, strict=True):
            x1, y1, x2, y2 = (round(v) for v in box.tolist())
            faint = KITTI_CLASSES[int(class_id)] == "DontCare"
            cv2.rectangle(canvas, (x1, y1), (x2, y2), (140, 140, 140) if faint else colour, 1 if faint else 2)
    return canvas


def tracking_sections(report: TrackingReport) -> list[str]:
    """HOTA over its thresholds, sequences side by side, and the averages over recall."""
    charts = []
    for key, scores in report.sequences.items():
        total = SequenceScores.combine(list(scores.values())).hota
        curves = {"HOTA": total.hota, "DetA": total.det_a, "AssA": total.ass_a, "LocA": total.loc_a}
        series = {name: (ALPHAS, 100 * curve) for name, curve in curves.items()}
        charts.append(
            line_chart(f"{key}: HOTA over alpha", series, "alpha", "%", x_range=(0.0, 1.0), y_range=(0.0, 100.0))
        )
    sections = [section("HOTA over the localisation threshold", *charts)]
    if report.averages:
        parts = [
            line_chart(
                f"{key}: MOTA over recall",
                {"MOTA": (a.recalls, 100 * a.motas), "sMOTA": (a.recalls, 100 * a.s_motas)},
                "recall",
                "%",
                x_range=(0.0, 1.0),
            )
            for key, a in report.averages.items()
            if len(a.recalls)
        ]
        sections.append(section("MOTA over recall", *parts))
    whole = ("IDSW", "Frag", "FP", "FN")
    shown = ("HOTA", "DetA", "AssA", "MOTA", "MOTP", "IDF1", "IDSW", "Frag", "FP", "FN")
    for key, scores in report.sequences.items():
        rows = []
        # the worst first
        for name, score in sorted(scores.items(), key=lambda item: item[1].metrics()["HOTA"]):
            if not score.clear.tp + score.clear.fn + score.clear.fp:
                continue
            metrics = score.metrics()
            rows.append((name, [f"{metrics[m]:.{0 if m in whole else 2}f}" for m in shown]))
        sections.append(section(f"{key} by sequence, worst first", metric_table(rows, ["sequence", *shown])))
    return sections


def segmentation_sections(report: SegmentationReport, gt_dir: Path, pred_dir: Path) -> list[str]:
    """The confusion matrix, and the frames of lowest mean IoU with their errors in red."""
    total = report.frame_confusions.sum(axis=0)
    sections = [
        section("Confusion", matrix("share of each true class, %", total, report.names, [*report.names, "none"]))
    ]
    frame_iou = [float(np.nanmean(iou)) if np.isfinite(iou := iou_of_classes(m)).any() else 0.0
                 for m in report.frame_confusions]  # fmt: skip
    order = np.argsort(frame_iou, kind="stable")[:WORST_FRAMES]
    parts = []
    for f in order.tolist():
        name = report.frame_names[f]
        paths = [next(folder.rglob(f"{name}*.png"), None) for folder in (gt_dir, pred_dir)]
        if paths[0] is None or paths[1] is None:
            continue
        gt, pred = (read_image(path, [np.uint8], "an image of class ids") for path in paths if path is not None)
        shade = np.stack([60 + (pred.astype(np.int64) * 37) % 150] * 3, axis=2).astype(np.uint8)
        shade[(gt != pred) & (gt < len(report.names))] = (60, 60, 230)
        parts.append(picture(shade, f"frame {name}: mIoU {100 * frame_iou[f]:.1f} %, errors in red", paths[1]))
    return [*sections, section("Worst frames", *parts)]


def odometry_sections(report: OdometryReport) -> list[str]:
    """Each trajectory from above, and the errors over length."""
    parts = []
    for name, (true, found) in report.trajectories.items():
        # the camera's x and z span the ground
        series = {"truth": (true[:, 0], true[:, 2]), "estimate (SE3 aligned)": (found[:, 0], found[:, 2])}
        parts.append(line_chart(f"sequence {name} from above", series, "x m", "z m", equal=True))
    sections = [section("Trajectories", *parts)]
    lengths = [key for key in report.metrics if key.startswith("t_err_percent/")]
    if lengths:
        x = [float(key.split("/")[1].removesuffix("m")) for key in lengths]
        y = [report.metrics[key] for key in lengths]
        sections.append(section("Error over length", line_chart("translation", {"t_err": (x, y)}, "m", "%")))
    return sections


def map_sections(report: MapReport) -> list[str]:
    """The confusion matrix of cells."""
    used = np.flatnonzero(report.confusion.sum(axis=1) > 0)
    names = [report.names[k] for k in used.tolist()]
    return [
        section("Confusion of cells", matrix("share, %", report.confusion[used], names, [*report.names, "unknown"]))
    ]


def latency_sections(report: LatencyReport) -> list[str]:
    """Milliseconds over the run, where single frames are known."""
    if not report.stages_ms:
        return []
    total = report.stages_ms["total"]
    return [section("Over the run", line_chart("total", {"total": (np.arange(len(total)), total)}, "frame", "ms"))]
