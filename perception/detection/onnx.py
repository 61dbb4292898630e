"""A YOLOX network in an ONNX file, as a detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import COCO_TO_OBJECT, OBJECT_CLASSES
from perception.config import DetectionConfig
from perception.detection.boxes import within_image
from perception.detection.riders import merge_riders
from perception.errors import WeightsError
from perception.kernels.nms import class_nms
from perception.kernels.yolox import decode_yolox, yolox_row_count
from perception.models.onnx_runtime import open_image_model
from perception.models.weights_used import WeightsUsed
from perception.types import Detections, Frame

__all__ = ["Letterbox", "OnnxDetector"]

_COCO_CLASS_COUNT = 80
_PAD_VALUE = 114
_UNWANTED = "-"
# pixels are averaged where an image is scaled to less than 3/4
_BLUR_FROM = 1 / 3


class OnnxDetector:
    """YOLOX as Megvii exports it: BGR 0 ... 255, letterboxed top-left with 114, output not decoded.

    Attributes:
        weights: the file that was read.
        notes: what a user should know of how it runs, such as a size other than the configured one.
        height_px: of the network's input.
        width_px: of the network's input.
    """

    def __init__(self, weights: Path, settings: DetectionConfig, threads: int = 0, device: str = "cpu") -> None:
        """Opens the model and runs it once.

        Args:
            weights: the ONNX file. A model with other classes than COCO's 80 needs ``<stem>.classes.txt`` beside it:
                a line per class, each a name of ``OBJECT_CLASSES``, or ``-`` for a class to leave out.
            settings: thresholds and input size; a model of free or fixed input size is run at that size.
            threads: of one forward pass; 0 takes every core this process may use.
            device: ``auto``, ``cpu`` or ``cuda[:N]``.

        Raises:
            WeightsError: the file is missing, damaged or no YOLOX.
            DeviceError: a GPU was asked for that onnxruntime cannot use.
        """
        self._settings = settings
        self._model = open_image_model(
            weights, settings.input_height_px, settings.input_width_px, _fault_of, device=device, threads=threads
        )
        self.height_px = self._model.height_px
        self.width_px = self._model.width_px
        self._letterbox = Letterbox(self.height_px, self.width_px)
        class_count = self._model.output_shape[2] - 5
        self._object_ids = _object_ids(weights, class_count)
        self.weights = (WeightsUsed.of_file(weights),)
        self.notes = (self._model.note,) if self._model.note else ()

    def detect(self, frame: Frame) -> Detections:
        """Boxes in the pixels of ``frame.image_rgb``, best first."""
        settings = self._settings
        blob, scale_uv = self._letterbox.fit(frame.image_rgb)
        boxes, scores, ids = decode_yolox(
            self._model.run(blob)[0], self._object_ids, self.height_px, self.width_px, settings.score_threshold
        )
        rows = class_nms(boxes, scores, ids, settings.nms_iou)[: settings.max_detections]
        boxes = boxes[rows] / scale_uv[[0, 1, 0, 1]]
        height_px, width_px = frame.image_rgb.shape[:2]
        detections = within_image(boxes, scores[rows], ids[rows], (height_px, width_px))
        return merge_riders(detections) if settings.merge_riders else detections


class Letterbox:
    """Fits images into a network's input, keeping their aspect, at the top left of a grey field.

    Its arrays serve every frame anew, since fresh ones of this size cost more in page faults than the work itself.
    """

    def __init__(self, height_px: int, width_px: int) -> None:
        self._size_hw = (height_px, width_px)
        self._field = np.empty((height_px, width_px, 3), np.uint8)
        self._blob_bgr = np.empty((1, 3, height_px, width_px), np.float32)
        self._blurred: npt.NDArray[np.uint8] | None = None

    def fit(self, image_rgb: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Scales, pads and reorders one image.

        Returns:
            (1, 3, height_px, width_px) f32 BGR 0 ... 255, overwritten by the next call, and the scale (2,) f32 in u
            and v from image to input pixels.
        """
        height, width = image_rgb.shape[:2]
        ratio = min(self._size_hw[0] / height, self._size_hw[1] / width)
        inner_height, inner_width = max(1, round(height * ratio)), max(1, round(width * ratio))
        # bilinear sampling looks at four pixels; where it would step over others they are averaged first, which is
        # worth 4 points of car AP on KITTI frames at 832x256
        reach = int(0.5 / ratio + _BLUR_FROM)
        if reach > 0:
            side = 2 * reach + 1
            image_rgb = self._blurred = cv2.blur(
                image_rgb, (side, side), dst=self._blurred, borderType=cv2.BORDER_REPLICATE
            )
        inner = self._field[:inner_height, :inner_width]
        cv2.resize(image_rgb, (inner_width, inner_height), dst=inner, interpolation=cv2.INTER_LINEAR)
        self._field[inner_height:] = _PAD_VALUE
        self._field[:, inner_width:] = _PAD_VALUE
        for channel, plane in enumerate(reversed(cv2.split(self._field))):
            self._blob_bgr[0, channel] = plane
        return self._blob_bgr, np.array([inner_width / width, inner_height / height], np.float32)


def _fault_of(outputs: list[npt.NDArray[Any]], height_px: int, width_px: int) -> str:
    """What keeps the outputs from being those of an undecoded YOLOX at this input size; empty if nothing does."""
    shapes = [output.shape for output in outputs]
    rows = yolox_row_count(height_px, width_px)
    if len(shapes) != 1 or len(shapes[0]) != 3 or shapes[0][:2] != (1, rows) or shapes[0][2] < 6:
        return (
            f"found output(s) of shape {shapes} for input {width_px}x{height_px}; expected one of (1, {rows}, "
            "5 + classes), a row for every cell of strides 8, 16 and 32 as YOLOX has it"
        )
    raw = outputs[0][0]
    probabilities = raw[:, 4:]
    if not (probabilities.min() >= 0 and probabilities.max() <= 1):
        return (
            f"found objectness and class values from {probabilities.min():.3g} to {probabilities.max():.3g}; "
            "expected probabilities from 0 to 1 as YOLOX has them"
        )
    # offsets within a cell are a few cells at most, decoded centres are spread over the image
    if float(np.median(np.abs(raw[:, :2]))) > 8:
        return "found boxes in pixels; expected offsets within grid cells (a YOLOX export without decoding)"
    return ""


def _object_ids(weights: Path, class_count: int) -> npt.NDArray[np.int64]:
    """(class_count,) ids into OBJECT_CLASSES, -1 for classes to leave out."""
    sidecar = weights.with_suffix(".classes.txt")
    if sidecar.is_file():
        return _read_sidecar(sidecar, class_count)
    if class_count != _COCO_CLASS_COUNT:
        raise WeightsError(
            f"{weights}: found {class_count} classes; expected COCO's {_COCO_CLASS_COUNT}, or a file {sidecar.name} "
            f"beside it with {class_count} lines, each a name of {', '.join(OBJECT_CLASSES)}, or - to leave it out"
        )
    ids = np.full(class_count, -1, np.int64)
    for coco_id, name in COCO_TO_OBJECT.items():
        ids[coco_id] = OBJECT_CLASSES.index(name)
    return ids


def _read_sidecar(sidecar: Path, class_count: int) -> npt.NDArray[np.int64]:
    names = [line.strip() for line in sidecar.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(names) != class_count:
        raise WeightsError(f"{sidecar}: found {len(names)} class names; the model has {class_count} classes")
    for line, name in enumerate(names, start=1):
        if name != _UNWANTED and name not in OBJECT_CLASSES:
            raise WeightsError(f"{sidecar}:{line}: found {name!r}; expected one of {', '.join(OBJECT_CLASSES)}, or -")
    return np.array([-1 if name == _UNWANTED else OBJECT_CLASSES.index(name) for name in names], np.int64)
