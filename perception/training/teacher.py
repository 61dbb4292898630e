"""Boxes from a detector that is trained already, where nobody drew any: the teacher of the distillation.

The teacher sees every image at several sizes and in tiles, so that its sum is better than one of its passes. What it is
sure of becomes a label; what it half believes is neither object nor background ("ignored"). It frames what it sees of
an object, where KITTI and the simulator frame the whole, so beside a nearer object its edges teach nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torchvision.ops import batched_nms

from perception.classes import COCO_TO_OBJECT, OBJECT_CLASSES
from perception.errors import ConfigError
from perception.files import replaced_when_done, sha256_of
from perception.kernels.boxes import iou_matrix
from perception.roles import Detector
from perception.training.labels import LabelledBoxes
from perception.types import Frame

__all__ = ["BoxTeacher", "Finder", "RoleFinder", "YoloxFinder", "may_be_hidden", "merge_riders"]

_STRIDES = (8, 16, 32)
_PAD_VALUE = 114
_MERGE_IOU = 0.6
_SURE = 0.40
_DOUBTFUL = 0.12
_RIDER_OVERLAP = 0.5  # of a two-wheeler's width that a person must cover to be its rider
_TILE_ENLARGED = 1.5  # beyond the largest pass of the whole image
_CUT_PX = 2  # a box nearer to the edge of a tile is cut off there
# who stands this far below another's lower edge is nearer, and hides it if they touch, so far as boxes are exact
_NEARER = 0.04  # of its height
_TOUCH = 0.1  # of its width
_BESIDE = 0.3  # of its height that both share
_ANOTHER = 0.5  # boxes that agree better are of one object

_Found = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]


class Finder(Protocol):
    """One pass of a detector.

    Attributes:
        name: tells it from others in a cache of labels.
        sees_size: whether an enlarged image shows it more; false where it scales every image to one size itself.
    """

    name: str
    sees_size: bool

    def __call__(self, image_rgb: npt.NDArray[np.uint8]) -> _Found:
        """Boxes (N, 4) px of the image as given, scores (N,), ids (N,) into ``OBJECT_CLASSES``."""


class RoleFinder:
    """Any ``Detector`` of the pipeline as a teacher.

    Args:
        detector: should let boxes of low scores pass, since they tell what is in doubt.
        name: of the detector and its weights.
    """

    sees_size = False

    def __init__(self, detector: Detector, name: str):
        self._detector, self.name = detector, name

    def __call__(self, image_rgb: npt.NDArray[np.uint8]) -> _Found:
        """One pass."""
        found = self._detector.detect(Frame(0, self.name, 0, np.ascontiguousarray(image_rgb)))
        return found.boxes_xyxy, found.scores, found.class_ids


class YoloxFinder:
    """A YOLOX model in ONNX form (inputs BGR 0 ... 255, outputs not decoded), freed of its input size."""

    sees_size = True

    def __init__(self, file: Path, threads: int = 1):
        """Opens the model.

        Raises:
            ConfigError: the library that frees the input size is not installed.
        """
        try:
            import onnx
        except ImportError:
            raise ConfigError(
                "teacher.detector = \"yolox\": onnx is not installed; expected pip install 'drive-perception[train]'"
            ) from None
        self.name = f"yolox {sha256_of(file)}"
        model = onnx.load(str(file))
        for axis in (2, 3):
            model.graph.input[0].type.tensor_type.shape.dim[axis].ClearField("dim_value")
            model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"side{axis}"
        # shapes recorded for the published size would be checked against
        del model.graph.value_info[:]
        del model.graph.output[0].type.tensor_type.shape.dim[:]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image_rgb: npt.NDArray[np.uint8]) -> _Found:
        """One pass."""
        height, width = (-(-side // 32) * 32 for side in image_rgb.shape[:2])
        padded = np.full((height, width, 3), _PAD_VALUE, np.float32)
        padded[: image_rgb.shape[0], : image_rgb.shape[1]] = image_rgb[:, :, ::-1]
        (raw,) = self._session.run(None, {self._input: padded.transpose(2, 0, 1)[None].copy()})
        out = raw[0]
        cells = []
        for stride in _STRIDES:
            v, u = np.mgrid[: height // stride, : width // stride]
            cells.append(np.stack([u.ravel(), v.ravel(), np.full(u.size, stride)], axis=1))
        grid = np.concatenate(cells).astype(np.float32)
        centre = (out[:, :2] + grid[:, :2]) * grid[:, 2:]
        half = np.exp(out[:, 2:4]) * grid[:, 2:] / 2
        road = np.array(sorted(COCO_TO_OBJECT))
        scores = out[:, 4:5] * out[:, 5 + road]
        best = scores.argmax(axis=1)
        names = np.array([OBJECT_CLASSES.index(COCO_TO_OBJECT[int(coco)]) for coco in road])
        return np.concatenate([centre - half, centre + half], axis=1), scores[np.arange(len(out)), best], names[best]


class BoxTeacher:
    """Labels images by many passes of one detector.

    Args:
        find: one pass.
        cache: folder in which labels are kept from run to run, or None.
        sure: score from which a box is a label.
        doubtful: score from which it is at least no background.
    """

    def __init__(
        self, find: Finder, cache: Path | None = None, *, sure: float = _SURE, doubtful: float = _DOUBTFUL
    ) -> None:
        self._find, self._cache, self._sure, self._doubtful = find, cache, sure, doubtful

    def label(self, image_rgb: npt.NDArray[np.uint8], widths_px: Sequence[int], tiles: int) -> LabelledBoxes:
        """Boxes over passes of the whole image at each width and of ``tiles`` overlapping tiles, larger still."""
        found = self._kept(image_rgb, widths_px, tiles)
        return dataclasses.replace(found, whole=~may_be_hidden(found.boxes_xyxy))

    def _kept(self, image_rgb: npt.NDArray[np.uint8], widths_px: Sequence[int], tiles: int) -> LabelledBoxes:
        if self._cache is None:
            return self._label(image_rgb, widths_px, tiles)
        passes = (self._find.name, self._sure, self._doubtful, image_rgb.shape, tuple(widths_px), tiles)
        key = hashlib.sha256(image_rgb.tobytes() + repr(passes).encode()).hexdigest()[:32]
        file = self._cache / f"{key}.npz"
        if file.is_file():
            with np.load(file) as kept:
                return LabelledBoxes(kept["boxes"], kept["class_ids"], kept["ignored"])
        found = self._label(image_rgb, widths_px, tiles)
        self._cache.mkdir(parents=True, exist_ok=True)
        with replaced_when_done(file) as aside:
            np.savez(aside, boxes=found.boxes_xyxy, class_ids=found.class_ids, ignored=found.ignored)
        return found

    def _label(self, image_rgb: npt.NDArray[np.uint8], widths_px: Sequence[int], tiles: int) -> LabelledBoxes:
        height, width = image_rgb.shape[:2]
        sees_size = self._find.sees_size
        passes = [(0, width, wanted / width) for wanted in widths_px] if sees_size else [(0, width, 1.0)]
        if tiles > 1:
            tile = int(width / (1 + 0.7 * (tiles - 1)))
            starts = np.linspace(0, width - tile, tiles).astype(int)
            scale = max(widths_px) * _TILE_ENLARGED / width if sees_size else 1.0
            passes += [(int(start), int(start) + tile, scale) for start in starts]
        found = [self._pass(image_rgb[:, start:end], scale, start, width) for start, end, scale in passes]
        boxes, scores, classes = (np.concatenate(parts) for parts in zip(*found, strict=True))
        keep = batched_nms(torch.from_numpy(boxes), torch.from_numpy(scores), torch.from_numpy(classes), _MERGE_IOU)
        rows = keep.numpy()
        boxes, scores, classes = merge_riders(boxes[rows], scores[rows], classes[rows])
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
        return LabelledBoxes(boxes, classes, scores < self._sure)

    def _pass(self, image_rgb: npt.NDArray[np.uint8], scale: float, left_px: int, full_width_px: int) -> _Found:
        resized = image_rgb
        if scale != 1:
            size = (round(image_rgb.shape[1] * scale), round(image_rgb.shape[0] * scale))
            interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            resized = np.asarray(cv2.resize(image_rgb, size, interpolation=interpolation), np.uint8)
        boxes, scores, class_ids = self._find(resized)
        boxes = boxes / scale
        keep = scores > self._doubtful
        # what a tile cuts off is seen whole elsewhere
        if left_px > 0:
            keep &= boxes[:, 0] > _CUT_PX
        if left_px + image_rgb.shape[1] < full_width_px:
            keep &= boxes[:, 2] < image_rgb.shape[1] - _CUT_PX
        boxes[:, 0::2] += left_px
        return boxes[keep].astype(np.float32), scores[keep].astype(np.float32), class_ids[keep].astype(np.int64)


def may_be_hidden(boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """(N,) whether a box touches one that stands nearer, so that its object may reach on behind that."""
    height, width = boxes[:, 3] - boxes[:, 1], boxes[:, 2] - boxes[:, 0]
    reach = _TOUCH * width
    nearer = boxes[None, :, 3] > (boxes[:, 3] + _NEARER * height)[:, None]
    touching = (boxes[None, :, 0] < (boxes[:, 2] + reach)[:, None]) & (
        boxes[None, :, 2] > (boxes[:, 0] - reach)[:, None]
    )
    shared = np.minimum(boxes[None, :, 3], boxes[:, None, 3]) - np.maximum(boxes[None, :, 1], boxes[:, None, 1])
    another = iou_matrix(boxes, boxes) < _ANOTHER
    return np.asarray((another & nearer & touching & (shared > _BESIDE * height[:, None])).any(axis=1), bool)


def merge_riders(
    boxes: npt.NDArray[np.float32], scores: npt.NDArray[np.float32], class_ids: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Replaces a person on a bicycle or motorcycle, and what is ridden, by one cyclist.

    A person rides the two-wheeler whose box overlaps theirs over half of the narrower width and reaches lower.
    """
    pedestrian, cyclist = OBJECT_CLASSES.index("pedestrian"), OBJECT_CLASSES.index("cyclist")
    wheels = np.flatnonzero(np.isin(class_ids, [OBJECT_CLASSES.index("bicycle"), OBJECT_CLASSES.index("motorcycle")]))
    people = np.flatnonzero(class_ids == pedestrian)
    boxes, scores, class_ids = boxes.copy(), scores.copy(), class_ids.copy()
    gone = np.zeros(len(boxes), bool)
    for person in people[np.argsort(-scores[people], kind="stable")]:
        for wheel in wheels:
            if gone[wheel]:
                continue
            p, w = boxes[person], boxes[wheel]
            overlap_u = min(p[2], w[2]) - max(p[0], w[0])
            overlap_v = min(p[3], w[3]) - max(p[1], w[1])
            narrower = min(p[2] - p[0], w[2] - w[0])
            mounted = w[1] + 0.1 * (p[3] - p[1]) > p[1] and w[3] + 0.15 * (p[3] - p[1]) > p[3]
            if overlap_v > 0 and overlap_u > _RIDER_OVERLAP * narrower and mounted:
                boxes[person] = [min(p[0], w[0]), min(p[1], w[1]), max(p[2], w[2]), max(p[3], w[3])]
                scores[person] = min(1.0, float(np.sqrt(scores[person] * scores[wheel]) * 1.2))
                class_ids[person] = cyclist
                gone[wheel] = True
                break
    return boxes[~gone], scores[~gone], class_ids[~gone]
