"""Visibility to light and truth: colours, depth, classes, instances and flow of every pixel.

The z-buffer has twice the image's resolution and its odd rows and columns are the pixel centres, so the truth of a
pixel is exactly what its centre sees. Its colour is a tent filter over the 3 x 3 samples around that centre; each
surface among them is lit once, with textures and markings filtered over the pixel's footprint. The file is long because
numba's cache does not see across files: all materials must live beside the loop that calls them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["LIGHT_SIZE", "MATERIALS", "TEXTURE_SIZE", "shade"]

MATERIALS = (
    "plain", "road", "slabs", "kerb", "grass", "facade", "roof", "car", "wheel", "leaves", "bark", "paint", "sign",
    "lamp", "hedge", "cloth", "glass", "concrete", "fence", "soil",
)  # fmt: skip
(
    _PLAIN, _ROAD, _SLABS, _KERB, _GRASS, _FACADE, _ROOF, _CAR, _WHEEL, _LEAVES, _BARK, _PAINT, _SIGN,
    _LAMP, _HEDGE, _CLOTH, _GLASS, _CONCRETE, _FENCE, _SOIL,
) = range(len(MATERIALS))  # fmt: skip

TEXTURE_SIZE = 256
_LEVELS = 9
# indices into the light vector
_SUN, _SUN_RGB, _SKY_RGB, _HORIZON_RGB, _GROUND_RGB, _FOG, _FOG_RGB = 0, 3, 6, 9, 12, 15, 16
_CLOUDS, _WET, _NIGHT, _HEADLIGHTS, _CLOUD_U, _CLOUD_V = 19, 20, 21, 22, 23, 24
LIGHT_SIZE = 25
_LANE_MARKING_ID = 19
_SKY_ID = 10
# texture layers, made by sim_data.textures
_T_FBM, _T_GRAIN, _T_LEAVES, _T_GRASS, _T_PLASTER, _T_BRICK, _T_SLABS, _T_COBBLES, _T_TILES, _T_BARK, _T_CLOUDS = range(
    11
)


@njit("float64(uint8[:,::1], int64, float64, float64, float64)", cache=True, nogil=True, error_model="numpy")
def _texture(textures, layer, u, v, footprint):  # type: ignore[no-untyped-def]
    """Bilinear lookup, 0 ... 1, in the mip level whose texels match the footprint (in texture repeats)."""
    size = TEXTURE_SIZE
    texels = footprint * TEXTURE_SIZE
    if texels > 1.0:
        _, exponent = math.frexp(texels * 1.41421356)
        size = TEXTURE_SIZE >> min(_LEVELS - 1, exponent - 1)
    offset = (TEXTURE_SIZE * TEXTURE_SIZE - size * size) * 4 // 3
    x = (u - math.floor(u)) * size - 0.5
    y = (v - math.floor(v)) * size - 0.5
    x0, y0 = math.floor(x), math.floor(y)
    dx, dy = x - x0, y - y0
    mask = size - 1
    xa, xb = x0 & mask, (x0 + 1) & mask
    ya, yb = offset + (y0 & mask) * size, offset + ((y0 + 1) & mask) * size
    top = textures[layer, ya + xa] * (1 - dx) + textures[layer, ya + xb] * dx
    bottom = textures[layer, yb + xa] * (1 - dx) + textures[layer, yb + xb] * dx
    return (top * (1 - dy) + bottom * dy) * (1.0 / 255.0)


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


@njit(
    "void(uint8[:,::1], float64[::1], float64, float64, float64, float64[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _sky(textures, light, dx, dy, dz, out):  # type: ignore[no-untyped-def]
    """Colour of the sky in a unit world direction."""
    up = max(dz, 0.0)
    blend = 1.0 - (1.0 - up) ** 5
    sun = max(0.0, dx * light[0] + dy * light[1] + dz * light[2])
    glow = 0.35 * sun**24 + 0.12 * sun**5
    cloud = 0.0
    if dz > 0.01 and light[_CLOUDS] > 0.0:
        u = dx / (dz + 0.12) * 0.11 + light[_CLOUD_U]
        v = dy / (dz + 0.12) * 0.11 + light[_CLOUD_V]
        footprint = 0.0006 / (dz + 0.05)
        density = 0.65 * _texture(textures, _T_CLOUDS, u, v, footprint)
        density += 0.35 * _texture(textures, _T_FBM, u * 3.1 + 0.3, v * 3.1, footprint * 3)
        cloud = min(1.0, max(0.0, (density - (0.95 - light[_CLOUDS])) * 3.2)) * min(1.0, dz * 14)
    for c in range(3):
        clear = light[_HORIZON_RGB + c] * (1 - blend) + light[_SKY_RGB + c] * blend + light[_SUN_RGB + c] * glow * 0.6
        white = (light[_HORIZON_RGB + c] * 0.75 + light[_SUN_RGB + c] * 0.16) * (1.0 - 0.35 * cloud * (1 - sun))
        out[c] = 1.55 * (clear * (1 - cloud) + white * cloud)


@njit(
    "void(uint8[:,::1], float64[::1], float64, float64, float64, float64[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _surroundings(textures, light, dx, dy, dz, out):  # type: ignore[no-untyped-def]
    """What a polished surface mirrors: sky above an uneven dark skyline, the street below."""
    azimuth = math.atan2(dy, dx)
    skyline = 0.10 + 0.30 * _texture(textures, _T_FBM, azimuth * 0.3183, 0.37, 0.002)
    if dz > skyline:
        _sky(textures, light, dx, dy, dz, out)
        for c in range(3):
            out[c] = min(out[c], 1.6)
    elif dz > 0.0:
        tone = 0.22 + 0.5 * _texture(textures, _T_FBM, azimuth * 2.1, dz * 3.0, 0.02)
        for c in range(3):
            out[c] = tone * (0.45 * light[_SKY_RGB + c] + 0.10 * light[_SUN_RGB + c])
    else:
        for c in range(3):
            out[c] = 0.16 * (0.7 * light[_SKY_RGB + c] + 0.30 * light[_SUN_RGB + c])


@njit("float64(float32[:,::1], float64, float64, float64)", cache=True, nogil=True, error_model="numpy")
def _lit(shadow, x, y, depth):  # type: ignore[no-untyped-def]
    """Share of light at map position x, y (texels): bilinear over four depth comparisons."""
    x0, y0 = math.floor(x), math.floor(y)
    if x0 < 0 or y0 < 0 or x0 + 1 >= shadow.shape[1] or y0 + 1 >= shadow.shape[0]:
        return 1.0
    dx, dy = x - x0, y - y0
    near = 1.0e4 - depth
    a = 1.0 if shadow[y0, x0] <= near else 0.0
    b = 1.0 if shadow[y0, x0 + 1] <= near else 0.0
    c = 1.0 if shadow[y0 + 1, x0] <= near else 0.0
    d = 1.0 if shadow[y0 + 1, x0 + 1] <= near else 0.0
    return (a * (1 - dx) + b * dx) * (1 - dy) + (c * (1 - dx) + d * dx) * dy


@njit(
    "void(uint8[:,::1], float64[:,:,::1], float64, float64, float64, float64, float64, float64[::1], float64[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _road(textures, paints, par, u, v, fu, fv, light, out):  # type: ignore[no-untyped-def]
    """Asphalt with lane lines: u across and v along the road, metres. out: rgb, gloss, marking share."""
    footprint = math.sqrt(fu * fv)
    grain = _texture(textures, _T_GRAIN, u * 0.55, v * 0.55, footprint * 0.55)
    broad = _texture(textures, _T_FBM, u * 0.045, v * 0.045, footprint * 0.045)
    fine = _texture(textures, _T_FBM, u * 0.4, v * 0.11, footprint * 0.4)
    row = int(par)
    tone = paints[row, 0, 0] * (0.72 + 0.32 * broad + 0.22 * (grain - 0.5) * 2 + 0.18 * fine)
    # tyres polish two bands in each lane, oil darkens the middle
    lane = paints[row, 0, 1]
    if lane > 0:
        across = (u / lane - math.floor(u / lane)) * lane
        wheel = math.exp(-(((across - 0.25 * lane) / 0.38) ** 2)) + math.exp(-(((across - 0.75 * lane) / 0.38) ** 2))
        tone *= 1.0 + 0.06 * wheel - 0.07 * math.exp(-(((across - 0.5 * lane) / 0.45) ** 2))
    # repaired rectangles and tar seams
    patch = _hash(math.floor(u / 3.2), math.floor(v / 11.0), 77 + row)
    if patch > 0.82:
        tone *= 0.80 + 0.45 * (patch - 0.82) / 0.18
    crack = _texture(textures, _T_FBM, u * 0.021 + 0.2, v * 0.017, footprint * 0.02)
    width = 0.004 + footprint * 0.004
    tone *= 1.0 - 0.28 * max(0.0, 1.0 - abs(crack - 0.52) / width) * (0.004 / width)
    half = paints[row, 0, 2]
    gutter = max(0.0, 1.0 - (half - abs(u)) / 0.55)
    tone *= 1.0 - 0.30 * gutter
    out[0], out[1], out[2] = tone * 1.0, tone * 0.99, tone * 0.985
    share = 0.0
    for k in range(1, paints.shape[1]):
        if paints[row, k, 1] <= 0:
            continue
        cover = _inside(u, paints[row, k, 0] - 0.5 * paints[row, k, 1], paints[row, k, 0] + 0.5 * paints[row, k, 1], fu)
        if cover <= 0.0:
            continue
        period = paints[row, k, 2] + paints[row, k, 3]
        if paints[row, k, 3] > 0:
            along = v + 0.5 * period
            along = (along - math.floor(along / period) * period) - 0.5 * paints[row, k, 3]
            if fv > period:
                cover *= paints[row, k, 2] / period
            else:
                cover *= _inside(along, 0.0, paints[row, k, 2], fv)
        worn = 0.88 - 0.5 * max(0.0, 0.55 - grain) - 0.35 * max(0.0, fine - 0.55)
        share = max(share, cover)
        cover *= worn
        yellow = paints[row, k, 4]
        out[0] = out[0] * (1 - cover) + 0.66 * cover
        out[1] = out[1] * (1 - cover) + (0.66 - 0.20 * yellow) * cover
        out[2] = out[2] * (1 - cover) + (0.64 - 0.52 * yellow) * cover
    wet = light[_WET]
    for c in range(3):
        out[c] *= 1.0 - 0.5 * wet
    out[3] = wet * (0.35 + 0.65 * min(1.0, max(0.0, (broad - 0.42) * 6)))
    out[4] = share


@njit(
    "void(uint8[:,::1], float64[::1], int64, float64, float64, float64, float64, float64, float64[::1], float64[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _facade(textures, rgb, seed, par, u, v, fu, fv, light, out):  # type: ignore[no-untyped-def]
    """A wall with windows: u in bays, v in floors. out: rgb, gloss, unused, emission rgb."""
    bay, floor = math.floor(u), math.floor(v)
    x, y = u - bay, v - floor
    style = _hash(int(seed), 11, 3)
    brick = _hash(int(seed), 5, 9)
    footprint = math.sqrt(fu * fv)
    if brick > 0.62:
        wall = 0.62 + 0.55 * _texture(textures, _T_BRICK, u * 1.35, v * 2.5, footprint * 1.9)
    else:
        wall = 0.80 + 0.28 * _texture(textures, _T_PLASTER, u * 0.8, v * 0.9, footprint * 0.9)
    stain = _texture(textures, _T_FBM, u * 0.21, v * 0.07, footprint * 0.2)
    wall *= 0.86 + 0.24 * stain
    wall *= 1.0 - 0.22 * max(0.0, 1.0 - v * 3.0)  # splashes at the foot
    for c in range(3):
        out[c] = rgb[c] * wall
        out[5 + c] = 0.0
    out[3], out[4] = 0.0, 0.0
    if par < 0.5:
        return
    # plinth and the string course between floors
    band = _inside(y, 0.955, 1.0, fv) if floor >= 0 else 0.0
    if style > 0.4:
        for c in range(3):
            out[c] = out[c] * (1 - 0.6 * band) + rgb[3 + c] * 0.6 * band
    shop = floor == 0 and _hash(int(seed), 21, 4) > 0.55
    wide = 0.16 + 0.10 * style
    low, high = 0.30, 0.82
    left, right = wide, 1.0 - wide
    if shop:
        left, right, low, high = 0.06, 0.94, 0.14, 0.72
    door = floor == 0 and not shop and _hash(bay, int(seed), 31) > 0.78
    if door:
        left, right, low, high = 0.28, 0.72, 0.0, 0.74
    frame = _inside(x, left - 0.035, right + 0.035, fu) * _inside(y, low - 0.03, high + 0.03, fv)
    if frame <= 0.0 and not shop:
        shutters = 0.0
        if style > 0.7 and not door:
            shutters = _inside(y, low, high, fv) * (
                _inside(x, left - 0.18, left - 0.04, fu) + _inside(x, right + 0.04, right + 0.18, fu)
            )
        slats = 0.8 + 0.3 * (1.0 if (v * 30 - math.floor(v * 30)) > 0.5 else 0.0) if fv < 0.02 else 0.95
        for c in range(3):
            out[c] = out[c] * (1 - shutters) + rgb[3 + c] * 0.7 * slats * shutters
        return
    trim = 0.62 + 0.15 * style
    if shop:
        sign = _inside(y, 0.76, 0.93, fv)
        colour = int(1000 * _hash(seed, 41, bay // 4))
        base = 0.03 + 0.35 * _hash(colour, 5, 6)
        letter = _inside(y, 0.815, 0.875, fv) * _inside((u * 0.5 - math.floor(u * 0.5)), 0.25, 0.75, fu)
        stroke = u * 22.0 - math.floor(u * 22.0)
        letter *= 0.8 if stroke < 0.6 and _hash(math.floor(u * 22.0), seed, 2) > 0.2 else 0.0
        if fu * 22.0 > 1.0:
            letter *= 0.5
        for c in range(3):
            tint = base * (0.55 + 0.9 * _hash(colour, c, 6) ** 2)
            ink = tint * (1 - letter) + (0.62 if base < 0.22 else 0.03) * letter
            out[c] = out[c] * (1 - sign) + ink * sign
    for c in range(3):
        out[c] = out[c] * (1 - frame) + trim * frame
    glass = _inside(x, left, right, fu) * _inside(y, low, high, fv)
    if glass <= 0.0:
        return
    middle = 0.5 * (left + right)
    bars = _inside(x, middle - 0.014, middle + 0.014, fu)
    bars = max(bars, _inside(y, low + 0.68 * (high - low), low + 0.68 * (high - low) + 0.02, fv))
    glass *= 1.0 - bars
    pane = _hash(bay, floor, int(seed))
    recess = _inside(y, high - 0.08, high, fv) * 0.5
    inner = 0.020 + 0.05 * _hash(floor, bay, int(seed) + 1)
    if door:
        for c in range(3):
            out[c] = out[c] * (1 - glass) + rgb[3 + c] * 0.45 * glass
        out[3] = 0.05 * glass
        return
    curtain = 0.0
    if pane > 0.45 and not shop:
        drop = low + (high - low) * (1.0 - 0.9 * _hash(bay, floor, 7))
        curtain = max(_inside(x, left, left + 0.10, fu), _inside(x, right - 0.10, right, fu))
        curtain = max(curtain, _inside(y, drop, high, fv)) * 0.55
    if shop:
        goods = _texture(textures, _T_FBM, u * 0.9 + pane, v * 0.6, footprint)
        inner = 0.015 + 0.30 * max(0.0, goods - 0.5)
        if y < 0.42:
            inner += 0.08 * _hash(math.floor(u * 7.0), seed, 8) * _hash(math.floor(u * 13.0), seed, 9)
    for c in range(3):
        shade = (inner * (1 - curtain) + 0.34 * curtain) * (1 - recess)
        out[c] = out[c] * (1 - glass) + shade * glass
    out[3] = glass * (0.75 - 0.4 * curtain)
    if light[_NIGHT] > 0.2 and _hash(bay, floor, int(seed) + 3) > (0.25 if shop else 0.68):
        power = light[_NIGHT] * glass * (0.5 + 0.8 * pane)
        out[5], out[6], out[7] = 1.0 * power, 0.72 * power, 0.38 * power


@njit(
    "void(float64[:,::1], float64[::1], float64, int64, float64, int64, float64, float64, float64, "
    "float64, float64, float64[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _car(cars, rgb, lamps_on, seed, par, region, x, y, z, nx, fw, out):  # type: ignore[no-untyped-def]
    """A car body in its own frame: x forward, y left, z up, m. out: rgb, gloss, mirror, emission rgb."""
    row = int(par)
    wide, sill, belt, top = cars[row, 1], cars[row, 2], cars[row, 3], cars[row, 4]
    front_axle, rear_axle, radius = cars[row, 5], cars[row, 6], cars[row, 7]
    screen_low, screen_high, rear_high, rear_low, pillar = (
        cars[row, 8],
        cars[row, 9],
        cars[row, 10],
        cars[row, 11],
        cars[row, 12],
    )
    for c in range(3):
        out[c] = rgb[c]
        out[5 + c] = 0.0
    out[3], out[4] = 0.35, 0.0
    glass = 0.0
    rise = min(1.0, max(0.0, (z - belt) / (top - belt)))
    if region == 1 or region == 2:  # windscreen, rear window
        inset = abs(y) - (wide * (0.86 - 0.16 * rise) - 0.03)
        glass = _inside(inset, -9.0, 0.0, fw) * _inside(rise, 0.05, 0.95, fw)
    elif region == 0 and z > belt - 0.1:  # side windows
        ahead = screen_low + (screen_high - screen_low) * rise - 0.12
        behind = rear_low + (rear_high - rear_low) * rise + 0.14
        glass = _inside(x, behind, ahead, fw) * _inside(z, belt + 0.02, top - 0.09, fw)
        if cars[row, 13] > 0:  # panel van or lorry box: windows only at the front seats
            glass *= _inside(x, pillar, 99.0, fw)
        else:
            glass *= 1.0 - _inside(x, pillar - 0.05, pillar + 0.05, fw)
            glass *= 1.0 - _inside(x, rear_axle + 0.10, rear_axle + 0.16, fw)
        if cars[row, 14] > 0:  # bus: pillars at even distances
            step = x / 1.5 - math.floor(x / 1.5)
            glass *= 1.0 - _inside(step, 0.0, 0.06, fw / 1.5)
    if region == 0 and z < belt + 0.02:
        seam = _inside(x, pillar - 0.008, pillar + 0.008, fw) + _inside(x, screen_low - 0.35, screen_low - 0.334, fw)
        seam += _inside(x, rear_axle + 0.36, rear_axle + 0.376, fw) * (1.0 if cars[row, 14] == 0 else 0.0)
        seam *= _inside(z, sill + 0.12, belt, fw)
        handle = _inside(z, belt - 0.16, belt - 0.12, fw) * (
            _inside(x, pillar + 0.06, pillar + 0.22, fw) + _inside(x, rear_axle + 0.42, rear_axle + 0.58, fw)
        )
        dark = min(1.0, 0.75 * seam + 0.35 * handle)
        crease = 0.06 * _inside(z, belt - 0.30, belt - 0.26, fw)
        for c in range(3):
            out[c] *= 1.0 - dark - crease
        for axle in (front_axle, rear_axle):
            away = math.sqrt((x - axle) ** 2 + (z - radius) ** 2)
            arch = _inside(away, -1.0, radius + 0.06, fw)
            if arch > 0:
                for c in range(3):
                    out[c] = out[c] * (1 - arch) + 0.008 * arch
                out[3] *= 1 - arch
        skirt = _inside(z, -1.0, sill + 0.10, fw)
        for c in range(3):
            out[c] = out[c] * (1 - skirt) + 0.02 * skirt
    if region == 5 or region == 6:
        side = abs(y) / wide
        bumper = _inside(z, -1.0, sill + 0.16, fw) if seed % 3 == 0 else _inside(z, -1.0, sill + 0.07, fw)
        for c in range(3):
            out[c] = out[c] * (1 - bumper) + 0.025 * bumper
        plate_z = sill + 0.26 if region == 5 else sill + 0.42
        plate = _inside(y, -0.26, 0.26, fw) * _inside(z, plate_z - 0.055, plate_z + 0.055, fw)
        if region == 5:
            grille = _inside(side, 0.0, 0.52, fw) * _inside(z, belt - 0.34, belt - 0.17, fw)
            grille = max(grille, _inside(side, 0.0, 0.6, fw) * _inside(z, sill + 0.06, sill + 0.19, fw))
            for c in range(3):
                out[c] = out[c] * (1 - grille) + 0.012 * grille
            lamp = _inside(side, 0.60, 0.97, fw / wide) * _inside(z, belt - 0.34, belt - 0.14, fw)
            for c in range(3):
                out[c] = out[c] * (1 - lamp) + 0.55 * lamp
            out[3] = out[3] * (1 - lamp) + 0.8 * lamp
            if lamps_on > 0.0:
                power = lamps_on * lamp
                out[5], out[6], out[7] = 9.0 * power, 8.4 * power, 7.0 * power
        else:
            tall = 0.34 if cars[row, 15] > 0 else 0.14
            lamp = _inside(side, 0.74, 1.1, fw / wide) * _inside(z, belt - 0.10 - tall, belt - 0.08, fw)
            lens = 0.20 + 0.10 * math.cos(z * 90.0)
            out[0] = out[0] * (1 - lamp) + lens * lamp
            out[1] = out[1] * (1 - lamp) + 0.012 * lamp
            out[2] = out[2] * (1 - lamp) + 0.012 * lamp
            brake = rgb[3]
            power = lamp * (0.01 + 0.7 * lamps_on + 0.9 * brake)
            out[5], out[6], out[7] = power, 0.05 * power, 0.04 * power
            boot = _inside(z, belt - 0.05, belt - 0.035, fw) * _inside(side, 0.0, 0.8, fw)
            for c in range(3):
                out[c] *= 1.0 - 0.7 * boot
        for c in range(3):
            ink = 0.62
            if z < plate_z + 0.03 and z > plate_z - 0.03 and _hash(int((y + 2) * 34), seed, 4) > 0.45:
                ink = 0.16
            out[c] = out[c] * (1 - plate) + ink * plate
    if region == 7:
        for c in range(3):
            out[c] = 0.01
        out[3] = 0.0
    if glass > 0.0:
        for c in range(3):
            out[c] = out[c] * (1 - glass) + 0.012 * glass
        out[3] = out[3] * (1 - glass) + 0.85 * glass
    out[4] = glass


@njit("void(int64, float64, float64, float64, float64[::1], float64[::1])", cache=True, nogil=True, error_model="numpy")
def _sign_face(design, u, v, fw, colours, out):  # type: ignore[no-untyped-def]
    """Front of a traffic sign; u and v run over -1 ... 1."""
    away = math.sqrt(u * u + v * v)
    r, g, b = 0.75, 0.75, 0.75
    if design == 0:  # speed limit: red ring
        ring = _inside(away, 0.72, 2.0, fw)
        figure = _inside(abs(u) % 0.42, 0.06, 0.30, fw) * _inside(v, -0.34, 0.34, fw) * _inside(abs(u), 0.0, 0.45, fw)
        r, g, b = 0.75 * (1 - figure), 0.75 * (1 - figure), 0.75 * (1 - figure)
        r, g, b = r * (1 - ring) + 0.60 * ring, g * (1 - ring) + 0.02 * ring, b * (1 - ring) + 0.02 * ring
    elif design == 1:  # warning or give way: red triangle
        edge = 1.0 if v < -0.62 or v > 0.86 - 1.9 * abs(u) - 0.30 else 0.0
        dark = _inside(abs(u), 0.0, 0.10, fw) * _inside(v, -0.42, 0.15, fw)
        r, g, b = 0.75 * (1 - dark), 0.75 * (1 - dark), 0.75 * (1 - dark)
        r, g, b = r * (1 - edge) + 0.60 * edge, g * (1 - edge) + 0.02 * edge, b * (1 - edge) + 0.02 * edge
    elif design == 2:  # priority road: yellow diamond
        edge = _inside(abs(u) + abs(v), 0.74, 3.0, fw)
        r, g, b = 0.70, 0.48 * (1 - edge) + 0.7 * edge, 0.02 * (1 - edge) + 0.7 * edge
    elif design == 3:  # blue, mandatory
        arrow = _inside(abs(u), 0.0, 0.14, fw) * _inside(v, -0.55, 0.6, fw)
        r, g, b = 0.02 + 0.7 * arrow, 0.11 + 0.6 * arrow, 0.48 + 0.25 * arrow
    elif design == 4:  # direction board
        edge = max(_inside(abs(u), 0.94, 2.0, fw), _inside(abs(v), 0.88, 2.0, fw))
        rows = v * 3.0 - math.floor(v * 3.0)
        letter = _inside(rows, 0.3, 0.7, fw * 3) * (1.0 if _hash(int(u * 14 + 40), int(v * 3.0 + 9), 5) > 0.4 else 0.0)
        white = max(edge, letter * _inside(abs(u), 0.0, 0.8, fw))
        r, g, b = (
            colours[0] * (1 - white) + 0.7 * white,
            colours[1] * (1 - white) + 0.7 * white,
            colours[2] * (1 - white) + 0.7 * white,
        )
    else:  # the back
        r, g, b = 0.28, 0.29, 0.30
    out[0], out[1], out[2], out[3] = r, g, b, 0.05


@njit(
    "void(uint8[:,::1], float64[:,:,::1], float64[:,::1], float64[::1], float32[:,::1], float32[:,::1], "
    "float32[:,::1], float64[:,::1], float32[:,::1], float64[::1], float64[:,::1], float64[:,::1], float32[:,::1], "
    "uint8[::1], float32[:,::1], float64[:,::1], float64[:,:,::1], float64[:,::1], float64[:,:,::1], int64, int64, "
    "float64, float64, float64, float64, float64, float64, float64, float64[::1], float64[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _surface(  # type: ignore[no-untyped-def]
    textures, paints, cars, light, shadow_near, shadow_moving, shadow_far, shadow_view, contact, contact_view, lamps,
    camera_world, attributes, kinds, pars, looks, inverses, translations, rotations, triangle, placed,
    dx, dy, depth, slope_x, slope_y, fx, fy, colours, out,
):  # fmt: skip
    """Lights one surface where the camera ray (dx, dy, 1) meets it at ``depth``. out: rgb, then the marking share."""
    kind = kinds[triangle]
    par0, par1 = pars[triangle, 0], pars[triangle, 1]
    seed, lamps_on = int(looks[placed, 6]), looks[placed, 7]
    for c in range(6):
        colours[c] = looks[placed, c]
    px, py, pz = dx * depth, dy * depth, depth
    # how the point moves per pixel to the right and down, on the surface's plane
    ax, ay, az = depth / fx + dx * slope_x, dy * slope_x, slope_x
    bx, by, bz = dx * slope_y, depth / fy + dy * slope_y, slope_y
    qx, qy, qz = px - translations[placed, 0], py - translations[placed, 1], pz - translations[placed, 2]
    lx = inverses[placed, 0, 0] * qx + inverses[placed, 0, 1] * qy + inverses[placed, 0, 2] * qz
    ly = inverses[placed, 1, 0] * qx + inverses[placed, 1, 1] * qy + inverses[placed, 1, 2] * qz
    lz = inverses[placed, 2, 0] * qx + inverses[placed, 2, 1] * qy + inverses[placed, 2, 2] * qz
    u = (
        attributes[triangle, 12] * lx
        + attributes[triangle, 13] * ly
        + attributes[triangle, 14] * lz
        + attributes[triangle, 15]
    )
    v = (
        attributes[triangle, 16] * lx
        + attributes[triangle, 17] * ly
        + attributes[triangle, 18] * lz
        + attributes[triangle, 19]
    )
    # texture footprint: gradients of u and v in camera coordinates
    fu, fv = 0.0, 0.0
    for c in range(2):
        gx = (
            inverses[placed, 0, 0] * attributes[triangle, 12 + 4 * c]
            + inverses[placed, 1, 0] * attributes[triangle, 13 + 4 * c]
            + inverses[placed, 2, 0] * attributes[triangle, 14 + 4 * c]
        )
        gy = (
            inverses[placed, 0, 1] * attributes[triangle, 12 + 4 * c]
            + inverses[placed, 1, 1] * attributes[triangle, 13 + 4 * c]
            + inverses[placed, 2, 1] * attributes[triangle, 14 + 4 * c]
        )
        gz = (
            inverses[placed, 0, 2] * attributes[triangle, 12 + 4 * c]
            + inverses[placed, 1, 2] * attributes[triangle, 13 + 4 * c]
            + inverses[placed, 2, 2] * attributes[triangle, 14 + 4 * c]
        )
        size = abs(gx * ax + gy * ay + gz * az) + abs(gx * bx + gy * by + gz * bz)
        if c == 0:
            fu = size
        else:
            fv = size
    fu, fv = min(fu, 1e3) + 1e-9, min(fv, 1e3) + 1e-9
    nx = (
        attributes[triangle, 0] * lx
        + attributes[triangle, 1] * ly
        + attributes[triangle, 2] * lz
        + attributes[triangle, 3]
    )
    ny = (
        attributes[triangle, 4] * lx
        + attributes[triangle, 5] * ly
        + attributes[triangle, 6] * lz
        + attributes[triangle, 7]
    )
    nz = (
        attributes[triangle, 8] * lx
        + attributes[triangle, 9] * ly
        + attributes[triangle, 10] * lz
        + attributes[triangle, 11]
    )
    cnx = rotations[placed, 0, 0] * nx + rotations[placed, 0, 1] * ny + rotations[placed, 0, 2] * nz
    cny = rotations[placed, 1, 0] * nx + rotations[placed, 1, 1] * ny + rotations[placed, 1, 2] * nz
    cnz = rotations[placed, 2, 0] * nx + rotations[placed, 2, 1] * ny + rotations[placed, 2, 2] * nz
    length = math.sqrt(cnx * cnx + cny * cny + cnz * cnz) + 1e-12
    cnx, cny, cnz = cnx / length, cny / length, cnz / length
    distance = math.sqrt(px * px + py * py + pz * pz)
    vx, vy, vz = px / distance, py / distance, pz / distance
    facing = -(cnx * vx + cny * vy + cnz * vz)
    thin = kind == _LEAVES or kind == _FENCE or kind == _SIGN
    if thin and facing < 0 and kind != _LEAVES:
        cnx, cny, cnz, facing = -cnx, -cny, -cnz, -facing
    # to the world
    wx = camera_world[0, 0] * px + camera_world[0, 1] * py + camera_world[0, 2] * pz + camera_world[0, 3]
    wy = camera_world[1, 0] * px + camera_world[1, 1] * py + camera_world[1, 2] * pz + camera_world[1, 3]
    wz = camera_world[2, 0] * px + camera_world[2, 1] * py + camera_world[2, 2] * pz + camera_world[2, 3]
    nwx = camera_world[0, 0] * cnx + camera_world[0, 1] * cny + camera_world[0, 2] * cnz
    nwy = camera_world[1, 0] * cnx + camera_world[1, 1] * cny + camera_world[1, 2] * cnz
    nwz = camera_world[2, 0] * cnx + camera_world[2, 1] * cny + camera_world[2, 2] * cnz
    footprint = math.sqrt(fu * fv)
    albedo = out  # rgb, gloss, marking share or mirror, emission rgb
    for c in range(8):
        albedo[c] = 0.0
    share, mirror, translucent = 0.0, 0.0, 0.0
    if kind == _ROAD:
        _road(textures, paints, par0, u, v, fu, fv, light, albedo)
        share = albedo[4]
    elif kind == _FACADE:
        _facade(textures, colours, seed, par0, u, v, fu, fv, light, albedo)
    elif kind == _CAR:
        _car(cars, colours, lamps_on, seed, par0, int(par1), lx, ly, lz, nx, depth / fx, albedo)
        mirror = albedo[4]
    elif kind == _LEAVES:
        tone = 0.40 + 0.95 * _texture(textures, _T_LEAVES, u * 1.0, v * 1.0, footprint)
        tone *= par0
        hue = _texture(textures, _T_FBM, lx * 0.13 + seed * 0.37, (ly + lz) * 0.13, 0.002)
        albedo[0] = colours[0] * tone * (0.80 + 0.5 * hue)
        albedo[1] = colours[1] * tone
        albedo[2] = colours[2] * tone * (1.2 - 0.4 * hue)
        translucent = 0.5
    elif kind == _HEDGE:
        tone = 0.25 + 1.1 * _texture(textures, _T_LEAVES, u * 0.9, v * 0.9, footprint * 0.9)
        tone *= 0.75 + 0.5 * _texture(textures, _T_FBM, u * 0.2, v * 0.2, footprint * 0.2)
        for c in range(3):
            albedo[c] = colours[c] * tone
    elif kind == _GRASS or kind == _SOIL:
        blade = _texture(textures, _T_GRASS, wx * 0.5, wy * 0.5, footprint * 0.5)
        broad = _texture(textures, _T_FBM, wx * 0.035, wy * 0.035, footprint * 0.035)
        patch = _texture(textures, _T_FBM, wx * 0.11 + 0.4, wy * 0.11, footprint * 0.11)
        dry = min(1.0, max(0.0, (broad - 0.40) * 3.0)) if kind == _GRASS else 1.0
        tone = (0.35 + 0.9 * blade) * (0.7 + 0.6 * patch)
        albedo[0] = tone * (0.075 * (1 - dry) + 0.17 * dry)
        albedo[1] = tone * (0.125 * (1 - dry) + 0.155 * dry)
        albedo[2] = tone * (0.035 * (1 - dry) + 0.075 * dry)
    elif kind == _SLABS:
        tone = 0.62 + 0.5 * _texture(textures, _T_SLABS, u * 0.55, v * 0.55, footprint * 0.55)
        tone *= 0.80 + 0.35 * _texture(textures, _T_FBM, wx * 0.06, wy * 0.06, footprint * 0.06)
        tone *= 0.9 + 0.2 * _texture(textures, _T_GRAIN, u * 0.6, v * 0.6, footprint * 0.6)
        for c in range(3):
            albedo[c] = colours[c] * tone * (1 - 0.4 * light[_WET])
        albedo[3] = 0.25 * light[_WET]
    elif kind == _KERB or kind == _CONCRETE:
        joint = v * 1.0 - math.floor(v * 1.0)
        tone = 0.8 + 0.35 * _texture(textures, _T_PLASTER, u * 0.7, v * 0.7, footprint * 0.7)
        tone *= 1.0 - 0.35 * _inside(joint, 0.0, 0.02, fv)
        tone *= 0.8 + 0.3 * _texture(textures, _T_FBM, wx * 0.15, wy * 0.15 + wz * 0.2, footprint * 0.15)
        for c in range(3):
            albedo[c] = colours[c] * tone
    elif kind == _ROOF:
        tone = 0.55 + 0.65 * _texture(textures, _T_TILES, u * 0.4, v * 0.4, footprint * 0.4)
        tone *= 0.75 + 0.5 * _texture(textures, _T_FBM, u * 0.08, v * 0.08, footprint * 0.08)
        for c in range(3):
            albedo[c] = colours[3 + c] * tone
    elif kind == _BARK:
        tone = 0.4 + 1.0 * _texture(textures, _T_BARK, u, v, footprint)
        albedo[0], albedo[1], albedo[2] = 0.085 * tone, 0.070 * tone, 0.055 * tone
    elif kind == _WHEEL:
        away = math.sqrt(u * u + v * v)
        tyre = 1.0 - _inside(away, -1.0, par0, depth / fx)
        spoke = math.cos(5.0 * math.atan2(v, u))
        rim = 0.38 if (spoke > -0.35 and away > 0.1 * par0) or away > 0.86 * par0 else 0.05
        if depth > 35.0:
            rim = 0.22
        for c in range(3):
            albedo[c] = 0.018 * tyre + rim * (1 - tyre)
        albedo[3] = 0.2 * (1 - tyre)
    elif kind == _PAINT:
        worn = 0.75 + 0.3 * _texture(textures, _T_GRAIN, u * 0.6, v * 0.6, footprint * 0.6)
        for c in range(3):
            albedo[c] = colours[c] * worn
        share = 1.0
    elif kind == _SIGN:
        _sign_face(int(par0), u, v, fu, colours, albedo)
    elif kind == _LAMP:
        for c in range(3):
            albedo[c] = 0.08 * colours[c] + 0.02
            albedo[5 + c] = colours[c] * par0
    elif kind == _CLOTH:
        index = int(par0)
        fold = 0.75 + 0.5 * _texture(textures, _T_FBM, lx * 0.7 + seed, lz * 0.5 + ly * 0.6, 0.004)
        for c in range(3):
            if index == 0:
                albedo[c] = colours[c]
            elif index == 1:
                albedo[c] = colours[3 + c]
            elif index == 2:
                dark = 0.35 + 0.65 * _hash(int(seed), 3, 1)
                albedo[c] = dark * (0.55 if c == 0 else (0.36 if c == 1 else 0.27))
            elif index == 3:
                albedo[c] = (0.02 + 0.25 * _hash(int(seed), 7, 1) ** 2) * (1.0 if c == 0 else (0.75 if c == 1 else 0.5))
            else:
                albedo[c] = 0.025
            if index < 2:
                albedo[c] *= fold
    elif kind == _GLASS:
        albedo[0], albedo[1], albedo[2], albedo[3] = 0.02, 0.022, 0.024, 0.8
        mirror = 1.0
    else:
        tone = 0.85 + 0.3 * _texture(textures, _T_PLASTER, u * 0.5, v * 0.5, footprint * 0.5)
        for c in range(3):
            albedo[c] = colours[c] * tone
        albedo[3] = par0

    # sun, through the shadow maps: a near one, one of what moves, and a wide coarse one
    sx, sy, sz = light[0], light[1], light[2]
    cosine = nwx * sx + nwy * sy + nwz * sz
    if translucent > 0:
        cosine = 0.30 + 0.55 * cosine if cosine > 0 else 0.30 + 0.25 * cosine
    lit = 0.0
    if cosine > 0.0 and light[_SUN_RGB] + light[_SUN_RGB + 1] > 0.01:
        lift = 0.35 if kind == _LEAVES else 0.03 + 0.0006 * depth
        ox, oy, oz = wx + nwx * lift, wy + nwy * lift, wz + nwz * lift
        if kind == _LEAVES:
            ox, oy, oz = wx + sx * lift, wy + sy * lift, wz + sz * lift
        a = shadow_view[0, 0] * ox + shadow_view[0, 1] * oy + shadow_view[0, 2] * oz
        b = shadow_view[1, 0] * ox + shadow_view[1, 1] * oy + shadow_view[1, 2] * oz
        d = shadow_view[2, 0] * ox + shadow_view[2, 1] * oy + shadow_view[2, 2] * oz + shadow_view[2, 3]
        nearx, neary = a * shadow_view[3, 0] + shadow_view[3, 1], b * shadow_view[3, 0] + shadow_view[3, 2]
        size = shadow_near.shape[0]
        if nearx > 1 and neary > 1 and nearx < size - 2 and neary < size - 2:
            lit = _lit(shadow_near, nearx, neary, d - 0.02)
        else:
            farx, fary = a * shadow_view[4, 0] + shadow_view[4, 1], b * shadow_view[4, 0] + shadow_view[4, 2]
            lit = _lit(shadow_far, farx, fary, d - 0.35)
        if lit > 0.0:
            movex, movey = a * shadow_view[5, 0] + shadow_view[5, 1], b * shadow_view[5, 0] + shadow_view[5, 2]
            lit = min(lit, _lit(shadow_moving, movex, movey, d - 0.02))
    # light from the sky, less of it beside and beneath vehicles
    open_sky = 0.5 + 0.5 * nwz
    if kind == _LEAVES:
        open_sky = (0.35 + 0.4 * open_sky) * par0
    elif wz < 0.4:
        ix = int((wx - contact_view[0]) * contact_view[2])
        iy = int((wy - contact_view[1]) * contact_view[2])
        if ix >= 0 and iy >= 0 and ix < contact.shape[1] and iy < contact.shape[0]:
            open_sky *= 1.0 - contact[iy, ix] * max(0.0, 1.0 - wz * 2.5)
    lamp_r, lamp_g, lamp_b = 0.0, 0.0, 0.0
    if light[_NIGHT] > 0.0:
        for k in range(lamps.shape[0]):
            ex, ey, ez = lamps[k, 0] - wx, lamps[k, 1] - wy, lamps[k, 2] - wz
            square = ex * ex + ey * ey + ez * ez + 0.3
            away = math.sqrt(square)
            if away > lamps[k, 6]:
                continue
            aim = (nwx * ex + nwy * ey + nwz * ez) / away
            if translucent > 0:
                aim = 0.4 + 0.4 * aim
            if aim <= 0.0:
                continue
            cone = min(1.0, max(0.0, ez / away * 1.6 - 0.1)) if lamps[k, 7] < 0.5 else 1.0
            if lamps[k, 7] > 0.5:  # a headlight: brightest straight ahead and just below the horizon
                ahead = -(lamps[k, 8] * ex + lamps[k, 9] * ey) / away
                cone = max(0.0, (ahead - 0.80) * 5.0) ** 2 * min(1.0, max(0.04, (ez / away) * 16.0 + 1.0))
            power = aim * cone / square * (1.0 - away / lamps[k, 6])
            lamp_r += lamps[k, 3] * power
            lamp_g += lamps[k, 4] * power
            lamp_b += lamps[k, 5] * power
    below = 0.5 - 0.5 * nwz
    # the whole hemisphere is greyer than the zenith
    grey = 0.18 * (light[_SKY_RGB] + light[_SKY_RGB + 1] + light[_SKY_RGB + 2])
    result_r = (
        light[_SUN_RGB] * lit * max(cosine, 0.0)
        + (grey + 0.46 * light[_SKY_RGB]) * open_sky
        + light[_GROUND_RGB] * below
        + lamp_r
    )
    result_g = (
        light[_SUN_RGB + 1] * lit * max(cosine, 0.0)
        + (grey + 0.46 * light[_SKY_RGB + 1]) * open_sky
        + light[_GROUND_RGB + 1] * below
        + lamp_g
    )
    result_b = (
        light[_SUN_RGB + 2] * lit * max(cosine, 0.0)
        + (grey + 0.46 * light[_SKY_RGB + 2]) * open_sky
        + light[_GROUND_RGB + 2] * below
        + lamp_b
    )
    red, green, blue = albedo[0] * result_r, albedo[1] * result_g, albedo[2] * result_b
    gloss = albedo[3]
    emit_r, emit_g, emit_b = albedo[5], albedo[6], albedo[7]
    if gloss > 0.01:
        # Schlick's reflectance for a coat or pane of index 1.5
        fresnel = 0.04 + 0.96 * max(0.0, 1.0 - abs(facing)) ** 5
        rx, ry, rz = vx + 2 * facing * cnx, vy + 2 * facing * cny, vz + 2 * facing * cnz
        rwx = camera_world[0, 0] * rx + camera_world[0, 1] * ry + camera_world[0, 2] * rz
        rwy = camera_world[1, 0] * rx + camera_world[1, 1] * ry + camera_world[1, 2] * rz
        rwz = camera_world[2, 0] * rx + camera_world[2, 1] * ry + camera_world[2, 2] * rz
        if kind == _ROAD:
            rwz = abs(rwz)
        _surroundings(textures, light, rwx, rwy, rwz, out)
        amount = gloss * (fresnel * (1.0 + 0.7 * mirror) + 0.02)
        amount = min(amount, 1.0)
        shine = max(0.0, rwx * sx + rwy * sy + rwz * sz)
        sparkle = lit * (0.9 * shine**60 + (6.0 * shine**600 if kind == _CAR or kind == _GLASS else 0.0)) * gloss
        red = red * (1 - amount) + out[0] * amount + light[_SUN_RGB] * sparkle * 0.5
        green = green * (1 - amount) + out[1] * amount + light[_SUN_RGB + 1] * sparkle * 0.5
        blue = blue * (1 - amount) + out[2] * amount + light[_SUN_RGB + 2] * sparkle * 0.5
    red, green, blue = red + emit_r, green + emit_g, blue + emit_b
    # air between
    clear = math.exp(-light[_FOG] * distance)
    out[0] = red * clear + light[_FOG_RGB] * (1 - clear)
    out[1] = green * clear + light[_FOG_RGB + 1] * (1 - clear)
    out[2] = blue * clear + light[_FOG_RGB + 2] * (1 - clear)
    out[3] = share


@njit(
    "void(int64, int64, float64[::1], float64[:,::1], float64[:,::1], int32[:,::1], float64[:,::1], int32[:,::1], "
    "float32[:,::1], uint8[::1], float32[:,::1], float64[:,:,::1], float64[:,::1], float64[:,:,::1], float64[:,:,::1], "
    "float64[:,::1], float64[:,:,::1], float64[:,::1], uint8[::1], int32[::1], uint8[:,::1], float64[:,:,::1], "
    "float64[:,::1], float64[::1], float32[:,::1], float32[:,::1], float32[:,::1], float64[:,::1], float32[:,::1], "
    "float64[::1], float64[:,::1], float32[:,:,::1], float32[:,::1], uint8[:,::1], int32[:,::1], float32[:,:,::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _shade(  # type: ignore[no-untyped-def]
    row0, row1, camera, camera_world, sky_flow, ids, planes, sources, attributes, kinds, pars, view_L, view_t, inverses,
    rotations, looks, next_L, next_t, semantics, instance_ids, textures, paints, cars, light, shadow_near,
    shadow_moving, shadow_far, shadow_view, contact, contact_view, lamps, rgb, depth_m, semantic, instance, flow,
):  # fmt: skip
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    sample_fx, sample_fy = 2 * fx, 2 * fy
    sample_cx, sample_cy = 2 * cx + 1, 2 * cy + 1
    width = rgb.shape[1]
    out = np.empty(8)
    colours = np.empty(6)
    seen = np.empty(9, np.int32)
    weight = np.empty(9)
    sum_x = np.empty(9)
    sum_y = np.empty(9)
    for y in range(row0, row1):
        for x in range(width):
            centre = ids[2 * y + 1, 2 * x + 1]
            seen[0], weight[0] = centre, 0.0
            count = 1
            for j in range(3):
                for i in range(3):
                    index = ids[2 * y + j, 2 * x + i]
                    w = (1.0 + (i & 1)) * (1.0 + (j & 1)) / 16.0
                    k = 0
                    while k < count and seen[k] != index:
                        # neighbouring triangles of one surface are lit as one
                        other = seen[k]
                        if index >= 0 and other >= 0 and sources[index, 1] == sources[other, 1]:
                            kind = kinds[sources[index, 0]]
                            if kind == kinds[sources[other, 0]] and (
                                kind == _CAR or kind == _LEAVES or kind == _CLOTH or kind == _BARK
                                or abs(planes[index, 9] - planes[other, 9]) + abs(planes[index, 10] - planes[other, 10])
                                < 1e-5 * planes[other, 11]
                            ):  # fmt: skip
                                break
                        k += 1
                    if k == count:
                        seen[k], weight[k], sum_x[k], sum_y[k] = index, 0.0, 0.0, 0.0
                        count += 1
                    weight[k] += w
                    sum_x[k] += w * (2 * x + i)
                    sum_y[k] += w * (2 * y + j)
            red, green, blue = 0.0, 0.0, 0.0
            share = 0.0
            for k in range(count):
                index = seen[k]
                if index == centre:
                    px, py = 2.0 * x + 1, 2.0 * y + 1
                else:
                    px, py = sum_x[k] / weight[k], sum_y[k] / weight[k]
                dx, dy = (px - sample_cx) / sample_fx, (py - sample_cy) / sample_fy
                if index < 0:
                    length = math.sqrt(dx * dx + dy * dy + 1.0)
                    _sky(
                        textures, light,
                        (camera_world[0, 0] * dx + camera_world[0, 1] * dy + camera_world[0, 2]) / length,
                        (camera_world[1, 0] * dx + camera_world[1, 1] * dy + camera_world[1, 2]) / length,
                        (camera_world[2, 0] * dx + camera_world[2, 1] * dy + camera_world[2, 2]) / length, out,
                    )  # fmt: skip
                    if light[_FOG] > 0.002:
                        clear = math.exp(-light[_FOG] * 300.0)
                        for c in range(3):
                            out[c] = out[c] * clear + light[_FOG_RGB + c] * (1 - clear)
                else:
                    near = planes[index, 9] * px + planes[index, 10] * py + planes[index, 11]
                    if near < 1e-4:
                        near = 1e-4
                    z = 1.0 / near
                    _surface(
                        textures, paints, cars, light, shadow_near, shadow_moving, shadow_far, shadow_view, contact,
                        contact_view, lamps, camera_world, attributes, kinds, pars, looks, inverses, view_t, rotations,
                        sources[index, 0], sources[index, 1], dx, dy, z, -2.0 * planes[index, 9] * z * z,
                        -2.0 * planes[index, 10] * z * z, fx, fy, colours, out,
                    )  # fmt: skip
                    if index == centre:
                        share = out[3]
                red += weight[k] * out[0]
                green += weight[k] * out[1]
                blue += weight[k] * out[2]
            rgb[y, x, 0], rgb[y, x, 1], rgb[y, x, 2] = red, green, blue
            dx, dy = (x - cx) / fx, (y - cy) / fy
            if centre < 0:
                depth_m[y, x] = np.nan
                semantic[y, x] = _SKY_ID
                instance[y, x] = 0
                nx = sky_flow[0, 0] * dx + sky_flow[0, 1] * dy + sky_flow[0, 2]
                ny = sky_flow[1, 0] * dx + sky_flow[1, 1] * dy + sky_flow[1, 2]
                nz = sky_flow[2, 0] * dx + sky_flow[2, 1] * dy + sky_flow[2, 2]
            else:
                z = 1.0 / (planes[centre, 9] * (2 * x + 1) + planes[centre, 10] * (2 * y + 1) + planes[centre, 11])
                placed = sources[centre, 1]
                depth_m[y, x] = z
                semantic[y, x] = _LANE_MARKING_ID if share > 0.5 else semantics[placed]
                instance[y, x] = instance_ids[placed]
                qx, qy, qz = dx * z - view_t[placed, 0], dy * z - view_t[placed, 1], z - view_t[placed, 2]
                lx = inverses[placed, 0, 0] * qx + inverses[placed, 0, 1] * qy + inverses[placed, 0, 2] * qz
                ly = inverses[placed, 1, 0] * qx + inverses[placed, 1, 1] * qy + inverses[placed, 1, 2] * qz
                lz = inverses[placed, 2, 0] * qx + inverses[placed, 2, 1] * qy + inverses[placed, 2, 2] * qz
                nx = next_L[placed, 0, 0] * lx + next_L[placed, 0, 1] * ly + next_L[placed, 0, 2] * lz
                ny = next_L[placed, 1, 0] * lx + next_L[placed, 1, 1] * ly + next_L[placed, 1, 2] * lz
                nz = next_L[placed, 2, 0] * lx + next_L[placed, 2, 1] * ly + next_L[placed, 2, 2] * lz
                nx, ny, nz = nx + next_t[placed, 0], ny + next_t[placed, 1], nz + next_t[placed, 2]
            if nz > 1e-3:
                flow[y, x, 0] = fx * nx / nz + cx - x
                flow[y, x, 1] = fy * ny / nz + cy - y
            else:
                flow[y, x, 0] = np.nan
                flow[y, x, 1] = np.nan


def shade(
    band: tuple[int, int],
    camera: npt.NDArray[np.float64],
    camera_world: npt.NDArray[np.float64],
    sky_flow: npt.NDArray[np.float64],
    visibility: tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.int32]],
    meshes: tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.float32]],
    placed: tuple[npt.NDArray[np.generic], ...],
    tables: tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64], npt.NDArray[np.float64]],
    light: npt.NDArray[np.float64],
    shadows: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float64]],
    contact: tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]],
    lamps: npt.NDArray[np.float64],
    out: tuple[
        npt.NDArray[np.float32],
        npt.NDArray[np.float32],
        npt.NDArray[np.uint8],
        npt.NDArray[np.int32],
        npt.NDArray[np.float32],
    ],
) -> None:
    """Fills rows ``band[0] <= y < band[1]`` of the image and its truth.

    Args:
        band: rows.
        camera: (4,) fx, fy, cx, cy in pixels.
        camera_world: (3, 4) camera points to the world.
        sky_flow: (3, 3) turn from this camera to the next frame's.
        visibility: ids (2H+1, 2W+1), planes and sources from the rasteriser.
        meshes: attributes, materials and parameters of all triangles.
        placed: per placed mesh: view_L_local, view_t_local, inverses (local from view), rotations, looks (colours,
            seed, lamps), the next frame's L and t, semantic ids, instance ids.
        tables: textures, lane paints (R, 12, 6), cars (V, 16).
        light: (25,) sun direction and colour, sky colours, fog, clouds, wetness, night, cloud offset.
        shadows: near, moving and far shadow maps and the (6, 4) view of them.
        contact: (h, w) darkening beside vehicles, and x, y, cells per metre.
        lamps: (K, 10) position, colour, reach, kind, direction.
        out: rgb (H, W, 3) linear, depth m, semantic, instance, flow (H, W, 2) px; NaN depth in the sky.
    """
    height, width = out[1].shape
    if visibility[0].shape != (2 * height + 1, 2 * width + 1):
        raise ValueError(f"ids must be {(2 * height + 1, 2 * width + 1)} but got {visibility[0].shape}")
    if light.shape != (LIGHT_SIZE,):
        raise ValueError(f"light must be ({LIGHT_SIZE},) but got {light.shape}")
    _shade(
        band[0], band[1], camera, camera_world, sky_flow, *visibility, *meshes, *placed, *tables, light, *shadows,
        *contact, lamps, *out,
    )  # fmt: skip
