"""Small charts as inline SVG, styled by the page that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["bar_row", "line_chart", "stacked_chart", "tick_step"]

_WIDTH, _HEIGHT = 1180, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 28

# more points than that cannot be told apart on a page
_MAX_POINTS = 590

Values = npt.NDArray[np.float64]


def line_chart(values: Values, unit: str, limit: float = 0.0) -> str:
    """Values over frames; where several frames share a point it shows the highest, so that no peak is lost.

    Args:
        values: (F,) one per frame.
        unit: of the vertical axis.
        limit: a dashed line to compare with, 0 for none.
    """
    points = np.array([part.max() for part in _binned(values)])
    top = _nice_top(max(float(points.max(initial=0.0)), limit * 1.05))
    x, y = _x_of(len(points)), _y_of(points, top)
    parts = [_axes(len(values), top, unit)]
    parts.append(f'<polyline class="line" points="{_path(x, y)}"/>')
    if limit > 0:
        height = float(_y_of(np.array([limit]), top)[0])
        parts.append(
            f'<line class="deadline" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
            f'<text x="{_WIDTH - _RIGHT}" y="{height - 5:.1f}" text-anchor="end">{limit:g} {unit} deadline</text>'
        )
    return _svg("".join(parts), _WIDTH, _HEIGHT, f"{unit} per frame")


def stacked_chart(series: Mapping[str, Values], colours: Mapping[str, str], unit: str) -> str:
    """Values of several names over frames, one upon the other.

    Args:
        series: (F,) values by name, all of one length.
        colours: CSS colour by name.
        unit: of the vertical axis.
    """
    frames = len(next(iter(series.values()), np.zeros(0)))
    means = {name: np.array([part.mean() for part in _binned(values)]) for name, values in series.items()}
    total = np.sum(list(means.values()), axis=0) if means else np.zeros(0)
    top = _nice_top(float(np.max(total, initial=1.0)))
    below = np.zeros_like(total)
    parts = [_axes(frames, top, unit)]
    for name, values in means.items():
        above = below + values
        x = _x_of(len(values))
        area = _path(np.concatenate([x, x[::-1]]), np.concatenate([_y_of(above, top), _y_of(below, top)[::-1]]))
        parts.append(
            f'<polygon points="{area}" fill="{colours[name]}" fill-opacity=".8"><title>{name}</title></polygon>'
        )
        below = above
    return _svg("".join(parts), _WIDTH, _HEIGHT, f"{unit} per frame")


def bar_row(percentiles: Mapping[str, float], top: float, limit: float = 0.0) -> str:
    """One stage's p50, p90, p99 and max as nested bars, to be laid under each other in a table."""
    width, height = 400, 16
    scale = (width - 4) / top if top > 0 else 0.0
    parts = [
        f'<rect class="{key}" x="0" y="2" width="{percentiles[key] * scale:.1f}" height="{height - 4}" rx="2"/>'
        for key in ("p99", "p90", "p50")
    ]
    parts.append(f'<rect class="max" x="{percentiles["max"] * scale:.1f}" y="2" width="2" height="{height - 4}"/>')
    if 0 < limit <= top:
        parts.append(f'<line class="deadline" x1="{limit * scale:.1f}" x2="{limit * scale:.1f}" y1="0" y2="{height}"/>')
    label = ", ".join(f"{key} {value:g} ms" for key, value in percentiles.items())
    return _svg("".join(parts), width, height, label)


def tick_step(top: float, ticks: int = 5) -> float:
    """The distance of about ``ticks`` round ticks from 0 to ``top``: 1, 2 or 5 times a power of ten.

    >>> tick_step(87.0), tick_step(3.0)
    (20.0, 0.5)
    """
    rough = max(top, 1e-9) / ticks
    power = 10.0 ** np.floor(np.log10(rough))
    return float(min((step * power for step in (1, 2, 5, 10)), key=lambda step: abs(step - rough)))


def _binned(values: Values) -> Sequence[Values]:
    return np.array_split(values, min(len(values), _MAX_POINTS)) if len(values) else []


def _nice_top(highest: float) -> float:
    step = tick_step(highest)
    return step * max(1.0, float(np.ceil(highest / step - 1e-9)))


def _x_of(count: int) -> Values:
    return np.linspace(_LEFT, _WIDTH - _RIGHT, count) if count > 1 else np.full(count, (_LEFT + _WIDTH - _RIGHT) / 2)


def _y_of(values: Values, top: float) -> Values:
    return np.asarray(_HEIGHT - _BOTTOM - values / top * (_HEIGHT - _TOP - _BOTTOM))


def _path(x: Values, y: Values) -> str:
    return " ".join(f"{u:.1f},{v:.1f}" for u, v in zip(x, y, strict=True))


def _axes(frames: int, top: float, unit: str) -> str:
    parts = []
    for value in np.arange(0.0, top * 1.001, tick_step(top)):
        y = float(_y_of(np.array([value]), top)[0])
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    last = max(frames - 1, 1)
    for value in np.arange(0.0, last * 1.001, max(1.0, tick_step(last, 8))):
        x = _LEFT + value / last * (_WIDTH - _LEFT - _RIGHT)
        anchor = "end" if x > _WIDTH - 40 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - 10}" text-anchor="{anchor}">{value:.0f}</text>')
    parts.append(f'<text x="{_LEFT + 6}" y="{_TOP + 10}">{unit}</text>')
    return "".join(parts)


def _svg(content: str, width: int, height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{content}</svg>'
