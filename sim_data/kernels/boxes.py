"""Boxes of objects: of the pixels that are seen of them, and of their whole outlines."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["bound_instances", "bound_outlines"]

_BEFORE_M = 0.1  # what lies beside or behind the camera is moved just before it: its box leaves the picture there


@njit("void(int32[:,::1], int64[::1], int64[:,::1])", cache=True, nogil=True, error_model="numpy")
def _bound_instances(instance, pixels, boxes):  # type: ignore[no-untyped-def]
    height, width = instance.shape
    pixels[:] = 0
    boxes[:, :2] = width + height
    boxes[:, 2:] = -1
    for y in range(height):
        row = instance[y]
        x = 0
        while x < width:
            number = row[x]
            start = x
            while x < width and row[x] == number:
                x += 1
            if number > 0 and number < len(pixels):
                pixels[number] += x - start
                boxes[number, 0] = min(boxes[number, 0], start)
                boxes[number, 1] = min(boxes[number, 1], y)
                boxes[number, 2] = max(boxes[number, 2], x - 1)
                boxes[number, 3] = y


def bound_instances(instance: npt.NDArray[np.int32], count: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pixels and boxes by id.

    Args:
        instance: (H, W) ids, 0 and those from ``count`` on are left out.
        count: one more than the largest id.

    Returns:
        (count,) numbers of pixels, and (count, 4) first column and row and last column and row, -1 last without any.
    """
    pixels, boxes = np.empty(count, np.int64), np.empty((count, 4), np.int64)
    _bound_instances(np.require(instance, np.int32, "C"), pixels, boxes)
    return pixels, boxes


@njit(
    "void(float64[:,::1], int64[::1], float64[:,:,::1], float64[:,::1], float64[::1], float64[:,::1], float64[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _bound_outlines(points, starts, rotations, places, camera, boxes, deepest):  # type: ignore[no-untyped-def]
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    for k in range(len(places)):
        r, t = rotations[k], places[k]
        left, top, right, bottom, deep = np.inf, np.inf, -np.inf, -np.inf, -np.inf
        for n in range(starts[k], starts[k + 1]):
            x, y, z = points[n, 0], points[n, 1], points[n, 2]
            ahead = r[2, 0] * x + r[2, 1] * y + r[2, 2] * z + t[2]
            deep = max(deep, ahead)
            inverse = 1.0 / max(ahead, _BEFORE_M)
            u = fx * (r[0, 0] * x + r[0, 1] * y + r[0, 2] * z + t[0]) * inverse + cx
            v = fy * (r[1, 0] * x + r[1, 1] * y + r[1, 2] * z + t[1]) * inverse + cy
            left, right = min(left, u), max(right, u)
            top, bottom = min(top, v), max(bottom, v)
        boxes[k, 0], boxes[k, 1], boxes[k, 2], boxes[k, 3] = left, top, right, bottom
        deepest[k] = deep


def bound_outlines(
    points: npt.NDArray[np.float64],
    starts: npt.NDArray[np.int64],
    rotations: npt.NDArray[np.float64],
    places: npt.NDArray[np.float64],
    camera: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Boxes of the pinhole images of objects.

    Args:
        points: (P, 3) corners of the objects' hulls in their own frames, m, one object after the other.
        starts: (N + 1,) where each object's begin.
        rotations: (N, 3, 3) to the camera; ``places`` (N, 3) in it, m.
        places: as above.
        camera: (4,) fx, fy, cx, cy, px.

    Returns:
        (N, 4) left, top, right, bottom, px, and (N,) the largest depth, m. Corners less than 0.1 m before the camera
        count as if they were so far before it.
    """
    if len(starts) != len(places) + 1 or rotations.shape != (len(places), 3, 3):
        raise ValueError(f"starts must be (N + 1,) and rotations (N, 3, 3) but got {starts.shape}, {rotations.shape}")
    boxes, deepest = np.empty((len(places), 4)), np.empty(len(places))
    _bound_outlines(
        np.ascontiguousarray(points), starts, np.ascontiguousarray(rotations), np.ascontiguousarray(places), camera,
        boxes, deepest,
    )  # fmt: skip
    return boxes, deepest
