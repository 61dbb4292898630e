"""Counting over label images: which classes meet where, and how far their boundaries lie apart."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["boundary_hits", "label_pairs"]

Int64Array = npt.NDArray[np.int64]
UInt8Array = npt.NDArray[np.uint8]


@njit("i8[:,::1](u1[::1],u1[::1])", cache=True, nogil=True)
def _label_pairs(a: UInt8Array, b: UInt8Array) -> Int64Array:
    # neighbouring pixels mostly fall into one cell: two tables take turns, so that an addition need not wait
    even = np.zeros(65536, np.int64)
    odd = np.zeros(65536, np.int64)
    half = len(a) // 2
    for k in range(half):
        even[np.int64(a[2 * k]) * 256 + np.int64(b[2 * k])] += 1
        odd[np.int64(a[2 * k + 1]) * 256 + np.int64(b[2 * k + 1])] += 1
    if len(a) % 2:
        even[np.int64(a[-1]) * 256 + np.int64(b[-1])] += 1
    return (even + odd).reshape(256, 256)


def label_pairs(gt: npt.ArrayLike, pred: npt.ArrayLike) -> Int64Array:
    """(256, 256) how many pixels have each (ground truth, prediction) pair of labels.

    Args:
        gt: (H, W) u8.
        pred: (H, W) u8.

    >>> label_pairs([[1, 1]], [[1, 2]])[1, :4].tolist()
    [0, 1, 1, 0]
    """
    truth = as_array("gt", gt, np.uint8, (None, None))
    found = as_array("pred", pred, np.uint8, truth.shape)
    result: Int64Array = _label_pairs(truth.reshape(-1), found.reshape(-1))
    return result


@njit("u1[:,::1](u1[:,::1],u1)", cache=True, nogil=True)
def _inner_boundary(labels: UInt8Array, void: int) -> UInt8Array:
    """The label where a neighbour has another one, ``void`` elsewhere; an edge towards void is none."""
    height, width = labels.shape
    out = np.full((height, width), void, np.uint8)
    for y in range(height):
        for x in range(width):
            here = labels[y, x]
            if here == void:
                continue
            for side in range(4):
                ny = y + (1 if side == 0 else -1 if side == 1 else 0)
                nx = x + (1 if side == 2 else -1 if side == 3 else 0)
                if 0 <= ny < height and 0 <= nx < width and labels[ny, nx] != here and labels[ny, nx] != void:
                    out[y, x] = here
                    break
    return out


@njit("i8[:,::1](u1[:,::1],u1[:,::1],i8[:,::1],u1)", cache=True, nogil=True)
def _near(a: UInt8Array, b: UInt8Array, offsets: Int64Array, void: int) -> Int64Array:
    """(256, 2) boundary pixels of ``a`` by label, and how many of them have one of ``b`` within the offsets."""
    height, width = a.shape
    out = np.zeros((256, 2), np.int64)
    for y in range(height):
        for x in range(width):
            here = a[y, x]
            if here == void:
                continue
            out[here, 0] += 1
            for k in range(len(offsets)):
                ny, nx = y + offsets[k, 0], x + offsets[k, 1]
                if 0 <= ny < height and 0 <= nx < width and b[ny, nx] == here:
                    out[here, 1] += 1
                    break
    return out


def boundary_hits(
    gt: npt.ArrayLike, pred: npt.ArrayLike, tolerance_px: float, void: int
) -> tuple[Int64Array, Int64Array]:
    """Boundary pixels and those with a boundary of the same class near by, both ways.

    Args:
        gt: (H, W) u8.
        pred: (H, W) u8; its boundaries where ``gt`` is void do not count.
        tolerance_px: how near, in a straight line.
        void: label that is no class.

    Returns:
        (256, 2) for the ground truth and (256, 2) for the prediction: pixels, and pixels with a counterpart.
    """
    truth = as_array("gt", gt, np.uint8, (None, None))
    found = as_array("pred", pred, np.uint8, truth.shape)
    found = np.where(truth == void, np.uint8(void), found)
    reach = int(tolerance_px)
    grid = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    squares = (grid * grid).sum(axis=1)
    inside = squares <= tolerance_px * tolerance_px
    # nearest first: a good prediction is found at once
    offsets = np.ascontiguousarray(grid[inside][np.argsort(squares[inside], kind="stable")].astype(np.int64))
    edges_gt, edges_pred = _inner_boundary(truth, void), _inner_boundary(found, void)
    of_gt: Int64Array = _near(edges_gt, edges_pred, offsets, void)
    of_pred: Int64Array = _near(edges_pred, edges_gt, offsets, void)
    return of_gt, of_pred
