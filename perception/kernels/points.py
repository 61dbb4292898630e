"""Operations on point clouds: boxes they lie in, ground, and voxels.

Points are (P, C) float32 with x, y, z in the first three columns, metres. Points that are not finite belong to nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["ground_mask", "points_in_boxes", "voxel_means"]

Float32Array = npt.NDArray[np.float32]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


def points_in_boxes(points: npt.ArrayLike, boxes: npt.ArrayLike) -> Int32Array:
    """The box that each point lies in.

    Args:
        points: (P, C) with C >= 3.
        boxes: (N, 7) upright boxes x, y, z, length, width, height, yaw; faces belong to the box.

    Returns:
        (P,) i32 first box by row, -1 for none.

    Raises:
        ValueError: a shape is wrong.
    """
    cloud = _cloud(points)
    rows = as_array("boxes", boxes, np.float64, (None, 7))
    result: Int32Array = _points_in_boxes(cloud, rows)
    return result


def voxel_means(points: npt.ArrayLike, voxel_m: float) -> tuple[Float32Array, Int64Array, Int64Array]:
    """Groups points into cubes.

    Args:
        points: (P, C) with C >= 3; every column is averaged.
        voxel_m: edge of a cube, whose corners lie at multiples of it.

    Returns:
        (V, C) f32 means, (V,) counts, and (P,) the voxel of each point or -1; voxels in the order of first occurrence.

    Raises:
        ValueError: the shape is wrong or ``voxel_m`` is not positive.
    """
    if not (voxel_m > 0.0 and np.isfinite(voxel_m)):
        raise ValueError(f"voxel_m must be positive but got {voxel_m}")
    means, counts, voxel_of_point = _voxel_means(_cloud(points), float(voxel_m))
    return means, counts, voxel_of_point


def ground_mask(
    points: npt.ArrayLike,
    *,
    cell_m: float = 1.0,
    max_range_m: float = 80.0,
    max_slope: float = 0.15,
    thickness_m: float = 0.2,
    sensor_height_m: float = 0.0,
) -> npt.NDArray[np.bool_]:
    """Points on the ground, which may rise and fall, by the lowest point of each cell.

    Cells are swept outwards from the vehicle in rings; a cell's ground is its lowest point where that lies within
    ``max_slope`` of its inner neighbours' ground, and theirs carried on where it does not (a car's roof is no ground).

    Args:
        points: (P, C) in a frame with z up.
        cell_m: edge of a cell.
        max_range_m: points further off are no ground.
        max_slope: rise over run that a road may have.
        thickness_m: points this far above a cell's ground still belong to it.
        sensor_height_m: of the frame's origin above ground, where the sweep starts.

    Returns:
        (P,) bool.

    Raises:
        ValueError: the shape is wrong or a length is not positive.
    """
    for name, value in (("cell_m", cell_m), ("max_range_m", max_range_m), ("thickness_m", thickness_m)):
        if not value > 0.0:
            raise ValueError(f"{name} must be positive but got {value}")
    result: npt.NDArray[np.bool_] = _ground_mask(
        _cloud(points), float(cell_m), float(max_range_m), float(max_slope), float(thickness_m), -float(sensor_height_m)
    )
    return result


def _cloud(points: npt.ArrayLike) -> Float32Array:
    cloud: Float32Array = as_array("points", points, np.float32, (None, None))
    if cloud.shape[1] < 3:
        raise ValueError(f"points must be (P, C) with C >= 3 but got shape {cloud.shape}")
    return cloud


@njit("int32[::1](float32[:, ::1], float64[:, ::1])", cache=True, nogil=True)
def _points_in_boxes(points, boxes):  # type: ignore[no-untyped-def]
    out = np.full(points.shape[0], -1, np.int32)
    for n in range(boxes.shape[0] - 1, -1, -1):
        box = boxes[n]
        cosine, sine = np.cos(box[6]), np.sin(box[6])
        half_l, half_w, half_h = 0.5 * box[3], 0.5 * box[4], 0.5 * box[5]
        reach = half_l + half_w
        for i in range(points.shape[0]):
            dx, dy = points[i, 0] - box[0], points[i, 1] - box[1]
            if not (abs(dx) <= reach and abs(dy) <= reach):
                continue
            along, across = cosine * dx + sine * dy, cosine * dy - sine * dx
            if abs(along) <= half_l and abs(across) <= half_w and abs(points[i, 2] - box[2]) <= half_h:
                out[i] = n
    return out


@njit("Tuple((float32[:, ::1], int64[::1], int64[::1]))(float32[:, ::1], float64)", cache=True, nogil=True)
def _voxel_means(points, edge):  # type: ignore[no-untyped-def]
    count, columns = points.shape
    capacity = 16
    while capacity < 2 * count:
        capacity *= 2
    # open addressing: the voxel in each slot, and the cube of each voxel
    slots = np.full(capacity, -1, np.int64)
    cubes = np.empty((count, 3), np.int64)
    sums = np.zeros((count, columns))
    counts = np.zeros(count, np.int64)
    voxel_of_point = np.full(count, -1, np.int64)
    found = 0
    for i in range(count):
        x, y, z = points[i, 0] / edge, points[i, 1] / edge, points[i, 2] / edge
        if not (abs(x) < 2.0**40 and abs(y) < 2.0**40 and abs(z) < 2.0**40):
            continue
        a, b, c = np.int64(np.floor(x)), np.int64(np.floor(y)), np.int64(np.floor(z))
        slot = (a * 73856093 ^ b * 19349663 ^ c * 83492791) & (capacity - 1)
        while True:
            voxel = slots[slot]
            if voxel < 0:
                voxel = found
                slots[slot] = voxel
                cubes[voxel, 0], cubes[voxel, 1], cubes[voxel, 2] = a, b, c
                found += 1
                break
            if cubes[voxel, 0] == a and cubes[voxel, 1] == b and cubes[voxel, 2] == c:
                break
            slot = (slot + 1) & (capacity - 1)
        for k in range(columns):
            sums[voxel, k] += points[i, k]
        counts[voxel] += 1
        voxel_of_point[i] = voxel
    means = np.empty((found, columns), np.float32)
    for voxel in range(found):
        for k in range(columns):
            means[voxel, k] = sums[voxel, k] / counts[voxel]
    return means, counts[:found].copy(), voxel_of_point


@njit("boolean[::1](float32[:, ::1], float64, float64, float64, float64, float64)", cache=True, nogil=True)
def _ground_mask(points, cell, max_range, max_slope, thickness, start):  # type: ignore[no-untyped-def]
    half = int(np.ceil(max_range / cell))
    size = 2 * half + 1
    lowest = np.full((size, size), np.inf)
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        if not (abs(x) <= max_range and abs(y) <= max_range and np.isfinite(z)):
            continue
        u, v = int(np.floor(x / cell + 0.5)) + half, int(np.floor(y / cell + 0.5)) + half
        if 0 <= u < size and 0 <= v < size:
            lowest[u, v] = min(lowest[u, v], z)
    ground = np.full((size, size), start)
    step = max_slope * cell
    for ring in range(half + 1):
        for u in range(half - ring, half + ring + 1):
            edge = u == half - ring or u == half + ring
            for v in range(half - ring, half + ring + 1, 1 if edge else max(2 * ring, 1)):
                # the neighbour one ring further in, towards the vehicle
                inner_u = half + int(np.round((u - half) * (ring - 1) / ring)) if ring else half
                inner_v = half + int(np.round((v - half) * (ring - 1) / ring)) if ring else half
                expected = ground[inner_u, inner_v]
                ground[u, v] = expected
                if abs(lowest[u, v] - expected) <= step + thickness:
                    ground[u, v] = min(max(lowest[u, v], expected - 2.0 * step), expected + 2.0 * step)
    out = np.zeros(points.shape[0], np.bool_)
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        if not (abs(x) <= max_range and abs(y) <= max_range and np.isfinite(z)):
            continue
        u, v = int(np.floor(x / cell + 0.5)) + half, int(np.floor(y / cell + 0.5)) + half
        if 0 <= u < size and 0 <= v < size:
            out[i] = abs(z - ground[u, v]) <= thickness
    return out
