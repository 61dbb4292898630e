"""The domain gap: networks trained on simulated frames, measured on real ones, beside the shipped weights.

    python benchmarks/domain_gap.py --data ../shared/data sim other.safetensors [--json FILE]

mIoU on CamVid's validation frames over its 11 classes, all of which the simulator labels, and the average precision of
cars (2D, overlap 0.5, 40 recall positions) on KITTI's object frames, both as ``tools/camvid_benchmark.py`` and
``tools/kitti_detection_benchmark.py`` measure them. The row ``street`` is what a network learns from real frames.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from perception.classes import CAMVID_CLASSES
from perception.files import write_text_atomic

TOOLS = Path(__file__).resolve().parent.parent / "tools"
SHIPPED = "street"
LEVELS = ("easy", "moderate", "hard")


def main(
    data: Annotated[Path, typer.Option(help="Folder with camvid and kitti_object.", envvar="PERCEPTION_DATA")],
    weights: Annotated[list[str] | None, typer.Argument(help="Names or files of weights, beside the shipped.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="At most so many frames of each.")] = None,
    threads: Annotated[int, typer.Option(min=0, help="Threads of the network; 0: every core.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the numbers.")] = None,
) -> None:
    for folder in (data / "camvid" / "valannot", data / "kitti_object" / "training" / "label_2"):
        if not folder.is_dir():
            raise typer.BadParameter(f"{folder}: expected labels but there is no such folder", param_hint="--data")
    names = list(dict.fromkeys([SHIPPED, *(weights or [])]))
    rows = {name: measure(name, data, frames, threads) for name in names}
    Console(width=120).print(summary(rows))
    Console(width=120).print(by_class(rows))
    if json_file is not None:
        metrics = {f"{name}/{key}": value for name, row in rows.items() for key, value in row.items()}
        meta = {"data": str(data), "frames": frames}
        write_text_atomic(json_file, json.dumps({"metrics": metrics, "meta": meta}, indent=1) + "\n")


def measure(weights: str, data: Path, frames: int | None, threads: int) -> dict[str, float]:
    """IoU by class, mIoU and average precision of cars of one set of weights, all in percent."""
    few = [] if frames is None else ["--frames", str(frames)]
    chosen = ["--set", f"network.weights={weights}", "--threads", str(threads), *few]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        segmentation = run(
            "camvid_benchmark.py", folder / "segmentation.json",
            ["--data", str(data / "camvid"), "--split", "val", "--pred", str(folder / "pred"), *chosen],
        )  # fmt: skip
        detection = run(
            "kitti_detection_benchmark.py", folder / "detection.json",
            ["--data", str(data / "kitti_object"), "--out", str(folder / "run"), "--classes", "Car", *chosen],
        )  # fmt: skip
    found = {"CamVid mIoU": segmentation["mIoU"]}
    found |= {f"CamVid IoU/{name}": segmentation.get(f"{name}/IoU", float("nan")) for name in CAMVID_CLASSES}
    found |= {f"KITTI car AP40@0.5/{level}": detection[f"Car/2d@0.5/R40/{level}"] for level in LEVELS}
    return found


def run(tool: str, json_file: Path, arguments: list[str]) -> dict[str, float]:
    """The metrics that a tool writes; its tables are kept back unless it fails."""
    done = subprocess.run(
        [sys.executable, str(TOOLS / tool), *arguments, "--json", str(json_file)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{tool} {' '.join(arguments)}: failed\n{done.stderr or done.stdout}")
    metrics: dict[str, float] = json.loads(json_file.read_text(encoding="utf-8"))["metrics"]
    return metrics


def summary(rows: dict[str, dict[str, float]]) -> Table:
    """One row per set of weights, and what it lacks to the shipped ones."""
    table = Table("weights", "CamVid val mIoU, %", *(f"KITTI car AP40@0.5 {level}" for level in LEVELS))
    best = rows[SHIPPED]
    for name, row in rows.items():
        cells = []
        for key in ("CamVid mIoU", *(f"KITTI car AP40@0.5/{level}" for level in LEVELS)):
            lacks = "" if name == SHIPPED else f" ({row[key] - best[key]:+.1f})"
            cells.append(f"{row[key]:.1f}{lacks}")
        table.add_row(Path(name).name, *cells)
    return table


def by_class(rows: dict[str, dict[str, float]]) -> Table:
    """IoU by class, %."""
    table = Table("CamVid val IoU, %", *(Path(name).name for name in rows))
    for name in CAMVID_CLASSES:
        table.add_row(name, *(f"{row[f'CamVid IoU/{name}']:.1f}" for row in rows.values()))
    return table


if __name__ == "__main__":
    typer.run(main)
