"""Boxes from the embedded network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES
from perception.config import DetectionConfig
from perception.detection.boxes import within_image
from perception.kernels.box_voting import voted_boxes
from perception.kernels.network_heads import cell_centres, decode_cells
from perception.kernels.nms import class_nms
from perception.models.street_layout import BOX_STRIDES, DEPTH_FOCAL_PX, EMBEDDING
from perception.models.street_network import StreetNetwork
from perception.models.street_output import StreetOutput
from perception.types import Detections, Frame

__all__ = ["NetworkDetector", "decode_solid"]

# One object has one class: of two boxes that agree the better stays, whatever either is called within its group.
_GROUPS = (
    ("car", "van", "truck", "bus", "tram"),
    ("pedestrian", "cyclist", "bicycle", "motorcycle"),
    ("traffic_light", "traffic_sign"),
)
_VOTER_IOU = 0.6
_SOLID_NUMBERS = 7  # of ``Detections.solid``
_GROUP_OF_OBJECT = np.array([next(g for g, names in enumerate(_GROUPS) if n in names) for n in OBJECT_CLASSES])


class NetworkDetector:
    """The ``Detector`` role of the embedded network. Cyclists come whole, so there are no riders to merge."""

    def __init__(self, network: StreetNetwork, settings: DetectionConfig):
        self._network = network
        self._settings = settings

    def detect(self, frame: Frame) -> Detections:
        """Boxes in the pixels of ``frame.image_rgb``, best first; empty when nothing is seen.

        Each comes with an embedding and, where the camera is known, with what the network says of the object in space.
        """
        views = self._network.views(frame)
        height, width = frame.image_rgb.shape[:2]
        threshold = self._settings.score_threshold
        decoded = [decode_cells(view.boxes, *view.input_hw, BOX_STRIDES, threshold) for view in views]
        boxes = np.concatenate([part[0] * _image_scale(view) for part, view in zip(decoded, views, strict=True)])
        scores, rows, cells = (np.concatenate([part[k] for part in decoded]) for k in (1, 2, 3))
        seen_in = np.repeat(np.arange(len(views)), [len(part[0]) for part in decoded])
        class_ids = self._network.object_ids[rows]
        groups = _GROUP_OF_OBJECT[class_ids]
        keep = class_nms(boxes, scores, groups, self._settings.nms_iou)[: self._settings.max_detections]
        voted = voted_boxes(boxes, scores, groups, keep, _VOTER_IOU)
        # two boxes may have been drawn to one place
        apart = class_nms(voted, scores[keep], groups[keep], self._settings.nms_iou)
        voted, keep = voted[apart], keep[apart]
        embeddings = np.empty((len(keep), EMBEDDING), np.float32)
        solid = None if frame.camera is None else np.empty((len(keep), _SOLID_NUMBERS), np.float32)
        for number, view in enumerate(views):
            own = seen_in[keep] == number
            chosen = cells[keep[own]]
            embeddings[own] = view.embedding[:, chosen].T
            if solid is not None and frame.camera is not None:
                scale = _image_scale(view)
                of_view = decode_solid(view.solid[:, chosen], chosen, view.input_hw, frame.camera.fy_px / scale[1])
                of_view[:, 5:] *= scale[:2]
                solid[own] = of_view
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        return within_image(
            voted,
            scores[keep],
            class_ids[keep],
            (height, width),
            embeddings=embeddings / np.maximum(lengths, 1e-6),
            solid=solid,
        )


def _image_scale(view: StreetOutput) -> npt.NDArray[np.float32]:
    """(4,) f32 image pixels per input pixel along u, v, u, v."""
    return np.array([view.image_hw[1] / view.input_hw[1], view.image_hw[0] / view.input_hw[0]] * 2, np.float32)


def decode_solid(
    cues: npt.NDArray[np.float32], cells: npt.NDArray[np.int64], input_hw: tuple[int, int], focal_px: float
) -> npt.NDArray[np.float32]:
    """Objects in space from the cues of their cells.

    Args:
        cues: (8, N) f32 ``SOLID_CUES``.
        cells: (N,) i64 cells of boxes.
        input_hw: height and width of the network's input.
        focal_px: of the camera along v, in input pixels.

    Returns:
        (N, 7) f32 height, width, length in m, observation angle in rad, distance in m, centre u and v in input pixels.
    """
    centres, strides = cell_centres(cells, *input_hw, BOX_STRIDES)
    sides_m = np.exp(np.clip(cues[:3], -3.0, 4.0))
    distance_m = np.exp(np.clip(cues[5], -3.0, 6.0)) * (focal_px / DEPTH_FOCAL_PX)
    places = centres + cues[6:8].T * strides[:, None]
    return np.column_stack([sides_m.T, np.arctan2(cues[3], cues[4]), distance_m, places]).astype(np.float32)
