"""Colours of leaves, wheels, traffic signs, lamps and people."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from sim_data.kernels.simd import vector_kernel

__all__ = ["cloth", "foliage", "foliage_points", "lamp", "sign", "wheel"]

Column = npt.NDArray[np.float32]


@njit("float64(int64, int64, int64)", cache=True, nogil=True, error_model="numpy")
def _hash(a, b, c):  # type: ignore[no-untyped-def]
    """A repeatable number 0 ... 1 of three integers."""
    h = (a * 374761393 + b * 668265263 + c * 2147483647) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 2246822519) & 0xFFFFFFFF
    return ((h ^ (h >> 15)) & 0xFFFFFF) / 16777216.0


@njit("float64(float64, float64, float64, float64)", cache=True, nogil=True, error_model="numpy")
def _inside(x, low, high, footprint):  # type: ignore[no-untyped-def]
    """Share of a box of width ``footprint`` around x that lies in low ... high."""
    half = 0.5 * footprint + 1e-6
    return max(0.0, min(x + half, high) - max(x - half, low)) / (2 * half)


@vector_kernel(
    "void(int64, int64, int32[::1], float32[:,::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1])"
)
def _foliage_points(start, stop, slots, looks, lx, ly, lz, u, v):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        i = np.uint64(n)
        shift = np.float64(looks[np.uint32(slots[i]), 8]) * 0.37
        u[i] = lx[i] * 0.13 + (shift - np.floor(shift))
        v[i] = (ly[i] + lz[i]) * 0.13


def foliage_points(
    span: tuple[int, int],
    slots: npt.NDArray[np.int32],
    looks: npt.NDArray[np.float32],
    local: tuple[Column, Column, Column],
    out: tuple[Column, Column],
) -> None:
    """Where each tree's changing hue is looked up: two texture coordinates from the place in the tree and its seed."""
    _foliage_points(span[0], span[1], slots, looks, *local, *out)


@vector_kernel(
    "void(int64, int64, int32[::1], float32[:,::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1])"
)
def _foliage(start, stop, slots, looks, leaves, hues, red, green, blue):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        i = np.uint64(n)
        t = np.uint32(slots[i])
        tone = (0.40 + 0.95 * leaves[i]) * looks[t, 0]
        red[i] = looks[t, 2] * tone * (0.80 + 0.5 * hues[i])
        green[i] = looks[t, 3] * tone
        blue[i] = looks[t, 4] * tone * (1.2 - 0.4 * hues[i])


def foliage(
    span: tuple[int, int],
    slots: npt.NDArray[np.int32],
    looks: npt.NDArray[np.float32],
    textures: tuple[Column, Column],
    out: tuple[Column, Column, Column],
) -> None:
    """Leaves, darker inside the crown (first parameter); textures: leaves and hue; out: red, green, blue."""
    _foliage(span[0], span[1], slots, looks, *textures, *out)


@njit(
    "void(int64, int64, int32[::1], float32[:,::1], float64, float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _wheel(start, stop, slots, looks, pixel, depth, u, v, red, green, blue, gloss):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        i = np.uint64(n)
        radius = looks[slots[i], 0]
        away = math.sqrt(u[i] * u[i] + v[i] * v[i])
        tyre = 1.0 - _inside(away, -1.0, radius, depth[i] * pixel)
        spoke = math.cos(5.0 * math.atan2(v[i], u[i]))
        rim = 0.38 if (spoke > -0.35 and away > 0.1 * radius) or away > 0.86 * radius else 0.05
        if depth[i] > 35.0:
            rim = 0.22
        tone = 0.018 * tyre + rim * (1 - tyre)
        red[i], green[i], blue[i], gloss[i] = tone, tone, tone, 0.2 * (1 - tyre)


def wheel(
    span: tuple[int, int],
    slots: npt.NDArray[np.int32],
    looks: npt.NDArray[np.float32],
    pixel: float,
    places: tuple[Column, Column, Column],
    out: tuple[Column, Column, Column, Column],
) -> None:
    """A tyre around a rim of the first parameter's radius; places: depth, u, v (m); out: red, green, blue, gloss."""
    _wheel(span[0], span[1], slots, looks, pixel, *places, *out)


@njit(
    "void(int64, int64, int32[::1], float32[:,::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _sign(start, stop, slots, looks, us, vs, extents, red, green, blue, gloss):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        i = np.uint64(n)
        look = looks[slots[i]]
        design = int(look[0])
        u, v, wide = us[i], vs[i], extents[i]
        away = math.sqrt(u * u + v * v)
        r, g, b = 0.28, 0.29, 0.30  # the back
        if design == 0:  # speed limit: red ring
            ring = _inside(away, 0.72, 2.0, wide)
            figure = _inside(abs(u) % 0.42, 0.06, 0.30, wide) * _inside(v, -0.34, 0.34, wide)
            ground = 0.75 * (1 - figure * _inside(abs(u), 0.0, 0.45, wide))
            r, g, b = (
                ground * (1 - ring) + 0.60 * ring,
                ground * (1 - ring) + 0.02 * ring,
                ground * (1 - ring) + 0.02 * ring,
            )
        elif design == 1:  # warning or give way: red triangle
            edge = 1.0 if v < -0.62 or v > 0.86 - 1.9 * abs(u) - 0.30 else 0.0
            ground = 0.75 * (1 - _inside(abs(u), 0.0, 0.10, wide) * _inside(v, -0.42, 0.15, wide))
            r, g, b = (
                ground * (1 - edge) + 0.60 * edge,
                ground * (1 - edge) + 0.02 * edge,
                ground * (1 - edge) + 0.02 * edge,
            )
        elif design == 2:  # priority road: yellow diamond
            edge = _inside(abs(u) + abs(v), 0.74, 3.0, wide)
            r, g, b = 0.70, 0.48 * (1 - edge) + 0.7 * edge, 0.02 * (1 - edge) + 0.7 * edge
        elif design == 3:  # blue, mandatory
            arrow = _inside(abs(u), 0.0, 0.14, wide) * _inside(v, -0.55, 0.6, wide)
            r, g, b = 0.02 + 0.7 * arrow, 0.11 + 0.6 * arrow, 0.48 + 0.25 * arrow
        elif design == 4:  # direction board
            edge = max(_inside(abs(u), 0.94, 2.0, wide), _inside(abs(v), 0.88, 2.0, wide))
            rows = v * 3.0 - math.floor(v * 3.0)
            letter = 1.0 if _hash(int(u * 14 + 40), int(v * 3.0 + 9), 5) > 0.4 else 0.0
            letter *= _inside(rows, 0.3, 0.7, wide * 3)
            white = max(edge, letter * _inside(abs(u), 0.0, 0.8, wide))
            r = look[2] * (1 - white) + 0.7 * white
            g = look[3] * (1 - white) + 0.7 * white
            b = look[4] * (1 - white) + 0.7 * white
        red[i], green[i], blue[i], gloss[i] = r, g, b, 0.05


def sign(
    span: tuple[int, int],
    slots: npt.NDArray[np.int32],
    looks: npt.NDArray[np.float32],
    places: tuple[Column, Column, Column],
    out: tuple[Column, Column, Column, Column],
) -> None:
    """A traffic sign of the first parameter's design; places: u and v over -1 ... 1, the pixel's extent in u."""
    _sign(span[0], span[1], slots, looks, *places, *out)


@njit(
    "void(int64, int64, int32[::1], float32[:,::1], float32[::1], float32[::1], float32[::1], float32[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _cloth(start, stop, slots, looks, folds, red, green, blue):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        i = np.uint64(n)
        look = looks[slots[i]]
        index, seed = int(look[0]), int(look[8])
        fold = 0.75 + 0.5 * folds[i]
        if index == 0 or index == 1:  # upper and lower garment
            r, g, b = look[2 + 3 * index] * fold, look[3 + 3 * index] * fold, look[4 + 3 * index] * fold
        elif index == 2:  # skin
            tone = 0.35 + 0.65 * _hash(seed, 3, 1)
            r, g, b = 0.55 * tone, 0.36 * tone, 0.27 * tone
        elif index == 3:  # hair
            tone = 0.02 + 0.25 * _hash(seed, 7, 1) ** 2
            r, g, b = tone, 0.75 * tone, 0.5 * tone
        else:  # shoes
            r, g, b = 0.025, 0.025, 0.025
        red[i], green[i], blue[i] = r, g, b


def cloth(
    span: tuple[int, int],
    slots: npt.NDArray[np.int32],
    looks: npt.NDArray[np.float32],
    folds: Column,
    out: tuple[Column, Column, Column],
) -> None:
    """Garments, skin, hair or shoes, by the first parameter; ``folds`` is a texture; out: red, green, blue."""
    _cloth(span[0], span[1], slots, looks, folds, *out)


@njit(
    "void(int64, int64, int32[::1], float32[:,::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _lamp(start, stop, slots, looks, red, green, blue, glow_r, glow_g, glow_b):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        i = np.uint64(n)
        look = looks[slots[i]]
        red[i], green[i], blue[i] = 0.08 * look[2] + 0.02, 0.08 * look[3] + 0.02, 0.08 * look[4] + 0.02
        glow_r[i], glow_g[i], glow_b[i] = look[2] * look[0], look[3] * look[0], look[4] * look[0]


def lamp(
    span: tuple[int, int],
    slots: npt.NDArray[np.int32],
    looks: npt.NDArray[np.float32],
    out: tuple[Column, ...],
) -> None:
    """A lamp that shines as brightly as its first parameter; out: red, green, blue, emitted red, green and blue."""
    _lamp(span[0], span[1], slots, looks, *out)
