"""Everything that crosses a stage: frozen structs of arrays, checked where they are made.

Arrays are never changed in place after construction; a stage that alters one makes a new struct.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.geometry import SE3, PinholeCamera

__all__ = [
    "Boxes3D",
    "DepthMap",
    "Detections",
    "Frame",
    "FrameResult",
    "InstanceMap",
    "SemanticMap",
    "Tracks",
]

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]


def _checked(
    owner: str, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike, shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    """Coerces to a C-contiguous array of ``dtype`` and compares its shape, None meaning any length."""
    if type(value) is np.ndarray and value.dtype == dtype and value.flags.c_contiguous:
        array = value  # as it should be: np.require would take a microsecond to find out
    else:
        array = np.require(value, dtype=dtype, requirements="C")
    if array.shape == shape:
        return array
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        wanted = "(" + ", ".join("N" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
        raise ValueError(f"{owner}.{name} must be {wanted} but got shape {array.shape}")
    return array


def _finite(owner: str, name: str, array: npt.NDArray[np.floating]) -> None:
    if array.size and not np.isfinite(array).all():
        row = int(np.argwhere(~np.isfinite(array.reshape(len(array), -1)).all(axis=1))[0, 0])
        raise ValueError(f"{owner}.{name} must be finite but row {row} is {array[row].tolist()}")


def _boxes_in_order(owner: str, boxes_xyxy: Float32Array) -> None:
    inverted = (boxes_xyxy[:, 2] < boxes_xyxy[:, 0]) | (boxes_xyxy[:, 3] < boxes_xyxy[:, 1])
    if inverted.any():
        row = int(np.flatnonzero(inverted)[0])
        raise ValueError(
            f"{owner}.boxes_xyxy must have x1 <= x2 and y1 <= y2 but row {row} is {boxes_xyxy[row].tolist()}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One camera image of a drive, with what else was recorded at that moment.

    Attributes:
        index: position in the drive, from 0; gaps stay gaps.
        name: the drive's own name for the frame, such as ``0000000012``; result files are named by it.
        timestamp_ns: time of the exposure.
        image_rgb: (H, W, 3) u8.
        camera: calibration, or None where the drive has none.
        world_SE3_ego: given pose, or None.
        points_ego: (P, 4) f32 lidar x, y, z in m and reflectance 0 ... 1, or None. All finite.
    """

    index: int
    name: str
    timestamp_ns: int
    image_rgb: npt.NDArray[np.uint8]
    camera: PinholeCamera | None = None
    world_SE3_ego: SE3 | None = None
    points_ego: Float32Array | None = None

    def __post_init__(self) -> None:
        if self.image_rgb.dtype != np.uint8:
            raise ValueError(f"Frame.image_rgb must be uint8 but got {self.image_rgb.dtype}")
        image = _checked("Frame", "image_rgb", self.image_rgb, np.uint8, (None, None, 3))
        if image.size == 0:
            raise ValueError(f"Frame.image_rgb must hold pixels but got shape {image.shape}")
        object.__setattr__(self, "image_rgb", image)
        if self.camera is not None and (self.camera.height_px, self.camera.width_px) != image.shape[:2]:
            raise ValueError(
                f"Frame.camera is for {self.camera.width_px}x{self.camera.height_px} but the image is "
                f"{image.shape[1]}x{image.shape[0]}"
            )
        if self.points_ego is not None:
            points = _checked("Frame", "points_ego", self.points_ego, np.float32, (None, 4))
            _finite("Frame", "points_ego", points)
            object.__setattr__(self, "points_ego", points)


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Boxes of one image, best first or not.

    Attributes:
        boxes_xyxy: (N, 4) f32 px, corners in continuous image coordinates.
        scores: (N,) f32, 0 ... 1.
        class_ids: (N,) i64 into ``OBJECT_CLASSES``.
        keypoints: (N, K, 3) f32 u, v px and confidence (COCO's 17 for pedestrian pose), or None.
        embeddings: (N, E) f32 rows of length 1, alike for one object in two frames and unlike for others, or None.
        solid: (N, 7) f32 what the image alone says of the object in space, or None: height, width, length in m, KITTI's
            observation angle in rad, distance of its centre along the camera's axis in m, and where that centre lies
            in the image, u and v in px.
    """

    boxes_xyxy: Float32Array
    scores: Float32Array
    class_ids: Int64Array
    keypoints: Float32Array | None = None
    embeddings: Float32Array | None = None
    solid: Float32Array | None = None

    def __post_init__(self) -> None:
        boxes = _checked("Detections", "boxes_xyxy", self.boxes_xyxy, np.float32, (None, 4))
        _finite("Detections", "boxes_xyxy", boxes)
        _boxes_in_order("Detections", boxes)
        scores = _checked("Detections", "scores", self.scores, np.float32, (len(boxes),))
        _finite("Detections", "scores", scores)
        object.__setattr__(self, "boxes_xyxy", boxes)
        object.__setattr__(self, "scores", scores)
        object.__setattr__(
            self, "class_ids", _checked("Detections", "class_ids", self.class_ids, np.int64, (len(boxes),))
        )
        if self.keypoints is not None:
            object.__setattr__(
                self,
                "keypoints",
                _checked("Detections", "keypoints", self.keypoints, np.float32, (len(boxes), None, 3)),
            )
        for name, value, columns in (("embeddings", self.embeddings, None), ("solid", self.solid, 7)):
            if value is not None:
                array = _checked("Detections", name, value, np.float32, (len(boxes), columns))
                _finite("Detections", name, array)
                object.__setattr__(self, name, array)

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    @classmethod
    def empty(cls) -> Detections:
        """No detection at all."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def select(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Detections:
        """The given rows, by index or mask."""
        return Detections(
            self.boxes_xyxy[rows],
            self.scores[rows],
            self.class_ids[rows],
            None if self.keypoints is None else self.keypoints[rows],
            None if self.embeddings is None else self.embeddings[rows],
            None if self.solid is None else self.solid[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Boxes3D:
    """Upright boxes in the ego frame.

    Attributes:
        centers_ego: (N, 3) f32 m, geometric centres.
        sizes_lwh: (N, 3) f32 m.
        yaws: (N,) f32 rad about ego z, 0 along ego x.
        scores: (N,) f32; 0 marks a row that could not be lifted (its other values are 0).
    """

    centers_ego: Float32Array
    sizes_lwh: Float32Array
    yaws: Float32Array
    scores: Float32Array

    def __post_init__(self) -> None:
        centers = _checked("Boxes3D", "centers_ego", self.centers_ego, np.float32, (None, 3))
        object.__setattr__(self, "centers_ego", centers)
        object.__setattr__(
            self, "sizes_lwh", _checked("Boxes3D", "sizes_lwh", self.sizes_lwh, np.float32, (len(centers), 3))
        )
        object.__setattr__(self, "yaws", _checked("Boxes3D", "yaws", self.yaws, np.float32, (len(centers),)))
        object.__setattr__(self, "scores", _checked("Boxes3D", "scores", self.scores, np.float32, (len(centers),)))
        for name in ("centers_ego", "sizes_lwh", "yaws", "scores"):
            _finite("Boxes3D", name, getattr(self, name))
        if (self.sizes_lwh < 0).any():
            raise ValueError("Boxes3D.sizes_lwh must not be negative")

    def __len__(self) -> int:
        return len(self.centers_ego)

    @classmethod
    def empty(cls, count: int = 0) -> Boxes3D:
        """``count`` rows that could not be lifted."""
        return cls(
            np.zeros((count, 3), np.float32),
            np.zeros((count, 3), np.float32),
            np.zeros(count, np.float32),
            np.zeros(count, np.float32),
        )

    def select(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Boxes3D:
        """The given rows, by index or mask."""
        return Boxes3D(self.centers_ego[rows], self.sizes_lwh[rows], self.yaws[rows], self.scores[rows])


@dataclass(frozen=True, slots=True, eq=False)
class SemanticMap:
    """A class for every pixel.

    Attributes:
        class_ids: (H, W) u8 into ``SEMANTIC_CLASSES``; 255 is void.
        confidence: (H, W) f32 probability of that class, or None.
    """

    class_ids: npt.NDArray[np.uint8]
    confidence: Float32Array | None = None

    def __post_init__(self) -> None:
        ids = _checked("SemanticMap", "class_ids", self.class_ids, np.uint8, (None, None))
        object.__setattr__(self, "class_ids", ids)
        if self.confidence is not None:
            object.__setattr__(
                self,
                "confidence",
                _checked("SemanticMap", "confidence", self.confidence, np.float32, ids.shape),
            )


@dataclass(frozen=True, slots=True, eq=False)
class InstanceMap:
    """Which detection each pixel belongs to.

    Attributes:
        detection_rows: (H, W) i32 rows of the frame's ``Detections``; -1 is background.
    """

    detection_rows: npt.NDArray[np.int32]

    def __post_init__(self) -> None:
        rows = _checked("InstanceMap", "detection_rows", self.detection_rows, np.int32, (None, None))
        object.__setattr__(self, "detection_rows", rows)

    @classmethod
    def empty(cls, height_px: int, width_px: int) -> InstanceMap:
        """Background everywhere."""
        return cls(np.full((height_px, width_px), -1, np.int32))


@dataclass(frozen=True, slots=True, eq=False)
class DepthMap:
    """Distance along the camera's z axis.

    Attributes:
        depth_m: (H, W) f32, NaN where unknown.
        is_measured: whether a sensor measured it, rather than a network guessing it from the image.
    """

    depth_m: Float32Array
    is_measured: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth_m", _checked("DepthMap", "depth_m", self.depth_m, np.float32, (None, None)))


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """Objects followed over frames, as they stand after one frame.

    Attributes:
        track_ids: (T,) i64, unique over a run, from 1.
        boxes_xyxy: (T, 4) f32 px, the filter's estimate.
        boxes3d: (T) boxes in the ego frame, or None for an image-only tracker.
        velocities: (T, 2) f32 px/s in the image, or (T, 3) f32 m/s in the world when ``boxes3d`` is given.
        scores: (T,) f32.
        class_ids: (T,) i64 into ``OBJECT_CLASSES``.
        detection_rows: (T,) i64 rows of the frame's ``Detections``; -1 for a track that coasts.
        ages: (T,) i64 frames since birth.
    """

    track_ids: Int64Array
    boxes_xyxy: Float32Array
    boxes3d: Boxes3D | None
    velocities: Float32Array
    scores: Float32Array
    class_ids: Int64Array
    detection_rows: Int64Array
    ages: Int64Array

    def __post_init__(self) -> None:
        ids = _checked("Tracks", "track_ids", self.track_ids, np.int64, (None,))
        if len(set(ids.tolist())) != len(ids):
            values, counts = np.unique(ids, return_counts=True)
            raise ValueError(f"Tracks.track_ids must be unique but {int(values[counts > 1][0])} occurs twice")
        object.__setattr__(self, "track_ids", ids)
        count = len(ids)
        object.__setattr__(
            self, "boxes_xyxy", _checked("Tracks", "boxes_xyxy", self.boxes_xyxy, np.float32, (count, 4))
        )
        _finite("Tracks", "boxes_xyxy", self.boxes_xyxy)
        if self.boxes3d is not None and len(self.boxes3d) != count:
            raise ValueError(f"Tracks.boxes3d must hold {count} boxes but got {len(self.boxes3d)}")
        wide = 2 if self.boxes3d is None else 3
        object.__setattr__(
            self, "velocities", _checked("Tracks", "velocities", self.velocities, np.float32, (count, wide))
        )
        object.__setattr__(self, "scores", _checked("Tracks", "scores", self.scores, np.float32, (count,)))
        for name in ("class_ids", "detection_rows", "ages"):
            object.__setattr__(self, name, _checked("Tracks", name, getattr(self, name), np.int64, (count,)))

    def __len__(self) -> int:
        return len(self.track_ids)

    @classmethod
    def empty(cls) -> Tracks:
        """Nothing followed."""
        none = np.zeros(0, np.int64)
        return cls(
            none,
            np.zeros((0, 4), np.float32),
            None,
            np.zeros((0, 2), np.float32),
            np.zeros(0, np.float32),
            none,
            none,
            none,
        )


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """All that the pipeline found in one frame.

    Attributes:
        frame: the input.
        detections: rows that the other fields refer to.
        semantic: class per pixel.
        instances: detection per pixel.
        depth: metric depth, or None without a source.
        boxes3d: one row per detection, score 0 where it could not be lifted.
        tracks: objects followed.
        world_SE3_ego: the pose used, given or estimated.
        timings_ms: milliseconds per stage, and ``total``.
    """

    frame: Frame
    detections: Detections
    semantic: SemanticMap
    instances: InstanceMap
    depth: DepthMap | None
    boxes3d: Boxes3D
    tracks: Tracks
    world_SE3_ego: SE3
    timings_ms: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.boxes3d) != len(self.detections):
            raise ValueError(f"FrameResult.boxes3d must hold {len(self.detections)} rows but got {len(self.boxes3d)}")
