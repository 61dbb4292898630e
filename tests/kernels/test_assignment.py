"""Assignment against scipy, and the rules for gates, ties and bad costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from perception.kernels.assignment import assign, assign_gated, assign_greedy
from perception.kernels.boxes import iou_matrix


def costs_of(kind: str, rows: int, columns: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "uniform":
        return rng.random((rows, columns))
    if kind == "tied":
        return rng.integers(0, 4, (rows, columns)).astype(float)
    if kind == "negative":
        return rng.normal(size=(rows, columns)) * 1e6
    corners = rng.uniform(0, 300, (max(rows, columns), 2))
    boxes = np.concatenate([corners, corners + 60], axis=1)
    return 1.0 - iou_matrix(boxes[:rows], boxes[:columns] + rng.normal(0, 5, (columns, 4))).astype(float)


@pytest.mark.parametrize("kind", ["uniform", "tied", "negative", "boxes"])
@pytest.mark.parametrize(
    ("rows", "columns"), [(0, 3), (3, 0), (1, 1), (1, 7), (7, 1), (5, 5), (40, 25), (25, 40), (120, 120)]
)
def test_optimum_is_scipys(kind: str, rows: int, columns: int) -> None:
    for seed in range(5):
        costs = costs_of(kind, rows, columns, seed)
        found_rows, found_columns = assign(costs)
        assert len(found_rows) == min(rows, columns) == len(set(found_columns.tolist()))
        assert (np.diff(found_rows) > 0).all()
        expected = costs[linear_sum_assignment(costs)].sum()
        assert costs[found_rows, found_columns].sum() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(0, 10**6), st.sampled_from([0.0, 0.3, 0.7, 2.0]))
def test_gated_optimum_leaves_pairs_that_cost_more_than_none(rows: int, columns: int, seed: int, gate: float) -> None:
    rng = np.random.default_rng(seed)
    costs = rng.integers(0, 10, (rows, columns)) / 10
    costs[rng.random((rows, columns)) < 0.3] = np.inf
    column = assign_gated(costs, gate)
    paired = np.flatnonzero(column >= 0)
    assert (costs[paired, column[paired]] < gate).all()
    assert len(set(column[paired].tolist())) == len(paired)
    gain = np.minimum(np.where(np.isinf(costs), gate, costs) - gate, 0)
    assert (costs[paired, column[paired]] - gate).sum() == pytest.approx(gain[linear_sum_assignment(gain)].sum())


def test_greedy_takes_the_cheapest_first() -> None:
    assert assign_greedy([[0.1, 0.2], [0.15, 0.9]], 0.5).tolist() == [0, -1]
    assert assign_gated([[0.1, 0.2], [0.15, 0.9]], 0.5).tolist() == [1, 0]
    assert assign_greedy([[0.2, 0.2], [0.2, 0.2]], 0.5).tolist() == [0, 1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_costs_that_are_no_numbers_are_named(bad: float) -> None:
    costs = np.ones((3, 3))
    costs[1, 2] = bad
    with pytest.raises(ValueError, match=r"costs\[1, 2\]"):
        assign(costs)
    if bad != np.inf:
        with pytest.raises(ValueError, match=r"costs\[1, 2\]"):
            assign_gated(costs, 2.0)
    with pytest.raises(ValueError, match=r"\(N, N\)|must be"):
        assign(np.zeros(3))
