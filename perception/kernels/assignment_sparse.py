"""Exact assignment where few pairs are allowed: listed pairs, or a matrix with a gate.

Rows are placed one after the other by a shortest augmenting path over the allowed pairs alone (Dijkstra's search with a
heap; Jonker and Volgenant, Computing 38, 1987). Each row may also stay unpaired, at the price of the gate, so that a
path ends at a free column or at a row that lets go. Time grows with the pairs that compete, not with the matrix.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.assignment_dense import assign
from perception.kernels.checks import as_array

__all__ = ["assign_gated", "assign_sparse"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

_INT64 = np.dtype(np.int64)


def assign_gated(costs: npt.ArrayLike, max_cost: float) -> Int64Array:
    """Pairs cheaper than ``max_cost`` of least total (cost - ``max_cost``): staying unpaired costs ``max_cost``.

    Args:
        costs: (N, M); entries at or above ``max_cost``, infinite ones included, are never paired.
        max_cost: the gate, finite.

    Returns:
        (N,) column of each row, -1 where it has none.

    Raises:
        ValueError: the shape is wrong, a cost is NaN or minus infinity, or the gate is not finite.

    >>> assign_gated([[0.1, 0.9], [0.2, 0.3], [0.9, 0.9]], 0.5).tolist()
    [0, 1, -1]
    """
    try:
        column_of_row = np.empty(len(costs), _INT64)  # type: ignore[arg-type]
        dense = _gated(costs, max_cost, column_of_row)
    except (TypeError, ValueError, AttributeError):  # another type or layout than the compiled one, or a bad value
        matrix: Float64Array = as_array("costs", costs, np.float64, (None, None))
        _check_gate(max_cost)
        bad = np.argwhere(~(matrix > -np.inf))
        if len(bad):
            row, column = (int(i) for i in bad[0])
            raise ValueError(
                f"costs must be numbers above minus infinity but costs[{row}, {column}] is {matrix[row, column]}"
            ) from None
        costs, column_of_row = matrix, np.empty(len(matrix), _INT64)
        dense = _gated(matrix, float(max_cost), column_of_row)
    if dense:
        gains = np.minimum(np.asarray(costs) - max_cost, 0.0)
        rows, columns = assign(gains)
        paired = gains[rows, columns] < 0.0
        column_of_row[rows[paired]] = columns[paired]
    return column_of_row


def assign_sparse(
    rows: npt.ArrayLike,
    columns: npt.ArrayLike,
    costs: npt.ArrayLike,
    shape: tuple[int, int],
    max_cost: float,
) -> Int64Array:
    """The same for K listed pairs; any other pair is forbidden. Memory grows with K, not with N times M.

    Args:
        rows: (K,) of the pairs, 0 ... N - 1, in any order; the cheapest of repeated pairs counts.
        columns: (K,) of the pairs, 0 ... M - 1.
        costs: (K,); pairs at or above ``max_cost`` are never taken.
        shape: N and M.
        max_cost: the gate, finite. One larger than any cost times min(N, M) makes as many pairs as possible.

    Returns:
        (N,) column of each row, -1 where it has none.

    Raises:
        ValueError: a shape or index is wrong, a cost is NaN or minus infinity, or the gate is not finite.

    >>> assign_sparse([0, 0, 1], [0, 1, 0], [0.1, 0.2, 0.2], (2, 3), 1.0).tolist()
    [1, 0]
    """
    row = as_array("rows", rows, np.int64, (None,))
    column = as_array("columns", columns, np.int64, (len(row),))
    cost = as_array("costs", costs, np.float64, (len(row),))
    _check_gate(max_cost)
    for name, index, size in (("rows", row, shape[0]), ("columns", column, shape[1])):
        if len(index) and not (0 <= int(index.min()) and int(index.max()) < size):
            raise ValueError(f"{name} must lie in 0 ... {size - 1} but span {int(index.min())} ... {int(index.max())}")
    bad = np.flatnonzero(~(cost > -np.inf))
    if len(bad):
        raise ValueError(f"costs must be numbers above minus infinity but costs[{bad[0]}] is {cost[bad[0]]}")
    column_of_row = np.empty(shape[0], _INT64)
    _listed(row, column, cost, shape[1], float(max_cost), column_of_row)
    return column_of_row


def _check_gate(max_cost: float) -> None:
    if not np.isfinite(max_cost):
        raise ValueError(f"max_cost must be finite but got {max_cost}")


@njit("int64(float64[::1], int64[::1], int64, float64, int64)", cache=True, nogil=True)
def _push(keys, items, size, key, item):  # type: ignore[no-untyped-def]
    """Adds to a binary heap with the least key first; returns its new size."""
    at = size
    while at > 0:
        parent = (at - 1) >> 1
        if keys[parent] <= key:
            break
        keys[at], items[at] = keys[parent], items[parent]
        at = parent
    keys[at], items[at] = key, item
    return size + 1


@njit("int64(float64[::1], int64[::1], int64)", cache=True, nogil=True)
def _pop(keys, items, size):  # type: ignore[no-untyped-def]
    """Drops the first of the heap; returns its new size."""
    size -= 1
    key, item = keys[size], items[size]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        if child + 1 < size and keys[child + 1] < keys[child]:
            child += 1
        if key <= keys[child]:
            break
        keys[at], items[at] = keys[child], items[child]
        at = child
    keys[at], items[at] = key, item
    return size


@njit("void(int64[::1], int64[::1], float64[::1], int64, int64[::1])", cache=True, nogil=True)
def _solve(starts, columns, gains, column_count, column_of_row):  # type: ignore[no-untyped-def]
    """Pairs of least total gain, which are below 0; ``starts`` (N + 1) says where each row's pairs begin."""
    column_of_row[:] = -1
    row_of_column = np.full(column_count, -1, np.int64)
    price = np.zeros(column_count)
    # of the pair that holds a row, and of the pair through which a column was reached last
    gain_of_row, gain_of_column = np.zeros(column_of_row.size), np.empty(column_count)
    distance = np.full(column_count, np.inf)
    previous = np.empty(column_count, np.int64)
    closed = np.zeros(column_count, np.bool_)
    touched = np.empty(column_count, np.int64)
    keys, items = np.empty(gains.size + 1), np.empty(gains.size + 1, np.int64)
    for start in range(column_of_row.size):
        touched_count, size = 0, 0
        i, offset = start, 0.0
        # the cheapest way to end by letting a row go, and that row
        let_go, loser = 0.0, start
        sink = -1
        while True:
            for k in range(starts[i], starts[i + 1]):
                j = columns[k]
                if closed[j]:
                    continue
                length = offset + (gains[k] - price[j])
                if length < distance[j] and length < let_go:
                    if distance[j] == np.inf:
                        touched[touched_count] = j
                        touched_count += 1
                    distance[j], previous[j], gain_of_column[j] = length, i, gains[k]
                    size = _push(keys, items, size, length, j)
            while size > 0 and (closed[items[0]] or keys[0] > distance[items[0]]):
                size = _pop(keys, items, size)
            if size == 0 or keys[0] >= let_go:
                break
            j = items[0]
            size = _pop(keys, items, size)
            closed[j] = True
            if row_of_column[j] < 0:
                sink = j
                break
            i = row_of_column[j]
            offset = distance[j] - (gain_of_row[i] - price[j])
            if offset < let_go:
                let_go, loser = offset, i
        reached = let_go if sink < 0 else distance[sink]
        for k in range(touched_count):
            j = touched[k]
            if closed[j]:
                price[j] += min(distance[j] - reached, 0.0)
        if sink < 0 and loser != start:
            # the path ends at the column of the row that lets go
            sink = column_of_row[loser]
            column_of_row[loser] = -1
            gain_of_row[loser] = 0.0
        while sink >= 0:
            i = previous[sink]
            row_of_column[sink] = i
            gain_of_row[i] = gain_of_column[sink]
            sink, column_of_row[i] = column_of_row[i], sink
        for k in range(touched_count):
            distance[touched[k]] = np.inf
            closed[touched[k]] = False


@njit("boolean(float64[:, ::1], float64, int64[::1])", cache=True, nogil=True)
def _gated(costs, max_cost, column_of_row):  # type: ignore[no-untyped-def]
    """Fills ``column_of_row``; where so many pairs pass that a dense solver is faster, with -1, and returns True."""
    rows, columns = costs.shape
    if not np.isfinite(max_cost):
        raise ValueError("max_cost must be finite")
    starts = np.empty(rows + 1, np.int64)
    starts[0] = 0
    bad = 0
    for i in range(rows):
        line = costs[i]
        below = 0
        for j in range(columns):
            below += np.int64(line[j] < max_cost)
            bad += np.int64(not line[j] > -np.inf)
        starts[i + 1] = starts[i] + below
    if bad > 0:
        raise ValueError("costs must be numbers above minus infinity")
    count = starts[rows]
    # measured on random costs: four pairs a row link most rows to one another
    if count > max(4 * rows, 160) and 50 * count > rows * columns:
        column_of_row[:] = -1
        return True
    pair_columns, gains = np.empty(count, np.int64), np.empty(count)
    k = 0
    for i in range(rows):
        line = costs[i]
        j = 0
        while k < starts[i + 1]:
            if line[j] < max_cost:
                pair_columns[k], gains[k] = j, line[j] - max_cost
                k += 1
            j += 1
    _solve(starts, pair_columns, gains, columns, column_of_row)
    return False


@njit("void(int64[::1], int64[::1], float64[::1], int64, float64, int64[::1])", cache=True, nogil=True)
def _listed(rows, columns, costs, column_count, max_cost, column_of_row):  # type: ignore[no-untyped-def]
    starts = np.zeros(column_of_row.size + 1, np.int64)
    for k in range(rows.size):
        if costs[k] < max_cost:
            starts[rows[k] + 1] += 1
    for i in range(column_of_row.size):
        starts[i + 1] += starts[i]
    count = starts[column_of_row.size]
    pair_columns, gains = np.empty(count, np.int64), np.empty(count)
    place = starts.copy()
    for k in range(rows.size):
        if costs[k] < max_cost:
            at = place[rows[k]]
            pair_columns[at], gains[at] = columns[k], costs[k] - max_cost
            place[rows[k]] += 1
    _solve(starts, pair_columns, gains, column_count, column_of_row)
