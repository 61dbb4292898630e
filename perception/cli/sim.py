"""``perceive sim``: simulated drives with exact ground truth, in the KITTI raw layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("sim")(sim_command)


def sim_command(
    scenario: Annotated[str, typer.Option(help="Name of a scenario (see --list), or a TOML file.")] = "city",
    seed: Annotated[int, typer.Option(help="Everything random comes from it.")] = 1,
    frames: Annotated[int, typer.Option(help="Number of frames.")] = 100,
    rig: Annotated[str, typer.Option(help="Sensor rig: a preset's name (see --list), or a TOML file.")] = "kitti",
    out: Annotated[Path, typer.Option(help="Folder that gets DATE/DATE_drive_NNNN_sync.")] = Path("runs/sim"),
    jobs: Annotated[int, typer.Option(help="Processes; the result does not depend on it.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a partial drive.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the drive that is there.")] = False,
    list_all: Annotated[bool, typer.Option("--list", help="Show scenarios and rigs, and stop.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress bar.")] = False,
) -> None:
    """Make a simulated drive with its ground truth."""
    if list_all:
        _print_list()
        return
    import time

    from perception.cli.console import progress_bar
    from sim_data.drives import generate

    began = time.perf_counter()
    done = 0
    with progress_bar(quiet) as bar:
        task = bar.add_task("simulating", total=frames, rate="")

        def count(new: int) -> None:
            nonlocal done
            done += new
            bar.update(task, advance=new, rate=f"{done / (time.perf_counter() - began):.1f} frames/s")

        folder = generate(
            scenario, seed, frames, rig, out, jobs=jobs, resume=resume, overwrite=overwrite, progress=count
        )
    typer.echo(str(folder))


def _print_list() -> None:
    from sim_data.rigs import load_rig, rig_names
    from sim_data.scenario import list_scenarios

    scenarios = list_scenarios()
    wide = max(map(len, scenarios))
    typer.echo("scenarios")
    for name, title in scenarios.items():
        typer.echo(f"  {name:<{wide}}  {title}")
    typer.echo("rigs")
    for name in rig_names():
        rig = load_rig(name)
        first = rig.cameras[0]
        lidar = "no lidar" if rig.lidar is None else f"lidar of {len(rig.lidar.elevations_deg)} channels"
        typer.echo(f"  {name:<{wide}}  {len(rig.cameras)} x {first.width_px}x{first.height_px}, {lidar}")
