"""Depth images: absolute and squared relative error, RMSE, logarithmic errors, delta thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake
from perception.evaluation.readers_images import in_pairs, pair_images, read_image

__all__ = ["DepthReport", "depth_metrics", "evaluate_depth_folder"]

Float64Array = npt.NDArray[np.float64]

# KITTI's PNG scale: value / 256 is metres, 0 is unknown
KITTI_DEPTH_SCALE = 256.0
DELTA = 1.25


@dataclass(frozen=True, slots=True, eq=False)
class DepthReport:
    """What an evaluation found.

    Attributes:
        metrics: means over the frames.
        frame_names: of the frames.
        frame_metrics: one entry per frame.
        notes: what a reader must know.
    """

    metrics: dict[str, float]
    frame_names: list[str]
    frame_metrics: list[dict[str, float]]
    notes: list[str] = field(default_factory=list)


def depth_metrics(
    gt_m: npt.NDArray[np.floating],
    pred_m: npt.NDArray[np.floating],
    *,
    min_depth_m: float = 1e-3,
    max_depth_m: float = 80.0,
) -> dict[str, float]:
    """Errors over the pixels where both depths are known; empty where there is none.

    Names and units are those of the papers: ``mae`` and ``rmse`` in m, ``delta1`` … as shares of the pixels, ``SILog``
    times 100; ``coverage`` is the percentage of labelled pixels that are predicted.

    Args:
        gt_m: (H, W) m; NaN or 0 where unknown.
        pred_m: (H, W) m, likewise. Clipped to the range, as in Eigen et al. (2014).
        min_depth_m: labels outside the range do not count.
        max_depth_m: likewise.

    Raises:
        ValueError: the shapes differ.

    >>> round(depth_metrics(np.array([[10.0]]), np.array([[11.0]]))["abs_rel"], 6)
    0.1
    """
    if gt_m.shape != pred_m.shape:
        raise ValueError(f"depths must be of one shape but are {gt_m.shape} and {pred_m.shape}")
    with np.errstate(invalid="ignore"):
        labelled = (gt_m > min_depth_m) & (gt_m < max_depth_m)
        both = labelled & (pred_m > 0) & np.isfinite(pred_m)
    if not both.any():
        return {}
    gt = gt_m[both].astype(np.float64)
    pred = np.clip(pred_m[both].astype(np.float64), min_depth_m, max_depth_m)
    error = pred - gt
    log_error = np.log(pred) - np.log(gt)
    ratio = np.maximum(pred / gt, gt / pred)
    return {
        "abs_rel": float(np.mean(np.abs(error) / gt)),
        "sq_rel": float(np.mean(error * error / gt)),
        "mae": float(np.mean(np.abs(error))),
        "rmse": float(np.sqrt(np.mean(error * error))),
        "rmse_log": float(np.sqrt(np.mean(log_error * log_error))),
        # KITTI's depth server prints it times 100
        "SILog": 100.0 * float(np.sqrt(max(0.0, float(np.mean(log_error**2) - np.mean(log_error) ** 2)))),
        "delta1": float(np.mean(ratio < DELTA)),
        "delta2": float(np.mean(ratio < DELTA**2)),
        "delta3": float(np.mean(ratio < DELTA**3)),
        "coverage": 100.0 * float(both.sum() / labelled.sum()),
    }


def evaluate_depth_folder(
    gt_dir: Path,
    pred_dir: Path,
    *,
    max_depth_m: float = 80.0,
    scale: float = KITTI_DEPTH_SCALE,
    median_scaling: bool = False,
    frames: Sequence[str] = (),
    intake: Intake | None = None,
    threads: int = 2,
) -> DepthReport:
    """Evaluates 16-bit PNG depth images in KITTI's scale, paired by name.

    Args:
        gt_dir: ground truth.
        pred_dir: predictions.
        max_depth_m: labels beyond do not count.
        scale: image value of one metre.
        median_scaling: first scale each prediction to the label's median, for depth without scale.
        frames: only these.
        intake: strict by default.
        threads: that decode.

    Raises:
        InputFormatError: unreadable images, another size, a frame without any common pixel, with the file.
    """
    intake = intake or Intake()

    def one(name: str, gt_path: Path, pred_path: Path) -> dict[str, float] | str:
        try:
            gt = read_image(gt_path, [np.uint16], "a depth image") / scale
            pred = read_image(pred_path, [np.uint16], "a depth image") / scale
        except InputFormatError as error:
            return str(error)
        if gt.shape != pred.shape:
            return (
                f"{pred_path}: {pred.shape[1]}x{pred.shape[0]} pixels, but the ground truth {gt_path.name} has "
                f"{gt.shape[1]}x{gt.shape[0]}"
            )
        both = (gt > 0) & (gt < max_depth_m) & (pred > 0)
        if median_scaling and both.any():
            pred = pred * (np.median(gt[both]) / np.median(pred[both]))
        metrics = depth_metrics(gt, pred, max_depth_m=max_depth_m)
        return metrics or f"{pred_path}: no pixel of frame {name} has both a label and a prediction"

    names: list[str] = []
    frame_metrics: list[dict[str, float]] = []
    for name, outcome in in_pairs(pair_images(Path(gt_dir), Path(pred_dir), intake, frames), one, threads):
        if isinstance(outcome, str):
            intake.refuse("frame that cannot be compared", outcome)
            continue
        names.append(name)
        frame_metrics.append(outcome)
    if not names:
        raise InputFormatError(f"{pred_dir}: no frame is left to evaluate")
    metrics = {key: float(np.mean([frame[key] for frame in frame_metrics])) for key in frame_metrics[0]}
    return DepthReport(metrics, names, frame_metrics, intake.summary())
