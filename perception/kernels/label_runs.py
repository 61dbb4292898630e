"""Masks of a label map as COCO's compressed run lengths, all labels in one pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["compressed_masks"]


def compressed_masks(labels: npt.ArrayLike, count: int) -> list[bytes]:
    """What ``pycocotools.mask.encode`` gives as ``counts`` for the pixels of each label 0 ... ``count`` - 1.

    Args:
        labels: (H, W) i32; negative ones are background.
        count: how many labels there are.

    Raises:
        ValueError: the shape is wrong or a label is ``count`` or more.

    >>> compressed_masks([[0, -1], [0, 1]], 3)
    [b'022', b'31', b'4']
    """
    by_column = np.ascontiguousarray(as_array("labels", labels, np.int32, (None, None)).T)
    highest = int(by_column.max(initial=-1))
    if highest >= count:
        raise ValueError(f"labels must be below {count} but one is {highest}")
    characters, starts = _encode(by_column.reshape(-1), count)
    return [characters[starts[label] : starts[label + 1]].tobytes() for label in range(count)]


@njit("Tuple((uint8[::1], int64[::1]))(int32[::1], int64)", cache=True, nogil=True)
def _encode(labels, count):  # type: ignore[no-untyped-def]
    pieces = np.zeros(count + 1, np.int64)
    last = -1
    for p in range(labels.size):
        if labels[p] != last:
            last = labels[p]
            if last >= 0:
                pieces[last + 1] += 2
    # one more for the background after the last piece
    firsts = np.cumsum(pieces + 1) - 1
    runs = np.empty(firsts[-1] + 1, np.int64)
    used = firsts[:count].copy()
    ends = np.zeros(count, np.int64)
    last, begun = -1, 0
    for p in range(labels.size + 1):
        label = labels[p] if p < labels.size else -1
        if label != last:
            if last >= 0:
                runs[used[last]] = p - begun
                used[last] += 1
                ends[last] = p
            if label >= 0:
                runs[used[label]] = p - ends[label]
                used[label] += 1
                begun = p
            last = label
    for k in range(count):
        if ends[k] < labels.size:
            runs[used[k]] = labels.size - ends[k]
            used[k] += 1
    # a number of 64 bits takes at most 13 characters of five
    characters = np.empty(13 * runs.size, np.uint8)
    starts = np.zeros(count + 1, np.int64)
    at = 0
    for k in range(count):
        for r in range(firsts[k], used[k]):
            # from the fourth run on the difference to the run before the last is written
            value = runs[r] - runs[r - 2] if r > firsts[k] + 2 else runs[r]
            more = True
            while more:
                five = value & 0x1F
                value >>= 5
                more = value != -1 if five & 0x10 else value != 0
                characters[at] = five + 48 + (0x20 if more else 0)
                at += 1
        starts[k + 1] = at
    return characters[:at].copy(), starts
