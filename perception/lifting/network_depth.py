"""Depth from the embedded network: where no lidar is."""

from __future__ import annotations

import cv2
import numpy as np

from perception.models.street_layout import DEPTH_FOCAL_PX
from perception.models.street_network import StreetNetwork
from perception.models.street_views import depth_of_views
from perception.types import DepthMap, Frame

__all__ = ["NetworkDepth"]


class NetworkDepth:
    """The ``DepthEstimator`` role of the embedded network."""

    source = "network"

    def __init__(self, network: StreetNetwork):
        self._network = network

    def estimate(self, frame: Frame) -> DepthMap | None:
        """(H, W) depth along the optical axis at every pixel; None without calibration, which gives metres their scale.

        Between cells of the network the nearest cell's depth is taken: between a car and the wall behind it there is
        nothing.
        """
        if frame.camera is None:
            return None
        views = self._network.views(frame)
        output = views[0]
        height, width = output.image_hw
        metres = np.exp(depth_of_views(views)) * np.float32(
            frame.camera.fy_px * output.input_hw[0] / height / DEPTH_FOCAL_PX
        )
        nearest = cv2.resize(metres, (width, height), interpolation=cv2.INTER_NEAREST)
        return DepthMap(np.asarray(nearest, np.float32), is_measured=False)
