"""``perceive eval``: results against ground truth, with the devkits' numbers."""

from __future__ import annotations

import typer
from typer.core import TyperCommand

from perception.cli.eval_drives import compare_command, latency_command, map_command, odometry_command
from perception.cli.eval_objects import detection_command, tracking_command
from perception.cli.eval_pixels import depth_command, instances_command, panoptic_command, segmentation_command

__all__ = ["register"]

_LIST_OPTIONS = ("--classes", "--only")


class _ListCommand(TyperCommand):
    """Takes ``--classes Car Pedestrian`` as ``--classes Car,Pedestrian``, and ``--only`` alike."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Joins the words after a list option before typer parses them."""
        joined: list[str] = []
        for word in args:
            if len(joined) > 1 and joined[-2] in _LIST_OPTIONS and not word.startswith("-"):
                joined[-1] += f",{word}"
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)


def register(app: typer.Typer) -> None:
    """Adds the verb with all that can be evaluated."""
    verb = typer.Typer(no_args_is_help=True, help="Results against ground truth, with the devkits' numbers.")
    for name, command in (
        ("detection", detection_command),
        ("tracking", tracking_command),
        ("segmentation", segmentation_command),
        ("instances", instances_command),
        ("panoptic", panoptic_command),
        ("depth", depth_command),
        ("odometry", odometry_command),
        ("map", map_command),
        ("latency", latency_command),
        ("compare", compare_command),
    ):
        verb.command(name, cls=_ListCommand)(command)
    app.add_typer(verb, name="eval")
