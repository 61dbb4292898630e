"""Upright boxes around the depth points of image detections."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["fit_boxes"]

# points that the search of the yaw looks at
FOOTPRINT_POINTS = 64
# the nearest stretch that holds this share of the most crowded one's points is taken for the object
NEARER_SHARE = 0.5
# in widths of an object: a longer side is its length
SURE_LENGTH = 1.5


@njit(
    "void(f4[:,::1], i4[:,::1], f8[:,::1], f8[:,::1], f8, f8, f8, f8, f8, i8[::1], f4[:,:,::1])", cache=True, nogil=True
)
def _gather(depth_m, rows, ego_R_cam, ego_t_cam, fx, fy, cx, cy, max_range_m, counts, points):  # type: ignore[no-untyped-def]
    """Ego points of each detection; of more than fit, every one has the same chance to stay (reservoir sampling)."""
    capacity = points.shape[1]
    for v in range(depth_m.shape[0]):
        for u in range(depth_m.shape[1]):
            # depth first: it is sparse, so the other image is seldom touched
            depth = depth_m[v, u]
            if not (depth > 0.0 and depth <= max_range_m):
                continue
            row = rows[v, u]
            if row < 0:
                continue
            x, y = (u - cx) / fx * depth, (v - cy) / fy * depth
            k = counts[row]
            counts[row] += 1
            if k >= capacity:
                # a fixed hash (the 32-bit finaliser of MurmurHash3) for a random number, so that two runs agree;
                # its factors as signed numbers: products then fit 64 bits, and their low 32 are the same
                k = ((k ^ (k >> 16)) * -0x7A143595) & 0xFFFFFFFF
                k = ((k ^ (k >> 13)) * -0x3D4D51CB) & 0xFFFFFFFF
                k = (k ^ (k >> 16)) % counts[row]
                if k >= capacity:
                    continue
            for axis in range(3):
                points[row, k, axis] = (
                    ego_R_cam[axis, 0] * x + ego_R_cam[axis, 1] * y + ego_R_cam[axis, 2] * depth + ego_t_cam[axis, 0]
                )
            points[row, k, 3] = np.sqrt(points[row, k, 0] ** 2 + points[row, k, 1] ** 2)


@njit("i8(f4[:,::1], i8, f8)", cache=True, nogil=True)
def _keep_densest(points, count, window_m):  # type: ignore[no-untyped-def]
    """Moves the points of the most crowded stretch of range, ``window_m`` long, to the front; returns how many.

    A mask's rim holds background seen past the object, which lies behind it and may hold more points than a far
    object itself; so a nearer stretch wins over one that is not clearly more crowded.
    """
    ranges = np.sort(points[:count, 3])
    best, end = 0, 0
    crowd = np.empty(count, dtype=np.int64)
    for start in range(count):
        while end < count and ranges[end] <= ranges[start] + window_m:
            end += 1
        crowd[start] = end - start
        best = max(best, crowd[start])
    best_start = 0
    while crowd[best_start] < NEARER_SHARE * best:
        best_start += 1
    low, high = ranges[best_start], ranges[best_start] + window_m
    kept = 0
    for i in range(count):
        if low <= points[i, 3] <= high:
            for k in range(4):
                points[kept, k] = points[i, k]
            kept += 1
    return kept


@njit("f8(f4[:,::1], i8, f8)", cache=True, nogil=True)
def _closeness(points, count, angle):  # type: ignore[no-untyped-def]
    """How closely the points hug the sides of the rectangle around them at ``angle``; of many, an even sample."""
    cosine, sine = np.cos(angle), np.sin(angle)
    step = 1 + count // FOOTPRINT_POINTS
    low1, high1, low2, high2 = np.inf, -np.inf, np.inf, -np.inf
    for i in range(0, count, step):
        along = points[i, 0] * cosine + points[i, 1] * sine
        across = -points[i, 0] * sine + points[i, 1] * cosine
        low1, high1 = min(low1, along), max(high1, along)
        low2, high2 = min(low2, across), max(high2, across)
    score = 0.0
    for i in range(0, count, step):
        along = points[i, 0] * cosine + points[i, 1] * sine
        across = -points[i, 0] * sine + points[i, 1] * cosine
        d1 = min(along - low1, high1 - along)
        d2 = min(across - low2, high2 - across)
        score += 1.0 / max(min(d1, d2), 0.05)
    return score


@njit("f8(f4[:,::1], i8)", cache=True, nogil=True)
def _closest_angle(points, count):  # type: ignore[no-untyped-def]
    """Angle in [0, pi/2) of the rectangle whose sides the points hug most (Zhang et al., IV 2017), to 1.25 degrees."""
    coarse, fine = np.pi / 36, np.pi / 144
    best_angle, best_score = 0.0, -1.0
    for step in range(18):
        score = _closeness(points, count, step * coarse)
        if score > best_score:
            best_angle, best_score = step * coarse, score
    centre = best_angle
    for step in range(-3, 4):
        score = _closeness(points, count, centre + step * fine)
        if score > best_score:
            best_angle, best_score = centre + step * fine, score
    return best_angle % (np.pi / 2)


@njit("f8(f8, f8)", cache=True, nogil=True)
def _turn_between(first, second):  # type: ignore[no-untyped-def]
    """Angle from ``second`` to ``first``, -pi ... pi."""
    return (first - second + np.pi) % (2 * np.pi) - np.pi


@njit("void(f4[:,::1], i8, f8, f8, f8, b1, f8, f8[::1])", cache=True, nogil=True)
def _fit(points, count, length_m, width_m, height_m, oriented, heading, box):  # type: ignore[no-untyped-def]
    """Writes centre x, y, z, length, width, height, yaw of the points' box to ``box``."""
    hinted = not np.isnan(heading)
    if oriented:
        angle = _closest_angle(points, count)
    else:
        angle = heading if hinted else np.arctan2(points[0, 1], points[0, 0])
    bottom, top = points[:count, 2].min(), points[:count, 2].max()
    low = np.full(2, np.inf)
    high = np.full(2, -np.inf)
    for i in range(count):
        along = points[i, 0] * np.cos(angle) + points[i, 1] * np.sin(angle)
        across = -points[i, 0] * np.sin(angle) + points[i, 1] * np.cos(angle)
        low[0], high[0] = min(low[0], along), max(high[0], along)
        low[1], high[1] = min(low[1], across), max(high[1], across)
    extents = high - low
    if oriented:
        # the long side is the length if it is seen to be longer than the object is wide; a lone short face is
        # the rear or front, so the length runs along the other axis
        longer = 0 if extents[0] >= extents[1] else 1
        along_axis = longer if extents[longer] > 1.3 * width_m else 1 - longer
        # a side much longer than the object is wide is its length, whatever the image suggests
        if hinted and extents[longer] < SURE_LENGTH * width_m:
            along_axis = 0 if abs(np.sin(heading - angle)) < np.sqrt(0.5) else 1
        sizes = np.empty(2)
        sizes[along_axis] = max(extents[along_axis], length_m)
        sizes[1 - along_axis] = max(min(extents[1 - along_axis], 1.3 * width_m), width_m)
    else:
        along_axis = 0
        sizes = np.empty(2)
        sizes[0], sizes[1] = length_m, width_m
    centre = np.empty(2)
    for axis in range(2):
        # the unseen side is the one away from the sensor, which sits at the origin
        middle = 0.5 * (low[axis] + high[axis])
        if extents[axis] >= sizes[axis]:
            centre[axis] = middle
        elif abs(middle) < 0.25 * sizes[axis]:
            centre[axis] = middle
        elif middle > 0:
            centre[axis] = low[axis] + 0.5 * sizes[axis]
        else:
            centre[axis] = high[axis] - 0.5 * sizes[axis]
    box[0] = centre[0] * np.cos(angle) - centre[1] * np.sin(angle)
    box[1] = centre[0] * np.sin(angle) + centre[1] * np.cos(angle)
    height = max(top - min(bottom, 0.3), 0.6 * height_m)
    if not oriented or height > 1.5 * height_m:
        height = height_m
    box[2] = top - 0.5 * height
    box[3], box[4], box[5] = sizes[along_axis], sizes[1 - along_axis], height
    yaw = angle + along_axis * (np.pi / 2) if oriented or hinted else 0.0
    # points cannot tell a front from a rear: without a hint the heading nearer to the vehicle's own is taken
    ahead = heading if hinted else 0.0
    if abs(_turn_between(yaw, ahead)) > np.pi / 2:
        yaw += np.pi
    box[6] = _turn_between(yaw, 0.0)


@njit("void(f4[:,:,::1], i8[::1], i8, f8[:,::1], b1[::1], f8[::1], f8[:,::1])", cache=True, nogil=True)
def _fit_all(points, counts, min_points, sizes_lwh, oriented, headings, boxes):  # type: ignore[no-untyped-def]
    for row in range(points.shape[0]):
        count = min(counts[row], points.shape[1])
        boxes[row, 7] = 0.0
        if count < min_points:
            continue
        kept = _keep_densest(points[row], count, max(1.0, 1.1 * sizes_lwh[row, 0]))
        if kept < min_points:
            continue
        length_m, width_m, height_m = sizes_lwh[row]
        _fit(points[row], kept, length_m, width_m, height_m, oriented[row], headings[row], boxes[row])
        boxes[row, 7] = kept


def fit_boxes(
    depth_m: npt.NDArray[np.float32],
    detection_rows: npt.NDArray[np.int32],
    camera_matrix: npt.NDArray[np.float64],
    ego_R_cam: npt.NDArray[np.float64],
    ego_t_cam: npt.NDArray[np.float64],
    sizes_lwh: npt.NDArray[np.float64],
    oriented: npt.NDArray[np.bool_],
    min_points: int,
    max_range_m: float,
    headings_rad: npt.NDArray[np.float64] | None = None,
    capacity: int = 200,
) -> npt.NDArray[np.float64]:
    """Fits one upright box to the depth pixels of each detection.

    Args:
        depth_m: (H, W) f32 m, NaN where unknown.
        detection_rows: (H, W) i32, -1 background.
        camera_matrix: (3, 3) intrinsics of an undistorted camera.
        ego_R_cam: (3, 3) rotation of the camera on the vehicle.
        ego_t_cam: (3,) position of the camera, m.
        sizes_lwh: (N, 3) m, the class's usual size; what is not seen of an object is filled in from it.
        oriented: (N,) True for classes whose sides tell the yaw.
        min_points: fewer depth pixels give no box.
        max_range_m: farther pixels are ignored.
        headings_rad: (N,) yaw in the ego frame as the image suggests it, NaN where it says nothing; it tells length
            from width and front from rear.
        capacity: depth pixels looked at per detection.

    Returns:
        (N, 8) f64: centre x, y, z and length, width, height in m, yaw in rad (-pi/2 ... pi/2 without
        a heading), number of pixels used;
        0 pixels marks a detection without a box.

    Raises:
        ValueError: a shape is wrong or a row is out of range.
    """
    depth_m = np.require(depth_m, np.float32, "C")
    rows = np.require(detection_rows, np.int32, "C")
    sizes = np.require(sizes_lwh, np.float64, "C")
    if rows.shape != depth_m.shape or rows.ndim != 2:
        raise ValueError(f"detection_rows must have the shape of depth_m {depth_m.shape} but got {rows.shape}")
    if sizes.ndim != 2 or sizes.shape[1] != 3:
        raise ValueError(f"sizes_lwh must be (N, 3) but got shape {sizes.shape}")
    count = len(sizes)
    if rows.size and int(rows.max()) >= count:
        raise ValueError(f"detection_rows must be below {count} but holds {int(rows.max())}")
    boxes = np.zeros((count, 8))
    if count == 0:
        return boxes
    counts = np.zeros(count, dtype=np.int64)
    points = np.empty((count, capacity, 4), dtype=np.float32)
    matrix = np.asarray(camera_matrix, dtype=np.float64)
    _gather(
        depth_m, rows, np.require(ego_R_cam, np.float64, "C"), np.require(ego_t_cam, np.float64, "C").reshape(3, 1),
        matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], max_range_m, counts, points,
    )  # fmt: skip
    headings = np.full(count, np.nan) if headings_rad is None else np.require(headings_rad, np.float64, "C")
    if headings.shape != (count,):
        raise ValueError(f"headings_rad must be ({count},) but got shape {headings.shape}")
    _fit_all(points, counts, min_points, sizes, np.require(oriented, np.bool_, "C"), headings, boxes)
    return boxes
