"""Random views of a sample: crop, scale, stretch, flip, light, colour, blur and noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import VOID_ID
from perception.models.street_layout import DENSE_STRIDE, DEPTH_FOCAL_PX
from perception.training.labels import LabelledBoxes, Sample

__all__ = ["AugmentSettings", "View", "augment"]

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


@dataclass(frozen=True, slots=True)
class View:
    """What the network is shown, and what it should say.

    Attributes:
        image_rgb: (height, width, 3) u8.
        semantic: (height, width) u8 as in the sample.
        boxes: in the view's pixels; ``distance_m`` as for a camera of ``DEPTH_FOCAL_PX``.
        depth_m: (height, width) / ``DENSE_STRIDE`` f32 as for a camera of ``DEPTH_FOCAL_PX``, the nearest point of
            every cell; 0 where unknown.
        owners: (height, width) i64 rows of ``boxes``, -1 for none, or None where nobody drew them.
    """

    image_rgb: npt.NDArray[np.uint8]
    semantic: npt.NDArray[np.uint8]
    boxes: LabelledBoxes
    depth_m: npt.NDArray[np.float32]
    owners: npt.NDArray[np.int64] | None


def augment(sample: Sample, settings: AugmentSettings, rng: np.random.Generator) -> View:
    """One view."""
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
    window = _Window(left, top, float(scale_u), float(scale_v), settings.height_px, settings.width_px)
    image = window.picture(sample.image_rgb, rng)
    semantic = window.labels(sample.semantic, VOID_ID)
    boxes, kept = window.boxes(sample.boxes, sample.focal_px)
    depth = window.depth(sample.depth_points, sample.focal_px)
    owners = None
    if sample.owners is not None:
        row_of_owner = np.full(len(sample.boxes) + 1, -1, np.int64)
        row_of_owner[1:][kept] = np.arange(len(boxes))
        owners = row_of_owner[window.labels(sample.owners, 0)]
    if rng.random() < 0.5:
        image, semantic, depth = image[:, ::-1], semantic[:, ::-1], depth[:, ::-1]
        owners = None if owners is None else owners[:, ::-1]
        boxes = _mirrored(boxes, settings.width_px)
    return View(
        _relit(np.ascontiguousarray(image), rng),
        np.ascontiguousarray(semantic),
        boxes,
        np.ascontiguousarray(depth),
        None if owners is None else np.ascontiguousarray(owners),
    )


def _mirrored(boxes: LabelledBoxes, width_px: int) -> LabelledBoxes:
    edges, solid = boxes.boxes_xyxy.copy(), boxes.solid.copy()
    edges[:, [0, 2]] = width_px - boxes.boxes_xyxy[:, [2, 0]]
    solid[:, 3] = np.pi - solid[:, 3]
    solid[:, 5] = width_px - solid[:, 5]
    return LabelledBoxes(edges, boxes.class_ids, boxes.ignored, solid, boxes.identities)


def _start(full: float, window: float, rng: np.random.Generator) -> float:
    """Where a window begins: anywhere inside, or anywhere around an image smaller than it."""
    return float(rng.uniform(min(0.0, full - window), max(0.0, full - window)))


def _around(centre: float, full: float, window: float, rng: np.random.Generator) -> float:
    wanted = centre - window * rng.uniform(0.25, 0.75)
    return float(np.clip(wanted, min(0.0, full - window), max(0.0, full - window)))


@dataclass(frozen=True, slots=True)
class _Window:
    """The part of an image that a view shows, from ``left`` and ``top`` in the image's pixels, enlarged."""

    left: float
    top: float
    scale_u: float
    scale_v: float
    height_px: int
    width_px: int

    def _matrix(self) -> npt.NDArray[np.float64]:
        matrix = np.array([[self.scale_u, 0, -self.left * self.scale_u], [0, self.scale_v, -self.top * self.scale_v]])
        # pixel centres, not corners, are what must meet
        matrix[:, 2] += 0.5 * matrix[[0, 1], [0, 1]] - 0.5
        return matrix

    def picture(self, image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        if self.scale_u < 0.75 and rng.random() < 0.5:
            image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.35 / self.scale_u), np.uint8)
        pad = tuple(int(value) for value in rng.integers(60, 190, 3))
        size = (self.width_px, self.height_px)
        return np.asarray(
            cv2.warpAffine(image, self._matrix(), size, flags=cv2.INTER_LINEAR, borderValue=pad), np.uint8
        )

    def labels(self, labels: npt.NDArray[np.integer], outside: int) -> npt.NDArray[np.integer]:
        size = (self.width_px, self.height_px)
        return np.asarray(
            cv2.warpAffine(labels, self._matrix(), size, flags=cv2.INTER_NEAREST, borderValue=outside), labels.dtype
        )

    def boxes(self, boxes: LabelledBoxes, focal_px: float) -> tuple[LabelledBoxes, npt.NDArray[np.bool_]]:
        """Boxes that show, cut to the view, and which of the given ones they are."""
        scale = np.array([self.scale_u, self.scale_v, self.scale_u, self.scale_v], np.float32)
        start = np.array([self.left, self.top, self.left, self.top], np.float32)
        moved = (boxes.boxes_xyxy - start) * scale
        inside = moved.copy()
        inside[:, 0::2] = inside[:, 0::2].clip(0, self.width_px)
        inside[:, 1::2] = inside[:, 1::2].clip(0, self.height_px)
        sides = inside[:, 2:] - inside[:, :2]
        full = np.maximum((moved[:, 2:] - moved[:, :2]).prod(axis=1), 1e-6)
        visible = sides.prod(axis=1) / full
        keep = (sides > 1).all(axis=1)
        hidden = (visible < _LEAST_VISIBLE) | (sides < _LEAST_SIDE_PX).any(axis=1)
        solid = boxes.solid.copy()
        solid[:, 4] *= np.float32(DEPTH_FOCAL_PX / (focal_px * self.scale_v)) if focal_px > 0 else np.nan
        solid[:, 5:] = (solid[:, 5:] - start[:2]) * scale[:2]
        return LabelledBoxes(
            inside[keep], boxes.class_ids[keep], (boxes.ignored | hidden)[keep], solid[keep], boxes.identities[keep]
        ), keep

    def depth(self, points: npt.NDArray[np.float32] | None, focal_px: float) -> npt.NDArray[np.float32]:
        depth = np.zeros((self.height_px // DENSE_STRIDE, self.width_px // DENSE_STRIDE), np.float32)
        if points is None or focal_px <= 0:
            return depth
        column = ((points[:, 0] - self.left) * (self.scale_u / DENSE_STRIDE)).astype(np.int64)
        row = ((points[:, 1] - self.top) * (self.scale_v / DENSE_STRIDE)).astype(np.int64)
        # a truncated negative is not inside
        inside = (points[:, 0] >= self.left) & (points[:, 1] >= self.top)
        inside &= (row < depth.shape[0]) & (column < depth.shape[1])
        row, column, distance = row[inside], column[inside], points[inside, 2]
        nearest_last = np.argsort(-distance)
        depth[row[nearest_last], column[nearest_last]] = distance[nearest_last]
        depth *= np.float32(DEPTH_FOCAL_PX / (focal_px * self.scale_v))
        return depth


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
