"""The live window of ``--show``.

It runs in a process of its own, since a display that goes away takes its process with it.
"""

from __future__ import annotations

import os
import queue
import struct
import subprocess
import sys
import tempfile
import threading

import numpy as np
import numpy.typing as npt

from perception.datasets.drive import Reading
from perception.sinks.render import Painter
from perception.sinks.sink import RunSummary
from perception.sinks.window import HEADER
from perception.types import FrameResult

__all__ = ["ViewerSink"]

# a window that has not closed by then is closed by force
_CLOSING_TIME_S = 2.0


class ViewerSink:
    """Shows the newest picture and drops those that the window is too slow for.

    Args:
        painter: paints the pictures.
        title: of the window.
        command: the program that shows what it reads; see ``perception.sinks.window``.

    Raises:
        RuntimeError: there is no display.
    """

    name = "viewer"

    def __init__(self, painter: Painter, title: str, command: tuple[str, ...] | None = None) -> None:
        if command is None:
            if sys.platform.startswith("linux") and not (
                os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
            ):
                raise RuntimeError("no display: neither DISPLAY nor WAYLAND_DISPLAY is set")
            command = (sys.executable, "-m", "perception.sinks.window", title)
        self._painter = painter
        self._newest: queue.Queue[npt.NDArray[np.uint8] | None] = queue.Queue(1)
        # a file, since a pipe that nobody reads fills up and stops the window
        self._last_words = tempfile.TemporaryFile()
        self._window = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=self._last_words)
        self._thread = threading.Thread(target=self._feed, name="viewer", daemon=True)
        self._thread.start()

    def write(self, result: FrameResult) -> None:
        """Offers one picture.

        Raises:
            RuntimeError: the window is gone.
        """
        self._offer(self._painter.paint(result))

    def skip(self, reading: Reading) -> None:
        """Offers the picture before with the news."""
        picture = self._painter.paint_skipped(reading)
        if picture is not None:
            self._offer(picture)

    def finish(self, summary: RunSummary) -> None:
        """Closes the window."""
        self._close()

    def abort(self) -> None:
        """Closes the window."""
        self._close()

    def _offer(self, picture: npt.NDArray[np.uint8]) -> None:
        if self._window.poll() is not None:
            raise RuntimeError(self._epitaph())
        try:
            self._newest.put_nowait(picture)
        except queue.Full:
            # the run waits for nobody who watches
            return

    def _feed(self) -> None:
        """Hands pictures to the window's process for as long as it reads them."""
        pipe = self._window.stdin
        if pipe is None:
            return
        try:
            while (picture := self._newest.get()) is not None:
                pipe.write(struct.pack(HEADER, *picture.shape[:2]))
                pipe.write(picture.data)
                pipe.flush()
            pipe.close()
        except OSError:
            # the window was closed or died; the next write finds its process ended and says so
            return

    def _close(self) -> None:
        try:
            if self._window.poll() is None:
                self._newest.put(None, timeout=_CLOSING_TIME_S)
                self._window.wait(_CLOSING_TIME_S)
        except (queue.Full, subprocess.TimeoutExpired):
            self._window.kill()
            self._window.wait()
        self._last_words.close()

    def _epitaph(self) -> str:
        code = self._window.returncode
        if code == 0:
            return "the window was closed"
        self._last_words.seek(0)
        lines = self._last_words.read().decode("utf-8", "replace").splitlines()
        why = next((line.strip() for line in reversed(lines) if line.strip()), "it gave no reason")
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        return f"the window's process ended ({how}): {why}"
