"""The program: its verbs, and how errors become one line and an exit code."""

from __future__ import annotations

import sys
from importlib import import_module

import typer

from perception.errors import PerceptionError

__all__ = ["build_app", "main"]

# each module has register(app), which declares its verb and imports nothing heavy before the verb runs
_VERB_MODULES: tuple[str, ...] = ("replay", "info", "track", "weights", "export", "train", "sim", "eval")

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130


def build_app() -> typer.Typer:
    """The typer application with every verb registered."""
    app = typer.Typer(
        name="perceive",
        help="Replay recorded drives through detection, segmentation, tracking and a fused map.\n\n"
        "perceive --video FILE is short for perceive replay FILE.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def root() -> None:
        """Replay recorded drives through detection, segmentation, tracking and a fused map."""

    for module in _VERB_MODULES:
        import_module(f"perception.cli.{module}").register(app)
    return app


def main(argv: list[str] | None = None) -> None:
    """Runs ``perceive``. Exit codes: 0 done, 1 partial or worse, 2 bad usage or input, 130 interrupted."""
    args = list(sys.argv[1:] if argv is None else argv)
    if args and (args[0] == "--video" or args[0].startswith("--video=")):
        args.insert(0, "replay")
    try:
        build_app()(args=args, prog_name="perceive")
    except PerceptionError as error:
        print(f"perceive: {error}", file=sys.stderr)
        sys.exit(EXIT_BAD_INPUT)
    except KeyboardInterrupt:
        print("perceive: interrupted", file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
