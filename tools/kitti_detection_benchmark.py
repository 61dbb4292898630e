"""KITTI object detection in one command: run the pipeline over a folder, print the devkit's table and the speed.

python tools/kitti_detection_benchmark.py --data KITTI/object --out runs/kitti [--set detection.source=onnx …]
python tools/kitti_detection_benchmark.py --data KITTI/object --pred RESULTS
python tools/kitti_detection_benchmark.py --data KITTI/object/testing --out runs/test --submit upload

The network sees pictures at 320x1056 and 576x1888, and mirrored too, and boxes are kept from a score of 0.02, unless
--config or --set says otherwise; a replay, which has a deadline, uses 256x832 alone and 0.25.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from perception.cli.benchmark_runs import (
    FOR_FIGURES,
    main_guard,
    print_speed,
    run_pipeline,
    save_metrics,
    settings_for,
    speed_of,
    write_submission,
)
from perception.cli.eval_tables import detection_table
from perception.evaluation.detection import evaluate_detection_folder
from perception.evaluation.intake import Intake
from perception.evaluation.samples import detection_samples

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def benchmark(
    data: Annotated[Path, typer.Option(help="KITTI object folder: training or testing, or the folder above.")],
    pred: Annotated[Path | None, typer.Option(help="Result files FRAME.txt; without them the pipeline runs.")] = None,
    out: Annotated[Path, typer.Option(help="Run folder of the pipeline.")] = Path("runs/kitti_object"),
    config: Annotated[Path | None, typer.Option(help="TOML over configs/default.toml.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="One setting, key.path=value.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Threads of the networks; 0: every core.")] = 0,
    frames: Annotated[int | None, typer.Option(min=1, help="At most so many frames.")] = None,
    classes: Annotated[str, typer.Option(help="Separated by commas.")] = "Car,Pedestrian,Cyclist",
    submit: Annotated[Path | None, typer.Option(help="Write what the KITTI server takes into this folder.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the metrics as data.")] = None,
    lenient: Annotated[bool, typer.Option("--lenient", help="Leave out and count what breaks the rules.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
) -> None:
    """Prints AP40, R40 and AP11 in 2D, bird's-eye view, 3D and orientation, and the latency of every stage."""
    speed: dict[str, float] = {}
    results = pred
    if results is None:
        settings = settings_for(config, set_ or [], defaults=FOR_FIGURES)
        run = run_pipeline(data, out, settings, device=device, threads=threads, frames=frames, overwrite=overwrite)
        speed = speed_of(run)
        results = run / "kitti" / "detection"
    files = sorted(results.glob("*.txt"))
    if submit is not None:
        write_submission(files, submit)
    labels = next((p for p in (data / "label_2", data / "training" / "label_2", data) if any(p.glob("*.txt"))), None)
    if labels is None:
        print(f"{data}: no label_2, so there is nothing to evaluate against")
        if speed:
            print_speed(speed)
        return
    only = [file.stem for file in files] if frames is not None else []
    report = evaluate_detection_folder(labels, results, classes.split(","), frames=only, intake=Intake(lenient))
    for table in detection_table(report.metrics):
        Console(width=200).print(table)
    for note in report.notes:
        print(note)
    if speed:
        print_speed(speed)
    meta = {"gt": str(labels), "pred": str(results), "frames": len(report.frame_names), "notes": report.notes}
    save_metrics("detection", report.metrics | speed, meta, detection_samples(report), json_file)


if __name__ == "__main__":
    main_guard(app)
