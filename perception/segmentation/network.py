"""Semantic classes and instance masks from the embedded network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES, SEMANTIC_OF_OBJECT
from perception.kernels.network_heads import assign_pixels, cells_of_boxes, upsampled_argmax
from perception.models.street_layout import CUE_SCALE_PX, DENSE_STRIDE
from perception.models.street_network import StreetNetwork
from perception.models.street_views import finest, semantic_of_views
from perception.types import Detections, Frame, InstanceMap, SemanticMap

__all__ = ["NetworkInstances", "NetworkSemantic"]

# Classes that a network may take for one another on the same object: a pedestrian's pixels may be called a rider's.
_GROUPS = (
    ("car", "truck", "bus", "train"),
    ("person", "rider", "motorcycle", "bicycle"),
    ("traffic light", "traffic sign"),
)


class NetworkSemantic:
    """The ``SemanticSegmenter`` role of the embedded network."""

    def __init__(self, network: StreetNetwork):
        self._network = network

    def segment(self, frame: Frame) -> SemanticMap:
        """A map of the image's own size."""
        views = self._network.views(frame)
        return SemanticMap(
            upsampled_argmax(semantic_of_views(views), self._network.semantic_ids, *frame.image_rgb.shape[:2])
        )


class NetworkInstances:
    """The ``InstanceSegmenter`` role of the embedded network, for detections from any detector.

    A pixel of a thing belongs to the detection, of a class that goes with the pixel's, whose box agrees best with the
    box that the network predicts at the pixel; sure detections come before doubtful ones.
    """

    def __init__(self, network: StreetNetwork):
        self._network = network
        self._group_of_semantic = np.full(256, -1, np.int64)
        for group, names in enumerate(_GROUPS):
            for name in names:
                self._group_of_semantic[SEMANTIC_CLASSES.index(name)] = group
        semantic_of_object = [SEMANTIC_CLASSES.index(SEMANTIC_OF_OBJECT[name]) for name in OBJECT_CLASSES]
        self._group_of_object: npt.NDArray[np.int64] = self._group_of_semantic[semantic_of_object]

    def segment(self, frame: Frame, detections: Detections, semantic: SemanticMap) -> InstanceMap:
        """A map of the image's own size whose values are rows of ``detections``; nothing outside a row's box.

        Raises:
            ValueError: ``semantic`` is of another size than the image.
        """
        height, width = frame.image_rgb.shape[:2]
        if semantic.class_ids.shape != (height, width):
            raise ValueError(
                f"semantic must be ({height}, {width}) as the image but got shape {semantic.class_ids.shape}"
            )
        if not len(detections):
            return InstanceMap.empty(height, width)
        output = finest(self._network.views(frame))
        scale = np.array([output.input_hw[1] / width, output.input_hw[0] / height] * 2, np.float32)
        cells = cells_of_boxes(
            output.box_cues,
            CUE_SCALE_PX,
            detections.boxes_xyxy * scale,
            # two boxes of one object would share its pixels out, however doubtful the second is
            np.sqrt(np.maximum(detections.scores, 0.0)),
            self._group_of_object[detections.class_ids],
            len(_GROUPS),
            DENSE_STRIDE,
        )
        return InstanceMap(assign_pixels(cells, semantic.class_ids, self._group_of_semantic, detections.boxes_xyxy))
