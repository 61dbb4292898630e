"""Label and result files as columns: every row checked, every error with its file and line."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake

__all__ = ["TextTable", "nearest", "read_lines", "read_table", "read_tables"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class TextTable:
    """The rows of one or many files by column.

    Attributes:
        paths: the files.
        file_ids: (N,) i64 into ``paths``.
        line_numbers: (N,) i64 from 1, for messages.
        numbers: (N, K) f64, the number columns in the order of the file; a column that a row may leave out is NaN.
        word_ids: (N,) i64 into ``vocabulary``: each row's word, where the format has one.
        vocabulary: the different words.
    """

    paths: Sequence[Path]
    file_ids: Int64Array
    line_numbers: Int64Array
    numbers: Float64Array
    word_ids: Int64Array
    vocabulary: list[str]

    def __len__(self) -> int:
        return len(self.line_numbers)

    def where(self, row: int) -> str:
        """``file:line`` of a row."""
        return f"{self.paths[int(self.file_ids[row])]}:{int(self.line_numbers[row])}"

    def word(self, row: int) -> str:
        """The word of a row."""
        return self.vocabulary[int(self.word_ids[row])]


def nearest(word: str, known: Sequence[str]) -> str:
    """A hint such as `` (did you mean Car?)``, or nothing."""
    close = difflib.get_close_matches(word.lower(), [name.lower() for name in known], n=1)
    return "" if not close else f" (did you mean {next(name for name in known if name.lower() == close[0])}?)"


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 text file.

    Raises:
        InputFormatError: the file is missing, unreadable or no text.
    """
    return _decode(path, _read_bytes(path))


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
    return read_tables(
        [path], columns, intake, word_column=word_column, optional=optional, separator=separator, what=what
    )


def read_tables(
    paths: Sequence[Path],
    columns: Sequence[str],
    intake: Intake,
    *,
    word_column: int | None = None,
    optional: int = 0,
    separator: str | None = None,
    what: str = "row",
) -> TextTable:
    """Reads many files of one format into one table; see ``read_table``.

    Their bytes are parsed together by Arrow's parser, which is fast and strict. Where it finds anything unusual, the
    files are read again line by line, which accepts what is harmless and says what is wrong and where.
    """
    contents = [_read_bytes(path) for path in paths]
    together = _parse_together(paths, contents, len(columns), optional, word_column, separator or " ")
    if together is not None:
        return together
    rows = _Rows([], [], [], [])
    for file_id, (path, content) in enumerate(zip(paths, contents, strict=True)):
        _read_rows(path, file_id, _decode(path, content), columns, intake, word_column, optional, separator, what, rows)
    width = len(columns) - (word_column is not None)
    return TextTable(
        paths,
        np.array(rows.file_ids, np.int64),
        np.array(rows.line_numbers, np.int64),
        np.array(rows.numbers, np.float64).reshape(-1, width),
        *_encoded(rows.words),
    )


@dataclass(slots=True)
class _Rows:
    file_ids: list[int]
    line_numbers: list[int]
    numbers: list[list[float]]
    words: list[str]


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise InputFormatError(f"{path}: no such file") from None
    except OSError as error:
        raise InputFormatError(f"{path}: cannot be read ({error.strerror})") from None


def _decode(path: Path, content: bytes) -> list[str]:
    try:
        return content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise InputFormatError(f"{path}: not a text file (byte {error.start} is no UTF-8)") from None


def _parse_together(
    paths: Sequence[Path],
    contents: Sequence[bytes],
    width: int,
    optional: int,
    word_column: int | None,
    separator: str,
) -> TextTable | None:
    whole = [content if not content or content.endswith(b"\n") else content + b"\n" for content in contents]
    line_counts = np.array([content.count(b"\n") for content in whole], np.int64)
    first = next((content for content in whole if content), None)
    if first is None:
        return None
    got = first[: first.index(b"\n")].rstrip(b"\r").count(separator.encode()) + 1
    if not width - optional <= got <= width:
        return None
    names = [str(k) for k in range(got)]
    word_type = pa.dictionary(pa.int32(), pa.string())
    types = {name: word_type if k == word_column else pa.float64() for k, name in enumerate(names)}
    try:
        table = csv.read_csv(
            pa.BufferReader(b"".join(whole)),
            read_options=csv.ReadOptions(column_names=names, use_threads=False),
            parse_options=csv.ParseOptions(delimiter=separator, quote_char=False, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(column_types=types),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != int(line_counts.sum()):
        return None
    present = [k for k in range(got) if k != word_column]
    numbers = np.full((table.num_rows, width - (word_column is not None)), np.nan)
    for place, k in enumerate(present):
        numbers[:, place] = table.column(k).to_numpy()
    if not np.isfinite(numbers[:, : len(present)]).all():
        return None
    word_ids, vocabulary = np.zeros(0, np.int64), []
    if word_column is not None:
        words = table.column(word_column).unify_dictionaries()
        if words.null_count:
            return None
        word_ids = np.concatenate([chunk.indices.to_numpy() for chunk in words.chunks]).astype(np.int64)
        vocabulary = words.chunk(0).dictionary.to_pylist()
    file_ids = np.repeat(np.arange(len(paths)), line_counts)
    first_row = np.concatenate([[0], np.cumsum(line_counts)])[:-1]
    line_numbers = np.arange(table.num_rows) - first_row[file_ids] + 1
    return TextTable(paths, file_ids, line_numbers, numbers, word_ids, vocabulary)


def _encoded(words: Sequence[str]) -> tuple[Int64Array, list[str]]:
    places: dict[str, int] = {}
    word_ids = np.fromiter((places.setdefault(word, len(places)) for word in words), np.int64, len(words))
    return word_ids, list(places)


def _read_rows(
    path: Path,
    file_id: int,
    lines: list[str],
    columns: Sequence[str],
    intake: Intake,
    word_column: int | None,
    optional: int,
    separator: str | None,
    what: str,
    out: _Rows,
) -> None:
    width = len(columns)
    number_count = width - (word_column is not None)
    for line_number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split(separator)]
        if separator is not None and not fields[-1]:
            fields.pop()  # a separator at the end of the line
        if not width - optional <= len(fields) <= width:
            expected = str(width) if not optional else f"{width - optional} to {width}"
            intake.refuse(
                "malformed row", f"{path}:{line_number}: a {what} has {expected} columns but this one has {len(fields)}"
            )
            continue
        values = [math.nan] * number_count
        place = 0
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
                break
            place += 1
        else:
            out.file_ids.append(file_id)
            out.line_numbers.append(line_number)
            out.numbers.append(values)
            if word_column is not None:
                out.words.append(fields[word_column])
