"""What pictures of a run cost: the tinting kernel beside OpenCV, then a whole frame of video part by part.

python benchmarks/drawing.py
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from perception.classes import OBJECT_COLOURS_RGB, SEMANTIC_COLOURS_RGB
from perception.geometry import SE3, guess_camera
from perception.kernels.drawing import tint
from perception.sinks.render import Painter
from perception.sinks.video import VideoWriter
from perception.types import Boxes3D, Detections, Frame, FrameResult, InstanceMap, SemanticMap, Tracks

WIDTH, HEIGHT = 1242, 375
OBJECTS, ROUNDS = 12, 60


def made_result() -> FrameResult:
    """A frame with smooth content, blocks of classes and a dozen objects."""
    v, u = np.mgrid[0:HEIGHT, 0:WIDTH]
    image = np.stack([u % 256, v % 256, (u + v) % 256], axis=2).astype(np.uint8)
    semantic = np.where(v > HEIGHT // 2, 0, np.where(u > WIDTH // 2, 8, 2)).astype(np.uint8)
    x = np.linspace(20, WIDTH - 180, OBJECTS)
    boxes = np.stack([x, 150 + 5 * (x % 7), x + 120, 240 + 5 * (x % 7)], axis=1).astype(np.float32)
    rows = np.full((HEIGHT, WIDTH), -1, np.int32)
    for row, (x1, y1, x2, y2) in enumerate(boxes):
        centre, axes = (int(x1 + x2) // 2, int(y1 + y2) // 2), (int(x2 - x1) // 2, int(y2 - y1) // 2)
        cv2.ellipse(rows, centre, axes, 0, 0, 360, row, -1)
    ids = np.arange(OBJECTS)
    scores, kinds = np.full(OBJECTS, 0.8, np.float32), ids % len(OBJECT_COLOURS_RGB)
    tracks = Tracks(ids + 1, boxes, None, np.zeros((OBJECTS, 2)), scores, kinds, ids, ids)
    frame = Frame(0, "0000000000", 0, image, guess_camera(WIDTH, HEIGHT))
    detections = Detections(boxes, scores, kinds)
    timings = dict.fromkeys(("detection", "semantic", "instance", "tracking", "total"), 10.0)
    return FrameResult(
        frame,
        detections,
        SemanticMap(semantic),
        InstanceMap(rows),
        None,
        Boxes3D.empty(OBJECTS),
        tracks,
        SE3.identity(),
        timings,
    )


def tint_with_opencv(
    image: np.ndarray, ids: np.ndarray, rows: np.ndarray, kinds: np.ndarray, boxes: np.ndarray
) -> np.ndarray:
    """The usual way: colour map, weighted sum, then mask and contour of every object within its box."""
    palette = np.zeros((256, 1, 3), np.uint8)
    palette[: len(SEMANTIC_COLOURS_RGB), 0] = SEMANTIC_COLOURS_RGB
    tinted = cv2.addWeighted(image, 0.65, cv2.applyColorMap(ids, palette), 0.35, 0.0)
    for row, (kind, (x1, y1, x2, y2)) in enumerate(zip(kinds, boxes.astype(int), strict=True)):
        part = np.s_[max(0, y1) : y2 + 1, max(0, x1) : x2 + 1]
        mask = cv2.compare(rows[part], row, cv2.CMP_EQ)
        colour = OBJECT_COLOURS_RGB[kind].tolist()
        flat = np.empty_like(image[part])
        flat[:] = colour
        cv2.copyTo(cv2.addWeighted(image[part], 0.69, flat, 0.31, 0.0), mask, tinted[part])
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tinted[part], contours, -1, colour, 2)
    return tinted


def medians_ms(tasks: dict[str, Callable[[], object]]) -> dict[str, float]:
    """The tasks take turns, so that their ratios hold on a busy machine too."""
    durations: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(ROUNDS):
        for name, task in tasks.items():
            began = time.perf_counter()
            task()
            durations[name].append(time.perf_counter() - began)
    return {name: float(np.median(values)) * 1e3 for name, values in durations.items()}


def main() -> None:
    cv2.setNumThreads(1)
    result = made_result()
    image, ids, rows = result.frame.image_rgb, result.semantic.class_ids, result.instances.detection_rows
    kinds = result.detections.class_ids
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(SEMANTIC_COLOURS_RGB)] = SEMANTIC_COLOURS_RGB
    alphas = np.full(256, 90)
    painter = Painter("benchmark", 720)
    picture = painter.paint(result)
    with TemporaryDirectory() as folder:
        writer = VideoWriter(Path(folder) / "video.mp4", picture.shape[1], picture.shape[0], 10.0, 23)
        tasks: dict[str, Callable[[], object]] = {
            "tint, OpenCV": lambda: tint_with_opencv(image, ids, rows, kinds, result.detections.boxes_xyxy),
            "tint, kernel": lambda: tint(image, ids, rows, palette, alphas, OBJECT_COLOURS_RGB[kinds]),
            "a whole picture, 1280x720": lambda: painter.paint(replace(result)),
            "its H.264": lambda: writer.write(picture),
        }
        print(f"one thread, median of {ROUNDS}, {OBJECTS} objects in {WIDTH}x{HEIGHT}")
        for name, duration_ms in medians_ms(tasks).items():
            print(f"{name:28s} {duration_ms:7.2f} ms")
        writer.close()


if __name__ == "__main__":
    main()
