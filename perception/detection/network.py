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
from perception.models.street_layout import BOX_STRIDES, DEPTH_FOCAL_PX
from perception.models.street_network import StreetNetwork
from perception.types import Detections, Frame

__all__ = ["NetworkDetector", "decode_solid"]

# One object has one class: of two boxes that agree the better stays, whatever either is called within its group.
_GROUPS = (
    ("car", "van", "truck", "bus", "tram"),
    ("pedestrian", "cyclist", "bicycle", "motorcycle"),
    ("traffic_light", "traffic_sign"),
)
_VOTER_IOU = 0.6
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
        output = views[0]
        height, width = output.input_hw
        decoded = [
            decode_cells(view.boxes, height, width, BOX_STRIDES, self._settings.score_threshold) for view in views
        ]
        boxes, scores, rows, cells = decoded[0] if len(views) == 1 else map(np.concatenate, zip(*decoded, strict=True))
        seen_in = np.repeat(np.arange(len(views)), [len(part[0]) for part in decoded])
        class_ids = self._network.object_ids[rows]
        groups = _GROUP_OF_OBJECT[class_ids]
        keep = class_nms(boxes, scores, groups, self._settings.nms_iou)[: self._settings.max_detections]
        voted = voted_boxes(boxes, scores, groups, keep, _VOTER_IOU)
        # two boxes may have been drawn to one place
        apart = class_nms(voted, scores[keep], groups[keep], self._settings.nms_iou)
        voted, keep = voted[apart], keep[apart]
        cells, seen_in = cells[keep], seen_in[keep]
        image_height, image_width = output.image_hw
        scale = np.array([image_width / width, image_height / height] * 2, np.float32)
        embeddings = _of_cells([view.embedding for view in views], seen_in, cells)
        lengths = np.linalg.norm(embeddings, axis=1, keepdims=True)
        solid = None
        if frame.camera is not None:
            focal_px = frame.camera.fy_px * height / image_height
            cues = _of_cells([view.solid for view in views], seen_in, cells)
            solid = decode_solid(cues.T, cells, output.input_hw, focal_px)
            solid[:, 5:] *= scale[:2]
        return within_image(
            voted * scale,
            scores[keep],
            class_ids[keep],
            output.image_hw,
            embeddings=embeddings / np.maximum(lengths, 1e-6),
            solid=solid,
        )


def _of_cells(
    views: list[npt.NDArray[np.float32]], seen_in: npt.NDArray[np.int64], cells: npt.NDArray[np.int64]
) -> npt.NDArray[np.float32]:
    """(K, A) of each view to (N, K) of the cells of some of them."""
    if len(views) == 1:
        return np.asarray(views[0][:, cells].T, np.float32)
    return np.asarray(np.stack(views)[seen_in, :, cells], np.float32)


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
