"""The steps of an image tracker over preallocated state: predict, cost of pairing, update, birth, death.

A track is one row of two arrays: ``floats`` (capacity, ``FLOATS``) f64 and ``integers`` (capacity, ``INTEGERS``) i64;
the live ones are the first ``count`` rows, oldest first. Centre x, centre y, width and height each have a Kalman filter
of constant velocity of their own with mean (p, v) and covariance (pp, pv, vv): SORT's 8x8 filter without its cross
terms, which are 0. Noise is in units of the box's height, as in DeepSORT (Wojke et al., ICIP 2017).

These functions are the inner half of ``perception.tracking.image_tracker``, which checks what goes in.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = [
    "AGE", "CLASS", "DETECTION", "FLOATS", "HITS", "ID", "INTEGERS", "MISSED", "POSITION", "SCORE", "VELOCITY",
    "confirmed_rows", "mark_pairs", "pair_costs", "predict", "update",
]  # fmt: skip

# columns of floats: the filter's twenty numbers, the last observed box, the last three observed centres with their
# times (newest first), the score, and the filter as it was at the last observation
POSITION, VELOCITY, COVARIANCE, SEEN, TRAIL, SCORE, SAVED = 0, 4, 8, 20, 24, 33, 34
FLOATS = SAVED + 20
# columns of integers
ID, CLASS, AGE, HITS, MISSED, DETECTION = 0, 1, 2, 3, 4, 5
INTEGERS = 6


@njit("void(float64[::1], float64, float64)", cache=True, nogil=True)
def _predict_one(state, dt_s, acceleration):  # type: ignore[no-untyped-def]
    noise = (acceleration * max(state[3], 1.0)) ** 2
    for k in range(4):
        velocity = state[4 + k]
        if k >= 2 and state[k] + velocity * dt_s <= 1.0:  # a size never shrinks through zero
            velocity = state[4 + k] = 0.0
        state[k] += velocity * dt_s
        pp, pv, vv = state[8 + k], state[12 + k], state[16 + k]
        state[8 + k] = pp + dt_s * (2.0 * pv + dt_s * vv) + noise * dt_s**4 / 4.0
        state[12 + k] = pv + dt_s * vv + noise * dt_s**3 / 2.0
        state[16 + k] = vv + noise * dt_s**2


@njit("void(float64[::1], float64, float64, float64, float64, float64)", cache=True, nogil=True)
def _correct_one(state, x, y, width, height, position_std):  # type: ignore[no-untyped-def]
    noise = (position_std * max(height, 1.0)) ** 2
    for k in range(4):
        measured = x if k == 0 else y if k == 1 else width if k == 2 else height
        pp, pv, vv = state[8 + k], state[12 + k], state[16 + k]
        gain = pp / (pp + noise)
        gain_v = pv / (pp + noise)
        innovation = measured - state[k]
        state[k] += gain * innovation
        state[4 + k] += gain_v * innovation
        state[8 + k] = (1.0 - gain) * pp
        state[12 + k] = (1.0 - gain) * pv
        state[16 + k] = vv - gain_v * pv


@njit("void(float64[:, ::1], int64[:, ::1], int64, float64, float64, float64[::1])", cache=True, nogil=True)
def predict(floats, integers, count, dt_s, acceleration, warp):  # type: ignore[no-untyped-def]
    """Moves every track ``dt_s`` ahead, through the camera's own motion ``warp`` (a b tx, c d ty), rows of 2x3."""
    scale = np.sqrt(abs(warp[0] * warp[4] - warp[1] * warp[3]))
    moved = not (
        warp[0] == 1.0 and warp[1] == 0.0 and warp[2] == 0.0 and warp[3] == 0.0 and warp[4] == 1.0 and warp[5] == 0.0
    )
    for i in range(count):
        state = floats[i]
        if moved:
            x, y = state[0], state[1]
            state[0] = warp[0] * x + warp[1] * y + warp[2]
            state[1] = warp[3] * x + warp[4] * y + warp[5]
            u, v = state[4], state[5]
            state[4] = warp[0] * u + warp[1] * v
            state[5] = warp[3] * u + warp[4] * v
            state[2] *= scale
            state[3] *= scale
        _predict_one(state, dt_s, acceleration)
        integers[i, 4] += 1
        integers[i, 2] += 1
        integers[i, 5] = -1


@njit(
    "float64[:, ::1](float64[:, ::1], int64[:, ::1], int64, float32[:, ::1], int64[::1], int64[::1], int64, "
    "float64, float64, boolean, float64)",
    cache=True,
    nogil=True,
)
def pair_costs(  # type: ignore[no-untyped-def]
    floats, integers, count, boxes, classes, stage_of, stage, min_iou, momentum_weight, from_last_seen, buffer
):
    """(count, N) cost 1 - IoU (+ momentum) of unpaired tracks and detections of ``stage``; infinite where ruled out.

    Args:
        floats: track state.
        integers: track state; a track whose ``DETECTION`` is set is paired already.
        count: live tracks.
        boxes: (N, 4) f32 corners.
        classes: (N,) class ids; only equal classes pair.
        stage_of: (N,) the stage at which a detection may pair; -1 once it has.
        stage: the present one.
        min_iou: pairs at or below it are ruled out.
        momentum_weight: share of OC-SORT's direction term: the angle between a track's past motion and the motion
            towards the detection, over pi.
        from_last_seen: compare with the last observed box instead of the predicted one.
        buffer: both boxes grow by this share of their size on each side first (C-BIoU).
    """
    found = boxes.shape[0]
    costs = np.full((count, found), np.inf)
    for i in range(count):
        if integers[i, 5] >= 0:
            continue
        state = floats[i]
        if from_last_seen:
            ax1, ay1, ax2, ay2 = state[20], state[21], state[22], state[23]
        else:
            ax1, ax2 = state[0] - 0.5 * state[2], state[0] + 0.5 * state[2]
            ay1, ay2 = state[1] - 0.5 * state[3], state[1] + 0.5 * state[3]
        grow_x, grow_y = buffer * (ax2 - ax1), buffer * (ay2 - ay1)
        ax1, ax2, ay1, ay2 = ax1 - grow_x, ax2 + grow_x, ay1 - grow_y, ay2 + grow_y
        area = (ax2 - ax1) * (ay2 - ay1)
        own_class = integers[i, 1]
        # direction of travel between the oldest and the newest remembered observation
        along_x, along_y, travelled = 0.0, 0.0, 0.0
        if momentum_weight > 0.0 and integers[i, 3] > 1:
            oldest = min(integers[i, 3], 3) - 1
            along_x = state[24] - state[24 + 3 * oldest]
            along_y = state[25] - state[25 + 3 * oldest]
            travelled = np.sqrt(along_x * along_x + along_y * along_y)
        for j in range(found):
            if stage_of[j] != stage or classes[j] != own_class:
                continue
            bx1, by1, bx2, by2 = float(boxes[j, 0]), float(boxes[j, 1]), float(boxes[j, 2]), float(boxes[j, 3])
            if buffer > 0.0:
                grow_x, grow_y = buffer * (bx2 - bx1), buffer * (by2 - by1)
                bx1, bx2, by1, by2 = bx1 - grow_x, bx2 + grow_x, by1 - grow_y, by2 + grow_y
            width = min(ax2, bx2) - max(ax1, bx1)
            height = min(ay2, by2) - max(ay1, by1)
            if width <= 0.0 or height <= 0.0:
                continue
            inter = width * height
            iou = inter / (area + (bx2 - bx1) * (by2 - by1) - inter)
            if iou <= min_iou:
                continue
            cost = 1.0 - iou
            if travelled > 0.0:
                to_x = 0.5 * (bx1 + bx2) - state[24]
                to_y = 0.5 * (by1 + by2) - state[25]
                reach = np.sqrt(to_x * to_x + to_y * to_y)
                if reach > 0.0:
                    cosine = (along_x * to_x + along_y * to_y) / (travelled * reach)
                    angle = np.arccos(min(max(cosine, -1.0), 1.0))
                    cost += momentum_weight * (angle / np.pi - 0.5)
            costs[i, j] = cost
    return costs


@njit("int64(int64[:, ::1], int64, int64[::1], int64[::1])", cache=True, nogil=True)
def mark_pairs(integers, count, column_of_row, stage_of):  # type: ignore[no-untyped-def]
    """Writes the pairs of one stage into the state; returns how many tracks are still unpaired."""
    unpaired = 0
    for i in range(count):
        j = column_of_row[i]
        if j >= 0:
            integers[i, 5] = j
            stage_of[j] = -1
        unpaired += integers[i, 5] < 0
    return unpaired


@njit(
    "int64(float64[:, ::1], int64[:, ::1], int64, float32[:, ::1], float32[::1], int64[::1], int64[::1], float64, "
    "float64, float64, float64, float64, int64, int64, int64, boolean)",
    cache=True,
    nogil=True,
)
def update(  # type: ignore[no-untyped-def]
    floats, integers, count, boxes, scores, classes, stage_of, time_s, dt_s, position_std, acceleration, birth_score,
    next_id, max_missed, min_hits, re_update,
):  # fmt: skip
    """Corrects paired tracks, drops lost ones, starts tracks on unpaired detections; returns the new count.

    ``re_update`` replays a gap along a straight line between its two ends, as OC-SORT does. Tracks that were not yet
    seen ``min_hits`` times are dropped at their first miss. New ids run from ``next_id`` in the detections' order.
    """
    kept = 0
    for i in range(count):
        state = floats[i]
        j = integers[i, 5]
        if j >= 0:
            x, y = 0.5 * (boxes[j, 0] + boxes[j, 2]), 0.5 * (boxes[j, 1] + boxes[j, 3])
            width, height = float(boxes[j, 2] - boxes[j, 0]), float(boxes[j, 3] - boxes[j, 1])
            gap = integers[i, 4]
            if re_update and gap > 1:
                from_x, from_y = 0.5 * (state[20] + state[22]), 0.5 * (state[21] + state[23])
                from_width, from_height = state[22] - state[20], state[23] - state[21]
                state[:20] = state[34:54]
                for step in range(1, gap):
                    share = step / gap
                    _predict_one(state, dt_s, acceleration)
                    _correct_one(
                        state,
                        from_x + share * (x - from_x),
                        from_y + share * (y - from_y),
                        from_width + share * (width - from_width),
                        from_height + share * (height - from_height),
                        position_std,
                    )
                _predict_one(state, dt_s, acceleration)
            _correct_one(state, x, y, width, height, position_std)
            for k in range(4):
                state[20 + k] = boxes[j, k]
            for k in range(8, 2, -1):
                state[24 + k] = state[21 + k]
            state[24], state[25], state[26] = x, y, time_s
            state[33] += (scores[j] - state[33]) / min(integers[i, 3] + 1, 10)
            integers[i, 3] += 1
            integers[i, 4] = 0
            state[34:54] = state[:20]
        elif integers[i, 4] > max_missed or (integers[i, 3] < min_hits and integers[i, 2] >= min_hits):
            continue
        if kept != i:
            floats[kept] = floats[i]
            integers[kept] = integers[i]
        kept += 1
    for j in range(boxes.shape[0]):
        if stage_of[j] < 0 or scores[j] < birth_score or kept >= floats.shape[0]:
            continue
        state = floats[kept]
        x, y = 0.5 * (boxes[j, 0] + boxes[j, 2]), 0.5 * (boxes[j, 1] + boxes[j, 3])
        width, height = float(boxes[j, 2] - boxes[j, 0]), float(boxes[j, 3] - boxes[j, 1])
        noise = (position_std * max(height, 1.0)) ** 2
        state[:] = 0.0
        state[0], state[1], state[2], state[3] = x, y, width, height
        for k in range(4):
            state[8 + k] = noise
            # an unknown velocity of up to about three heights a second; sizes change more slowly
            state[16 + k] = (height if k >= 2 else 3.0 * height) ** 2 + 1.0
            state[20 + k] = boxes[j, k]
        state[24], state[25], state[26] = x, y, time_s
        state[33] = scores[j]
        state[34:54] = state[:20]
        integers[kept, 0] = next_id
        integers[kept, 1] = classes[j]
        integers[kept, 2] = 1
        integers[kept, 3] = 1
        integers[kept, 4] = 0
        integers[kept, 5] = j
        next_id += 1
        kept += 1
    return kept


@njit("int64[::1](int64[:, ::1], int64, int64, int64, boolean)", cache=True, nogil=True)
def confirmed_rows(integers, count, min_hits, max_shown_missed, young):  # type: ignore[no-untyped-def]
    """Rows seen ``min_hits`` times and at most ``max_shown_missed`` frames ago; all seen ones while ``young``."""
    rows = np.empty(count, np.int64)
    found = 0
    for i in range(count):
        if integers[i, 4] <= max_shown_missed and (integers[i, 3] >= min_hits or (young and integers[i, 4] == 0)):
            rows[found] = i
            found += 1
    return rows[:found]
