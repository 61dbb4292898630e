"""A self-contained HTML page: tables, curves as SVG, matrices, pictures. It loads nothing from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["document", "folded", "line_chart", "matrix", "metric_table", "picture", "section"]

Float64Array = npt.NDArray[np.float64]

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22")

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --paper: #ffffff; --faint: #6b7686; --line: #d9dee6; --soft: #f4f6f9 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e8ee; --paper: #14181f; --faint: #93a0b2; --line: #313947; --soft: #1c222c } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 2rem auto;
  max-width: 1180px; padding: 0 1.5rem }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
.faint { color: var(--faint) } .note { background: var(--soft); border-left: 3px solid #d9822b; padding: .4rem .8rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: .6rem 0 }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line) }
th:first-child, td:first-child { text-align: left } th { color: var(--faint); font-weight: 600 }
.wide { overflow-x: auto } .row { display: flex; flex-wrap: wrap; gap: 1.2rem }
figure { margin: 0 } figcaption { font-size: .85rem; color: var(--faint); max-width: 34rem }
figure img { max-width: 100%; border-radius: 4px } svg text { font: 11px system-ui, sans-serif; fill: var(--faint) }
svg .axis { stroke: var(--line); stroke-width: 1 } .matrix td { text-align: center; padding: .2rem .45rem; border: 0 }
.legend { font-size: .85rem } .swatch { display: inline-block; width: .8em; height: .8em; border-radius: 2px;
  margin: 0 .35em 0 .9em }
"""


def document(title: str, lead: str, notes: Sequence[str], sections: Sequence[str]) -> str:
    """The whole page.

    Args:
        title: heading.
        lead: a line of text under it.
        notes: what a reader must know, such as what was left out.
        sections: HTML of ``section``.
    """
    warnings = "".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f'<h1>{escape(title)}</h1><p class="faint">{escape(lead)}</p>{warnings}{"".join(sections)}</body></html>\n'
    )


def section(title: str, *parts: str) -> str:
    """A heading with parts beside each other below it."""
    return f'<h2>{escape(title)}</h2><div class="row">{"".join(parts)}</div>'


def folded(summary: str, content: str) -> str:
    """Content that a click unfolds."""
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def metric_table(rows: Sequence[tuple[str, Sequence[str]]], head: Sequence[str]) -> str:
    """A table: the first column names the row.

    Args:
        rows: name and cells.
        head: of all columns.
    """
    top = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"
        for name, cells in rows
    )
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def line_chart(
    title: str,
    series: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]],
    x_label: str,
    y_label: str,
    *,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    equal: bool = False,
) -> str:
    """Curves in one SVG, with axes and a legend.

    Args:
        title: caption.
        series: x and y values by name.
        x_label: of the horizontal axis.
        y_label: of the vertical axis.
        x_range: by default that of the values.
        y_range: likewise.
        equal: one unit is as long on both axes.
    """
    width, height, left, top, right, bottom = 540, 320, 54, 12, 12, 40
    curves = {n: (np.asarray(x, np.float64), np.asarray(y, np.float64)) for n, (x, y) in series.items()}
    x0, x1 = x_range or _span([x for x, _ in curves.values()])
    y0, y1 = y_range or _span([y for _, y in curves.values()])
    if equal:
        per_px = max((x1 - x0) / (width - left - right), (y1 - y0) / (height - top - bottom))
        middle_x, middle_y = 0.5 * (x0 + x1), 0.5 * (y0 + y1)
        reach_x, reach_y = 0.5 * per_px * (width - left - right), 0.5 * per_px * (height - top - bottom)
        x0, x1, y0, y1 = middle_x - reach_x, middle_x + reach_x, middle_y - reach_y, middle_y + reach_y

    def across(values: Float64Array) -> Float64Array:
        return left + (values - x0) / (x1 - x0) * (width - left - right)

    def up(values: Float64Array) -> Float64Array:
        return height - bottom - (values - y0) / (y1 - y0) * (height - top - bottom)

    parts = []
    for tick in _ticks(x0, x1):
        x = float(across(np.array([tick]))[0])
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{height - bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - bottom + 15}" text-anchor="middle">{tick:g}</text>')
    for tick in _ticks(y0, y1):
        y = float(up(np.array([tick]))[0])
        parts.append(f'<line class="axis" x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    parts.append(
        f'<text x="{(left + width - right) / 2}" y="{height - 6}" text-anchor="middle">{escape(x_label)}</text>'
    )
    parts.append(
        f'<text transform="translate(13 {(top + height - bottom) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(y_label)}</text>"
    )
    legend = []
    for k, (name, (x_values, y_values)) in enumerate(curves.items()):
        colour = COLOURS[k % len(COLOURS)]
        thin = np.linspace(0, len(x_values) - 1, min(len(x_values), 600)).astype(np.int64)
        points = " ".join(
            f"{px:.1f},{py:.1f}" for px, py in zip(across(x_values)[thin], up(y_values)[thin], strict=True)
        )
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.8" points="{points}"/>')
        legend.append(f'<span class="swatch" style="background:{colour}"></span>{escape(name)}')
    return (
        f'<figure><svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg><div class="legend">{"".join(legend)}</div>'
        f"<figcaption>{escape(title)}</figcaption></figure>"
    )


def _span(arrays: Sequence[Float64Array]) -> tuple[float, float]:
    values = np.concatenate([*arrays, np.zeros(0)])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    raw = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(power * next(m for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999))
    first = int(np.ceil(low / step - 1e-9))
    return [round(k * step, 10) for k in range(first, int(np.floor(high / step + 1e-9)) + 1)]


def matrix(title: str, counts: npt.NDArray[np.number], row_names: Sequence[str], column_names: Sequence[str]) -> str:
    """A confusion matrix as shares of each row, in percent.

    Args:
        title: caption.
        counts: (R, C).
        row_names: truth.
        column_names: prediction.
    """
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    head = "".join(f"<th>{escape(name)}</th>" for name in column_names)
    body = []
    for name, row in zip(row_names, shares, strict=True):
        cells = "".join(
            f'<td style="background:rgba(31,119,180,{0.85 * v:.3f})">{100 * v:.1f}</td>'
            if v >= 0.0005
            else '<td class="faint">·</td>'
            for v in row.tolist()
        )
        body.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    return (
        f'<figure class="wide"><table class="matrix"><thead><tr><th>truth \\ prediction</th>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table><figcaption>{escape(title)}</figcaption></figure>"
    )


def picture(image_bgr: npt.NDArray[np.uint8], caption: str, link: Path | None = None, width_px: int = 560) -> str:
    """A picture inside the page, as JPEG, with a link to the file it shows.

    Args:
        image_bgr: (H, W, 3).
        caption: below it.
        link: file to open by a click.
        width_px: it is made no wider.
    """
    height, width = image_bgr.shape[:2]
    if width > width_px:
        image_bgr = np.asarray(
            cv2.resize(image_bgr, (width_px, round(height * width_px / width)), interpolation=cv2.INTER_AREA), np.uint8
        )
    _, encoded = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, 82])
    data = base64.b64encode(encoded.tobytes()).decode("ascii")
    image = f'<img alt="{escape(caption)}" src="data:image/jpeg;base64,{data}">'
    if link is not None:
        image = f'<a href="{escape(link.resolve().as_uri())}">{image}</a>'
    return f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"
