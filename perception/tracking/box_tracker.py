"""Tracking upright 3D boxes: the algorithm on one screen, its steps in ``perception.kernels.box_tracks``.

Tracks live in a world frame. With given poses that is the drive's world. Without, the tracker estimates the vehicle's
motion itself: the detections of tracked objects are aligned with where their tracks expect them, which a vehicle that
turns or brakes shifts all together and a single moving object does not.

Births and deaths go by evidence. Every detection starts a track, weak ones included, and the track's score says how far
to believe it; callers choose their own threshold.

Rules for odd input: another call with the same timestamp is another view of the same moment (several cameras, or a
frame twice): it may correct and start tracks but takes no evidence away. When time goes backwards, or jumps by more
than ``max_gap_s``, all tracks end and ids go on. Beyond ``max_objects`` only the best-scoring detections are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.geometry import SE3
from perception.kernels import assignment, box_ego_motion, box_tracks
from perception.tracking.settings import BoxTrackerSettings

__all__ = ["BoxTracker", "BoxTracks"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

_NO_IMAGE = np.zeros((0, 5))


@dataclass(frozen=True, slots=True, eq=False)
class BoxTracks:
    """Tracks to show after one frame, in order of age.

    Attributes:
        track_ids: (T,) i64.
        class_rows: (T,) i64 rows of the settings' classes.
        boxes_ego: (T, 7) f64 x, y, z, yaw, length, width, height.
        boxes_xyxy: (T, 4) f64 px, or (0, 4) without a camera.
        velocities_world: (T, 2) f64 m/s in the plane.
        scores: (T,) f64 log-odds of being a real object.
        detection_rows: (T,) i64, -1 while coasting.
        ages: (T,) i64 frames since birth.
    """

    track_ids: Int64Array
    class_rows: Int64Array
    boxes_ego: Float64Array
    boxes_xyxy: Float64Array
    velocities_world: Float64Array
    scores: Float64Array
    detection_rows: Int64Array
    ages: Int64Array

    def __len__(self) -> int:
        return len(self.track_ids)


# boxes in the world, projection, image size, kept rows, tracks
_Shown = tuple[Float64Array, Float64Array | None, tuple[float, float], Int64Array | None, BoxTracks]


class BoxTracker:
    """Follows upright 3D boxes of several classes at once."""

    def __init__(self, settings: BoxTrackerSettings) -> None:
        self.settings = settings
        self._parameters = settings.parameters()
        ego = settings.ego
        self._start_std = np.array([ego.speed_std, ego.side_speed_std, ego.yaw_rate_std])
        self._drift_std = np.array([ego.acceleration_std, ego.side_acceleration_std, ego.yaw_acceleration_std])
        # tracks outnumber detections while some coast
        self._floats = np.zeros((2 * settings.max_objects, box_tracks.FLOATS))
        self._integers = np.zeros((2 * settings.max_objects, box_tracks.INTEGERS), np.int64)
        self.reset()

    def reset(self) -> None:
        """Forgets all tracks and the vehicle's motion, and starts ids anew."""
        self._count = 0
        self._next_id = 1
        self._kept: Int64Array | None = None
        # what the last step showed, and from what
        self._last: _Shown | None = None
        self._timestamp_ns: int | None = None
        self._pose = np.array([1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0, 0, 0, 0])
        # speed along and across the vehicle (m/s) and yaw rate (rad/s), with their standard deviations
        self._motion = np.stack([np.zeros(3), self._start_std])

    @property
    def world_SE3_ego(self) -> SE3:
        """The pose in use: given, or estimated from the detections."""
        # a copy, since the kernels move the pose in place
        pose = self._pose.copy()
        return SE3(pose[:9].reshape(3, 3), pose[9:])

    def step(
        self,
        boxes_ego: Float64Array,
        scores: Float64Array,
        class_rows: Int64Array,
        timestamp_ns: int,
        world_SE3_ego: SE3 | None = None,
        projection: Float64Array | None = None,
        image_size: tuple[float, float] = (np.inf, np.inf),
    ) -> BoxTracks:
        """Advances to a new moment, or adds another view of the same one.

        Args:
            boxes_ego: (N, 7) x, y, z, yaw, length, width, height in the ego frame; finite with positive sides.
            scores: (N,) finite, in the unit that the settings calibrate.
            class_rows: (N,) rows of the settings' classes.
            timestamp_ns: time of the frame.
            world_SE3_ego: pose, or None to estimate it.
            projection: (3, 4) from ego coordinates to pixels, or None when there is no camera.
            image_size: width and height, px.

        Raises:
            ValueError: a shape or value is wrong.
        """
        boxes, scores, classes, kept = self._checked(boxes_ego, scores, class_rows)
        dt_s, moved = self._advance_clock(timestamp_ns)
        log_odds, deviations = box_tracks.calibrate(boxes, scores, classes, self._parameters)
        box_ego_motion.predict_ego(self._pose, self._motion, dt_s, self.settings.ego.straightening)
        box_tracks.predict(self._floats, self._integers, self._count, dt_s, self._parameters)
        if world_SE3_ego is not None:
            self._pose = np.concatenate([world_SE3_ego.rotation.ravel(), world_SE3_ego.translation])
        boxes_world = box_tracks.to_world(boxes, self._pose)
        estimates_ego = world_SE3_ego is None and dt_s > 0.0
        pairs = self._associate(boxes_world, classes, deviations, near=not estimates_ego)
        if estimates_ego:
            residuals = box_tracks.residuals(
                self._floats, self._integers, self._count, boxes_world, deviations, pairs, self._parameters
            )
            box_ego_motion.correct_ego(
                residuals, dt_s, self.settings.ego.tail_degrees, self._drift_std, self._pose, self._motion
            )
            boxes_world = box_tracks.to_world(boxes, self._pose)
            pairs = self._associate(boxes_world, classes, deviations, near=True)
        unpaired = classes.copy()
        box_tracks.mark_pairs(self._integers, self._count, pairs, unpaired)
        self._count = box_tracks.update(
            self._floats, self._integers, self._count, boxes_world, log_odds, unpaired, classes, deviations,
            moved, self._next_id, self._parameters,
        )  # fmt: skip
        if self._count:
            self._next_id = max(self._next_id, int(self._integers[self._count - 1, box_tracks.ID]) + 1)
        self._kept = kept
        tracks = self._show(boxes_world, projection, image_size, kept)
        self._last = boxes_world, projection, image_size, kept, tracks
        return tracks

    def pairs(self) -> Int64Array:
        """(K, 2) i64: id of each track that the last step's detections reached, and the detection's row."""
        integers = self._integers[: self._count]
        paired = integers[integers[:, box_tracks.DETECTION] >= 0][:, [box_tracks.ID, box_tracks.DETECTION]]
        if self._kept is not None:
            paired[:, 1] = self._kept[paired[:, 1]]
        return paired

    def live_ids(self) -> list[int]:
        """Ids of every track that is kept, shown or not."""
        return self._integers[: self._count, box_tracks.ID].tolist()  # type: ignore[no-any-return]

    def correct_from_camera(self, track_ids: Int64Array, boxes_xyxy: Float64Array, scores: Float64Array) -> BoxTracks:
        """Tells of tracks that a camera alone saw in the moment of the last step; returns what to show now.

        Args:
            track_ids: (K,) shown by the last step without a detection, each once.
            boxes_xyxy: (K, 4) px, in the camera whose projection that step was given.
            scores: (K,) finite, in the unit that the settings calibrate.

        Raises:
            ValueError: the last step had no camera, or showed no such track as coasting.
        """
        if self._last is None or self._last[1] is None:
            raise ValueError("correct_from_camera must follow a step with a projection")
        boxes_world, projection, image_size, kept, tracks = self._last
        at = [np.flatnonzero((tracks.track_ids == i) & (tracks.detection_rows < 0)) for i in track_ids]
        for track_id, found in zip(track_ids, at, strict=True):
            if len(found) != 1:
                raise ValueError(f"track_ids must be shown without a detection but {track_id} is not")
        expected = tracks.boxes_xyxy[[int(found[0]) for found in at]].reshape(-1, 4)
        rows = np.flatnonzero(np.isin(self._integers[: self._count, box_tracks.ID], track_ids))
        # rows are in the order of ids, oldest first
        order = np.argsort(track_ids)
        box_tracks.correct_from_camera(
            self._floats, self._integers, rows, np.ascontiguousarray(expected[order], np.float64),
            np.ascontiguousarray(boxes_xyxy[order], np.float64), np.ascontiguousarray(scores[order], np.float64),
            self._pose, np.ascontiguousarray(projection, np.float64).ravel(), image_size[0], image_size[1],
            self._parameters,
        )  # fmt: skip
        return self._show(boxes_world, projection, image_size, kept)

    def _associate(
        self, boxes_world: Float64Array, classes: Int64Array, deviations: Float64Array, *, near: bool
    ) -> Int64Array:
        costs = box_tracks.pair_costs(
            self._floats, self._integers, self._count, boxes_world, classes, deviations, self._parameters, near
        )
        return assignment.assign_gated(costs, 0.0)

    def _show(
        self,
        boxes_world: Float64Array,
        projection: Float64Array | None,
        image_size: tuple[float, float],
        kept: Int64Array | None,
    ) -> BoxTracks:
        boxes = box_tracks.boxes_of(
            self._floats, self._integers, self._count, boxes_world, self._pose, self._parameters
        )
        in_image = _NO_IMAGE
        if projection is not None:
            in_image = box_tracks.image_boxes(
                boxes, self._integers, self._count, np.ascontiguousarray(projection, np.float64).ravel(),
                image_size[0], image_size[1], self._parameters,
            )  # fmt: skip
        rows, scores = box_tracks.shown(self._floats, self._integers, self._count, in_image, self._parameters)
        integers = self._integers[rows]
        detection_rows = integers[:, box_tracks.DETECTION]
        if kept is not None:
            detection_rows = np.where(detection_rows >= 0, kept[detection_rows], -1)
        return BoxTracks(
            integers[:, box_tracks.ID],
            integers[:, box_tracks.CLASS],
            boxes[rows],
            in_image[rows, :4] if projection is not None else _NO_IMAGE[:, :4],
            self._floats[rows, box_tracks.VX : box_tracks.VY + 1],
            scores,
            detection_rows,
            integers[:, box_tracks.AGE],
        )

    def _advance_clock(self, timestamp_ns: int) -> tuple[float, bool]:
        """Seconds since the last frame, and whether this is a new moment; ends all tracks at a jump or step back."""
        first = self._timestamp_ns is None
        dt_s = 0.0 if self._timestamp_ns is None else (timestamp_ns - self._timestamp_ns) * 1e-9
        self._timestamp_ns = timestamp_ns
        if not 0.0 <= dt_s <= self.settings.max_gap_s:
            self._count = 0
            self._motion[1] = self._start_std
            return 0.0, True
        return dt_s, dt_s > 0.0 or first

    def _checked(
        self, boxes_ego: Float64Array, scores: Float64Array, class_rows: Int64Array
    ) -> tuple[Float64Array, Float64Array, Int64Array, Int64Array | None]:
        boxes = np.require(boxes_ego, np.float64, "C")
        score = np.require(scores, np.float64, "C")
        classes = np.require(class_rows, np.int64, "C")
        count = len(boxes)
        if boxes.shape != (count, 7) or score.shape != (count,) or classes.shape != (count,):
            raise ValueError(
                "boxes_ego, scores and class_rows must be (N, 7), (N,) and (N,) but got shapes "
                f"{boxes.shape}, {score.shape} and {classes.shape}"
            )
        if not count:
            return boxes, score, classes, None
        # one sum finds every NaN and infinity
        if not math.isfinite(boxes.sum() + score.sum()) or boxes[:, 4:].min() <= 0.0:
            good = np.isfinite(boxes).all(axis=1) & np.isfinite(score) & (boxes[:, 4:] > 0.0).all(axis=1)
            if not good.all():
                row = int(np.flatnonzero(~good)[0])
                raise ValueError(
                    f"boxes_ego must be finite with positive sides and scores finite, but row {row} is "
                    f"{boxes[row].tolist()} with score {score[row]}"
                )
        if classes.min() < 0 or classes.max() >= len(self._parameters):
            raise ValueError(
                f"class_rows must be 0 ... {len(self._parameters) - 1} ({', '.join(self.settings.class_names)}) "
                f"but got {int(classes.min())} ... {int(classes.max())}"
            )
        if count <= self.settings.max_objects:
            return boxes, score, classes, None
        kept = np.sort(np.argsort(-score, kind="stable")[: self.settings.max_objects])
        return boxes[kept], score[kept], classes[kept], kept
