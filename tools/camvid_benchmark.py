"""CamVid in one command: segment a split, print IoU by class and the speed, and keep the predictions.

python tools/camvid_benchmark.py --data CAMVID --split test --pred OUT

``OUT`` receives one PNG of class ids 0 … 10 for each frame, named like the frame. With --evaluate-only the PNGs that
lie there are evaluated. Frames are ``CAMVID/SPLIT``, labels ``CAMVID/SPLITannot``. The network sees pictures at about
the numbers of pixels of 320x1056 and 576x1888, and mirrored too, its classes follow the picture's colours, and those
that CamVid does not tell apart are counted together, unless --config or --set says otherwise; a replay uses 256x832
alone and does neither.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console

from perception.classes import CAMVID_CLASSES, semantic_to_camvid
from perception.cli.benchmark_runs import (
    FOR_FIGURES,
    FOR_PIXELS,
    main_guard,
    print_speed,
    save_metrics,
    settings_for,
)
from perception.cli.console import FrameProgress
from perception.cli.eval_tables import class_table
from perception.errors import DriveError
from perception.evaluation.samples import segmentation_samples
from perception.evaluation.segmentation import evaluate_segmentation_folder
from perception.files import replaced_when_done
from perception.segmentation.factory import make_semantic
from perception.types import Frame

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


@app.command()
def benchmark(
    data: Annotated[Path, typer.Option(help="CamVid folder with train, val, test and their …annot.")],
    pred: Annotated[Path, typer.Option(help="Folder for the predicted class ids.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    config: Annotated[Path | None, typer.Option(help="TOML over configs/default.toml.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="One setting, key.path=value.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Threads of the network; 0: every core.")] = 0,
    frames: Annotated[int | None, typer.Option(min=1, help="At most so many frames.")] = None,
    boundary: Annotated[bool, typer.Option("--boundary", help="Boundary F too.")] = False,
    evaluate_only: Annotated[bool, typer.Option("--evaluate-only", help="Take the PNGs that are there.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the metrics as data.")] = None,
) -> None:
    """Segments a split of CamVid and prints IoU by class, mIoU and milliseconds per frame."""
    paths = sorted(path for path in (data / split).glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)[:frames]
    if not paths:
        raise DriveError(f"{data / split}: no frames; PNG or JPEG images are expected")
    speed: dict[str, float] = {}
    if not evaluate_only:
        times_ms = _segment(paths, pred, config, set_ or [], device, threads)
        speed = {
            "speed/frames": float(len(times_ms)),
            "speed/p50_ms": float(np.median(times_ms)),
            "speed/p99_ms": float(np.percentile(times_ms, 99)),
        }
    labels = data / f"{split}annot"
    if labels.is_dir():
        names = [path.stem for path in paths]
        report = evaluate_segmentation_folder(labels, pred, "camvid", boundary=boundary, frames=names)
        columns = ("mIoU", "IoU", "fwIoU", "pixel_accuracy", "mean_accuracy", "boundary_F")
        for table in class_table(f"CamVid {split}, {len(names)} frames, %", report.metrics, columns):
            Console(width=120).print(table)
        meta = {"gt": str(labels), "pred": str(pred), "frames": len(names)}
        save_metrics("segmentation", report.metrics | speed, meta, segmentation_samples(report), json_file)
    else:
        print(f"{labels}: no labels, so there is nothing to evaluate against")
    if speed:
        print_speed(speed)


def _segment(
    paths: list[Path], pred: Path, config: Path | None, overrides: list[str], device: str, threads: int
) -> list[float]:
    """Writes the predictions and returns milliseconds per frame, reading and writing left out."""
    settings = settings_for(config, overrides, defaults=FOR_FIGURES)
    if settings.segmentation.semantic == "network":  # no other segmenter can
        settings = settings_for(config, overrides, defaults=(*FOR_PIXELS, "segmentation.labels=camvid"))
    threads = threads or settings.network.threads
    network = None
    if settings.segmentation.semantic == "network":
        from perception.models.street_network import StreetNetwork

        network = StreetNetwork(settings.network.model_copy(update={"threads": threads}), device)
    segmenter = make_semantic(settings.segmentation, network, device, threads)
    pred.mkdir(parents=True, exist_ok=True)
    times_ms: list[float] = []
    void = 0
    with FrameProgress("segmenting", quiet=False) as progress:
        for index, path in enumerate(paths):
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise DriveError(f"{path}: no readable image")
            frame = Frame(index, path.stem, 0, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            began = time.perf_counter()
            class_ids = semantic_to_camvid(segmenter.segment(frame).class_ids)
            times_ms.append(1e3 * (time.perf_counter() - began))
            void += int((class_ids >= len(CAMVID_CLASSES)).sum())
            with replaced_when_done(pred / f"{path.stem}.png") as aside:
                cv2.imwrite(str(aside), class_ids)
            progress(index + 1, len(paths))
    if void:
        print(
            f"{void} pixels have no CamVid class: written as {len(CAMVID_CLASSES)}, they count as wrong",
            file=sys.stderr,
        )
    return times_ms


if __name__ == "__main__":
    main_guard(app)
