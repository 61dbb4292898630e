"""Points to pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["depth_image"]


def depth_image(
    points: npt.ArrayLike,
    image_P_points: npt.ArrayLike,
    height_px: int,
    width_px: int,
    min_depth_m: float = 0.1,
    *,
    rows: npt.NDArray[np.int32] | None = None,
) -> npt.NDArray[np.float32]:
    """Depth image of a point cloud, the nearest point winning each pixel and the first of equally near ones.

    Pixel centres lie at whole coordinates: pixel (0, 0) spans -0.5 ... 0.5.

    Args:
        points: (P, C) m with C >= 3; columns after the third are ignored. Points that are not finite are left out.
        image_P_points: (3, 4) projection matrix of an undistorted camera from the points' frame, K [R | t].
        height_px: image height.
        width_px: image width.
        min_depth_m: points nearer than this, or behind the camera, are left out.
        rows: (height_px, width_px) C-contiguous i32 to fill with the row of the point at each pixel, -1 for none.

    Returns:
        (height_px, width_px) f32 m along the optical axis, NaN where no point falls.

    Raises:
        ValueError: a shape is wrong, the matrix is not finite, or a size or ``min_depth_m`` is not positive.
    """
    cloud = as_array("points", points, np.float32, (None, None))
    if cloud.shape[1] < 3:
        raise ValueError(f"points must be (P, C) with C >= 3 but got shape {cloud.shape}")
    matrix = as_array("image_P_points", image_P_points, np.float64, (3, 4))
    if not np.isfinite(matrix).all():
        raise ValueError(f"image_P_points must be finite but is {matrix.tolist()}")
    if height_px < 1 or width_px < 1:
        raise ValueError(f"image size must be positive but got {width_px}x{height_px}")
    if not min_depth_m > 0.0:
        raise ValueError(f"min_depth_m must be positive but got {min_depth_m}")
    depth_m = np.full((height_px, width_px), np.nan, np.float32)
    if rows is None:
        rows = _NO_ROWS
    elif as_array("rows", rows, np.int32, (height_px, width_px)) is not rows:
        raise ValueError("rows must be a C-contiguous, writable int32 array")
    _depth_image(cloud, matrix, float(min_depth_m), depth_m, rows)
    return depth_m


_NO_ROWS = np.zeros((0, 0), np.int32)


@njit("void(float32[:, ::1], float64[:, ::1], float64, float32[:, ::1], int32[:, ::1])", cache=True, nogil=True)
def _depth_image(points, image_P_points, min_depth_m, depth_m, rows):  # type: ignore[no-untyped-def]
    height, width = depth_m.shape
    p = image_P_points
    rows[:] = -1
    for i in range(points.shape[0]):
        x, y, z = float(points[i, 0]), float(points[i, 1]), float(points[i, 2])
        if not np.isfinite(x + y + z):
            continue
        depth = p[2, 0] * x + p[2, 1] * y + p[2, 2] * z + p[2, 3]
        # also true for NaN
        if not depth >= min_depth_m:
            continue
        u = (p[0, 0] * x + p[0, 1] * y + p[0, 2] * z + p[0, 3]) / depth
        v = (p[1, 0] * x + p[1, 1] * y + p[1, 2] * z + p[1, 3]) / depth
        # also false for NaN
        if not (u >= -0.5 and v >= -0.5 and u < width - 0.5 and v < height - 0.5):
            continue
        column, row = int(u + 0.5), int(v + 0.5)
        if not depth_m[row, column] <= depth:
            depth_m[row, column] = depth
            if rows.size > 0:
                rows[row, column] = i
