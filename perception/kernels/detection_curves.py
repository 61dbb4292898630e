"""KITTI's detection matching at every score that occurs in a frame.

The devkit matches all frames anew for each of 41 score thresholds. A frame's outcome changes only where the threshold
passes one of its own scores, so matching it once for each of those gives the whole curve, exactly, as steps that sort
and add up over frames: the devkit's 41 points are read off it, and so is every other recall.

Source: the KITTI object devkit, ``evaluate_object_3d_offline.cpp``, ``computeStatistics``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["detection_steps"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

NO_DETECTION = -10000000.0


@njit(
    "Tuple((f8[::1],i8[::1],f8[:,::1],i8[::1]))"
    "(i8[::1],b1[::1],f8[::1],i8[::1],b1[::1],b1[::1],f8[::1],f8[::1],i8[::1],f8[::1],f8)",
    cache=True,
    nogil=True,
)
def _detection_steps(
    gt_starts: Int64Array,
    gt_ignored: BoolArray,
    gt_alphas: Float64Array,
    det_starts: Int64Array,
    det_ignored: BoolArray,
    det_in_region: BoolArray,
    det_scores: Float64Array,
    det_alphas: Float64Array,
    pair_starts: Int64Array,
    overlaps: Float64Array,
    min_overlap: float,
) -> tuple[Float64Array, Int64Array, Float64Array, Int64Array]:
    frames = len(gt_starts) - 1
    hit_scores = np.empty(gt_starts[-1])
    hit_frames = np.empty(gt_starts[-1], np.int64)
    hits = 0
    steps = np.empty((det_starts[-1], 4))
    step_frames = np.empty(det_starts[-1], np.int64)
    step_count = 0
    for f in range(frames):
        g0, g1, d0, d1 = gt_starts[f], gt_starts[f + 1], det_starts[f], det_starts[f + 1]
        rows, cols = g1 - g0, d1 - d0
        if cols == 0:
            continue
        block = overlaps[pair_starts[f] : pair_starts[f + 1]].reshape(rows, cols)
        assigned = np.zeros(cols, np.bool_)
        # most detections of a low score touch no label: they can only be false, and need no matching
        near = np.empty(cols, np.int64)
        near_count = 0
        touches = np.zeros(cols, np.bool_)
        for j in range(cols):
            for i in range(rows):
                if block[i, j] > min_overlap:
                    touches[j] = True
                    near[near_count] = j
                    near_count += 1
                    break

        # first the scores from which recall is sampled: each label takes its best-scored candidate
        for i in range(rows):
            chosen = -1
            best = NO_DETECTION
            for k in range(near_count):
                j = near[k]
                if not assigned[j] and block[i, j] > min_overlap and det_scores[d0 + j] > best:
                    chosen = j
                    best = det_scores[d0 + j]
            if chosen < 0:
                continue
            assigned[chosen] = True
            if not gt_ignored[g0 + i] and not det_ignored[d0 + chosen]:
                hit_scores[hits] = best
                hit_frames[hits] = f
                hits += 1

        # then the counts at each score: each label takes its candidate of greatest overlap
        order = np.argsort(-det_scores[d0:d1])
        tp = tp_before = fp_before = 0
        similarity = similarity_before = 0.0
        far_false = near_false = 0
        step = 0
        while step < cols:
            threshold = det_scores[d0 + order[step]]
            rematch = False
            while step < cols and det_scores[d0 + order[step]] == threshold:
                j = order[step]
                if touches[j]:
                    rematch = True
                elif not det_ignored[d0 + j] and not det_in_region[d0 + j]:
                    far_false += 1
                step += 1
            if rematch:
                assigned[:] = False
                tp = 0
                similarity = 0.0
                for i in range(rows):
                    chosen = -1
                    greatest = 0.0
                    chosen_ignored = False
                    for k in range(near_count):
                        j = near[k]
                        if assigned[j] or det_scores[d0 + j] < threshold or not block[i, j] > min_overlap:
                            continue
                        if not det_ignored[d0 + j]:
                            if block[i, j] > greatest or chosen_ignored:
                                greatest = block[i, j]
                                chosen = j
                                chosen_ignored = False
                        elif chosen < 0:
                            chosen = j
                            chosen_ignored = True
                    if chosen < 0:
                        continue
                    assigned[chosen] = True
                    if not gt_ignored[g0 + i] and not det_ignored[d0 + chosen]:
                        tp += 1
                        similarity += 0.5 * (1.0 + np.cos(gt_alphas[g0 + i] - det_alphas[d0 + chosen]))
                near_false = 0
                for k in range(near_count):
                    j = near[k]
                    excused = assigned[j] or det_ignored[d0 + j] or det_in_region[d0 + j]
                    if not excused and det_scores[d0 + j] >= threshold:
                        near_false += 1
            fp = near_false + far_false
            if tp != tp_before or fp != fp_before or similarity != similarity_before:
                steps[step_count, 0] = threshold
                steps[step_count, 1] = tp - tp_before
                steps[step_count, 2] = fp - fp_before
                steps[step_count, 3] = similarity - similarity_before
                step_frames[step_count] = f
                step_count += 1
                tp_before, fp_before, similarity_before = tp, fp, similarity
    return (
        hit_scores[:hits].copy(),
        hit_frames[:hits].copy(),
        steps[:step_count].copy(),
        step_frames[:step_count].copy(),
    )


def detection_steps(
    gt_starts: npt.ArrayLike,
    gt_ignored: npt.ArrayLike,
    gt_alphas: npt.ArrayLike,
    det_starts: npt.ArrayLike,
    det_ignored: npt.ArrayLike,
    det_in_region: npt.ArrayLike,
    det_scores: npt.ArrayLike,
    det_alphas: npt.ArrayLike,
    overlaps: npt.ArrayLike,
    min_overlap: float,
) -> tuple[Float64Array, Int64Array, Float64Array, Int64Array]:
    """Matches the labels and detections of one class and difficulty.

    Args:
        gt_starts: (F + 1) where each frame begins among the labels.
        gt_ignored: (G,) labels that are neither missed nor found (too hard, or of a neighbouring class).
        gt_alphas: (G,) rad.
        det_starts: (F + 1).
        det_ignored: (D,) detections too low to count.
        det_in_region: (D,) detections in a DontCare region.
        det_scores: (D,).
        det_alphas: (D,) rad.
        overlaps: (pairs,) row-major (label, detection) blocks, frame after frame.
        min_overlap: a match needs more.

    Returns:
        (H,) scores of the true positives from which recall is sampled and (H,) their frames; (S, 4) steps, each a
        score and what it adds to true positives, false positives and orientation similarity, and (S,) their frames.
    """
    starts = as_array("gt_starts", gt_starts, np.int64, (None,))
    columns = as_array("det_starts", det_starts, np.int64, (None,))
    gt_count, det_count = int(starts[-1]), int(columns[-1])
    values = as_array("overlaps", overlaps, np.float64, (None,))
    pair_starts = np.concatenate([[0], np.cumsum(np.diff(starts) * np.diff(columns))]).astype(np.int64)
    if int(pair_starts[-1]) != len(values):
        raise ValueError(f"overlaps must hold {int(pair_starts[-1])} pairs but got {len(values)}")
    result: tuple[Float64Array, Int64Array, Float64Array, Int64Array] = _detection_steps(
        starts,
        as_array("gt_ignored", gt_ignored, np.bool_, (gt_count,)),
        as_array("gt_alphas", gt_alphas, np.float64, (gt_count,)),
        columns,
        as_array("det_ignored", det_ignored, np.bool_, (det_count,)),
        as_array("det_in_region", det_in_region, np.bool_, (det_count,)),
        as_array("det_scores", det_scores, np.float64, (det_count,)),
        as_array("det_alphas", det_alphas, np.float64, (det_count,)),
        pair_starts,
        values,
        float(min_overlap),
    )
    return result
