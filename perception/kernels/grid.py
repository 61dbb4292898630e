"""Votes of pixels and points for the cells of a bird's-eye grid."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["vote_ground", "vote_obstacle_feet", "vote_points"]

UNKNOWN = 255


@njit("void(u1[:,:,::1], u1[:,::1], i8, i8, u1, i8)", cache=True, nogil=True, inline="always")
def _vote(votes, best, row, column, class_id, weight):  # type: ignore[no-untyped-def]
    # as an integer of its own, which does not wrap at 255
    count = int(votes[row, column, class_id]) + weight
    if count > 255:
        # halving keeps the shares and lets a changed world win in time
        for k in range(votes.shape[2]):
            votes[row, column, k] >>= 1
        count = int(votes[row, column, class_id]) + weight
    votes[row, column, class_id] = count
    leader = best[row, column]
    if leader == 255 or count > votes[row, column, leader]:
        best[row, column] = class_id


@njit(
    "void(u1[:,::1], i4[:,::1], f4[:,::1], b1[::1], f8, f8, f8, f8, f8, u1[:,:,::1], u1[:,::1], i8)",
    cache=True,
    nogil=True,
)
def _vote_ground(class_ids, pixels, ego_xy, is_ground, cosine, sine, shift_x, shift_y, cell_m, votes, best, weight):  # type: ignore[no-untyped-def]
    for i in range(pixels.shape[0]):
        class_id = class_ids[pixels[i, 0], pixels[i, 1]]
        if not is_ground[class_id]:
            continue
        x, y = ego_xy[i, 0], ego_xy[i, 1]
        row = int(np.floor((sine * x + cosine * y + shift_y) / cell_m))
        column = int(np.floor((cosine * x - sine * y + shift_x) / cell_m))
        if 0 <= row < best.shape[0] and 0 <= column < best.shape[1]:
            _vote(votes, best, row, column, class_id, weight)


def vote_ground(
    class_ids: npt.NDArray[np.uint8],
    pixels: npt.NDArray[np.int32],
    ego_xy: npt.NDArray[np.float32],
    is_ground: npt.NDArray[np.bool_],
    yaw_rad: float,
    grid_xy_of_ego_m: tuple[float, float],
    cell_m: float,
    votes: npt.NDArray[np.uint8],
    best: npt.NDArray[np.uint8],
    weight: int = 1,
) -> None:
    """Adds the ground classes seen at a table of (pixel, place on the road) pairs to ``votes`` and ``best`` in place.

    Args:
        class_ids: (H, W) u8 semantic ids.
        pixels: (M, 2) i32 rows and columns into ``class_ids``.
        ego_xy: (M, 2) f32 m where each pixel meets the road.
        is_ground: (256,) True for classes that lie on the road plane.
        yaw_rad: heading of the vehicle in the grid.
        grid_xy_of_ego_m: position of the vehicle from the grid's corner.
        cell_m: edge of a cell.
        votes: (R, C, K) u8.
        best: (R, C) u8 leading class, 255 unknown.
        weight: votes per sighting.

    Raises:
        ValueError: a pixel lies outside the image or the shapes disagree.
    """
    ids = np.require(class_ids, np.uint8, "C")
    pixels = np.require(pixels, np.int32, "C")
    if pixels.ndim != 2 or pixels.shape[1] != 2 or ego_xy.shape != pixels.shape:
        raise ValueError(f"pixels and ego_xy must both be (M, 2) but got {pixels.shape} and {ego_xy.shape}")
    if len(pixels) and (pixels.min() < 0 or (pixels.max(axis=0) >= ids.shape).any()):
        raise ValueError(f"pixels must lie within the image {ids.shape} but reach {pixels.max(axis=0).tolist()}")
    _check_grid(votes, best)
    _vote_ground(
        ids, pixels, np.require(ego_xy, np.float32, "C"), is_ground, np.cos(yaw_rad), np.sin(yaw_rad),
        grid_xy_of_ego_m[0], grid_xy_of_ego_m[1], cell_m, votes, best, weight,
    )  # fmt: skip


@njit(
    "void(u1[:,::1], f4[:,:,::1], b1[::1], b1[::1], f8, f8, f8, f8, f8, f8, u1[:,:,::1], u1[:,::1])",
    cache=True,
    nogil=True,
)
def _vote_obstacle_feet(  # type: ignore[no-untyped-def]
    class_ids, ground_xy, is_ground, is_obstacle, max_range_m, cosine, sine, shift_x, shift_y, cell_m, votes, best
):
    step = 2
    for u in range(0, class_ids.shape[1], step):
        seen_ground = 0
        for v in range(class_ids.shape[0] - 1, -1, -1):
            class_id = class_ids[v, u]
            if is_ground[class_id]:
                seen_ground += 1
                continue
            if seen_ground < 3:
                # the column starts on something else: the bonnet, or an object cut off by the border
                continue
            if is_obstacle[class_id]:
                x, y = ground_xy[v, u, 0], ground_xy[v, u, 1]
                if x * x + y * y <= max_range_m * max_range_m:
                    row = int(np.floor((sine * x + cosine * y + shift_y) / cell_m))
                    column = int(np.floor((cosine * x - sine * y + shift_x) / cell_m))
                    if 0 <= row < best.shape[0] and 0 <= column < best.shape[1]:
                        _vote(votes, best, row, column, class_id, 1)
            break


def vote_obstacle_feet(
    class_ids: npt.NDArray[np.uint8],
    ground_xy: npt.NDArray[np.float32],
    is_ground: npt.NDArray[np.bool_],
    is_obstacle: npt.NDArray[np.bool_],
    max_range_m: float,
    yaw_rad: float,
    grid_xy_of_ego_m: tuple[float, float],
    cell_m: float,
    votes: npt.NDArray[np.uint8],
    best: npt.NDArray[np.uint8],
) -> None:
    """Adds, for every second image column, the first obstacle above the road where its foot meets the road.

    Args:
        class_ids: (H, W) u8 semantic ids.
        ground_xy: (H, W, 2) f32 m where each pixel's ray meets the road; NaN above the horizon.
        is_ground: (256,) True for classes on the road plane.
        is_obstacle: (256,) True for static classes that stand on it.
        max_range_m: feet farther away are left out.
        yaw_rad: heading of the vehicle in the grid.
        grid_xy_of_ego_m: position of the vehicle from the grid's corner.
        cell_m: edge of a cell.
        votes: (R, C, K) u8, changed in place.
        best: (R, C) u8, changed in place.

    Raises:
        ValueError: shapes disagree.
    """
    ids = np.require(class_ids, np.uint8, "C")
    ground_xy = np.require(ground_xy, np.float32, "C")
    if ground_xy.shape != (*ids.shape, 2):
        raise ValueError(f"ground_xy must be {(*ids.shape, 2)} but got shape {ground_xy.shape}")
    _check_grid(votes, best)
    _vote_obstacle_feet(
        ids, ground_xy, is_ground, is_obstacle, max_range_m, np.cos(yaw_rad), np.sin(yaw_rad),
        grid_xy_of_ego_m[0], grid_xy_of_ego_m[1], cell_m, votes, best,
    )  # fmt: skip


@njit(
    "i8(f4[:,::1], u1[:,::1], u1[:,:,::1], b1[::1], f8[:,::1], f8[:,::1], f8, f8[::1], f8, i8, u1[:,:,::1], "
    "u1[:,::1], f4[:,::1], f8, i8[::1], f4[:,::1], u1[:,::1])",
    cache=True,
    nogil=True,
)
def _vote_points(  # type: ignore[no-untyped-def]
    depth_m, class_ids, image_rgb, is_static, world_T_cam, intrinsics, max_range_m, corner_m, cell_m, weight, votes,
    best, top_m, voxel_m, seen, cloud_xyz, cloud_rgb,
):  # fmt: skip
    fx, fy, cx, cy = intrinsics[0, 0], intrinsics[1, 1], intrinsics[0, 2], intrinsics[1, 2]
    count = 0
    for v in range(depth_m.shape[0]):
        for u in range(depth_m.shape[1]):
            depth = depth_m[v, u]
            if not (depth > 0.0 and depth <= max_range_m):
                continue
            class_id = class_ids[v, u]
            if not is_static[class_id]:
                continue
            px, py = (u - cx) / fx * depth, (v - cy) / fy * depth
            x = world_T_cam[0, 0] * px + world_T_cam[0, 1] * py + world_T_cam[0, 2] * depth + world_T_cam[0, 3]
            y = world_T_cam[1, 0] * px + world_T_cam[1, 1] * py + world_T_cam[1, 2] * depth + world_T_cam[1, 3]
            z = world_T_cam[2, 0] * px + world_T_cam[2, 1] * py + world_T_cam[2, 2] * depth + world_T_cam[2, 3]
            row, column = int(np.floor((y - corner_m[1]) / cell_m)), int(np.floor((x - corner_m[0]) / cell_m))
            if 0 <= row < best.shape[0] and 0 <= column < best.shape[1]:
                _vote(votes, best, row, column, class_id, weight)
                if not (top_m[row, column] >= z):
                    top_m[row, column] = z
            kx, ky, kz = int(np.floor(x / voxel_m)), int(np.floor(y / voxel_m)), int(np.floor(z / voxel_m))
            key = ((kx + 1048576) << 42) | ((ky + 1048576) << 21) | (kz + 1048576)
            slot = ((key ^ (key >> 29)) * 0x9E3779B97F4A7C1 >> 20) & (seen.shape[0] - 1)
            if seen[slot] != key and count < cloud_xyz.shape[0]:
                seen[slot] = key
                cloud_xyz[count, 0], cloud_xyz[count, 1], cloud_xyz[count, 2] = x, y, z
                for k in range(3):
                    cloud_rgb[count, k] = image_rgb[v, u, k]
                count += 1
    return count


def vote_points(
    depth_m: npt.NDArray[np.float32],
    class_ids: npt.NDArray[np.uint8],
    image_rgb: npt.NDArray[np.uint8],
    is_static: npt.NDArray[np.bool_],
    world_T_cam: npt.NDArray[np.float64],
    camera_matrix: npt.NDArray[np.float64],
    max_range_m: float,
    corner_m: npt.NDArray[np.float64],
    cell_m: float,
    weight: int,
    votes: npt.NDArray[np.uint8],
    best: npt.NDArray[np.uint8],
    top_m: npt.NDArray[np.float32],
    voxel_m: float,
    seen: npt.NDArray[np.int64],
    capacity: int = 65536,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Adds depth pixels of static classes to the grid in place and returns those in voxels not seen of late.

    Args:
        depth_m: (H, W) f32 m, NaN where unknown.
        class_ids: (H, W) u8 semantic ids.
        image_rgb: (H, W, 3) u8.
        is_static: (256,) True for classes that belong into a map.
        world_T_cam: (4, 4) camera to world.
        camera_matrix: (3, 3) intrinsics of an undistorted camera.
        max_range_m: farther pixels are left out.
        corner_m: (2,) world x, y of the grid's corner.
        cell_m: edge of a cell.
        weight: votes per pixel.
        votes: (R, C, K) u8.
        best: (R, C) u8 leading class, 255 unknown.
        top_m: (R, C) f32 highest z seen, NaN unknown.
        voxel_m: spacing of the returned points.
        seen: (S,) i64 memory of recent voxels, S a power of two; starts as -1.
        capacity: most points returned.

    Returns:
        (N, 3) f32 world points in m and their (N, 3) u8 colours.

    Raises:
        ValueError: shapes disagree.
    """
    depth = np.require(depth_m, np.float32, "C")
    ids = np.require(class_ids, np.uint8, "C")
    if ids.shape != depth.shape or image_rgb.shape != (*depth.shape, 3):
        raise ValueError(
            f"class_ids {ids.shape} and image_rgb {image_rgb.shape} must have the size of depth_m {depth.shape}"
        )
    _check_grid(votes, best)
    if len(seen) & (len(seen) - 1):
        raise ValueError(f"seen must have a power of two slots but got {len(seen)}")
    xyz = np.empty((capacity, 3), dtype=np.float32)
    rgb = np.empty((capacity, 3), dtype=np.uint8)
    count = _vote_points(
        depth, ids, np.require(image_rgb, np.uint8, "C"), is_static, np.require(world_T_cam, np.float64, "C"),
        np.require(camera_matrix, np.float64, "C"), max_range_m, np.require(corner_m, np.float64, "C"), cell_m,
        weight, votes, best, top_m, voxel_m, seen, xyz, rgb,
    )  # fmt: skip
    return xyz[:count], rgb[:count]


def _check_grid(votes: npt.NDArray[np.uint8], best: npt.NDArray[np.uint8]) -> None:
    if votes.ndim != 3 or votes.dtype != np.uint8 or best.dtype != np.uint8 or votes.shape[:2] != best.shape:
        raise ValueError(f"votes must be (R, C, K) u8 over best (R, C) u8 but got {votes.shape} and {best.shape}")
