"""torchvision's detection networks: one forward pass a frame, shared by the roles that they serve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from perception.classes import OBJECT_CLASSES
from perception.models.device import resolve_device
from perception.models.torchvision_weights import Variant, load_model
from perception.types import Frame

__all__ = ["DETECTION_FAMILIES", "FoundObjects", "TorchvisionDetectionModel"]

# the first of each family is the one that is downloaded where no file is given
DETECTION_FAMILIES: dict[str, tuple[Variant, ...]] = {
    "fasterrcnn": (
        Variant("fasterrcnn_resnet50_fpn_v2"),
        Variant("fasterrcnn_resnet50_fpn", norm_eps=0.0),
        Variant("fasterrcnn_mobilenet_v3_large_fpn"),
        Variant("fasterrcnn_mobilenet_v3_large_320_fpn"),
    ),
    "maskrcnn": (Variant("maskrcnn_resnet50_fpn_v2"), Variant("maskrcnn_resnet50_fpn", norm_eps=0.0)),
    "retinanet": (Variant("retinanet_resnet50_fpn_v2"), Variant("retinanet_resnet50_fpn", norm_eps=0.0)),
    "ssdlite": (Variant("ssdlite320_mobilenet_v3_large"),),
    "keypointrcnn": (Variant("keypointrcnn_resnet50_fpn", norm_eps=0.0),),
}

_OBJECT_OF_COCO_NAME = {
    "person": "pedestrian", "bicycle": "bicycle", "car": "car", "motorcycle": "motorcycle", "bus": "bus",
    "train": "tram", "truck": "truck", "traffic light": "traffic_light", "stop sign": "traffic_sign",
}  # fmt: skip

_MASK_PROBABILITY = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class FoundObjects:
    """What a network found in one image, classes that do not matter on a road left out.

    Attributes:
        boxes_xyxy: (N, 4) f32 px.
        scores: (N,) f32.
        class_ids: (N,) i64 into OBJECT_CLASSES.
        masks: (N, H, W) bool, or None.
        keypoints: (N, 17, 3) f32 u, v px and confidence 0 ... 1, or None.
    """

    boxes_xyxy: npt.NDArray[np.float32]
    scores: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int64]
    masks: npt.NDArray[np.bool_] | None
    keypoints: npt.NDArray[np.float32] | None


class TorchvisionDetectionModel:
    """A detection network by family.

    Attributes:
        family: its name in ``DETECTION_FAMILIES``.
        weights: where its numbers came from.
    """

    def __init__(
        self,
        family: str,
        weights: str,
        *,
        score_threshold: float,
        nms_iou: float,
        max_detections: int,
        device: str = "cpu",
        threads: int = 0,
    ) -> None:
        """Loads the weights; ``weights`` empty means torchvision's own download.

        ``threads`` sets torch's, for the whole process; 0 leaves them.

        Raises:
            WeightsError: the weights are missing, damaged or of another architecture.
            DeviceError: a GPU was asked for that is not there.
        """
        self._device = resolve_device(device)
        if threads:
            torch.set_num_threads(threads)
        limits = {"score_thresh": score_threshold, "nms_thresh": nms_iou, "detections_per_img": max_detections}
        if family.endswith("rcnn"):
            limits = {f"box_{name}": value for name, value in limits.items()}
        loaded = load_model(family, DETECTION_FAMILIES[family], weights, self._device, limits)
        self._network = loaded.network
        names = [_OBJECT_OF_COCO_NAME.get(name) for name in loaded.categories]
        self._object_ids = np.array([-1 if name is None else OBJECT_CLASSES.index(name) for name in names], np.int64)
        self._last: tuple[Frame, FoundObjects] | None = None
        self.family = family
        self.weights = loaded.weights

    def find(self, frame: Frame) -> FoundObjects:
        """Runs the network, or returns what it found when the last call was for this very frame."""
        if self._last is None or self._last[0] is not frame:
            self._last = (frame, self._forward(frame.image_rgb))
        return self._last[1]

    @torch.inference_mode()
    def _forward(self, image_rgb: npt.NDArray[np.uint8]) -> FoundObjects:
        image = torch.tensor(image_rgb, device=self._device).permute(2, 0, 1).float() / 255
        output = self._network([image])[0]
        class_ids = self._object_ids[output["labels"].cpu().numpy()]
        kept = torch.from_numpy(np.flatnonzero(class_ids >= 0)).to(self._device)
        masks = keypoints = None
        if "masks" in output:
            masks = (output["masks"][kept, 0] >= _MASK_PROBABILITY).cpu().numpy()
        if "keypoints" in output:
            # the third column is always 1; the height of the heatmap's peak says how sure a joint is
            confidence = output["keypoints_scores"][kept].sigmoid()
            keypoints = torch.cat([output["keypoints"][kept, :, :2], confidence[..., None]], dim=2).cpu().numpy()
        return FoundObjects(
            output["boxes"][kept].cpu().numpy(),
            output["scores"][kept].cpu().numpy(),
            class_ids[class_ids >= 0],
            masks,
            keypoints,
        )
