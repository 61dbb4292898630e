"""Runs the 3D tracker over one sequence of detections: online, or with a second pass over the whole sequence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.geometry import SE3
from perception.kernels import box_tracks
from perception.tracking.box_tracker import BoxTracker
from perception.tracking.offline import Tracklet, merge_tracklets, smooth_tracklet
from perception.tracking.settings import BoxTrackerSettings

__all__ = ["TrackRows", "track_boxes", "track_boxes_offline"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
# frame, track id, class row, seen, score, box in the world
_Piece = tuple[int, int, int, bool, float, Float64Array]


@dataclass(frozen=True, slots=True, eq=False)
class TrackRows:
    """Tracks of a whole sequence, row by row in the order of frames.

    Attributes:
        frames: (R,) i64.
        track_ids: (R,) i64.
        class_rows: (R,) i64 rows of the settings' classes.
        boxes_ego: (R, 7) f64 x, y, z, yaw, length, width, height.
        boxes_xyxy: (R, 4) f64 px.
        scores: (R,) f64 log-odds.
    """

    frames: Int64Array
    track_ids: Int64Array
    class_rows: Int64Array
    boxes_ego: Float64Array
    boxes_xyxy: Float64Array
    scores: Float64Array

    def __len__(self) -> int:
        return len(self.frames)

    def select(self, rows: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> TrackRows:
        """The given rows, by index or mask."""
        return TrackRows(
            self.frames[rows],
            self.track_ids[rows],
            self.class_rows[rows],
            self.boxes_ego[rows],
            self.boxes_xyxy[rows],
            self.scores[rows],
        )


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """One online pass: what was shown, and what each detection was used for."""

    rows: TrackRows
    poses: list[SE3]
    track_of_detection: Int64Array


def track_boxes(
    settings: BoxTrackerSettings,
    frame_starts: Int64Array,
    boxes_ego: Float64Array,
    scores: Float64Array,
    class_rows: Int64Array,
    projection: Float64Array,
    image_size: tuple[float, float],
    frame_s: float = 0.1,
    poses: Sequence[SE3] | None = None,
) -> TrackRows:
    """Tracks a sequence frame by frame; no row depends on a later frame.

    Args:
        settings: of the tracker.
        frame_starts: (F + 1,) where each frame begins in the arrays below.
        boxes_ego: (N, 7).
        scores: (N,).
        class_rows: (N,) rows of the settings' classes.
        projection: (3, 4) from ego coordinates to pixels.
        image_size: width and height, px.
        frame_s: time between frames.
        poses: one per frame, or None to estimate them.
    """
    return _online(settings, frame_starts, boxes_ego, scores, class_rows, projection, image_size, frame_s, poses).rows


def track_boxes_offline(
    settings: BoxTrackerSettings,
    frame_starts: Int64Array,
    boxes_ego: Float64Array,
    scores: Float64Array,
    class_rows: Int64Array,
    projection: Float64Array,
    image_size: tuple[float, float],
    frame_s: float = 0.1,
    poses: Sequence[SE3] | None = None,
) -> TrackRows:
    """As ``track_boxes``, then merges, smooths and fills over the whole sequence (``perception.tracking.offline``)."""
    boxes_ego, scores = np.require(boxes_ego, np.float64, "C"), np.require(scores, np.float64, "C")
    online = _online(settings, frame_starts, boxes_ego, scores, class_rows, projection, image_size, frame_s, poses)
    parameters = settings.parameters()
    log_odds, deviations = np.empty(len(scores)), np.empty(len(scores))
    frames = np.repeat(np.arange(len(frame_starts) - 1), np.diff(frame_starts))
    boxes_world = np.empty_like(boxes_ego)
    for frame, pose in enumerate(online.poses):
        here = slice(frame_starts[frame], frame_starts[frame + 1])
        boxes_world[here] = box_tracks.to_world(boxes_ego[here], _flat(pose))
        log_odds[here], deviations[here] = box_tracks.calibrate(
            boxes_ego[here], scores[here], class_rows[here], parameters
        )
    names = settings.class_names
    tracklets = []
    for track_id in np.unique(online.track_of_detection[online.track_of_detection >= 0]):
        rows = np.flatnonzero(online.track_of_detection == track_id)
        tracklets.append(
            Tracklet(
                int(track_id), names[class_rows[rows[0]]], frames[rows], boxes_world[rows], log_odds[rows],
                deviations[rows],
            )
        )  # fmt: skip
    pieces: list[_Piece] = []
    for tracklet in merge_tracklets(tracklets, settings.classes, frame_s):
        own = settings.classes[tracklet.class_name]
        trajectory = smooth_tracklet(tracklet, own, frame_s, settings.offline_drawn_out_frames)
        class_row = names.index(tracklet.class_name)
        for at, frame in enumerate(trajectory.frames):
            if frame < len(online.poses):
                seen, box = bool(trajectory.seen[at]), trajectory.boxes_world[at]
                pieces.append((int(frame), trajectory.track_id, class_row, seen, trajectory.score, box))
    pieces.sort(key=lambda piece: piece[:2])
    return _placed(pieces, online.poses, settings, parameters, projection, image_size)


def _online(
    settings: BoxTrackerSettings,
    frame_starts: Int64Array,
    boxes_ego: Float64Array,
    scores: Float64Array,
    class_rows: Int64Array,
    projection: Float64Array,
    image_size: tuple[float, float],
    frame_s: float,
    poses: Sequence[SE3] | None,
) -> _Pass:
    tracker = BoxTracker(settings)
    shown, used_poses = [], []
    track_of_detection = np.full(len(scores), -1, np.int64)
    for frame in range(len(frame_starts) - 1):
        here = slice(frame_starts[frame], frame_starts[frame + 1])
        tracks = tracker.step(
            boxes_ego[here], scores[here], class_rows[here], round(frame * frame_s * 1e9),
            None if poses is None else poses[frame], projection, image_size,
        )  # fmt: skip
        paired = tracker.pairs()
        track_of_detection[here][paired[:, 1]] = paired[:, 0]
        used_poses.append(tracker.world_SE3_ego)
        shown.append((frame, tracks))
    rows = TrackRows(
        np.concatenate([np.full(len(tracks), frame) for frame, tracks in shown] or [np.zeros(0)]).astype(np.int64),
        np.concatenate([tracks.track_ids for _, tracks in shown] or [np.zeros(0, np.int64)]),
        np.concatenate([tracks.class_rows for _, tracks in shown] or [np.zeros(0, np.int64)]),
        np.concatenate([tracks.boxes_ego for _, tracks in shown] or [np.zeros((0, 7))]),
        np.concatenate([tracks.boxes_xyxy for _, tracks in shown] or [np.zeros((0, 4))]),
        np.concatenate([tracks.scores for _, tracks in shown] or [np.zeros(0)]),
    )
    return _Pass(rows, used_poses, track_of_detection)


def _placed(
    pieces: list[_Piece],
    poses: Sequence[SE3],
    settings: BoxTrackerSettings,
    parameters: Float64Array,
    projection: Float64Array,
    image_size: tuple[float, float],
) -> TrackRows:
    """World boxes of trajectories in each frame's ego frame and image; filled ones only where mostly in the image."""
    count = len(pieces)
    frames = np.array([piece[0] for piece in pieces], np.int64)
    classes = np.array([piece[2] for piece in pieces], np.int64)
    seen = np.array([piece[3] for piece in pieces], np.bool_)
    boxes = np.array([piece[5] for piece in pieces]).reshape(count, 7)
    integers = np.zeros((count, box_tracks.INTEGERS), np.int64)
    integers[:, box_tracks.CLASS] = classes
    for frame in np.unique(frames):
        rows = frames == frame
        boxes[rows] = box_tracks.to_world(boxes[rows], _flat(poses[frame].inverse()))
    boxes[:, 4:6] *= parameters[classes][:, [box_tracks.SHOW_LENGTH, box_tracks.SHOW_WIDTH]]
    placed = box_tracks.image_boxes(
        boxes, integers, count, np.ascontiguousarray(projection).ravel(), image_size[0], image_size[1], parameters
    )
    shares = np.array([settings.classes[name].show_visible_share for name in settings.class_names])
    kept = np.where(seen, placed[:, 4] > 0.0, placed[:, 4] >= np.maximum(shares[classes], 1e-6))
    rows = TrackRows(
        frames,
        np.array([piece[1] for piece in pieces], np.int64),
        classes,
        boxes,
        placed[:, :4],
        np.array([piece[4] for piece in pieces]),
    )
    return rows.select(kept)


def _flat(pose: SE3) -> Float64Array:
    return np.concatenate([pose.rotation.ravel(), pose.translation])
