"""Boxes from the embedded network."""

from __future__ import annotations

import numpy as np

from perception.classes import OBJECT_CLASSES
from perception.config import DetectionConfig
from perception.detection.boxes import within_image
from perception.kernels.network_heads import decode_cells
from perception.kernels.nms import class_nms
from perception.models.street_layout import BOX_STRIDES
from perception.models.street_network import StreetNetwork
from perception.types import Detections, Frame

__all__ = ["NetworkDetector"]

# One object has one class: of two boxes that agree the better stays, whatever either is called within its group.
_GROUPS = (
    ("car", "van", "truck", "bus", "tram"),
    ("pedestrian", "cyclist", "bicycle", "motorcycle"),
    ("traffic_light", "traffic_sign"),
)
_GROUP_OF_OBJECT = np.array([next(g for g, names in enumerate(_GROUPS) if n in names) for n in OBJECT_CLASSES])


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
        class_ids = self._network.object_ids[rows]
        keep = class_nms(boxes, scores, _GROUP_OF_OBJECT[class_ids], self._settings.nms_iou)
        keep = keep[: self._settings.max_detections]
        image_height, image_width = output.image_hw
        scale = np.array([image_width / width, image_height / height] * 2, np.float32)
        return within_image(boxes[keep] * scale, scores[keep], class_ids[keep], output.image_hw)
