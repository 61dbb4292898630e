"""Samples to fragments: the surfaces that a pixel sees, each to be lit once, and back to colours of pixels.

The z-buffer has twice the image's resolution and its odd rows and columns are the pixel centres. A pixel's colour is a
tent filter over the 3 x 3 samples around its centre; samples of one surface are one fragment. Fragments are sorted by
kind of surface, so that each kind's kernel runs over one stretch of arrays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["collect", "resolve"]


@njit(
    "int64(int64, int64, int32[:,::1], int32[:,::1], float64[:,::1], uint8[::1], uint8[::1], uint8[::1], int32[::1], "
    "int32[::1], int32[:,::1], int32[:,::1], float32[:,::1], float32[:,::1], int64[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _collect(  # type: ignore[no-untyped-def]
    row0, row1, ids, sources, planes, materials, ranks, round_, slots, triangles, raw, whole, raw_at, whole_at, starts
):
    width = (ids.shape[1] - 1) // 2
    room = raw.shape[1] - 9 * width
    kinds = starts.shape[0] - 2
    starts[:] = 0
    seen = np.empty(9, np.int32)
    weight, sum_x, sum_y = np.empty(9), np.empty(9), np.empty(9)
    found, count = 0, 0
    row = row0
    while row < row1 and count <= room:
        upper, middle, lower = ids[2 * row], ids[2 * row + 1], ids[2 * row + 2]
        for x in range(width):
            centre = middle[2 * x + 1]
            number = 1
            seen[0] = centre
            if not (
                centre == middle[2 * x]
                and centre == middle[2 * x + 2]
                and centre == upper[2 * x + 1]
                and centre == lower[2 * x + 1]
                and centre == upper[2 * x]
                and centre == upper[2 * x + 2]
                and centre == lower[2 * x]
                and centre == lower[2 * x + 2]
            ):
                weight[0], sum_x[0], sum_y[0] = 0.0, 0.0, 0.0
                for j in range(3):
                    for i in range(3):
                        index = ids[2 * row + j, 2 * x + i]
                        share = (1.0 + (i & 1)) * (1.0 + (j & 1)) / 16.0
                        k = 0
                        while k < number and seen[k] != index:
                            # neighbouring triangles of one surface are lit as one
                            other = seen[k]
                            if index >= 0 and other >= 0 and sources[index, 1] == sources[other, 1]:
                                kind = materials[sources[index, 0]]
                                if kind == materials[sources[other, 0]] and (
                                    round_[kind]
                                    or abs(planes[index, 9] - planes[other, 9])
                                    + abs(planes[index, 10] - planes[other, 10])
                                    < 1e-5 * planes[other, 11]
                                ):
                                    break
                            k += 1
                        if k == number:
                            seen[k], weight[k], sum_x[k], sum_y[k] = index, 0.0, 0.0, 0.0
                            number += 1
                        weight[k] += share
                        sum_x[k] += share * (2 * x + i)
                        sum_y[k] += share * (2 * row + j)
            else:
                weight[0] = 1.0
            for k in range(number):
                index = seen[k]
                slot, rank = -1, 0
                if index >= 0:
                    rank = ranks[materials[sources[index, 0]]]
                    slot = slots[index]
                    if slot < 0:
                        slot = found
                        slots[index] = slot
                        triangles[slot] = index
                        found += 1
                raw[0, count] = slot
                raw[1, count] = (((row - row0) * width + x) << 1) | (k == 0)
                raw[2, count] = rank
                raw_at[0, count] = 2 * x + 1 if k == 0 else sum_x[k] / weight[k]
                raw_at[1, count] = 2 * row + 1 if k == 0 else sum_y[k] / weight[k]
                raw_at[2, count] = weight[k]
                starts[rank + 2] += 1
                count += 1
        row += 1
    for k in range(kinds):
        starts[k + 2] += starts[k + 1]
    for n in range(count):
        rank = raw[2, n]
        place = starts[rank + 1]
        starts[rank + 1] += 1
        whole[0, place], whole[1, place] = raw[0, n], raw[1, n]
        whole_at[0, place], whole_at[1, place], whole_at[2, place] = raw_at[0, n], raw_at[1, n], raw_at[2, n]
    for k in range(found):
        slots[triangles[k]] = -1
    starts[kinds + 1] = found
    return row


def collect(
    rows: tuple[int, int],
    ids: npt.NDArray[np.int32],
    sources: npt.NDArray[np.int32],
    planes: npt.NDArray[np.float64],
    kinds: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], npt.NDArray[np.uint8]],
    scratch: tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32]],
    triangles: npt.NDArray[np.int32],
    out: tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]],
    starts: npt.NDArray[np.int64],
) -> int:
    """Finds the fragments of pixel rows ``rows[0] <= y < rows[1]``, as many rows as there is room for.

    Args:
        rows: of the image.
        ids: (2H+1, 2W+1) rows of ``planes`` or -1, with ``sources`` and ``planes`` from the rasteriser.
        sources: as above.
        planes: as above.
        kinds: (T,) kind of each mesh triangle; (K,) rank of each kind, from 1; (K,) whether the kind's triangles on one
            object count as one surface even where they bend.
        scratch: (len(planes),) slots that are all -1 before and after, and (3, N) numbers and positions.
        triangles: written: the rows of ``planes`` that occur, in the order of their slots.
        out: written, sorted by rank, the sky first: (2, N) slot (-1 is the sky) and pixel, counted from the first row,
            twice, plus one for the surface that the pixel's centre sees; (3, N) sample column and row, weight.
        starts: (K + 2,) written: where each rank starts, where the last one ends, and the number of slots.

    Returns:
        The row to go on with.
    """
    numbers, places = out
    if numbers.shape[1] != places.shape[1] or numbers.shape != (2, scratch[2].shape[1]) or len(places) != 3:
        raise ValueError(f"fragments must be (2, N) and (3, N) but got {numbers.shape} and {places.shape}")
    if numbers.shape[1] < 9 * ((ids.shape[1] - 1) // 2):
        raise ValueError(f"there must be room for a row of {ids.shape[1]} samples but got {numbers.shape[1]}")
    return int(
        _collect(
            rows[0], rows[1], ids, sources, planes, *kinds, scratch[0], triangles, scratch[1], numbers, scratch[2],
            places, starts,
        )
    )  # fmt: skip


@njit(
    "void(int64, int64, int64, int32[:,::1], float32[:,::1], float32[:,::1], float32[:,:,::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _resolve(row0, row1, count, numbers, places, colours, rgb):  # type: ignore[no-untyped-def]
    rgb[row0:row1] = 0.0
    flat = rgb[row0:row1].reshape(-1, 3)
    for i in range(count):
        pixel = numbers[1, i] >> 1
        weight = places[2, i]
        for c in range(3):
            flat[pixel, c] += weight * colours[c, i]


def resolve(
    rows: tuple[int, int],
    count: int,
    numbers: npt.NDArray[np.int32],
    places: npt.NDArray[np.float32],
    colours: npt.NDArray[np.float32],
    rgb: npt.NDArray[np.float32],
) -> None:
    """Mixes the colours (3, N) of ``count`` fragments from ``collect`` into rows of ``rgb`` (H, W, 3)."""
    _resolve(rows[0], rows[1], count, numbers, places, colours, rgb)
