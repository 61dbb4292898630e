"""The darker ground beside and beneath vehicles, where less of the sky is seen."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["darken"]

_F = np.float32
_REACH_M = 0.7  # where the darkening beside a footprint has faded
_INSET_M = 0.25  # bodies overhang their wheels
_DEPTH, _FADE_M = 0.88, 0.38
_WIDE_M = 1.5


@njit(
    "void(float64[:,::1], float64, float64, float64, float32[:,::1])", cache=True, nogil=True, error_model="numpy"
)  # fmt: skip
def _darken(footprints, low_x, low_y, density, field):  # type: ignore[no-untyped-def]
    field[:] = 0.0
    height, width = field.shape
    for k in range(footprints.shape[0]):
        x, y, yaw = footprints[k, 0], footprints[k, 1], footprints[k, 2]
        length, wide = footprints[k, 3], footprints[k, 4]
        reach = 0.5 * math.sqrt(length * length + wide * wide) + _REACH_M
        column0 = min(max(int((x - reach - low_x) * density), 0), width)
        column1 = min(max(int((x + reach - low_x) * density + 2), 0), width)
        row0 = min(max(int((y - reach - low_y) * density), 0), height)
        row1 = min(max(int((y + reach - low_y) * density + 2), 0), height)
        cosine, sine = _F(math.cos(yaw)), _F(math.sin(yaw))
        # what is narrow hides little of the sky
        strength = _F(_DEPTH * min(1.0, (wide / _WIDE_M) ** 2))
        half_long, half_wide = _F(max(0.5 * length - _INSET_M, 0.0)), _F(max(0.5 * wide - _INSET_M, 0.0))
        for row in range(row0, row1):
            gy = _F((row + 0.5) / density + low_y - y)
            for column in range(column0, column1):
                gx = _F((column + 0.5) / density + low_x - x)
                along = max(abs(gx * cosine + gy * sine) - half_long, _F(0.0))
                across = max(abs(gy * cosine - gx * sine) - half_wide, _F(0.0))
                square = along * along + across * across
                if square > _F(_REACH_M * _REACH_M * 4.0):
                    continue
                dark = strength * _F(math.exp(square * _F(-1 / _FADE_M**2)))
                field[np.uint64(row), np.uint64(column)] = max(field[np.uint64(row), np.uint64(column)], dark)


def darken(
    footprints: npt.NDArray[np.float64], low: tuple[float, float], density: float, field: npt.NDArray[np.float32]
) -> None:
    """Writes the share of sky light that is lost on the ground.

    Args:
        footprints: (N, 5) x, y, m, yaw, rad, length, width, m, in the world.
        low: x and y of the field's corner, m.
        density: cells per metre.
        field: (H, W) written, rows along y.
    """
    _darken(np.require(footprints, np.float64, "C").reshape(-1, 5), low[0], low[1], density, field)
