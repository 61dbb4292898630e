"""Random views of a sample: crop, scale, stretch, flip, light, colour, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import VOID_ID
from perception.training.data import Sample
from perception.training.teacher import LabelledBoxes

__all__ = ["AugmentSettings", "augment"]

_LEAST_VISIBLE = 0.3  # of a box's area; less than that left in the crop is ignored
_LEAST_SIDE_PX = 3.0
_OBJECT_CENTRED = 0.5  # share of crops of images with boxes that are laid around one of them


@dataclass(frozen=True, slots=True)
class AugmentSettings:
    """How far views stray from the original.

    Attributes:
        height_px: of the crop.
        width_px: of the crop.
        least_scale: smallest zoom relative to what the network sees in use.
        largest_scale: largest zoom, likewise.
        stretch: largest change of the aspect ratio, as a factor.
    """

    height_px: int
    width_px: int
    least_scale: float
    largest_scale: float
    stretch: float


def augment(
    sample: Sample, settings: AugmentSettings, rng: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], LabelledBoxes]:
    """One view.

    Returns:
        image (height, width, 3) u8, semantic labels (height, width) u8, boxes in the view's pixels.
    """
    height, width = sample.image_rgb.shape[:2]
    zoom = sample.scale * np.exp(rng.uniform(np.log(settings.least_scale), np.log(settings.largest_scale)))
    stretch = np.exp(rng.uniform(-1, 1) * np.log(settings.stretch) / 2)
    scale_u, scale_v = zoom * stretch, zoom / stretch
    left = _start(width, settings.width_px / scale_u, rng)
    top = _start(height, settings.height_px / scale_v, rng)
    sure = np.flatnonzero(~sample.boxes.ignored)
    if len(sure) and rng.random() < _OBJECT_CENTRED:
        x1, y1, x2, y2 = sample.boxes.boxes_xyxy[rng.choice(sure)]
        left = _around((x1 + x2) / 2, width, settings.width_px / scale_u, rng)
        top = _around((y1 + y2) / 2, height, settings.height_px / scale_v, rng)
    image, semantic = _crop(sample, settings, left, top, scale_u, scale_v, rng)
    boxes = _moved(sample.boxes, left, top, scale_u, scale_v, settings)
    if rng.random() < 0.5:
        image, semantic = image[:, ::-1], semantic[:, ::-1]
        flipped = boxes.boxes_xyxy.copy()
        flipped[:, [0, 2]] = settings.width_px - boxes.boxes_xyxy[:, [2, 0]]
        boxes = LabelledBoxes(flipped, boxes.class_ids, boxes.ignored)
    return _relit(np.ascontiguousarray(image), rng), np.ascontiguousarray(semantic), boxes


def _start(full: float, window: float, rng: np.random.Generator) -> float:
    """Where a window begins: anywhere inside, or anywhere around an image smaller than it."""
    return float(rng.uniform(min(0.0, full - window), max(0.0, full - window)))


def _around(centre: float, full: float, window: float, rng: np.random.Generator) -> float:
    wanted = centre - window * rng.uniform(0.25, 0.75)
    return float(np.clip(wanted, min(0.0, full - window), max(0.0, full - window)))


def _crop(
    sample: Sample, settings: AugmentSettings, left: float, top: float, scale_u: float, scale_v: float,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:  # fmt: skip
    matrix = np.array([[scale_u, 0, -left * scale_u], [0, scale_v, -top * scale_v]])
    # pixel centres, not corners, are what must meet
    matrix[:, 2] += 0.5 * matrix[[0, 1], [0, 1]] - 0.5
    size = (settings.width_px, settings.height_px)
    source = sample.image_rgb
    if scale_u < 0.75 and rng.random() < 0.5:
        source = cv2.GaussianBlur(source, (0, 0), 0.35 / scale_u)
    pad = tuple(int(value) for value in rng.integers(60, 190, 3))
    image = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_LINEAR, borderValue=pad)
    semantic = cv2.warpAffine(sample.semantic, matrix, size, flags=cv2.INTER_NEAREST, borderValue=VOID_ID)
    return np.asarray(image, np.uint8), np.asarray(semantic, np.uint8)


def _moved(
    boxes: LabelledBoxes, left: float, top: float, scale_u: float, scale_v: float, settings: AugmentSettings
) -> LabelledBoxes:
    scale = np.array([scale_u, scale_v, scale_u, scale_v], np.float32)
    moved = (boxes.boxes_xyxy - np.array([left, top, left, top], np.float32)) * scale
    inside = moved.copy()
    inside[:, 0::2] = inside[:, 0::2].clip(0, settings.width_px)
    inside[:, 1::2] = inside[:, 1::2].clip(0, settings.height_px)
    sides = inside[:, 2:] - inside[:, :2]
    full = np.maximum((moved[:, 2:] - moved[:, :2]).prod(axis=1), 1e-6)
    visible = sides.prod(axis=1) / full
    keep = (sides > 1).all(axis=1)
    hidden = (visible < _LEAST_VISIBLE) | (sides < _LEAST_SIDE_PX).any(axis=1)
    return LabelledBoxes(inside[keep], boxes.class_ids[keep], (boxes.ignored | hidden)[keep])


def _relit(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Other light, other camera."""
    if rng.random() < 0.9:
        level = np.arange(256, dtype=np.float32) / 255
        gamma = np.exp(rng.uniform(-0.5, 0.5))
        contrast, brightness = np.exp(rng.uniform(-0.4, 0.4)), rng.uniform(-0.15, 0.15)
        cast = np.exp(rng.uniform(-0.12, 0.12, 3))
        curve = ((level**gamma - 0.4) * contrast + 0.4 + brightness)[:, None] * cast
        table = (curve.clip(0, 1) * 255).astype(np.uint8)[None]
        image = np.asarray(cv2.LUT(image, table), np.uint8)
    if rng.random() < 0.6:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        amount = 0.0 if rng.random() < 0.15 else float(rng.uniform(0.3, 1.6))
        image = np.asarray(cv2.addWeighted(image, amount, grey, 1 - amount, 0), np.uint8)
    if rng.random() < 0.15:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3)), np.uint8)
    if rng.random() < 0.15:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(3, 12))
        image = (image + noise).clip(0, 255).astype(np.uint8)
    return image
