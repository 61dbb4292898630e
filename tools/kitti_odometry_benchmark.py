"""KITTI odometry in one command: estimate every sequence's poses, print translation and rotation errors and the speed.

python tools/kitti_odometry_benchmark.py --data KITTI/odometry --out runs/odometry [--source visual]
python tools/kitti_odometry_benchmark.py --data KITTI/odometry --pred RESULTS
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console

from perception.cli.benchmark_runs import main_guard, print_speed, save_metrics, write_submission
from perception.cli.console import FrameProgress
from perception.cli.eval_tables import plain_table
from perception.config import load_config
from perception.datasets.factory import open_drive
from perception.egomotion.factory import make_egomotion
from perception.errors import DriveError, InputFormatError
from perception.evaluation.intake import Intake
from perception.evaluation.odometry import evaluate_odometry_files
from perception.evaluation.samples import odometry_samples
from perception.files import write_text_atomic

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def benchmark(
    data: Annotated[Path, typer.Option(help="KITTI odometry folder with sequences/NN, or one sequence.")],
    pred: Annotated[Path | None, typer.Option(help="Pose files NN.txt; without them the poses are estimated.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for NN.txt.")] = Path("runs/kitti_odometry"),
    source: Annotated[str, typer.Option(help="auto, lidar or visual.")] = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", help="One setting, key.path=value.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="At most so many frames of each sequence.")] = None,
    sequences: Annotated[str, typer.Option(help="Separated by commas; all by default.")] = "",
    submit: Annotated[Path | None, typer.Option(help="Write what the KITTI server takes into this folder.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the metrics as data.")] = None,
) -> None:
    """Prints KITTI's errors per length, ATE and RPE, and milliseconds per frame."""
    folders = _sequence_folders(data, [name for name in sequences.split(",") if name])
    speed: dict[str, float] = {}
    results = pred
    if results is None:
        results = out
        out.mkdir(parents=True, exist_ok=True)
        for name, folder in folders.items():
            rows, times_ms = _estimate(folder, [f"egomotion.source={source}", *(set_ or [])], frames)
            write_text_atomic(out / f"{name}.txt", rows)
            speed |= {f"speed/{name}/p50_ms": float(np.median(times_ms)), f"speed/{name}/max_ms": max(times_ms)}
    files = {name: results / f"{name}.txt" if results.is_dir() else results for name in folders}
    if submit is not None:
        write_submission(list(files.values()), submit)
    truth = {name: path for name, folder in folders.items() if (path := _truth(folder, name)) is not None}
    metrics: dict[str, float] = {}
    samples: dict[str, object] = {}
    for name, path in truth.items():
        # the last frame of a sequence may have no true pose; what is left out is printed
        report = evaluate_odometry_files(path, files[name], intake=Intake(lenient=True))
        metrics |= report.metrics if len(truth) == 1 else {f"{name}/{key}": v for key, v in report.metrics.items()}
        samples = odometry_samples(report) if len(truth) == 1 else {}
        for note in report.notes:
            print(f"{name}: {note}")
    if not truth:
        print(f"{data}: no true poses, so there is nothing to evaluate against")
    else:
        for table in plain_table("Odometry", metrics):
            Console(width=120).print(table)
        save_metrics("odometry", metrics | speed, {"gt": str(data), "pred": str(results)}, samples, json_file)
    if speed:
        print_speed(speed)


def _sequence_folders(data: Path, wanted: list[str]) -> dict[str, Path]:
    root = data / "sequences" if (data / "sequences").is_dir() else data
    folders = {folder.name: folder for folder in sorted(root.glob("[0-9]*")) if folder.is_dir()} or {data.name: data}
    unknown = [name for name in wanted if name not in folders]
    if unknown:
        raise InputFormatError(f"{root}: no sequence {unknown[0]!r}; there are {', '.join(folders)}")
    return {name: folders[name] for name in wanted or folders}


def _truth(folder: Path, name: str) -> Path | None:
    candidates = (folder / "poses.txt", folder.parent.parent / "poses" / f"{name}.txt")
    return next((path for path in candidates if path.is_file()), None)


def _estimate(folder: Path, overrides: list[str], frames: int | None) -> tuple[str, list[float]]:
    """KITTI rows of the estimated poses, camera to first camera, and milliseconds per frame."""
    rows: list[str] = []
    times_ms: list[float] = []
    first = None
    with closing(open_drive(str(folder))) as drive, FrameProgress(folder.name, quiet=False) as progress:
        has_lidar = any(sensor.startswith("lidar") for sensor in drive.info.sensors)
        estimator = make_egomotion(load_config(overrides=overrides).egomotion, has_poses=False, has_lidar=has_lidar)
        for reading in drive.readings(count=frames):
            if reading.frame is None or reading.frame.camera is None:
                # a row that is left out would shift all that follow
                raise DriveError(f"{folder}: frame {reading.name} cannot be read, so the poses would have a hole")
            frame = replace(reading.frame, world_SE3_ego=None)
            began = time.perf_counter()
            world_SE3_ego = estimator.estimate(frame)
            times_ms.append(1e3 * (time.perf_counter() - began))
            world_SE3_cam = world_SE3_ego @ reading.frame.camera.ego_SE3_cam
            first = first or world_SE3_cam
            matrix = (first.inverse() @ world_SE3_cam).matrix[:3]
            rows.append(" ".join(f"{value:.9e}" for value in matrix.reshape(-1)) + "\n")
            progress(len(rows), drive.info.frame_count)
    return "".join(rows), times_ms


if __name__ == "__main__":
    main_guard(app)
