"""``perceive train CONFIG``: trains a network by a configuration."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_RUN_FILES = (
    "last.safetensors", "last.json", "best.safetensors", "best.json", "metrics.csv", "log.txt", "class_weights.json",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("train")(train_command)


def train_command(
    config: Annotated[Path, typer.Argument(help="TOML such as configs/train_street.toml.")],
    data: Annotated[Path, typer.Option(help="Folder that the configuration's paths start from.")],
    out: Annotated[Path, typer.Option(help="Folder for checkpoints and logs.")],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="One setting.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=0, help="Threads on a CPU; 0: every core.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Let init.weights be a pickle, read as weights only.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only errors.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the metrics as data.")] = None,
) -> None:
    """Train a network. Several processes: torchrun --nproc-per-node N -m perception train ..."""
    import json
    import os
    import sys

    from perception.files import write_text_atomic
    from perception.training.street import run_training
    from perception.training.street_config import load_training
    from perception.training.task import TrainingInterruptedError

    overrides = list(set_ or [])
    if threads is not None:
        overrides.append(f"run.threads={threads}")
    settings = load_training(config, overrides)
    if resume and overwrite:
        raise typer.BadParameter("give --resume or --overwrite, not both", param_hint="--resume")
    is_first = int(os.environ.get("RANK", "0")) == 0
    if is_first:
        _prepare(out, resume, overwrite)

    def show(line: str) -> None:
        if not quiet:
            print(line, file=sys.stderr, flush=True)

    command = f"perceive train {config.name} --data DATA --out OUT" + "".join(f" --set {each}" for each in overrides)
    try:
        metrics = run_training(
            settings, data, out, device=device, allow_pickle=allow_pickle, command=command, show=show
        )
    except TrainingInterruptedError as stopped:
        if is_first:
            print(f"perceive: {stopped}; go on with --resume", file=sys.stderr)
        raise typer.Exit(130) from None
    if not is_first:
        return
    if json_file is not None:
        write_text_atomic(json_file, json.dumps({"metrics": metrics, "meta": {"run": str(out)}}, indent=2) + "\n")
    print(out)


def _prepare(out: Path, resume: bool, overwrite: bool) -> None:
    from perception.errors import OutputError

    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: expected a folder for the run but found a file")
    held = [name for name in _RUN_FILES if (out / name).exists()]
    if held and not (resume or overwrite):
        raise OutputError(f"{out}: holds a run already ({held[0]}); give --resume, --overwrite or another --out")
    if resume and "last.safetensors" not in held:
        raise OutputError(f"{out}: found no last.safetensors to go on from; expected a run, or no --resume")
    try:
        out.mkdir(parents=True, exist_ok=True)
        if overwrite:
            for name in held:
                (out / name).unlink()
            shutil.rmtree(out / "tensorboard", ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}") from None
