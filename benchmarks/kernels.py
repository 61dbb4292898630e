"""Kernels beside the libraries a user would pick instead, in one process and one run.

    python benchmarks/kernels.py [--json FILE]

Every candidate gets the same inputs, many of them in turn (a repeated input flatters by a factor of three, since branch
prediction learns it), and the candidates take turns, so that the ratios hold on a busy machine too. One core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import lap
import numpy as np
import torch
import torchvision
from scipy.optimize import linear_sum_assignment

from perception.files import write_text_atomic
from perception.kernels.assignment import assign, assign_gated
from perception.kernels.boxes import iou_matrix
from perception.kernels.nms import nms

INPUTS = 20
ROUNDS = 7


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


def medians_us(
    candidates: dict[str, Callable[..., Any]], inputs: dict[str, Sequence[tuple[Any, ...]]]
) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(ROUNDS):
        for k in range(INPUTS):
            for name, call in candidates.items():
                arguments = inputs[name][k]
                start = time.perf_counter()
                call(*arguments)
                times[name].append(time.perf_counter() - start)
    return {name: float(np.median(values[INPUTS:]) * 1e6) for name, values in times.items()}


def report(title: str, result: dict[str, float], table: dict[str, float]) -> None:
    ours = result["perception"]
    others = ", ".join(
        f"{name} {value:.1f} ({value / ours:.1f}x)" for name, value in result.items() if name != "perception"
    )
    print(f"{title:28} perception {ours:8.1f} us | {others}")
    table |= {f"{title}/{name}": round(value, 2) for name, value in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the medians as data")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    table: dict[str, float] = {}

    for count in (100, 1000, 3000):
        boxes = [clustered_boxes(count, seed) for seed in range(INPUTS)]
        tensors = [(torch.from_numpy(b), torch.from_numpy(s), 0.5) for b, s in boxes]
        rects = [(np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1), s, 0.0, 0.5) for b, s in boxes]
        for (b, s), tensor in zip(boxes, tensors, strict=True):
            if not np.array_equal(nms(b, s, 0.5), torchvision.ops.nms(*tensor).numpy()):
                raise RuntimeError("nms and torchvision.ops.nms disagree")
        result = medians_us(
            {"perception": nms, "torchvision": torchvision.ops.nms, "cv2.dnn": cv2.dnn.NMSBoxes},
            {"perception": [(b, s, 0.5) for b, s in boxes], "torchvision": tensors, "cv2.dnn": rects},
        )
        report(f"nms {count}", result, table)

    for count in (20, 300):
        pairs = [(clustered_boxes(count, seed)[0], clustered_boxes(count, seed + 100)[0]) for seed in range(INPUTS)]
        result = medians_us(
            {"perception": iou_matrix, "torchvision": torchvision.ops.box_iou},
            {"perception": pairs, "torchvision": [(torch.from_numpy(a), torch.from_numpy(b)) for a, b in pairs]},
        )
        report(f"pairwise IoU {count}x{count}", result, table)

    for count in (20, 100, 300):
        for kind in ("tracking", "random"):
            if kind == "tracking":
                costs = [(tracking_costs(count, seed),) for seed in range(INPUTS)]
            else:
                costs = [(np.random.default_rng(seed).random((count, count)),) for seed in range(INPUTS)]
            result = medians_us(
                {
                    "perception": assign,
                    "gated": lambda matrix: assign_gated(matrix, 0.7),
                    "scipy": linear_sum_assignment,
                    "lap": lap.lapjv,
                },
                dict.fromkeys(("perception", "gated", "scipy", "lap"), costs),
            )
            report(f"assignment {kind} {count}", result, table)
    if arguments.json is not None:
        write_text_atomic(
            arguments.json, json.dumps({"metrics": table, "meta": {"unit": "us, median"}}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()
