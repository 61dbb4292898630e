"""Label and result files as columns: every row checked, every error with its file and line."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake

__all__ = ["TextTable", "nearest", "read_lines", "read_table"]

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class TextTable:
    """The rows of one file by column.

    Attributes:
        path: where they come from.
        line_numbers: (N,) from 1, for messages.
        numbers: (N, K) f64, the number columns in the order of the file; a column that a row may leave out is NaN.
        words: (N,) each row's word, where the format has one; empty otherwise.
    """

    path: Path
    line_numbers: npt.NDArray[np.int64]
    numbers: Float64Array
    words: list[str]

    def __len__(self) -> int:
        return len(self.line_numbers)

    def where(self, row: int) -> str:
        """``file:line`` of a row."""
        return f"{self.path}:{int(self.line_numbers[row])}"

    def drop(self, bad: npt.NDArray[np.bool_]) -> TextTable:
        """The table without the marked rows."""
        if not bad.any():
            return self
        keep = ~bad
        words = [word for word, kept in zip(self.words, keep, strict=True) if kept] if self.words else []
        return TextTable(self.path, self.line_numbers[keep], self.numbers[keep], words)


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint such as `` (did you mean Car?)``, or nothing."""
    close = difflib.get_close_matches(word.lower(), [name.lower() for name in known], n=1)
    return "" if not close else f" (did you mean {next(name for name in known if name.lower() == close[0])}?)"


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file.

    Raises:
        InputFormatError: the file is missing, unreadable or no text.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputFormatError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputFormatError(f"{path}: not a text file (byte {error.start} is no UTF-8)") from None
    except OSError as error:
        raise InputFormatError(f"{path}: cannot be read ({error.strerror})") from None


def read_table(
    path: Path,
    columns: Sequence[str],
    intake: Intake,
    *,
    word_column: int | None = None,
    optional: int = 0,
    separator: str | None = None,
    what: str = "row",
) -> TextTable:
    """Reads a table of numbers with at most one column of words.

    Args:
        path: the file; blank lines are passed over.
        columns: names of all columns, for messages.
        intake: what to do with malformed rows.
        word_column: which column holds words.
        optional: how many columns at the end a row may leave out; they are read as NaN.
        separator: between columns; any white space by default.
        what: the format's name, for messages.

    Raises:
        InputFormatError: a missing file, or a malformed row of a strict intake.
    """
    lines = read_lines(path)
    rows = [line.split(separator) for line in lines]
    width = len(columns)
    lengths = set(map(len, rows))
    if len(lengths) == 1 and width - optional <= (got := next(iter(lengths))) <= width and rows:
        try:
            return _columns_at_once(path, rows, got, width, word_column)
        except ValueError:
            pass  # some value is no finite number: the careful way says which
    return _row_by_row(path, lines, columns, intake, word_column, optional, separator, what)


def _columns_at_once(path: Path, rows: list[list[str]], got: int, width: int, word_column: int | None) -> TextTable:
    fields = list(zip(*rows, strict=True))
    words = [] if word_column is None else list(fields[word_column])
    keep = [k for k in range(got) if k != word_column]
    numbers = np.full((len(rows), width - (word_column is not None)), np.nan)
    for place, k in enumerate(keep):
        numbers[:, place] = np.fromiter(map(float, fields[k]), np.float64, len(rows))
    if not np.isfinite(numbers[:, : len(keep)]).all():
        raise ValueError("a value is not finite")
    return TextTable(path, np.arange(1, len(rows) + 1), numbers, words)


def _row_by_row(
    path: Path,
    lines: list[str],
    columns: Sequence[str],
    intake: Intake,
    word_column: int | None,
    optional: int,
    separator: str | None,
    what: str,
) -> TextTable:
    width = len(columns)
    number_count = width - (word_column is not None)
    line_numbers: list[int] = []
    numbers: list[list[float]] = []
    words: list[str] = []
    for line_number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split(separator)]
        if separator is not None and fields and not fields[-1]:
            fields.pop()  # a separator at the end of the line
        if not width - optional <= len(fields) <= width:
            expected = str(width) if not optional else f"{width - optional} to {width}"
            intake.refuse(
                "malformed row", f"{path}:{line_number}: a {what} has {expected} columns but this one has {len(fields)}"
            )
            continue
        values = [math.nan] * number_count
        place = 0
        good = True
        for k, text in enumerate(fields):
            if k == word_column:
                continue
            try:
                values[place] = float(text)
            except ValueError:
                values[place] = math.nan
            if not math.isfinite(values[place]):
                intake.refuse(
                    "malformed row",
                    f"{path}:{line_number}: column {k + 1} ({columns[k]}) must be a finite number but is {text!r}",
                )
                good = False
                break
            place += 1
        if good:
            line_numbers.append(line_number)
            numbers.append(values)
            if word_column is not None:
                words.append(fields[word_column])
    return TextTable(
        path,
        np.array(line_numbers, np.int64),
        np.array(numbers, np.float64).reshape(len(numbers), number_count),
        words,
    )
