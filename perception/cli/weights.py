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
    weights.command("show")(show_command)
    weights.command("verify")(verify_command)
    weights.command("calibrate")(calibrate_command)
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


def show_command(
    name: Annotated[str, typer.Argument(help="A name from the list, or a file.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the manifest as data.")] = None,
) -> None:
    """Show a network's manifest, and its model card where it has one."""
    import json

    from rich.console import Console
    from rich.markdown import Markdown

    from perception.files import write_text_atomic
    from perception.models.weights import load_manifest

    manifest = load_manifest(name)
    console = Console()
    content = manifest.as_dict()
    content["activation_ranges"] = f"of {len(manifest.activation_ranges)} layers"
    console.print_json(json.dumps(content))
    card = manifest.path.with_suffix(".md")
    if card.is_file():
        console.print(Markdown(card.read_text(encoding="utf-8")))
    if json_file is not None:
        write_text_atomic(json_file, json.dumps(manifest.as_dict(), indent=2) + "\n")


def verify_command(
    names: Annotated[list[str] | None, typer.Argument(help="Names or files; all that ship when absent.")] = None,
) -> None:
    """Compare the files of networks with the SHA-256 of their manifests."""
    from rich.console import Console

    from perception.models.street_backbones import architecture_of, backbone_of
    from perception.models.weights import list_weights, load_manifest, verify

    console = Console()
    for manifest in [load_manifest(name) for name in names] if names else list_weights():
        verify(manifest, architecture_of(backbone_of(manifest.architecture, manifest.path)))
        console.print(f"{manifest.name}: {manifest.path.name} is whole ({manifest.sha256[:12]})")


def calibrate_command(
    name: Annotated[str, typer.Argument(help="Weights of your own: a file.")],
    images: Annotated[list[Path], typer.Option(help="Folder of pictures like those of use; may be given again.")],
    limit: Annotated[int, typer.Option(min=1, help="At most so many pictures of each folder, evenly spread.")] = 16,
) -> None:
    """Measure what the network in 8-bit integers needs, and write it to the manifest (needs the train extra)."""
    from perception.errors import ConfigError

    try:
        from perception.training.quantize import calibrate
    except ImportError as error:
        raise ConfigError(
            f"weights calibrate: {error.name} is not installed; expected pip install 'drive-perception[train]'"
        ) from None
    print(f"{calibrate(name, images, limit)} layers are calibrated")
