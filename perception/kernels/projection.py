"""Points to pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["sparse_depth"]


@njit("void(f4[:,::1], f8[:,::1], f8, f4[:,::1])", cache=True, nogil=True)
def _sparse_depth(points, image_P_ego, min_depth_m, depth_m):  # type: ignore[no-untyped-def]
    height, width = depth_m.shape
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        depth = image_P_ego[2, 0] * x + image_P_ego[2, 1] * y + image_P_ego[2, 2] * z + image_P_ego[2, 3]
        if depth < min_depth_m:
            continue
        u = (image_P_ego[0, 0] * x + image_P_ego[0, 1] * y + image_P_ego[0, 2] * z + image_P_ego[0, 3]) / depth
        v = (image_P_ego[1, 0] * x + image_P_ego[1, 1] * y + image_P_ego[1, 2] * z + image_P_ego[1, 3]) / depth
        # also false for NaN
        if not (u >= -0.5 and v >= -0.5 and u < width - 0.5 and v < height - 0.5):
            continue
        column, row = int(u + 0.5), int(v + 0.5)
        if not (depth_m[row, column] <= depth):
            depth_m[row, column] = depth


def sparse_depth(
    points_ego: npt.NDArray[np.float32],
    image_P_ego: npt.NDArray[np.float64],
    height_px: int,
    width_px: int,
    min_depth_m: float = 0.1,
) -> npt.NDArray[np.float32]:
    """Depth image of a point cloud, the nearest point winning each pixel.

    Args:
        points_ego: (P, 3 or more) f32 m; columns after the third are ignored.
        image_P_ego: (3, 4) projection matrix of an undistorted camera.
        height_px: image height.
        width_px: image width.
        min_depth_m: points nearer than this, or behind the camera, are left out.

    Returns:
        (height_px, width_px) f32 m along the optical axis, NaN where no point falls.

    Raises:
        ValueError: a shape is wrong.
    """
    points = np.require(points_ego, np.float32, "C")
    matrix = np.require(image_P_ego, np.float64, "C")
    if points.ndim != 2 or points.shape[1] < 3:
        raise ValueError(f"points_ego must be (P, 3 or more) but got shape {points.shape}")
    if matrix.shape != (3, 4):
        raise ValueError(f"image_P_ego must be (3, 4) but got shape {matrix.shape}")
    depth_m = np.full((height_px, width_px), np.nan, dtype=np.float32)
    _sparse_depth(points, matrix, min_depth_m, depth_m)
    return depth_m
