"""Voting moves boxes to the weighted middle of those around them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.kernels.box_voting import voted_boxes
from perception.kernels.boxes import iou_matrix


def scene(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centre = rng.integers(1, 4, (40, 2)) * 60 + rng.normal(0, 4, (40, 2))
    half = 20 + rng.normal(0, 3, (40, 2))
    boxes = np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
    return boxes, rng.uniform(0.05, 1, 40).astype(np.float32), rng.integers(0, 2, 40)


@given(st.integers(0, 500), st.sampled_from([0.3, 0.6, 0.8]))
def test_votes_are_the_weighted_mean(seed: int, least_iou: float) -> None:
    boxes, scores, groups = scene(seed)
    keep = np.array([3, 17, 0])
    iou = iou_matrix(boxes[keep], boxes).astype(np.float64)
    weights = np.exp(-((1 - iou) ** 2) / 0.05) * scores * (iou >= least_iou) * (groups[keep][:, None] == groups)
    expected = weights @ boxes / weights.sum(axis=1, keepdims=True)
    # an overlap at the very limit may round either way
    clear = (np.abs(iou - least_iou) > 1e-5).all(axis=1)
    found = voted_boxes(boxes, scores, groups, keep, least_iou)
    np.testing.assert_allclose(found[clear], expected[clear], rtol=1e-4, atol=1e-3)


def test_a_lone_box_and_one_that_is_no_box_stay() -> None:
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60], [5, 5, 5, 9]], np.float32)
    found = voted_boxes(boxes, np.ones(3, np.float32), np.zeros(3, np.int64), np.arange(3), 0.5)
    np.testing.assert_array_equal(found, boxes)
    assert voted_boxes(boxes[:0], np.ones(0, np.float32), np.zeros(0, np.int64), np.arange(0), 0.5).shape == (0, 4)


def test_rows_out_of_range_and_other_shapes_are_refused() -> None:
    boxes = np.zeros((2, 4), np.float32)
    with pytest.raises(ValueError, match=r"keep must be rows 0 ... 1 but got 0 ... 2"):
        voted_boxes(boxes, np.ones(2, np.float32), np.zeros(2, np.int64), np.array([0, 2]), 0.5)
    with pytest.raises(ValueError, match=r"scores and groups \(N,\).*\(3,\)"):
        voted_boxes(boxes, np.ones(3, np.float32), np.zeros(2, np.int64), np.array([0]), 0.5)
