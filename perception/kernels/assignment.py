"""Exact and greedy assignment of rows to columns: rectangular, dense or gated.

The exact solver follows Jonker and Volgenant (Computing 38, 1987) for rectangular costs: columns start with price 0,
rows bid for their cheapest column (augmenting row reduction), and each row that is still free is placed by a shortest
augmenting path. Columns that stay free keep price 0, which is what makes a rectangular optimum.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["assign", "assign_gated", "assign_greedy"]

Int64Array = npt.NDArray[np.int64]


def assign(costs: npt.ArrayLike) -> tuple[Int64Array, Int64Array]:
    """The min(N, M) pairs of least total cost.

    Args:
        costs: (N, M) finite.

    Returns:
        Rows in rising order and their columns, each (min(N, M),).

    Raises:
        ValueError: the shape is wrong or a cost is not finite.

    >>> rows, columns = assign([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0]])
    >>> rows.tolist(), columns.tolist()
    ([0, 1], [1, 0])
    """
    matrix = as_array("costs", costs, np.float64, (None, None))
    if matrix.shape[0] <= matrix.shape[1]:
        column_of_row = _solve(matrix)
        _refuse_bad(column_of_row, matrix)
        return np.arange(len(column_of_row)), column_of_row
    row_of_column = _solve(np.ascontiguousarray(matrix.T))
    _refuse_bad(row_of_column, matrix)
    order = np.argsort(row_of_column)
    return row_of_column[order], order


def assign_gated(costs: npt.ArrayLike, max_cost: float) -> Int64Array:
    """Pairs cheaper than ``max_cost`` of least total (cost - ``max_cost``): staying unpaired costs ``max_cost``.

    Args:
        costs: (N, M); entries at or above ``max_cost``, infinite ones included, are never paired.
        max_cost: the gate.

    Returns:
        (N,) column of each row, -1 where it has none.

    Raises:
        ValueError: the shape is wrong or a cost is NaN.

    >>> assign_gated([[0.1, 0.9], [0.2, 0.3], [0.9, 0.9]], 0.5).tolist()
    [0, 1, -1]
    """
    matrix = as_array("costs", costs, np.float64, (None, None))
    column_of_row = _solve_gated(matrix, float(max_cost))
    _refuse_bad(column_of_row, matrix)
    return column_of_row  # type: ignore[no-any-return]


def assign_greedy(costs: npt.ArrayLike, max_cost: float) -> Int64Array:
    """Takes the cheapest pair below ``max_cost`` again and again; ties go to the lower row, then the lower column.

    Args:
        costs: (N, M); entries at or above ``max_cost`` are never paired.
        max_cost: the gate.

    Returns:
        (N,) column of each row, -1 where it has none.

    Raises:
        ValueError: the shape is wrong or a cost is NaN.
    """
    matrix = as_array("costs", costs, np.float64, (None, None))
    column_of_row = _greedy(matrix, float(max_cost))
    _refuse_bad(column_of_row, matrix)
    return column_of_row  # type: ignore[no-any-return]


def _refuse_bad(answer: Int64Array, matrix: npt.NDArray[np.float64]) -> None:
    if len(answer) and answer[0] == _BAD:
        row, column = (int(i) for i in np.argwhere(~(np.abs(matrix) < np.inf))[0])
        raise ValueError(f"costs must be numbers but costs[{row}, {column}] is {matrix[row, column]}")


_BAD = -2


@njit("int64[::1](float64[:, ::1])", cache=True, nogil=True)
def _solve(costs):  # type: ignore[no-untyped-def]
    """Column of each row for N <= M; -2 everywhere when a cost is not finite."""
    rows, columns = costs.shape
    column_of_row = np.full(rows, -1, np.int64)
    total = 0.0
    for i in range(rows):
        for j in range(columns):
            total += abs(costs[i, j])
    if not np.isfinite(total):
        column_of_row[:] = -2
        return column_of_row
    row_of_column = np.full(columns, -1, np.int64)
    price = np.zeros(columns)

    free = np.empty(rows, np.int64)
    for i in range(rows):
        free[i] = i
    waiting = rows
    # augmenting row reduction, twice as published; the count of bids is bounded so that rounding cannot cycle
    for _ in range(2):
        if waiting == 0:
            break
        queue = waiting
        waiting = 0
        k = 0
        bids = 0
        while k < queue:
            i = free[k]
            k += 1
            bids += 1
            line = costs[i]
            best = line[0] - price[0]
            second = np.inf
            j1, j2 = 0, -1
            for j in range(1, columns):
                reduced = line[j] - price[j]
                if reduced < second:
                    if reduced < best:
                        second, j2 = best, j1
                        best, j1 = reduced, j
                    else:
                        second, j2 = reduced, j
            holder = row_of_column[j1]
            lowered = best < second and columns > 1
            if lowered and second < np.inf:
                price[j1] -= second - best
            elif holder >= 0 and j2 >= 0:
                j1 = j2
                holder = row_of_column[j2]
            row_of_column[j1] = i
            column_of_row[i] = j1
            if holder >= 0:
                column_of_row[holder] = -1
                if lowered and bids < 4 * rows:
                    k -= 1
                    free[k] = holder
                else:
                    free[waiting] = holder
                    waiting += 1

    distance = np.empty(columns)
    previous = np.empty(columns, np.int64)
    done = np.empty(columns, np.bool_)
    for f in range(waiting):
        start = free[f]
        distance[:] = np.inf
        done[:] = False
        i = start
        reached = 0.0
        sink = -1
        while sink < 0:
            line = costs[i]
            held = column_of_row[i]
            offset = reached if held < 0 else reached - (line[held] - price[held])
            least = np.inf
            nearest = -1
            for j in range(columns):
                if not done[j]:
                    length = offset + line[j] - price[j]
                    if length < distance[j]:
                        distance[j] = length
                        previous[j] = i
                    # on ties a free column ends the search
                    if distance[j] < least or (distance[j] == least and row_of_column[j] < 0):
                        least = distance[j]
                        nearest = j
            reached = least
            done[nearest] = True
            if row_of_column[nearest] < 0:
                sink = nearest
            else:
                i = row_of_column[nearest]
        for j in range(columns):
            if done[j] and j != sink:
                price[j] += distance[j] - reached
        while True:
            i = previous[sink]
            row_of_column[sink] = i
            sink, column_of_row[i] = column_of_row[i], sink
            if i == start:
                break
    return column_of_row


@njit("int64[::1](float64[:, ::1], float64)", cache=True, nogil=True)
def _solve_gated(costs, max_cost):  # type: ignore[no-untyped-def]
    rows, columns = costs.shape
    column_of_row = np.full(rows, -1, np.int64)
    in_row = np.zeros(rows, np.int64)
    in_column = np.zeros(columns, np.int64)
    last = np.zeros(rows, np.int64)
    for i in range(rows):
        for j in range(columns):
            cost = costs[i, j]
            if cost < max_cost:
                if not np.isfinite(cost):
                    column_of_row[:] = -2
                    return column_of_row
                in_row[i] += 1
                in_column[j] += 1
                last[i] = j
            elif np.isnan(cost):
                column_of_row[:] = -2
                return column_of_row
    # pairs that compete with nobody are settled; the rest is one dense problem
    row_left = np.empty(rows, np.int64)
    column_left = np.empty(columns, np.int64)
    open_rows = 0
    for i in range(rows):
        if in_row[i] == 1 and in_column[last[i]] == 1:
            column_of_row[i] = last[i]
            in_column[last[i]] = 0
        elif in_row[i] > 0:
            row_left[open_rows] = i
            open_rows += 1
    open_columns = 0
    for j in range(columns):
        if in_column[j] > 0:
            column_left[open_columns] = j
            open_columns += 1
    if open_rows == 0:
        return column_of_row
    flipped = open_rows > open_columns
    inner = np.empty((open_columns, open_rows) if flipped else (open_rows, open_columns))
    for p in range(open_rows):
        for q in range(open_columns):
            gain = min(costs[row_left[p], column_left[q]] - max_cost, 0.0)
            if flipped:
                inner[q, p] = gain
            else:
                inner[p, q] = gain
    answer = _solve(inner)
    for p in range(answer.size):
        if inner[p, answer[p]] < 0.0:
            if flipped:
                column_of_row[row_left[answer[p]]] = column_left[p]
            else:
                column_of_row[row_left[p]] = column_left[answer[p]]
    return column_of_row


@njit("int64[::1](float64[:, ::1], float64)", cache=True, nogil=True)
def _greedy(costs, max_cost):  # type: ignore[no-untyped-def]
    rows, columns = costs.shape
    column_of_row = np.full(rows, -1, np.int64)
    count = 0
    for i in range(rows):
        for j in range(columns):
            if np.isnan(costs[i, j]) or costs[i, j] == -np.inf:
                column_of_row[:] = -2
                return column_of_row
            count += costs[i, j] < max_cost
    values = np.empty(count)
    pairs = np.empty(count, np.int64)
    count = 0
    for i in range(rows):
        for j in range(columns):
            if costs[i, j] < max_cost:
                values[count] = costs[i, j]
                pairs[count] = i * columns + j
                count += 1
    taken = np.zeros(columns, np.bool_)
    for k in np.argsort(values, kind="mergesort"):
        i, j = pairs[k] // columns, pairs[k] % columns
        if column_of_row[i] < 0 and not taken[j]:
            column_of_row[i] = j
            taken[j] = True
    return column_of_row
