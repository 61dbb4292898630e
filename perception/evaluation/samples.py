"""The parts of a metric per frame or sequence, and the metric of any resampling of them.

Each kind has a function that packs a report into plain JSON and one that gives its metrics when unit ``k`` counts
``weights[k]`` times. With all weights 1 these are the reported numbers, which the tests check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.evaluation.depth import DepthReport
from perception.evaluation.detection import DetectionReport
from perception.evaluation.detection_curve import DetectionCurve, curve_scores
from perception.evaluation.latency import LatencyReport, latency_metrics
from perception.evaluation.odometry import OdometryReport
from perception.evaluation.panoptic import PanopticReport, panoptic_metrics
from perception.evaluation.segmentation import SegmentationReport, segmentation_metrics
from perception.evaluation.tracking import SequenceScores, TrackingReport
from perception.evaluation.tracking_clear import ClearScore
from perception.evaluation.tracking_hota import HotaScore
from perception.evaluation.tracking_identity import IdentityScore

__all__ = [
    "depth_samples",
    "detection_samples",
    "latency_samples",
    "odometry_samples",
    "panoptic_samples",
    "resampler",
    "segmentation_samples",
    "tracking_samples",
]

Float64Array = npt.NDArray[np.float64]
Samples = dict[str, Any]
Resample = Callable[[Float64Array], dict[str, float]]


def detection_samples(report: DetectionReport) -> Samples:
    """The moderate curves: labels, true positives' scores and matching steps by frame."""
    curves = {
        key: {
            "gt": curve.gt_counts.tolist(),
            "hit_scores": curve.hit_scores.tolist(),
            "hit_frames": curve.hit_frames.tolist(),
            # orientation is left out: it would double the size
            "steps": curve.steps[:, :3].T.tolist(),
            "step_frames": curve.step_frames.tolist(),
        }
        for key, curve in report.curves.items()
        if key.endswith("/moderate")
    }
    return {"kind": "detection", "unit": "frame", "names": report.frame_names, "curves": curves}


def _detection(samples: Samples) -> Resample:
    curves = {}
    for key, packed in samples["curves"].items():
        columns = np.array(packed["steps"], np.float64).reshape(3, -1)
        steps = np.vstack([columns, np.zeros(columns.shape[1])]).T
        order = np.argsort(-steps[:, 0], kind="stable")
        curves[key] = DetectionCurve(
            np.array(packed["gt"], np.int64),
            np.array(packed["hit_scores"], np.float64),
            np.array(packed["hit_frames"], np.int64),
            np.ascontiguousarray(steps[order]),
            np.array(packed["step_frames"], np.int64)[order],
        )

    def metrics(weights: Float64Array) -> dict[str, float]:
        out: dict[str, float] = {}
        for key, curve in curves.items():
            head, difficulty = key.rsplit("/", 1)
            out |= {f"{head}/{name}/{difficulty}": value for name, value in curve_scores(curve, weights).items()}
        return out

    return metrics


def tracking_samples(report: TrackingReport) -> Samples:
    """The sums behind HOTA, CLEAR and IDF1 by sequence."""
    names = sorted({name for scores in report.sequences.values() for name in scores})
    packed = {
        key: {
            "hota": [[getattr(scores[n].hota, f.name).tolist() for f in fields(HotaScore)] for n in names],
            "clear": [[getattr(scores[n].clear, f.name) for f in fields(ClearScore)] for n in names],
            "identity": [[getattr(scores[n].identity, f.name) for f in fields(IdentityScore)] for n in names],
        }
        for key, scores in report.sequences.items()
    }
    return {"kind": "tracking", "unit": "sequence", "names": names, "scores": packed}


def _tracking(samples: Samples) -> Resample:
    arrays = {
        key: {part: np.array(values, np.float64) for part, values in packed.items()}
        for key, packed in samples["scores"].items()
    }

    def metrics(weights: Float64Array) -> dict[str, float]:
        out: dict[str, float] = {}
        for key, packed in arrays.items():
            total = {part: np.tensordot(weights, values, 1) for part, values in packed.items()}
            clear = dict(zip((f.name for f in fields(ClearScore)), total["clear"].tolist(), strict=True))
            similarity_sum = clear.pop("similarity_sum")
            scores = SequenceScores(
                HotaScore(*total["hota"]),
                ClearScore(**{name: round(value) for name, value in clear.items()}, similarity_sum=similarity_sum),
                IdentityScore(*(round(value) for value in total["identity"].tolist())),
            )
            out |= {f"{key}/{name}": value for name, value in scores.metrics().items()}
        return out

    return metrics


def segmentation_samples(report: SegmentationReport) -> Samples:
    """Correct, labelled and predicted pixels of each class by frame."""
    confusions = report.frame_confusions
    classes = len(report.names)
    return {
        "kind": "segmentation",
        "unit": "frame",
        "names": report.frame_names,
        "classes": list(report.names),
        "correct": np.diagonal(confusions, axis1=1, axis2=2).tolist(),
        "labelled": confusions.sum(axis=2).tolist(),
        "predicted": confusions[:, :, :classes].sum(axis=1).tolist(),
    }


def _segmentation(samples: Samples) -> Resample:
    names = samples["classes"]
    parts = [np.array(samples[part], np.float64) for part in ("correct", "labelled", "predicted")]

    def metrics(weights: Float64Array) -> dict[str, float]:
        correct, labelled, predicted = (weights @ part for part in parts)
        # a matrix with the same margins: the wrong pixels may lie anywhere off the diagonal
        count = len(names)
        matrix = np.zeros((count + 1, count + 1))
        matrix[np.arange(count), np.arange(count)] = correct
        matrix[:count, count] = labelled - correct
        iou_union = labelled + predicted - correct
        occurring = iou_union > 0
        iou = np.divide(correct, iou_union, out=np.zeros(count), where=occurring)
        base = segmentation_metrics(matrix[:count], names)
        total = labelled.sum()
        out = {
            "mIoU": 100.0 * float(iou[occurring].mean()) if occurring.any() else 0.0,
            "fwIoU": 100.0 * float((labelled * iou).sum() / total) if total else 0.0,
            "pixel_accuracy": base["pixel_accuracy"],
            "mean_accuracy": base["mean_accuracy"],
        }
        return out | {f"{names[k]}/IoU": 100.0 * float(iou[k]) for k in np.flatnonzero(occurring).tolist()}

    return metrics


def panoptic_samples(report: PanopticReport, things: tuple[str, ...]) -> Samples:
    """The four counts of each class by frame."""
    return {
        "kind": "panoptic",
        "unit": "frame",
        "names": report.frame_names,
        "classes": list(report.names),
        "things": list(things),
        "counts": report.frame_counts.tolist(),
    }


def _panoptic(samples: Samples) -> Resample:
    counts = np.array(samples["counts"], np.float64)
    return lambda weights: panoptic_metrics(np.tensordot(weights, counts, 1), samples["classes"], samples["things"])


def depth_samples(report: DepthReport) -> Samples:
    """The metrics of each frame."""
    values = {key: [frame[key] for frame in report.frame_metrics] for key in report.metrics}
    return {"kind": "means", "unit": "frame", "names": report.frame_names, "values": values}


def odometry_samples(report: OdometryReport) -> Samples:
    """KITTI's errors by first frame of the segment, and the trajectory errors of each sequence."""
    names = list(report.sequence_metrics)
    keys = ("ATE_none_m", "ATE_SE3_m", "ATE_Sim3_m", "RPE_m", "RPE_deg")
    values = {
        key: [report.sequence_metrics[name][key] for name in names]
        for key in keys
        if all(key in report.sequence_metrics[name] for name in names)
    }
    return {"kind": "means", "unit": "sequence", "names": names, "values": values}


def _means(samples: Samples) -> Resample:
    values = {key: np.array(column, np.float64) for key, column in samples["values"].items()}
    return lambda weights: {key: float(weights @ column / weights.sum()) for key, column in values.items()}


def latency_samples(report: LatencyReport) -> Samples:
    """Milliseconds of every stage by frame, where the run kept them."""
    if not report.stages_ms:
        return {}
    stages = {name: np.nan_to_num(values).tolist() for name, values in report.stages_ms.items()}
    names = [str(k) for k in range(len(next(iter(stages.values()))))]
    deadline_ms = report.metrics.get("deadline_ms")
    return {"kind": "latency", "unit": "frame", "names": names, "stages": stages, "deadline_ms": deadline_ms}


def _latency(samples: Samples) -> Resample:
    stages = {name: np.array(values, np.float64) for name, values in samples["stages"].items()}

    def metrics(weights: Float64Array) -> dict[str, float]:
        rows = np.repeat(np.arange(len(weights)), weights.astype(np.int64))
        return latency_metrics({name: values[rows] for name, values in stages.items()}, samples["deadline_ms"])

    return metrics


_KINDS: Mapping[str, Callable[[Samples], Resample]] = {
    "detection": _detection,
    "tracking": _tracking,
    "segmentation": _segmentation,
    "panoptic": _panoptic,
    "means": _means,
    "latency": _latency,
}


def resampler(samples: Samples) -> Resample | None:
    """The function from weights (one per unit) to metrics, or None for samples of no known kind."""
    make = _KINDS.get(str(samples.get("kind")))
    return None if make is None else make(samples)
