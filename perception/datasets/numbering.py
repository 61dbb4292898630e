"""Files of a drive by name, and the numbers that are missing among them.

Sensors are paired by name, never by position in a listing: one missing file must not shift all later frames.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from perception.datasets.drive import Gap
from perception.errors import DriveError

__all__ = [
    "Numbered",
    "files_by_name",
    "find_numbering",
    "listing",
    "missing_file",
    "natural_key",
    "number_range",
    "numbers_of",
    "only_one",
]

# a span this many times longer than the files are many is no drive with gaps but a misnamed file
_MAX_SPAN_RATIO = 50

Numbered = dict[int, Path]


def files_by_name(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """Files of a folder by their name without suffix, in natural order; hidden files do not count.

    Raises:
        DriveError: two files differ by their suffix alone.
    """
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: natural_key(path.name)):
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or not path.is_file():
            continue
        if path.stem in files:
            raise DriveError(f"{folder}: expected one file per frame but found {files[path.stem].name} and {path.name}")
        files[path.stem] = path
    return files


def numbers_of(files: dict[str, Path]) -> tuple[Numbered, tuple[str, ...]]:
    """Files by the number that is their whole name, and the names that are none."""
    numbered = {int(name): path for name, path in files.items() if name.isascii() and name.isdigit()}
    return numbered, tuple(path.name for name, path in files.items() if not (name.isascii() and name.isdigit()))


def number_range(folder: Path, numbers: Iterable[int]) -> range:
    """From the smallest to the largest number.

    Raises:
        DriveError: nearly all numbers in between are missing.
    """
    present = sorted(set(numbers))
    span = range(present[0], present[-1] + 1)
    if len(span) > _MAX_SPAN_RATIO * len(present) + 1000:
        raise DriveError(
            f"{folder}: expected consecutive frame numbers but its {len(present)} files go from {span[0]} to {span[-1]}"
        )
    return span


def find_numbering(names: list[str]) -> list[str]:
    """The names of a numbered sequence with the missing ones filled in, or the names as they are.

    A sequence has one prefix, all different numbers and, by its own stride, at least as many names as gaps.

    >>> find_numbering(["f_08", "f_09", "f_11"])
    ['f_08', 'f_09', 'f_10', 'f_11']
    >>> find_numbering(["000000", "000002", "000004"])
    ['000000', '000002', '000004']
    """
    parts = [re.fullmatch(r"(.*?)(\d+)", name) for name in names]
    prefixes = {part[1] for part in parts if part}
    if len(names) < 3 or len(prefixes) != 1 or not all(parts):
        return names
    by_number = {int(part[2]): part[0] for part in parts if part}
    numbers = sorted(by_number)
    stride = math.gcd(*(after - before for before, after in itertools.pairwise(numbers)))
    if len(by_number) != len(names) or not stride or (numbers[-1] - numbers[0]) // stride + 1 > 2 * len(names):
        return names
    prefix, digits = prefixes.pop(), min(len(part[2]) for part in parts if part)
    span = range(numbers[0], numbers[-1] + 1, stride)
    return [by_number.get(number, f"{prefix}{number:0{digits}d}") for number in span]


def only_one(path: Path, kind: str, found: Sequence[Path]) -> Path:
    """The drive of a folder that should hold exactly one.

    Raises:
        DriveError: there are several, which are named, or none.
    """
    if len(found) == 1:
        return found[0]
    if not found:
        raise DriveError(f"{path}: expected {kind} but found {listing(path)}")
    names = ", ".join(str(drive.relative_to(path)) for drive in found)
    raise DriveError(f"{path}: expected one {kind} but found {len(found)}: {names}; name one of them")


def listing(folder: Path, shown: int = 6) -> str:
    """What lies in a folder, in words.

    Raises:
        DriveError: the folder cannot be read.
    """
    try:
        names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    except OSError as error:
        raise DriveError(f"{folder}: cannot be read: {error.strerror}") from None
    if not names:
        return "an empty folder"
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def missing_file(name: str, sensor: str, folder: Path) -> Gap:
    """The gap of a file that should lie in a folder."""
    return Gap(name, sensor, f"{folder}: no file named {name}")


def natural_key(text: str) -> list[tuple[int, str]]:
    """Sorts ``frame_10`` after ``frame_9``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text) if part]
