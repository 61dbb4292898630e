"""The sections of report.html."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from html import escape

import numpy as np

from perception.classes import OBJECT_CLASSES, OBJECT_COLOURS_RGB
from perception.sinks.charts import bar_row, line_chart, stacked_chart
from perception.sinks.report_data import RunData
from perception.sinks.run_record import software_versions, without_password

__all__ = ["SECTIONS"]

_MAX_TRACKS, _MAX_SKIPPED = 60, 200


def _summary(data: RunData) -> str:
    summary, context = data.summary, data.context
    total = data.times.percentiles().get("total")
    misses = data.times.misses(context.deadline_ms)
    fps = summary.frames / summary.elapsed_s if summary.elapsed_s > 0 else 0.0
    tiles = [
        (f"{summary.frames}", "frames"),
        (f"{len(data.skipped)}", "skipped"),
        (f"{fps:.1f}", "frames per second"),
        (f"{total['p50']:.1f} ms" if total else "–", "median time per frame"),
        (f"{total['p99']:.1f} ms" if total else "–", "99th percentile"),
        (f"{misses}" if context.deadline_ms > 0 else "–", f"over the deadline of {context.deadline_ms:g} ms"),
        (f"{data.detections}", "detections"),
        (f"{len(data.tracks)}", "tracks"),
        (f"{data.distance_m:.0f} m", "driven, by the poses used"),
    ]
    if context.deadline_ms <= 0:
        del tiles[5]
    notes = [*context.drive.notes, *summary.notes]
    warning = f'<div class="card warn">{_paragraphs(notes)}</div>' if notes else ""
    cells = "".join(f'<div class="tile"><b>{value}</b><span>{label}</span></div>' for value, label in tiles)
    return f'<div class="tiles">{cells}</div>\n{warning}'


def _pictures(data: RunData) -> str:
    if not data.pictures:
        return _empty("No pictures were asked for, or no frame was processed.")
    figures = [
        f'<figure id="picture-{i}"><a href="#picture-{i}"><img src="{figure.address}" alt="{escape(figure.caption)}">'
        f'</a><figcaption>{escape(figure.caption)} <a class="close" href="#pictures">close</a></figcaption></figure>'
        for i, figure in enumerate(data.pictures, 1)
    ]
    return '<div class="pictures">' + "\n".join(figures) + "</div>"


def _map(data: RunData) -> str:
    if data.map_picture is None:
        return _empty("This run has no map.")
    return f'<div class="card"><img src="{data.map_picture.address}" alt="bird\'s-eye map"></div>'


def _latency(data: RunData) -> str:
    stages = data.times.percentiles()
    if not stages:
        return _empty("No frame was processed.")
    deadline = data.context.deadline_ms
    top = max([*(stage["max"] for stage in stages.values()), deadline])
    rows = []
    for stage, values in stages.items():
        numbers = "".join(f'<td class="n">{value:.2f}</td>' for value in values.values())
        bar = bar_row(values, top, deadline)
        kind = ' class="total"' if stage == "total" else ""
        rows.append(f'<tr{kind}><td>{escape(stage)}</td>{numbers}<td class="wide">{bar}</td></tr>')
    head = "".join(f'<th class="n">{key}</th>' for key in next(iter(stages.values())))
    table = f"<table><tr><th>stage, ms</th>{head}<th></th></tr>{''.join(rows)}</table>"
    legend = (
        '<p class="legend">Bars reach to p50, p90 and p99; the mark is the slowest frame'
        + ("; the dashed line is the deadline." if deadline > 0 else ".")
        + "</p>"
    )
    over_time = line_chart(np.asarray(data.times.stages["total"]), "ms", deadline) if "total" in stages else ""
    return (
        f'<div class="card"><div class="scroll">{table}</div>{legend}</div>'
        f'<div class="card"><h3>Total per frame</h3>{over_time}</div>'
    )


def _counts(data: RunData) -> str:
    if not data.counts:
        return _empty("Nothing was tracked.")
    colours = {name: _colour(OBJECT_CLASSES.index(name)) for name in data.counts}
    chips = "".join(
        f"<span>{_chip(colours[name])}{escape(_words(name))}: {values.mean():.1f} a frame, at most {values.max():.0f}"
        "</span>"
        for name, values in data.counts.items()
    )
    chart = stacked_chart(data.counts, colours, "tracks")
    return f'<div class="card">{chart}<div class="legend">{chips}</div></div>'


def _tracks(data: RunData) -> str:
    if not data.tracks:
        return _empty("Nothing was tracked.")
    longest = sorted(data.tracks, key=lambda track: (-track.frames, track.track_id))[:_MAX_TRACKS]
    span = max(track.last for track in data.tracks) + 1
    rows = []
    for track in longest:
        colour = _colour(track.class_id)
        left, width = 100 * track.first / span, 100 * (track.last - track.first + 1) / span
        life = f'<div class="life"><i style="left:{left:.2f}%;width:{width:.2f}%;background:{colour}"></i></div>'
        rows.append(
            f'<tr><td class="n">{track.track_id}</td><td>{_chip(colour)}{_words(OBJECT_CLASSES[track.class_id])}</td>'
            f'<td class="n">{track.frames}</td><td>{escape(track.first_name)} – {escape(track.last_name)}</td>'
            f'<td class="n">{track.score_sum / track.frames:.2f}</td><td class="wide">{life}</td></tr>'
        )
    more = len(data.tracks) - len(longest)
    note = f'<p class="faint">The {len(longest)} longest of {len(data.tracks)}; tracks.parquet has all.</p>'
    return (
        '<div class="card scroll"><table><tr><th class="n">id</th><th>class</th><th class="n">frames</th>'
        f'<th>from – to</th><th class="n">score</th><th>in the run</th></tr>{"".join(rows)}</table>'
        f"{note if more else ''}</div>"
    )


def _skipped(data: RunData) -> str:
    whole = "" if data.skipped else _empty("No frame was skipped.")
    gaps = [(gap.frame_name, f"{gap.sensor}: {gap.reason}") for gap in data.summary.gaps]
    skipped_names = {name for name, _ in data.skipped}
    others = [gap for gap in gaps if gap[0] not in skipped_names]
    tables = [
        f'<div class="card scroll"><h3>{title}</h3>{_reasons(rows)}</div>'
        for title, rows in (("Frames left out", data.skipped), ("Frames that lacked something", others))
        if rows
    ]
    return whole + "".join(tables)


def _sources(data: RunData) -> str:
    context, drive = data.context, data.context.drive
    rows = [
        ("drive", str(drive.path) if not isinstance(drive.path, str) else without_password(drive.path)),
        ("calibration", drive.calibration_source),
        ("poses", context.pose_source),
        ("depth", context.depth_source),
        ("device", context.device),
    ]
    every = "every frame" if context.step == 1 else f"one frame in {context.step}"
    until = "to the end" if context.count is None else f"at most {context.count}"
    rows.append(("part", f"from frame {context.start}, {every}, {until}"))
    weights = "".join(
        f'<tr><td>{escape(role)}</td><td class="text">{escape(used.name)}</td>'
        f"<td><code>{escape(used.sha256)}</code></td></tr>"
        for role, used in context.weights.items()
    )
    table = (
        f"<table><tr><th>network</th><th>weights</th><th>SHA-256</th></tr>{weights}</table>"
        if weights
        else ('<p class="faint">No network weights were used.</p>')
    )
    versions = ", ".join(f"{name} {version}" for name, version in sorted(software_versions().items()))
    return f'<div class="card">{_table([*rows, ("software", versions)])}</div><div class="card scroll">{table}</div>'


def _config(data: RunData) -> str:
    cards = [
        f'<div class="card"><h3>[{escape(section)}]</h3>{_table((k, _toml(v)) for k, v in values.items())}</div>'
        for section, values in data.context.config.model_dump(mode="json").items()
    ]
    return '<div class="columns">' + "".join(cards) + "</div>"


def _reasons(rows: list[tuple[str, str]]) -> str:
    shown = _table(rows[:_MAX_SKIPPED])
    more = len(rows) - _MAX_SKIPPED
    return shown + (f'<p class="faint">And {more} more; run.json has all.</p>' if more > 0 else "")


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = (f'<tr><td class="key">{escape(key)}</td><td class="text">{escape(value)}</td></tr>' for key, value in rows)
    return f"<table>{''.join(cells)}</table>"


def _paragraphs(lines: list[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def _empty(text: str) -> str:
    return f'<div class="card faint">{escape(text)}</div>'


def _toml(value: object) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value) if value != "" else '""'


def _words(name: str) -> str:
    return name.replace("_", " ")


def _colour(class_id: int) -> str:
    red, green, blue = OBJECT_COLOURS_RGB[class_id].tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _chip(colour: str) -> str:
    return f'<span class="chip" style="background:{colour}"></span>'


# id: title and body, in the order of the page
SECTIONS: Mapping[str, tuple[str, Callable[[RunData], str]]] = {
    "summary": ("Summary", _summary),
    "pictures": ("Pictures", _pictures),
    "map": ("Map", _map),
    "latency": ("Latency", _latency),
    "counts": ("Counts", _counts),
    "tracks": ("Tracks", _tracks),
    "skipped": ("Skipped", _skipped),
    "sources": ("Sources", _sources),
    "config": ("Configuration", _config),
}
