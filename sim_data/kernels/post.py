"""Light to pixels: vignetting, exposure, tone curve and sensor noise."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["develop"]


@njit(
    "void(float32[:,:,::1], float32[:,:,::1], float64[::1], float32[::1], float32[:,:,::1], int64, int64, int64, "
    "int64, uint8[:,:,::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _develop(light, glow, settings, curve, grain, shift_x, shift_y, row0, row1, out):  # type: ignore[no-untyped-def]
    exposure, vignette, shot, read = settings[0], settings[1], settings[2], settings[3]
    height, width = light.shape[0], light.shape[1]
    last = curve.shape[0] - 1
    tile = grain.shape[0]
    for y in range(row0, row1):
        dy = (y - 0.5 * height) / (0.5 * width)
        for x in range(width):
            dx = (x - 0.5 * width) / (0.5 * width)
            gain = exposure * (1.0 - vignette * (dx * dx + dy * dy))
            for c in range(3):
                value = (light[y, x, c] + glow[y, x, c]) * gain
                noise = grain[(y + shift_y) % tile, (x + shift_x) % tile, c]
                value += noise * math.sqrt(read * read + shot * shot * max(value, 0.0))
                # the curve is sampled evenly in the square root of the light
                position = math.sqrt(min(max(value, 0.0), 4.0)) * 0.5 * last
                out[y, x, c] = int(curve[int(position + 0.5)])


def develop(
    light: npt.NDArray[np.float32],
    glow: npt.NDArray[np.float32],
    settings: npt.NDArray[np.float64],
    curve: npt.NDArray[np.float32],
    grain: npt.NDArray[np.float32],
    shift: tuple[int, int],
    band: tuple[int, int],
    out: npt.NDArray[np.uint8],
) -> None:
    """Turns rows ``band[0] <= y < band[1]`` of linear light into 8-bit colours.

    Args:
        light: (H, W, 3) linear light; ``glow`` (H, W, 3) is added to it.
        glow: scattered light of bright spots.
        settings: (4,) exposure, vignetting at the image's side edge, shot noise and read noise.
        curve: (C,) tone curve to 0 ... 255.5, over the square root of light 0 ... 4.
        grain: (S, S, 3) unit noise, tiled with an offset ``shift``.
        shift: x and y offset, pixels.
        band: rows.
        out: (H, W, 3) written.
    """
    if light.shape != glow.shape or light.shape != out.shape:
        raise ValueError(f"images must agree but got {light.shape}, {glow.shape} and {out.shape}")
    _develop(light, glow, settings, curve, grain, shift[0], shift[1], band[0], band[1], out)
