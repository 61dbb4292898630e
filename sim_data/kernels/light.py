"""Light on fragments: sun through shadow maps, sky, lamps, mirrored surroundings and the air between."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim_data.kernels.simd import part, vector_kernel

__all__ = ["MIRROR_SIZE", "add_lamp", "daylight", "finish", "finish_glossy"]

Column = npt.NDArray[np.float32]
_F = np.float32
MIRROR_SIZE = 256
_BLOCK = 64  # neighbours: where none of them needs a look-up, none is made
# indices into the light vector
_SUN_RGB, _SKY_RGB, _GROUND_RGB, _FOG, _FOG_RGB = 3, 6, 12, 15, 16


@part
def _fall(x):  # type: ignore[no-untyped-def]
    """exp(-x) for x >= 0."""
    scaled = min(x * _F(1.4426950408889634), _F(120.0))
    whole = np.floor(scaled)
    rest = (whole - scaled) * _F(0.6931471805599453)
    power = _F(0.16666666) + rest * (_F(0.041666666) + rest * _F(0.008333333))
    power = _F(1.0) + rest * (_F(1.0) + rest * (_F(0.5) + rest * power))
    return power * np.int32((np.int32(127) - np.int32(whole)) << np.int32(23)).view(np.float32)


@part
def _lit(shadow, x, y, near):  # type: ignore[no-untyped-def]
    """Share of light at map position x, y (texels): bilinear over four depth comparisons. Outside there is light."""
    zero, one = _F(0.0), _F(1.0)
    limit_x, limit_y = _F(shadow.shape[1]) - _F(2.0), _F(shadow.shape[0]) - _F(2.0)
    within = (x >= zero) & (y >= zero) & (x < limit_x + one) & (y < limit_y + one)
    x0, y0 = min(max(np.floor(x), zero), limit_x), min(max(np.floor(y), zero), limit_y)
    dx, dy = x - x0, y - y0
    column, row = np.uint32(np.int32(x0)), np.uint32(np.int32(y0))
    right, below = np.uint32(column + 1), np.uint32(row + 1)
    a = one if shadow[row, column] <= near else zero
    b = one if shadow[row, right] <= near else zero
    c = one if shadow[below, column] <= near else zero
    d = one if shadow[below, right] <= near else zero
    top = a + (b - a) * dx
    return top + (c + (d - c) * dx - top) * dy if within else one


@vector_kernel(
    "void(int64, int64, boolean, float64[::1], float32[:,::1], float32[:,::1], float32[:,::1], float64[:,::1], "
    "float32[:,::1], float64[::1], int32[::1], float32[:,::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1])"
)
def _daylight(  # type: ignore[no-untyped-def]
    start, stop, leaves, light, near, moving, far, view, contact, contact_view, slots, looks, depth, nx, ny, nz,
    wx, wy, wz, lit, red, green, blue,
):  # fmt: skip
    sx, sy, sz = _F(light[0]), _F(light[1]), _F(light[2])
    sun_r, sun_g, sun_b = _F(light[_SUN_RGB]), _F(light[_SUN_RGB + 1]), _F(light[_SUN_RGB + 2])
    shining = sun_r + sun_g > _F(0.01)
    # the whole hemisphere is greyer than the zenith
    grey = 0.18 * (light[_SKY_RGB] + light[_SKY_RGB + 1] + light[_SKY_RGB + 2])
    sky_r, sky_g, sky_b = (
        _F(grey + 0.46 * light[_SKY_RGB]), _F(grey + 0.46 * light[_SKY_RGB + 1]), _F(grey + 0.46 * light[_SKY_RGB + 2]),
    )  # fmt: skip
    ground_r, ground_g, ground_b = _F(light[_GROUND_RGB]), _F(light[_GROUND_RGB + 1]), _F(light[_GROUND_RGB + 2])
    v00, v01, v02 = _F(view[0, 0]), _F(view[0, 1]), _F(view[0, 2])
    v10, v11, v12 = _F(view[1, 0]), _F(view[1, 1]), _F(view[1, 2])
    v20, v21, v22, v23 = _F(view[2, 0]), _F(view[2, 1]), _F(view[2, 2]), _F(1.0e4 - view[2, 3])
    near_k, near_x, near_y = _F(view[3, 0]), _F(view[3, 1]), _F(view[3, 2])
    far_k, far_x, far_y = _F(view[4, 0]), _F(view[4, 1]), _F(view[4, 2])
    move_k, move_x, move_y = _F(view[5, 0]), _F(view[5, 1]), _F(view[5, 2])
    contact_x, contact_y, contact_k = _F(contact_view[0]), _F(contact_view[1]), _F(contact_view[2])
    zero, half, one = _F(0.0), _F(0.5), _F(1.0)
    wide, tall = _F(contact.shape[1]) - _F(2.0), _F(contact.shape[0]) - _F(2.0)
    border = _F(near.shape[0]) - _F(2.0)
    across, along, level = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    slope = np.empty(_BLOCK, np.float32)
    for first in range(start, stop, _BLOCK):
        count = min(_BLOCK, stop - first)
        outside, sunny, low = 0, 0, 0
        for k in range(count):
            i = np.uint64(first + k)
            a, b, c = nx[i], ny[i], nz[i]
            cosine = a * sx + b * sy + c * sz
            if leaves:  # light shines through, and a leaf must not shade itself
                cosine = _F(0.30) + (_F(0.55) if cosine > zero else _F(0.25)) * cosine
                ox, oy, oz = wx[i] + sx * _F(0.35), wy[i] + sy * _F(0.35), wz[i] + sz * _F(0.35)
            else:
                lift = _F(0.03) + _F(0.0006) * depth[i]
                ox, oy, oz = wx[i] + a * lift, wy[i] + b * lift, wz[i] + c * lift
            cosine = max(cosine, zero) if shining else zero
            x, y = v00 * ox + v01 * oy + v02 * oz, v10 * ox + v11 * oy + v12 * oz
            p, q = x * near_k + near_x, y * near_k + near_y
            outside |= 0 if (p > one) & (q > one) & (p < border) & (q < border) else 1
            sunny |= 1 if cosine > zero else 0
            low |= 1 if wz[i] < _F(0.4) else 0
            across[k], along[k], slope[k] = x, y, cosine
            level[k] = v23 - (v20 * ox + v21 * oy + v22 * oz)
        if sunny:
            for k in range(count):
                near_share = _lit(near, across[k] * near_k + near_x, along[k] * near_k + near_y, level[k] + _F(0.02))
                lit[np.uint64(first + k)] = near_share
            if outside:
                for k in range(count):
                    i = np.uint64(first + k)
                    p, q = across[k] * near_k + near_x, along[k] * near_k + near_y
                    coarse = _lit(far, across[k] * far_k + far_x, along[k] * far_k + far_y, level[k] + _F(0.35))
                    lit[i] = lit[i] if (p > one) & (q > one) & (p < border) & (q < border) else coarse
            for k in range(count):
                i = np.uint64(first + k)
                share = _lit(moving, across[k] * move_k + move_x, along[k] * move_k + move_y, level[k] + _F(0.02))
                lit[i] = min(lit[i], share) if slope[k] > zero else zero
        else:
            lit[first : first + count] = zero
        for k in range(count):
            i = np.uint64(first + k)
            c = nz[i]
            open_sky = half + half * c
            if leaves:
                open_sky = (_F(0.35) + _F(0.4) * open_sky) * looks[np.uint32(slots[i]), 0]
            below = half - half * c
            direct = lit[i] * slope[k]
            level[k] = open_sky
            red[i] = sun_r * direct + ground_r * below
            green[i] = sun_g * direct + ground_g * below
            blue[i] = sun_b * direct + ground_b * below
        if low and not leaves:  # less light beside and beneath vehicles
            for k in range(count):
                i = np.uint64(first + k)
                z = wz[i]
                column, row = (wx[i] - contact_x) * contact_k - half, (wy[i] - contact_y) * contact_k - half
                known = (column >= zero) & (row >= zero) & (column < wide) & (row < tall) & (z < _F(0.4))
                left, above = min(max(np.floor(column), zero), wide), min(max(np.floor(row), zero), tall)
                dx, dy = column - left, row - above
                h, m = np.uint32(np.int32(left)), np.uint32(np.int32(above))
                right, under = np.uint32(h + 1), np.uint32(m + 1)
                upper = contact[m, h] + (contact[m, right] - contact[m, h]) * dx
                lower = contact[under, h] + (contact[under, right] - contact[under, h]) * dx
                dark = (upper + (lower - upper) * dy) * max(zero, one - z * _F(2.5))
                level[k] *= one - dark if known else one
        for k in range(count):
            i = np.uint64(first + k)
            red[i] += sky_r * level[k]
            green[i] += sky_g * level[k]
            blue[i] += sky_b * level[k]


def daylight(
    span: tuple[int, int],
    leaves: bool,
    light: npt.NDArray[np.float64],
    shadows: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float64]],
    contact: tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]],
    slots: npt.NDArray[np.int32],
    looks: npt.NDArray[np.float32],
    places: tuple[Column, ...],
    out: tuple[Column, Column, Column, Column],
) -> None:
    """Light that falls on fragments from sun, sky and ground.

    Args:
        span: fragments.
        leaves: whether they are leaves.
        light: the light vector.
        shadows: near, moving and far shadow maps and the (6, 4) view of them.
        contact: (h, w) darkening beside vehicles, and x, y, cells per metre.
        slots: (N,) rows of ``looks``, whose first column tells leaves how open the crown is there.
        looks: as above.
        places: depth (m), unit normal (3) and position (3, m) in the world.
        out: written: share of sunlight 0 ... 1; red, green and blue light.
    """
    _daylight(span[0], span[1], leaves, light, *shadows, *contact, slots, looks, *places, *out)


@vector_kernel(
    "void(int64, int64, boolean, float64[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1], float32[::1])"
)
def _add_lamp(start, stop, leaves, lamp, nx, ny, nz, wx, wy, wz, red, green, blue):  # type: ignore[no-untyped-def]
    headlight = lamp[7] > 0.5
    x, y, z, r, g, b, reach = lamp[0], lamp[1], lamp[2], lamp[3], lamp[4], lamp[5], lamp[6]
    ahead_x, ahead_y = lamp[8], lamp[9]
    # counted from 0, or LLVM takes the sums for dependent on one another
    nx, ny, nz, wx, wy, wz = (
        nx[start:stop], ny[start:stop], nz[start:stop], wx[start:stop], wy[start:stop], wz[start:stop],
    )  # fmt: skip
    red, green, blue = red[start:stop], green[start:stop], blue[start:stop]
    for i in range(stop - start):
        ex, ey, ez = x - wx[i], y - wy[i], z - wz[i]
        square = ex * ex + ey * ey + ez * ez + 0.3
        inverse = 1.0 / np.sqrt(square)
        aim = (nx[i] * ex + ny[i] * ey + nz[i] * ez) * inverse
        aim = 0.4 + 0.4 * aim if leaves else aim
        if headlight:  # brightest straight ahead and just below the horizon
            ahead = max(0.0, (-(ahead_x * ex + ahead_y * ey) * inverse - 0.80) * 5.0)
            cone = ahead * ahead * min(1.0, max(0.04, ez * inverse * 16.0 + 1.0))
        else:
            cone = min(1.0, max(0.0, ez * inverse * 1.6 - 0.1))
        power = max(aim, 0.0) * cone * inverse * inverse * max(0.0, 1.0 - square * inverse / reach)
        red[i] += r * power
        green[i] += g * power
        blue[i] += b * power


def add_lamp(
    span: tuple[int, int],
    leaves: bool,
    lamp: npt.NDArray[np.float64],
    places: tuple[Column, ...],
    light: tuple[Column, Column, Column],
) -> None:
    """Adds one lamp's light.

    Args:
        span: fragments.
        leaves: whether they are leaves.
        lamp: (10,) position (m), colour, reach (m), 1 for a headlight, its direction on the ground.
        places: unit normal (3) and position (3, m) in the world.
        light: red, green, blue, added to.
    """
    _add_lamp(span[0], span[1], leaves, lamp, *places, *light)


@vector_kernel(
    "void(int64, int64, float64[::1], float64[:,::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1])"
)
def _finish(  # type: ignore[no-untyped-def]
    start, stop, light, camera_world, wx, wy, wz, light_r, light_g, light_b, red, green, blue, out_r, out_g, out_b
):
    fog, fog_r, fog_g, fog_b = _F(light[_FOG]), _F(light[_FOG_RGB]), _F(light[_FOG_RGB + 1]), _F(light[_FOG_RGB + 2])
    cx, cy, cz = _F(camera_world[0, 3]), _F(camera_world[1, 3]), _F(camera_world[2, 3])
    one = _F(1.0)
    for n in range(start, stop):
        i = np.uint64(n)
        x, y, z = wx[i] - cx, wy[i] - cy, wz[i] - cz
        clear = _fall(fog * np.sqrt(x * x + y * y + z * z))
        out_r[i] = red[i] * light_r[i] * clear + fog_r * (one - clear)
        out_g[i] = green[i] * light_g[i] * clear + fog_g * (one - clear)
        out_b[i] = blue[i] * light_b[i] * clear + fog_b * (one - clear)


def finish(
    span: tuple[int, int],
    light: npt.NDArray[np.float64],
    camera_world: npt.NDArray[np.float64],
    places: tuple[Column, Column, Column],
    falling: tuple[Column, Column, Column],
    colours: tuple[Column, Column, Column],
    out: tuple[Column, Column, Column],
) -> None:
    """What matt fragments send to the camera.

    Args:
        span: fragments.
        light: the light vector.
        camera_world: (3, 4) camera points to the world.
        places: position in the world, m.
        falling: red, green, blue light.
        colours: albedo.
        out: written: red, green, blue.
    """
    _finish(span[0], span[1], light, camera_world, *places, *falling, *colours, *out)


@vector_kernel(
    "void(int64, int64, boolean, float64[::1], float64[:,::1], float32[:,::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1])"
)
def _finish_glossy(  # type: ignore[no-untyped-def]
    start, stop, polished, light, camera_world, mirrored, nx, ny, nz, wx, wy, wz, lit, light_r, light_g, light_b,
    red, green, blue, gloss, mirror, glow_r, glow_g, glow_b, out_r, out_g, out_b,
):  # fmt: skip
    fog, fog_r, fog_g, fog_b = _F(light[_FOG]), _F(light[_FOG_RGB]), _F(light[_FOG_RGB + 1]), _F(light[_FOG_RGB + 2])
    cx, cy, cz = _F(camera_world[0, 3]), _F(camera_world[1, 3]), _F(camera_world[2, 3])
    sx, sy, sz = _F(light[0]), _F(light[1]), _F(light[2])
    sun_r, sun_g, sun_b = (
        _F(0.5 * light[_SUN_RGB]), _F(0.5 * light[_SUN_RGB + 1]), _F(0.5 * light[_SUN_RGB + 2]),
    )  # fmt: skip
    street_r = _F(0.16 * (0.7 * light[_SKY_RGB] + 0.30 * light[_SUN_RGB]))
    street_g = _F(0.16 * (0.7 * light[_SKY_RGB + 1] + 0.30 * light[_SUN_RGB + 1]))
    street_b = _F(0.16 * (0.7 * light[_SKY_RGB + 2] + 0.30 * light[_SUN_RGB + 2]))
    spark = _F(6.0) if polished else _F(0.0)
    zero, one, two, middle = _F(0.0), _F(1.0), _F(2.0), _F(0.5 * (MIRROR_SIZE - 1))
    most = _F(MIRROR_SIZE - 1.001)
    for n in range(start, stop):
        i = np.uint64(n)
        x, y, z = wx[i] - cx, wy[i] - cy, wz[i] - cz
        distance = np.sqrt(x * x + y * y + z * z)
        inverse = one / distance
        a, b, c = nx[i], ny[i], nz[i]
        facing = -(a * x + b * y + c * z) * inverse
        rx, ry, rz = x * inverse + two * facing * a, y * inverse + two * facing * b, z * inverse + two * facing * c
        shiny = gloss[i]
        # Schlick's reflectance for a coat or pane of index 1.5
        side = max(zero, one - abs(facing))
        square = side * side
        fresnel = _F(0.04) + _F(0.96) * square * square * side
        amount = min(shiny * (fresnel * (one + _F(0.7) * mirror[i]) + _F(0.02)), one)
        # the upper half of an octahedron, unfolded to a square
        scale = middle / (abs(rx) + abs(ry) + max(rz, zero) + _F(1e-9))
        u, v = (rx + ry) * scale + middle, (rx - ry) * scale + middle
        column = np.floor(min(max(u, zero), most))
        row = np.floor(min(max(v, zero), most))
        u, v = u - column, v - row
        place = np.uint32(np.int32(row) * np.int32(MIRROR_SIZE) + np.int32(column))
        right, below = np.uint32(place + 1), np.uint32(place + MIRROR_SIZE)
        corner = np.uint32(below + 1)
        w0, w1, w2, w3 = (one - u) * (one - v), u * (one - v), (one - u) * v, u * v
        r = mirrored[0, place] * w0 + mirrored[0, right] * w1 + mirrored[0, below] * w2 + mirrored[0, corner] * w3
        g = mirrored[1, place] * w0 + mirrored[1, right] * w1 + mirrored[1, below] * w2 + mirrored[1, corner] * w3
        b = mirrored[2, place] * w0 + mirrored[2, right] * w1 + mirrored[2, below] * w2 + mirrored[2, corner] * w3
        r = r if rz > zero else street_r
        g = g if rz > zero else street_g
        b = b if rz > zero else street_b
        # highlights: powers 60 and 600 of the cosine; what is too weak to see is kept from underflowing, which is slow
        shine = max(_F(0.3), rx * sx + ry * sy + rz * sz)
        p4 = shine * shine * shine * shine
        p8 = p4 * p4
        p16 = p8 * p8
        wide = p16 * p16 * p16 * p8 * p4
        core = max(_F(0.89), shine)
        p8 = core * core * core * core
        p8 *= p8
        p16 = p8 * p8
        p64 = p16 * p16
        p64 *= p64
        p512 = p64 * p64
        p512 *= p512
        p512 *= p512
        sparkle = lit[i] * (_F(0.9) * wide + spark * p512 * p64 * p16 * p8) * shiny
        clear = _fall(fog * distance)
        r = red[i] * light_r[i] * (one - amount) + r * amount + sun_r * sparkle + glow_r[i]
        g = green[i] * light_g[i] * (one - amount) + g * amount + sun_g * sparkle + glow_g[i]
        b = blue[i] * light_b[i] * (one - amount) + b * amount + sun_b * sparkle + glow_b[i]
        out_r[i] = r * clear + fog_r * (one - clear)
        out_g[i] = g * clear + fog_g * (one - clear)
        out_b[i] = b * clear + fog_b * (one - clear)


def finish_glossy(
    span: tuple[int, int],
    polished: bool,
    light: npt.NDArray[np.float64],
    camera_world: npt.NDArray[np.float64],
    mirrored: npt.NDArray[np.float32],
    places: tuple[Column, ...],
    falling: tuple[Column, Column, Column, Column],
    colours: tuple[Column, ...],
    out: tuple[Column, Column, Column],
) -> None:
    """What fragments that mirror or shine send to the camera.

    Args:
        span: fragments.
        polished: whether highlights have a sharp core.
        light: the light vector.
        camera_world: (3, 4) camera points to the world.
        mirrored: (3, ``MIRROR_SIZE`` squared) surroundings above the horizon: direction (x, y, z) lies in column
            ((x + y) / n + 1) / 2 and row ((x - y) / n + 1) / 2 of the map's last index, with n = abs(x) + abs(y) + z.
        places: unit normal (3) and position (3, m) in the world.
        falling: share of sunlight; red, green, blue light.
        colours: albedo (3), gloss, mirror, emission (3).
        out: written: red, green, blue.
    """
    _finish_glossy(span[0], span[1], polished, light, camera_world, mirrored, *places, *falling, *colours, *out)
