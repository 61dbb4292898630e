"""A file that grows during a run and gets its name when the run ends."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["GrowingFile"]


class GrowingFile:
    """The path to write to while a run lasts, and what becomes of the file then.

    Args:
        path: the finished file. Its folder is made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._partial = path.with_name(f"{path.stem}.partial{path.suffix}")
        # what an earlier run into this folder left behind is not this run's
        self._partial.unlink(missing_ok=True)
        self.aside = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")

    def finish(self) -> None:
        """Gives the file its name."""
        self.aside.replace(self._path)

    def keep_partial(self) -> None:
        """Renames ``tracks.parquet`` to ``tracks.partial.parquet``: what an interrupted run leaves behind."""
        if self.aside.exists():
            self.aside.replace(self._partial)

    def discard(self) -> None:
        """Removes the file."""
        self.aside.unlink(missing_ok=True)
