"""Where fragments lie: what is affine on a triangle becomes affine in camera coordinates, then is read per fragment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from sim_data.kernels.simd import vector_kernel

__all__ = ["LOOKS", "interpolate", "localise", "place_triangles"]

_F = np.float32
LOOKS = 11  # two parameters of the triangle, two colours, seed, lamps, whether it faces both sides


@njit(
    "void(int64, int32[::1], int32[:,::1], float64[:,::1], float32[:,::1], uint8[::1], float32[:,::1], uint8[::1], "
    "float64[:,:,::1], float64[:,::1], float64[:,:,::1], float64[:,::1], float64[:,::1], float32[:,::1], "
    "float32[:,::1], float32[:,::1], float32[:,::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _place(  # type: ignore[no-untyped-def]
    count, triangles, sources, planes, attributes, materials, pars, faces, inverses, view_t, rotations, looks, near,
    uv, normals, local, appearance,
):  # fmt: skip
    slopes = np.empty((3, 3))
    for slot in range(count):
        row = triangles[slot]
        triangle, placed = sources[row, 0], sources[row, 1]
        for c in range(3):
            near[slot, c] = planes[row, 9 + c]
        tx, ty, tz = view_t[placed, 0], view_t[placed, 1], view_t[placed, 2]
        for c in range(3):
            shift = 0.0
            for k in range(3):
                factor = inverses[placed, c, k]
                local[slot, 4 * c + k] = factor
                shift -= factor * (tx if k == 0 else (ty if k == 1 else tz))
            local[slot, 4 * c + 3] = shift
        for f in range(2):
            base = 12 + 4 * f
            shift = np.float64(attributes[triangle, base + 3])
            for k in range(3):
                total = 0.0
                for c in range(3):
                    total += attributes[triangle, base + c] * inverses[placed, c, k]
                uv[slot, 4 * f + k] = total
                shift -= total * (tx if k == 0 else (ty if k == 1 else tz))
            uv[slot, 4 * f + 3] = shift
        # normals: world from camera coordinates
        for d in range(3):
            for k in range(3):
                slope = 0.0
                for e in range(3):
                    slope += attributes[triangle, 4 * d + e] * inverses[placed, e, k]
                slopes[d, k] = slope
        for c in range(3):
            shift = 0.0
            for d in range(3):
                shift += rotations[placed, c, d] * attributes[triangle, 4 * d + 3]
            for k in range(3):
                total = 0.0
                for d in range(3):
                    total += rotations[placed, c, d] * slopes[d, k]
                normals[slot, 4 * c + k] = total
                shift -= total * (tx if k == 0 else (ty if k == 1 else tz))
            normals[slot, 4 * c + 3] = shift
        appearance[slot, 0], appearance[slot, 1] = pars[triangle, 0], pars[triangle, 1]
        for c in range(8):
            appearance[slot, 2 + c] = looks[placed, c]
        appearance[slot, 10] = faces[materials[triangle]]


def place_triangles(
    count: int,
    triangles: npt.NDArray[np.int32],
    sources: npt.NDArray[np.int32],
    planes: npt.NDArray[np.float64],
    meshes: tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.uint8]],
    placed: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]],
    out: tuple[
        npt.NDArray[np.float64],
        npt.NDArray[np.float32],
        npt.NDArray[np.float32],
        npt.NDArray[np.float32],
        npt.NDArray[np.float32],
    ],
) -> None:
    """Writes tables of the first ``count`` triangles, all as functions of a point in camera coordinates, m.

    Args:
        count: how many.
        triangles: (M,) rows of ``planes``; ``sources`` and ``planes`` from the rasteriser.
        sources: as above.
        planes: as above.
        meshes: attributes, materials, parameters of all mesh triangles; per material whether it faces both sides.
        placed: per placed mesh: inverses (local from camera, linear), camera_t_local, world_R_local, looks.
        out: written: (M, 3) inverse depth over samples; (M, 8) u and v; (M, 12) world normal; (M, 12) local position;
            (M, ``LOOKS``) parameters and looks.
    """
    _place(count, triangles, sources, planes, *meshes, *placed, *out)


@vector_kernel(
    "void(int64, int64, float64[::1], float64[:,::1], int32[::1], float32[::1], float32[::1], float64[:,::1], "
    "float32[:,::1], float32[:,::1], float32[:,::1], float32[::1], float32[::1], float32[::1], float32[::1], "
    "float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1], float32[::1])"
)
def _interpolate(  # type: ignore[no-untyped-def]
    start, stop, camera, camera_world, slots, columns, rows, near, uv, normals, appearance, depth, u, v, fu, fv,
    footprint, nx, ny, nz, wx, wy, wz,
):  # fmt: skip
    cx, cy = 2 * camera[2] + 1, 2 * camera[3] + 1
    half_x, half_y = 0.5 / camera[0], 0.5 / camera[1]
    # depth is found in 64 bits, since it differs by little between samples; 32 are enough for what follows from it
    fx, fy = _F(1.0 / camera[0]), _F(1.0 / camera[1])
    r00, r01, r02, t0 = _F(camera_world[0, 0]), _F(camera_world[0, 1]), _F(camera_world[0, 2]), _F(camera_world[0, 3])
    r10, r11, r12, t1 = _F(camera_world[1, 0]), _F(camera_world[1, 1]), _F(camera_world[1, 2]), _F(camera_world[1, 3])
    r20, r21, r22, t2 = _F(camera_world[2, 0]), _F(camera_world[2, 1]), _F(camera_world[2, 2]), _F(camera_world[2, 3])
    for n in range(start, stop):
        i = np.uint64(n)
        t = np.uint32(slots[i])
        column, row = np.float64(columns[i]), np.float64(rows[i])
        along_x, along_y = near[t, 0], near[t, 1]
        z = _F(1.0 / max(along_x * column + along_y * row + near[t, 2], 1e-4))
        dx, dy = _F((column - cx) * half_x), _F((row - cy) * half_y)
        px, py = dx * z, dy * z
        # how the point moves per pixel to the right and down, on the surface's plane
        square = _F(-2.0) * z * z
        slope_x, slope_y = _F(along_x) * square, _F(along_y) * square
        ax, ay, az = z * fx + dx * slope_x, dy * slope_x, slope_x
        bx, by, bz = dx * slope_y, z * fy + dy * slope_y, slope_y
        gx, gy, gz = uv[t, 0], uv[t, 1], uv[t, 2]
        u[i] = gx * px + gy * py + gz * z + uv[t, 3]
        wide = min(abs(gx * ax + gy * ay + gz * az) + abs(gx * bx + gy * by + gz * bz), _F(1e3)) + _F(1e-9)
        gx, gy, gz = uv[t, 4], uv[t, 5], uv[t, 6]
        v[i] = gx * px + gy * py + gz * z + uv[t, 7]
        tall = min(abs(gx * ax + gy * ay + gz * az) + abs(gx * bx + gy * by + gz * bz), _F(1e3)) + _F(1e-9)
        fu[i], fv[i] = wide, tall
        footprint[i] = np.sqrt(wide * tall)
        a = normals[t, 0] * px + normals[t, 1] * py + normals[t, 2] * z + normals[t, 3]
        b = normals[t, 4] * px + normals[t, 5] * py + normals[t, 6] * z + normals[t, 7]
        c = normals[t, 8] * px + normals[t, 9] * py + normals[t, 10] * z + normals[t, 11]
        ex = r00 * px + r01 * py + r02 * z
        ey = r10 * px + r11 * py + r12 * z
        ez = r20 * px + r21 * py + r22 * z
        length = _F(1.0) / (np.sqrt(a * a + b * b + c * c) + _F(1e-12))
        away = a * ex + b * ey + c * ez > _F(0.0)
        length = -length if away & (appearance[t, 10] > _F(0.0)) else length
        nx[i], ny[i], nz[i] = a * length, b * length, c * length
        depth[i] = z
        wx[i], wy[i], wz[i] = ex + t0, ey + t1, ez + t2


def interpolate(
    span: tuple[int, int],
    camera: npt.NDArray[np.float64],
    camera_world: npt.NDArray[np.float64],
    slots: npt.NDArray[np.int32],
    columns: npt.NDArray[np.float32],
    rows: npt.NDArray[np.float32],
    tables: tuple[npt.NDArray[np.float64], npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]],
    out: tuple[npt.NDArray[np.float32], ...],
) -> None:
    """Where fragments ``span[0] <= i < span[1]`` lie on their surfaces.

    Args:
        span: first fragment and one past the last; none of them sky.
        camera: (4,) fx, fy, cx, cy in pixels.
        camera_world: (3, 4) camera points to the world.
        slots: (N,) triangles; ``columns`` and ``rows`` (N,) samples.
        columns: as above.
        rows: as above.
        tables: inverse depth, u and v, normals, looks from ``place_triangles``.
        out: written, (N,) each: depth (m), u, v, the pixel's extent in u and v and their geometric mean, unit normal
            (3) and position (3) in the world.
    """
    _interpolate(span[0], span[1], camera, camera_world, slots, columns, rows, *tables, *out)


@vector_kernel(
    "void(int64, int64, float64[::1], int32[::1], float32[::1], float32[::1], float32[::1], float32[:,::1], "
    "float32[::1], float32[::1], float32[::1])"
)
def _localise(start, stop, camera, slots, columns, rows, depth, local, lx, ly, lz):  # type: ignore[no-untyped-def]
    fx, fy = 0.5 / camera[0], 0.5 / camera[1]
    cx, cy = 2 * camera[2] + 1, 2 * camera[3] + 1
    for n in range(start, stop):
        i = np.uint64(n)
        t = np.uint32(slots[i])
        z = np.float64(depth[i])
        x, y = (columns[i] - cx) * fx * z, (rows[i] - cy) * fy * z
        lx[i] = local[t, 0] * x + local[t, 1] * y + local[t, 2] * z + local[t, 3]
        ly[i] = local[t, 4] * x + local[t, 5] * y + local[t, 6] * z + local[t, 7]
        lz[i] = local[t, 8] * x + local[t, 9] * y + local[t, 10] * z + local[t, 11]


def localise(
    span: tuple[int, int],
    camera: npt.NDArray[np.float64],
    slots: npt.NDArray[np.int32],
    columns: npt.NDArray[np.float32],
    rows: npt.NDArray[np.float32],
    depth: npt.NDArray[np.float32],
    local: npt.NDArray[np.float32],
    out: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.float32]],
) -> None:
    """Positions of fragments in their meshes' own frames, m; arguments as in ``interpolate``."""
    _localise(span[0], span[1], camera, slots, columns, rows, depth, local, *out)
