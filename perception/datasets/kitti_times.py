"""Time stamps of KITTI drives. A row belongs to the frame of its number, whether or not that frame's file is there."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from perception.errors import DriveError

__all__ = ["KITTI_RATE_HZ", "Times", "read_times", "steady_times"]

KITTI_RATE_HZ = 10.0


@dataclass(frozen=True, slots=True)
class Times:
    """When the frames of a drive were taken.

    Attributes:
        timestamps_ns: one for every frame, strictly increasing.
        rate_hz: by the median distance of two frames.
        gaps: frames whose time is interpolated, by frame number.
        notes: what a run should state.
    """

    timestamps_ns: tuple[int, ...]
    rate_hz: float
    gaps: dict[int, str]
    notes: tuple[str, ...] = ()


def steady_times(numbers: range, rate_hz: float = KITTI_RATE_HZ) -> Times:
    """Times at a constant rate; frame number 0 is at 0."""
    period_ns = 1e9 / rate_hz
    return Times(tuple(round(number * period_ns) for number in numbers), rate_hz, {})


def read_times(path: Path, numbers: range) -> Times:
    """Reads ``timestamps.txt`` (dates with nine digits of fraction) or ``times.txt`` (seconds), one row a frame.

    A row that is missing, unreadable or out of order is replaced by what its neighbours say, with a gap. Where there is
    no file at all, the frames are 0.1 s apart, with a note.

    Args:
        path: the file.
        numbers: the drive's frame numbers, which are the rows' numbers from 0.

    Raises:
        DriveError: the file cannot be read, or fewer than two of its rows are times.
    """
    if not path.exists():
        steady = steady_times(numbers)
        note = f"{path} is missing: frames are taken to be {1 / KITTI_RATE_HZ:g} s apart"
        return Times(steady.timestamps_ns, steady.rate_hz, {}, (note,))
    try:
        rows = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DriveError(f"{path}: cannot be read as time stamps: {error}") from None
    parsed = [_parse(row) for row in rows]
    known = _increasing(parsed)
    if len(known) < min(2, len(numbers)):
        raise DriveError(f"{path}: expected one time a row but {len(known)} of {len(rows)} rows are increasing times")
    positions = np.array(known)
    # relative to the first, since float64 does not hold the nanoseconds of a date
    origin = parsed[known[0]] or 0
    values = np.array([(parsed[row] or 0) - origin for row in known], dtype=np.float64)
    period = float(np.median(np.diff(values) / np.diff(positions))) if len(known) > 1 else 1e9 / KITTI_RATE_HZ
    stamps, gaps, exact = [], {}, set(known)
    for number in numbers:
        if number in exact:
            stamps.append(parsed[number] or 0)
            continue
        beyond = number - min(max(number, known[0]), known[-1])
        stamps.append(origin + round(float(np.interp(number, positions, values)) + beyond * period))
        found = f"row {number + 1} is {rows[number]!r}" if number < len(rows) else f"it has only {len(rows)} rows"
        gaps[number] = f"{path}: {found}; the time is interpolated"
    return Times(tuple(stamps), 1e9 / period, gaps)


def _parse(row: str) -> int | None:
    """Nanoseconds of ``2011-09-26 13:02:25.964389445`` (since 1970) or of ``1.037000e-01`` (seconds), or None."""
    row = row.strip()
    try:
        if "-" in row[1:5] and ":" in row:
            whole, _, fraction = row.partition(".")
            seconds = round(datetime.fromisoformat(whole).replace(tzinfo=timezone.utc).timestamp())
            return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0")[:9])
        seconds_float = float(row)
        return round(seconds_float * 1e9) if np.isfinite(seconds_float) else None
    except ValueError:
        return None


def _increasing(values: Sequence[int | None]) -> list[int]:
    """Rows of the longest strictly increasing run of times, so that one wild row costs itself alone."""
    tails: list[int] = []
    tail_rows: list[int] = []
    previous: dict[int, int] = {}
    for row, value in enumerate(values):
        if value is None:
            continue
        place = bisect.bisect_left(tails, value)
        tails[place : place + 1] = [value]
        tail_rows[place : place + 1] = [row]
        previous[row] = tail_rows[place - 1] if place else -1
    rows: list[int] = []
    row = tail_rows[-1] if tail_rows else -1
    while row >= 0:
        rows.append(row)
        row = previous[row]
    return rows[::-1]
