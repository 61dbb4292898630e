"""The way in which KITTI's detection devkit and AB3DMOT sample recall: at the scores of true positives."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["RECALL_STEPS", "recall_thresholds"]

Float64Array = npt.NDArray[np.float64]

RECALL_STEPS = 40


def recall_thresholds(scores: Float64Array, gt_count: int) -> tuple[Float64Array, Float64Array]:
    """Scores that come nearest to recalls 0, 1/40 … 1, and those recalls.

    KITTI's detection devkit and AB3DMOT sample recall this way: walking down the scores of the true positives, one is
    passed over while the next comes nearer to the recall wanted.

    Args:
        scores: (N,) of true positives, any order.
        gt_count: labels that count.

    >>> recall_thresholds(np.array([0.9, 0.8, 0.7]), 4)[0].tolist()
    [0.9, 0.8, 0.7]
    """
    ordered = np.sort(scores)[::-1]
    chosen: list[int] = []
    recalls: list[float] = []
    current = 0.0
    last = len(ordered) - 1
    i = 0
    while i <= last:
        # all before this one are passed over for certain; the comparisons below decide as the devkit's do
        i = max(i, min(last, int(current * gt_count - 1.5) - 2))
        while i < last and (i + 2) / gt_count - current < current - (i + 1) / gt_count:
            i += 1
        chosen.append(i)
        recalls.append(current)
        current += 1.0 / RECALL_STEPS
        i += 1
    return ordered[chosen], np.array(recalls)
