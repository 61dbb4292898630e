"""Assignment against scipy, and the rules for gates, ties and bad costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching

from perception.kernels.assignment import assign, assign_auction, assign_gated, assign_greedy, assign_sparse
from perception.kernels.boxes import iou_matrix


def costs_of(kind: str, rows: int, columns: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "uniform":
        return rng.random((rows, columns))
    if kind == "tied":
        return rng.integers(0, 4, (rows, columns)).astype(float)
    if kind == "negative":
        return rng.normal(size=(rows, columns)) * 1e6
    if kind == "product":  # hard for shortest paths
        return np.outer(np.arange(1.0, rows + 1), np.arange(1.0, columns + 1))
    corners = rng.uniform(0, 300, (max(rows, columns), 2))
    boxes = np.concatenate([corners, corners + 60], axis=1)
    # moved whole, so that no corner passes another
    moved = boxes[:columns] + np.tile(rng.normal(0, 5, (columns, 2)), 2)
    return 1.0 - iou_matrix(boxes[:rows], moved).astype(float)


SHAPES = [(0, 3), (3, 0), (1, 1), (1, 7), (7, 1), (5, 5), (40, 25), (25, 40), (40, 40)]


@pytest.mark.parametrize("kind", ["uniform", "tied", "negative", "product", "boxes"])
@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_optimum_is_scipys(kind: str, rows: int, columns: int) -> None:
    for seed in range(2):
        costs = costs_of(kind, rows, columns, seed)
        expected = costs[linear_sum_assignment(costs)].sum()
        for given_costs in (costs, np.asfortranarray(costs), costs.tolist() if rows else costs):
            found_rows, found_columns = assign(given_costs)
            assert len(found_rows) == min(rows, columns) == len(set(found_columns.tolist()))
            assert (np.diff(found_rows) > 0).all()
            assert costs[found_rows, found_columns].sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 7), st.integers(1, 7), st.data())
def test_optimum_of_any_costs_is_scipys(rows: int, columns: int, data: st.DataObject) -> None:
    values = st.floats(-1e6, 1e6) | st.sampled_from([0.0, -0.0, 1.0, 1e-300, -1e-300])
    costs = np.array(data.draw(st.lists(values, min_size=rows * columns, max_size=rows * columns)))
    costs = costs.reshape(rows, columns)
    expected = costs[linear_sum_assignment(costs)].sum()
    assert costs[assign(costs)].sum() == pytest.approx(expected, rel=1e-9, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 0.7, 2.0]))
def test_gated_optimum_leaves_pairs_that_cost_more_than_none(rows: int, columns: int, seed: int, gate: float) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 10, (rows, columns)) / 10
    costs[rng.random((rows, columns)) < 0.3] = np.inf
    gain = np.minimum(np.where(np.isinf(costs), gate, costs) - gate, 0)
    expected = gain[linear_sum_assignment(gain)].sum()
    listed = np.nonzero(np.isfinite(costs))
    mixed = rng.permutation(len(listed[0]))
    pair_rows, pair_columns = listed[0][mixed], listed[1][mixed]
    for column in (
        assign_gated(costs, gate),
        assign_sparse(pair_rows, pair_columns, costs[pair_rows, pair_columns], (rows, columns), gate),
    ):
        paired = np.flatnonzero(column >= 0)
        assert column.shape == (rows,)
        assert (costs[paired, column[paired]] < gate).all()
        assert len(set(column[paired].tolist())) == len(paired)
        assert (costs[paired, column[paired]] - gate).sum() == pytest.approx(expected)


@pytest.mark.parametrize(("rows", "columns", "gate"), [(30, 20, 0.9), (20, 30, 0.9), (40, 40, 0.1), (30, 30, 0.02)])
def test_gated_optimum_of_dense_and_of_sparse_costs(rows: int, columns: int, gate: float) -> None:
    """On both sides of the number of pairs from which on the dense solver takes over."""
    for seed in range(3):
        costs = costs_of("uniform", rows, columns, seed)
        column = assign_gated(costs, gate)
        paired = np.flatnonzero(column >= 0)
        gain = np.minimum(costs - gate, 0)
        assert (costs[paired, column[paired]] < gate).all() and len(set(column[paired].tolist())) == len(paired)
        expected = gain[linear_sum_assignment(gain)].sum()
        assert (costs[paired, column[paired]] - gate).sum() == pytest.approx(expected)


def test_sparse_full_matching_is_scipys() -> None:
    rng = np.random.default_rng(4)
    for seed in range(3):
        count = 60
        rows = np.concatenate([np.arange(count), rng.integers(0, count, 200)])
        columns = np.concatenate([rng.permutation(count), rng.integers(0, count, 200)])
        costs = rng.random(len(rows)) + 0.1
        matrix = np.full((count, count), np.inf)
        np.minimum.at(matrix, (rows, columns), costs)
        kept = np.nonzero(np.isfinite(matrix))
        expected = matrix[min_weight_full_bipartite_matching(coo_array((matrix[kept], kept)).tocsr())].sum()
        column = assign_sparse(rows, columns, costs, (count, count), 100.0)
        assert (column >= 0).all(), "a large gate pairs all that can be paired"
        assert matrix[np.arange(count), column].sum() == pytest.approx(expected), seed


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 10**6), st.sampled_from([2, 50, 10**6]))
def test_auction_is_exact_for_whole_costs_and_bounded_for_others(rows: int, columns: int, seed: int, top: int) -> None:
    costs = np.random.default_rng(seed).integers(-top, top, (rows, columns)).astype(float)
    found = assign_auction(costs)
    assert len(found[0]) == min(rows, columns) == len(set(found[1].tolist())) and (np.diff(found[0]) > 0).all()
    assert costs[found].sum() == costs[linear_sum_assignment(costs)].sum()
    costs = costs / (3.0 * top)
    over = costs[assign_auction(costs, 1e-3)].sum() - costs[linear_sum_assignment(costs)].sum()
    assert -1e-9 <= over <= max(rows, columns) * 1e-3 + 1e-9


def test_auction_refuses_bids_that_rounding_would_swallow() -> None:
    for epsilon in (0.0, -1.0, np.nan, np.inf, 1e-12):
        with pytest.raises(ValueError, match="epsilon must be above"):
            assign_auction([[0.0, 1e6], [1e6, 0.0]], epsilon)


def test_greedy_takes_the_cheapest_first() -> None:
    assert assign_greedy([[0.1, 0.2], [0.15, 0.9]], 0.5).tolist() == [0, -1]
    assert assign_gated([[0.1, 0.2], [0.15, 0.9]], 0.5).tolist() == [1, 0]
    assert assign_greedy([[0.2, 0.2], [0.2, 0.2]], 0.5).tolist() == [0, 1]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 10**6))
def test_greedy_agrees_with_a_plain_loop(rows: int, columns: int, seed: int) -> None:
    costs = np.random.default_rng(seed).integers(0, 8, (rows, columns)) / 10
    expected = np.full(rows, -1)
    for flat in np.argsort(costs.ravel(), kind="stable"):
        i, j = divmod(int(flat), columns)
        if costs[i, j] < 0.6 and expected[i] < 0 and j not in expected:
            expected[i] = j
    np.testing.assert_array_equal(assign_greedy(costs, 0.6), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e305])
def test_costs_that_are_no_numbers_are_named(bad: float) -> None:
    costs = np.ones((3, 3))
    costs[1, 2] = bad
    for matrix in (costs, costs[:2], costs[:, 1:].copy()):
        place = rf"costs\[1, {matrix.shape[1] - 1}\]"
        with pytest.raises(ValueError, match=place):
            assign(matrix)
        if bad < 1e305 or np.isnan(bad):
            with pytest.raises(ValueError, match=place):
                assign_gated(matrix, 2.0)
            with pytest.raises(ValueError, match=place):
                assign_greedy(matrix, 2.0)
        if not np.isfinite(bad):
            with pytest.raises(ValueError, match=place):
                assign_auction(matrix)


def test_wrong_shapes_gates_and_places_are_named() -> None:
    for solve in (assign, assign_auction):
        with pytest.raises(ValueError, match=r"costs must be \(N, N\)"):
            solve(np.zeros(3))
    with pytest.raises(ValueError, match=r"costs must be \(N, N\)"):
        assign_gated(np.zeros(3), 1.0)
    for gate in (np.nan, np.inf):
        with pytest.raises(ValueError, match="max_cost must be finite"):
            assign_gated(np.zeros((2, 2)), gate)
        with pytest.raises(ValueError, match="max_cost must be finite"):
            assign_sparse([0], [0], [0.0], (1, 1), gate)
    with pytest.raises(ValueError, match=r"columns must lie in 0 ... 2 but span 0 ... 3"):
        assign_sparse([0, 1], [0, 3], [0.1, 0.1], (2, 3), 1.0)
    with pytest.raises(ValueError, match=r"costs\[1\] is nan"):
        assign_sparse([0, 1], [0, 1], [0.1, np.nan], (2, 3), 1.0)
    assert assign_sparse([], [], [], (2, 3), 1.0).tolist() == [-1, -1]
