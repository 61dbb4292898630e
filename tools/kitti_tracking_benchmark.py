"""KITTI tracking in one command: HOTA, CLEAR MOT, IDF1 and AB3DMOT's averages, with speed.

python tools/kitti_tracking_benchmark.py --data KITTI/tracking --out runs/tracking
python tools/kitti_tracking_benchmark.py --data KITTI/tracking --detections pointrcnn --format pointrcnn --out runs/t
python tools/kitti_tracking_benchmark.py --data KITTI/tracking --pred RESULTS
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from perception.cli.benchmark_runs import (
    main_guard,
    print_speed,
    run_pipeline,
    save_metrics,
    settings_for,
    speed_of,
    write_submission,
)
from perception.cli.eval_tables import tracking_table
from perception.cli.track import track_command
from perception.errors import DriveError
from perception.evaluation.intake import Intake
from perception.evaluation.samples import tracking_samples
from perception.evaluation.tracking import evaluate_tracking_folder
from perception.files import write_text_atomic

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def benchmark(
    data: Annotated[Path, typer.Option(help="KITTI tracking folder: training or testing, or the folder above.")],
    pred: Annotated[Path | None, typer.Option(help="Result files SEQUENCE.txt.")] = None,
    detections: Annotated[Path | None, typer.Option(help="Detection files for the tracker alone.")] = None,
    layout: Annotated[str, typer.Option("--format", help="Of the detections, as in perceive track.")] = "pointrcnn",
    offline: Annotated[bool, typer.Option("--offline", help="With a second pass over each sequence.")] = False,
    min_score: Annotated[str, typer.Option("--min-score", help="Of a track: all, auto or a number.")] = "all",
    out: Annotated[Path, typer.Option(help="Folder for runs and results.")] = Path("runs/kitti_tracking"),
    config: Annotated[Path | None, typer.Option(help="TOML over configs/default.toml.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="One setting, key.path=value.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Threads of the networks; 0: every core.")] = 0,
    frames: Annotated[int | None, typer.Option(min=1, help="At most so many frames of each sequence.")] = None,
    sequences: Annotated[str, typer.Option(help="Separated by commas; all by default.")] = "",
    classes: Annotated[str, typer.Option(help="Separated by commas.")] = "Car,Pedestrian,Cyclist",
    submit: Annotated[Path | None, typer.Option(help="Write what the KITTI server takes into this folder.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the metrics as data.")] = None,
    lenient: Annotated[bool, typer.Option("--lenient", help="Leave out and count what breaks the rules.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the runs in --out.")] = False,
) -> None:
    """Tracks detections or replays every sequence, unless results are given, and prints the tables."""
    root = next((p for p in (data / "training", data) if (p / "label_02").is_dir() or (p / "image_02").is_dir()), data)
    wanted = [name for name in sequences.split(",") if name]
    speed: dict[str, float] = {}
    if pred is not None:
        results = pred
    elif detections is not None:
        results = out / "results"
        began = time.perf_counter()
        track_command(
            detections, results, layout=layout, offline=offline, min_score=min_score, sequences=sequences,
            overwrite=overwrite,
        )  # fmt: skip
        speed = {"speed/tracking/seconds": time.perf_counter() - began}
    else:
        results, speed = _replay_all(root, wanted, out, config, set_ or [], device, threads, frames, overwrite)
    if submit is not None:
        write_submission(sorted(results.glob("*.txt")), submit)
    labels = root / "label_02"
    if not labels.is_dir():
        print(f"{root}: no label_02, so there is nothing to evaluate against")
    else:
        if pred is None and not wanted:
            wanted = [file.stem for file in sorted(results.glob("*.txt")) if (labels / file.name).is_file()]
        report = evaluate_tracking_folder(labels, results, classes.split(","), sequences=wanted, intake=Intake(lenient))
        for table in tracking_table(report.metrics):
            Console(width=200).print(table)
        for note in report.notes:
            print(note)
        meta = {"gt": str(labels), "pred": str(results), "notes": report.notes}
        save_metrics("tracking", report.metrics | speed, meta, tracking_samples(report), json_file)
    if speed:
        print_speed(speed)


def _replay_all(
    root: Path,
    wanted: list[str],
    out: Path,
    config: Path | None,
    overrides: list[str],
    device: str,
    threads: int,
    frames: int | None,
    overwrite: bool,
) -> tuple[Path, dict[str, float]]:
    images = root / "image_02"
    names = wanted or sorted(folder.name for folder in images.glob("*") if folder.is_dir())
    if not names:
        raise DriveError(f"{images}: no sequences of images; give --detections or --pred to do without them")
    settings = settings_for(config, overrides)
    results = out / "results"
    results.mkdir(parents=True, exist_ok=True)
    speed: dict[str, float] = {}
    for name in names:
        run = run_pipeline(
            images / name, out / name, settings, device=device, threads=threads, frames=frames, overwrite=overwrite
        )
        rows = sorted((run / "kitti" / "tracking").glob("*.txt"))
        write_text_atomic(results / f"{name}.txt", "".join(path.read_text(encoding="utf-8") for path in rows))
        speed |= {
            key.replace("/total/", f"/{name}/"): value
            for key, value in speed_of(run).items()
            if key.startswith("speed/total/")
        }
    return results, speed


if __name__ == "__main__":
    main_guard(app)
