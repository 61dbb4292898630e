"""KITTI's 3D boxes without a calibration: to and from a level frame at the camera, and tracking rows as text.

KITTI gives the middle of a box's bottom in the camera frame (x right, y down, z forward) and its ``rotation_y``. The
level frame has x forward, y left, z up at the same origin. The camera itself is found from the detections: where a
file holds both a 3D box and its image box, every edge that the image does not cut tells about the projection.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.geometry import EGO_R_CAM, box_corners

__all__ = ["fit_projection", "level_boxes", "observed_image_size", "tracking_row"]

Float64Array = npt.NDArray[np.float64]

# KITTI's left colour camera on its first day, from which the fit starts
_KITTI_PROJECTION = np.array([[721.5377, 0, 609.5593, 44.85728], [0, 721.5377, 172.854, 0.2163791], [0, 0, 1, 0]])
_KITTI_SIZE_PX = (1242.0, 375.0)
# every image of KITTI is at least so large; an edge nearer to the rim may be cut
_SMALLEST_PX = (1215.0, 365.0)
_CAM_R_LEVEL = EGO_R_CAM.T


def level_boxes(kitti_boxes: Float64Array) -> Float64Array:
    """(N, 7) x, y, z, yaw, length, width, height in the level frame from (N, 7) h, w, l, x, y, z, rotation_y."""
    height, width, length, x, y, z, rotation_y = kitti_boxes.T
    yaw = (-rotation_y - 0.5 * np.pi + np.pi) % (2 * np.pi) - np.pi
    return np.ascontiguousarray(np.stack([z, -x, 0.5 * height - y, yaw, length, width, height], axis=1))


def fit_projection(boxes_level: Float64Array, boxes_xyxy: Float64Array) -> Float64Array:
    """(3, 4) projection from the level frame to pixels that explains image boxes as outlines of 3D boxes.

    Least squares over focal length, principal point and offset, drawn weakly to KITTI's own camera; edges at the rim of
    the image are left out. Without detections this is KITTI's camera.

    Args:
        boxes_level: (N, 7).
        boxes_xyxy: (N, 4) px.
    """
    projection = _KITTI_PROJECTION.copy()
    corners = box_corners(boxes_level[:, :3], boxes_level[:, 4:], boxes_level[:, 3]) @ _CAM_R_LEVEL.T
    ahead = corners[..., 2].min(axis=1) > 1.0
    corners, edges = corners[ahead], boxes_xyxy[ahead]
    usable = np.stack(
        [edges[:, 0] > 1.0, edges[:, 1] > 1.0, edges[:, 2] < _SMALLEST_PX[0], edges[:, 3] < _SMALLEST_PX[1]], axis=1
    )
    # unknowns: focal length, cx, cy, offset x, offset y; residuals in pixels
    start = projection[[0, 0, 1, 0, 1], [0, 2, 2, 3, 3]]
    prior = np.diag(1.0 / np.array([20.0, 10.0, 10.0, 5.0, 1.0]))
    for _ in range(3):
        rows, values = [prior], [prior @ start]
        for edge in range(4):
            axis = edge % 2
            depth = corners[..., 2]
            image = (projection[axis, 0] * corners[..., 0] + projection[axis, 1] * corners[..., 1]) / depth
            image += projection[axis, 2] + projection[axis, 3] / depth
            pick = (image.argmin if edge < 2 else image.argmax)(axis=1)
            keep = usable[:, edge]
            point = corners[np.arange(len(corners)), pick][keep]
            block = np.zeros((len(point), 5))
            block[:, 0] = point[:, axis] / point[:, 2]
            block[:, 1 + axis] = 1.0
            block[:, 3 + axis] = 1.0 / point[:, 2]
            rows.append(block)
            values.append(edges[keep, edge])
        found = np.linalg.lstsq(np.concatenate(rows), np.concatenate(values), rcond=None)[0]
        projection[[0, 0, 1, 0, 1], [0, 2, 2, 3, 3]] = found
        projection[1, 1] = found[0]
    level = np.zeros((3, 4))
    level[:, :3] = projection[:, :3] @ _CAM_R_LEVEL
    level[:, 3] = projection[:, 3]
    return level


def observed_image_size(boxes_xyxy: Float64Array) -> tuple[float, float]:
    """Last column and row of the image: the furthest corner of (N, 4) boxes, or KITTI's where they stay clear of it."""
    size = []
    for axis in range(2):
        reached = boxes_xyxy[:, 2 + axis].max(initial=0.0)
        size.append(float(reached) if reached >= _SMALLEST_PX[axis] else _KITTI_SIZE_PX[axis] - 1.0)
    return size[0], size[1]


def tracking_row(
    frame: int, track_id: int, kitti_name: str, box_xyxy: Float64Array, box_level: Float64Array | None, score: float
) -> str:
    """One row of KITTI tracking results with score (18 columns); unknown 3D values are KITTI's own placeholders."""
    left, top, right, bottom = box_xyxy
    if box_level is None:
        place = "-1 -1 -1 -1000 -1000 -1000 -10"
        alpha = -10.0
    else:
        x, y, z, yaw, length, width, height = box_level
        rotation_y = (-yaw - 0.5 * np.pi + np.pi) % (2 * np.pi) - np.pi
        alpha = (rotation_y - np.arctan2(-y, x) + np.pi) % (2 * np.pi) - np.pi
        place = f"{height:.4f} {width:.4f} {length:.4f} {-y:.4f} {0.5 * height - z:.4f} {x:.4f} {rotation_y:.4f}"
    corners = f"{left:.2f} {top:.2f} {right:.2f} {bottom:.2f}"
    return f"{frame} {track_id} {kitti_name} -1 -1 {alpha:.4f} {corners} {place} {score:.4f}"
