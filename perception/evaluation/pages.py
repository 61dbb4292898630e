"""The HTML page of each kind of evaluation: its table, its curves, and where it went worst."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from perception.evaluation.kitti_rows import KITTI_CLASSES, kitti_class_id
from perception.evaluation.latency import LatencyReport
from perception.evaluation.map_layers import MapReport
from perception.evaluation.odometry import OdometryReport
from perception.evaluation.page import folded, line_chart, matrix, metric_table, picture, section
from perception.evaluation.pages_detection import boxes_picture, frame_image, image_path
from perception.evaluation.readers_images import read_image
from perception.evaluation.segmentation import SegmentationReport, iou_of_classes
from perception.evaluation.tracking import SequenceScores, TrackingReport
from perception.evaluation.tracking_hota import ALPHAS
from perception.evaluation.tracking_kitti import kitti_sequence
from perception.kernels.evaluation import unique_matches

__all__ = [
    "all_metrics",
    "latency_sections",
    "map_sections",
    "odometry_sections",
    "segmentation_sections",
    "tracking_sections",
]

WORST_FRAMES = 6


def all_metrics(metrics: dict[str, float]) -> str:
    """Every metric in one table."""
    rows = [(name, [f"{value:.4f}"]) for name, value in metrics.items()]
    return section("All numbers", folded(f"{len(rows)} metrics", metric_table(rows, ["metric", "value"])))


def tracking_sections(report: TrackingReport, images: Path | None) -> list[str]:
    """HOTA over its thresholds, averages over recall, sequences side by side, and the frames with the most errors.

    Args:
        report: the evaluation.
        images: folder of ``SEQUENCE/000000.png`` or ``.jpg``; without it the pictures show boxes alone.
    """
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
    if report.rows:
        sections.append(section("Worst frames", *_worst_tracking_frames(report, images)))
    return sections


def _worst_tracking_frames(report: TrackingReport, images: Path | None) -> list[str]:
    """Frames of image boxes with the most missed and false ones, at IoU 0.5."""
    candidates = []
    for name, (gt, pred, frame_count) in report.rows.items():
        missed, false = np.zeros(frame_count, np.int64), np.zeros(frame_count, np.int64)
        for key in report.sequences:
            if "/" not in key:
                class_name = KITTI_CLASSES[kitti_class_id(key)]
                s = kitti_sequence(gt, pred, class_name, frame_count, name)
                matched = unique_matches(s.gt_starts, s.pred_starts, s.pair_starts, s.similarity, 0.5) >= 0
                hits = np.diff(np.concatenate([[0], np.cumsum(matched)])[s.pred_starts])
                missed += np.diff(s.gt_starts) - hits
                false += np.diff(s.pred_starts) - hits
        candidates += [(missed[f] + false[f], missed[f], false[f], name, f) for f in range(frame_count)]
    pictures = []
    for errors, missed_here, false_here, name, f in sorted(candidates, key=lambda c: -c[0])[:WORST_FRAMES]:
        if not errors:
            break
        gt, pred, _ = report.rows[name]
        folder = None if images is None else images / name
        labels, tracks = gt.select(gt.frames == f), pred.select(pred.frames == f)
        pictures.append(
            picture(
                boxes_picture(labels, tracks, frame_image(folder, f"{f:06d}")),
                f"sequence {name}, frame {f}: {missed_here} missed, {false_here} false; labels green, tracks orange, "
                "with their ids",
                image_path(folder, f"{f:06d}"),
            )
        )
    return pictures


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
