"""One frame of an image tracker as one call: predict, pair in up to four stages, correct, end, start and show tracks.

A track is one row of three arrays: ``floats`` (capacity, ``FLOATS``) f64, ``integers`` (capacity, ``INTEGERS``) i64 and
``looks`` (capacity, E) f32, its appearance; the live ones are the first ``count`` rows, oldest first. Centre x, centre
y, width and height each have a Kalman filter of constant velocity of their own with mean (p, v) and covariance
(pp, pv, vv): SORT's filter without its cross terms, which are 0. Noise is in units of the box's height, as in DeepSORT
(Wojke et al., ICIP 2017). ``parameters`` has one row for each class, its columns in the order of ``PARAMETERS``.

``advance`` is the inner half of ``perception.tracking.image_tracker``, which describes the algorithm. The file is long
because a frame is one compiled call, and what it calls must be in the same file.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["FLOATS", "ID", "INTEGERS", "PARAMETERS", "advance"]

# columns of floats: the filter's twenty numbers, the last observed box, the last three observed centres with their
# times (newest first), the score, the filter as it was at the last observation, and how sure the class is
POSITION, VELOCITY, COVARIANCE, SEEN, TRAIL, SCORE, SAVED, CLASS_WEIGHT = 0, 4, 8, 20, 24, 33, 34, 54
FLOATS = 55
# columns of integers; DETECTION is the row of this frame's detection or -1, LOOKS the count of appearances learnt from
ID, CLASS, AGE, HITS, MISSED, DETECTION, CONFIRMED, LOOKS = 0, 1, 2, 3, 4, 5, 6, 7
INTEGERS = 8
PARAMETERS = (
    "high_score", "low_score", "birth_score", "sure_score", "min_iou", "weak_iou", "recover_iou", "double_iou",
    "direction_weight", "score_weight", "appearance_weight", "buffer", "re_update", "max_coast_frames",
    "show_coast_frames", "tentative_frames", "min_hits", "position_std", "acceleration_std", "size_std", "growth_std",
    "refind_s", "refind_reach", "refind_similarity", "group",
)  # fmt: skip
(
    HIGH, LOW, BIRTH, SURE, MIN_IOU, WEAK_IOU, RECOVER_IOU, DOUBLE_IOU, DIRECTION, SCORE_WEIGHT, APPEARANCE, BUFFER,
    RE_UPDATE, MAX_COAST, SHOW_COAST, TENTATIVE, MIN_HITS, POSITION_STD, ACCELERATION, SIZE_STD, GROWTH, REFIND_S,
    REFIND_REACH, REFIND_SIMILARITY, GROUP,
) = range(25)  # fmt: skip
# stages: confident detections, weak ones, confident ones on last seen boxes, confident ones on lost tracks
CONFIDENT, WEAK, LAST_SEEN, LOST = 1, 2, 3, 4
# what a pair of two classes of one group costs in overlap
OTHER_CLASS_COST = 0.1


@njit("void(float64[::1], float64, float64[::1])", cache=True, nogil=True)
def _predict_one(state, dt_s, own):  # type: ignore[no-untyped-def]
    for k in range(4):
        noise = ((own[ACCELERATION] if k < 2 else own[GROWTH]) * max(state[3], 1.0)) ** 2
        velocity = state[4 + k]
        if k >= 2 and state[k] + velocity * dt_s <= 1.0:  # a size never shrinks through zero
            velocity = state[4 + k] = 0.0
        state[k] += velocity * dt_s
        pp, pv, vv = state[8 + k], state[12 + k], state[16 + k]
        state[8 + k] = pp + dt_s * (2.0 * pv + dt_s * vv) + noise * dt_s**4 / 4.0
        state[12 + k] = pv + dt_s * vv + noise * dt_s**3 / 2.0
        state[16 + k] = vv + noise * dt_s**2


@njit("void(float64[::1], float64, float64, float64, float64, float64[::1])", cache=True, nogil=True)
def _correct_one(state, x, y, width, height, own):  # type: ignore[no-untyped-def]
    for k in range(4):
        noise = ((own[POSITION_STD] if k < 2 else own[SIZE_STD]) * max(height, 1.0)) ** 2
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


@njit("void(float64[::1], float64, float64, float64, float64, float64[::1])", cache=True, nogil=True)
def _start_filter(state, x, y, width, height, own):  # type: ignore[no-untyped-def]
    """A filter that knows a box and nothing of its motion."""
    state[0], state[1], state[2], state[3] = x, y, width, height
    for k in range(4):
        state[4 + k] = 0.0
        state[8 + k] = ((own[POSITION_STD] if k < 2 else own[SIZE_STD]) * max(height, 1.0)) ** 2
        state[12 + k] = 0.0
        # an unknown velocity of up to about three heights a second; sizes change more slowly
        state[16 + k] = (height if k >= 2 else 3.0 * height) ** 2 + 1.0


@njit("void(float64[::1], int64, float64[:, ::1], float64, float64, float64, float64, float64)", cache=True, nogil=True)
def _warp_filter(state, at, warp, xx, xy, yx, yy, scale):  # type: ignore[no-untyped-def]
    """Moves the filter that begins at column ``at`` through an image motion with that Jacobian and scale."""
    x, y = state[at], state[at + 1]
    depth = warp[2, 0] * x + warp[2, 1] * y + warp[2, 2]
    state[at] = (warp[0, 0] * x + warp[0, 1] * y + warp[0, 2]) / depth
    state[at + 1] = (warp[1, 0] * x + warp[1, 1] * y + warp[1, 2]) / depth
    u, v = state[at + 4], state[at + 5]
    state[at + 4], state[at + 5] = xx * u + xy * v, yx * u + yy * v
    for row in (8, 12, 16):
        p, q = state[at + row], state[at + row + 1]
        state[at + row] = xx * xx * p + xy * xy * q
        state[at + row + 1] = yx * yx * p + yy * yy * q
        state[at + row + 2] *= scale * scale
        state[at + row + 3] *= scale * scale
    for k in (2, 3, 6, 7):
        state[at + k] *= scale


@njit("void(float64[::1], float64[:, ::1])", cache=True, nogil=True)
def _warp_one(state, warp):  # type: ignore[no-untyped-def]
    """Moves all that is known of a track in pixels through the homography ``warp``, linear around its centre."""
    x, y = state[0], state[1]
    depth = warp[2, 0] * x + warp[2, 1] * y + warp[2, 2]
    u = (warp[0, 0] * x + warp[0, 1] * y + warp[0, 2]) / depth
    v = (warp[1, 0] * x + warp[1, 1] * y + warp[1, 2]) / depth
    xx, xy = (warp[0, 0] - u * warp[2, 0]) / depth, (warp[0, 1] - u * warp[2, 1]) / depth
    yx, yy = (warp[1, 0] - v * warp[2, 0]) / depth, (warp[1, 1] - v * warp[2, 1]) / depth
    scale = np.sqrt(abs(xx * yy - xy * yx))
    # a point that this motion takes behind the camera tells nothing
    if not (depth > 0.0 and 0.2 < scale < 5.0):
        return
    _warp_filter(state, 0, warp, xx, xy, yx, yy, scale)
    _warp_filter(state, SAVED, warp, xx, xy, yx, yy, scale)
    for k in (24, 27, 30):
        dx, dy = state[k] - x, state[k + 1] - y
        state[k], state[k + 1] = u + xx * dx + xy * dy, v + yx * dx + yy * dy
    dx, dy = 0.5 * (state[20] + state[22]) - x, 0.5 * (state[21] + state[23]) - y
    half_width, half_height = 0.5 * scale * (state[22] - state[20]), 0.5 * scale * (state[23] - state[21])
    middle_x, middle_y = u + xx * dx + xy * dy, v + yx * dx + yy * dy
    state[20], state[22] = middle_x - half_width, middle_x + half_width
    state[21], state[23] = middle_y - half_height, middle_y + half_height


@njit(
    "void(int64[::1], int64[::1], float64[::1], float64[::1], int64, int64[::1])",
    cache=True,
    nogil=True,
)
def _assign(starts, columns, costs, alone, column_count, column_of_row):  # type: ignore[no-untyped-def]
    """Exact assignment where row r may take ``columns[starts[r]:starts[r + 1]]`` or none at the cost ``alone[r]``.

    Shortest augmenting paths with column prices, as in ``perception.kernels.assignment``, over the listed pairs only.
    """
    row_of_column = np.full(column_count, -1, np.int64)
    price = np.zeros(column_count)
    distance = np.full(column_count, np.inf)
    done = np.zeros(column_count, np.bool_)
    previous = np.empty(column_count, np.int64)
    touched = np.empty(column_count, np.int64)
    held_cost = np.zeros(alone.size)
    for start in range(alone.size):
        i, offset, touches = start, 0.0, 0
        quitter, sink = start, -1
        least_alone, reached = np.inf, 0.0
        while True:
            if offset + alone[i] < least_alone:
                least_alone, quitter = offset + alone[i], i
            for e in range(starts[i], starts[i + 1]):
                j = columns[e]
                length = offset + costs[e] - price[j]
                if not done[j] and length < distance[j]:
                    if distance[j] == np.inf:
                        touched[touches] = j
                        touches += 1
                    distance[j] = length
                    previous[j] = i
            nearest, least = -1, np.inf
            for k in range(touches):
                j = touched[k]
                if not done[j] and (distance[j] < least or (distance[j] == least and row_of_column[j] < 0)):
                    nearest, least = j, distance[j]
            if nearest < 0 or least_alone <= least:
                reached = least_alone
                break
            reached = least
            done[nearest] = True
            if row_of_column[nearest] < 0:
                sink = nearest
                break
            i = row_of_column[nearest]
            offset = reached - (held_cost[i] - price[nearest])
        for k in range(touches):
            j = touched[k]
            if done[j] and j != sink:
                price[j] += distance[j] - reached
            distance[j] = np.inf
            done[j] = False
        if sink < 0:
            # someone on the path stays alone, and the pairs before it move up
            sink = column_of_row[quitter]
            column_of_row[quitter] = -1
            if quitter == start:
                continue
        while True:
            i = previous[sink]
            row_of_column[sink] = i
            for e in range(starts[i], starts[i + 1]):
                if columns[e] == sink:
                    held_cost[i] = costs[e]
            sink, column_of_row[i] = column_of_row[i], sink
            if i == start:
                break


@njit("float64(float32[:, ::1], int64, float32[:, ::1], int64)", cache=True, nogil=True)
def _similarity(a, i, b, j):  # type: ignore[no-untyped-def]
    total = np.float32(0.0)
    for k in range(a.shape[1]):
        total += a[i, k] * b[j, k]
    return float(total)


@njit(
    "float64(int64, float64[::1], int64[::1], float64[::1], float32[:, ::1], int64, float32[:, ::1], float32[::1], "
    "int64, int64, float32[:, ::1], float64)",
    cache=True,
    nogil=True,
)
def _pair_cost(stage, state, row, own, looks, i, boxes, scores, class_id, j, embeddings, time_s):  # type: ignore[no-untyped-def]
    """Cost of one pair at that stage; infinite where it is ruled out."""
    bx1, by1, bx2, by2 = float(boxes[j, 0]), float(boxes[j, 1]), float(boxes[j, 2]), float(boxes[j, 3])
    known = row[LOOKS] > 0 and embeddings.shape[0] > 0
    cost = OTHER_CLASS_COST if class_id != row[CLASS] else 0.0
    if stage == LOST:
        lost_s = time_s - state[TRAIL + 2]
        width, height = bx2 - bx1, by2 - by1
        if width <= 0.0 or height <= 0.0 or not (0.5 < height / state[3] < 2.0 and 0.4 < width / state[2] < 2.5):
            return np.inf
        away_x, away_y = 0.5 * (bx1 + bx2) - state[0], 0.5 * (by1 + by2) - state[1]
        reach = own[REFIND_REACH] * (0.5 + lost_s) * 0.5 * (height + state[3])
        share = np.sqrt(away_x * away_x + away_y * away_y) / reach
        if not share < 1.0:
            return np.inf
        if known:
            alike = _similarity(looks, i, embeddings, j)
            return np.inf if alike < own[REFIND_SIMILARITY] else cost + 0.5 * share + 1.0 - alike
        # without appearance only what is where it should be
        return cost + share if share < 0.5 else np.inf
    if stage == LAST_SEEN:
        ax1, ay1, ax2, ay2 = state[20], state[21], state[22], state[23]
    else:
        ax1, ax2 = state[0] - 0.5 * state[2], state[0] + 0.5 * state[2]
        ay1, ay2 = state[1] - 0.5 * state[3], state[1] + 0.5 * state[3]
    buffer = own[BUFFER]
    if buffer > 0.0:
        grow_x, grow_y = buffer * (ax2 - ax1), buffer * (ay2 - ay1)
        ax1, ax2, ay1, ay2 = ax1 - grow_x, ax2 + grow_x, ay1 - grow_y, ay2 + grow_y
        grow_x, grow_y = buffer * (bx2 - bx1), buffer * (by2 - by1)
        bx1, bx2, by1, by2 = bx1 - grow_x, bx2 + grow_x, by1 - grow_y, by2 + grow_y
    width = min(ax2, bx2) - max(ax1, bx1)
    height = min(ay2, by2) - max(ay1, by1)
    if width <= 0.0 or height <= 0.0:
        return np.inf
    inter = width * height
    iou = inter / ((ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - inter)
    if iou <= (own[MIN_IOU] if stage == CONFIDENT else own[WEAK_IOU] if stage == WEAK else own[RECOVER_IOU]):
        return np.inf
    cost += 1.0 - iou - own[SCORE_WEIGHT] * float(scores[j])
    if known and own[APPEARANCE] > 0.0:
        cost += own[APPEARANCE] * (1.0 - _similarity(looks, i, embeddings, j))
    if stage == CONFIDENT and own[DIRECTION] > 0.0 and row[HITS] > 1:
        # direction of travel between the oldest and the newest remembered observation
        oldest = 24 + 3 * (min(row[HITS], 3) - 1)
        along_x, along_y = state[24] - state[oldest], state[25] - state[oldest + 1]
        to_x, to_y = 0.5 * (bx1 + bx2) - state[24], 0.5 * (by1 + by2) - state[25]
        lengths = np.sqrt((along_x * along_x + along_y * along_y) * (to_x * to_x + to_y * to_y))
        if lengths > 0.0:
            cosine = (along_x * to_x + along_y * to_y) / lengths
            cost += own[DIRECTION] * (np.arccos(min(max(cosine, -1.0), 1.0)) / np.pi - 0.5)
    return cost


@njit(
    "void(int64, float64[:, ::1], int64[:, ::1], float32[:, ::1], int64, float64[:, ::1], float32[:, ::1], "
    "float32[::1], int64[::1], float32[:, ::1], int64[::1], float64)",
    cache=True,
    nogil=True,
)
def _pair(  # type: ignore[no-untyped-def]
    stage, floats, integers, looks, count, parameters, boxes, scores, classes, embeddings, stage_of, time_s
):
    """Runs one stage: unpaired tracks with the detections of their group that may pair in it."""
    wanted = WEAK if stage == WEAK else CONFIDENT
    free = np.empty(boxes.shape[0], np.int64)
    middles, widths, groups = np.empty(free.size), np.empty(free.size), np.empty(free.size)
    free_count = 0
    for j in range(boxes.shape[0]):
        if stage_of[j] == wanted:
            free[free_count] = j
            widths[free_count] = float(boxes[j, 2]) - boxes[j, 0]
            middles[free_count] = boxes[j, 0] + 0.5 * widths[free_count]
            groups[free_count] = parameters[classes[j], GROUP]
            free_count += 1
    if free_count == 0:
        return
    rows = np.empty(count, np.int64)
    row_count = 0
    for i in range(count):
        own = parameters[integers[i, CLASS]]
        if integers[i, DETECTION] < 0 and (integers[i, MISSED] > own[MAX_COAST]) == (stage == LOST):
            if (stage == WEAK and own[LOW] >= own[HIGH]) or (stage == LAST_SEEN and own[RECOVER_IOU] >= 1.0):
                continue
            rows[row_count] = i
            row_count += 1
    if row_count == 0:
        return
    capacity = min(row_count * free_count, 4 * (row_count + free_count) + 64)
    columns, costs = np.empty(capacity, np.int64), np.empty(capacity)
    starts = np.zeros(row_count + 1, np.int64)
    alone = np.empty(row_count)
    edges = 0
    for r in range(row_count):
        i = rows[r]
        state, own = floats[i], parameters[integers[i, CLASS]]
        # as dear as the worst pair that overlap alone allows: a bad pair is not worth the breaking of a good one
        least = own[MIN_IOU] if stage == CONFIDENT else own[WEAK_IOU] if stage == WEAK else own[RECOVER_IOU]
        looked = own[APPEARANCE] if embeddings.shape[0] > 0 else 0.0
        alone[r] = 1.0 - least + 0.5 * own[DIRECTION] + looked + OTHER_CLASS_COST if stage < LOST else 3.0
        # most pairs of a crowd are far apart; a box last seen or lost may be anywhere
        grow = 0.5 + own[BUFFER] if stage < LAST_SEEN else np.inf
        group, middle, own_width = own[GROUP], state[0], state[2]
        for f in range(free_count):
            if groups[f] != group or abs(middles[f] - middle) > grow * (own_width + widths[f]):
                continue
            j = free[f]
            cost = _pair_cost(
                stage, state, integers[i], own, looks, i, boxes, scores, classes[j], j, embeddings, time_s
            )
            if cost < np.inf:
                if edges == columns.size:
                    more, dearer = np.empty(2 * edges, np.int64), np.empty(2 * edges)
                    more[:edges], dearer[:edges] = columns, costs
                    columns, costs = more, dearer
                columns[edges] = f
                costs[edges] = cost
                edges += 1
        starts[r + 1] = edges
    if edges == 0:
        return
    column_of_row = np.full(row_count, -1, np.int64)
    _assign(starts, columns, costs, alone, free_count, column_of_row)
    for r in range(row_count):
        if column_of_row[r] >= 0:
            j = free[column_of_row[r]]
            integers[rows[r], DETECTION] = j
            stage_of[j] = 0


@njit(
    "void(float64[::1], int64[::1], float64[:, ::1], float32[:, ::1], float32[::1], int64[::1], int64, float64)",
    cache=True,
    nogil=True,
)
def _correct(state, row, parameters, boxes, scores, classes, j, time_s):  # type: ignore[no-untyped-def]
    """Takes detection ``j`` into the track."""
    own = parameters[row[CLASS]]
    x, y = 0.5 * (float(boxes[j, 0]) + boxes[j, 2]), 0.5 * (float(boxes[j, 1]) + boxes[j, 3])
    width, height = float(boxes[j, 2]) - boxes[j, 0], float(boxes[j, 3]) - boxes[j, 1]
    gap = row[MISSED]
    if gap > own[MAX_COAST] + 1:
        _start_filter(state, x, y, width, height, own)
    else:
        if own[RE_UPDATE] > 0.0 and gap > 1:
            from_x, from_y = 0.5 * (state[20] + state[22]), 0.5 * (state[21] + state[23])
            from_width, from_height = state[22] - state[20], state[23] - state[21]
            step_s = (time_s - state[TRAIL + 2]) / gap
            state[:20] = state[SAVED : SAVED + 20]
            for step in range(1, gap):
                share = step / gap
                _predict_one(state, step_s, own)
                _correct_one(
                    state,
                    from_x + share * (x - from_x),
                    from_y + share * (y - from_y),
                    from_width + share * (width - from_width),
                    from_height + share * (height - from_height),
                    own,
                )
            _predict_one(state, step_s, own)
        _correct_one(state, x, y, width, height, own)
    for k in range(4):
        state[20 + k] = boxes[j, k]
    for k in range(8, 2, -1):
        state[24 + k] = state[21 + k]
    state[TRAIL], state[TRAIL + 1], state[TRAIL + 2] = x, y, time_s
    state[SCORE] += (scores[j] - state[SCORE]) / min(row[HITS] + 1, 10)
    state[SAVED : SAVED + 20] = state[:20]
    # the class with the majority of scores, by Boyer and Moore's vote
    if classes[j] == row[CLASS]:
        state[CLASS_WEIGHT] += scores[j]
    else:
        state[CLASS_WEIGHT] -= scores[j]
        if state[CLASS_WEIGHT] < 0.0:
            row[CLASS] = classes[j]
            state[CLASS_WEIGHT] = -state[CLASS_WEIGHT]
    row[HITS] += 1
    row[MISSED] = 0


@njit("void(float32[:, ::1], int64, int64[::1], float32[:, ::1], int64)", cache=True, nogil=True)
def _learn_look(looks, i, row, embeddings, j):  # type: ignore[no-untyped-def]
    """Moves the track's appearance a tenth of the way to the detection's, faster in its first frames."""
    if embeddings.shape[0] == 0:
        return
    share = np.float32(max(1.0 / (row[LOOKS] + 1), 0.1))
    norm = np.float32(0.0)
    for k in range(embeddings.shape[1]):
        looks[i, k] += share * (embeddings[j, k] - looks[i, k])
        norm += looks[i, k] * looks[i, k]
    if norm > 0.0:
        looks[i] /= np.sqrt(norm)
    row[LOOKS] += 1


@njit("int64(float32[:, ::1], float32[::1], int64[::1], float64[:, ::1], int64[::1])", cache=True, nogil=True)
def _sort_into_stages(boxes, scores, classes, parameters, stage_of):  # type: ignore[no-untyped-def]
    """Writes each detection's stage, 0 for none; returns the first row that is no detection, or -1."""
    for j in range(boxes.shape[0]):
        x1, y1, x2, y2 = boxes[j, 0], boxes[j, 1], boxes[j, 2], boxes[j, 3]
        # every comparison with NaN is false
        if not (x1 > -np.inf and y1 > -np.inf and x2 >= x1 and y2 >= y1 and x2 < np.inf and y2 < np.inf):
            return j
        if not (0.0 <= scores[j] <= 1.0 and 0 <= classes[j] < parameters.shape[0]):
            return j
        own = parameters[classes[j]]
        stage_of[j] = CONFIDENT if scores[j] >= own[HIGH] else WEAK if scores[j] >= own[LOW] else 0
    return -1


@njit("boolean(float32[:, ::1], int64[::1], float64[:, ::1], int64[:, ::1], int64, int64)", cache=True, nogil=True)
def _is_double(boxes, classes, parameters, integers, count, j):  # type: ignore[no-untyped-def]
    """Whether detection ``j`` covers one of its group that continues a track."""
    least = parameters[classes[j], DOUBLE_IOU]
    if least >= 1.0:
        return False
    for i in range(count):
        k = integers[i, DETECTION]
        if k < 0 or parameters[classes[k], GROUP] != parameters[classes[j], GROUP]:
            continue
        width = min(boxes[j, 2], boxes[k, 2]) - max(boxes[j, 0], boxes[k, 0])
        height = min(boxes[j, 3], boxes[k, 3]) - max(boxes[j, 1], boxes[k, 1])
        if width > 0.0 and height > 0.0:
            area = (boxes[j, 2] - boxes[j, 0]) * (boxes[j, 3] - boxes[j, 1])
            other = (boxes[k, 2] - boxes[k, 0]) * (boxes[k, 3] - boxes[k, 1])
            if width * height > least * (area + other - width * height):
                return True
    return False


@njit(
    "Tuple((int64, int64, int64[::1], float32[:, ::1], float32[:, ::1], float32[::1], int64[::1], int64[::1], "
    "int64[::1]))(float64[:, ::1], int64[:, ::1], float32[:, ::1], int64, float64[:, ::1], float32[:, ::1], "
    "float32[::1], int64[::1], float32[:, ::1], float64[:, ::1], float64, float64, int64, boolean)",
    cache=True,
    nogil=True,
)
def advance(  # type: ignore[no-untyped-def]
    floats, integers, looks, count, parameters, boxes, scores, classes, embeddings, warp, time_s, dt_s, next_id, young
):
    """Takes the tracks to the next frame.

    Args:
        floats: track state.
        integers: track state.
        looks: track state.
        count: live tracks.
        parameters: (classes, len(``PARAMETERS``)) f64.
        boxes: (N, 4) f32 corners.
        scores: (N,) f32, 0 ... 1.
        classes: (N,) i64.
        embeddings: (N, E) f32 rows of length 1, or (0, 0) without appearance.
        warp: (3, 3) f64 homography from the last image to this one; (0, 0) for none.
        time_s: time of this frame.
        dt_s: since the last one.
        next_id: of the next new track.
        young: whether every track seen now is shown.

    Returns:
        Live tracks, or -1 - row of the first bad detection, before anything changed; the next id; then of the tracks
        shown: ids, boxes (T, 4), velocities (T, 2) px/s, scores, classes, rows of detections, ages.
    """
    found = boxes.shape[0]
    stage_of = np.empty(found, np.int64)
    bad = _sort_into_stages(boxes, scores, classes, parameters, stage_of)
    if bad >= 0:
        none = np.empty(0, np.int64)
        empty = np.empty((0, 4), np.float32)
        return -1 - bad, next_id, none, empty, np.empty((0, 2), np.float32), np.empty(0, np.float32), none, none, none

    lost, weak = False, False
    for i in range(count):
        own = parameters[integers[i, CLASS]]
        if warp.shape[0] > 0:
            _warp_one(floats[i], warp)
        if integers[i, MISSED] >= own[MAX_COAST]:
            # what has not been seen for long is thought to slow down
            for k in range(4):
                floats[i, 4 + k] *= np.exp(-dt_s) if k < 2 else 0.0
        _predict_one(floats[i], dt_s, own)
        integers[i, MISSED] += 1
        integers[i, AGE] += 1
        integers[i, DETECTION] = -1
        lost |= integers[i, MISSED] > own[MAX_COAST]
    for j in range(found):
        weak |= stage_of[j] == WEAK
    if count > 0 and found > 0:
        for stage in (CONFIDENT, WEAK, LAST_SEEN, LOST):
            if (stage != WEAK or weak) and (stage != LOST or lost):
                _pair(
                    stage, floats, integers, looks, count, parameters, boxes, scores, classes, embeddings, stage_of,
                    time_s,
                )  # fmt: skip

    kept = 0
    for i in range(count):
        j = integers[i, DETECTION]
        own = parameters[integers[i, CLASS]]
        if j >= 0:
            _correct(floats[i], integers[i], parameters, boxes, scores, classes, j, time_s)
            if scores[j] >= own[HIGH]:
                _learn_look(looks, i, integers[i], embeddings, j)
            if integers[i, HITS] >= own[MIN_HITS] or scores[j] >= own[SURE]:
                integers[i, CONFIRMED] = 1
        elif integers[i, CONFIRMED] == 0:
            if integers[i, MISSED] > own[TENTATIVE]:
                continue
        elif integers[i, MISSED] > own[MAX_COAST] and time_s - floats[i, TRAIL + 2] > own[REFIND_S]:
            continue
        if kept != i:
            floats[kept] = floats[i]
            integers[kept] = integers[i]
            looks[kept] = looks[i]
        kept += 1
    continued = kept
    for j in range(found):
        own = parameters[classes[j]]
        if stage_of[j] == 0 or scores[j] < own[BIRTH] or kept >= floats.shape[0]:
            continue
        if _is_double(boxes, classes, parameters, integers, continued, j):
            continue
        state, row = floats[kept], integers[kept]
        x, y = 0.5 * (float(boxes[j, 0]) + boxes[j, 2]), 0.5 * (float(boxes[j, 1]) + boxes[j, 3])
        state[:] = 0.0
        row[:] = 0
        _start_filter(state, x, y, float(boxes[j, 2]) - boxes[j, 0], float(boxes[j, 3]) - boxes[j, 1], own)
        for k in range(4):
            state[20 + k] = boxes[j, k]
        state[TRAIL], state[TRAIL + 1], state[TRAIL + 2] = x, y, time_s
        state[SCORE] = state[CLASS_WEIGHT] = scores[j]
        state[SAVED : SAVED + 20] = state[:20]
        row[ID], row[CLASS], row[AGE], row[HITS], row[DETECTION] = next_id, classes[j], 1, 1, j
        row[CONFIRMED] = own[MIN_HITS] <= 1 or scores[j] >= own[SURE]
        looks[kept] = 0.0
        _learn_look(looks, kept, row, embeddings, j)
        next_id += 1
        kept += 1

    shown = 0
    rows = np.empty(kept, np.int64)
    for i in range(kept):
        row = integers[i]
        limit = parameters[row[CLASS], SHOW_COAST]
        if (row[CONFIRMED] == 1 and row[MISSED] <= limit) or (young and row[DETECTION] >= 0):
            rows[shown] = i
            shown += 1
    ids, labels = np.empty(shown, np.int64), np.empty(shown, np.int64)
    detections, ages = np.empty(shown, np.int64), np.empty(shown, np.int64)
    corners, velocities = np.empty((shown, 4), np.float32), np.empty((shown, 2), np.float32)
    means = np.empty(shown, np.float32)
    for r in range(shown):
        state, row = floats[rows[r]], integers[rows[r]]
        ids[r], labels[r], detections[r], ages[r] = row[ID], row[CLASS], row[DETECTION], row[AGE]
        corners[r, 0], corners[r, 2] = state[0] - 0.5 * state[2], state[0] + 0.5 * state[2]
        corners[r, 1], corners[r, 3] = state[1] - 0.5 * state[3], state[1] + 0.5 * state[3]
        velocities[r, 0], velocities[r, 1] = state[4], state[5]
        means[r] = state[SCORE]
    return kept, next_id, ids, corners, velocities, means, labels, detections, ages
