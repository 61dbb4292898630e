"""Detectors on KITTI object frames: quality by the devkit's rules, and latency beside the bare libraries.

    python benchmarks/detection.py --data ../shared/data [--json FILE]

All latencies are of one process and one run, the candidates taking turns frame by frame, so their ratios hold on a busy
machine too. torchvision's network has random weights: it is there for its time alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import onnxruntime
import torch
import typer
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from torchvision.models import get_model

from perception.classes import KITTI_NAME_OF_OBJECT, OBJECT_CLASSES
from perception.config import load_config
from perception.detection.onnx import OnnxDetector
from perception.detection.torchvision import TorchvisionDetector
from perception.evaluation.detection import evaluate_detection_folder
from perception.files import write_text_atomic
from perception.models.onnx_input import with_input_size
from perception.roles import Detector
from perception.types import Frame

SIZES_HW = ((256, 832), (416, 416), (384, 1248))
# precision at all recalls needs the weak detections too
SCORE_FLOOR = "detection.score_threshold=0.01"


def main(
    data: Annotated[Path, typer.Option(help="Folder with kitti_object/training and weights/yolox_nano.onnx.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the numbers.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns over the frames for latency.")] = 2,
) -> None:
    folder, weights = data / "kitti_object" / "training", data / "weights" / "yolox_nano.onnx"
    frames = [
        Frame(index, path.stem, 0, np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]))
        for index, path in enumerate(sorted((folder / "image_2").iterdir()))
    ]
    metrics = {**quality(weights, folder, frames), **latency(weights, frames, rounds), **neighbours(weights)}
    table = Table("number", "value", title=f"{len(frames)} frames, {torch.get_num_threads()} threads")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.1f}")
    Console().print(table)
    if json_file is not None:
        write_text_atomic(json_file, json.dumps({"metrics": metrics, "meta": {"data": str(data)}}, indent=1) + "\n")


def quality(weights: Path, folder: Path, frames: Sequence[Frame]) -> dict[str, float]:
    """Average precision on the moderate difficulty, with and without merging riders.

    AP40 is the devkit's number, which few labels cap; R40 asks for the same recalls without that cap.
    """
    metrics: dict[str, float] = {}
    for height, width in SIZES_HW:
        for merge in ("true", "false"):
            detector = _yolox(weights, height, width, SCORE_FLOOR, f"detection.merge_riders={merge}")
            with tempfile.TemporaryDirectory() as results:
                for frame in frames:
                    write_text_atomic(Path(results) / f"{frame.name}.txt", _kitti_rows(detector, frame))
                found = evaluate_detection_folder(folder, Path(results)).metrics
            riders = "" if merge == "true" else ", riders apart"
            for key in ("Car/2d@0.7/AP40", "Car/2d@0.7/R40", "Pedestrian/2d@0.5/R40", "Cyclist/2d@0.5/R40"):
                metrics[f"{width}x{height}{riders}: {key}/moderate"] = found[f"{key}/moderate"]
    return metrics


def latency(weights: Path, frames: Sequence[Frame], rounds: int) -> dict[str, float]:
    """Milliseconds a frame of each adapter and of the library below it."""
    candidates: dict[str, Callable[[Frame], object]] = {}
    for height, width in SIZES_HW:
        candidates[f"{width}x{height}: OnnxDetector.detect"] = _yolox(weights, height, width).detect
        candidates[f"{width}x{height}: onnxruntime alone"] = _bare(weights, height, width, spinning=False)
    with tempfile.TemporaryDirectory() as scratch:
        name = "fasterrcnn_mobilenet_v3_large_320_fpn"
        file = Path(scratch) / f"{name}-random.safetensors"
        save_file(get_model(name, weights=None, weights_backbone=None).state_dict(), file)
        settings = load_config(overrides=["detection.source=fasterrcnn", f"detection.weights={file}"]).detection
        torchvision = TorchvisionDetector(settings)
    times_ms = _take_turns(candidates, list(frames) * rounds)
    # far slower, so a few frames must do
    times_ms |= _take_turns({"torchvision Faster R-CNN MobileNetV3 320": torchvision.detect}, frames[:6])
    return {
        f"{name}, p{share} ms": float(np.percentile(times, share))
        for name, times in times_ms.items()
        for share in (50, 90)
    }


def neighbours(weights: Path) -> dict[str, float]:
    """The network's p50 with spinning and with sleeping threads, alone and beside a process that takes a core."""
    height, width = SIZES_HW[0]
    candidates = {
        f"{width}x{height}: onnxruntime, threads {'spin' if spinning else 'sleep'}": _bare(
            weights, height, width, spinning
        )
        for spinning in (False, True)
    }
    frame = Frame(0, "grey", 0, np.full((height, width, 3), 114, np.uint8))
    metrics = {}
    for situation in ("alone", "beside a busy process"):
        busy = None
        if situation != "alone":
            busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            times_ms = _take_turns(candidates, [frame] * 100)
        finally:
            if busy is not None:
                busy.kill()
                busy.wait()
        metrics |= {f"{name}, {situation}, p50 ms": float(np.median(times)) for name, times in times_ms.items()}
    return metrics


def _take_turns(candidates: dict[str, Callable[[Frame], object]], frames: Sequence[Frame]) -> dict[str, list[float]]:
    for run in candidates.values():
        run(frames[0])
    times_ms: dict[str, list[float]] = {name: [] for name in candidates}
    for frame in frames:
        for name, run in candidates.items():
            # a network that keeps its last frame must not answer from memory
            fresh = Frame(frame.index, frame.name, 0, frame.image_rgb)
            began = time.perf_counter()
            run(fresh)
            times_ms[name].append((time.perf_counter() - began) * 1e3)
    return times_ms


def _yolox(weights: Path, height_px: int, width_px: int, *overrides: str) -> OnnxDetector:
    size = (f"detection.input_height_px={height_px}", f"detection.input_width_px={width_px}")
    return OnnxDetector(weights, load_config(overrides=[*size, *overrides]).detection)


def _bare(weights: Path, height_px: int, width_px: int, spinning: bool) -> Callable[[Frame], object]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    session = onnxruntime.InferenceSession(
        with_input_size(weights.read_bytes(), height_px, width_px), options, providers=["CPUExecutionProvider"]
    )
    blob = np.full((1, 3, height_px, width_px), 114, np.float32)
    return lambda frame: session.run(None, {"images": blob})


def _kitti_rows(detector: Detector, frame: Frame) -> str:
    found = detector.detect(frame)
    rows = []
    for box, score, class_id in zip(found.boxes_xyxy, found.scores, found.class_ids, strict=True):
        corners = " ".join(f"{corner:.2f}" for corner in box)
        name = KITTI_NAME_OF_OBJECT[OBJECT_CLASSES[class_id]]
        rows.append(f"{name} -1 -1 -10 {corners} -1 -1 -1 -1000 -1000 -1000 -10 {score:.6f}\n")
    return "".join(rows)


if __name__ == "__main__":
    typer.run(main)
