from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest
from made_results import made_context, made_result, made_skip

from perception.models.weights_used import WeightsUsed
from perception.sinks.charts import line_chart, stacked_chart
from perception.sinks.render import Painter
from perception.sinks.report import ReportSink, _EvenSamples
from perception.sinks.sink import RunSummary

PARTS = {"summary", "pictures", "map", "latency", "counts", "tracks", "skipped", "sources", "config"}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids, self.addresses, self.tags, self.depth = set(), [], [], []
        self.feed(text)
        assert self.depth == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in {"meta", "img", "rect", "line", "polyline", "br"}:
            self.depth.append(tag)
        for name, value in attributes:
            if name == "id":
                assert value not in self.ids
                self.ids.add(value)
            if name in {"src", "href"}:
                self.addresses.append(value)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.depth.pop() == tag


def write_report(tmp_path, frames=12, **more):
    context = made_context(tmp_path, weights={"detection": WeightsUsed("<nano>", "nano.onnx", "ab" * 32)}, **more)
    sink = ReportSink(context, Painter("title", 180))
    for index in range(frames):
        if index == 3:
            sink.skip(made_skip(index, "found <script>alert(1)</script> & more"))
        else:
            sink.write(made_result(index, objects=4))
    picture = tmp_path / "bev.png"
    cv2.imwrite(str(picture), np.zeros((40, 50, 3), np.uint8))
    gaps = (*made_skip(3).gaps, replace(made_skip(5).gaps[0], sensor="lidar"))
    sink.finish(RunSummary(frames - 1, 1.5, gaps=gaps if frames > 3 else (), notes=("a guess",), map_picture=picture))
    return (tmp_path / "report.html").read_text()


def test_the_page_has_its_parts_and_loads_nothing(tmp_path):
    text = write_report(tmp_path)
    page = Page(text)
    assert page.ids >= PARTS
    assert all(address.startswith(("#", "data:image/")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= page.ids
    assert sum(address.startswith("data:image/jpeg") for address in page.addresses) == 2
    assert sum(address.startswith("data:image/png") for address in page.addresses) == 1
    assert "script" not in page.tags
    assert not re.search(r"https?://|@import|url\(", text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; more" in text
    assert "&lt;nano&gt;" in text
    assert "ab" * 32 in text
    assert "lidar: found 12 bytes" in text
    assert text.count("<svg") == 3 + 2


def test_a_page_about_nothing_is_a_page(tmp_path):
    context = made_context(tmp_path, "report.pictures=0")
    sink = ReportSink(context, Painter("title", 180))
    sink.finish(RunSummary(0, 0.0, complete=False))
    page = Page((tmp_path / "report.html").read_text())
    assert page.ids >= PARTS
    assert "No frame was processed." in (tmp_path / "report.html").read_text()


def test_an_interrupted_run_leaves_no_page(tmp_path):
    sink = ReportSink(made_context(tmp_path), Painter("title", 180))
    sink.write(made_result(0))
    sink.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("frames", [1, 5, 6, 77, 1000])
def test_samples_are_few_and_even(frames):
    samples, kept_at_most = _EvenSamples(6), 0
    for index in range(frames):
        if samples.wants_next():
            samples.add(index)
        kept_at_most = max(kept_at_most, len(samples._kept))
    chosen = samples.chosen()
    assert len(chosen) == min(6, frames)
    assert chosen[0] == 0
    assert kept_at_most <= 12
    if frames > 5:
        assert chosen[-1] > 0.75 * (frames - 1)
        assert np.diff(chosen).max() <= 3 * np.diff(chosen).min()


def points_of(svg, tag):
    found = re.search(rf'<{tag}[^>]* points="([^"]+)"', svg) or re.search(rf'<{tag} points="([^"]+)"', svg)
    return np.array([pair.split(",") for pair in found.group(1).split()], float)


def test_a_line_chart_loses_no_peak_of_a_long_run():
    values = np.ones(50_000)
    values[31_234] = 80.0
    points = points_of(line_chart(values, "ms", 50.0), "polyline")
    assert len(points) < 1000
    flat, peak = np.median(points[:, 1]), points[:, 1].min()
    assert flat - peak > 150
    assert points[points[:, 1].argmin(), 0] == pytest.approx(46 + 31_234 / 50_000 * (1180 - 46 - 12), abs=3)


def test_stacked_areas_lie_upon_each_other():
    svg = stacked_chart({"car": np.full(4, 3.0), "van": np.full(4, 1.0)}, {"car": "#111", "van": "#222"}, "tracks")
    lower, upper = re.findall(r'<polygon points="([^"]+)"', svg)
    lower, upper = (np.array([pair.split(",") for pair in part.split()], float) for part in (lower, upper))
    np.testing.assert_allclose(lower[:4, 1], upper[4:, 1])
    height_of_one = lower[4:, 1] - lower[:4, 1]
    np.testing.assert_allclose((upper[4:, 1] - upper[:4, 1]) * 3, height_of_one, atol=0.4)


def test_a_browser_shows_the_parts(tmp_path):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no browser: neither chromium nor google-chrome is on the path")
    write_report(tmp_path)
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", (tmp_path / "report.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for part in PARTS:
        assert f'<section id="{part}">' in done.stdout
    assert "Refused to" not in done.stderr
