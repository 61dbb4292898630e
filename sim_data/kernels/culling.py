"""What cannot be seen at all: placed meshes beyond a view, between its samples, or behind what is drawn already."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["BLOCK", "farthest_of_blocks", "may_be_seen"]

BLOCK = 16  # samples on a side
_NEAR_M = 0.08  # as the rasteriser clips
_MARGIN = 1.0 + 1e-6  # planes are evaluated with rounding


@njit("void(int32[:,::1], int32[:,::1])", cache=True, nogil=True, error_model="numpy")
def _farthest(bits, out):  # type: ignore[no-untyped-def]
    height, width = bits.shape
    for block in range(out.shape[0]):
        row0, row1 = block * BLOCK, min(block * BLOCK + BLOCK, height)
        for column in range(out.shape[1]):
            column0, column1 = column * BLOCK, min(column * BLOCK + BLOCK, width)
            far = np.int32(0x7FFFFFFF)
            for y in range(row0, row1):
                line = bits[y]
                for x in range(column0, column1):
                    far = min(far, line[np.uint64(x)])
            out[block, column] = far


def farthest_of_blocks(nearness: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(h, w) smallest nearness of each block of ``BLOCK`` x ``BLOCK`` samples of (H, W)."""
    out = np.empty(tuple((side + BLOCK - 1) // BLOCK for side in nearness.shape), np.int32)
    # numbers that are not negative are in the order of their bits, and a minimum of integers becomes vector code
    _farthest(nearness.view(np.int32), out)
    return out.view(np.float32)


@njit(
    "void(float64[:,::1], float64[:,::1], float64[:,:,::1], float64[:,::1], float64[::1], float32[:,::1], "
    "boolean[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _may_be_seen(low, high, linear, offset, view, farthest, seen):  # type: ignore[no-untyped-def]
    fx, fy, cx, cy, width, height = view[0], view[1], view[2], view[3], view[4], view[5]
    for k in range(len(low)):
        r, t = linear[k], offset[k]
        left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
        nearest, deepest = np.inf, -np.inf
        for corner in range(8):
            x = high[k, 0] if corner & 1 else low[k, 0]
            y = high[k, 1] if corner & 2 else low[k, 1]
            z = high[k, 2] if corner & 4 else low[k, 2]
            ahead = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z + t[2]
            nearest, deepest = min(nearest, ahead), max(deepest, ahead)
            if ahead < _NEAR_M:
                continue
            inverse = 1.0 / ahead
            u = fx * (r[0, 0] * x + r[0, 1] * y + r[0, 2] * z + t[0]) * inverse + cx
            v = fy * (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z + t[1]) * inverse + cy
            left, right = min(left, u), max(right, u)
            top, bottom = min(top, v), max(bottom, v)
        seen[k] = False
        if deepest < _NEAR_M:
            continue
        if nearest < _NEAR_M:
            # it reaches past the camera, where corners say nothing about its outline
            seen[k] = True
            continue
        slack = 1e-3
        column0, column1 = max(math.ceil(left - slack), 0.0), min(math.floor(right + slack), width - 1.0)
        row0, row1 = max(math.ceil(top - slack), 0.0), min(math.floor(bottom + slack), height - 1.0)
        if column0 > column1 or row0 > row1:
            continue
        near = _MARGIN / nearest
        for block in range(int(row0) // BLOCK, int(row1) // BLOCK + 1):
            for column in range(int(column0) // BLOCK, int(column1) // BLOCK + 1):
                if near > farthest[block, column]:
                    seen[k] = True
                    break
            if seen[k]:
                break


def may_be_seen(
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
    linear: npt.NDArray[np.float64],
    offset: npt.NDArray[np.float64],
    view: npt.NDArray[np.float64],
    farthest: npt.NDArray[np.float32],
) -> npt.NDArray[np.bool_]:
    """(I,) False for placed meshes of which no sample of a pinhole view can see anything.

    Args:
        low: (I, 3) lowest corners of the meshes in their own frames, m; ``high`` likewise.
        high: as above.
        linear: (I, 3, 3) from each mesh's frame to the view's; ``offset`` (I, 3) m.
        offset: as above.
        view: (6,) fx, fy, cx, cy, width, height of the samples.
        farthest: smallest nearness by block of what is drawn already, from ``farthest_of_blocks``.
    """
    if not low.shape == high.shape == offset.shape or linear.shape != (len(low), 3, 3):
        raise ValueError(f"low, high and offset must be (I, 3) but got {low.shape}, {high.shape}, {offset.shape}")
    seen = np.empty(len(low), np.bool_)
    _may_be_seen(low, high, linear, offset, view, farthest, seen)
    return seen
