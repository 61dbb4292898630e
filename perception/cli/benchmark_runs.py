"""What the benchmark scripts share: running the pipeline, printing, and archives for the KITTI server."""

from __future__ import annotations

import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from perception.cli.console import FrameProgress
from perception.cli.eval_tables import class_table
from perception.config import Config, load_config
from perception.errors import PerceptionError
from perception.evaluation.latency import evaluate_latency
from perception.evaluation.results import EvaluationResult, write_result
from perception.files import replaced_when_done

__all__ = [
    "FOR_FIGURES",
    "FOR_PIXELS",
    "main_guard",
    "print_speed",
    "run_pipeline",
    "save_metrics",
    "settings_for",
    "speed_of",
    "write_submission",
]


# no deadline: a larger input, and every box that might count, since average precision is an area over all recalls
FOR_FIGURES = (
    "network.input_height_px=320", "network.input_width_px=1056", "network.precision=fp32", "network.mirrored=true",
    "network.zooms=[1.0, 1.8]", "detection.score_threshold=0.02",
)  # fmt: skip
# where pixels are judged, not boxes
FOR_PIXELS = (*FOR_FIGURES, "segmentation.refined=true")


def settings_for(config: Path | None, overrides: Sequence[str], *, defaults: Sequence[str] = ()) -> Config:
    """Settings without video and report: a benchmark needs results only, unless they are asked for.

    Args:
        config: TOML over the defaults, or None.
        overrides: ``key.path=value``, over everything.
        defaults: likewise, where no file is given: ``FOR_FIGURES`` sees more than a replay has the time for.
    """
    assumed = defaults if config is None else ()
    return load_config(config, ["video.enabled=false", "report.enabled=false", *assumed, *overrides])


def run_pipeline(
    drive: Path, out: Path, settings: Config, *, device: str, threads: int, frames: int | None, overwrite: bool
) -> Path:
    """Replays a drive into ``out`` and returns the run folder."""
    # networks are loaded only where the pipeline runs
    from perception.replay import ReplayRequest, replay

    request = ReplayRequest(str(drive), out, device=device, threads=threads, count=frames, overwrite=overwrite)
    began = time.perf_counter()
    with FrameProgress(out.name, quiet=False) as progress:
        outcome = replay(request, settings, progress)
    seconds = time.perf_counter() - began
    print(f"{drive}: {outcome.frames} frames in {seconds:.1f} s, {outcome.skipped} skipped", file=sys.stderr)
    return outcome.out


def speed_of(run: Path) -> dict[str, float]:
    """Latency of a run's stages, as flat metrics."""
    return {f"speed/{name}": value for name, value in evaluate_latency(run).metrics.items()}


def write_submission(files: Sequence[Path], folder: Path, archive: str = "submission.zip") -> None:
    """Copies result files into ``folder`` and packs them into a ZIP with the files at its root, as KITTI wants it."""
    folder.mkdir(parents=True, exist_ok=True)
    with replaced_when_done(folder / archive) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in files:
            content = file.read_text(encoding="utf-8")
            (folder / file.name).write_text(content, encoding="utf-8", newline="\n")
            # one date for all, so that the same results give the same archive
            packed.writestr(zipfile.ZipInfo(file.name, (2020, 1, 1, 0, 0, 0)), content)
    print(f"{len(files)} files for the server: {folder / archive}", file=sys.stderr)


def save_metrics(
    task: str, metrics: Mapping[str, float], meta: Mapping[str, object], samples: dict[str, object], path: Path | None
) -> None:
    """Writes the metric file where one is asked for."""
    if path is not None:
        write_result(EvaluationResult(task, dict(metrics), dict(meta), samples), path)


def print_speed(metrics: Mapping[str, float]) -> None:
    """The speed part of flat metrics as a table."""
    from rich.console import Console

    shown = {name.removeprefix("speed/"): value for name, value in metrics.items() if name.startswith("speed/")}
    columns = ("p50_ms", "p90_ms", "p99_ms", "max_ms", "frames", "fps", "deadline_ms", "deadline_misses", "seconds")
    for table in class_table("Speed", shown, columns):
        Console(width=140).print(table)


def main_guard(app: object) -> None:
    """Runs a typer application; a user's error becomes one line and exit code 2."""
    try:
        app()  # type: ignore[operator]
    except PerceptionError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(2)
