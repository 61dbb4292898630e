"""``perceive replay DRIVE``, and ``perceive --video X``, which is the same."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from perception.replay import ReplayOutcome

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("replay")(replay_command)


def replay_command(
    drive: Annotated[str, typer.Argument(help="KITTI folder, image folder, glob, video, camera index or stream.")] = "",
    video: Annotated[str, typer.Option("--video", help="The same as DRIVE.")] = "",
    calib: Annotated[Path | None, typer.Option(help="Calibration file for footage that brings none.")] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder [default: runs/<drive>-<time>].")] = None,
    config: Annotated[Path | None, typer.Option(help="TOML over configs/default.toml.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="One setting.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int, typer.Option(min=0, help="Threads of the networks; 0: every core.")] = 0,
    frames: Annotated[int | None, typer.Option(min=1, help="At most so many frames.")] = None,
    start: Annotated[int, typer.Option(min=0, help="First frame.")] = 0,
    every: Annotated[int, typer.Option(min=1, help="Every so many frames.")] = 1,
    save: Annotated[
        str, typer.Option(help="Pictures per frame, and masks of tracks: semantic,instance,depth,mots.")
    ] = "",
    show: Annotated[bool, typer.Option("--show", help="Open a live window.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Keep a complete run; begin a partial one again.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if anything was skipped or failed.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, only errors.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Every skipped frame and its reason.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the run's result as data.")] = None,
) -> None:
    """Replay a recorded drive: detection, segmentation, tracking and a fused map."""
    from perception.config import load_config

    if bool(drive) == bool(video):
        raise typer.BadParameter("give one drive, as DRIVE or with --video", param_hint="DRIVE")
    overrides = list(set_ or [])
    for name in filter(None, save.split(",")):
        if name not in ("semantic", "instance", "depth", "mots"):
            raise typer.BadParameter(f"{name!r} is none of semantic, instance, depth, mots", param_hint="--save")
        overrides.append(f"save.{name}=true")
    settings = load_config(config, overrides)

    from perception.cli.console import FrameProgress
    from perception.replay import ReplayRequest, frames_to_come, replay
    from perception.sinks.sink import RunContext

    request = ReplayRequest(
        drive=drive or video,
        out=out,
        calib=calib,
        device=device,
        threads=threads,
        start=start,
        step=every,
        count=frames,
        show=show,
        overwrite=overwrite,
        resume=resume,
    )

    def announce(context: RunContext) -> None:
        if not quiet:
            say = [f"{context.drive.name} ({context.drive.kind}), {frames_to_come(context) or 'live'} frames"]
            say += [f"calibration: {context.drive.calibration_source}", f"poses: {context.pose_source}"]
            say += [f"depth: {context.depth_source}", f"device: {context.device}"]
            say += [f"note: {note}" for note in context.drive.notes]
            print("\n".join(say), file=sys.stderr)

    with FrameProgress("replay", quiet) as progress:
        outcome = replay(request, settings, progress, announce)
    _report(outcome, quiet, verbose)
    if json_file is not None:
        from perception.files import write_text_atomic

        write_text_atomic(json_file, (outcome.out / "run.json").read_text(encoding="utf-8"))
    if strict and (not outcome.complete or outcome.skipped):
        raise typer.Exit(1)


def _report(outcome: ReplayOutcome, quiet: bool, verbose: bool) -> None:
    for sink, reason in outcome.sink_errors.items():
        print(f"perceive: {sink} was not written: {reason}", file=sys.stderr)
    if quiet:
        return
    if outcome.skipped:
        print(f"{outcome.skipped} frames were skipped; run.json says which and why", file=sys.stderr)
        if verbose:
            import json

            record = json.loads((outcome.out / "run.json").read_text(encoding="utf-8"))
            for entry in record["skipped"]:
                print(f"  {entry['name']}: {'; '.join(entry['reasons'])}", file=sys.stderr)
    if outcome.frames:
        rate = outcome.frames / max(outcome.elapsed_s, 1e-9)
        print(f"{outcome.frames} frames in {outcome.elapsed_s:.1f} s ({rate:.1f} frames/s)", file=sys.stderr)
    print(outcome.out)
