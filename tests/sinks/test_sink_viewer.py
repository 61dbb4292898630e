from __future__ import annotations

import io
import signal
import struct
import sys

import numpy as np
import pytest
from made_results import made_context, made_result, made_skip

from perception.sinks.factory import make_sinks
from perception.sinks.render import Painter
from perception.sinks.sink import RunSummary
from perception.sinks.viewer import ViewerSink
from perception.sinks.window import HEADER

DONE = RunSummary(frames=1, elapsed_s=1.0)

READER = f"""
import struct, sys
from pathlib import Path
seen = []
while header := sys.stdin.buffer.read(8):
    height, width = struct.unpack({HEADER!r}, header)
    seen.append((height, width, len(sys.stdin.buffer.read(height * width * 3))))
Path(sys.argv[1]).write_text(repr(seen))
"""


def viewer(*command):
    return ViewerSink(Painter("title", 180), "title", command)


def test_the_window_gets_whole_pictures(tmp_path):
    sink = viewer(sys.executable, "-c", READER, str(tmp_path / "seen"))
    sink.write(made_result(0))
    sink.skip(made_skip(1))
    sink.finish(DONE)
    seen = eval((tmp_path / "seen").read_text())
    assert 1 <= len(seen) <= 2
    assert set(seen) == {(180, 320, 180 * 320 * 3)}


def test_a_window_that_reads_nothing_holds_up_nothing(tmp_path):
    sink = viewer(sys.executable, "-c", "import time; time.sleep(600)")
    result = made_result(0)
    # the pipe alone would block after 64 KB, for as long as the window sleeps
    for _ in range(2000):
        sink.write(result)
    sink.abort()
    assert sink._window.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit('cannot open display')", r"exit code 1\): cannot open display"),
        ("import os; os.abort()", r"killed by signal 6\): it gave no reason"),
        ("pass", "the window was closed"),
    ],
)
def test_a_window_that_dies_is_told_of(program, reason):
    sink = viewer(sys.executable, "-c", program)
    sink._window.wait(60)
    with pytest.raises(RuntimeError, match=reason):
        sink.write(made_result(0))
    sink.abort()


def test_without_a_display_the_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    sinks = make_sinks(made_context(tmp_path, show=True))
    sinks.write(made_result(0))
    errors = sinks.finish(DONE)
    assert list(errors) == ["viewer"]
    assert "no display" in errors["viewer"]
    assert '"status": "complete"' in (tmp_path / "run.json").read_text()


def test_the_window_program_shows_what_it_reads(monkeypatch):
    import cv2

    from perception.sinks import window

    shown = []
    monkeypatch.setattr(cv2, "imshow", lambda title, picture: shown.append((title, picture.copy())))
    monkeypatch.setattr(cv2, "waitKey", lambda delay: -1)
    monkeypatch.setattr(cv2, "getWindowProperty", lambda title, what: 1.0)
    picture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    whole = struct.pack(HEADER, 2, 3) + picture.tobytes()
    assert window.main("road", io.BytesIO(whole + whole + whole[:11])) == 0
    assert len(shown) == 2
    np.testing.assert_array_equal(shown[0][1], picture[..., ::-1])

    def broken(title, picture):
        raise cv2.error("no window here")

    monkeypatch.setattr(cv2, "imshow", broken)
    assert window.main("road", io.BytesIO(whole)) == 1
