"""Placed meshes before a camera: which are in sight, and where their points go in this frame and the next."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["in_sight", "motions_of", "onto_camera"]

Array = npt.NDArray[np.float64]
_SLACK_M = 0.05


@njit(
    "void(float64[:,::1], float64[::1], float64[:,::1], float64[::1], float64[::1], float64, float64[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _in_sight(centres, radii, rotation, origin, camera, reach, distance):  # type: ignore[no-untyped-def]
    fx, fy, cx, cy, width, height = camera[0], camera[1], camera[2], camera[3], camera[4], camera[5]
    left, right, top, bottom = -cx / fx, (width - cx) / fx, -cy / fy, (height - cy) / fy
    by_left, by_right = 1.0 / math.sqrt(1.0 + left * left), 1.0 / math.sqrt(1.0 + right * right)
    by_top, by_bottom = 1.0 / math.sqrt(1.0 + top * top), 1.0 / math.sqrt(1.0 + bottom * bottom)
    for k in range(len(centres)):
        dx, dy, dz = centres[k, 0] - origin[0], centres[k, 1] - origin[1], centres[k, 2] - origin[2]
        radius = radii[k]
        distance[k] = -1e9
        z = rotation[0, 2] * dx + rotation[1, 2] * dy + rotation[2, 2] * dz
        if z <= -radius or z >= reach + radius:
            continue
        x = rotation[0, 0] * dx + rotation[1, 0] * dy + rotation[2, 0] * dz
        y = rotation[0, 1] * dx + rotation[1, 1] * dy + rotation[2, 1] * dz
        if (x - left * z) * by_left <= -radius - _SLACK_M or (x - right * z) * by_right >= radius + _SLACK_M:
            continue
        if (y - top * z) * by_top <= -radius - _SLACK_M or (y - bottom * z) * by_bottom >= radius + _SLACK_M:
            continue
        away = math.sqrt(x * x + y * y + z * z) - radius
        # nothing smaller than a pixel
        if radius * fx > 0.5 * max(away, 0.1):
            distance[k] = away


def in_sight(
    centres: Array, radii: Array, rotation: Array, origin: Array, camera: Array, reach_m: float
) -> tuple[npt.NDArray[np.int64], Array]:
    """Spheres that may meet a pinhole's view and are at least a pixel wide, nearest first.

    Args:
        centres: (I, 3) in the world, m; ``radii`` (I,).
        radii: as above.
        rotation: (3, 3) camera to world; ``origin`` (3,) of the camera in the world, m.
        origin: as above.
        camera: (6,) fx, fy, cx, cy, width, height, px.
        reach_m: how far is looked.

    Returns:
        (K,) rows and (K,) how far their nearest points are, m, negative around the camera.
    """
    distance = np.empty(len(centres))
    _in_sight(centres, radii, np.ascontiguousarray(rotation), origin, camera, reach_m, distance)
    rows = np.flatnonzero(distance > -1e8)
    rows = rows[np.argsort(distance[rows], kind="stable")]
    return rows, distance[rows]


@njit(
    "void(int64[::1], float64[:,:,::1], float64[:,::1], float64[::1], float64[:,::1], float64[::1], float64[:,:,::1], "
    "float64[:,::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _onto_camera(rows, rotations, positions, scales, rotation, origin, linear, offset):  # type: ignore[no-untyped-def]
    for n in range(len(rows)):
        row = rows[n]
        scale = scales[row]
        for i in range(3):
            total = 0.0
            for k in range(3):
                total += rotation[k, i] * (positions[row, k] - origin[k])
            offset[n, i] = total
            for j in range(3):
                total = 0.0
                for k in range(3):
                    total += rotation[k, i] * rotations[row, k, j]
                linear[n, i, j] = total * scale


def onto_camera(
    rows: npt.NDArray[np.int64], rotations: Array, positions: Array, scales: Array, rotation: Array, origin: Array
) -> tuple[Array, Array]:
    """How placed meshes lie in a camera's frame.

    Args:
        rows: (K,) of the next three.
        rotations: (I, 3, 3) to the world; ``positions`` (I, 3) m; ``scales`` (I,).
        positions: as above.
        scales: as above.
        rotation: (3, 3) camera to world; ``origin`` (3,) of the camera in the world, m.
        origin: as above.

    Returns:
        (K, 3, 3) linear parts with the scale and (K, 3) places, m.
    """
    linear, offset = np.empty((len(rows), 3, 3)), np.empty((len(rows), 3))
    _onto_camera(
        rows, np.ascontiguousarray(rotations), np.ascontiguousarray(positions), scales,
        np.ascontiguousarray(rotation), origin, linear, offset,
    )  # fmt: skip
    return linear, offset


@njit(
    "void(float64[:,:,::1], float64[:,::1], float64[:,:,::1], float64[:,::1], float64[:,:,::1], float64[:,:,::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _motions(linear, offset, next_linear, next_offset, inverses, motions):  # type: ignore[no-untyped-def]
    for n in range(len(linear)):
        square = 0.0
        for k in range(3):
            square += linear[n, k, 0] * linear[n, k, 0]
        for i in range(3):
            for j in range(3):
                inverses[n, i, j] = linear[n, j, i] / square
        for i in range(3):
            shift = next_offset[n, i]
            for j in range(3):
                total = 0.0
                for k in range(3):
                    total += next_linear[n, i, k] * inverses[n, k, j]
                motions[n, i, j] = total
                shift -= total * offset[n, j]
            motions[n, i, 3] = shift


def motions_of(linear: Array, offset: Array, next_linear: Array, next_offset: Array) -> tuple[Array, Array]:
    """How points of placed meshes move in a camera's frame until the next frame.

    Args:
        linear: (K, 3, 3) and ``offset`` (K, 3) m from ``onto_camera``; likewise the next two, of the next frame.
        offset: as above.
        next_linear: as above.
        next_offset: as above.

    Returns:
        (K, 3, 3) inverses of ``linear``, and (K, 3, 4) from this camera's points to the next frame's.
    """
    inverses, motions = np.empty_like(linear), np.empty((len(linear), 3, 4))
    _motions(linear, offset, next_linear, next_offset, inverses, motions)
    return inverses, motions
