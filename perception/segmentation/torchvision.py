"""torchvision's segmentation networks, and the masks of its Mask R-CNN, as segmenters."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES, VOID_ID
from perception.kernels.boxes import iou_matrix
from perception.models.device import resolve_device
from perception.models.torchvision_detection import FoundObjects, TorchvisionDetectionModel
from perception.models.torchvision_weights import Variant, load_model
from perception.types import Detections, Frame, InstanceMap, SemanticMap

__all__ = ["SEGMENTATION_FAMILIES", "MaskRcnnInstances", "TorchvisionSemantic"]

# the first of each family is the one that is downloaded where no file is given
SEGMENTATION_FAMILIES: dict[str, tuple[Variant, ...]] = {
    "deeplabv3": (
        Variant("deeplabv3_resnet50"),
        Variant("deeplabv3_resnet101"),
        Variant("deeplabv3_mobilenet_v3_large"),
    ),
    "lraspp": (Variant("lraspp_mobilenet_v3_large"),),
}

# Pascal VOC knows no road, sky or building: all else is void
_SEMANTIC_OF_VOC_NAME = {
    "person": "person", "car": "car", "bus": "bus", "train": "train", "motorbike": "motorcycle", "bicycle": "bicycle",
}  # fmt: skip

# the shorter side that torchvision trained at; larger images are scaled down to it
_TRAINED_SIDE_PX = 520
_MEAN_RGB = (0.485, 0.456, 0.406)
_DEVIATION_RGB = (0.229, 0.224, 0.225)

_CYCLIST = OBJECT_CLASSES.index("cyclist")
_PARTS_OF_CYCLIST = tuple(OBJECT_CLASSES.index(name) for name in ("pedestrian", "bicycle", "motorcycle"))
_MIN_MASK_IOU = 0.5
_MIN_SHARE_IN_CYCLIST = 0.8
_MASK_SCORE_THRESHOLD = 0.25
_MASK_NMS_IOU = 0.5
_MAX_MASKS = 100


class TorchvisionSemantic:
    """DeepLabV3 or LR-ASPP with Pascal VOC classes.

    Attributes:
        weights: the file that was read.
        notes: what a user should know of how it runs.
    """

    def __init__(self, family: str, weights: str = "", device: str = "cpu", threads: int = 0) -> None:
        """Loads the weights; empty means torchvision's own download. ``threads`` sets torch's for the process.

        Raises:
            WeightsError: the weights are missing, damaged or of another architecture.
            DeviceError: a GPU was asked for that is not there.
        """
        self._device = resolve_device(device)
        if threads:
            torch.set_num_threads(threads)
        loaded = load_model(family, SEGMENTATION_FAMILIES[family], weights, self._device)
        self._network = loaded.network
        names = [_SEMANTIC_OF_VOC_NAME.get(name) for name in loaded.categories]
        self._semantic_ids = np.array(
            [VOID_ID if name is None else SEMANTIC_CLASSES.index(name) for name in names], np.uint8
        )
        self.weights = (loaded.weights,)
        self.notes = (f"{family}: trained on Pascal VOC, which has no road, building or sky: those pixels are void",)

    @torch.inference_mode()
    def segment(self, frame: Frame) -> SemanticMap:
        """Classes of the road users and void elsewhere, at the image's own size."""
        height_px, width_px = frame.image_rgb.shape[:2]
        image_rgb = _scaled_down(frame.image_rgb)
        image = torch.tensor(image_rgb, device=self._device).permute(2, 0, 1)[None].float() / 255
        mean, deviation = (image.new_tensor(values)[:, None, None] for values in (_MEAN_RGB, _DEVIATION_RGB))
        logits = self._network((image - mean) / deviation)["out"]
        logits = torch.nn.functional.interpolate(logits, (height_px, width_px), mode="bilinear", align_corners=False)
        confidence, labels = logits[0].softmax(dim=0).max(dim=0)
        return SemanticMap(self._semantic_ids[labels.cpu().numpy()], confidence.cpu().numpy())


class MaskRcnnInstances:
    """Gives detections, of whatever detector, the masks of a Mask R-CNN.

    Attributes:
        weights: the file that was read; empty when the detector's own network serves, which lists it already.
        notes: what a user should know of how it runs.
    """

    def __init__(
        self,
        weights: str = "",
        device: str = "cpu",
        threads: int = 0,
        shared: TorchvisionDetectionModel | None = None,
    ) -> None:
        """Takes the detector's network when one is ``shared``, so that a frame costs one forward pass; else loads one.

        Raises:
            WeightsError: the weights are missing, damaged or of another architecture.
            DeviceError: a GPU was asked for that is not there.
        """
        self._model = shared or TorchvisionDetectionModel(
            "maskrcnn",
            weights,
            score_threshold=_MASK_SCORE_THRESHOLD,
            nms_iou=_MASK_NMS_IOU,
            max_detections=_MAX_MASKS,
            device=device,
            threads=threads,
        )
        self.weights = () if shared else (self._model.weights,)
        self.notes: tuple[str, ...] = ()

    def segment(self, frame: Frame, detections: Detections, semantic: SemanticMap) -> InstanceMap:
        """Paints each mask with the row of its detection; where masks overlap, the better score is on top."""
        height_px, width_px = frame.image_rgb.shape[:2]
        rows = np.full((height_px, width_px), -1, np.int32)
        if len(detections):
            found = self._model.find(frame)
            owners = _owners(found, detections)
            for mask_at in np.argsort(found.scores, kind="stable"):
                if owners[mask_at] >= 0 and found.masks is not None:
                    rows[found.masks[mask_at]] = owners[mask_at]
        return InstanceMap(rows)


def _scaled_down(image_rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    height_px, width_px = image_rgb.shape[:2]
    scale = _TRAINED_SIDE_PX / min(height_px, width_px)
    if scale >= 1:
        return image_rgb
    size = (round(width_px * scale), round(height_px * scale))
    return np.asarray(cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA), np.uint8)


def _owners(found: FoundObjects, detections: Detections) -> npt.NDArray[np.int64]:
    """(M,) row of the detection that each mask belongs to, -1 for none.

    A mask belongs to the detection of its class with the largest IoU. The masks of a person and of a bike belong to
    the cyclist whose box holds them.
    """
    if not len(found.scores):
        return np.zeros(0, np.int64)
    fit = iou_matrix(found.boxes_xyxy, detections.boxes_xyxy)
    fit[(fit < _MIN_MASK_IOU) | (found.class_ids[:, None] != detections.class_ids)] = 0
    in_cyclist = _share_inside(found.boxes_xyxy, detections.boxes_xyxy)
    in_cyclist[:, detections.class_ids != _CYCLIST] = 0
    in_cyclist[~np.isin(found.class_ids, _PARTS_OF_CYCLIST)] = 0
    in_cyclist[in_cyclist < _MIN_SHARE_IN_CYCLIST] = 0
    fit = np.maximum(fit, in_cyclist)
    best: npt.NDArray[np.int64] = fit.argmax(axis=1)
    return np.where(fit[np.arange(len(fit)), best] > 0, best, -1)


def _share_inside(boxes: npt.NDArray[np.float32], holders: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(M, N) share of each box's area that lies in each holder."""
    sides = np.minimum(boxes[:, None, 2:], holders[:, 2:]) - np.maximum(boxes[:, None, :2], holders[:, :2])
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    share: npt.NDArray[np.float32] = np.prod(np.maximum(sides, 0), axis=2) / np.maximum(areas, 1e-6)[:, None]
    return share
