"""How fast the evaluation is: KITTI detection at the val split's size, tracking beside trackeval, segmentation.

    python benchmarks/evaluation.py --data ../shared/data [--json FILE]

Input is made from the real files: object labels repeated to 3,769 frames with perturbed detections, perturbed tracks of
every tracking sequence, CamVid labels enlarged to 1024x2048. Times are of one process, medians of several rounds, file
reading included; what is compared takes turns, so that ratios hold on a busy machine too.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from perception.evaluation.detection import evaluate_detection_folder
from perception.evaluation.segmentation import evaluate_segmentation_folder
from perception.evaluation.tracking import evaluate_tracking_folder
from perception.files import write_text_atomic

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "evaluation"))
from eval_perturb import write_detections, write_tracker

VAL_FRAMES = 3769
VAL_LABELS, VAL_DETECTIONS = 15000, 40000
MAPS, MAP_HW = 500, (1024, 2048)
DIFFERENT_MAPS = 25

app = typer.Typer(add_completion=False)


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def make_detection(data: Path, folder: Path) -> tuple[int, int]:
    """The val split's size: frames with few labels and frames with many take turns until the counts fit."""
    labels = sorted((data / "kitti_object/training/label_2").glob("*.txt"))
    repeats = -(-VAL_FRAMES // len(labels))
    write_detections((labels * repeats)[:VAL_FRAMES], folder / "gt", folder / "pred", seed=0)
    rng = np.random.default_rng(1)
    files = sorted((folder / "pred").iterdir())
    rows = [path.read_text().splitlines() for path in files]
    missing = VAL_DETECTIONS - sum(map(len, rows))
    # false detections of low score make up the rest, as detectors give them
    for k in rng.integers(0, len(files), max(0, missing)):
        x, y = rng.uniform(0, 1100), rng.uniform(150, 250)
        solid = f"1.5 1.6 4.0 {rng.uniform(-20, 20):.2f} 1.7 {rng.uniform(5, 60):.2f} 0.5"
        rows[k].append(f"Car 0 0 0.1 {x:.2f} {y:.2f} {x + 80:.2f} {y + 60:.2f} {solid} {0.2 * rng.random():.4f}")
    for path, lines in zip(files, rows, strict=True):
        path.write_text("".join(line + "\n" for line in lines))
    count = sum(1 for path in (folder / "gt").iterdir() for line in path.open() if not line.startswith("DontCare"))
    return count, sum(map(len, rows))


def run_trackeval(root: Path) -> None:
    import trackeval

    quiet = dict.fromkeys(
        ("USE_PARALLEL", "PRINT_RESULTS", "PRINT_CONFIG", "TIME_PROGRESS", "OUTPUT_SUMMARY", "OUTPUT_DETAILED",
         "PLOT_CURVES", "OUTPUT_EMPTY_CLASSES"), False,
    )  # fmt: skip
    config = {"GT_FOLDER": str(root / "gt"), "TRACKERS_FOLDER": str(root / "trackers"), "TRACKERS_TO_EVAL": ["me"]}
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = trackeval.datasets.Kitti2DBox(config | {"PRINT_CONFIG": False})
        metrics = [
            trackeval.metrics.HOTA(),
            trackeval.metrics.CLEAR({"PRINT_CONFIG": False}),
            trackeval.metrics.Identity({"PRINT_CONFIG": False}),
        ]
        trackeval.Evaluator(quiet).evaluate([dataset], metrics)


def make_tracking(data: Path, root: Path) -> int:
    labels = data / "kitti_tracking/training/label_02"
    names = [path.stem for path in sorted(labels.glob("*.txt"))]
    write_tracker(labels, root / "trackers/me/data", 0, names)
    (root / "gt/label_02").mkdir(parents=True)
    seqmap = ""
    for name in names:
        text = (labels / f"{name}.txt").read_text()
        (root / "gt/label_02" / f"{name}.txt").write_text(text)
        seqmap += f"{name} empty 000000 {int(text.splitlines()[-1].split()[0]) + 1:06d}\n"
    (root / "gt/evaluate_tracking.seqmap.training").write_text(seqmap)
    return len(names)


def make_maps(data: Path, root: Path) -> None:
    for side in ("gt", "pred"):
        (root / side).mkdir(parents=True)
    for k, path in enumerate(sorted((data / "camvid/valannot").glob("*.png"))[:DIFFERENT_MAPS]):
        label = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        label = cv2.resize(label, MAP_HW[::-1], interpolation=cv2.INTER_NEAREST)
        moved = np.roll(label, 7, axis=1)
        moved[moved == 11] = 3
        cv2.imwrite(str(root / "gt" / f"{k:04d}.png"), label)
        cv2.imwrite(str(root / "pred" / f"{k:04d}.png"), moved)
    for k in range(DIFFERENT_MAPS, MAPS):
        for side in ("gt", "pred"):
            os.link(root / side / f"{k % DIFFERENT_MAPS:04d}.png", root / side / f"{k:04d}.png")


def measure(part: str, data: Path, rounds: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if part == "detection":
            labels, detections = make_detection(data, root)
            times = [seconds(lambda: evaluate_detection_folder(root / "gt", root / "pred")) for _ in range(rounds)]
            return {
                "detection/labels": labels, "detection/detections": detections,
                "detection/first_s": times[0], "detection/median_s": float(np.median(times)),
                "detection/peak_mb": peak_mb(),
            }  # fmt: skip
        if part == "tracking":
            sequences = make_tracking(data, root)
            ours, theirs = [], []

            def evaluate() -> None:
                evaluate_tracking_folder(root / "gt/label_02", root / "trackers/me/data", spaces=("2d",))

            evaluate()
            for _ in range(rounds):
                ours.append(seconds(evaluate))
                theirs.append(seconds(lambda: run_trackeval(root)))
            return {
                "tracking/sequences": sequences, "tracking/median_s": float(np.median(ours)),
                "tracking/trackeval_median_s": float(np.median(theirs)),
                "tracking/times_faster": float(np.median(np.array(theirs) / np.array(ours))),
                "tracking/peak_mb": peak_mb(),
            }  # fmt: skip
        make_maps(data, root)

        def segment(boundary: bool) -> None:
            evaluate_segmentation_folder(root / "gt", root / "pred", "camvid", boundary=boundary)

        times = [seconds(lambda: segment(False)) for _ in range(max(1, rounds // 2))]
        return {
            "segmentation/maps": MAPS, "segmentation/median_s": float(np.median(times)),
            "segmentation/with_boundary_s": seconds(lambda: segment(True)), "segmentation/peak_mb": peak_mb(),
        }  # fmt: skip


TARGETS = {
    "detection/first_s": "at most 6", "detection/median_s": "at most 6", "tracking/times_faster": "at least 20",
    "segmentation/median_s": "at most 10", "detection/peak_mb": "at most 1000", "tracking/peak_mb": "at most 1000",
    "segmentation/peak_mb": "at most 1000",
}  # fmt: skip


@app.command()
def benchmark(
    data: Annotated[Path, typer.Option(help="Folder with kitti_object, kitti_tracking and camvid.")],
    rounds: Annotated[int, typer.Option(min=1, help="Of each measurement.")] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the numbers as data.")] = None,
    part: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Prints seconds, ratios and peak memory; each part runs in a process of its own."""
    if part:
        print(json.dumps(measure(part, data, rounds)))
        return
    numbers: dict[str, float] = {}
    for name in ("detection", "tracking", "segmentation"):
        command = [sys.executable, __file__, "--data", str(data), "--rounds", str(rounds), "--part", name]
        numbers |= json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
        )
    table = Table("measure", "value", "wanted", title="Evaluation")
    for name, value in numbers.items():
        table.add_row(name, f"{value:.2f}", TARGETS.get(name, ""))
    Console(width=100).print(table)
    if json_file is not None:
        write_text_atomic(json_file, json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    app()
