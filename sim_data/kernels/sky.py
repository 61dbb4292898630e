"""The sky, seen directly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim_data.kernels.simd import vector_kernel

__all__ = ["sky", "sky_points"]

Column = npt.NDArray[np.float32]
# indices into the light vector
_SUN_RGB, _SKY_RGB, _HORIZON_RGB, _FOG, _FOG_RGB, _CLOUDS, _CLOUD_U, _CLOUD_V = 3, 6, 9, 15, 16, 19, 23, 24


@vector_kernel(
    "void(int64, int64, float64[::1], float64[:,::1], float64[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1], float32[::1], float32[::1])"
)
def _sky_points(start, stop, camera, camera_world, light, columns, rows, nx, ny, nz, u, v, footprint):  # type: ignore[no-untyped-def]
    fx, fy = 0.5 / camera[0], 0.5 / camera[1]
    cx, cy = 2 * camera[2] + 1, 2 * camera[3] + 1
    r00, r01, r02 = camera_world[0, 0], camera_world[0, 1], camera_world[0, 2]
    r10, r11, r12 = camera_world[1, 0], camera_world[1, 1], camera_world[1, 2]
    r20, r21, r22 = camera_world[2, 0], camera_world[2, 1], camera_world[2, 2]
    shift_u, shift_v = light[_CLOUD_U], light[_CLOUD_V]
    for n in range(start, stop):
        i = np.uint64(n)
        x, y = (columns[i] - cx) * fx, (rows[i] - cy) * fy
        length = 1.0 / np.sqrt(x * x + y * y + 1.0)
        dx = (r00 * x + r01 * y + r02) * length
        dy = (r10 * x + r11 * y + r12) * length
        dz = (r20 * x + r21 * y + r22) * length
        up = max(dz, 0.0)
        nx[i], ny[i], nz[i] = dx, dy, dz
        u[i] = dx / (up + 0.12) * 0.11 + shift_u
        v[i] = dy / (up + 0.12) * 0.11 + shift_v
        footprint[i] = 0.0006 / (up + 0.05)


def sky_points(
    span: tuple[int, int],
    camera: npt.NDArray[np.float64],
    camera_world: npt.NDArray[np.float64],
    light: npt.NDArray[np.float64],
    columns: Column,
    rows: Column,
    out: tuple[Column, ...],
) -> None:
    """Where samples of the sky look up clouds.

    Args:
        span: fragments.
        camera: (4,) fx, fy, cx, cy in pixels.
        camera_world: (3, 4) camera points to the world.
        light: the light vector.
        columns: (N,) samples; ``rows`` (N,) likewise.
        rows: as above.
        out: written: unit direction in the world (3), texture coordinates of the clouds and the pixel's extent there.
    """
    _sky_points(span[0], span[1], camera, camera_world, light, columns, rows, *out)


@vector_kernel(
    "void(int64, int64, float64[::1], float64, float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1])"
)
def _sky(start, stop, light, reach, nx, ny, nz, broads, fines, red, green, blue):  # type: ignore[no-untyped-def]
    sx, sy, sz = light[0], light[1], light[2]
    sun_r, sun_g, sun_b = light[_SUN_RGB], light[_SUN_RGB + 1], light[_SUN_RGB + 2]
    zenith_r, zenith_g, zenith_b = light[_SKY_RGB], light[_SKY_RGB + 1], light[_SKY_RGB + 2]
    low_r, low_g, low_b = light[_HORIZON_RGB], light[_HORIZON_RGB + 1], light[_HORIZON_RGB + 2]
    threshold = 0.95 - light[_CLOUDS]
    strength = 3.2 if light[_CLOUDS] > 0.0 else 0.0
    # thin mist does not reach the sky
    clear = np.exp(-light[_FOG] * reach) if light[_FOG] > 0.002 else 1.0
    mist_r, mist_g, mist_b = (
        light[_FOG_RGB] * (1 - clear),
        light[_FOG_RGB + 1] * (1 - clear),
        light[_FOG_RGB + 2] * (1 - clear),
    )
    gain = 1.55 * clear
    for n in range(start, stop):
        i = np.uint64(n)
        dz = np.float64(nz[i])
        side = 1.0 - max(dz, 0.0)
        square = side * side
        blend = 1.0 - square * square * side
        sun = max(0.0, nx[i] * sx + ny[i] * sy + dz * sz)
        two = sun * sun
        four = two * two
        eight = four * four
        glow = (0.35 * eight * eight * eight + 0.12 * four * sun) * 0.6
        density = 0.65 * broads[i] + 0.35 * fines[i] - threshold
        cloud = min(1.0, max(0.0, density * strength)) * min(1.0, max(0.0, dz * 14.0))
        cloud = cloud if dz > 0.01 else 0.0
        dim = 1.0 - 0.35 * cloud * (1.0 - sun)
        open_ = 1.0 - cloud
        r = low_r * (1 - blend) + zenith_r * blend + sun_r * glow
        g = low_g * (1 - blend) + zenith_g * blend + sun_g * glow
        b = low_b * (1 - blend) + zenith_b * blend + sun_b * glow
        red[i] = gain * (r * open_ + (low_r * 0.75 + sun_r * 0.16) * dim * cloud) + mist_r
        green[i] = gain * (g * open_ + (low_g * 0.75 + sun_g * 0.16) * dim * cloud) + mist_g
        blue[i] = gain * (b * open_ + (low_b * 0.75 + sun_b * 0.16) * dim * cloud) + mist_b


def sky(
    span: tuple[int, int],
    light: npt.NDArray[np.float64],
    reach_m: float,
    directions: tuple[Column, Column, Column],
    textures: tuple[Column, Column],
    out: tuple[Column, Column, Column],
) -> None:
    """Colour of the sky through ``reach_m`` of fog; textures: broad and fine clouds; out: red, green, blue."""
    _sky(span[0], span[1], light, reach_m, *directions, *textures, *out)
