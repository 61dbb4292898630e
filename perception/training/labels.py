"""What training knows of an image: each part only as far as its data set has it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from perception.classes import CAMVID_CLASSES, SEMANTIC_CLASSES, VOID_ID, semantic_to_camvid

__all__ = ["LABEL_SETS", "NOT_A_THING", "SOLID_COLUMNS", "LabelledBoxes", "Sample", "sky_label"]

NOT_A_THING = 254
"""Semantic label of a pixel known to show no road user, and nothing else known of it."""

SOLID_COLUMNS = ("height_m", "width_m", "length_m", "alpha_rad", "distance_m", "centre_u_px", "centre_v_px")
"""An object in space: sides, KITTI's observation angle, distance of its centre along the camera's axis, and where that
centre lies in the image."""

_CAMVID_OF_SEMANTIC = semantic_to_camvid(np.arange(len(SEMANTIC_CLASSES), dtype=np.uint8))
_CAMVID = tuple(
    tuple(int(k) for k in np.flatnonzero(_CAMVID_OF_SEMANTIC == camvid)) for camvid in range(len(CAMVID_CLASSES))
)

LABEL_SETS: dict[str, tuple[tuple[int, ...], ...]] = {
    "camvid": _CAMVID,
    "boxes": _CAMVID,
    "cityscapes": tuple(
        (k, SEMANTIC_CLASSES.index("lane marking")) if name == "road" else (k,)
        for k, name in enumerate(SEMANTIC_CLASSES[:19])
    ),
    "full": tuple((k,) for k in range(len(SEMANTIC_CLASSES))),
}
"""Which semantic classes each label of a set stands for, by the label. ``boxes`` are CamVid's labels derived from
boxes, with ``NOT_A_THING`` where only that is known."""


def sky_label(label_set: str) -> int:
    """The label of a set that stands for the sky."""
    return LABEL_SETS[label_set].index((SEMANTIC_CLASSES.index("sky"),))


@dataclass(frozen=True, slots=True)
class LabelledBoxes:
    """Boxes of one image as training sees them.

    Attributes:
        boxes_xyxy: (N, 4) f32 px.
        class_ids: (N,) i64 into ``OBJECT_CLASSES``; -1 for any class, which only an ignored box may have.
        ignored: (N,) bool: neither object nor background.
        solid: (N, 7) f32 ``SOLID_COLUMNS``; NaN where unknown.
        identities: (N,) i64, one number for one object in all images; -1 where unknown.
        whole: (N,) bool: whether the box holds the whole object, what others hide of it too, as far as the image goes.
    """

    boxes_xyxy: npt.NDArray[np.float32]
    class_ids: npt.NDArray[np.int64]
    ignored: npt.NDArray[np.bool_]
    solid: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, len(SOLID_COLUMNS)), np.float32))
    identities: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    whole: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    def __post_init__(self) -> None:
        count = len(self.boxes_xyxy)
        if len(self.solid) != count:
            object.__setattr__(self, "solid", np.full((count, len(SOLID_COLUMNS)), np.nan, np.float32))
        if len(self.identities) != count:
            object.__setattr__(self, "identities", np.full(count, -1, np.int64))
        if len(self.whole) != count:
            object.__setattr__(self, "whole", np.ones(count, bool))

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    @classmethod
    def empty(cls) -> LabelledBoxes:
        """No box."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))

    def rows(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.integer]) -> LabelledBoxes:
        """Some of the boxes."""
        return LabelledBoxes(
            self.boxes_xyxy[chosen], self.class_ids[chosen], self.ignored[chosen], self.solid[chosen],
            self.identities[chosen], self.whole[chosen],
        )  # fmt: skip

    def scaled(self, factor: float) -> LabelledBoxes:
        """The boxes of the image enlarged by ``factor``."""
        solid = self.solid.copy()
        solid[:, 5:] *= np.float32(factor)
        return replace(self, boxes_xyxy=self.boxes_xyxy * np.float32(factor), solid=solid)

    @staticmethod
    def joined(*parts: LabelledBoxes) -> LabelledBoxes:
        """All boxes of several."""
        return LabelledBoxes(
            np.concatenate([part.boxes_xyxy for part in parts]),
            np.concatenate([part.class_ids for part in parts]),
            np.concatenate([part.ignored for part in parts]),
            np.concatenate([part.solid for part in parts]),
            np.concatenate([part.identities for part in parts]),
            np.concatenate([part.whole for part in parts]),
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One training image.

    Attributes:
        source: data set and frame.
        image_rgb: (H, W, 3) u8.
        semantic: (H, W) u8 labels of ``label_set``, 255 where unknown.
        label_set: key of ``LABEL_SETS``.
        boxes: objects and ignored regions.
        known_classes: (C,) bool: for which object classes a place without a box is background.
        scale: of ``image_rgb`` at which the network will see this camera.
        hard: (N,) bool: boxes occluded or truncated beyond KITTI's moderate level, or None where unknown.
        focal_px: focal length along v in pixels of ``image_rgb``; 0 where unknown, and with it every distance.
        depth_points: (P, 3) f32 u px, v px and depth in m along the camera's axis, or None.
        owners: (H, W) u16: 1 + the row of ``boxes`` whose pixel it is, 0 for none; or None where nobody drew them.
    """

    source: str
    image_rgb: npt.NDArray[np.uint8]
    semantic: npt.NDArray[np.uint8]
    label_set: str
    boxes: LabelledBoxes
    known_classes: npt.NDArray[np.bool_]
    scale: float
    hard: npt.NDArray[np.bool_] | None = None
    focal_px: float = 0.0
    depth_points: npt.NDArray[np.float32] | None = None
    owners: npt.NDArray[np.uint16] | None = None

    @property
    def semantic_is_drawn(self) -> bool:
        """Whether people or a simulator drew the semantic labels, rather than their being derived from boxes."""
        return self.label_set != "boxes"


def nothing_known(height_px: int, width_px: int) -> npt.NDArray[np.uint8]:
    """Semantic labels of an image that has none."""
    return np.full((height_px, width_px), VOID_ID, np.uint8)
