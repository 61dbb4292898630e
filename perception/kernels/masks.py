"""Masks as run lengths, as COCO writes them, and their outlines.

A mask of (H, W) is a row of counts down its columns, first of zeros, then of ones, and so on: COCO's uncompressed
``counts``. Areas and overlaps come from the runs without decoding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["mask_outline", "rle_areas", "rle_decode", "rle_encode", "rle_iou"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def rle_encode(mask: npt.ArrayLike) -> Int64Array:
    """Run lengths of a (H, W) mask; anything but 0 is inside.

    >>> rle_encode([[0, 1], [1, 1]]).tolist()
    [1, 3]
    """
    inside = as_array("mask", np.asarray(mask) != 0, np.uint8, (None, None))
    counts: Int64Array = _encode(inside)
    return counts


def rle_decode(counts: npt.ArrayLike, height_px: int, width_px: int) -> npt.NDArray[np.uint8]:
    """(H, W) u8 mask of 0 and 1.

    Raises:
        ValueError: a run is negative, or the runs do not add up to the size.
    """
    runs = _checked_runs("counts", counts)
    if runs.sum() != height_px * width_px:
        raise ValueError(f"runs must add up to {height_px}x{width_px} = {height_px * width_px} but give {runs.sum()}")
    mask: npt.NDArray[np.uint8] = _decode(runs, height_px, width_px)
    return mask


def rle_areas(masks: Sequence[npt.ArrayLike]) -> Int64Array:
    """(N,) pixels inside each of N masks given as run lengths."""
    return np.array([_checked_runs("masks", runs)[1::2].sum() for runs in masks], dtype=np.int64)


def rle_iou(a_masks: Sequence[npt.ArrayLike], b_masks: Sequence[npt.ArrayLike]) -> Float64Array:
    """(N, M) IoU of every pair of masks given as run lengths; 0 where both are empty.

    Raises:
        ValueError: a run is negative, or the masks are not all of one size.
    """
    a_runs, a_starts = _packed("a_masks", a_masks)
    b_runs, b_starts = _packed("b_masks", b_masks)
    sizes = {
        int(runs[starts[i] : starts[i + 1]].sum())
        for runs, starts in ((a_runs, a_starts), (b_runs, b_starts))
        for i in range(len(starts) - 1)
    }
    if len(sizes) > 1:
        raise ValueError(f"masks must all be of one size but have {sorted(sizes)} pixels")
    result: Float64Array = _iou(a_runs, a_starts, b_runs, b_starts)
    return result


def mask_outline(mask: npt.ArrayLike) -> list[npt.NDArray[np.int32]]:
    """Outer outline of each connected part (8-neighbours) of a (H, W) mask, largest first.

    Returns:
        (K, 2) i32 pixels u, v in order round each part, clockwise as seen in the image, by Moore's neighbour tracing.
    """
    inside = as_array("mask", np.asarray(mask) != 0, np.uint8, (None, None))
    padded = np.zeros((inside.shape[0] + 2, inside.shape[1] + 2), np.uint8)
    padded[1:-1, 1:-1] = inside
    points, starts = _outlines(padded)
    parts = [points[starts[i] : starts[i + 1]] - 1 for i in range(len(starts) - 1)]
    return sorted(parts, key=len, reverse=True)


def _checked_runs(name: str, counts: npt.ArrayLike) -> Int64Array:
    runs: Int64Array = as_array(name, counts, np.int64, (None,))
    if (runs < 0).any():
        raise ValueError(f"{name} must not hold negative runs but has {runs[runs < 0][0]}")
    return runs


def _packed(name: str, masks: Sequence[npt.ArrayLike]) -> tuple[Int64Array, Int64Array]:
    runs = [_checked_runs(name, mask) for mask in masks]
    starts = np.concatenate([[0], np.cumsum([len(run) for run in runs])]).astype(np.int64)
    return np.concatenate([*runs, np.zeros(0, np.int64)]), starts


@njit("int64[::1](uint8[:, ::1])", cache=True, nogil=True)
def _encode(mask):  # type: ignore[no-untyped-def]
    height, width = mask.shape
    counts = np.empty(height * width + 1, np.int64)
    found = 0
    value, run = 0, 0
    for u in range(width):
        for v in range(height):
            if mask[v, u] != value:
                counts[found] = run
                found += 1
                value, run = 1 - value, 0
            run += 1
    counts[found] = run
    return counts[: found + 1].copy()


@njit("uint8[:, ::1](int64[::1], int64, int64)", cache=True, nogil=True)
def _decode(runs, height, width):  # type: ignore[no-untyped-def]
    mask = np.zeros((height, width), np.uint8)
    at = 0
    for k in range(runs.size):
        if k % 2:
            for pixel in range(at, at + runs[k]):
                mask[pixel % height, pixel // height] = 1
        at += runs[k]
    return mask


@njit("float64[:, ::1](int64[::1], int64[::1], int64[::1], int64[::1])", cache=True, nogil=True)
def _iou(a_runs, a_starts, b_runs, b_starts):  # type: ignore[no-untyped-def]
    rows, columns = a_starts.size - 1, b_starts.size - 1
    out = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            p, q = a_starts[i], b_starts[j]
            if p == a_starts[i + 1] or q == b_starts[j + 1]:
                continue
            a_left, b_left = a_runs[p], b_runs[q]
            in_a, in_b = 0, 0
            inter, union = 0, 0
            while True:
                step = min(a_left, b_left)
                inter += step * (in_a & in_b)
                union += step * (in_a | in_b)
                a_left -= step
                b_left -= step
                ended = False
                while a_left == 0:
                    p += 1
                    if p == a_starts[i + 1]:
                        ended = True
                        break
                    a_left, in_a = a_runs[p], 1 - in_a
                if ended:
                    break
                while b_left == 0:
                    q += 1
                    if q == b_starts[j + 1]:
                        ended = True
                        break
                    b_left, in_b = b_runs[q], 1 - in_b
                if ended:
                    break
            out[i, j] = inter / union if union > 0 else 0.0
    return out


@njit("Tuple((int32[:, ::1], int64[::1]))(uint8[:, ::1])", cache=True, nogil=True)
def _outlines(mask):  # type: ignore[no-untyped-def]
    """Pixels of every outer outline in a mask with a rim of zeros; the mask is consumed."""
    height, width = mask.shape
    # clockwise from the left: the order in which Moore's tracing looks round a pixel
    step_u = (-1, -1, 0, 1, 1, 1, 0, -1)
    step_v = (0, -1, -1, -1, 0, 1, 1, 1)
    points = np.empty((4 * height * width, 2), np.int32)
    starts = np.empty(height * width + 1, np.int64)
    stack = np.empty((height * width, 2), np.int64)
    count, parts = 0, 0
    starts[0] = 0
    for v in range(height):
        for u in range(width):
            if mask[v, u] != 1:
                continue
            first_u, first_v, at_u, at_v, look = u, v, u, v, 0
            first_look = -1
            while True:
                points[count, 0], points[count, 1] = at_u, at_v
                count += 1
                moved = False
                for turn in range(8):
                    direction = (look + turn) % 8
                    if mask[at_v + step_v[direction], at_u + step_u[direction]]:
                        moved = True
                        break
                if not moved:
                    break
                if at_u == first_u and at_v == first_v:
                    # Jacob's rule: back at the start and leaving it the same way
                    if first_look < 0:
                        first_look = direction
                    elif direction == first_look:
                        count -= 1
                        break
                at_u += step_u[direction]
                at_v += step_v[direction]
                # go on looking just past where we came from
                look = (direction + 5 + (direction % 2 == 0)) % 8
                if count >= points.shape[0]:
                    break
            parts += 1
            starts[parts] = count
            # the part is done: mark its pixels
            stack[0, 0], stack[0, 1] = u, v
            mask[v, u] = 2
            depth = 1
            while depth:
                depth -= 1
                pop_u, pop_v = stack[depth, 0], stack[depth, 1]
                for direction in range(8):
                    next_u, next_v = pop_u + step_u[direction], pop_v + step_v[direction]
                    if mask[next_v, next_u] == 1:
                        mask[next_v, next_u] = 2
                        stack[depth, 0], stack[depth, 1] = next_u, next_v
                        depth += 1
    return points[:count].copy(), starts[: parts + 1].copy()
