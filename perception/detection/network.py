"""Boxes from the embedded network."""

from __future__ import annotations

import numpy as np

from perception.config import DetectionConfig
from perception.detection.boxes import within_image
from perception.kernels.network_heads import decode_cells
from perception.kernels.nms import class_nms
from perception.models.street_layout import BOX_STRIDES
from perception.models.street_network import StreetNetwork
from perception.types import Detections, Frame

__all__ = ["NetworkDetector"]


class NetworkDetector:
    """The ``Detector`` role of the embedded network. Cyclists come whole, so there are no riders to merge."""

    def __init__(self, network: StreetNetwork, settings: DetectionConfig):
        self._network = network
        self._settings = settings

    def detect(self, frame: Frame) -> Detections:
        """Boxes in the pixels of ``frame.image_rgb``, best first; empty when nothing is seen."""
        output = self._network.infer(frame)
        height, width = output.input_hw
        boxes, scores, rows = decode_cells(output.boxes, height, width, BOX_STRIDES, self._settings.score_threshold)
        keep = class_nms(boxes, scores, rows, self._settings.nms_iou)[: self._settings.max_detections]
        image_height, image_width = output.image_hw
        scale = np.array([image_width / width, image_height / height] * 2, np.float32)
        return within_image(boxes[keep] * scale, scores[keep], self._network.object_ids[rows[keep]], output.image_hw)
