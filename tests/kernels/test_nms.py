"""Suppression against torchvision, shapely and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rotated_boxes import bev_crowd, polygon

from perception.kernels.boxes import iou_matrix
from perception.kernels.nms import class_nms, nms
from perception.kernels.nms_rotated import nms_3d, nms_by_overlap, nms_rotated
from perception.kernels.nms_soft import fuse_boxes, matrix_nms, soft_nms

shapely = pytest.importorskip("shapely")


def crowd(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = np.repeat(rng.uniform(0, 500, (max(count // 5, 1), 2)), 5, axis=0)[:count]
    centres = np.resize(centres, (count, 2)) + rng.normal(0, 4, (count, 2))
    sizes = rng.uniform(10, 80, (count, 2))
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1).astype(np.float32)
    # a coarse grid of scores makes ties
    return boxes, (rng.integers(0, 50, count) / 50).astype(np.float32), rng.integers(0, 3, count)


def suppressed(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, threshold: float) -> list[int]:
    overlap = iou_matrix(boxes, boxes)
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        if not any(classes[row] == classes[k] and overlap[row, k] > threshold for k in kept):
            kept.append(int(row))
    return kept


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]), st.integers(0, 10**6))
def test_nms_agrees_with_a_plain_loop(count: int, threshold: float, seed: int) -> None:
    boxes, scores, classes = crowd(count, seed)
    assert nms(boxes, scores, threshold).tolist() == suppressed(boxes, scores, np.zeros(count), threshold)
    kept = class_nms(boxes, scores, classes, threshold)
    assert kept.tolist() == suppressed(boxes, scores, classes, threshold)
    # what stays suppresses nothing of itself, and order of the input does not matter where scores differ
    assert class_nms(boxes[kept], scores[kept], classes[kept], threshold).tolist() == list(range(len(kept)))
    ranked, mixed = np.arange(count) / 64.0, np.random.default_rng(seed).permutation(count)
    assert mixed[nms(boxes[mixed], ranked[mixed], threshold)].tolist() == nms(boxes, ranked, threshold).tolist()


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 300, 2000])
@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
def test_nms_agrees_with_torchvision(count: int, threshold: float) -> None:
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision").ops
    boxes, scores, _ = crowd(count, count)
    expected = ops.nms(torch.from_numpy(boxes), torch.from_numpy(scores), threshold).numpy()
    np.testing.assert_array_equal(nms(boxes, scores, threshold), expected)


def test_class_nms_is_nms_of_each_class() -> None:
    boxes, scores, classes = crowd(400, 3)
    expected = np.concatenate(
        [np.flatnonzero(classes == c)[nms(boxes[classes == c], scores[classes == c], 0.4)] for c in range(3)]
    )
    kept = class_nms(boxes, scores, classes, 0.4)
    assert set(kept.tolist()) == set(expected.tolist())
    assert (np.diff(scores[kept]) <= 0).all()


def test_negative_scores_rank_below_zero() -> None:
    boxes = np.array([[0, 0, 1, 1], [5, 5, 6, 6], [9, 9, 10, 10], [20, 20, 21, 21]], np.float32)
    assert nms(boxes, [-2.0, 3.0, -0.0, -1.0], 0.5).tolist() == [1, 2, 3, 0]


@pytest.mark.parametrize(
    ("box", "score"), [([0, 0, np.nan, 1], 1.0), ([2, 0, 1, 1], 1.0), ([0, 0, np.inf, 1], 1.0), ([0, 0, 1, 1], np.nan)]
)
def test_bad_rows_are_refused_by_number(box: list[float], score: float) -> None:
    with pytest.raises(ValueError, match="row 1"):
        nms([[0, 0, 1, 1], box], [0.5, score], 0.5)


def test_ten_thousand_boxes_are_handled() -> None:
    rng = np.random.default_rng(8)
    centres, scores = rng.uniform(0, 600, (10_000, 2)), rng.random(10_000)
    boxes = np.concatenate([centres - 20, centres + 20], axis=1)
    kept = class_nms(boxes, scores, rng.integers(0, 8, 10_000), 0.5)
    assert 100 < len(kept) < 10_000
    upright = np.column_stack([centres, np.full((10_000, 2), 40.0), np.zeros(10_000)])
    by_axis = nms(boxes, scores, 0.5)
    assert set(nms_rotated(upright, scores, 0.5).tolist()) ^ set(by_axis.tolist()) == set()


def test_any_class_id_is_a_class_but_only_whole_ones() -> None:
    boxes = np.tile(np.array([[0, 0, 1, 1]], np.float32), (4, 1))
    assert class_nms(boxes, [0.9, 0.8, 0.7, 0.6], [-3, 99, -3, 2**31 - 1], 0.5).tolist() == [0, 1, 3]
    with pytest.raises(ValueError, match=r"class_ids must be whole numbers but hold 0\.5"):
        class_nms(boxes, [0.9, 0.8, 0.7, 0.6], [0.0, 0.5, 1.0, 2.0], 0.5)
    with pytest.raises(ValueError, match=r"class_ids must fit int32 but span 0 \.\.\. 4294967296"):
        class_nms(boxes, [0.9, 0.8, 0.7, 0.6], [0, 1, 2, 2**32], 0.5)


@pytest.mark.parametrize("score", [-0.1, 1.1, np.nan, np.inf])
def test_scores_outside_their_range_are_refused_where_they_weigh(score: float) -> None:
    boxes = [[0, 0, 1, 1], [0, 0, 2, 2]]
    with pytest.raises(ValueError, match=r"scores must lie in 0 ... 1 but row 1"):
        soft_nms(boxes, [0.5, score])
    with pytest.raises(ValueError, match=r"scores must lie in 0 ... 1 but row 1"):
        fuse_boxes(boxes, [0.5, score], [0, 0])
    with pytest.raises(ValueError, match=r"scores must lie in 0 ... 1 but row 1"):
        matrix_nms(np.eye(2), [0.5, score], [0, 0])


@pytest.mark.parametrize("bad", [[0, 0, np.nan, 1], [2, 0, 1, 1], [0, 0, np.inf, 1]])
def test_bad_boxes_are_refused_by_soft_nms_and_fusion(bad: list[float]) -> None:
    with pytest.raises(ValueError, match="row 1"):
        soft_nms([[0, 0, 1, 1], bad], [0.5, 0.5])
    with pytest.raises(ValueError, match="row 1"):
        fuse_boxes([[0, 0, 1, 1], bad], [0.5, 0.5], [0, 0])


def test_soft_nms_agrees_with_the_paper_step_by_step() -> None:
    boxes, scores, _ = crowd(60, 9)
    for sigma in (None, 0.5):
        left, order, kept = scores.astype(np.float64).copy(), [], []
        overlap = iou_matrix(boxes, boxes).astype(np.float64)
        alive = list(range(60))
        while alive:
            best = max(alive, key=lambda row: (left[row], -row))
            if left[best] < 0.05:
                break
            order.append(best)
            kept.append(left[best])
            alive.remove(best)
            for row in alive:
                iou = overlap[best, row]
                left[row] *= np.exp(-(iou**2) / sigma) if sigma else (1 - iou if iou > 0.3 else 1.0)
        rows, lowered = soft_nms(boxes, scores, sigma=sigma, min_score=0.05)
        assert rows.tolist() == order
        np.testing.assert_allclose(lowered, kept, rtol=1e-4)


def test_fused_boxes_are_weighted_means() -> None:
    boxes = [[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60], [0, 0, 10, 10]]
    fused, scores, classes = fuse_boxes(boxes, [0.9, 0.3, 0.5, 0.8], [0, 0, 0, 1], sources=2)
    assert classes.tolist() == [0, 1, 0]
    np.testing.assert_allclose(fused[0], [0.25, 0, 10.25, 10], atol=1e-5)
    np.testing.assert_allclose(scores, [0.6, 0.4, 0.25], atol=1e-6)
    assert len(fuse_boxes(np.zeros((0, 4)), [], [])[0]) == 0


def test_matrix_nms_keeps_the_best_and_ignores_other_classes() -> None:
    overlaps = np.array([[1, 0.8, 0.8], [0.8, 1, 0], [0.8, 0, 1]])
    lowered = matrix_nms(overlaps, [0.9, 0.8, 0.7], [0, 0, 1], sigma=None)
    np.testing.assert_allclose(lowered, [0.9, 0.8 * 0.2, 0.7], rtol=1e-5)
    gaussian = matrix_nms(overlaps, [0.9, 0.8, 0.7], [0, 0, 0], sigma=2.0)
    np.testing.assert_allclose(gaussian, [0.9, 0.8 * np.exp(-2 * 0.64), 0.7 * np.exp(-2 * 0.64)], rtol=1e-5)


def test_rotated_suppression_agrees_with_a_plain_loop() -> None:
    boxes = bev_crowd(80, 5)
    scores = np.random.default_rng(6).integers(0, 20, 80) / 20
    kept: list[int] = []
    for row in np.argsort(-scores, kind="stable"):
        p = polygon(boxes[row])
        overlaps = [p.intersection(polygon(boxes[k])).area / p.union(polygon(boxes[k])).area for k in kept]
        if not any(overlap > 0.3 for overlap in overlaps):
            kept.append(int(row))
    assert nms_rotated(boxes, scores, 0.3).tolist() == kept
    tall = np.insert(np.insert(boxes, 2, 0.0, axis=1), 5, 1.5, axis=1)
    assert nms_3d(tall, scores, 0.3).tolist() == kept
    matrix = np.array(
        [[polygon(p).intersection(polygon(q)).area / polygon(p).union(polygon(q)).area for q in boxes] for p in boxes]
    )
    assert nms_by_overlap(matrix, scores, 0.3).tolist() == kept
    with pytest.raises(ValueError, match="row 0"):
        nms_rotated([[np.nan, 0, 1, 1, 0]], [1.0], 0.5)
