"""How long a view of a training image takes, beside torchvision's v2 transforms doing the same.

    python benchmarks/augmentation.py [--json FILE]

An image of KITTI's size with boxes, classes and outlines becomes a view of 320x448. Both crop, scale, stretch, flip and
change colours, blur and noise with the same shares; ours also moves depth, distances and identities, which torchvision
does not know. One thread, and the processor time of that alone, which a busy machine hardly changes. Medians.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torchvision import tv_tensors
from torchvision.transforms import v2

from perception.classes import OBJECT_CLASSES
from perception.files import write_text_atomic
from perception.training.augment import AugmentSettings, augment
from perception.training.labels import LabelledBoxes, Sample

HEIGHT, WIDTH = 375, 1242
VIEW_HW = (320, 448)
BOXES = 12


def made_sample(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    rough = rng.integers(0, 255, (24, 78, 3)).astype(np.uint8)
    image = np.asarray(cv2.resize(rough, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), np.uint8)
    semantic = np.zeros((HEIGHT, WIDTH), np.uint8)
    owners = np.zeros((HEIGHT, WIDTH), np.uint16)
    corners = []
    for row in range(BOXES):
        u, v = int(rng.integers(0, WIDTH - 120)), int(rng.integers(120, HEIGHT - 90))
        semantic[v : v + 80, u : u + 110], owners[v : v + 80, u : u + 110] = 8, row + 1
        corners.append((u, v, u + 110, v + 80))
    boxes = LabelledBoxes(np.array(corners, np.float32), np.zeros(BOXES, np.int64), np.zeros(BOXES, bool))
    points = rng.uniform((0, 0, 3), (WIDTH, HEIGHT, 80), (15000, 3)).astype(np.float32)
    known = np.ones(len(OBJECT_CLASSES), bool)
    return Sample("made", image, semantic, "camvid", boxes, known, 832 / 1242, None, 721.0, points, owners)


def torchvision_views(sample: Sample, rotation_deg: float) -> Callable[[], object]:
    steps: list[torch.nn.Module] = [
        v2.RandomResizedCrop(VIEW_HW, scale=(0.1, 1.0), ratio=(1.2, 1.6), antialias=True),
        v2.RandomHorizontalFlip(0.5),
    ]
    if rotation_deg:
        steps.append(v2.RandomRotation(rotation_deg, interpolation=v2.InterpolationMode.BILINEAR))
    steps += [
        v2.RandomApply([v2.ColorJitter(0.3, 0.4, 0.6, 0.02)], 0.9),
        v2.RandomApply([v2.GaussianBlur(5, (0.4, 1.3))], 0.15),
        v2.RandomApply([v2.ToDtype(torch.float32, scale=True), v2.GaussianNoise(0.0, 0.03)], 0.15),
        v2.SanitizeBoundingBoxes(),
    ]
    pipeline = v2.Compose(steps)
    given = {
        "image": tv_tensors.Image(torch.from_numpy(sample.image_rgb).permute(2, 0, 1).contiguous()),
        "semantic": tv_tensors.Mask(torch.from_numpy(sample.semantic)),
        "owners": tv_tensors.Mask(torch.from_numpy(sample.owners.astype(np.int32))),
        "boxes": tv_tensors.BoundingBoxes(
            torch.from_numpy(sample.boxes.boxes_xyxy), format="XYXY", canvas_size=(HEIGHT, WIDTH)
        ),
        "labels": torch.from_numpy(sample.boxes.class_ids),
    }
    return lambda: pipeline(given)


def own_views(sample: Sample, settings: AugmentSettings) -> Callable[[], object]:
    rng = np.random.default_rng(0)
    return lambda: augment(sample, settings, rng, [sample])


def main(
    views: Annotated[int, typer.Option(help="Of each.")] = 200,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures as data.")] = None,
) -> None:
    """Times views."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    sample = made_sample(1)
    plain = AugmentSettings(height_px=VIEW_HW[0], width_px=VIEW_HW[1], least_scale=0.55, largest_scale=2.0, stretch=1.2)
    calls = {
        "own": own_views(sample, plain),
        "torchvision v2": torchvision_views(sample, 0.0),
        "own, turned": own_views(sample, plain.model_copy(update={"rotation_deg": 5.0})),
        "torchvision v2, turned": torchvision_views(sample, 5.0),
        "own, mosaic": own_views(sample, plain.model_copy(update={"mosaic": 1.0})),
        "own, pasted objects": own_views(sample, plain.model_copy(update={"copy_paste": 1.0})),
        "own, weather": own_views(sample, plain.model_copy(update={"weather": 1.0})),
    }
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(views + 5):
        for name, call in calls.items():
            began = time.process_time()
            call()
            if turn >= 5:
                times[name].append(1000 * (time.process_time() - began))
    table = Table("view of 320x448", "median ms", "p90 ms")
    metrics = {}
    for name, values in times.items():
        metrics[f"{name}/p50 ms"], metrics[f"{name}/p90 ms"] = np.percentile(values, [50, 90]).tolist()
        table.add_row(name, f"{np.median(values):.2f}", f"{np.percentile(values, 90):.2f}")
    Console().print(table)
    if json_file is not None:
        write_text_atomic(json_file, json.dumps({"metrics": metrics, "meta": {"views": views}}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
