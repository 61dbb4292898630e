"""The tables of ``perceive eval`` on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from perception.evaluation.compare import Comparison

__all__ = ["class_table", "comparison_table", "detection_table", "plain_table", "tracking_table"]

Metrics = Mapping[str, float]

_DIFFICULTIES = ("easy", "moderate", "hard")
_TRACKING_COLUMNS = (
    "HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1", "IDSW", "Frag", "MT", "ML", "recall", "precision",
)  # fmt: skip
_AVERAGE_COLUMNS = ("sAMOTA", "AMOTA", "AMOTP", "MOTA", "MOTP", "IDS", "FRAG", "MT", "ML")
_WHOLE_NUMBERS = ("IDSW", "IDS", "Frag", "FRAG")


def _new(title: str, first: str, columns: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column(first, no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def detection_table(metrics: Metrics) -> list[Table]:
    """AP40, R40 and AP11 side by side, each at easy, moderate and hard; the cap where labels are few."""
    heads = list(dict.fromkeys("/".join(name.split("/")[:2]) for name in metrics if name.count("/") == 3))
    columns = [f"{kind} {difficulty}" for kind in ("AP40", "R40", "AP11") for difficulty in ("easy", "mod.", "hard")]
    table = _new("KITTI detection, %: AP40 and AP11 as the devkit samples recall, R40 at recalls 1/40 … 1", "", columns)
    capped = False
    for head in heads:
        cells = []
        for kind in ("AP40", "R40", "AP11"):
            for difficulty in _DIFFICULTIES:
                value = metrics.get(f"{head}/{kind}/{difficulty}")
                cap = metrics.get(f"{head.replace('/aos@', '/2d@')}/AP40_cap/{difficulty}", 100.0)
                mark = "*" if kind == "AP40" and cap < 100.0 else ""
                capped |= bool(mark)
                cells.append("" if value is None else f"{value:.2f}{mark}")
        table.add_row(head, *cells)
    tables = [table]
    if capped:
        caps = _new("* few labels cap AP40: the best that any detector can reach, %", "", ["easy", "mod.", "hard"])
        for name in dict.fromkeys(head.split("/")[0] for head in heads):
            head = next(h for h in heads if h.startswith(f"{name}/"))
            values = [metrics[f"{head}/AP40_cap/{difficulty}"] for difficulty in _DIFFICULTIES]
            labels = [metrics[f"{name}/labels/{difficulty}"] for difficulty in _DIFFICULTIES]
            caps.add_row(name, *(f"{v:.1f} ({n:.0f} labels)" for v, n in zip(values, labels, strict=True)))
        tables.append(caps)
    return tables


def tracking_table(metrics: Metrics) -> list[Table]:
    """One row for each class and space; AB3DMOT's averages in a table of their own."""
    tables = []
    plain = list(dict.fromkeys(name.rsplit("/", 1)[0] for name in metrics if name.endswith("/HOTA")))
    averaged = list(dict.fromkeys(name.rsplit("/", 1)[0] for name in metrics if name.endswith("/sAMOTA")))
    for title, heads, columns in (
        ("Tracking, %", plain, _TRACKING_COLUMNS),
        ("3D tracking averaged over recall (AB3DMOT), %; the rest at the best threshold", averaged, _AVERAGE_COLUMNS),
    ):
        if heads:
            table = _new(title, "", columns)
            for head in heads:
                table.add_row(head, *(_cell(column, metrics[f"{head}/{column}"]) for column in columns))
            tables.append(table)
    return tables


def _cell(column: str, value: float) -> str:
    return f"{value:.0f}" if column in _WHOLE_NUMBERS else f"{value:.2f}"


def class_table(title: str, metrics: Metrics, columns: Sequence[str]) -> list[Table]:
    """One row for each class (names ``class/measure``), the means on top."""
    present = [column for column in columns if any(name == column or name.endswith(f"/{column}") for name in metrics)]
    table = _new(title, "", present)
    heads = list(dict.fromkeys(name.rsplit("/", 1)[0] if "/" in name else "" for name in metrics))
    for head in heads:
        values = [metrics.get(f"{head}/{column}" if head else column) for column in present]
        if any(value is not None for value in values):
            table.add_row(head or "all", *("" if value is None else f"{value:.2f}" for value in values))
    return [table]


def plain_table(title: str, metrics: Metrics) -> list[Table]:
    """One row for each metric."""
    table = _new(title, "", ["value"])
    for name, value in metrics.items():
        table.add_row(name, f"{value:.4f}")
    return [table]


def comparison_table(comparison: Comparison, *, everything: bool) -> list[Table]:
    """What changed, the worse first."""
    table = _new("Changes", "metric", ["before", "after", "difference", "95 % interval", ""])
    order = {"worse": 0, "unclear": 1, "better": 2, "same": 3}
    for change in sorted(comparison.changes, key=lambda c: order[c.verdict]):
        if change.verdict == "same" and not everything:
            continue
        interval = "" if change.interval is None else f"{change.interval[0]:+.3f} … {change.interval[1]:+.3f}"
        difference = f"{change.after - change.before:+.3f}"
        style = {"worse": "red", "better": "green"}.get(change.verdict)
        table.add_row(
            change.name,
            f"{change.before:.3f}",
            f"{change.after:.3f}",
            difference,
            interval,
            change.verdict,
            style=style,
        )
    return [table]
