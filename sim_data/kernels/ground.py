"""Colours of roads and of everything that is one tone times textures, filtered over the pixel's footprint."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim_data.kernels.simd import part, vector_kernel

__all__ = ["CELLS_PER_M", "grass", "line_cells", "road", "tinted"]

CELLS_PER_M = 4.0
_CELLS = 512  # to 64 m on either side of a road's centre line


def line_cells(paints: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """The two painted lines that are nearest to each quarter of a metre across each road.

    Args:
        paints: (R, K, 6) per kind of road: tone, lane width, half width; then lines: place, width, length, gap, yellow.

    Returns:
        (R, 512, 2) numbers of lines from 1, 0 where there is none; cell c reaches from ``(c - 256) / CELLS_PER_M``.
    """
    places = (np.arange(_CELLS) - _CELLS / 2 + 0.5) / CELLS_PER_M
    cells = np.zeros((len(paints), _CELLS, 2), np.int32)
    for row, lines in enumerate(paints):
        known = [k for k in range(1, len(lines)) if lines[k, 1] > 0]
        if known:
            away = np.abs(places[:, None] - lines[known, 0]) - 0.5 * lines[known, 1]
            nearest = np.argsort(away, axis=1, kind="stable")[:, :2]
            # in the order in which they are painted
            cells[row, :, : nearest.shape[1]] = np.sort(np.array(known, np.int32)[nearest], axis=1)
    return cells


@part
def _fall(x):  # type: ignore[no-untyped-def]
    """exp(-x) for x >= 0."""
    scaled = min(x * 1.4426950408889634, 120.0)
    whole = np.floor(scaled)
    rest = (whole - scaled) * 0.6931471805599453
    power = 1.0 + rest * (1.0 + rest * (0.5 + rest * (0.16666666 + rest * (0.041666666 + rest * 0.008333333))))
    return power * np.float64(np.int32((np.int32(127) - np.int32(whole)) << np.int32(23)).view(np.float32))


@part
def _hash(a, b, c):  # type: ignore[no-untyped-def]
    """A repeatable number 0 ... 1 of three integers."""
    h = (a * 374761393 + b * 668265263 + c * 2147483647) & 0xFFFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0xFFFFFFFF
    h = ((h ^ (h >> 16)) * 2246822519) & 0xFFFFFFFF
    return np.float64(np.int32((h ^ (h >> 15)) & 0xFFFFFF)) / 16777216.0


@part
def _line(paints, row, line, u, v, fu, fv):  # type: ignore[no-untyped-def]
    """Share of the pixel that a line covers."""
    middle, width = paints[row, line, 0], paints[row, line, 1]
    length, gap = paints[row, line, 2], paints[row, line, 3]
    half = 0.5 * fu + 1e-6
    cover = max(0.0, min(u + half, middle + 0.5 * width) - max(u - half, middle - 0.5 * width)) / (2 * half)
    period = max(length + gap, 1e-3)
    along = v + 0.5 * period
    along -= np.floor(along / period) * period + 0.5 * gap
    half = 0.5 * fv + 1e-6
    dash = max(0.0, min(along + half, length) - max(along - half, 0.0)) / (2 * half)
    dash = length / period if fv > period else dash
    dash = dash if gap > 0.0 else 1.0
    return cover * dash if line > 0 else 0.0


@vector_kernel(
    "void(int64, int64, int32[::1], float32[:,::1], float64[:,:,::1], int32[:,:,::1], float64, float32[::1], "
    "float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1], float32[::1], float32[::1])"
)
def _road(  # type: ignore[no-untyped-def]
    start, stop, slots, looks, paints, cells, wet, us, vs, fus, fvs, footprints, grains, broads, fines, cracks,
    red, green, blue, gloss, painted,
):  # fmt: skip
    dry = 1.0 - 0.5 * wet
    for n in range(start, stop):
        i = np.uint64(n)
        row = np.uint32(np.int32(looks[np.uint32(slots[i]), 0]))
        u, v, fu, fv = np.float64(us[i]), np.float64(vs[i]), np.float64(fus[i]), np.float64(fvs[i])
        grain, broad, fine = np.float64(grains[i]), np.float64(broads[i]), np.float64(fines[i])
        tone = paints[row, 0, 0] * (0.72 + 0.32 * broad + 0.22 * (grain - 0.5) * 2 + 0.18 * fine)
        # tyres polish two bands in each lane, oil darkens the middle
        lane = paints[row, 0, 1]
        wide = max(lane, 1e-3)
        across = (u / wide - np.floor(u / wide)) * wide
        left, right = (across - 0.25 * wide) / 0.38, (across - 0.75 * wide) / 0.38
        middle = (across - 0.5 * wide) / 0.45
        worn = 1.0 + 0.06 * (_fall(left * left) + _fall(right * right)) - 0.07 * _fall(middle * middle)
        tone *= worn if lane > 0.0 else 1.0
        # repaired rectangles and tar seams
        patch = _hash(np.int32(np.floor(u / 3.2)), np.int32(np.floor(v / 11.0)), np.int32(row) + 77)
        tone *= 0.80 + 0.45 * (patch - 0.82) / 0.18 if patch > 0.82 else 1.0
        width = 0.004 + footprints[i] * 0.004
        tone *= 1.0 - 0.28 * max(0.0, 1.0 - abs(cracks[i] - 0.52) / width) * (0.004 / width)
        tone *= 1.0 - 0.30 * max(0.0, 1.0 - (paints[row, 0, 2] - abs(u)) / 0.55)
        r, g, b = tone, tone * 0.99, tone * 0.985
        fresh = 0.88 - 0.5 * max(0.0, 0.55 - grain) - 0.35 * max(0.0, fine - 0.55)
        cell = np.uint32(np.int32(min(max((u + 64.0) * CELLS_PER_M, 0.0), _CELLS - 1.0)))
        line = np.uint32(cells[row, cell, 0])
        first = _line(paints, row, line, u, v, fu, fv)
        cover, yellow = first * fresh, paints[row, line, 4]
        r = r * (1 - cover) + 0.66 * cover
        g = g * (1 - cover) + (0.66 - 0.20 * yellow) * cover
        b = b * (1 - cover) + (0.64 - 0.52 * yellow) * cover
        line = np.uint32(cells[row, cell, 1])
        second = _line(paints, row, line, u, v, fu, fv)
        cover, yellow = second * fresh, paints[row, line, 4]
        r = r * (1 - cover) + 0.66 * cover
        g = g * (1 - cover) + (0.66 - 0.20 * yellow) * cover
        b = b * (1 - cover) + (0.64 - 0.52 * yellow) * cover
        red[i], green[i], blue[i] = r * dry, g * dry, b * dry
        gloss[i] = wet * (0.35 + 0.65 * min(1.0, max(0.0, (broad - 0.42) * 6)))
        painted[i] = max(first, second)


def road(
    span: tuple[int, int],
    slots: npt.NDArray[np.int32],
    looks: npt.NDArray[np.float32],
    paints: npt.NDArray[np.float64],
    cells: npt.NDArray[np.int32],
    wet: float,
    places: tuple[npt.NDArray[np.float32], ...],
    textures: tuple[npt.NDArray[np.float32], ...],
    out: tuple[npt.NDArray[np.float32], ...],
) -> None:
    """Asphalt with lane lines.

    Args:
        span: fragments.
        slots: (N,) rows of ``looks``, whose first column is the kind of road.
        looks: as above.
        paints: (R, K, 6) as ``line_cells`` has it, with ``cells`` from there.
        cells: as above.
        wet: 0 ... 1.
        places: u across and v along the road (m), the pixel's extent in both, and its geometric mean, (N,) each.
        textures: grain, broad and fine stains, and the field whose contour lines are cracks, 0 ... 1.
        out: written: red, green, blue, gloss, painted share.
    """
    _road(span[0], span[1], slots, looks, paints, cells, wet, *places, *textures, *out)


@vector_kernel(
    "void(int64, int64, float64, float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1])"
)
def _grass(start, stop, soil, blades, broads, patches, red, green, blue):  # type: ignore[no-untyped-def]
    for n in range(start, stop):
        i = np.uint64(n)
        dry = max(soil, min(1.0, max(0.0, (broads[i] - 0.40) * 3.0)))
        tone = (0.35 + 0.9 * blades[i]) * (0.7 + 0.6 * patches[i])
        red[i] = tone * (0.075 * (1 - dry) + 0.17 * dry)
        green[i] = tone * (0.125 * (1 - dry) + 0.155 * dry)
        blue[i] = tone * (0.035 * (1 - dry) + 0.075 * dry)


def grass(
    span: tuple[int, int],
    soil: bool,
    textures: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]],
    out: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]],
) -> None:
    """Grass, or bare soil; textures: blades, broad dryness, patches."""
    _grass(span[0], span[1], 1.0 if soil else 0.0, *textures, *out)


@vector_kernel(
    "void(int64, int64, int32[::1], float32[:,::1], int64, float64[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1], float32[::1], float32[::1])"
)
def _tinted(  # type: ignore[no-untyped-def]
    start, stop, slots, looks, colour, tones, v, fv, first, second, third, red, green, blue
):
    a0, b0, a1, b1, a2, b2 = tones[0], tones[1], tones[2], tones[3], tones[4], tones[5]
    joint, own, common_r, common_g, common_b = tones[6], 1.0, tones[7], tones[8], tones[9]
    if common_r + common_g + common_b > 0.0:
        own = 0.0
    for n in range(start, stop):
        i = np.uint64(n)
        t = np.uint32(slots[i])
        tone = (a0 + b0 * first[i]) * (a1 + b1 * second[i]) * (a2 + b2 * third[i])
        along = v[i] - np.floor(v[i])
        half = 0.5 * fv[i] + 1e-6
        tone *= 1.0 - joint * max(0.0, min(along + half, 0.02) - max(along - half, 0.0)) / (2 * half)
        red[i] = (looks[t, colour] * own + common_r) * tone
        green[i] = (looks[t, colour + 1] * own + common_g) * tone
        blue[i] = (looks[t, colour + 2] * own + common_b) * tone


def tinted(
    span: tuple[int, int],
    slots: npt.NDArray[np.int32],
    looks: npt.NDArray[np.float32],
    colour: int,
    tones: npt.NDArray[np.float64],
    places: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]],
    textures: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]],
    out: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]],
) -> None:
    """A colour times up to three textures.

    Args:
        span: fragments.
        slots: (N,) rows of ``looks``.
        looks: (M, ``LOOKS``).
        colour: the colour's first column there.
        tones: (10,) constant and gain of each texture, how much darker a joint is at each whole metre of v, and, unless
            it is black, a colour in place of the one in ``looks``.
        places: v and the pixel's extent in it.
        textures: three, of which those with gain 0 do not matter.
        out: written: red, green, blue.
    """
    _tinted(span[0], span[1], slots, looks, colour, tones, *places, *textures, *out)
