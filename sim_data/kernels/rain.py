"""Falling drops, drawn into the light that reaches a lens."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["draw_streaks"]


@njit(
    "void(float32[:,:,::1], float32[:,::1], float64[:,::1], float32[:,::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _draw(light, depth, streaks, colours):  # type: ignore[no-untyped-def]
    height, width = depth.shape
    for row in range(streaks.shape[0]):
        u0, v0, u1, v1 = streaks[row, 0], streaks[row, 1], streaks[row, 2], streaks[row, 3]
        z, half_px, opacity = streaks[row, 4], streaks[row, 5], streaks[row, 6]
        upright = abs(v1 - v0) >= abs(u1 - u0)
        # along the longer way: one step a pixel
        a0, b0, a1, b1 = (v0, u0, v1, u1) if upright else (u0, v0, u1, v1)
        if a1 < a0:
            a0, b0, a1, b1 = a1, b1, a0, b0
        slope = (b1 - b0) / (a1 - a0) if a1 > a0 else 0.0
        along, across = (height, width) if upright else (width, height)
        for a in range(max(0, math.floor(a0)), min(along, math.floor(a1) + 1)):
            share = min(a + 1.0, a1) - max(float(a), a0) if a1 - a0 > 1.0 else 1.0
            middle = b0 + slope * (min(max(a + 0.5, a0), a1) - a0)
            for b in range(max(0, math.floor(middle - half_px)), min(across, math.floor(middle + half_px) + 1)):
                y, x = (a, b) if upright else (b, a)
                if depth[y, x] < z:
                    continue
                overlap = min(b + 1.0, middle + half_px) - max(float(b), middle - half_px)
                cover = np.float32(opacity * share * max(0.0, overlap))
                for c in range(3):
                    light[y, x, c] += cover * (colours[row, c] - light[y, x, c])


def draw_streaks(
    light: npt.NDArray[np.float32],
    depth_m: npt.NDArray[np.float32],
    streaks: npt.NDArray[np.float64],
    colours: npt.NDArray[np.float32],
) -> None:
    """Draws drops as the lines that they are seen as while a shutter is open, one after the other.

    Args:
        light: (H, W, 3) linear light; drawn into.
        depth_m: (H, W), NaN in the sky; what is nearer hides drops.
        streaks: (N, 7) where each begins and ends (u, v, u, v, px), how far away it is (m), half its width (px) and its
            opacity 0 ... 1.
        colours: (N, 3) linear light.
    """
    if light.shape != (*depth_m.shape, 3) or streaks.shape != (len(colours), 7) or colours.shape[1:] != (3,):
        raise ValueError(
            "light must be (H, W, 3) as depth is (H, W), and streaks (N, 7) as colours are (N, 3), but got "
            f"{light.shape}, {depth_m.shape}, {streaks.shape} and {colours.shape}"
        )
    _draw(light, depth_m, streaks, colours)
