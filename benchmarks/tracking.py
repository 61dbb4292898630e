"""Trackers on KITTI tracking's PointRCNN detections: microseconds a frame, reading and writing apart, one core.

    python benchmarks/tracking.py --detections ../shared/data/kitti_tracking/detections/pointrcnn [--json FILE]

The published trackers that these are compared with are not installed here; AB3DMOT alone
takes 7 to 8 ms a frame on such a machine (all three classes), OC-SORT and ByteTrack 0.1 to 0.4 ms (one class).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from perception.classes import OBJECT_CLASSES
from perception.config import load_config
from perception.datasets.detection_files import DetectionSequence, read_detections
from perception.datasets.kitti_detections import fit_projection, observed_image_size
from perception.files import write_text_atomic
from perception.tracking.box_tracker import BoxTracker
from perception.tracking.factory import make_tracker
from perception.tracking.image_tracker import ImageTracker
from perception.tracking.settings import load_box_settings

Step = Callable[[int], object]


def step_3d(sequence: DetectionSequence) -> Step:
    settings = load_box_settings("pointrcnn")
    tracker = BoxTracker(settings)
    if sequence.boxes_level is None:
        raise SystemExit(f"{sequence.name}: detections hold no 3D boxes")
    boxes, starts = sequence.boxes_level, sequence.frame_starts
    rows = np.array([settings.class_names.index(OBJECT_CLASSES[i]) for i in sequence.class_ids], np.int64)
    projection, size = fit_projection(boxes, sequence.boxes_xyxy), observed_image_size(sequence.boxes_xyxy)

    def step(frame: int) -> object:
        here = slice(starts[frame], starts[frame + 1])
        return tracker.step(boxes[here], sequence.scores[here], rows[here], frame * 100_000_000, None, projection, size)

    return step


def step_2d(sequence: DetectionSequence, name: str) -> Step:
    tracker = make_tracker(load_config(overrides=[f"tracking.tracker={name}"]).tracking)
    if not isinstance(tracker, ImageTracker):
        raise SystemExit(f"{name} is no tracker of image boxes")
    boxes = sequence.boxes_xyxy.astype(np.float32)
    scores = (1.0 / (1.0 + np.exp(-sequence.scores))).astype(np.float32)
    starts = sequence.frame_starts

    def step(frame: int) -> object:
        here = slice(starts[frame], starts[frame + 1])
        return tracker.track_boxes(boxes[here], scores[here], sequence.class_ids[here], frame * 100_000_000)

    return step


def crowd_step(count: int) -> Step:
    """``count`` boxes that drift, in the image."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(count)))
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)[:count] * 70.0
    speed = rng.normal(0, 2, grid.shape)
    tracker = make_tracker(load_config(overrides=["tracking.tracker=image"]).tracking)
    if not isinstance(tracker, ImageTracker):
        raise SystemExit("image is no tracker of image boxes")
    scores, classes = np.full(count, 0.9, np.float32), np.zeros(count, np.int64)

    def step(frame: int) -> object:
        centres = grid + frame * speed + rng.normal(0, 0.5, grid.shape)
        boxes = np.concatenate([centres - 25, centres + 25], axis=1).astype(np.float32)
        return tracker.track_boxes(boxes, scores, classes, frame * 100_000_000)

    return step


def timed(step: Step, frames: int) -> np.ndarray:
    times = np.empty(frames)
    for frame in range(frames):
        start = time.perf_counter()
        step(frame)
        times[frame] = time.perf_counter() - start
    return times * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=Path, required=True, help="folder in PointRCNN's layout")
    parser.add_argument("--json", type=Path, help="write the numbers as data")
    arguments = parser.parse_args()
    sequences = read_detections(arguments.detections, "pointrcnn")
    table: dict[str, float] = {}

    def report(name: str, times: np.ndarray) -> None:
        p50, p99 = np.percentile(times, [50, 99])
        print(f"{name:34} mean {times.mean():8.1f} us | p50 {p50:8.1f} | p99 {p99:8.1f}")
        table.update({f"{name}/mean": times.mean(), f"{name}/p50": p50, f"{name}/p99": p99})

    report("3D, all classes", np.concatenate([timed(step_3d(s), s.frame_count) for s in sequences]))
    for name in ("sort", "bytetrack", "ocsort", "image"):
        report(f"2D {name}, all classes", np.concatenate([timed(step_2d(s, name), s.frame_count) for s in sequences]))
    for count in (20, 1000):
        report(f"2D image, {count} objects", timed(crowd_step(count), 200)[20:])
    if arguments.json is not None:
        rounded = {name: round(float(value), 2) for name, value in table.items()}
        write_text_atomic(arguments.json, json.dumps({"metrics": rounded, "meta": {"unit": "us"}}, indent=2) + "\n")


if __name__ == "__main__":
    main()
