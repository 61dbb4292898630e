"""Depth from lidar: the points of a scan projected into the image."""

from __future__ import annotations

import numpy as np

from perception.kernels.projection import depth_image
from perception.types import DepthMap, Frame

__all__ = ["LidarDepth", "NoDepth"]


class LidarDepth:
    """Sparse depth where lidar points fall; None for a frame without a scan or calibration."""

    source = "lidar (projected points)"

    def estimate(self, frame: Frame) -> DepthMap | None:
        """(H, W) depth along the optical axis, NaN between the points.

        Distorted images are served by the undistorted projection, which is exact only near the image centre.
        """
        if frame.points_ego is None or frame.camera is None:
            return None
        cam_SE3_ego = frame.camera.cam_SE3_ego
        image_P_ego = frame.camera.matrix @ np.column_stack([cam_SE3_ego.rotation, cam_SE3_ego.translation])
        height_px, width_px = frame.image_rgb.shape[:2]
        return DepthMap(depth_image(frame.points_ego, image_P_ego, height_px, width_px))


class NoDepth:
    """No source of depth."""

    source = "none"

    def estimate(self, frame: Frame) -> DepthMap | None:
        """None."""
        return None
