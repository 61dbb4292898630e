"""What a run says of itself: lines, a CSV and, if wanted, TensorBoard's event files."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from perception.errors import ConfigError
from perception.files import write_text_atomic

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

__all__ = ["TrainingLog"]

_COLUMNS = ("step", "minutes", "kind", "name", "value")


class TrainingLog:
    """Writes ``log.txt``, ``metrics.csv`` (one value a row) and ``tensorboard/`` into a run's folder.

    Args:
        folder: of the run, or None to write nothing: every process but the first.
        show: takes a line for the terminal.
        tensorboard: whether to write event files.
        resumed_at: step from which the run goes on; rows of later steps, which are done again, are dropped.

    Raises:
        ConfigError: TensorBoard is wanted and not installed.
    """

    def __init__(
        self, folder: Path | None, show: Callable[[str], None], *, tensorboard: bool = False, resumed_at: int = 0
    ) -> None:
        self._folder, self._show = folder, show
        self._events: SummaryWriter | None = None
        if folder is None:
            return
        if tensorboard:
            self._events = _event_writer(folder / "tensorboard", resumed_at)
        file = folder / "metrics.csv"
        kept = []
        if resumed_at and file.is_file():
            with file.open(encoding="utf-8", newline="") as opened:
                kept = [row for row in csv.DictReader(opened) if int(row["step"]) <= resumed_at]
        text = io.StringIO()
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(kept)
        write_text_atomic(file, text.getvalue())

    def line(self, text: str) -> None:
        """A line for people, with the time of day."""
        if self._folder is None:
            return
        stamped = f"{datetime.datetime.now().strftime('%H:%M:%S')} {text}"
        self._show(stamped)
        self._append("log.txt", stamped + "\n")

    def values(self, kind: str, step: int, minutes: float, values: Mapping[str, float]) -> None:
        """Numbers of one moment; ``kind`` is ``train`` or ``validation``."""
        if self._folder is None:
            return
        rows = io.StringIO()
        csv.writer(rows, lineterminator="\n").writerows(
            [step, f"{minutes:.3f}", kind, name, f"{value:.6g}"] for name, value in values.items()
        )
        self._append("metrics.csv", rows.getvalue())
        if self._events is not None:
            for name, value in values.items():
                self._events.add_scalar(f"{kind}/{name}", value, step)

    def _append(self, name: str, text: str) -> None:
        """A full disk is no reason to lose a run: the terminal hears of it instead."""
        if self._folder is None:
            return
        try:
            with (self._folder / name).open("a", encoding="utf-8", newline="") as file:
                file.write(text)
        except OSError as error:
            self._show(f"{self._folder / name}: cannot be written: {error.strerror}")

    def close(self) -> None:
        """Finishes the event files."""
        if self._events is not None:
            self._events.close()


def _event_writer(folder: Path, resumed_at: int) -> SummaryWriter:
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError:
        raise ConfigError(
            "run.tensorboard = true: TensorBoard is not installed; expected pip install 'drive-perception[train]'"
        ) from None
    return SummaryWriter(str(folder), purge_step=resumed_at + 1 if resumed_at else None)
