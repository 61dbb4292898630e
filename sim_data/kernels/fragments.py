"""Samples to fragments: the surfaces that a pixel sees, each to be lit once, and back to colours of pixels.

The z-buffer has twice the image's resolution and its odd rows and columns are the pixel centres. A pixel's colour is a
tent filter over the 3 x 3 samples around its centre; samples of one surface are one fragment. Fragments are sorted by
kind of surface, so that each kind's kernel runs over one stretch of arrays.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from sim_data.kernels.simd import vector_kernel

__all__ = ["collect", "resolve"]


@vector_kernel("void(int32[::1], int32[::1], int32[::1], boolean[::1])")
def _compare(upper, middle, lower, alike):  # type: ignore[no-untyped-def]
    """Whether the nine samples of each pixel of a row see one triangle."""
    for x in range(alike.shape[0]):
        left, centre, right = np.uint64(2 * x), np.uint64(2 * x + 1), np.uint64(2 * x + 2)
        one = middle[centre]
        alike[np.uint64(x)] = (
            (upper[left] == one) & (upper[centre] == one) & (upper[right] == one)
            & (middle[left] == one) & (middle[right] == one)
            & (lower[left] == one) & (lower[centre] == one) & (lower[right] == one)
        )  # fmt: skip


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
    alike = np.empty(width, np.bool_)
    found, count, runs = 0, 0, 0
    row = row0
    while row < row1 and count <= room:
        upper, middle, lower = ids[2 * row], ids[2 * row + 1], ids[2 * row + 2]
        _compare(upper, middle, lower, alike)
        last, last_slot, last_rank = np.int32(-2), np.int32(-1), np.int32(0)
        x = 0
        while x < width:
            centre = middle[np.uint64(2 * x + 1)]
            if alike[np.uint64(x)]:
                # a stretch of pixels that see one triangle
                first = x
                x += 1
                while x < width and alike[np.uint64(x)] and middle[np.uint64(2 * x + 1)] == centre:
                    x += 1
                if centre != last:  # as below: in a function of its own this takes 40 % longer, even inlined
                    last, last_slot, last_rank = centre, np.int32(-1), np.int32(0)
                    if centre >= 0:
                        at = np.uint64(centre)
                        last_rank = np.int32(ranks[np.uint64(materials[np.uint64(sources[at, 0])])])
                        last_slot = slots[at]
                        if last_slot < 0:
                            last_slot = np.int32(found)
                            slots[at] = last_slot
                            triangles[np.uint64(found)] = centre
                            found += 1
                n = np.uint64(runs)
                raw[0, n], raw[1, n], raw[2, n] = last_slot, (((row - row0) * width + first) << 1) | 1, last_rank
                raw[3, n] = x - first
                raw_at[0, n], raw_at[1, n], raw_at[2, n] = 2 * first + 1, 2 * row + 1, 1.0
                starts[np.uint64(last_rank + 2)] += x - first
                count += x - first
                runs += 1
                continue
            number = 1
            seen[0], weight[0], sum_x[0], sum_y[0] = centre, 0.0, 0.0, 0.0
            before, k = centre, 0
            for j in range(3):
                line = upper if j == 0 else (middle if j == 1 else lower)
                for i in range(3):
                    index = line[np.uint64(2 * x + i)]
                    share = (1.0 + (i & 1)) * (1.0 + (j & 1)) / 16.0
                    if index != before:  # else it is part of what the sample before is part of
                        before, k = index, 0
                        while k < number and seen[np.uint64(k)] != index:
                            # neighbouring triangles of one surface are lit as one
                            other = seen[np.uint64(k)]
                            if index >= 0 and other >= 0:
                                a, b = np.uint64(index), np.uint64(other)
                                if sources[a, 1] == sources[b, 1]:
                                    kind = materials[np.uint64(sources[a, 0])]
                                    if kind == materials[np.uint64(sources[b, 0])] and (
                                        round_[np.uint64(kind)]
                                        or abs(planes[a, 9] - planes[b, 9]) + abs(planes[a, 10] - planes[b, 10])
                                        < 1e-5 * planes[b, 11]
                                    ):
                                        break
                            k += 1
                    place = np.uint64(k)
                    if k == number:
                        seen[place], weight[place], sum_x[place], sum_y[place] = index, 0.0, 0.0, 0.0
                        number += 1
                    weight[place] += share
                    sum_x[place] += share * (2 * x + i)
                    sum_y[place] += share * (2 * row + j)
            for k in range(number):
                index = seen[np.uint64(k)]
                if index != last:
                    last, last_slot, last_rank = index, np.int32(-1), np.int32(0)
                    if index >= 0:
                        at = np.uint64(index)
                        last_rank = np.int32(ranks[np.uint64(materials[np.uint64(sources[at, 0])])])
                        last_slot = slots[at]
                        if last_slot < 0:
                            last_slot = np.int32(found)
                            slots[at] = last_slot
                            triangles[np.uint64(found)] = index
                            found += 1
                n = np.uint64(runs)
                raw[0, n], raw[3, n] = last_slot, 1
                raw[1, n] = (((row - row0) * width + x) << 1) | (k == 0)
                raw[2, n] = last_rank
                raw_at[0, n] = 2 * x + 1 if k == 0 else sum_x[np.uint64(k)] / weight[np.uint64(k)]
                raw_at[1, n] = 2 * row + 1 if k == 0 else sum_y[np.uint64(k)] / weight[np.uint64(k)]
                raw_at[2, n] = weight[np.uint64(k)]
                starts[np.uint64(last_rank + 2)] += 1
                count += 1
                runs += 1
            x += 1
        row += 1
    for k in range(kinds):
        starts[k + 2] += starts[k + 1]
    for run in range(runs):
        n = np.uint64(run)
        rank = np.uint64(raw[2, n] + 1)
        place, length = starts[rank], np.int64(raw[3, n])
        starts[rank] += length
        slot, pixel = raw[0, n], raw[1, n]
        column, height, share = raw_at[0, n], raw_at[1, n], raw_at[2, n]
        for k in range(length):
            to = np.uint64(place + k)
            whole[0, to], whole[1, to] = slot, pixel + np.int32(2 * k)
            whole_at[0, to], whole_at[1, to], whole_at[2, to] = column + np.float32(2 * k), height, share
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
        scratch: (len(planes),) slots that are all -1 before and after, and (4, N) numbers and (3, N) positions.
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
