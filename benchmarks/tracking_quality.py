"""Quality of the trackers on KITTI tracking's PointRCNN detections, beside a 3D tracker in the manner of AB3DMOT.

    python benchmarks/tracking_quality.py --detections ../shared/data/kitti_tracking/detections/pointrcnn \
        --labels ../shared/data/kitti_tracking/training/label_02 [--json FILE]

The baseline follows Weng et al., 3D Multi-Object Tracking: A Baseline and New Evaluation Metrics (IROS 2020), with the
settings of its published code for these detections: a Kalman filter of constant velocity over ten states without
ego-motion, 3D GIoU or distance, and fixed counts for birth and death. Both are scored by this project's evaluation.
Times are of tracking alone with the fit of the camera, all classes, CPU time in the mean over all frames.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from perception.classes import KITTI_NAME_OF_OBJECT, OBJECT_CLASSES
from perception.datasets.detection_files import DetectionSequence, read_detections
from perception.datasets.kitti_detections import fit_projection, observed_image_size, tracking_row
from perception.evaluation.tracking import evaluate_tracking_folder
from perception.files import write_text_atomic
from perception.geometry import box_corners, wrap_angle
from perception.kernels.rotated_iou import paired_overlap_3d
from perception.tracking.detection_tracks import TrackRows, track_boxes, track_boxes_offline
from perception.tracking.settings import load_box_settings

CLASSES = ("car", "pedestrian", "cyclist")
# assignment, measure, least value, detections before a track is shown, frames it outlives its last detection
BASELINE = {
    "car": ("optimal", "giou", -0.2, 3, 2),
    "pedestrian": ("greedy", "giou", -0.4, 1, 4),
    "cyclist": ("optimal", "distance", -2.0, 3, 4),
}
# least detection score for the baseline's HOTA, the best for it on the training half
BASELINE_MIN_SCORE = {"car": 2.0, "pedestrian": 3.0, "cyclist": 3.0}
_MOTION = np.eye(10) + np.pad(np.eye(3), ((0, 7), (7, 0)))
_SEEN = np.eye(7, 10)
_MOTION_NOISE = np.diag([1.0] * 7 + [0.01] * 3)
_OVERLAP_ORDER = [0, 1, 2, 4, 5, 6, 3]

# frame, id, class, level box, score
Row = tuple[int, int, str, np.ndarray, float]


class BaselineTrack:
    """One track of the baseline: x, y, z, yaw, length, width, height and velocity, per frame."""

    def __init__(self, track_id: int, box: np.ndarray, score: float) -> None:
        self.id, self.score, self.hits, self.missed = track_id, score, 1, 0
        self.mean = np.concatenate([box, np.zeros(3)])
        self.covariance = np.diag([10.0] * 7 + [10_000.0] * 3)

    def predict(self) -> None:
        """Moves a frame ahead."""
        self.mean = _MOTION @ self.mean
        self.covariance = _MOTION @ self.covariance @ _MOTION.T + _MOTION_NOISE
        self.missed += 1

    def update(self, box: np.ndarray, score: float) -> None:
        """Corrects with a detection."""
        if abs(wrap_angle(box[3] - self.mean[3])) > np.pi / 2:
            self.mean[3] += np.pi
        residual = box - self.mean[:7]
        residual[3] = wrap_angle(residual[3])
        gain = self.covariance @ _SEEN.T @ np.linalg.inv(_SEEN @ self.covariance @ _SEEN.T + np.eye(7))
        self.mean = self.mean + gain @ residual
        self.mean[3] = wrap_angle(self.mean[3])
        self.covariance = self.covariance - gain @ _SEEN @ self.covariance
        self.score, self.missed, self.hits = score, 0, self.hits + 1


def pairwise_giou_3d(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    rows, columns = (index.ravel().astype(np.int64) for index in np.indices((len(a), len(b))))
    inter, iou = paired_overlap_3d(
        np.ascontiguousarray(a[:, _OVERLAP_ORDER]), np.ascontiguousarray(b[:, _OVERLAP_ORDER]), rows, columns
    )
    corners_a, corners_b = (box_corners(boxes[:, :3], boxes[:, 4:], boxes[:, 3]) for boxes in (a, b))
    hulls = np.empty(len(rows))
    for k, (i, j) in enumerate(zip(rows, columns, strict=True)):
        points = np.concatenate([corners_a[i], corners_b[j]]).astype(np.float32)
        hulls[k] = cv2.contourArea(cv2.convexHull(points[:, :2].copy())) * np.ptp(points[:, 2])
    union = a[rows, 4:].prod(axis=1) + b[columns, 4:].prod(axis=1) - inter
    return (iou - 1.0 + union / np.maximum(hulls, 1e-9)).reshape(len(a), len(b))


def baseline_pairs(boxes: np.ndarray, tracks: np.ndarray, class_name: str) -> list[tuple[int, int]]:
    solver, measure, least, _, _ = BASELINE[class_name]
    if not len(boxes) or not len(tracks):
        return []
    if measure == "giou":
        affinity = pairwise_giou_3d(boxes, tracks)
    else:
        affinity = -np.linalg.norm(boxes[:, None, :3] - tracks[None, :, :3], axis=2)
    if solver == "optimal":
        pairs = list(zip(*linear_sum_assignment(-affinity), strict=True))
    else:
        pairs, left = [], affinity.copy()
        while left.max() >= least:
            i, j = np.unravel_index(int(left.argmax()), left.shape)
            pairs.append((i, j))
            left[i], left[:, j] = -np.inf, -np.inf
    return [(int(i), int(j)) for i, j in pairs if affinity[i, j] >= least]


def track_baseline(sequence: DetectionSequence) -> list[Row]:
    rows: list[Row] = []
    next_id = 1
    for class_name in CLASSES:
        _, _, _, min_hits, max_age = BASELINE[class_name]
        tracks: list[BaselineTrack] = []
        for frame in range(sequence.frame_count):
            here = np.arange(sequence.frame_starts[frame], sequence.frame_starts[frame + 1])
            here = here[sequence.class_ids[here] == OBJECT_CLASSES.index(class_name)]
            boxes, scores = sequence.boxes_level[here], sequence.scores[here]
            for track in tracks:
                track.predict()
            means = np.array([track.mean[:7] for track in tracks]).reshape(-1, 7)
            pairs = baseline_pairs(boxes, means, class_name)
            for i, j in pairs:
                tracks[j].update(boxes[i], float(scores[i]))
            for i in sorted(set(range(len(boxes))) - {i for i, _ in pairs}):
                tracks.append(BaselineTrack(next_id, boxes[i], float(scores[i])))
                next_id += 1
            tracks = [track for track in tracks if track.missed < max_age]
            rows += [
                (frame, track.id, class_name, track.mean[:7], track.score)
                for track in tracks
                if track.hits >= min_hits or frame < min_hits
            ]
    return rows


def in_image(box: np.ndarray, projection: np.ndarray, size: tuple[float, float]) -> np.ndarray | None:
    corners = box_corners(box[None, :3], box[None, 4:], box[None, 3])[0]
    pixels = np.c_[corners, np.ones(8)] @ projection.T
    if pixels[:, 2].min() < 0.1:
        return None
    pixels = pixels[:, :2] / pixels[:, 2:]
    clipped = np.clip(np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]), 0, [*size, *size])
    return clipped if (clipped[2:] > clipped[:2]).all() else None


def baseline_lines(sequence: DetectionSequence, rows: list[Row]) -> list[tuple[str, str, float]]:
    projection = fit_projection(sequence.boxes_level, sequence.boxes_xyxy)
    size = observed_image_size(sequence.boxes_xyxy)
    lines = []
    for frame, track_id, class_name, box, score in rows:
        image_box = in_image(box, projection, size)
        if image_box is not None:
            name = KITTI_NAME_OF_OBJECT[class_name]
            lines.append((tracking_row(frame, track_id, name, image_box, box, score), class_name, score))
    return lines


def track_own(sequence: DetectionSequence, offline: bool) -> TrackRows:
    settings = load_box_settings("pointrcnn")
    rows = np.array([settings.class_names.index(OBJECT_CLASSES[i]) for i in sequence.class_ids], np.int64)
    track = track_boxes_offline if offline else track_boxes
    return track(
        settings, sequence.frame_starts, sequence.boxes_level, sequence.scores, rows,
        fit_projection(sequence.boxes_level, sequence.boxes_xyxy), observed_image_size(sequence.boxes_xyxy),
    )  # fmt: skip


def own_lines(sequence: DetectionSequence, rows: TrackRows) -> list[tuple[str, str, float]]:
    names = load_box_settings("pointrcnn").class_names
    return [
        (
            tracking_row(
                int(rows.frames[i]), int(rows.track_ids[i]), KITTI_NAME_OF_OBJECT[names[rows.class_rows[i]]],
                rows.boxes_xyxy[i], rows.boxes_ego[i], float(rows.scores[i]),
            ),
            names[rows.class_rows[i]],
            float(rows.scores[i]),
        )
        for i in range(len(rows))
    ]  # fmt: skip


def metrics_of(lines: dict[str, list[tuple[str, str, float]]], labels: Path, least: dict[str, float] | None) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in lines.items():
            kept = [line for line, kind, score in rows if least is None or score >= least[kind]]
            (Path(folder) / f"{name}.txt").write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        spaces = ("3d",) if least is None else ("2d",)
        return evaluate_tracking_folder(labels, Path(folder), [c.title() for c in CLASSES], spaces=spaces).metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=Path, required=True, help="folder in PointRCNN's layout")
    parser.add_argument("--labels", type=Path, required=True, help="KITTI tracking label_02")
    parser.add_argument("--json", type=Path, help="write the numbers as data")
    arguments = parser.parse_args()
    sequences = read_detections(arguments.detections, "pointrcnn")
    frames = sum(sequence.frame_count for sequence in sequences)
    settings = load_box_settings("pointrcnn")
    runs: dict[str, tuple[Callable[[DetectionSequence], object], Callable[..., list], dict[str, float]]] = {
        "AB3DMOT's manner": (track_baseline, baseline_lines, BASELINE_MIN_SCORE),
        "this project": (lambda s: track_own(s, False), own_lines, settings.min_score),
        "this project, offline": (lambda s: track_own(s, True), own_lines, settings.offline_min_score),
    }
    table: dict[str, float] = {}
    print(f"{'':24}{'class':12}sAMOTA@0.25  @0.5  switches |  HOTA   IDF1  switches | us a frame")
    for name, (track, as_lines, least) in runs.items():
        start = time.process_time()
        tracked = {sequence.name: track(sequence) for sequence in sequences}
        frame_us = 1e6 * (time.process_time() - start) / frames
        lines = {sequence.name: as_lines(sequence, tracked[sequence.name]) for sequence in sequences}
        swept = metrics_of(lines, arguments.labels, None)
        cut = metrics_of(lines, arguments.labels, least)
        table[f"{name}/us"] = frame_us
        for kind in CLASSES:
            numbers = {
                "sAMOTA@0.25": swept[f"{kind}/3d@0.25/sAMOTA"],
                "sAMOTA@0.5": swept[f"{kind}/3d@0.5/sAMOTA"],
                "IDS@0.25": swept[f"{kind}/3d@0.25/IDS"],
                "HOTA": cut[f"{kind}/HOTA"],
                "IDF1": cut[f"{kind}/IDF1"],
                "IDSW": cut[f"{kind}/IDSW"],
            }
            table |= {f"{name}/{kind}/{metric}": value for metric, value in numbers.items()}
            a, b, ids, hota, idf1, switches = numbers.values()
            print(
                f"{name:24}{kind:12}{a:11.1f}{b:6.1f}{ids:10.0f} |{hota:6.1f}{idf1:7.1f}{switches:10.0f} |"
                f"{frame_us:11.0f}"
            )
    if arguments.json is not None:
        rounded = {name: round(float(value), 2) for name, value in table.items()}
        write_text_atomic(arguments.json, json.dumps({"metrics": rounded, "meta": {}}, indent=2) + "\n")


if __name__ == "__main__":
    main()
