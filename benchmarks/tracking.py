"""Trackers on KITTI tracking's PointRCNN detections: microseconds a frame and quality, beside published trackers.

    python benchmarks/tracking.py --data ../shared/data/kitti_tracking [--others SITE_PACKAGES] [--json FILE]

Reading and writing are left out of the times. Ours run with ``configs/pointrcnn_image.toml``. Beside them run a plain
numpy and scipy SORT, and ``ByteTrackTracker`` and ``CBIoUTracker`` of the ``trackers`` package where it can be
imported, in this environment or from ``--others``; their settings are the best of 25 random ones on the same data
(C-BIoU's for cars are ByteTrack's thresholds).
Where other processes load the machine, medians tell more than means.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import linear_sum_assignment

from perception.classes import KITTI_NAME_OF_OBJECT, OBJECT_CLASSES
from perception.config import load_config
from perception.datasets.detection_files import DetectionSequence, read_detections
from perception.datasets.kitti_detections import fit_projection, observed_image_size
from perception.evaluation.intake import Intake
from perception.evaluation.kitti_rows import KittiRows, kitti_class_id, read_tracking_file
from perception.evaluation.tracking import SequenceScores, score_sequences
from perception.evaluation.tracking_kitti import kitti_sequence
from perception.files import write_text_atomic
from perception.tracking.box_tracker import BoxTracker
from perception.tracking.factory import make_tracker
from perception.tracking.image_tracker import ImageTracker
from perception.tracking.settings import load_box_settings

CLASSES = ("car", "pedestrian")
FRAME_NS = 100_000_000
# takes (N, 4) boxes, (N,) scores, (N,) classes and the frame's number; gives ids and boxes
Step = Callable[[np.ndarray, np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]

# detections below the first number are left out; the rest are the constructor's arguments
OTHERS: dict[tuple[str, str], tuple[float, dict[str, float]]] = {
    ("ByteTrackTracker", "car"): (
        0.6248,
        {
            "track_activation_threshold": 0.9596, "minimum_consecutive_frames": 1, "high_conf_det_threshold": 0.9266,
            "minimum_iou_threshold": 0.2131,
        },
    ),
    ("ByteTrackTracker", "pedestrian"): (
        0.876,
        {
            "track_activation_threshold": 0.9537, "minimum_consecutive_frames": 1, "high_conf_det_threshold": 0.9476,
            "minimum_iou_threshold": 0.2495,
        },
    ),
    ("CBIoUTracker", "car"): (
        0.6248,
        {
            "track_activation_threshold": 0.9596, "minimum_consecutive_frames": 1, "high_conf_det_threshold": 0.9266,
        },
    ),
    ("CBIoUTracker", "pedestrian"): (
        0.4365,
        {
            "lost_track_buffer": 60, "track_activation_threshold": 0.877, "minimum_consecutive_frames": 3,
            "high_conf_det_threshold": 0.8679, "minimum_iou_threshold_first_assoc": 0.313,
            "buffer_ratio_first": 0.2152, "buffer_ratio_second": 0.4152,
        },
    ),
}  # fmt: skip


class PlainSort:
    """SORT (Bewley et al., 2016) as one writes it with numpy and scipy: a filter of seven numbers for each track."""

    def __init__(self, min_score: float, min_iou: float = 0.3, max_age: int = 3, min_hits: int = 3) -> None:
        self.min_score, self.min_iou, self.max_age, self.min_hits = min_score, min_iou, max_age, min_hits
        self.move = np.eye(7)
        self.move[[0, 1, 2], [4, 5, 6]] = 1.0
        self.noise = np.diag([1, 1, 1, 1, 0.01, 0.01, 0.0001])
        self.tracks: list[dict] = []
        self.frames, self.next_id = 0, 1

    @staticmethod
    def corners(x: np.ndarray) -> np.ndarray:
        """A state's box."""
        width = np.sqrt(max(x[2] * x[3], 1e-6))
        return np.array([x[0] - width / 2, x[1] - x[2] / width / 2, x[0] + width / 2, x[1] + x[2] / width / 2])

    def update(self, boxes: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ids and boxes of the tracks after a frame."""
        boxes = boxes[scores >= self.min_score].astype(float)
        self.frames += 1
        for track in self.tracks:
            if track["x"][2] + track["x"][6] <= 0:
                track["x"][6] = 0.0
            track["x"] = self.move @ track["x"]
            track["P"] = self.move @ track["P"] @ self.move.T + self.noise
            track["unseen"] += 1
        free = set(range(len(boxes)))
        if self.tracks and len(boxes):
            a = np.array([self.corners(track["x"]) for track in self.tracks])
            low, high = np.maximum(a[:, None, :2], boxes[:, :2]), np.minimum(a[:, None, 2:], boxes[:, 2:])
            inter = np.clip(high - low, 0, None).prod(axis=2)
            iou = inter / (
                (a[:, 2:] - a[:, :2]).prod(axis=1)[:, None] + (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) - inter
            )
            for i, j in zip(*linear_sum_assignment(-iou), strict=True):
                if iou[i, j] < self.min_iou:
                    continue
                track, box = self.tracks[i], boxes[j]
                size = box[2:] - box[:2]
                measured = np.array([*(box[:2] + size / 2), size.prod(), size[0] / size[1]])
                inverse = np.linalg.inv(track["P"][:4, :4] + np.diag([1, 1, 10, 10]))
                gain = track["P"][:, :4] @ inverse
                track["x"] = track["x"] + gain @ (measured - track["x"][:4])
                track["P"] = track["P"] - gain @ track["P"][:4]
                track["unseen"], track["hits"] = 0, track["hits"] + 1
                free.discard(j)
        for j in sorted(free):
            size = boxes[j, 2:] - boxes[j, :2]
            state = np.array([*(boxes[j, :2] + size / 2), size.prod(), size[0] / size[1], 0, 0, 0])
            spread = np.diag([10.0, 10, 10, 10, 1e4, 1e4, 1e4])
            self.tracks.append({"id": self.next_id, "x": state, "P": spread, "unseen": 0, "hits": 1})
            self.next_id += 1
        self.tracks = [track for track in self.tracks if track["unseen"] <= self.max_age]
        shown = [t for t in self.tracks if t["unseen"] == 0 and (t["hits"] >= self.min_hits or self.frames <= 3)]
        found = [self.corners(track["x"]) for track in shown]
        return np.array([track["id"] for track in shown], np.int64), np.array(found).reshape(-1, 4)


def ours(name: str) -> Step:
    tracker = make_tracker(load_config(Path("pointrcnn_image"), [f"tracking.tracker={name}"]).tracking)
    if not isinstance(tracker, ImageTracker):
        raise SystemExit(f"{name} is no tracker of image boxes")

    def step(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray]:
        tracks = tracker.track_boxes(boxes, scores, classes, frame * FRAME_NS)
        return tracks.track_ids, tracks.boxes_xyxy

    return step


def plain_sort(class_name: str) -> Step:
    tracker = PlainSort(0.93)
    return lambda boxes, scores, classes, frame: tracker.update(boxes, scores)


def published(name: str, class_name: str) -> Step:
    import supervision
    import trackers

    floor, arguments = OTHERS[name, class_name]
    tracker = getattr(trackers, name)(frame_rate=10.0, **arguments)

    def step(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, frame: int) -> tuple[np.ndarray, np.ndarray]:
        keep = scores >= floor
        found = supervision.Detections(xyxy=boxes[keep], confidence=scores[keep], class_id=classes[keep])
        tracked = tracker.update(found)
        ids = np.asarray([] if tracked.tracker_id is None else tracked.tracker_id, np.int64)
        return ids[ids >= 0], np.asarray(tracked.xyxy).reshape(-1, 4)[ids >= 0]

    return step


def run(make: Callable[[], Step], sequence: DetectionSequence, class_name: str | None) -> tuple[KittiRows, list[float]]:
    """Tracks one sequence, of one class or of all; rows of results, and microseconds of every frame."""
    step, times, frames, ids, boxes_out = make(), [], [], [], []
    boxes = sequence.boxes_xyxy.astype(np.float32)
    scores = (1.0 / (1.0 + np.exp(-sequence.scores))).astype(np.float32)
    keep = np.ones(len(scores), bool) if class_name is None else sequence.class_ids == OBJECT_CLASSES.index(class_name)
    for frame in range(sequence.frame_count):
        rows = np.arange(sequence.frame_starts[frame], sequence.frame_starts[frame + 1])
        rows = rows[keep[rows]]
        given = boxes[rows], scores[rows], sequence.class_ids[rows]
        began = time.perf_counter()
        found_ids, found_boxes = step(*given, frame)
        times.append((time.perf_counter() - began) * 1e6)
        frames.append(np.full(len(found_ids), frame))
        ids.append(found_ids)
        boxes_out.append(found_boxes)
    count = sum(map(len, ids))
    kind = kitti_class_id(KITTI_NAME_OF_OBJECT[class_name or "car"])
    unknown = np.full((count, 3), -1.0)
    return KittiRows(
        np.concatenate(frames).astype(np.int64), np.concatenate(ids).astype(np.int64), np.full(count, kind),
        np.zeros(count), np.zeros(count, np.int64), np.full(count, -10.0),
        np.concatenate(boxes_out).astype(np.float64), unknown, unknown, np.full(count, -10.0), np.ones(count),
    ), times  # fmt: skip


def step_3d(sequence: DetectionSequence) -> Callable[[int], object]:
    settings = load_box_settings("pointrcnn")
    tracker = BoxTracker(settings)
    if sequence.boxes_level is None:
        raise SystemExit(f"{sequence.name}: detections hold no 3D boxes")
    boxes, starts = sequence.boxes_level, sequence.frame_starts
    rows = np.array([settings.class_names.index(OBJECT_CLASSES[i]) for i in sequence.class_ids], np.int64)
    projection, size = fit_projection(boxes, sequence.boxes_xyxy), observed_image_size(sequence.boxes_xyxy)

    def step(frame: int) -> object:
        here = slice(starts[frame], starts[frame + 1])
        return tracker.step(boxes[here], sequence.scores[here], rows[here], frame * FRAME_NS, None, projection, size)

    return step


def crowd_times(count: int, frames: int = 200) -> np.ndarray:
    """Microseconds of ``update`` on ``count`` boxes that drift, in the image."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(count)))
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)[:count] * 70.0
    speed = rng.normal(0, 2, grid.shape)
    scores, classes = np.full(count, 0.9, np.float32), np.zeros(count, np.int64)
    tracker = make_tracker(load_config(overrides=["tracking.tracker=image"]).tracking)
    if not isinstance(tracker, ImageTracker):
        raise SystemExit("image is no tracker of image boxes")
    times = []
    for frame in range(frames):
        centres = grid + frame * speed + rng.normal(0, 0.5, grid.shape)
        boxes = np.concatenate([centres - 25, centres + 25], axis=1).astype(np.float32)
        began = time.perf_counter()
        tracker.track_boxes(boxes, scores, classes, frame * FRAME_NS)
        times.append((time.perf_counter() - began) * 1e6)
    return np.array(times[20:])


def crowd_times_3d(count: int, frames: int = 200) -> np.ndarray:
    """Microseconds of ``step`` on ``count`` cars that drive about, seen from a vehicle that stands."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(count)))
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)[:count] * 9.0
    yaw = rng.uniform(-np.pi, np.pi, count)
    speed_mps = rng.uniform(0, 5, (count, 1)) * np.column_stack([np.cos(yaw), np.sin(yaw)])
    tracker = BoxTracker(load_box_settings("pointrcnn"))
    rows, scores = np.zeros(count, np.int64), np.full(count, 5.0)
    projection = np.array([[640.0, -720.0, 0.0, 0.0], [180.0, 0.0, -720.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    times = []
    for frame in range(frames):
        place = grid + [10.0, -4.5 * side] + frame * FRAME_NS / 1e9 * speed_mps + rng.normal(0, 0.1, grid.shape)
        boxes = np.column_stack(
            [place, np.full(count, 0.8), yaw + rng.normal(0, 0.02, count), np.tile([4.2, 1.8, 1.6], (count, 1))]
        )
        began = time.perf_counter()
        tracker.step(boxes, scores, rows, frame * FRAME_NS, None, projection, (1242.0, 375.0))
        times.append((time.perf_counter() - began) * 1e6)
    return np.array(times[20:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="KITTI tracking with detections/pointrcnn")
    parser.add_argument("--others", type=Path, help="site-packages that hold the trackers package")
    parser.add_argument("--json", type=Path, help="write the numbers as data")
    arguments = parser.parse_args()
    if arguments.others is not None:
        # behind our own packages, so that numpy and OpenCV stay these
        sys.path.append(str(arguments.others))
    sequences = read_detections(arguments.data / "detections" / "pointrcnn", "pointrcnn")
    labels = {
        s.name: read_tracking_file(arguments.data / "training/label_02" / f"{s.name}.txt", Intake()) for s in sequences
    }
    makers: dict[str, Callable[[str], Step]] = {
        f"ours, {n}": lambda _, n=n: ours(n) for n in ("sort", "bytetrack", "ocsort", "image")
    }
    makers["SORT in numpy"] = plain_sort
    try:
        import trackers  # noqa: F401

        makers |= {f"{n} (trackers)": lambda c, n=n: published(n, c) for n in ("ByteTrackTracker", "CBIoUTracker")}
    except ImportError as error:
        print(f"without the trackers package: {error}")
    metrics: dict[str, float] = {}
    table = Table("tracker", "class", "HOTA", "IDF1", "switches", "us p50", "us mean", title="2D boxes, KITTI's rules")
    for name, make in makers.items():
        for class_name in CLASSES:
            parts, times = [], []
            for sequence in sequences:
                rows, spent = run(lambda make=make, kind=class_name: make(kind), sequence, class_name)
                frames = max(int(labels[sequence.name].frames.max()) + 1, sequence.frame_count)
                kitti_name = KITTI_NAME_OF_OBJECT[class_name]
                parts.append(kitti_sequence(labels[sequence.name], rows, kitti_name, frames, sequence.name))
                times += spent
            found = SequenceScores.combine(list(score_sequences(parts).values())).metrics()
            found |= {"us_p50": float(np.median(times)), "us_mean": float(np.mean(times))}
            keys = ("HOTA", "IDF1", "IDSW", "us_p50", "us_mean")
            metrics |= {f"{name}/{class_name}/{key}": found[key] for key in keys}
            table.add_row(name, class_name, *(f"{found[key]:.1f}" for key in keys))
    Console(width=110).print(table)

    speeds = {
        "2D image, all three classes": np.concatenate([run(lambda: ours("image"), s, None)[1] for s in sequences])
    }
    speeds |= {f"2D image, {count} objects": crowd_times(count) for count in (20, 1000)}
    spent = []
    for sequence in sequences:
        step = step_3d(sequence)
        for frame in range(sequence.frame_count):
            began = time.perf_counter()
            step(frame)
            spent.append((time.perf_counter() - began) * 1e6)
    speeds["3D, all three classes"] = np.array(spent)
    speeds |= {f"3D, {count} objects": crowd_times_3d(count) for count in (20, 1000)}
    for name, times in speeds.items():
        p50, p99 = np.percentile(times, [50, 99])
        print(f"{name:30} p50 {p50:8.1f} us | mean {np.mean(times):8.1f} | p99 {p99:8.1f}")
        metrics |= {f"{name}/p50": float(p50), f"{name}/mean": float(np.mean(times)), f"{name}/p99": float(p99)}
    if arguments.json is not None:
        rounded = {name: round(value, 2) for name, value in metrics.items()}
        write_text_atomic(arguments.json, json.dumps({"metrics": rounded, "meta": {"unit": "us"}}, indent=2) + "\n")


if __name__ == "__main__":
    main()
