"""The HTML of report.html. It loads nothing: style and pictures are inside, and its policy forbids the rest."""

from __future__ import annotations

from html import escape
from importlib import resources

from perception.sinks.report_data import RunData
from perception.sinks.report_sections import SECTIONS

__all__ = ["build_page"]


def build_page(data: RunData) -> str:
    """The whole page."""
    drive = data.context.drive
    links = "".join(f'<a href="#{key}">{title}</a>' for key, (title, _) in SECTIONS.items())
    sections = "\n".join(
        f'<section id="{key}"><h2>{title}</h2>\n{body(data)}</section>' for key, (title, body) in SECTIONS.items()
    )
    style = resources.files("perception.sinks").joinpath("report.css").read_text(encoding="utf-8")
    badge = '<span class="badge good">complete</span>'
    if not data.summary.complete:
        badge = '<span class="badge bad">partial</span>'
    sensors = ", ".join(drive.sensors) or "no sensors"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{escape(drive.name)} · perception run</title>
<style>
{style}</style>
</head>
<body>
<nav><div>{links}</div></nav>
<header>
<h1>{escape(drive.name)} {badge}</h1>
<p class="faint">{escape(drive.kind)} · {escape(sensors)}</p>
</header>
<main>
{sections}
</main>
<footer>Written by perceive replay. This page holds everything it shows and loads nothing.</footer>
</body>
</html>
"""
