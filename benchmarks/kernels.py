"""Kernels beside the libraries a user would pick instead, in one process and one run.

    python benchmarks/kernels.py [--only PART] [--rounds N] [--json FILE]

Every candidate gets the same inputs, many of them in turn (a repeated input flatters by a factor of three, since branch
prediction learns it), and the candidates take turns in mixed order. One core, whose processor time is taken, so that
the ratios hold on a busy machine too. Shown is the median over rounds of the mean over the inputs; ``asked`` is what
this project holds itself to.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import lap
import numpy as np
import torch
import torchvision
from pycocotools import mask as coco_masks
from scipy.optimize import linear_sum_assignment

from perception.files import write_text_atomic
from perception.kernels import kalman
from perception.kernels.assignment import assign, assign_auction, assign_gated
from perception.kernels.boxes import giou_matrix, iou_matrix
from perception.kernels.masks import mask_outline, rle_encode, rle_iou
from perception.kernels.nms import nms
from perception.kernels.projection import depth_image

# fewer of the large ones
INPUTS = {20: 100, 100: 50, 300: 20, 1000: 20, 3000: 10}

Candidate = tuple[Callable[..., Any], list[tuple[Any, ...]]]
# title, the candidates by name with their inputs, and what is asked
Part = tuple[str, dict[str, Candidate], str]


def clustered_boxes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of which about a fifth survive suppression at 0.5."""
    rng = np.random.default_rng(seed)
    clusters = max(count // 5, 1)
    centres = np.repeat(rng.uniform([0, 0], [1240, 370], (clusters, 2)), 5, axis=0) + rng.normal(
        0, 2, (clusters * 5, 2)
    )
    sizes = np.repeat(rng.uniform(20, 150, (clusters, 2)), 5, axis=0)
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1).astype(np.float32)
    return boxes[:count], rng.random(len(boxes)).astype(np.float32)[:count]


def tracking_costs(count: int, seed: int) -> np.ndarray:
    """1 - IoU of boxes and the same boxes a frame later, in another order."""
    rng = np.random.default_rng(seed)
    centres, sizes = rng.uniform([0, 0], [1240, 370], (count, 2)), rng.uniform(20, 150, (count, 2))
    later = (centres + rng.normal(0, 5, (count, 2)))[order := rng.permutation(count)]
    first = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    second = np.concatenate([later - sizes[order] / 2, later + sizes[order] / 2], axis=1)
    return 1.0 - iou_matrix(first, second).astype(np.float64)


def medians_us(candidates: dict[str, Candidate], rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in candidates}
    order, rng = list(candidates), np.random.default_rng(0)
    for _ in range(rounds + 1):
        rng.shuffle(order)
        for name in order:
            call, inputs = candidates[name]
            # of this thread, so that what else the machine does is not in it
            start = time.thread_time()
            for given in inputs:
                call(*given)
            times[name].append((time.thread_time() - start) / len(inputs))
    return {name: float(np.median(values[1:]) * 1e6) for name, values in times.items()}


def nms_parts() -> Iterator[Part]:
    for count in (100, 1000, 3000):
        boxes = [clustered_boxes(count, seed) for seed in range(INPUTS[count])]
        tensors = [(torch.from_numpy(b), torch.from_numpy(s), 0.5) for b, s in boxes]
        rects = [(np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1), s, 0.0, 0.5) for b, s in boxes]
        for (b, s), tensor in zip(boxes, tensors, strict=True):
            if not np.array_equal(nms(b, s, 0.5), torchvision.ops.nms(*tensor).numpy()):
                raise RuntimeError("nms and torchvision.ops.nms disagree")
        calls = {
            "perception": (nms, [(b, s, 0.5) for b, s in boxes]),
            "torchvision": (torchvision.ops.nms, tensors),
            "cv2.dnn": (cv2.dnn.NMSBoxes, rects),
        }
        yield f"nms {count}", calls, "4x torchvision"


def numpy_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    inter = sides.clip(0).prod(axis=2)
    areas = [(c[:, 2:] - c[:, :2]).prod(axis=1) for c in (a, b)]
    return inter / (areas[0][:, None] + areas[1][None] - inter)


def overlap_parts() -> Iterator[Part]:
    for count, asked in ((20, "1 us"), (300, "150 us")):
        pairs = [
            (clustered_boxes(count, seed)[0], clustered_boxes(count, seed + 100)[0]) for seed in range(INPUTS[count])
        ]
        tensors = [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in pairs]
        for a, b in pairs:
            np.testing.assert_allclose(iou_matrix(a, b), numpy_iou(a, b), atol=1e-5)
        out = np.empty((count, count), np.float32)
        calls = {
            "perception": (iou_matrix, [(a, b, out) for a, b in pairs]),
            "new result": (iou_matrix, pairs),
            "numpy": (numpy_iou, pairs),
            "torchvision": (torchvision.ops.box_iou, tensors),
        }
        yield f"pairwise IoU {count}x{count}", calls, asked
        calls = {
            "perception": (giou_matrix, pairs),
            "torchvision": (torchvision.ops.generalized_box_iou, tensors),
        }
        yield f"pairwise GIoU {count}x{count}", calls, ""


def assignment_parts() -> Iterator[Part]:
    for count in (20, 100, 300):
        for kind in ("tracking", "random"):
            if kind == "tracking":
                costs = [tracking_costs(count, seed) for seed in range(INPUTS[count])]
            else:
                costs = [np.random.default_rng(seed).random((count, count)) for seed in range(INPUTS[count])]
            for matrix in costs:
                least = matrix[linear_sum_assignment(matrix)].sum()
                if abs(matrix[assign(matrix)].sum() - least) > 1e-9 * max(least, 1.0):
                    raise RuntimeError("assign and linear_sum_assignment disagree")
            inputs = [(matrix,) for matrix in costs]
            calls = {
                "perception": (assign, inputs),
                "gated at 0.7": (assign_gated, [(matrix, 0.7) for matrix in costs]),
                "auction to 0.001": (assign_auction, [(matrix, 1e-3) for matrix in costs]),
                "scipy": (linear_sum_assignment, inputs),
                "lap": (lap.lapjv, inputs),
            }
            yield f"assignment {kind} {count}", calls, "the faster of scipy and lap"


def numpy_filter(means: np.ndarray, covariances: np.ndarray, measured: np.ndarray) -> None:
    """The same step with matrices for all objects at once, as trackers in numpy do it."""
    move, noise = np.array([[1.0, 0.1], [0.0, 1.0]]), np.outer([0.005, 0.1], [0.005, 0.1])
    means[:] = means @ move.T
    covariances[:] = move @ covariances @ move.T + noise
    gain = covariances[..., 0] / (covariances[..., 0, 0] + 0.25)[..., None]
    means += gain * (measured - means[..., 0])[..., None]
    covariances -= gain[..., :, None] * covariances[..., None, 0, :]


def filter_parts() -> Iterator[Part]:
    for count in (20, 1000):
        measured = [np.random.default_rng(seed).normal(size=(count, 7)) for seed in range(INPUTS[count])]
        states = np.zeros((count, 7, 2)), np.ones((count, 7, 3)) * np.array([1.0, 0.0, 1.0])
        full = np.zeros((count, 7, 2)), np.tile(np.eye(2), (count, 7, 1, 1))

        def step(boxes: np.ndarray, states: tuple[np.ndarray, np.ndarray] = states) -> None:
            kalman.predict_velocity(*states, 0.1, 1.0, angles=(6,))
            kalman.correct_positions(*states, boxes, 0.5, angles=(6,))

        calls = {
            "perception": (step, [(boxes,) for boxes in measured]),
            "numpy": (numpy_filter, [(*full, boxes) for boxes in measured]),
        }
        yield f"filter step {count} 3D boxes", calls, ""


def mask_parts() -> Iterator[Part]:
    rng = np.random.default_rng(0)
    masks = []
    for _ in range(20):
        noise = cv2.GaussianBlur(rng.normal(size=(375, 1242)).astype(np.float32), (0, 0), 20)
        masks.append((noise > 0.02).astype(np.uint8))
    columns_first = [np.asfortranarray(mask) for mask in masks]
    calls = {
        "perception": (rle_encode, [(mask,) for mask in masks]),
        "pycocotools": (coco_masks.encode, [(mask,) for mask in columns_first]),
    }
    yield "mask encode 375x1242", calls, ""
    ours, coco = [rle_encode(mask) for mask in masks], [coco_masks.encode(mask) for mask in columns_first]
    calls = {
        "perception": (rle_iou, [(ours, ours)]),
        "pycocotools": (coco_masks.iou, [(coco, coco, [False] * 20)]),
    }
    yield "mask IoU 20x20", calls, ""
    calls = {
        "perception": (mask_outline, [(mask,) for mask in masks]),
        "cv2": (lambda mask: cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE), [(m,) for m in masks]),
    }
    yield "mask outlines 375x1242", calls, ""


def numpy_depth(points: np.ndarray, matrix: np.ndarray, height: int, width: int) -> np.ndarray:
    projected = points[:, :3] @ matrix[:, :3].T + matrix[:, 3]
    projected = projected[projected[:, 2] > 0.1]
    column, row = np.floor(projected[:, :2] / projected[:, 2:] + 0.5).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    depth = np.full((height, width), np.inf)
    np.minimum.at(depth, (row[inside], column[inside]), projected[inside, 2])
    return depth


def point_parts() -> Iterator[Part]:
    camera = np.array([[700.0, 0, 620, 0], [0, 700, 187, 0], [0, 0, 1, 0]])
    clouds = [
        np.random.default_rng(seed).uniform([-20, -2, 2, 0], [20, 2, 60, 1], (120_000, 4)).astype(np.float32)
        for seed in range(5)
    ]
    calls = {
        "perception": (depth_image, [(points, camera, 375, 1242) for points in clouds]),
        "numpy": (numpy_depth, [(points, camera, 375, 1242) for points in clouds]),
    }
    yield "depth image 120,000 points", calls, ""


PARTS = {
    "nms": nms_parts,
    "overlap": overlap_parts,
    "assignment": assignment_parts,
    "filter": filter_parts,
    "masks": mask_parts,
    "points": point_parts,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(PARTS), help="one part of the table")
    parser.add_argument("--rounds", type=int, default=15, help="of all inputs by each candidate")
    parser.add_argument("--json", type=Path, help="write the medians as data")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    table: dict[str, float] = {}
    print(f"{'us a call, median':28} {'here':>9}  {'asked':30} others (times as long as here)")
    for name, parts in PARTS.items():
        if arguments.only not in (None, name):
            continue
        for title, calls, asked in parts():
            result = medians_us(calls, arguments.rounds)
            here = result.pop("perception")
            others = ", ".join(f"{other} {value:.1f} ({value / here:.2f}x)" for other, value in result.items())
            print(f"{title:28} {here:9.2f}  {asked:30} {others}", flush=True)
            table |= {f"{title}/{other}": round(value, 2) for other, value in {"perception": here, **result}.items()}
    if arguments.json is not None:
        write_text_atomic(
            arguments.json, json.dumps({"metrics": table, "meta": {"unit": "us, median"}}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
