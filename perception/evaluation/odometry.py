"""Poses against true ones: KITTI's error per length, absolute trajectory error, relative pose error.

Sources: the KITTI odometry devkit ``evaluate_odometry.cpp``; Umeyama (PAMI 1991) for the alignment; Sturm et al.
(IROS 2012) for the absolute and relative errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake
from perception.evaluation.readers_text import read_table

__all__ = [
    "LENGTHS_M",
    "OdometryReport",
    "align",
    "evaluate_odometry",
    "evaluate_odometry_files",
    "read_poses",
    "segment_errors",
]

Float64Array = npt.NDArray[np.float64]

LENGTHS_M = (100.0, 200.0, 300.0, 400.0, 500.0, 600.0, 700.0, 800.0)
FIRST_FRAME_STEP = 10


@dataclass(frozen=True, slots=True, eq=False)
class OdometryReport:
    """What an evaluation found.

    Attributes:
        metrics: flat; ``t_err_percent`` and ``r_err_deg_per_100m`` over all lengths and sequences.
        segments: by sequence (S, 4): first frame, length m, rotation error rad/m, translation error as a share.
        trajectories: by sequence, true and predicted positions (N, 3), the latter aligned by SE3, for drawing.
        sequence_metrics: by sequence.
        notes: what a reader must know.
    """

    metrics: dict[str, float]
    segments: dict[str, Float64Array]
    trajectories: dict[str, tuple[Float64Array, Float64Array]]
    sequence_metrics: dict[str, dict[str, float]]
    notes: list[str] = field(default_factory=list)


def read_poses(path: Path, intake: Intake) -> Float64Array:
    """(N, 4, 4) of KITTI ``poses.txt`` rows: twelve numbers, camera to first camera.

    Raises:
        InputFormatError: a malformed row, or one whose rotation is none, with its line.
    """
    table = read_table(path, [f"p{k // 4}{k % 4}" for k in range(12)], intake, what="pose row")
    if not len(table):
        raise InputFormatError(f"{path}: no poses; rows of 12 numbers are expected")
    poses = np.tile(np.eye(4), (len(table), 1, 1))
    poses[:, :3] = table.numbers.reshape(-1, 3, 4)
    turned = poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1)
    wrong = np.abs(turned - np.eye(3)).max(axis=(1, 2)) > 1e-2
    wrong |= np.linalg.det(poses[:, :3, :3]) < 0
    if wrong.any():
        # a pose that is left out would shift all that follow, so leniency does not help here
        row = int(np.flatnonzero(wrong)[0])
        raise InputFormatError(f"{table.where(row)}: the first three columns of the pose are no rotation")
    return poses


def segment_errors(gt: Float64Array, pred: Float64Array) -> Float64Array:
    """(S, 4) first frame, length m, rotation error rad/m and translation error as a share, as the devkit has them.

    Args:
        gt: (N, 4, 4) true poses.
        pred: (N, 4, 4).
    """
    steps = np.linalg.norm(np.diff(gt[:, :3, 3], axis=0), axis=1)
    driven = np.concatenate([[0.0], np.cumsum(steps)])
    rows = []
    for first in range(0, len(gt), FIRST_FRAME_STEP):
        for length in LENGTHS_M:
            last = int(np.searchsorted(driven, driven[first] + length, side="right"))
            if last >= len(gt):
                continue
            true = np.linalg.inv(gt[first]) @ gt[last]
            found = np.linalg.inv(pred[first]) @ pred[last]
            error = np.linalg.inv(found) @ true
            rows.append((first, length, _angle(error) / length, float(np.linalg.norm(error[:3, 3])) / length))
    return np.array(rows, np.float64).reshape(-1, 4)


def _angle(pose: Float64Array) -> float:
    return float(np.arccos(np.clip(0.5 * (np.trace(pose[:3, :3]) - 1.0), -1.0, 1.0)))


def align(source: Float64Array, target: Float64Array, *, with_scale: bool) -> tuple[Float64Array, Float64Array, float]:
    """The rotation (3, 3), translation (3,) and scale that bring points nearest to others (Umeyama).

    Args:
        source: (N, 3).
        target: (N, 3).
        with_scale: Sim3 instead of SE3.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(b.T @ a / len(source))
    mirror = np.ones(3)
    if np.linalg.det(u) * np.linalg.det(vt) < 0:
        mirror[2] = -1.0
    rotation = u @ np.diag(mirror) @ vt
    variance = float((a * a).sum() / len(source))
    scale = float((singular * mirror).sum() / variance) if with_scale and variance > 0 else 1.0
    return rotation, target_mean - scale * rotation @ source_mean, scale


def evaluate_odometry(gt: Float64Array, pred: Float64Array) -> tuple[dict[str, float], Float64Array, Float64Array]:
    """One sequence.

    Args:
        gt: (N, 4, 4) true poses.
        pred: (N, 4, 4).

    Returns:
        Metrics, segment errors of ``segment_errors``, and predicted positions (N, 3) aligned by SE3.

    Raises:
        ValueError: different numbers of poses.
    """
    if gt.shape != pred.shape:
        raise ValueError(f"as many predicted as true poses are needed but got {len(pred)} and {len(gt)}")
    metrics: dict[str, float] = {}
    segments = segment_errors(gt, pred)
    metrics |= _segment_metrics(segments)
    positions, found = gt[:, :3, 3], pred[:, :3, 3]
    aligned = found
    metrics["ATE_none_m"] = _rmse(found - positions)
    for name, with_scale in (("SE3", False), ("Sim3", True)):
        rotation, translation, scale = align(found, positions, with_scale=with_scale)
        moved = scale * found @ rotation.T + translation
        metrics[f"ATE_{name}_m"] = _rmse(moved - positions)
        if with_scale:
            metrics["scale"] = scale
        else:
            aligned = moved
    if len(gt) > 1:
        true_steps = np.linalg.inv(gt[:-1]) @ gt[1:]
        found_steps = np.linalg.inv(pred[:-1]) @ pred[1:]
        errors = np.linalg.inv(true_steps) @ found_steps
        angles = np.degrees([_angle(error) for error in errors])
        metrics["RPE_m"] = _rmse(errors[:, :3, 3])
        metrics["RPE_deg"] = float(np.sqrt(np.mean(angles**2)))
    return metrics, segments, aligned


def _rmse(errors: Float64Array) -> float:
    return float(np.sqrt((errors * errors).sum(axis=1).mean()))


def _segment_metrics(segments: Float64Array) -> dict[str, float]:
    if not len(segments):
        return {}
    metrics = {
        "t_err_percent": 100.0 * float(segments[:, 3].mean()),
        "r_err_deg_per_100m": 100.0 * float(np.degrees(segments[:, 2].mean())),
    }
    for length in LENGTHS_M:
        of_length = segments[segments[:, 1] == length]
        if len(of_length):
            metrics[f"t_err_percent/{length:g}m"] = 100.0 * float(of_length[:, 3].mean())
            metrics[f"r_err_deg_per_100m/{length:g}m"] = 100.0 * float(np.degrees(of_length[:, 2].mean()))
    return metrics


def _pose_files(path: Path, what: str) -> dict[str, Path]:
    if path.is_file():
        return {path.resolve().parent.name if path.stem == "poses" else path.stem: path}
    if not path.is_dir():
        raise InputFormatError(f"{path}: no such file or folder of {what}")
    if (path / "poses.txt").is_file():
        return {path.resolve().name: path / "poses.txt"}
    files = {file.stem: file for file in sorted(path.glob("[0-9]*.txt"))}
    for file in sorted(path.glob("*/poses.txt")):
        files.setdefault(file.parent.name, file)
    if not files:
        raise InputFormatError(f"{path}: an empty folder of {what}; poses.txt or SEQUENCE.txt is expected")
    return files


def evaluate_odometry_files(gt_path: Path, pred_path: Path, *, intake: Intake | None = None) -> OdometryReport:
    """Evaluates ``poses.txt`` against ``poses.txt``, or folders of ``SEQUENCE.txt``.

    A lenient intake compares the frames that both have from the start on.

    Raises:
        InputFormatError: a malformed row, different numbers of poses, a missing sequence, with the file.
    """
    intake = intake or Intake()
    gt_files, pred_files = _pose_files(Path(gt_path), "ground truth"), _pose_files(Path(pred_path), "predictions")
    if len(gt_files) == len(pred_files) == 1:
        pred_files = {next(iter(gt_files)): next(iter(pred_files.values()))}
    for name in sorted(pred_files.keys() - gt_files.keys()):
        intake.refuse("prediction without ground truth", f"{pred_files[name]}: {gt_path} has no sequence {name}")
    segments: dict[str, Float64Array] = {}
    trajectories: dict[str, tuple[Float64Array, Float64Array]] = {}
    by_sequence: dict[str, dict[str, float]] = {}
    notes = []
    for name, gt_file in gt_files.items():
        if name not in pred_files:
            intake.refuse("sequence without prediction", f"{pred_path}: no poses for sequence {name}")
            continue
        gt, pred = read_poses(gt_file, intake), read_poses(pred_files[name], intake)
        if len(gt) != len(pred):
            intake.refuse(
                "frame that only one side has",
                f"{pred_files[name]}: {len(pred)} poses, but the ground truth {gt_file} has {len(gt)}",
                abs(len(gt) - len(pred)),
            )
            shared = min(len(gt), len(pred))
            gt, pred = gt[:shared], pred[:shared]
        by_sequence[name], segments[name], aligned = evaluate_odometry(gt, pred)
        trajectories[name] = (gt[:, :3, 3], aligned)
        if not len(segments[name]):
            driven = float(np.linalg.norm(np.diff(gt[:, :3, 3], axis=0), axis=1).sum())
            notes.append(f"sequence {name} is {driven:.1f} m long: KITTI's errors need at least {LENGTHS_M[0]:g} m")
    if not by_sequence:
        raise InputFormatError(f"{pred_path}: no sequence is left to evaluate")
    metrics = _segment_metrics(np.concatenate(list(segments.values())))
    for key in ("ATE_none_m", "ATE_SE3_m", "ATE_Sim3_m", "RPE_m", "RPE_deg"):
        values = [one[key] for one in by_sequence.values() if key in one]
        if values:
            metrics[key] = float(np.mean(values))
    if len(by_sequence) > 1:
        for name, one in by_sequence.items():
            metrics |= {f"{name}/{key}": value for key, value in one.items() if "/" not in key}
    else:
        metrics["scale"] = next(iter(by_sequence.values()))["scale"]
    return OdometryReport(metrics, segments, trajectories, by_sequence, [*intake.summary(), *notes])
