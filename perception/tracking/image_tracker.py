"""Tracking in the image: Kalman filters on boxes, association in up to four stages, births and deaths.

One class serves SORT, ByteTrack, OC-SORT and this project's own combination; what differs are the settings.

1. Confident detections pair with the predicted boxes by IoU, with OC-SORT's direction term and with appearance.
2. Weak detections pair with the tracks that are left (ByteTrack): weak ones continue a track but never start one.
3. Confident detections that are left pair with the last *seen* box of tracks that are left (OC-SORT's recovery).
4. Confident detections that are left pair with lost tracks by appearance, size and place, so that ids come back.

Before that, all that is known of the tracks moves with the camera where its motion is told (``CameraMotion``).

Rules for odd input: boxes that are not finite or inverted, scores outside 0 ... 1 and unknown classes are refused with
their row, and nothing changes. A frame with the same timestamp as the last is associated without prediction; when time
goes backwards, or jumps by more than ``max_gap_s``, all tracks end and ids go on; beyond ``max_objects`` only the
best-scoring detections of a frame are used; detections for which the state has no room start no track.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES
from perception.geometry import SE3
from perception.kernels import image_tracks
from perception.kernels.checks import as_array
from perception.tracking.appearance import Appearance
from perception.tracking.camera_motion import CameraMotion
from perception.tracking.image_settings import ImageTrackerSettings
from perception.types import Boxes3D, Detections, Frame, Tracks

__all__ = ["ImageTracker", "ImageTrackerSettings"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

_STILL: Float64Array = np.zeros((0, 0))
_NO_LOOKS: Float32Array = np.zeros((0, 0), np.float32)


class ImageTracker:
    """Follows boxes in one camera's image; plays the ``Tracker`` role.

    Args:
        settings: which parts take part and how.
        camera_motion: tells ``update`` how the image moved as a whole; None leaves that to the filters.
        appearance: tells ``update`` what detections look like; None leaves it out.

    Raises:
        ConfigError: a difference of ``settings.per_class`` is wrong.
    """

    def __init__(
        self,
        settings: ImageTrackerSettings,
        camera_motion: CameraMotion | None = None,
        appearance: Appearance | None = None,
    ) -> None:
        self.settings = settings
        self._parameters = settings.parameters()
        self._camera_motion = camera_motion
        self._appearance = appearance
        # tracks outnumber detections while some coast or are lost
        capacity = 2 * settings.max_objects
        self._floats = np.zeros((capacity, image_tracks.FLOATS))
        self._integers = np.zeros((capacity, image_tracks.INTEGERS), np.int64)
        self._looks = np.zeros((capacity, 0), np.float32)
        self.reset()

    def reset(self) -> None:
        """Forgets all tracks and starts ids anew."""
        self._count = 0
        self._next_id = 1
        self._frames_seen = 0
        self._time_s = 0.0
        self._timestamp_ns: int | None = None
        if self._camera_motion is not None:
            self._camera_motion.reset()
        if self._appearance is not None:
            self._appearance.reset()

    def update(self, frame: Frame, detections: Detections, boxes3d: Boxes3D, world_SE3_ego: SE3) -> Tracks:
        """Tracks after this frame, boxes in its pixels; ``boxes3d`` is not used.

        Raises:
            ValueError: as ``track_boxes``.
        """
        return self.track_boxes(
            detections.boxes_xyxy, detections.scores, detections.class_ids, frame.timestamp_ns,
            *self.context(frame, detections, world_SE3_ego),
        )  # fmt: skip

    def context(
        self, frame: Frame, detections: Detections, world_SE3_ego: SE3
    ) -> tuple[Float32Array | None, Float64Array | None]:
        """What a frame tells besides its boxes: looks of the detections and ``now_H_last``, each None if not known."""
        looks = None if self._appearance is None else self._appearance.of_detections(frame, detections)
        if self._camera_motion is None:
            return looks, None
        return looks, self._camera_motion.estimate(frame, detections.boxes_xyxy, world_SE3_ego)

    def track_boxes(
        self,
        boxes_xyxy: Float32Array,
        scores: Float32Array,
        class_ids: Int64Array,
        timestamp_ns: int,
        embeddings: Float32Array | None = None,
        now_H_last: Float64Array | None = None,
    ) -> Tracks:
        """As ``update``, from arrays.

        Args:
            boxes_xyxy: (N, 4) f32 px, corners in order.
            scores: (N,) f32, 0 ... 1.
            class_ids: (N,) i64 into ``OBJECT_CLASSES``.
            timestamp_ns: time of the frame.
            embeddings: (N, E) f32 rows of length 1, alike for one object in two frames, or None.
            now_H_last: (3, 3) f64 homography of the image's own motion since the last frame, or None.

        Raises:
            ValueError: a shape, box, score or class is wrong; nothing has changed then.
        """
        boxes = as_array("boxes_xyxy", boxes_xyxy, np.float32, (None, 4))
        count = len(boxes)
        scores = as_array("scores", scores, np.float32, (count,))
        class_ids = as_array("class_ids", class_ids, np.int64, (count,))
        looks = _NO_LOOKS if embeddings is None or not count else self._checked_looks(embeddings, count)
        warp = _STILL if now_H_last is None else as_array("now_H_last", now_H_last, np.float64, (3, 3))
        strongest = None
        if count > self.settings.max_objects:
            self._refuse_bad(boxes, scores, class_ids)
            strongest = np.sort(np.argsort(-scores, kind="stable")[: self.settings.max_objects])
            boxes, scores, class_ids = boxes[strongest], scores[strongest], class_ids[strongest]
            looks = looks[strongest] if len(looks) else looks

        dt_s = 0.0 if self._timestamp_ns is None else (timestamp_ns - self._timestamp_ns) * 1e-9
        live = self._count
        if not 0.0 <= dt_s <= self.settings.max_gap_s:
            live, dt_s = 0, 0.0
        kept, next_id, ids, corners, velocities, means, labels, rows, ages = image_tracks.advance(
            self._floats, self._integers, self._looks, live, self._parameters, boxes, scores, class_ids, looks, warp,
            self._time_s + dt_s, dt_s, self._next_id, self._frames_seen < self.settings.min_hits,
        )  # fmt: skip
        if kept < 0:
            self._refuse_bad(boxes, scores, class_ids)
        self._timestamp_ns = timestamp_ns
        self._time_s += dt_s
        self._count, self._next_id = kept, next_id
        self._frames_seen += 1
        if strongest is not None:
            rows[rows >= 0] = strongest[rows[rows >= 0]]
        return Tracks(ids, corners, None, velocities, means, labels, rows, ages)

    @property
    def frames_seen(self) -> int:
        """Frames since the start or ``reset``."""
        return self._frames_seen

    def live_ids(self) -> list[int]:
        """Ids of every track that is kept, shown or not."""
        return self._integers[: self._count, image_tracks.ID].tolist()  # type: ignore[no-any-return]

    def _checked_looks(self, embeddings: Float32Array, count: int) -> Float32Array:
        looks: Float32Array = as_array("embeddings", embeddings, np.float32, (count, None))
        if self._looks.shape[1] != looks.shape[1]:
            if self._looks.shape[1] and self._count:
                raise ValueError(
                    f"embeddings must have {self._looks.shape[1]} columns as before but got {looks.shape[1]}"
                )
            self._looks = np.zeros((len(self._floats), looks.shape[1]), np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", looks, looks))
        if not np.isfinite(lengths).all():
            row = int(np.flatnonzero(~np.isfinite(lengths))[0])
            raise ValueError(f"embeddings must be finite but row {row} is not")
        # 0 is what nothing is known of
        wrong = (np.abs(lengths - 1.0) > 0.01) & (lengths > 0.0)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise ValueError(f"embeddings must have rows of length 1 (or 0) but row {row} has {lengths[row]:.3g}")
        return looks

    def _refuse_bad(self, boxes: Float32Array, scores: Float32Array, class_ids: Int64Array) -> None:
        good = np.isfinite(boxes).all(axis=1) & (boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1])
        for row in np.flatnonzero(~good)[:1]:
            raise ValueError(
                f"boxes_xyxy must be finite with x1 <= x2 and y1 <= y2 but row {row} is {boxes[row].tolist()}"
            )
        for row in np.flatnonzero(~((scores >= 0.0) & (scores <= 1.0)))[:1]:
            raise ValueError(f"scores must be 0 ... 1 but row {row} is {scores[row]}")
        for row in np.flatnonzero((class_ids < 0) | (class_ids >= len(OBJECT_CLASSES)))[:1]:
            raise ValueError(f"class_ids must be 0 ... {len(OBJECT_CLASSES) - 1} but row {row} is {class_ids[row]}")
