"""Masks as COCO's compressed run lengths: checked here, compared by pycocotools."""

from __future__ import annotations

from types import ModuleType
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from perception.errors import PerceptionError

__all__ = ["Rle", "mask_tools", "run_lengths"]


class Rle(TypedDict):
    """A mask as pycocotools takes it: ``size`` is [height, width], ``counts`` the compressed runs, column by column."""

    size: list[int]
    counts: bytes


def mask_tools() -> ModuleType:
    """``pycocotools.mask``.

    Raises:
        PerceptionError: it is not installed.
    """
    try:
        from pycocotools import mask
    except ImportError:
        raise PerceptionError("masks need pycocotools: pip install 'drive-perception[eval]'") from None
    module: ModuleType = mask
    return module


def run_lengths(counts: bytes) -> npt.NDArray[np.int64]:
    """Decodes compressed run lengths, background first.

    Each number is written in characters of six bits from ``0`` on: five bits of value, lowest first, and one that says
    that another follows; from the fourth number on it is the difference to the one two before.

    Raises:
        ValueError: a character that does not occur, a number that does not end, or a negative run.

    >>> run_lengths(b"52203").tolist()
    [5, 2, 2, 2, 5]
    """
    codes = np.frombuffer(counts, np.uint8).astype(np.int64) - 48
    if not len(codes):
        return np.zeros(0, np.int64)
    if codes.min() < 0 or codes.max() > 63:
        raise ValueError(f"the character {chr(int(codes[(codes < 0) | (codes > 63)][0]) + 48)!r} is no run length")
    ends = (codes & 0x20) == 0
    if not ends[-1]:
        raise ValueError("the last run length does not end")
    firsts = np.concatenate([[0], np.flatnonzero(ends)[:-1] + 1])
    lengths = np.diff(np.append(firsts, len(codes)))
    if lengths.max() > 8:
        raise ValueError("a run length is longer than any image")
    place = np.arange(len(codes)) - np.repeat(firsts, lengths)
    runs = np.add.reduceat((codes & 0x1F) << (5 * place), firsts)
    negative = (codes[firsts + lengths - 1] & 0x10) != 0
    runs = np.where(negative, runs - (1 << (5 * lengths)), runs)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    if runs.min() < 0:
        raise ValueError(f"a run of {int(runs.min())} pixels is impossible")
    return runs
