"""``perceive export``: a network as one ONNX file, compared with itself before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("export")(export_command)


def export_command(
    out: Annotated[Path, typer.Option("--out", help="The ONNX file to write.")],
    weights: Annotated[str, typer.Option(help="A name from `perceive weights list`, or a file.")] = "street",
    images: Annotated[
        Path | None, typer.Option(help="Folder of pictures for the comparison; made-up pictures when absent.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder with camvid/ and kitti_object/: prints AP and mIoU before and after."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Pictures of --images and of each data set.")] = 50,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the report as data.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No tables.")] = False,
) -> None:
    """Write the network with its weights as one ONNX file, and report how it agrees with the trained one."""
    import json

    from rich.console import Console
    from rich.table import Table

    from perception.errors import ConfigError, PerceptionError
    from perception.files import write_text_atomic

    if out.exists() and not overwrite:
        raise ConfigError(f"{out}: exists already; choose another file or pass --overwrite")
    try:
        from perception.training.model_file import export_model
    except ImportError as error:
        raise PerceptionError(f"perceive export needs {error.name}: pip install 'drive-perception[train]'") from None
    report = export_model(weights, out, images, data, limit)
    if not quiet:
        console = Console()
        table = Table("head", "largest difference", "largest value", title=f"parity of {out} with {weights}")
        for head in report.heads:
            table.add_row(head.head, f"{head.largest_difference:.2e}", f"{head.largest_value:.2f}")
        console.print(table)
        if report.before:
            table = Table("figure", "trained", "exported", title="figures")
            for name, value in report.before.items():
                table.add_row(name, f"{value:.2f}", f"{report.after[name]:.2f}")
            console.print(table)
    if json_file is not None:
        write_text_atomic(json_file, json.dumps(report.as_dict(), indent=2) + "\n")
