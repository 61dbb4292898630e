"""Latency of the embedded network beside YOLOX-nano and torchvision's models, on a quiet and on a shared machine.

Also of everything after the network, and the memory that it all takes.

    python benchmarks/network.py --image FRAME.jpg --yolox yolox_nano.onnx [--json FILE]

The candidates take turns run by run, so their ratios hold on a busy machine too; those that spin come after the others,
since their threads go on spinning into the next one's time. "Shared" is with another process that
keeps one core busy. torchvision's models run on the whole image with random weights, which cost what published ones do.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import onnxruntime
import typer
from rich.console import Console
from rich.table import Table

from perception.config import load_config
from perception.detection.network import NetworkDetector
from perception.files import write_text_atomic
from perception.geometry import guess_camera
from perception.kernels.network_heads import image_planes
from perception.lifting.network_depth import NetworkDepth
from perception.models.onnx_input import with_input_size
from perception.models.street_forward import open_session
from perception.models.street_network import StreetNetwork
from perception.segmentation.network import NetworkInstances, NetworkSemantic
from perception.types import Frame

HEIGHT_PX, WIDTH_PX = 256, 832
HEADS = ("boxes", "semantic map", "instance map", "depth map")


def main(
    image: Annotated[Path, typer.Option(help="A street image.")],
    yolox: Annotated[Path, typer.Option(help="yolox_nano.onnx.")],
    rounds: Annotated[int, typer.Option(min=3, help="Turns.")] = 40,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the numbers.")] = None,
) -> None:
    pixels = np.ascontiguousarray(cv2.imread(str(image))[:, :, ::-1])
    runs = forwards(pixels, yolox)
    quiet = taking_turns(runs, rounds)
    hog = multiprocessing.Process(target=keep_busy, daemon=True)
    hog.start()
    try:
        shared = taking_turns(runs, rounds)
    finally:
        hog.terminate()
    post = taking_turns(postprocessing(pixels), rounds)
    post["after the network, all heads"] = list(np.sum([post[name] for name in HEADS], axis=0))
    beside_them = taking_turns(torchvision_models(pixels), 3)
    table = Table(
        "ms", "p50", "p90", "p50 shared", title=f"{WIDTH_PX}x{HEIGHT_PX}, image {pixels.shape[1]}x{pixels.shape[0]}"
    )
    for name, times in (quiet | beside_them | post).items():
        beside = f"{np.median(shared[name]):.1f}" if name in shared else ""
        table.add_row(name, f"{np.median(times):.2f}", f"{np.percentile(times, 90):.2f}", beside)
    console = Console()
    console.print(table)
    for precision, threads in product(("int8", "fp32"), ("1 thread", "2 threads")):
        name = f"street {precision}, {threads}"
        ratio = np.median(quiet[name]) / np.median(quiet[f"YOLOX-nano, {threads}"])
        slower = np.median(shared[name]) / np.median(quiet[name])
        console.print(f"{name}: {ratio:.2f} times YOLOX-nano; {slower:.2f} times slower on a shared machine")
    console.print(f"peak memory of a process that does nothing else: {peak_memory_mb(image):.0f} MB")
    if json_file is not None:
        numbers = {f"{name}/p50": float(np.median(times)) for name, times in (quiet | beside_them | post).items()}
        numbers |= {f"{name}/shared/p50": float(np.median(times)) for name, times in shared.items()}
        write_text_atomic(json_file, json.dumps({"metrics": numbers, "meta": {"rounds": rounds}}, indent=2) + "\n")


def forwards(pixels: np.ndarray, yolox: Path) -> dict[str, Callable[[], object]]:
    small = np.asarray(cv2.resize(pixels, (WIDTH_PX, HEIGHT_PX)), np.uint8)
    blob = small[:, :, ::-1].astype(np.float32).transpose(2, 0, 1)[None].copy()
    model = with_input_size(yolox.read_bytes(), HEIGHT_PX, WIDTH_PX)
    network = StreetNetwork(load_config().network, "cpu")
    runs: dict[str, Callable[[], object]] = {}
    for threads in (1, 2):
        for spins in (False, True):
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads, options.log_severity_level = threads, 4
            options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
            beside = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            name = beside.get_inputs()[0].name
            label = f"{threads} thread{'s' if threads > 1 else ''}{', spinning' if spins else ''}"
            for precision in ("int8", "fp32"):
                session = open_session(network.manifest, threads, spins=spins, precision=precision)
                runs[f"street {precision}, {label}"] = partial(session.run, None, {"image": blob})
            runs[f"YOLOX-nano, {label}"] = partial(beside.run, None, {name: blob})
    return runs


def postprocessing(pixels: np.ndarray) -> dict[str, Callable[[], object]]:
    config = load_config()
    network = StreetNetwork(config.network, "cpu")
    detector, semantic = NetworkDetector(network, config.detection), NetworkSemantic(network)
    instances, depth = NetworkInstances(network), NetworkDepth(network)
    frame = Frame(0, "0", 0, pixels, guess_camera(pixels.shape[1], pixels.shape[0]))
    detections, classes = detector.detect(frame), semantic.segment(frame)
    return {
        "before the network: resize and normalise": lambda: image_planes(
            cv2.resize(pixels, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_LINEAR),
            *np.full((2, 3), 100.0, np.float32),
        ),
        "boxes": lambda: detector.detect(frame),
        "semantic map": lambda: semantic.segment(frame),
        "instance map": lambda: instances.segment(frame, detections, classes),
        "depth map": lambda: depth.estimate(frame),
    }


def torchvision_models(pixels: np.ndarray) -> dict[str, Callable[[], object]]:
    """Detectors and segmenters that a user would take instead, at the image's own size, all cores."""
    import torch
    from torchvision.models import get_model

    image = torch.from_numpy(pixels).permute(2, 0, 1).float() / 255

    def detector(name: str) -> Callable[[], object]:
        model = get_model(name, weights=None, weights_backbone=None).eval()
        return lambda: model([image])

    def segmenter(name: str) -> Callable[[], object]:
        model = get_model(name, weights=None, weights_backbone=None).eval()
        return lambda: model(image[None])

    torch.set_grad_enabled(False)
    names = ("fasterrcnn_mobilenet_v3_large_320_fpn", "ssdlite320_mobilenet_v3_large")
    runs = {name: detector(name) for name in names}
    return runs | {name: segmenter(name) for name in ("lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large")}


def peak_memory_mb(image: Path) -> float:
    """Largest resident size of a process that loads the network and runs every head on one image."""
    program = (
        "import sys, cv2, numpy as np\n"
        "from perception.config import load_config\n"
        "from perception.detection.network import NetworkDetector\n"
        "from perception.models.street_network import StreetNetwork\n"
        "from perception.segmentation.network import NetworkInstances, NetworkSemantic\n"
        "from perception.types import Frame\n"
        "config = load_config()\n"
        "network = StreetNetwork(config.network, 'cpu')\n"
        "frame = Frame(0, '0', 0, np.ascontiguousarray(cv2.imread(sys.argv[1])[:, :, ::-1]))\n"
        "found = NetworkDetector(network, config.detection).detect(frame)\n"
        "NetworkInstances(network).segment(frame, found, NetworkSemantic(network).segment(frame))\n"
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))\n"
    )
    out = subprocess.run([sys.executable, "-c", program, str(image)], capture_output=True, text=True, check=True)
    return int(out.stdout) / 1024


def taking_turns(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for spins in (False, True):
        group = {name: run for name, run in runs.items() if name.endswith("spinning") == spins}
        for turn in range(rounds + 2):
            for name, run in group.items():
                begin = time.perf_counter()
                run()
                if turn >= 2:
                    times[name].append(1e3 * (time.perf_counter() - begin))
    return times


def keep_busy() -> None:
    while True:
        pass


if __name__ == "__main__":
    typer.run(main)
