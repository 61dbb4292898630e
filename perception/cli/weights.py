"""``perceive weights``: what ships with the project."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    weights = typer.Typer(help="Networks that ship with the project.", no_args_is_help=True, rich_markup_mode=None)
    weights.command("list")(list_command)
    app.add_typer(weights, name="weights")


def list_command(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the table as data.")] = None,
) -> None:
    """List the networks: name, size, data, licence, figures."""
    import json

    from rich.console import Console
    from rich.table import Table

    from perception.files import write_text_atomic
    from perception.models.weights import list_weights

    manifests = list_weights()
    table = Table("name", "architecture", "size", "licence", "SHA-256", title="weights")
    for manifest in manifests:
        table.add_row(
            manifest.name,
            manifest.architecture,
            f"{manifest.path.stat().st_size / 1e6:.1f} MB",
            manifest.licence,
            manifest.sha256[:12],
        )
    Console().print(table)
    if json_file is not None:
        write_text_atomic(json_file, json.dumps([manifest.as_dict() for manifest in manifests], indent=2) + "\n")
