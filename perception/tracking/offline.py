"""Trajectories from a whole sequence at once, for auto-labelling: what an online tracker cannot know yet.

Tracklets whose ends fit are merged, every trajectory is smoothed over all its detections (Rauch-Tung-Striebel), gaps
are filled, sizes settle on one value, and the score is that of the whole trajectory from its first frame on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.geometry import wrap_angle
from perception.kernels import assignment, kalman
from perception.tracking.settings import BoxClassSettings

__all__ = ["Tracklet", "Trajectory", "merge_tracklets", "smooth_tracklet"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

# ends further apart in time than this are not joined
_MAX_GAP_S = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Tracklet:
    """The detections that an online track was paired with.

    Attributes:
        track_id: of the track.
        class_name: from ``OBJECT_CLASSES``.
        frames: (K,) i64 rising.
        boxes_world: (K, 7) f64 x, y, z, yaw, length, width, height.
        log_odds: (K,) f64 of being right.
        deviations: (K,) f64 m of position.
    """

    track_id: int
    class_name: str
    frames: Int64Array
    boxes_world: Float64Array
    log_odds: Float64Array
    deviations: Float64Array


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """One object over every frame between its first and last.

    Attributes:
        track_id: of its first tracklet.
        class_name: from ``OBJECT_CLASSES``.
        frames: (T,) i64 rising, without gaps up to the class's ``fill_frames``.
        boxes_world: (T, 7) f64.
        seen: (T,) bool, False where a gap was filled or an end drawn out.
        score: log-odds of being real.
    """

    track_id: int
    class_name: str
    frames: Int64Array
    boxes_world: Float64Array
    seen: npt.NDArray[np.bool_]
    score: float


def merge_tracklets(
    tracklets: Sequence[Tracklet], classes: dict[str, BoxClassSettings], frame_s: float
) -> list[Tracklet]:
    """Joins ends to beginnings where the smoothed motion of both agrees on the way between.

    The cost of a joint is the squared distance between where each side expects the other, over what their velocities
    and accelerations leave uncertain; joints are chosen together by optimal assignment, one end to one beginning.
    """
    ends = [_end_motion(tracklet, classes[tracklet.class_name], frame_s) for tracklet in tracklets]
    count = len(tracklets)
    costs = np.full((count, count), np.inf)
    starts = np.array([tracklet.frames[0] for tracklet in tracklets])
    for i, before in enumerate(tracklets):
        own = classes[before.class_name]
        gaps_s = (starts - before.frames[-1]) * frame_s
        for j in np.flatnonzero((gaps_s > 0.0) & (gaps_s <= _MAX_GAP_S)):
            after, gap_s = tracklets[int(j)], gaps_s[j]
            if before.class_name != after.class_name:
                continue
            last, velocity_out = ends[i][1]
            first, velocity_in = ends[j][0]
            miss_out = first - (last + gap_s * velocity_out)
            miss_in = last - (first - gap_s * velocity_in)
            std = 0.5 + 0.25 * own.acceleration_std * gap_s**2 + own.birth_speed_std * 0.1 * gap_s
            costs[i, j] = 0.5 * (miss_out @ miss_out + miss_in @ miss_in) / std**2
    follower = assignment.assign_gated(costs, 2.0) if count else np.zeros(0, np.int64)
    merged: list[Tracklet] = []
    has_predecessor = set(follower[follower >= 0].tolist())
    for start in range(count):
        if start in has_predecessor:
            continue
        chain = [start]
        while follower[chain[-1]] >= 0:
            chain.append(int(follower[chain[-1]]))
        parts = [tracklets[i] for i in chain]
        merged.append(
            Tracklet(
                parts[0].track_id,
                parts[0].class_name,
                np.concatenate([part.frames for part in parts]),
                np.concatenate([part.boxes_world for part in parts]),
                np.concatenate([part.log_odds for part in parts]),
                np.concatenate([part.deviations for part in parts]),
            )
        )
    return merged


def smooth_tracklet(tracklet: Tracklet, own: BoxClassSettings, frame_s: float, drawn_out_frames: int) -> Trajectory:
    """Every frame of one object, smoothed; ends are drawn out by ``drawn_out_frames`` at their last velocity."""
    first, last = int(tracklet.frames[0]), int(tracklet.frames[-1])
    frames = np.arange(first, last + 1)
    rows = tracklet.frames - first
    seen = np.zeros(len(frames), np.bool_)
    seen[rows] = True
    filled = np.ones(len(frames), np.bool_)
    yaws = _upright_yaws(tracklet)
    measured = np.full((len(frames), 3), np.nan)
    measured[rows] = tracklet.boxes_world[:, :3]
    stds = np.full(len(frames), tracklet.deviations[0])
    stds[rows] = tracklet.deviations
    times = frames * frame_s
    plane, _ = kalman.smooth(times, measured[:, :2], own.trust * stds, own.acceleration_std)
    height, _ = kalman.smooth(times, measured[:, 2:], np.full(len(frames), own.height_std_m), 1.0)
    turned = np.full((len(frames), 1), np.nan)
    turned[rows, 0] = np.unwrap(yaws)
    yaw, _ = kalman.smooth(times, turned, np.full(len(frames), own.yaw_std), 0.5 + own.yaw_rate_std)

    boxes = np.empty((len(frames), 7))
    boxes[:, :2] = plane[:, :, 0]
    boxes[:, 2] = height[:, 0, 0]
    boxes[:, 3] = yaw[:, 0, 0]
    weights = 1.0 / tracklet.deviations**2 / (1.0 + np.exp(-tracklet.log_odds))
    boxes[:, 4:] = weights @ tracklet.boxes_world[:, 4:] / weights.sum()
    # long unseen, an object is more often hidden or gone than where its motion would have it
    gaps = np.diff(tracklet.frames) - 1
    for end in np.flatnonzero(gaps > own.fill_frames):
        filled[rows[end] + 1 : rows[end + 1]] = False
    if drawn_out_frames:
        steps = np.arange(1, drawn_out_frames + 1)[:, None] * frame_s
        before, after = np.repeat(boxes[:1], len(steps), axis=0), np.repeat(boxes[-1:], len(steps), axis=0)
        before[:, :2] -= steps[::-1] * plane[0, :, 1]
        after[:, :2] += steps * plane[-1, :, 1]
        boxes = np.concatenate([before, boxes, after])
        frames = np.arange(first - drawn_out_frames, last + drawn_out_frames + 1)
        seen = np.pad(seen, drawn_out_frames)
        filled = np.pad(filled, drawn_out_frames, constant_values=True) & (frames >= 0)
    boxes, frames, seen = boxes[filled], frames[filled], seen[filled]
    boxes[:, 3] = wrap_angle(boxes[:, 3])
    doublings = min(float(np.log2(len(tracklet.frames))), own.bonus_doublings)
    score = float(tracklet.log_odds.mean()) + own.length_bonus * doublings
    return Trajectory(tracklet.track_id, tracklet.class_name, frames, boxes, seen, score)


def _upright_yaws(tracklet: Tracklet) -> Float64Array:
    """Yaws without half turns: all follow the direction that most detections, by weight, agree on."""
    yaws = tracklet.boxes_world[:, 3].copy()
    doubled = np.unwrap(2.0 * yaws) / 2.0
    flips = np.cos(yaws - doubled) < 0.0
    weights = 1.0 / (1.0 + np.exp(-tracklet.log_odds))
    if weights[flips].sum() > weights[~flips].sum():
        doubled += np.pi
    return np.asarray(doubled)


def _end_motion(
    tracklet: Tracklet, own: BoxClassSettings, frame_s: float
) -> tuple[tuple[Float64Array, Float64Array], tuple[Float64Array, Float64Array]]:
    """Position and velocity in the plane at the first and at the last detection."""
    plane, _ = kalman.smooth(
        tracklet.frames * frame_s, tracklet.boxes_world[:, :2], tracklet.deviations, own.acceleration_std
    )
    # one detection says nothing of velocity
    still = np.zeros(2) if len(tracklet.frames) < 2 else None
    return (
        (plane[0, :, 0], plane[0, :, 1] if still is None else still),
        (plane[-1, :, 0], plane[-1, :, 1] if still is None else still),
    )
