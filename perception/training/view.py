"""A view of a sample: what the network is shown, and the labels moved to where their pixels went."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import VOID_ID
from perception.models.street_layout import DENSE_STRIDE, DEPTH_FOCAL_PX
from perception.training.labels import LabelledBoxes, Sample

__all__ = ["View", "ViewRange", "view_of"]

_LEAST_VISIBLE = 0.3  # of a box's area; less than that left in the crop is ignored
_LEAST_SIDE_PX = 3.0
_OBJECT_CENTRED = 0.5  # share of crops of images with boxes that are laid around one of them


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


@dataclass(frozen=True, slots=True)
class ViewRange:
    """How far a view may stray; see ``AugmentSettings``."""

    least_scale: float
    largest_scale: float
    stretch: float
    rotation_deg: float


def view_of(sample: Sample, size_hw: tuple[int, int], strays: ViewRange, rng: np.random.Generator) -> View:
    """A random crop, scaled, stretched, turned and flipped.

    Args:
        sample: the image.
        size_hw: of the view, multiples of ``DENSE_STRIDE``.
        strays: how far to go.
        rng: everything random comes from it.
    """
    window = _window(sample, size_hw, strays, rng)
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
        boxes = _mirrored(boxes, size_hw[1])
    return View(
        np.ascontiguousarray(image),
        np.ascontiguousarray(semantic),
        boxes,
        np.ascontiguousarray(depth),
        None if owners is None else np.ascontiguousarray(owners),
    )


def _window(sample: Sample, size_hw: tuple[int, int], strays: ViewRange, rng: np.random.Generator) -> _Window:
    height, width = sample.image_rgb.shape[:2]
    zoom = sample.scale * np.exp(rng.uniform(np.log(strays.least_scale), np.log(strays.largest_scale)))
    stretch = np.exp(rng.uniform(-1, 1) * np.log(strays.stretch) / 2)
    scale_u, scale_v = float(zoom * stretch), float(zoom / stretch)
    left = _start(width, size_hw[1] / scale_u, rng)
    top = _start(height, size_hw[0] / scale_v, rng)
    sure = np.flatnonzero(~sample.boxes.ignored)
    if len(sure) and rng.random() < _OBJECT_CENTRED:
        # a class first, then one of its objects: a lorry or a person among twenty cars is shown as often as they are
        of_class = sample.boxes.class_ids[sure]
        sure = sure[of_class == rng.choice(np.unique(of_class))]
        x1, y1, x2, y2 = sample.boxes.boxes_xyxy[rng.choice(sure)]
        left = _around((x1 + x2) / 2, width, size_hw[1] / scale_u, rng)
        top = _around((y1 + y2) / 2, height, size_hw[0] / scale_v, rng)
    angle = np.radians(rng.uniform(-strays.rotation_deg, strays.rotation_deg)) if strays.rotation_deg > 0 else 0.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([size_hw[1], size_hw[0]]) / 2
    linear = turn @ np.diag([scale_u, scale_v])
    offset = turn @ (-np.array([left * scale_u, top * scale_v]) - centre) + centre
    return _Window(linear, offset, scale_u, scale_v, *size_hw)


def _mirrored(boxes: LabelledBoxes, width_px: int) -> LabelledBoxes:
    edges, solid = boxes.boxes_xyxy.copy(), boxes.solid.copy()
    edges[:, [0, 2]] = width_px - boxes.boxes_xyxy[:, [2, 0]]
    solid[:, 3] = np.pi - solid[:, 3]
    solid[:, 5] = width_px - solid[:, 5]
    return dataclasses.replace(boxes, boxes_xyxy=edges, solid=solid)


def _start(full: float, window: float, rng: np.random.Generator) -> float:
    """Where a window begins: anywhere inside, or anywhere around an image smaller than it."""
    return float(rng.uniform(min(0.0, full - window), max(0.0, full - window)))


def _around(centre: float, full: float, window: float, rng: np.random.Generator) -> float:
    wanted = centre - window * rng.uniform(0.25, 0.75)
    return float(np.clip(wanted, min(0.0, full - window), max(0.0, full - window)))


@dataclass(frozen=True, slots=True)
class _Window:
    """Where a view's pixels come from: view = linear (2, 2) times image px, plus offset (2,)."""

    linear: npt.NDArray[np.float64]
    offset: npt.NDArray[np.float64]
    scale_u: float
    scale_v: float
    height_px: int
    width_px: int

    def _points(self, points_px: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(..., 2) px of the image to px of the view."""
        moved: npt.NDArray[np.float64] = points_px @ self.linear.T + self.offset
        return moved

    def _matrix(self) -> npt.NDArray[np.float64]:
        # pixel centres, not corners, are what must meet
        return np.column_stack([self.linear, self.linear @ [0.5, 0.5] + self.offset - 0.5])

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
        corners = self._points(boxes.boxes_xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2).astype(np.float64))
        moved = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
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
        solid[:, 5:] = self._points(solid[:, 5:])
        seen = dataclasses.replace(boxes, boxes_xyxy=inside, ignored=boxes.ignored | hidden, solid=solid)
        return seen.rows(keep), keep

    def depth(self, points: npt.NDArray[np.float32] | None, focal_px: float) -> npt.NDArray[np.float32]:
        depth = np.zeros((self.height_px // DENSE_STRIDE, self.width_px // DENSE_STRIDE), np.float32)
        if points is None or focal_px <= 0:
            return depth
        cells = np.floor(self._points(points[:, :2]) / DENSE_STRIDE).astype(np.int64)
        inside = ((cells >= 0) & (cells < (depth.shape[1], depth.shape[0]))).all(axis=1)
        (column, row), distance = cells[inside].T, points[inside, 2]
        nearest_last = np.argsort(-distance)
        depth[row[nearest_last], column[nearest_last]] = distance[nearest_last]
        depth *= np.float32(DEPTH_FOCAL_PX / (focal_px * self.scale_v))
        return depth
