"""The steps of a tracker of upright 3D boxes over preallocated state, from prediction to the rows to show.

A box is a row (x, y, z, yaw, length, width, height): geometric centre in m, yaw in rad about z (up). A track is one row
of ``floats`` (capacity, ``FLOATS``) f64 and of ``integers`` (capacity, ``INTEGERS``) i64; the live ones are the first
``count`` rows, oldest first. Position and velocity in the plane share one Kalman filter of four states; height above
ground and yaw have one each, and the sizes are means that settle as observations come in.

Each class has a row of ``parameters``; the columns are named below with their units. These functions are the inner half
of ``perception.tracking.box_tracker``, which checks what goes in. They are one file although it is long: all of them
read that one row, and kernel files may not import one another.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = [
    "AGE", "CLASS", "DETECTION", "EVIDENCE", "FLOATS", "HITS", "ID", "INTEGERS", "LOG_ODDS", "LOG_ODDS_SUM", "MISSED",
    "PARAMETERS", "SHOW_LENGTH", "SHOW_WIDTH", "VX", "VY", "X", "Y", "boxes_of", "calibrate",
    "correct_from_camera", "image_boxes", "mark_pairs", "pair_costs", "predict", "residuals", "shown", "to_world",
    "update",
]  # fmt: skip

# columns of floats: mean and covariance in the plane, height, yaw, sizes and their variance, then what is believed
(
    X, Y, VX, VY, XX, XY, YY, X_VX, X_VY, Y_VX, Y_VY, VX_VX, VX_VY, VY_VY, Z, Z_VAR, YAW, YAW_VAR, LENGTH, WIDTH,
    TALL, SIZE_VAR, EVIDENCE, LOG_ODDS_SUM, LOG_ODDS, FACING, ALONG,
) = range(27)  # fmt: skip
FLOATS = 27
# columns of integers
ID, CLASS, AGE, HITS, MISSED, DETECTION = range(6)
INTEGERS = 6
# columns of parameters; ``perception.tracking.settings.BoxClassSettings`` lists them in this order with their meaning
(
    _POSITION_STD, _POSITION_STD_PER_M, _TRUST, _ACCELERATION_STD, _BIRTH_SPEED_STD, _NEWCOMER_LOG_DENSITY,
    _TAIL_DEGREES, _OVERLAP, _REACH, _YAW_STD, _YAW_RATE_STD, _SIZE_STD, _HEIGHT_STD, _CLIMB_STD, _SCORE_SCALE,
    _SCORE_PER_M2, _SCORE_OFFSET, _MISS_EVIDENCE, _MAX_EVIDENCE, _DEATH_EVIDENCE, _MAX_COAST, _SHOW_EVIDENCE,
    _SHOW_COAST, _SHOW_VISIBLE, _LENGTH_BONUS, _WIDTH_SHARE, _COAST_PENALTY, _MIN_GIOU, _SHOW_OVERLAP, _SHOW_MEASURED,
    _FILL, _BONUS_DOUBLINGS, SHOW_LENGTH, SHOW_WIDTH,
) = range(34)  # fmt: skip
PARAMETERS = 34
# what a box of the camera alone tells: standard deviations of its middle, in widths, and of the logarithm of its height
_BEARING_STD, _TALL_STD = 0.08, 0.12
# a side of a box as near to the image's border as this is cut off there
_BORDER_PX = 2.0


@njit("float64(float64)", cache=True, nogil=True)
def _wrap(angle):  # type: ignore[no-untyped-def]
    return (angle + np.pi) % (2.0 * np.pi) - np.pi


@njit(
    "float64(float64, float64, float64, float64, float64, float64, float64, float64, float64)", cache=True, nogil=True
)
def _overlap(x, y, yaw, length, width, other_x, other_y, other_length, other_width):  # type: ignore[no-untyped-def]
    """IoU of two footprints, about: as if both were turned alike and of one size, the mean of theirs."""
    dx, dy = other_x - x, other_y - y
    reach = max(length, other_length)
    if abs(dx) > reach or abs(dy) > reach:
        return 0.0
    cosine, sine = np.cos(yaw), np.sin(yaw)
    length, width = 0.5 * (length + other_length), 0.5 * (width + other_width)
    shared_x = length - abs(cosine * dx + sine * dy)
    shared_y = width - abs(cosine * dy - sine * dx)
    if shared_x <= 0.0 or shared_y <= 0.0:
        return 0.0
    shared = shared_x * shared_y
    return shared / (2.0 * length * width - shared)


@njit("float64[:, ::1](float64[:, ::1], float64[::1])", cache=True, nogil=True)
def to_world(boxes, pose):  # type: ignore[no-untyped-def]
    """(N, 7) boxes by ``pose``: the nine numbers of a rotation by rows, then a translation; yaws turn about z."""
    out = np.empty_like(boxes)
    turn = np.arctan2(pose[3], pose[0])
    for j in range(boxes.shape[0]):
        x, y, z = boxes[j, 0], boxes[j, 1], boxes[j, 2]
        out[j, 0] = pose[0] * x + pose[1] * y + pose[2] * z + pose[9]
        out[j, 1] = pose[3] * x + pose[4] * y + pose[5] * z + pose[10]
        out[j, 2] = pose[6] * x + pose[7] * y + pose[8] * z + pose[11]
        out[j, 3] = _wrap(boxes[j, 3] + turn)
        out[j, 4], out[j, 5], out[j, 6] = boxes[j, 4], boxes[j, 5], boxes[j, 6]
    return out


@njit("void(float64[:, ::1], int64[:, ::1], int64, float64, float64[:, ::1])", cache=True, nogil=True)
def predict(floats, integers, count, dt_s, parameters):  # type: ignore[no-untyped-def]
    """Moves every track ``dt_s`` ahead at constant velocity."""
    dt2 = dt_s * dt_s
    for i in range(count):
        s = floats[i]
        own = parameters[integers[i, CLASS]]
        s[X] += dt_s * s[VX]
        s[Y] += dt_s * s[VY]
        noise = own[_ACCELERATION_STD] * own[_ACCELERATION_STD]
        s[XX] += dt_s * (2.0 * s[X_VX] + dt_s * s[VX_VX]) + noise * dt2 * dt2 / 4.0
        s[XY] += dt_s * (s[X_VY] + s[Y_VX] + dt_s * s[VX_VY])
        s[YY] += dt_s * (2.0 * s[Y_VY] + dt_s * s[VY_VY]) + noise * dt2 * dt2 / 4.0
        s[X_VX] += dt_s * s[VX_VX] + noise * dt2 * dt_s / 2.0
        s[X_VY] += dt_s * s[VX_VY]
        s[Y_VX] += dt_s * s[VX_VY]
        s[Y_VY] += dt_s * s[VY_VY] + noise * dt2 * dt_s / 2.0
        s[VX_VX] += noise * dt2
        s[VY_VY] += noise * dt2
        s[Z_VAR] += own[_CLIMB_STD] * own[_CLIMB_STD] * dt_s
        s[YAW_VAR] += own[_YAW_RATE_STD] * own[_YAW_RATE_STD] * dt_s
        integers[i, DETECTION] = -1


@njit("float64[:, ::1](float64[:, ::1], float64[::1], int64[::1], float64[:, ::1])", cache=True, nogil=True)
def calibrate(boxes, scores, classes, parameters):  # type: ignore[no-untyped-def]
    """(2, N): log-odds that each detection is right, and the standard deviation of its position (m).

    Boxes are in the ego frame. Detectors score distant objects lower although they are right as often, which
    ``score_per_m2`` makes up for; positions grow less certain with range. Two boxes of different classes of which one
    stands in the middle of the other are rival readings of one object, of which at most one is right: the log-odds of
    each fall by ``log(1 + sum of the rivals' odds)``.
    """
    found = boxes.shape[0]
    out = np.empty((2, found))
    alone = np.empty(found)
    turn = np.empty((found, 2))
    for j in range(found):
        own = parameters[classes[j]]
        range2 = boxes[j, 0] * boxes[j, 0] + boxes[j, 1] * boxes[j, 1]
        alone[j] = own[_SCORE_SCALE] * scores[j] + own[_SCORE_PER_M2] * range2 + own[_SCORE_OFFSET]
        out[1, j] = own[_POSITION_STD] + own[_POSITION_STD_PER_M] * np.sqrt(range2)
        turn[j, 0], turn[j, 1] = np.cos(boxes[j, 3]), np.sin(boxes[j, 3])
    for j in range(found):
        rivals = 0.0
        for k in range(found):
            if classes[k] == classes[j]:
                continue
            dx, dy = boxes[k, 0] - boxes[j, 0], boxes[k, 1] - boxes[j, 1]
            reach = max(boxes[j, 4], boxes[k, 4])
            if abs(dx) > reach or abs(dy) > reach:
                continue
            if (
                2.0 * abs(turn[j, 0] * dx + turn[j, 1] * dy) < boxes[j, 4]
                and 2.0 * abs(turn[j, 0] * dy - turn[j, 1] * dx) < boxes[j, 5]
            ) or (
                2.0 * abs(turn[k, 0] * dx + turn[k, 1] * dy) < boxes[k, 4]
                and 2.0 * abs(turn[k, 0] * dy - turn[k, 1] * dx) < boxes[k, 5]
            ):
                rivals += np.exp(min(alone[k], 20.0))
        out[0, j] = alone[j] - np.log1p(rivals)
    return out


@njit(
    "float64[:, ::1](float64[:, ::1], int64[:, ::1], int64, float64[:, ::1], int64[::1], float64[::1], "
    "float64[:, ::1], boolean)",
    cache=True,
    nogil=True,
)
def pair_costs(floats, integers, count, boxes, classes, deviations, parameters, near):  # type: ignore[no-untyped-def]
    """(count, N) negative log of how much likelier a detection is this track's than a newcomer; infinite if far off.

    Args:
        floats: track state.
        integers: track state; a track whose ``DETECTION`` is set is paired already.
        count: live tracks.
        boxes: (N, 7) in the world.
        classes: (N,) rows of ``parameters``; -1 takes no part.
        deviations: (N,) m standard deviation of each detection's position in the plane.
        parameters: (classes, ``PARAMETERS``).
        near: whether pairs must also reach ``min_giou``; too much to ask before the vehicle's motion is known.
    """
    found = boxes.shape[0]
    costs = np.full((count, found), np.inf)
    for i in range(count):
        if integers[i, DETECTION] >= 0:
            continue
        s = floats[i]
        own_class = integers[i, CLASS]
        own = parameters[own_class]
        reach = own[_REACH]
        cosine, sine = np.cos(s[YAW]), np.sin(s[YAW])
        for j in range(found):
            if classes[j] != own_class:
                continue
            dx = boxes[j, 0] - s[X]
            dy = boxes[j, 1] - s[Y]
            if abs(dx) > reach or abs(dy) > reach:
                continue
            along, across = abs(cosine * dx + sine * dy), abs(cosine * dy - sine * dx)
            length, width = 0.5 * (s[LENGTH] + boxes[j, 4]), 0.5 * (s[WIDTH] + boxes[j, 5])
            shared = max(length - along, 0.0) * max(width - across, 0.0)
            union = 2.0 * length * width - shared
            around = (length + along) * (width + across)
            if near and shared / union - 1.0 + union / around < own[_MIN_GIOU]:
                continue
            noise = deviations[j] * deviations[j]
            xx, xy, yy = s[XX] + noise, s[XY], s[YY] + noise
            determinant = xx * yy - xy * xy
            squared = (yy * dx * dx - 2.0 * xy * dx * dy + xx * dy * dy) / determinant
            dz = boxes[j, 2] - s[Z]
            squared += dz * dz / (s[Z_VAR] + own[_HEIGHT_STD] * own[_HEIGHT_STD] + 0.04)
            tail = own[_TAIL_DEGREES]
            costs[i, j] = (
                0.5 * (tail + 2.0) * np.log(1.0 + squared / tail)
                + 0.5 * np.log(determinant)
                + own[_NEWCOMER_LOG_DENSITY]
            )
    return costs


@njit("void(int64[:, ::1], int64, int64[::1], int64[::1])", cache=True, nogil=True)
def mark_pairs(integers, count, column_of_row, classes):  # type: ignore[no-untyped-def]
    """Writes pairs into the state and takes their detections out of the pool (class -1)."""
    for i in range(count):
        if column_of_row[i] >= 0:
            integers[i, DETECTION] = column_of_row[i]
            classes[column_of_row[i]] = -1


@njit(
    "float64[:, ::1](float64[:, ::1], int64[:, ::1], int64, float64[:, ::1], float64[::1], int64[::1], "
    "float64[:, ::1])",
    cache=True,
    nogil=True,
)
def residuals(floats, integers, count, boxes, deviations, column_of_row, parameters):  # type: ignore[no-untyped-def]
    """(K, 7) how far the K paired detections lie from where their tracks expect them, as the vehicle's motion needs it.

    Columns: place of the detection x, y (m, world), from there to the track x, y (m), variance of those, turn from the
    detection to the track (rad; a box turned half round is the same box), variance of that. Arguments as in ``update``,
    ``column_of_row`` (count,) being the detection of each track or -1.
    """
    out = np.empty((count, 7))
    found = 0
    for i in range(count):
        j = column_of_row[i]
        if j < 0:
            continue
        s = floats[i]
        row = out[found]
        row[0], row[1] = boxes[j, 0], boxes[j, 1]
        row[2], row[3] = s[X] - boxes[j, 0], s[Y] - boxes[j, 1]
        # what stands still tells most: others speed up, brake and turn of themselves
        moving = 1.0 + s[VX] * s[VX] + s[VY] * s[VY]
        row[4] = moving * (0.5 * (s[XX] + s[YY]) + deviations[j] * deviations[j])
        row[5] = _wrap(2.0 * (s[YAW] - boxes[j, 3])) / 2.0
        row[6] = moving * (s[YAW_VAR] + parameters[integers[i, CLASS], _YAW_STD] ** 2)
        found += 1
    return out[:found]


@njit(
    "int64(float64[:, ::1], int64[:, ::1], int64, float64[:, ::1], float64[::1], int64[::1], int64[::1], "
    "float64[::1], boolean, int64, float64[:, ::1])",
    cache=True,
    nogil=True,
)
def update(  # type: ignore[no-untyped-def]
    floats, integers, count, boxes, log_odds, classes, newborn_classes, deviations, misses_count, next_id, parameters
):
    """Corrects paired tracks, lets the others lose evidence, drops the lost, starts tracks; returns the new count.

    Args:
        floats: track state.
        integers: track state with ``DETECTION`` set by ``mark_pairs``.
        count: live tracks.
        boxes: (N, 7) detections in the world.
        log_odds: (N,) of being right.
        classes: (N,) class of each detection that is still unpaired, -1 of the others.
        newborn_classes: (N,) class in which an unpaired detection starts a track, -1 where it starts none.
        deviations: (N,) m standard deviation of each detection's position in the plane.
        misses_count: whether a new moment has come; another view of the same one takes no evidence away.
        next_id: id of the first newborn.
        parameters: (classes, ``PARAMETERS``).
    """
    kept = 0
    for i in range(count):
        s = floats[i]
        own = parameters[integers[i, CLASS]]
        j = integers[i, DETECTION]
        integers[i, AGE] += misses_count
        if j >= 0:
            relative = deviations[j] / own[_POSITION_STD]
            gain = s[SIZE_VAR] / (s[SIZE_VAR] + own[_SIZE_STD] * own[_SIZE_STD] * relative * relative)
            for k in range(3):
                s[LENGTH + k] += gain * (boxes[j, 4 + k] - s[LENGTH + k])
            s[SIZE_VAR] = max(s[SIZE_VAR] * (1.0 - gain), 0.002 * own[_SIZE_STD] * own[_SIZE_STD])
            noise = (own[_TRUST] * deviations[j]) ** 2
            dx, dy = boxes[j, 0] - s[X], boxes[j, 1] - s[Y]
            xx, xy, yy = s[XX] + noise, s[XY], s[YY] + noise
            determinant = xx * yy - xy * xy
            squared = (yy * dx * dx - 2.0 * xy * dx * dy + xx * dy * dy) / determinant
            # the same heavy tail as in pairing: an unlikely measurement counts less
            noise *= max(1.0, (own[_TAIL_DEGREES] + squared) / (own[_TAIL_DEGREES] + 2.0))
            xx, xy, yy = s[XX] + noise, s[XY], s[YY] + noise
            determinant = xx * yy - xy * xy
            ixx, ixy, iyy = yy / determinant, -xy / determinant, xx / determinant
            # gains, one row a state: x, y, vx, vy
            gains = (
                (s[XX] * ixx + s[XY] * ixy, s[XX] * ixy + s[XY] * iyy),
                (s[XY] * ixx + s[YY] * ixy, s[XY] * ixy + s[YY] * iyy),
                (s[X_VX] * ixx + s[Y_VX] * ixy, s[X_VX] * ixy + s[Y_VX] * iyy),
                (s[X_VY] * ixx + s[Y_VY] * ixy, s[X_VY] * ixy + s[Y_VY] * iyy),
            )
            for k in range(4):
                s[k] += gains[k][0] * dx + gains[k][1] * dy
            pxx, pxy, pyy, xvx, xvy, yvx, yvy = s[XX], s[XY], s[YY], s[X_VX], s[X_VY], s[Y_VX], s[Y_VY]
            s[XX] -= gains[0][0] * pxx + gains[0][1] * pxy
            s[XY] -= gains[0][0] * pxy + gains[0][1] * pyy
            s[YY] -= gains[1][0] * pxy + gains[1][1] * pyy
            s[X_VX] -= gains[0][0] * xvx + gains[0][1] * yvx
            s[X_VY] -= gains[0][0] * xvy + gains[0][1] * yvy
            s[Y_VX] -= gains[1][0] * xvx + gains[1][1] * yvx
            s[Y_VY] -= gains[1][0] * xvy + gains[1][1] * yvy
            s[VX_VX] -= gains[2][0] * xvx + gains[2][1] * yvx
            s[VX_VY] -= gains[2][0] * xvy + gains[2][1] * yvy
            s[VY_VY] -= gains[3][0] * xvy + gains[3][1] * yvy

            gain = s[Z_VAR] / (s[Z_VAR] + own[_HEIGHT_STD] * own[_HEIGHT_STD])
            s[Z] += gain * (boxes[j, 2] - s[Z])
            s[Z_VAR] *= 1.0 - gain
            # a box turned by half a turn is the same box: the detector mistakes front and back now and then
            off = _wrap(boxes[j, 3] - s[YAW])
            ahead = 1.0
            if abs(off) > 0.5 * np.pi:
                off = _wrap(off + np.pi)
                ahead = -1.0
            # a box across the track is no measurement of its yaw, unless most are: then the track itself lies across
            inside = abs(off) < 0.8
            s[ALONG] = 0.9 * s[ALONG] + (1.0 if inside else -1.0)
            if inside:
                gain = s[YAW_VAR] / (s[YAW_VAR] + own[_YAW_STD] * own[_YAW_STD])
                s[YAW] = _wrap(s[YAW] + gain * off)
                s[YAW_VAR] *= 1.0 - gain
            elif s[ALONG] < -0.5:
                s[YAW], s[YAW_VAR] = boxes[j, 3], own[_YAW_STD] * own[_YAW_STD]
                s[ALONG], s[FACING], ahead = -s[ALONG], 0.0, 1.0
            s[FACING] = 0.9 * s[FACING] + ahead
            if s[FACING] < -1.5:
                s[YAW] = _wrap(s[YAW] + np.pi)
                s[FACING] = -s[FACING]
            s[EVIDENCE] = min(s[EVIDENCE] + np.log1p(np.exp(min(log_odds[j], 20.0))), own[_MAX_EVIDENCE])
            s[LOG_ODDS_SUM] += log_odds[j]
            s[LOG_ODDS] = log_odds[j]
            integers[i, HITS] += 1
            integers[i, MISSED] = 0
        else:
            if misses_count:
                integers[i, MISSED] += 1
                s[EVIDENCE] -= own[_MISS_EVIDENCE]
            if s[EVIDENCE] < own[_DEATH_EVIDENCE] or integers[i, MISSED] > own[_MAX_COAST]:
                continue
        if kept != i:
            floats[kept] = floats[i]
            integers[kept] = integers[i]
        kept += 1
    for j in range(boxes.shape[0]):
        if newborn_classes[j] < 0 or classes[j] < 0 or kept >= floats.shape[0]:
            continue
        own = parameters[newborn_classes[j]]
        doubled = False
        for i in range(kept):
            # solid things do not overlap: a second box on a track seen in this frame is no newcomer
            if integers[i, DETECTION] < 0 or integers[i, CLASS] != newborn_classes[j] or integers[i, AGE] == 1:
                continue
            if (
                _overlap(
                    floats[i, X],
                    floats[i, Y],
                    floats[i, YAW],
                    floats[i, LENGTH],
                    floats[i, WIDTH],
                    boxes[j, 0],
                    boxes[j, 1],
                    boxes[j, 4],
                    boxes[j, 5],
                )
                > own[_OVERLAP]
            ):
                doubled = True
                break
        if doubled:
            continue
        s = floats[kept]
        s[:] = 0.0
        noise = deviations[j] * deviations[j]
        s[X], s[Y] = boxes[j, 0], boxes[j, 1]
        s[XX] = s[YY] = noise
        s[VX_VX] = s[VY_VY] = own[_BIRTH_SPEED_STD] * own[_BIRTH_SPEED_STD]
        s[Z], s[Z_VAR] = boxes[j, 2], own[_HEIGHT_STD] * own[_HEIGHT_STD]
        s[YAW], s[YAW_VAR] = boxes[j, 3], own[_YAW_STD] * own[_YAW_STD]
        s[LENGTH], s[WIDTH], s[TALL] = boxes[j, 4], boxes[j, 5], boxes[j, 6]
        s[SIZE_VAR] = (own[_SIZE_STD] * deviations[j] / own[_POSITION_STD]) ** 2
        s[EVIDENCE] = np.log1p(np.exp(min(log_odds[j], 20.0)))
        s[LOG_ODDS_SUM] = s[LOG_ODDS] = log_odds[j]
        s[FACING] = s[ALONG] = 1.0
        integers[kept, ID] = next_id
        integers[kept, CLASS] = newborn_classes[j]
        integers[kept, AGE] = 1
        integers[kept, HITS] = 1
        integers[kept, MISSED] = 0
        integers[kept, DETECTION] = j
        next_id += 1
        kept += 1
    return kept


@njit(
    "float64[:, ::1](float64[:, ::1], int64[:, ::1], int64, float64[:, ::1], float64[::1], float64[:, ::1])",
    cache=True,
    nogil=True,
)
def boxes_of(floats, integers, count, boxes, pose, parameters):  # type: ignore[no-untyped-def]
    """(count, 7) boxes of the tracks in the ego frame, by the inverse of ``pose`` (as in ``to_world``).

    Errors of a detector change slowly, so the truth lies between a track's state and its last detection: places and
    sizes of tracks that were seen in this frame move by ``show_measured`` towards their row of ``boxes`` (N, 7).
    Lengths and widths are scaled by ``show_length`` and ``show_width``.
    """
    out = np.empty((count, 7))
    turn = np.arctan2(pose[3], pose[0])
    for i in range(count):
        s = floats[i]
        x, y, z = s[X], s[Y], s[Z]
        length, width, tall = s[LENGTH], s[WIDTH], s[TALL]
        j = integers[i, DETECTION]
        if j >= 0:
            share = parameters[integers[i, CLASS], _SHOW_MEASURED]
            x += share * (boxes[j, 0] - x)
            y += share * (boxes[j, 1] - y)
            z += share * (boxes[j, 2] - z)
            length += share * (boxes[j, 4] - length)
            width += share * (boxes[j, 5] - width)
            tall += share * (boxes[j, 6] - tall)
        x, y, z = x - pose[9], y - pose[10], z - pose[11]
        out[i, 0] = pose[0] * x + pose[3] * y + pose[6] * z
        out[i, 1] = pose[1] * x + pose[4] * y + pose[7] * z
        out[i, 2] = pose[2] * x + pose[5] * y + pose[8] * z
        out[i, 3] = _wrap(s[YAW] - turn)
        own = parameters[integers[i, CLASS]]
        out[i, 4], out[i, 5], out[i, 6] = own[SHOW_LENGTH] * length, own[SHOW_WIDTH] * width, tall
    return out


@njit(
    "float64[:, ::1](float64[:, ::1], int64[:, ::1], int64, float64[::1], float64, float64, float64[:, ::1])",
    cache=True,
    nogil=True,
)
def image_boxes(boxes, integers, count, projection, width_px, height_px, parameters):  # type: ignore[no-untyped-def]
    """(count, 5) corners x1 y1 x2 y2 of ego-frame boxes in the image, and the share of each that lies inside it.

    Args:
        boxes: (count, 7) in the ego frame.
        integers: track state, for the class: ``width_share`` narrows the projection about its middle, since people fill
            less of their box's outline than cars do.
        count: live tracks.
        projection: (12,) rows of the 3x4 matrix from ego coordinates to pixels; boxes at or behind the camera are
            projected as far as they lie 0.1 m or more ahead, and have a share of 0 where they do not.
        width_px: of the image; likewise ``height_px``.
        height_px: of the image.
        parameters: (classes, ``PARAMETERS``).
    """
    out = np.zeros((count, 5))
    for i in range(count):
        cosine, sine = np.cos(boxes[i, 3]), np.sin(boxes[i, 3])
        left, top, right, bottom = np.inf, np.inf, -np.inf, -np.inf
        for corner in range(8):
            along = boxes[i, 4] * (0.5 if corner & 1 else -0.5)
            across = boxes[i, 5] * (0.5 if corner & 2 else -0.5)
            x = boxes[i, 0] + cosine * along - sine * across
            y = boxes[i, 1] + sine * along + cosine * across
            z = boxes[i, 2] + boxes[i, 6] * (0.5 if corner & 4 else -0.5)
            depth = projection[8] * x + projection[9] * y + projection[10] * z + projection[11]
            if depth < 0.1:
                continue
            u = (projection[0] * x + projection[1] * y + projection[2] * z + projection[3]) / depth
            v = (projection[4] * x + projection[5] * y + projection[6] * z + projection[7]) / depth
            left, right = min(left, u), max(right, u)
            top, bottom = min(top, v), max(bottom, v)
        if not left < right:
            continue
        narrowed = 0.5 * (1.0 - parameters[integers[i, CLASS], _WIDTH_SHARE]) * (right - left)
        left += narrowed
        right -= narrowed
        whole = (right - left) * (bottom - top)
        left, right = min(max(left, 0.0), width_px), min(max(right, 0.0), width_px)
        top, bottom = min(max(top, 0.0), height_px), min(max(bottom, 0.0), height_px)
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = left, top, right, bottom
        out[i, 4] = (right - left) * (bottom - top) / max(whole, 1e-9)
    return out


@njit("void(float64[::1], float64, float64, float64, float64)", cache=True, nogil=True)
def _correct_along(s, to_x, to_y, off, variance):  # type: ignore[no-untyped-def]
    """Corrects one track's plane by a number that changes by (``to_x``, ``to_y``) a metre and is ``off`` from it."""
    row_x = s[XX] * to_x + s[XY] * to_y
    row_y = s[XY] * to_x + s[YY] * to_y
    row_vx = s[X_VX] * to_x + s[Y_VX] * to_y
    row_vy = s[X_VY] * to_x + s[Y_VY] * to_y
    spread = row_x * to_x + row_y * to_y + variance
    s[X] += row_x * off / spread
    s[Y] += row_y * off / spread
    s[VX] += row_vx * off / spread
    s[VY] += row_vy * off / spread
    s[XX] -= row_x * row_x / spread
    s[XY] -= row_x * row_y / spread
    s[YY] -= row_y * row_y / spread
    s[X_VX] -= row_x * row_vx / spread
    s[X_VY] -= row_x * row_vy / spread
    s[Y_VX] -= row_y * row_vx / spread
    s[Y_VY] -= row_y * row_vy / spread
    s[VX_VX] -= row_vx * row_vx / spread
    s[VX_VY] -= row_vx * row_vy / spread
    s[VY_VY] -= row_vy * row_vy / spread


@njit(
    "void(float64[:, ::1], int64[:, ::1], int64[::1], float64[:, ::1], float64[:, ::1], float64[::1], float64[::1], "
    "float64[::1], float64, float64, float64[:, ::1])",
    cache=True,
    nogil=True,
)
def correct_from_camera(  # type: ignore[no-untyped-def]
    floats, integers, rows, expected, found, scores, pose, projection, width_px, height_px, parameters
):
    """Corrects tracks by boxes that a camera alone saw: surely across the line of sight, weakly along it.

    The middle of a box tells the bearing, its height against the expected one how much nearer or further the object is.
    Sides on the image's border tell nothing.

    Args:
        floats: track state.
        integers: track state.
        rows: (K,) tracks that were missed in this frame.
        expected: (K, 4) px corners of their projections.
        found: (K, 4) px corners of the boxes that they were paired with.
        scores: (K,) of those, in the unit that the settings calibrate.
        pose: (12,) of the vehicle, as in ``to_world``.
        projection: (12,) as in ``image_boxes``.
        width_px: of the image; likewise ``height_px``.
        height_px: of the image.
        parameters: (classes, ``PARAMETERS``).
    """
    for k in range(rows.size):
        i = rows[k]
        s = floats[i]
        own = parameters[integers[i, CLASS]]
        # the rows of the projection from the world's plane to pixels
        u_x = projection[0] * pose[0] + projection[1] * pose[1] + projection[2] * pose[2]
        u_y = projection[0] * pose[3] + projection[1] * pose[4] + projection[2] * pose[5]
        w_x = projection[8] * pose[0] + projection[9] * pose[1] + projection[10] * pose[2]
        w_y = projection[8] * pose[3] + projection[9] * pose[4] + projection[10] * pose[5]
        dx, dy, dz = s[X] - pose[9], s[Y] - pose[10], s[Z] - pose[11]
        w_z = projection[8] * pose[6] + projection[9] * pose[7] + projection[10] * pose[8]
        depth = w_x * dx + w_y * dy + w_z * dz + projection[11]
        if depth > 1.0:
            middle = 0.5 * (expected[k, 0] + expected[k, 2])
            wide, tall = found[k, 2] - found[k, 0], found[k, 3] - found[k, 1]
            if found[k, 0] > _BORDER_PX and found[k, 2] < width_px - _BORDER_PX:
                to_x, to_y = (u_x - middle * w_x) / depth, (u_y - middle * w_y) / depth
                off = 0.5 * (found[k, 0] + found[k, 2]) - middle
                _correct_along(s, to_x, to_y, off, (_BEARING_STD * wide) ** 2 + 1.0)
            high = expected[k, 3] - expected[k, 1]
            if found[k, 1] > _BORDER_PX and found[k, 3] < height_px - _BORDER_PX and tall > 1.0 and high > 1.0:
                _correct_along(s, -w_x / depth, -w_y / depth, np.log(tall / high), _TALL_STD * _TALL_STD)
        range2 = (s[X] - pose[9]) ** 2 + (s[Y] - pose[10]) ** 2
        log_odds = own[_SCORE_SCALE] * scores[k] + own[_SCORE_PER_M2] * range2 + own[_SCORE_OFFSET]
        # what the miss took away, and what the camera adds
        gained = (own[_MISS_EVIDENCE] if integers[i, MISSED] > 0 else 0.0) + np.log1p(np.exp(min(log_odds, 20.0)))
        s[EVIDENCE] = min(s[EVIDENCE] + gained, own[_MAX_EVIDENCE])
        s[LOG_ODDS_SUM] += log_odds
        s[LOG_ODDS] = log_odds
        integers[i, HITS] += 1
        integers[i, MISSED] = 0


@njit(
    "Tuple((int64[::1], float64[::1]))(float64[:, ::1], int64[:, ::1], int64, float64[:, ::1], float64[:, ::1])",
    cache=True,
    nogil=True,
)
def shown(floats, integers, count, in_image, parameters):  # type: ignore[no-untyped-def]
    """Rows to show, and the score of each: seen in this frame, or lately and with enough evidence to bridge a gap.

    The score is the mean log-odds of the track's detections plus a bonus for each doubling of their number, up to
    ``bonus_doublings``, since long tracks are rarely false, less a penalty for each frame since the last detection. An
    unseen track on the place of a seen one stays out of sight, as two things cannot share it. ``in_image`` (count, 5)
    comes from ``image_boxes``; it has no rows when there is no camera.
    """
    rows = np.empty(count, np.int64)
    scores = np.empty(count)
    found = 0
    for i in range(count):
        own = parameters[integers[i, CLASS]]
        if in_image.shape[0] and in_image[i, 4] <= 0.0:
            continue
        if integers[i, MISSED] > 0:
            if integers[i, MISSED] > own[_SHOW_COAST] or floats[i, EVIDENCE] < own[_SHOW_EVIDENCE]:
                continue
            if in_image.shape[0] and in_image[i, 4] < own[_SHOW_VISIBLE]:
                continue
            s = floats[i]
            hidden = False
            for k in range(count):
                if integers[k, MISSED] == 0 and (
                    _overlap(
                        s[X],
                        s[Y],
                        s[YAW],
                        s[LENGTH],
                        s[WIDTH],
                        floats[k, X],
                        floats[k, Y],
                        floats[k, LENGTH],
                        floats[k, WIDTH],
                    )
                    > own[_SHOW_OVERLAP]
                ):
                    hidden = True
                    break
            if hidden:
                continue
        rows[found] = i
        mean = floats[i, LOG_ODDS_SUM] / integers[i, HITS]
        scores[found] = mean + own[_LENGTH_BONUS] * min(np.log2(float(integers[i, HITS])), own[_BONUS_DOUBLINGS])
        scores[found] -= own[_COAST_PENALTY] * integers[i, MISSED]
        found += 1
    return rows[:found], scores[:found]
