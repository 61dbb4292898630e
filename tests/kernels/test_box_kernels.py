"""Pairwise overlaps against torchvision and shapely, and what they refuse."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rotated_boxes import bev_crowd, polygon

from perception.kernels.boxes import diou_matrix, giou_matrix, iou_matrix
from perception.kernels.boxes3d import bev_diou_matrix, bev_giou_matrix, diou_3d_matrix, giou_3d_matrix

MEASURES = [iou_matrix, giou_matrix, diou_matrix]


def crowd(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    first = rng.uniform(0, 100, (count, 2))
    return np.concatenate([first, first + rng.uniform(0, 60, (count, 2))], axis=1).astype(np.float32)


# either side of whole eights and of a tile of 512 columns
@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0), (1, 1), (7, 8), (3, 9), (37, 53), (3, 512), (2, 515)])
def test_pairwise_overlaps_agree_with_torchvision(rows: int, columns: int) -> None:
    torch, ops = pytest.importorskip("torch"), pytest.importorskip("torchvision").ops
    a, b = crowd(rows, 1), crowd(columns, 2)
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    for given_a in (a, a.astype(np.float64), a.tolist()):
        np.testing.assert_allclose(iou_matrix(given_a, b), ops.box_iou(ta, tb).numpy(), atol=1e-6)
    np.testing.assert_allclose(giou_matrix(a, b), ops.generalized_box_iou(ta, tb).numpy(), atol=1e-5)
    np.testing.assert_allclose(diou_matrix(a, b), ops.distance_box_iou(ta, tb).numpy(), atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 10**6))
def test_overlaps_are_symmetric_bounded_and_unmoved_by_shifts(rows: int, columns: int, seed: int) -> None:
    a, b = np.round(crowd(rows, seed) / 8), np.round(crowd(columns, seed + 1) / 8)
    for measure, least in zip(MEASURES, (0.0, -1.0, -1.0), strict=True):
        found = measure(a, b)
        assert found.shape == (rows, columns) and found.dtype == np.float32
        assert ((found >= least) & (found <= 1.0)).all()
        np.testing.assert_allclose(found, measure(b, a).T, atol=1e-6)
        np.testing.assert_allclose(found, measure(a + 16, b + 16), atol=1e-5)
    assert (giou_matrix(a, b) <= iou_matrix(a, b) + 1e-6).all() and (diou_matrix(a, b) <= iou_matrix(a, b) + 1e-6).all()
    solid = a[((a[:, 2:] - a[:, :2]) > 0).all(axis=1)]
    for measure in MEASURES:
        np.testing.assert_allclose(np.diag(measure(solid, solid)), 1.0, atol=1e-6)


def test_boxes_without_area_overlap_nothing() -> None:
    assert iou_matrix([[1, 1, 1, 1]], [[1, 1, 1, 1], [0, 0, 2, 2]]).tolist() == [[0.0, 0.0]]
    assert giou_matrix([[1, 1, 1, 1]], [[1, 1, 1, 1]]).tolist() == [[-1.0]]
    assert diou_matrix([[1, 1, 1, 1]], [[1, 1, 1, 1]]).tolist() == [[0.0]]
    with pytest.raises(ValueError, match="4"):
        iou_matrix(np.zeros((2, 5), np.float32), np.zeros((2, 4), np.float32))


def test_results_go_where_they_are_asked_to_go() -> None:
    a, b = crowd(5, 3), crowd(20, 4)
    for measure in MEASURES:
        out = np.full((5, 20), 9.0, np.float32)
        assert measure(a, b, out) is out
        np.testing.assert_array_equal(out, measure(a, b))
        assert measure(a.tolist(), b, out) is out
        np.testing.assert_array_equal(out, measure(a, b))
        with pytest.raises(ValueError, match=r"out must be \(5, 20\)"):
            measure(a, b, np.zeros((5, 19), np.float32))
        # plain Python writes to any array
        for other in () if numba.config.DISABLE_JIT else (np.zeros((5, 20)), np.zeros((20, 5), np.float32).T):
            with pytest.raises(ValueError, match="out must be a C-contiguous"):
                measure(a, b, other)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("bad", [[0, 0, np.nan, 1], [2, 0, 1, 1], [0, 2, 1, 1], [0, 0, np.inf, 1], [-np.inf, 0, 1, 0]])
@pytest.mark.parametrize("measure", MEASURES)
def test_bad_boxes_are_refused_by_row(measure: object, bad: list[float]) -> None:
    boxes, good = np.array([[0, 0, 1, 1], bad], np.float32), crowd(3, 5)
    for other in (good, good[:0]):
        with pytest.raises(ValueError, match=r"a_xyxy must be finite .* row 1"):
            measure(boxes, other)  # type: ignore[operator]
        with pytest.raises(ValueError, match=r"b_xyxy must be finite .* row 1"):
            measure(other, boxes)  # type: ignore[operator]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # not compiled, numpy warns before the refusal
def test_areas_past_float32_are_refused() -> None:
    with pytest.raises(ValueError, match="areas within float32"):
        iou_matrix([[0, 0, 1e25, 1e25]], [[0, 0, 1, 1]])


def test_rotated_giou_and_diou_agree_with_shapely() -> None:
    a, b = bev_crowd(12, 1), bev_crowd(9, 2)
    giou, diou = bev_giou_matrix(a, b), bev_diou_matrix(a, b)
    for i, j in np.ndindex(12, 9):
        p, q = polygon(a[i]), polygon(b[j])
        union, hull = p.union(q).area, p.union(q).convex_hull
        iou = p.intersection(q).area / union
        assert giou[i, j] == pytest.approx(iou - (hull.area - union) / hull.area, abs=1e-9)
        points = np.array(hull.exterior.coords)
        diameter = ((points[:, None] - points[None]) ** 2).sum(axis=2).max()
        assert diou[i, j] == pytest.approx(iou - ((a[i, :2] - b[j, :2]) ** 2).sum() / diameter, abs=1e-9)


def test_3d_giou_of_aligned_boxes_is_the_plain_formula() -> None:
    a = np.array([[0, 0, 0, 2, 2, 2, 0.0]])
    b = np.array([[1, 0, 1, 2, 2, 2, np.pi / 2], [10, 0, 0, 2, 2, 2, 0]])
    inter, union, hull = 1 * 2 * 1, 8 + 8 - 2, 3 * 2 * 3
    np.testing.assert_allclose(giou_3d_matrix(a, b)[0, 0], inter / union - (hull - union) / hull)
    np.testing.assert_allclose(giou_3d_matrix(a, b)[0, 1], -(12 * 4 - 16) / 48)
    np.testing.assert_allclose(diou_3d_matrix(a, b)[0, 0], inter / union - 2 / (9 + 4 + 9))
