"""torchvision's detection networks as detectors."""

from __future__ import annotations

from perception.config import DetectionConfig
from perception.detection.boxes import within_image
from perception.detection.riders import merge_riders
from perception.models.torchvision_detection import TorchvisionDetectionModel
from perception.types import Detections, Frame

__all__ = ["TorchvisionDetector"]


class TorchvisionDetector:
    """Faster R-CNN, Mask R-CNN, RetinaNet, SSDLite or Keypoint R-CNN trained on COCO.

    Attributes:
        model: the network, which also serves the instance role when it is a Mask R-CNN.
        weights: the file that was read.
        notes: what a user should know of how it runs; nothing here.
    """

    def __init__(self, settings: DetectionConfig, device: str = "cpu", threads: int = 0) -> None:
        """Loads ``settings.weights``, or torchvision's own download where that is empty.

        Raises:
            WeightsError: the weights are missing, damaged or of another architecture.
            DeviceError: a GPU was asked for that is not there.
        """
        self._merge_riders = settings.merge_riders
        self.model = TorchvisionDetectionModel(
            settings.source,
            settings.weights,
            score_threshold=settings.score_threshold,
            nms_iou=settings.nms_iou,
            max_detections=settings.max_detections,
            device=device,
            threads=threads,
        )
        self.weights = (self.model.weights,)
        self.notes: tuple[str, ...] = ()

    def detect(self, frame: Frame) -> Detections:
        """Boxes in the pixels of ``frame.image_rgb``, best first; a Keypoint R-CNN adds the joints of pedestrians."""
        found = self.model.find(frame)
        height_px, width_px = frame.image_rgb.shape[:2]
        detections = within_image(
            found.boxes_xyxy, found.scores, found.class_ids, (height_px, width_px), found.keypoints
        )
        return merge_riders(detections) if self._merge_riders else detections
