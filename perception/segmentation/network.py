"""Semantic classes and instance masks from the embedded network."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES, SEMANTIC_OF_OBJECT, semantic_to_camvid
from perception.kernels.network_heads import assign_pixels, cells_of_boxes, upsampled_argmax
from perception.models.street_layout import CUE_SCALE_PX, DENSE_STRIDE
from perception.models.street_network import StreetNetwork
from perception.models.street_output import in_place
from perception.models.street_views import finest, semantic_of_views
from perception.types import Detections, Frame, InstanceMap, SemanticMap

__all__ = ["NetworkInstances", "NetworkSemantic"]

# Classes that a network may take for one another on the same object: a pedestrian's pixels may be called a rider's.
_GROUPS = (
    ("car", "truck", "bus", "train"),
    ("person", "rider", "motorcycle", "bicycle"),
    ("traffic light", "traffic sign"),
)
_GROUP_OF_ITSELF: npt.NDArray[np.int64] = np.full(256, -1, np.int64)
_GROUP_OF_ITSELF[: len(_GROUPS)] = range(len(_GROUPS))


class NetworkSemantic:
    """The ``SemanticSegmenter`` role of the embedded network.

    Args:
        network: that looks at the frames.
        labels: whose shall be right: ``cityscapes``, or ``camvid``, where classes that share a label are counted
            together.
        refined: whether edges follow the image's colours.
    """

    def __init__(
        self, network: StreetNetwork, *, labels: Literal["cityscapes", "camvid"] = "cityscapes", refined: bool = False
    ):
        self._network, self._refined = network, refined
        ids = network.semantic_ids
        of_class = semantic_to_camvid(ids) if labels == "camvid" else ids
        # without gaps: some networks know some classes only
        self._label_of_class: npt.NDArray[np.int64] = np.unique(of_class, return_inverse=True)[1]
        self._plain = labels == "cityscapes" and not refined

    def segment(self, frame: Frame) -> SemanticMap:
        """A map of the image's own size."""
        cells = semantic_of_views(self._network.views(frame))
        ids, image = self._network.semantic_ids, frame.image_rgb
        if self._plain:
            return SemanticMap(upsampled_argmax(cells, ids, *image.shape[:2]))
        # its kernel takes a second to compile on the first run, which a replay does without
        from perception.segmentation.refinement import likeliest_classes

        return SemanticMap(ids[likeliest_classes(in_place(cells), self._label_of_class, image, refined=self._refined)])


class NetworkInstances:
    """The ``InstanceSegmenter`` role of the embedded network, for detections from any detector.

    A pixel of a thing belongs to the detection, of a class that goes with the pixel's, whose box agrees best with the
    box that the network predicts at the pixel; sure detections come before doubtful ones.

    Args:
        network: that looks at the frames.
        refined: whether outlines follow the image's colours.
    """

    def __init__(self, network: StreetNetwork, *, refined: bool = False):
        self._network, self._refined = network, refined
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
        kinds, group_of = semantic.class_ids, self._group_of_semantic
        if self._refined:
            from perception.segmentation.refinement import refined_groups

            kinds = refined_groups(group_of[kinds], len(_GROUPS), frame.image_rgb, detections.boxes_xyxy)
            group_of = _GROUP_OF_ITSELF
        return InstanceMap(assign_pixels(cells, kinds, group_of, detections.boxes_xyxy))
