"""Progress bars and tables on the terminal, silent with ``--quiet`` or when the output is no terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["FrameProgress", "progress_bar"]


def progress_bar(quiet: bool) -> Progress:
    """A rich progress bar with rate and time left, on stderr; disabled when quiet or not on a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
        transient=True,
    )


class FrameProgress:
    """A progress bar over frames that is called with the number done and the number expected."""

    def __init__(self, title: str, quiet: bool) -> None:
        self._progress = progress_bar(quiet)
        self._title = title
        self._task: TaskID | None = None
        self._began = 0.0

    def __enter__(self) -> FrameProgress:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def __call__(self, done: int, total: int | None) -> None:
        """Moves the bar."""
        if self._task is None:
            self._began = time.perf_counter()
            self._task = self._progress.add_task(self._title, total=total, rate="")
        seconds = time.perf_counter() - self._began
        rate = f"{(done - 1) / seconds:.1f} frames/s" if seconds > 0.5 else ""
        self._progress.update(self._task, completed=done, rate=rate)
