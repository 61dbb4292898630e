"""Matching loops of the tracking metrics: one-to-one matches, HOTA, CLEAR and AB3DMOT's counts.

Frames lie one after the other in flat arrays; ``starts`` (F + 1) says where each begins. The similarity of frame ``f``
is the row-major block of (ground truth, prediction) pairs that begins at ``pair_starts[f]``.

The assignment inside is Crouse's shortest augmenting path in the order of scipy's ``linear_sum_assignment``, so that
ties are decided as the reference evaluators decide them. It is repeated here, rather than imported from the trackers'
kernel, because numba's cache does not see across files.

Sources: Luiten et al., HOTA (IJCV 2021) and TrackEval 1.3.0; Bernardin and Stiefelhagen, CLEAR MOT (2008);
Weng et al., AB3DMOT (IROS 2020); Crouse, On implementing 2D rectangular assignment algorithms (2016).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = [
    "amota_frames",
    "clear_frames",
    "hota_matches",
    "unique_matches",
]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

EPS = float(np.finfo(np.float64).eps)


def _f64(array: npt.ArrayLike) -> Float64Array:
    return np.require(array, np.float64, ("C", "W"))


def _i64(array: npt.ArrayLike) -> Int64Array:
    return np.require(array, np.int64, ("C", "W"))


def _bool(array: npt.ArrayLike) -> BoolArray:
    return np.require(array, np.bool_, ("C", "W"))


def _check_frames(gt_starts: Int64Array, pred_starts: Int64Array, pair_starts: Int64Array, pairs: int) -> None:
    if not len(gt_starts) == len(pred_starts) == len(pair_starts) or len(gt_starts) < 1:
        raise ValueError(
            f"starts must be of one length but got {len(gt_starts)}, {len(pred_starts)} and {len(pair_starts)}"
        )
    if int((np.diff(gt_starts) * np.diff(pred_starts)).sum()) != pairs:
        raise ValueError(f"similarity must hold a value for every pair of a frame but got {pairs} values")


@njit("i8[::1](f8[:,::1])", cache=True, nogil=True)
def _assign(cost: Float64Array) -> Int64Array:
    """Column of each row (-1 for none) at minimum total cost."""
    rows, cols = cost.shape
    flipped = cols < rows
    if flipped:
        cost = np.ascontiguousarray(cost.T)
        rows, cols = cols, rows
    row_dual = np.zeros(rows)
    col_dual = np.zeros(cols)
    row_of_col = np.full(cols, -1, np.int64)
    col_of_row = np.full(rows, -1, np.int64)
    previous_row = np.full(cols, -1, np.int64)
    distance = np.empty(cols)
    row_seen = np.empty(rows, np.bool_)
    col_seen = np.empty(cols, np.bool_)
    open_cols = np.empty(cols, np.int64)
    for start in range(rows):
        for k in range(cols):
            open_cols[k] = cols - k - 1
        open_count = cols
        row_seen[:] = False
        col_seen[:] = False
        distance[:] = np.inf
        shortest = 0.0
        row = start
        sink = -1
        while sink == -1:
            row_seen[row] = True
            best = -1
            lowest = np.inf
            for k in range(open_count):
                col = open_cols[k]
                reach = shortest + cost[row, col] - row_dual[row] - col_dual[col]
                if reach < distance[col]:
                    previous_row[col] = row
                    distance[col] = reach
                if distance[col] < lowest or (distance[col] == lowest and row_of_col[col] == -1):
                    lowest = distance[col]
                    best = k
            shortest = lowest
            col = open_cols[best]
            if row_of_col[col] == -1:
                sink = col
            else:
                row = row_of_col[col]
            col_seen[col] = True
            open_count -= 1
            open_cols[best] = open_cols[open_count]
        row_dual[start] += shortest
        for k in range(rows):
            if row_seen[k] and k != start:
                row_dual[k] += shortest - distance[col_of_row[k]]
        for k in range(cols):
            if col_seen[k]:
                col_dual[k] -= shortest - distance[k]
        col = sink
        while True:
            row = previous_row[col]
            row_of_col[col] = row
            col, col_of_row[row] = col_of_row[row], col
            if row == start:
                break
    return row_of_col if flipped else col_of_row


@njit("i8[::1](i8[::1],i8[::1],i8[::1],f8[::1],f8,f8)", cache=True, nogil=True)
def _unique_matches(
    gt_starts: Int64Array,
    pred_starts: Int64Array,
    pair_starts: Int64Array,
    similarity: Float64Array,
    threshold: float,
    below: float,
) -> Int64Array:
    out = np.full(pred_starts[-1], -1, np.int64)
    for f in range(len(gt_starts) - 1):
        rows = gt_starts[f + 1] - gt_starts[f]
        cols = pred_starts[f + 1] - pred_starts[f]
        if rows == 0 or cols == 0:
            continue
        block = similarity[pair_starts[f] : pair_starts[f + 1]].reshape(rows, cols)
        cost = np.empty((rows, cols))
        for i in range(rows):
            for j in range(cols):
                cost[i, j] = -below if block[i, j] < threshold - EPS else -block[i, j]
        col_of_row = _assign(cost)
        for i in range(rows):
            j = col_of_row[i]
            if j >= 0 and -cost[i, j] > EPS:
                out[pred_starts[f] + j] = gt_starts[f] + i
    return out


def unique_matches(
    gt_starts: npt.ArrayLike,
    pred_starts: npt.ArrayLike,
    pair_starts: npt.ArrayLike,
    similarity: npt.ArrayLike,
    threshold: float,
    below: float = 0.0,
) -> Int64Array:
    """(P,) ground-truth row that each prediction is assigned to, -1 for none, at most similarity in total per frame.

    ``below`` is the value of a pair under the threshold: 0 as TrackEval's box datasets have it, -10000 as its mask
    dataset has it, which prefers more matches over better ones.
    """
    starts, columns, pairs, values = _i64(gt_starts), _i64(pred_starts), _i64(pair_starts), _f64(similarity)
    _check_frames(starts, columns, pairs, len(values))
    return np.asarray(_unique_matches(starts, columns, pairs, values, float(threshold), float(below)))


@njit("Tuple((i8[::1],i8[::1],f8[::1]))(i8[::1],i8[::1],i8[::1],i8[::1],i8[::1],f8[::1],i8,i8)", cache=True, nogil=True)
def _hota_matches(
    gt_starts: Int64Array,
    gt_ids: Int64Array,
    pred_starts: Int64Array,
    pred_ids: Int64Array,
    pair_starts: Int64Array,
    similarity: Float64Array,
    gt_id_count: int,
    pred_id_count: int,
) -> tuple[Int64Array, Int64Array, Float64Array]:
    frames = len(gt_starts) - 1
    aligned = np.zeros((gt_id_count, pred_id_count))
    gt_seen = np.zeros(gt_id_count)
    pred_seen = np.zeros(pred_id_count)
    for f in range(frames):
        g0, g1, p0, p1 = gt_starts[f], gt_starts[f + 1], pred_starts[f], pred_starts[f + 1]
        for i in range(g0, g1):
            gt_seen[gt_ids[i]] += 1
        for j in range(p0, p1):
            pred_seen[pred_ids[j]] += 1
        if g1 == g0 or p1 == p0:
            continue
        block = similarity[pair_starts[f] : pair_starts[f + 1]].reshape(g1 - g0, p1 - p0)
        row_sum = np.zeros(g1 - g0)
        col_sum = np.zeros(p1 - p0)
        for i in range(g1 - g0):
            for j in range(p1 - p0):
                row_sum[i] += block[i, j]
                col_sum[j] += block[i, j]
        for i in range(g1 - g0):
            for j in range(p1 - p0):
                denominator = col_sum[j] + row_sum[i] - block[i, j]
                if denominator > EPS:
                    aligned[gt_ids[g0 + i], pred_ids[p0 + j]] += block[i, j] / denominator
    for i in range(gt_id_count):
        for j in range(pred_id_count):
            aligned[i, j] /= gt_seen[i] + pred_seen[j] - aligned[i, j]
    limit = 0
    for f in range(frames):
        limit += min(gt_starts[f + 1] - gt_starts[f], pred_starts[f + 1] - pred_starts[f])
    match_gt = np.empty(limit, np.int64)
    match_pred = np.empty(limit, np.int64)
    match_similarity = np.empty(limit)
    count = 0
    for f in range(frames):
        g0, g1, p0, p1 = gt_starts[f], gt_starts[f + 1], pred_starts[f], pred_starts[f + 1]
        if g1 == g0 or p1 == p0:
            continue
        block = similarity[pair_starts[f] : pair_starts[f + 1]].reshape(g1 - g0, p1 - p0)
        cost = np.empty((g1 - g0, p1 - p0))
        for i in range(g1 - g0):
            for j in range(p1 - p0):
                cost[i, j] = -(aligned[gt_ids[g0 + i], pred_ids[p0 + j]] * block[i, j])
        col_of_row = _assign(cost)
        for i in range(g1 - g0):
            j = col_of_row[i]
            if j >= 0 and block[i, j] > 0.0:
                match_gt[count] = gt_ids[g0 + i]
                match_pred[count] = pred_ids[p0 + j]
                match_similarity[count] = block[i, j]
                count += 1
    return match_gt[:count].copy(), match_pred[:count].copy(), match_similarity[:count].copy()


def hota_matches(
    gt_starts: npt.ArrayLike,
    gt_ids: npt.ArrayLike,
    pred_starts: npt.ArrayLike,
    pred_ids: npt.ArrayLike,
    pair_starts: npt.ArrayLike,
    similarity: npt.ArrayLike,
    gt_id_count: int,
    pred_id_count: int,
) -> tuple[Int64Array, Int64Array, Float64Array]:
    """The one assignment per frame that HOTA thresholds at every alpha: ground-truth id, predicted id, similarity.

    Ids run from 0 to the given counts. Each frame's pairs are weighted by how well the two ids align over the whole
    sequence, as HOTA defines it.
    """
    starts, columns, pairs, values = _i64(gt_starts), _i64(pred_starts), _i64(pair_starts), _f64(similarity)
    _check_frames(starts, columns, pairs, len(values))
    result: tuple[Int64Array, Int64Array, Float64Array] = _hota_matches(
        starts, _i64(gt_ids), columns, _i64(pred_ids), pairs, values, int(gt_id_count), int(pred_id_count)
    )
    return result


@njit("Tuple((i8[::1],f8,i8[:,::1]))(i8[::1],i8[::1],i8[::1],i8[::1],i8[::1],f8[::1],i8,f8)", cache=True, nogil=True)
def _clear_frames(
    gt_starts: Int64Array,
    gt_ids: Int64Array,
    pred_starts: Int64Array,
    pred_ids: Int64Array,
    pair_starts: Int64Array,
    similarity: Float64Array,
    gt_id_count: int,
    threshold: float,
) -> tuple[Int64Array, float, Int64Array]:
    counts = np.zeros(4, np.int64)  # true positives, false negatives, false positives, identity switches
    similarity_sum = 0.0
    per_id = np.zeros((gt_id_count, 3), np.int64)  # frames present, frames matched, stretches
    last_id = np.full(gt_id_count, -1, np.int64)
    id_before = np.full(gt_id_count, -1, np.int64)
    id_now = np.full(gt_id_count, -1, np.int64)
    for f in range(len(gt_starts) - 1):
        g0, g1, p0, p1 = gt_starts[f], gt_starts[f + 1], pred_starts[f], pred_starts[f + 1]
        # TrackEval leaves the memory of the previous frame as it is when either side is empty
        if g1 == g0:
            counts[2] += p1 - p0
            continue
        if p1 == p0:
            counts[1] += g1 - g0
            for i in range(g0, g1):
                per_id[gt_ids[i], 0] += 1
            continue
        block = similarity[pair_starts[f] : pair_starts[f + 1]].reshape(g1 - g0, p1 - p0)
        cost = np.empty((g1 - g0, p1 - p0))
        for i in range(g1 - g0):
            for j in range(p1 - p0):
                if block[i, j] < threshold - EPS:
                    cost[i, j] = 0.0
                elif id_before[gt_ids[g0 + i]] == pred_ids[p0 + j]:
                    cost[i, j] = -(1000.0 + block[i, j])
                else:
                    cost[i, j] = -block[i, j]
        col_of_row = _assign(cost)
        matched = 0
        id_now[:] = -1
        for i in range(g1 - g0):
            gt = gt_ids[g0 + i]
            per_id[gt, 0] += 1
            j = col_of_row[i]
            if j < 0 or not -cost[i, j] > EPS:
                continue
            pred = pred_ids[p0 + j]
            matched += 1
            similarity_sum += block[i, j]
            per_id[gt, 1] += 1
            if last_id[gt] >= 0 and last_id[gt] != pred:
                counts[3] += 1
            last_id[gt] = pred
            id_now[gt] = pred
            if id_before[gt] < 0:
                per_id[gt, 2] += 1
        counts[0] += matched
        counts[1] += g1 - g0 - matched
        counts[2] += p1 - p0 - matched
        id_before[:] = id_now
    return counts, similarity_sum, per_id


def clear_frames(
    gt_starts: npt.ArrayLike,
    gt_ids: npt.ArrayLike,
    pred_starts: npt.ArrayLike,
    pred_ids: npt.ArrayLike,
    pair_starts: npt.ArrayLike,
    similarity: npt.ArrayLike,
    gt_id_count: int,
    threshold: float,
) -> tuple[Int64Array, float, Int64Array]:
    """CLEAR's frame by frame matching, which first continues the tracks of the frame before.

    Returns:
        (4,) true positives, false negatives, false positives and identity switches; the sum of the similarity of the
        true positives; and per ground-truth id (K, 3) the frames it is in, those matched, and the stretches matched.
    """
    starts, columns, pairs, values = _i64(gt_starts), _i64(pred_starts), _i64(pair_starts), _f64(similarity)
    _check_frames(starts, columns, pairs, len(values))
    result: tuple[Int64Array, float, Int64Array] = _clear_frames(
        starts, _i64(gt_ids), columns, _i64(pred_ids), pairs, values, int(gt_id_count), float(threshold)
    )
    return result


@njit(
    "Tuple((i8[::1],f8,i8[::1]))(i8[::1],i8[::1],i8[::1],f8[::1],b1[::1],b1[::1],b1[::1],b1[::1],f8)",
    cache=True,
    nogil=True,
)
def _amota_frames(
    gt_starts: Int64Array,
    pred_starts: Int64Array,
    pair_starts: Int64Array,
    similarity: Float64Array,
    gt_ignorable: BoolArray,
    pred_kept: BoolArray,
    pred_ignorable: BoolArray,
    ever_matched: BoolArray,
    threshold: float,
) -> tuple[Int64Array, float, Int64Array]:
    counts = np.zeros(5, np.int64)  # tp, fn, fp, counted ground truth, ignored tp
    overlap = 0.0
    matched_row = np.full(gt_starts[-1], -1, np.int64)
    for f in range(len(gt_starts) - 1):
        g0, g1, p0, p1 = gt_starts[f], gt_starts[f + 1], pred_starts[f], pred_starts[f + 1]
        kept = np.empty(p1 - p0, np.int64)
        cols = 0
        for j in range(p0, p1):
            if pred_kept[j]:
                kept[cols] = j
                cols += 1
        rows = g1 - g0
        if rows > 0 and cols > 0:
            block = similarity[pair_starts[f] : pair_starts[f + 1]].reshape(rows, p1 - p0)
            cost = np.empty((rows, cols))
            for i in range(rows):
                for k in range(cols):
                    distance = 1.0 - block[i, kept[k] - p0]
                    # far above any sum of real costs: as many pairs as possible come first
                    cost[i, k] = distance if distance <= 1.0 - threshold else 1e4
            col_of_row = _assign(cost)
            for i in range(rows):
                k = col_of_row[i]
                if k >= 0 and cost[i, k] < 1e4:
                    matched_row[g0 + i] = kept[k]
                    ever_matched[kept[k]] = True
                    overlap += 1.0 - cost[i, k]
        ignored_pred = 0
        for k in range(cols):
            if pred_ignorable[kept[k]] and not ever_matched[kept[k]]:
                ignored_pred += 1
        tp_all = 0
        ignored_tp = 0
        ignored_fn = 0
        for i in range(g0, g1):
            if matched_row[i] >= 0:
                tp_all += 1
                if gt_ignorable[i]:
                    ignored_tp += 1
            elif gt_ignorable[i]:
                ignored_fn += 1
        counts[0] += tp_all
        counts[1] += rows - tp_all - ignored_fn
        counts[2] += cols - tp_all - ignored_pred
        counts[3] += rows - ignored_fn - ignored_tp
        counts[4] += ignored_tp
    return counts, overlap, matched_row


def amota_frames(
    gt_starts: npt.ArrayLike,
    pred_starts: npt.ArrayLike,
    pair_starts: npt.ArrayLike,
    similarity: npt.ArrayLike,
    gt_ignorable: npt.ArrayLike,
    pred_kept: npt.ArrayLike,
    pred_ignorable: npt.ArrayLike,
    ever_matched: BoolArray,
    threshold: float,
) -> tuple[Int64Array, float, Int64Array]:
    """One pass of AB3DMOT's evaluation over a sequence, with the predictions that ``pred_kept`` leaves.

    ``ever_matched`` (P,) is changed in place: AB3DMOT's own evaluator never forgets over its passes that a prediction
    was matched once, and such a prediction is not ignored later.

    Returns:
        (5,) true positives with the ignored ones, false negatives, false positives, counted ground truth and ignored
        true positives; the sum of the overlap of the true positives; and (G,) the prediction of each ground-truth
        row, -1 for none.
    """
    starts, columns, pairs, values = _i64(gt_starts), _i64(pred_starts), _i64(pair_starts), _f64(similarity)
    _check_frames(starts, columns, pairs, len(values))
    if ever_matched.dtype != np.bool_ or not ever_matched.flags.c_contiguous or len(ever_matched) != columns[-1]:
        raise ValueError(
            f"ever_matched must be ({columns[-1]},) bool but got {ever_matched.shape} {ever_matched.dtype}"
        )
    result: tuple[Int64Array, float, Int64Array] = _amota_frames(
        starts,
        columns,
        pairs,
        values,
        _bool(gt_ignorable),
        _bool(pred_kept),
        _bool(pred_ignorable),
        ever_matched,
        float(threshold),
    )
    return result
