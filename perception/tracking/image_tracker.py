"""Tracking in the image: Kalman filters on boxes, association in up to three stages, births and deaths.

One class serves SORT, ByteTrack, OC-SORT and this project's own combination; what differs are the settings.

1. Confident detections pair with the predicted boxes by IoU, optionally with OC-SORT's direction term.
2. Weak detections pair with the tracks that are left (ByteTrack): weak ones continue a track but never start one.
3. Confident detections that are left pair with the last *seen* box of tracks that are left (OC-SORT's recovery).

Rules for odd input: a frame with the same timestamp as the last is associated without prediction; when time goes
backwards, or jumps by more than ``max_gap_s``, all tracks end and ids go on; beyond ``max_objects`` only the
best-scoring detections of a frame are used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.geometry import SE3
from perception.kernels import assignment, image_tracks
from perception.types import Boxes3D, Detections, Frame, Tracks

__all__ = ["ImageTracker", "ImageTrackerSettings"]

_NO_WARP = np.array([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])


@dataclass(frozen=True, slots=True)
class ImageTrackerSettings:
    """What distinguishes the image trackers.

    Attributes:
        high_score: detections from here on pair in the first stage.
        low_score: detections from here on pair in the second stage; equal to ``high_score`` there is none.
        birth_score: unpaired detections from here on start a track.
        min_iou: least overlap in the first stage.
        second_iou: least overlap in the second stage.
        recover_iou: least overlap with the last seen box in the third stage; 1 switches it off.
        momentum_weight: weight of the direction term in the first stage.
        re_update: replay a gap along a straight line when a track is found again.
        buffer: share of their size by which boxes grow before they are compared.
        max_coast_frames: frames that an unseen track is kept.
        min_hits: observations before a track is shown, except in the first frames of a drive.
        position_std: standard deviation of a detection's coordinates, in box heights.
        acceleration_std: standard deviation of acceleration, in box heights per second squared.
        max_gap_s: a longer step in time ends all tracks.
        max_objects: most detections used in a frame and most tracks kept.
    """

    high_score: float = 0.5
    low_score: float = 0.1
    birth_score: float = 0.6
    min_iou: float = 0.2
    second_iou: float = 0.4
    recover_iou: float = 0.3
    momentum_weight: float = 0.2
    re_update: bool = True
    buffer: float = 0.0
    max_coast_frames: int = 10
    min_hits: int = 3
    position_std: float = 0.05
    acceleration_std: float = 2.0
    max_gap_s: float = 3.0
    max_objects: int = 1000

    def __post_init__(self) -> None:
        for name in ("min_iou", "second_iou", "recover_iou"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be 0 ... 1 but got {getattr(self, name)}")
        for name in ("position_std", "acceleration_std", "max_gap_s", "max_objects", "min_hits"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive but got {getattr(self, name)}")
        if self.low_score > self.high_score:
            raise ValueError(f"low_score {self.low_score} must not exceed high_score {self.high_score}")


class ImageTracker:
    """Follows boxes in one camera's image; plays the ``Tracker`` role."""

    def __init__(self, settings: ImageTrackerSettings) -> None:
        self.settings = settings
        # tracks outnumber detections while some coast
        self._floats = np.zeros((2 * settings.max_objects, image_tracks.FLOATS))
        self._integers = np.zeros((2 * settings.max_objects, image_tracks.INTEGERS), np.int64)
        self.reset()

    def reset(self) -> None:
        """Forgets all tracks and starts ids anew."""
        self._count = 0
        self._next_id = 1
        self._frames_seen = 0
        self._time_s = 0.0
        self._timestamp_ns: int | None = None

    def update(self, frame: Frame, detections: Detections, boxes3d: Boxes3D, world_SE3_ego: SE3) -> Tracks:
        """Tracks after this frame, boxes in its pixels; ``boxes3d`` and the pose are not used."""
        return self.track_boxes(detections.boxes_xyxy, detections.scores, detections.class_ids, frame.timestamp_ns)

    def track_boxes(
        self,
        boxes_xyxy: npt.NDArray[np.float32],
        scores: npt.NDArray[np.float32],
        class_ids: npt.NDArray[np.int64],
        timestamp_ns: int,
    ) -> Tracks:
        """As ``update``, from arrays: (N, 4) f32 corners in order, (N,) f32 scores, (N,) i64 classes."""
        rows = self.step(boxes_xyxy, scores, class_ids, timestamp_ns)
        floats = self._floats[rows].astype(np.float32)
        integers = self._integers[rows]
        half = 0.5 * floats[:, 2:4]
        return Tracks(
            track_ids=integers[:, image_tracks.ID],
            boxes_xyxy=np.concatenate([floats[:, :2] - half, floats[:, :2] + half], axis=1),
            boxes3d=None,
            velocities=floats[:, image_tracks.VELOCITY : image_tracks.VELOCITY + 2],
            scores=floats[:, image_tracks.SCORE],
            class_ids=integers[:, image_tracks.CLASS],
            detection_rows=integers[:, image_tracks.DETECTION],
            ages=integers[:, image_tracks.AGE],
        )

    @property
    def frames_seen(self) -> int:
        """Frames since the start or ``reset``."""
        return self._frames_seen

    def live_ids(self) -> list[int]:
        """Ids of every track that is kept, shown or not."""
        return self._integers[: self._count, image_tracks.ID].tolist()  # type: ignore[no-any-return]

    def step(
        self,
        boxes_xyxy: npt.NDArray[np.float32],
        scores: npt.NDArray[np.float32],
        class_ids: npt.NDArray[np.int64],
        timestamp_ns: int,
        warp: npt.NDArray[np.float64] = _NO_WARP,
    ) -> npt.NDArray[np.int64]:
        """Advances to a new frame.

        Args:
            boxes_xyxy: (N, 4) f32 corners, checked as ``Detections`` does.
            scores: (N,) f32.
            class_ids: (N,) i64.
            timestamp_ns: time of the frame.
            warp: (6,) f64 rows of the 2x3 affine motion of the image since the last frame.

        Returns:
            (T,) i64 rows of the tracker's state to show: tracks seen now and often enough.
        """
        settings = self.settings
        strongest = None
        if len(scores) > settings.max_objects:
            strongest = np.sort(np.argsort(-scores, kind="stable")[: settings.max_objects])
            boxes_xyxy, scores, class_ids = boxes_xyxy[strongest], scores[strongest], class_ids[strongest]
        dt_s = self._advance_clock(timestamp_ns)
        image_tracks.predict(self._floats, self._integers, self._count, dt_s, settings.acceleration_std, warp)

        stage_of = np.where(scores >= settings.high_score, 1, np.where(scores >= settings.low_score, 2, 3))
        left = self._pair(boxes_xyxy, class_ids, stage_of, 1, settings.min_iou, settings.momentum_weight, False)
        if left and settings.low_score < settings.high_score:
            left = self._pair(boxes_xyxy, class_ids, stage_of, 2, settings.second_iou, 0.0, False)
        if left and settings.recover_iou < 1.0:
            self._pair(boxes_xyxy, class_ids, stage_of, 1, settings.recover_iou, 0.0, True)

        before = self._count
        self._count = image_tracks.update(
            self._floats, self._integers, before, boxes_xyxy, scores, class_ids, stage_of, self._time_s, dt_s,
            settings.position_std, settings.acceleration_std, settings.birth_score, self._next_id,
            settings.max_coast_frames, settings.min_hits, settings.re_update,
        )  # fmt: skip
        if self._count:
            self._next_id = max(self._next_id, int(self._integers[self._count - 1, image_tracks.ID]) + 1)
        self._frames_seen += 1
        if strongest is not None:
            found = self._integers[: self._count, image_tracks.DETECTION]
            found[found >= 0] = strongest[found[found >= 0]]
        young = self._frames_seen <= settings.min_hits
        return image_tracks.confirmed_rows(self._integers, self._count, settings.min_hits, 0, young)  # type: ignore[no-any-return]

    def _advance_clock(self, timestamp_ns: int) -> float:
        """Seconds since the last frame; ends all tracks when time runs backwards or jumps."""
        dt_s = 0.0 if self._timestamp_ns is None else (timestamp_ns - self._timestamp_ns) * 1e-9
        self._timestamp_ns = timestamp_ns
        if not 0.0 <= dt_s <= self.settings.max_gap_s:
            self._count = 0
            dt_s = 0.0
        self._time_s += dt_s
        return dt_s

    def _pair(
        self,
        boxes_xyxy: npt.NDArray[np.float32],
        class_ids: npt.NDArray[np.int64],
        stage_of: npt.NDArray[np.int64],
        stage: int,
        min_iou: float,
        momentum_weight: float,
        from_last_seen: bool,
    ) -> int:
        """Runs one stage; returns how many tracks are still unpaired."""
        if self._count == 0 or not (stage_of == stage).any():
            return self._count
        costs = image_tracks.pair_costs(
            self._floats, self._integers, self._count, boxes_xyxy, class_ids, stage_of, stage,
            min_iou, momentum_weight, from_last_seen, self.settings.buffer,
        )  # fmt: skip
        column_of_row = assignment.assign_gated(costs, 1.0 - min_iou + momentum_weight)
        return int(image_tracks.mark_pairs(self._integers, self._count, column_of_row, stage_of))
