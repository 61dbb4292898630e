"""What every ``perceive eval`` command shares: options, and what is done with a report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from perception.evaluation.intake import Intake

__all__ = [
    "IMAGE_CLASSES_HELP", "Classes", "Gt", "Html", "Json", "Lenient", "Only", "Pred", "Quiet", "Threads",
    "finish", "inside", "intake_of", "names_of", "one_class_list", "print_tables", "words",
]  # fmt: skip

Gt = Annotated[Path, typer.Option("--gt", help="Ground truth.")]
Pred = Annotated[Path, typer.Option("--pred", help="Results, or a run folder of perceive replay.")]
Classes = Annotated[
    list[str] | None, typer.Option("--classes", help="KITTI class names, separated by commas or spaces.")
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="Only these frames or sequences, separated by commas, or @FILE with one a line."),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the metrics as data.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page with curves and the worst frames.")]
Lenient = Annotated[bool, typer.Option("--lenient", help="Leave out and count what breaks the rules.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No table.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads that decode images.")]

IMAGE_CLASSES_HELP = "camvid, cityscapes, cityscapes-ids, semantic, or a file with one class name a line."


def words(values: Sequence[str] | None) -> list[str]:
    """The words of an option that may be given several times, each with commas."""
    return [word for value in values or () for word in value.split(",") if word]


def names_of(values: Sequence[str] | None) -> list[str]:
    """Names from ``--only``; ``@val.txt`` reads the customary split files."""
    from perception.evaluation.readers_text import read_lines

    names: list[str] = []
    for word in words(values):
        names += [line.strip() for line in read_lines(Path(word[1:]))] if word.startswith("@") else [word]
    return [name for name in names if name]


def inside(path: Path, *places: str) -> Path:
    """The part of a run folder that a verb wants, or the path itself."""
    return next((path / place for place in places if (path / place).exists()), path)


def one_class_list(values: Sequence[str] | None, default: str) -> str:
    """The one name that ``--classes`` of images takes.

    Raises:
        InputFormatError: there are several.
    """
    from perception.errors import InputFormatError

    names = words(values) or [default]
    if len(names) > 1:
        raise InputFormatError(f"one class list is expected but got {', '.join(names)}; {IMAGE_CLASSES_HELP}")
    return names[0]


def finish(
    task: str,
    report: Any,
    tables: list[Table],
    *,
    meta: dict[str, Any],
    intake: Intake | None,
    samples: Callable[[], dict[str, Any]] | None,
    sections: Callable[[], list[str]] | None,
    json_file: Path | None,
    html_file: Path | None,
    quiet: bool,
) -> None:
    """Prints the table and what was left out; writes the files that were asked for."""
    from perception.errors import OutputError
    from perception.evaluation.results import EvaluationResult, write_result
    from perception.files import write_text_atomic

    meta = meta | {"notes": list(report.notes), "left_out": dict(intake.left_out) if intake else {}}
    if json_file is not None:
        write_result(EvaluationResult(task, report.metrics, meta, samples() if samples else {}), json_file)
    if html_file is not None:
        from perception.evaluation.page import document
        from perception.evaluation.pages import all_metrics

        body = [*(sections() if sections else []), all_metrics(report.metrics)]
        lead = f"ground truth {meta.get('gt', '')} · results {meta.get('pred', '')}"
        try:
            html_file.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomic(html_file, document(f"Evaluation of {task}", lead, report.notes, body))
        except OSError as error:
            raise OutputError(f"{html_file}: cannot be written ({error.strerror})") from None
    if not quiet:
        print_tables(tables)
    for note in report.notes:
        print(f"perceive: {note}", file=sys.stderr)


def print_tables(tables: list[Table]) -> None:
    """Prints tables, in full width where nobody looks."""
    from rich.console import Console

    console = Console(soft_wrap=True)
    # a pipe or a file has no width to fit into
    if not console.is_terminal:
        console = Console(soft_wrap=True, width=200)
    for table in tables:
        console.print(table)


def intake_of(lenient: bool) -> Intake:
    """Where what breaks the rules is refused, or counted with ``--lenient``."""
    from perception.evaluation.intake import Intake

    return Intake(lenient)
