"""House fronts: walls, windows with what is behind them, shop fronts, doors; all of it computed from place and seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim_data.kernels.simd import part, vector_kernel

__all__ = ["facade"]


@part
def _hash(a, b, c):  # type: ignore[no-untyped-def]
    """A repeatable number 0 ... 1 of three integers."""
    h = (a * 374761393 + b * 668265263 + c * 2147483647) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 2246822519) & 0xFFFFFFFF
    return np.float64(np.int32((h ^ (h >> 15)) & 0xFFFFFF)) / 16777216.0


@part
def _inside(x, low, high, half, inverse):  # type: ignore[no-untyped-def]
    """Share of ``x - half ... x + half`` that lies in low ... high; ``inverse`` is 1 / (2 half)."""
    return max(0.0, min(x + half, high) - max(x - half, low)) * inverse


@vector_kernel(
    "void(int64, int64, int32[::1], float32[:,::1], float64, float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1])"
)
def _facade(  # type: ignore[no-untyped-def]
    start, stop, slots, looks, night, us, vs, fus, fvs, bricks, plasters, stains, goods, red, green, blue, gloss,
    glow_r, glow_g, glow_b,
):  # fmt: skip
    lit_at = 0.2 if night > 0.2 else 9.0
    for n in range(start, stop):
        i = np.uint64(n)
        t = np.uint32(slots[i])
        u, v, fu, fv = np.float64(us[i]), np.float64(vs[i]), np.float64(fus[i]), np.float64(fvs[i])
        half_u, half_v = 0.5 * fu + 1e-6, 0.5 * fv + 1e-6
        over_u, over_v = 0.5 / half_u, 0.5 / half_v
        seed = np.int64(np.int32(looks[t, 8]))
        windows = 1.0 if looks[t, 0] >= 0.5 else 0.0
        column, storey = np.floor(u), np.floor(v)
        bay, floor = np.int64(np.int32(column)), np.int64(np.int32(storey))
        x, y = u - column, v - storey
        style = _hash(seed, 11, 3)
        brick = 0.62 + 0.55 * bricks[i]
        plaster = 0.80 + 0.28 * plasters[i]
        wall = brick if _hash(seed, 5, 9) > 0.62 else plaster
        wall *= 0.86 + 0.24 * stains[i]
        wall *= 1.0 - 0.22 * max(0.0, 1.0 - v * 3.0)  # splashes at the foot
        r, g, b = looks[t, 2] * wall, looks[t, 3] * wall, looks[t, 4] * wall
        r2, g2, b2 = looks[t, 5], looks[t, 6], looks[t, 7]
        # the string course between floors
        band = _inside(y, 0.955, 1.0, half_v, over_v) * 0.6 * windows
        band = band if (storey >= 0.0) & (style > 0.4) else 0.0
        r, g, b = r + (r2 - r) * band, g + (g2 - g) * band, b + (b2 - b) * band
        ground = storey == 0.0
        shop = ground & (_hash(seed, 21, 4) > 0.55)
        door = ground & (not shop) & (_hash(bay, seed, 31) > 0.78)
        wide = 0.16 + 0.10 * style
        left = 0.06 if shop else (0.28 if door else wide)
        right = 0.94 if shop else (0.72 if door else 1.0 - wide)
        low = 0.14 if shop else (0.0 if door else 0.30)
        high = 0.72 if shop else (0.74 if door else 0.82)
        frame = _inside(x, left - 0.035, right + 0.035, half_u, over_u)
        frame *= _inside(y, low - 0.03, high + 0.03, half_v, over_v) * windows
        beside = _inside(x, left - 0.18, left - 0.04, half_u, over_u)
        beside += _inside(x, right + 0.04, right + 0.18, half_u, over_u)
        shutters = _inside(y, low, high, half_v, over_v) * beside * windows
        shutters = shutters if (frame <= 0.0) & (not shop) & (not door) & (style > 0.7) else 0.0
        slat = v * 30 - np.floor(v * 30)
        slats = (1.1 if slat > 0.5 else 0.8) if fv < 0.02 else 0.95
        slats *= 0.7
        r, g, b = r + (r2 * slats - r) * shutters, g + (g2 * slats - g) * shutters, b + (b2 * slats - b) * shutters
        # a shop's sign
        sign = _inside(y, 0.76, 0.93, half_v, over_v) * windows
        sign = sign if shop else 0.0
        colour = np.int64(np.int32(1000 * _hash(seed, 41, np.int64(np.int32(np.floor(column * 0.25))))))
        base = 0.03 + 0.35 * _hash(colour, 5, 6)
        ink = 0.62 if base < 0.22 else 0.03
        letter = _inside(y, 0.815, 0.875, half_v, over_v)
        letter *= _inside(u * 0.5 - np.floor(u * 0.5), 0.25, 0.75, half_u, over_u)
        stroke = np.floor(u * 22.0)
        drawn = (u * 22.0 - stroke < 0.6) & (_hash(np.int64(np.int32(stroke)), seed, 2) > 0.2)
        letter *= 0.8 if drawn else 0.0
        letter *= 0.5 if fu * 22.0 > 1.0 else 1.0
        tint = _hash(colour, 0, 6)
        r += (base * (0.55 + 0.9 * tint * tint) * (1 - letter) + ink * letter - r) * sign
        tint = _hash(colour, 1, 6)
        g += (base * (0.55 + 0.9 * tint * tint) * (1 - letter) + ink * letter - g) * sign
        tint = _hash(colour, 2, 6)
        b += (base * (0.55 + 0.9 * tint * tint) * (1 - letter) + ink * letter - b) * sign
        trim = 0.62 + 0.15 * style
        r, g, b = r + (trim - r) * frame, g + (trim - g) * frame, b + (trim - b) * frame
        # panes
        glass = _inside(x, left, right, half_u, over_u) * _inside(y, low, high, half_v, over_v) * windows
        middle = 0.5 * (left + right)
        bar = low + 0.68 * (high - low)
        bars = _inside(x, middle - 0.014, middle + 0.014, half_u, over_u)
        glass *= 1.0 - max(bars, _inside(y, bar, bar + 0.02, half_v, over_v))
        pane = _hash(bay, floor, seed)
        recess = _inside(y, high - 0.08, high, half_v, over_v) * 0.5
        drop = low + (high - low) * (1.0 - 0.9 * _hash(bay, floor, 7))
        curtain = max(
            _inside(x, left, left + 0.10, half_u, over_u), _inside(x, right - 0.10, right, half_u, over_u)
        )  # fmt: skip
        curtain = max(curtain, _inside(y, drop, high, half_v, over_v)) * 0.55
        curtain = curtain if (pane > 0.45) & (not shop) else 0.0
        inner = 0.020 + 0.05 * _hash(floor, bay, seed + 1)
        display = 0.08 * _hash(np.int64(np.int32(np.floor(u * 7.0))), seed, 8)
        display *= _hash(np.int64(np.int32(np.floor(u * 13.0))), seed, 9)
        display_blocks = display
        display = (display if y < 0.42 else 0.0) + 0.015 + 0.30 * max(0.0, goods[i] - 0.5)
        inner = display if shop else inner
        tone = (inner * (1 - curtain) + 0.34 * curtain) * (1 - recess)
        r += ((r2 * 0.45 if door else tone) - r) * glass
        g += ((g2 * 0.45 if door else tone) - g) * glass
        b += ((b2 * 0.45 if door else tone) - b) * glass
        red[i], green[i], blue[i] = r, g, b
        gloss[i] = glass * (0.05 if door else 0.75 - 0.4 * curtain)
        dark = 0.25 if shop else 0.68
        home = (not door) & (_hash(bay, floor, seed + 3) > dark + lit_at - 0.2)
        # rooms are brightest beneath the ceiling, curtains dim them, goods stand before a shop's light
        raised = min(max((y - low) / (high - low), 0.0), 1.0)
        room = (0.35 + 0.65 * raised) * (1 - 1.2 * curtain) * (0.55 + 0.9 * goods[i])
        goods_dark = (0.22 + 9.0 * display_blocks) * (0.6 + 0.8 * goods[i])
        room = (goods_dark if y < 0.42 else 0.75 + 0.25 * raised) if shop else room
        power = night * glass * (0.35 + 0.6 * pane) * room if home else 0.0
        white = _hash(bay, floor, seed + 5)
        glow_r[i], glow_g[i], glow_b[i] = power, (0.66 + 0.20 * white) * power, (0.30 + 0.42 * white) * power


def facade(
    span: tuple[int, int],
    slots: npt.NDArray[np.int32],
    looks: npt.NDArray[np.float32],
    night: float,
    places: tuple[npt.NDArray[np.float32], ...],
    textures: tuple[npt.NDArray[np.float32], ...],
    out: tuple[npt.NDArray[np.float32], ...],
) -> None:
    """A wall with windows.

    Args:
        span: fragments.
        slots: (N,) rows of ``looks``.
        looks: (M, ``LOOKS``); the first parameter says whether there are windows.
        night: 0 ... 1; above 0.2 some windows are lit.
        places: u in bays, v in floors, the pixel's extent in both, (N,) each.
        textures: brick, plaster, stains, goods in a shop window, 0 ... 1.
        out: written: red, green, blue, gloss, emitted red, green and blue.
    """
    _facade(span[0], span[1], slots, looks, night, *places, *textures, *out)
