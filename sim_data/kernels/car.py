"""Bodies of cars, vans, lorries and buses: paint, panes, seams, grilles, lamps, number plates, from the place alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim_data.kernels.simd import part, vector_kernel

__all__ = ["car"]


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
    "void(int64, int64, int32[::1], float32[:,::1], float64[:,::1], float64, float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1])"
)
def _car(  # type: ignore[no-untyped-def]
    start, stop, slots, looks, cars, pixel, depths, lx, ly, lz, red, green, blue, gloss, mirror, glow_r, glow_g, glow_b
):
    for n in range(start, stop):
        i = np.uint64(n)
        t = np.uint32(slots[i])
        row, region = np.uint32(np.int32(looks[t, 0])), np.int32(looks[t, 1])
        seed, lamps = np.int64(np.int32(looks[t, 8])), np.float64(looks[t, 9])
        x, y, z = np.float64(lx[i]), np.float64(ly[i]), np.float64(lz[i])
        half = 0.5 * pixel * depths[i] + 1e-6
        over = 0.5 / half
        wide, sill, belt, top = cars[row, 1], cars[row, 2], cars[row, 3], cars[row, 4]
        front_axle, rear_axle, radius = cars[row, 5], cars[row, 6], cars[row, 7]
        screen_low, pillar, box, bus = cars[row, 8], cars[row, 12], cars[row, 13] > 0.0, cars[row, 14] > 0.0
        r, g, b = np.float64(looks[t, 2]), np.float64(looks[t, 3]), np.float64(looks[t, 4])
        polish = 0.35
        screen, side = (region == 1) | (region == 2), region == 0
        front, rear = region == 5, region == 6
        rise = min(1.0, max(0.0, (z - belt) / (top - belt)))
        # windscreen and rear window
        pane = _inside(abs(y) - (wide * (0.86 - 0.16 * rise) - 0.03), -9.0, 0.0, half, over)
        pane *= _inside(rise, 0.05, 0.95, half, over)
        # side windows; a panel van or lorry has them at the front seats alone, a bus has pillars at even distances
        ahead = screen_low + (cars[row, 9] - screen_low) * rise - 0.12
        behind = cars[row, 11] + (cars[row, 10] - cars[row, 11]) * rise + 0.14
        beside = _inside(x, behind, ahead, half, over) * _inside(z, belt + 0.02, top - 0.09, half, over)
        seats = _inside(x, pillar, 99.0, half, over)
        posts = 1.0 - _inside(x, pillar - 0.05, pillar + 0.05, half, over)
        posts *= 1.0 - _inside(x, rear_axle + 0.10, rear_axle + 0.16, half, over)
        beside *= seats if box else posts
        step = x / 1.5 - np.floor(x / 1.5)
        post = max(0.0, min(step + half / 1.5, 0.06) - max(step - half / 1.5, 0.0)) * over * 1.5
        beside *= 1.0 - post if bus else 1.0
        beside = beside if side & (z > belt - 0.1) else 0.0
        glass = pane if screen else beside
        # doors: seams, handles, a crease, wheel arches, skirt
        door = 1.0 if side & (z < belt + 0.02) else 0.0
        seam = _inside(x, pillar - 0.008, pillar + 0.008, half, over)
        seam += _inside(x, screen_low - 0.35, screen_low - 0.334, half, over)
        seam += _inside(x, rear_axle + 0.36, rear_axle + 0.376, half, over) * (0.0 if bus else 1.0)
        seam *= _inside(z, sill + 0.12, belt, half, over)
        handle = _inside(x, pillar + 0.06, pillar + 0.22, half, over)
        handle += _inside(x, rear_axle + 0.42, rear_axle + 0.58, half, over)
        handle *= _inside(z, belt - 0.16, belt - 0.12, half, over)
        dark = min(1.0, 0.75 * seam + 0.35 * handle) + 0.06 * _inside(z, belt - 0.30, belt - 0.26, half, over)
        keep = 1.0 - dark * door
        up = (z - radius) * (z - radius)
        arch = _inside(np.sqrt((x - front_axle) * (x - front_axle) + up), -1.0, radius + 0.06, half, over) * door
        r, g, b = r * keep, g * keep, b * keep
        r, g, b = r + (0.008 - r) * arch, g + (0.008 - g) * arch, b + (0.008 - b) * arch
        polish *= 1.0 - arch
        arch = _inside(np.sqrt((x - rear_axle) * (x - rear_axle) + up), -1.0, radius + 0.06, half, over) * door
        r, g, b = r + (0.008 - r) * arch, g + (0.008 - g) * arch, b + (0.008 - b) * arch
        polish *= 1.0 - arch
        skirt = _inside(z, -1.0, sill + 0.10, half, over) * door
        r, g, b = r + (0.02 - r) * skirt, g + (0.02 - g) * skirt, b + (0.02 - b) * skirt
        # bumpers
        end = 1.0 if front | rear else 0.0
        off, over_off = half / wide, over * wide
        sidewards = abs(y) / wide
        bumper = _inside(z, -1.0, sill + (0.16 if seed % 3 == 0 else 0.07), half, over) * end
        r, g, b = r + (0.025 - r) * bumper, g + (0.025 - g) * bumper, b + (0.025 - b) * bumper
        # front: grille and headlamps
        grille = _inside(sidewards, 0.0, 0.52, half, over) * _inside(z, belt - 0.34, belt - 0.17, half, over)
        lower = _inside(sidewards, 0.0, 0.6, half, over) * _inside(z, sill + 0.06, sill + 0.19, half, over)
        grille = max(grille, lower) if front else 0.0
        r, g, b = r + (0.012 - r) * grille, g + (0.012 - g) * grille, b + (0.012 - b) * grille
        lamp = _inside(sidewards, 0.60, 0.97, off, over_off) * _inside(z, belt - 0.34, belt - 0.14, half, over)
        lamp = lamp if front else 0.0
        r, g, b = r + (0.55 - r) * lamp, g + (0.55 - g) * lamp, b + (0.55 - b) * lamp
        polish += (0.8 - polish) * lamp
        power = max(lamps, 0.0) * lamp
        # rear: lamps and the boot's seam
        tall = 0.34 if cars[row, 15] > 0.0 else 0.14
        lamp = _inside(sidewards, 0.74, 1.1, off, over_off)
        lamp *= _inside(z, belt - 0.10 - tall, belt - 0.08, half, over)
        lamp = lamp if rear else 0.0
        wave = z * 14.3239449  # a triangle wave in place of the ribs of a lens
        ribs = 0.20 + 0.10 * (4.0 * abs(wave - np.floor(wave) - 0.5) - 1.0)
        r, g, b = r + (ribs - r) * lamp, g + (0.012 - g) * lamp, b + (0.012 - b) * lamp
        red_power = lamp * (0.01 + 0.7 * lamps + 0.9 * looks[t, 5])
        boot = _inside(z, belt - 0.05, belt - 0.035, half, over) * _inside(sidewards, 0.0, 0.8, half, over)
        boot = 1.0 - 0.7 * boot if rear else 1.0
        r, g, b = r * boot, g * boot, b * boot
        # number plate
        plate_z = sill + (0.26 if front else 0.42)
        plate = _inside(y, -0.26, 0.26, half, over) * _inside(z, plate_z - 0.055, plate_z + 0.055, half, over) * end
        digit = _hash(np.int64(np.int32((y + 2.0) * 34.0)), seed, 4) > 0.45
        ink = 0.16 if digit & (z < plate_z + 0.03) & (z > plate_z - 0.03) else 0.62
        r, g, b = r + (ink - r) * plate, g + (ink - g) * plate, b + (ink - b) * plate
        # underside
        under = region == 7
        r, g, b = 0.01 if under else r, 0.01 if under else g, 0.01 if under else b
        polish = 0.0 if under else polish
        red[i], green[i], blue[i] = r + (0.012 - r) * glass, g + (0.012 - g) * glass, b + (0.012 - b) * glass
        gloss[i] = polish + (0.85 - polish) * glass
        mirror[i] = glass
        glow_r[i], glow_g[i] = 9.0 * power + red_power, 8.4 * power + 0.05 * red_power
        glow_b[i] = 7.0 * power + 0.04 * red_power


def car(
    span: tuple[int, int],
    slots: npt.NDArray[np.int32],
    looks: npt.NDArray[np.float32],
    cars: npt.NDArray[np.float64],
    pixel: float,
    depth: npt.NDArray[np.float32],
    local: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]],
    out: tuple[npt.NDArray[np.float32], ...],
) -> None:
    """A vehicle's body.

    Args:
        span: fragments.
        slots: (N,) rows of ``looks``.
        looks: (M, ``LOOKS``): the parameters are the row of ``cars`` and the region (0 side, 1 windscreen, 2 rear
            window, 5 front, 6 rear, 7 underside); the second colour's first value is 1 when braking.
        cars: (V, 16) measures, m.
        pixel: a pixel's extent at 1 m, m.
        depth: (N,) m.
        local: x forward, y left, z up in the vehicle's frame, m.
        out: written: red, green, blue, gloss, share of glass, emitted red, green and blue.
    """
    _car(span[0], span[1], slots, looks, cars, pixel, depth, *local, *out)
