"""Assignment by auction, exact to a stated epsilon, and greedy assignment."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["assign_auction", "assign_greedy"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]


def assign_auction(costs: npt.ArrayLike, epsilon: float | None = None) -> tuple[Int64Array, Int64Array]:
    """The min(N, M) pairs by Bertsekas' auction with epsilon scaling (Annals of Operations Research 14, 1988).

    The total is at most max(N, M) * ``epsilon`` above the least one: exact for whole costs where that is below 1.

    Args:
        costs: (N, M) finite.
        epsilon: the least bid; 1 / (max(N, M) + 1) without it, made for whole costs.

    Returns:
        Rows in rising order and their columns, each (min(N, M),).

    Raises:
        ValueError: the shape is wrong, a cost is not finite, or epsilon is not positive or too small for rounding.

    >>> rows, columns = assign_auction([[4, 1, 3], [2, 0, 5]])
    >>> rows.tolist(), columns.tolist()
    ([0, 1], [1, 0])
    """
    matrix: Float64Array = as_array("costs", costs, np.float64, (None, None))
    _refuse_bad(matrix, np.isfinite(matrix))
    least = 1.0 / (max(matrix.shape) + 1) if epsilon is None else float(epsilon)
    span = float(matrix.max() - matrix.min()) if matrix.size else 0.0
    # prices climb to about the number of rows times the span, where a smaller bid would be lost in rounding
    smallest = np.finfo(np.float64).eps * 4.0 * max(max(matrix.shape), 1) * span
    if not (np.isfinite(least) and least > smallest):
        raise ValueError(f"epsilon must be above {smallest:g} for costs that span {span:g} but got {least:g}")
    flipped = matrix.shape[0] > matrix.shape[1]
    columns = _auction(np.ascontiguousarray(matrix.T) if flipped else matrix, least, span)
    if not flipped:
        return np.arange(len(columns)), columns
    order = np.argsort(columns)
    return columns[order], order


def assign_greedy(costs: npt.ArrayLike, max_cost: float) -> Int64Array:
    """Takes the cheapest pair below ``max_cost`` again and again; ties go to the lower row, then the lower column.

    Args:
        costs: (N, M); entries at or above ``max_cost`` are never paired.
        max_cost: the gate.

    Returns:
        (N,) column of each row, -1 where it has none.

    Raises:
        ValueError: the shape is wrong, or a cost is NaN or minus infinity.

    >>> assign_greedy([[0.1, 0.2], [0.15, 0.9]], 0.5).tolist()
    [0, -1]
    """
    matrix: Float64Array = as_array("costs", costs, np.float64, (None, None))
    _refuse_bad(matrix, matrix > -np.inf)
    column_of_row: Int64Array = _greedy(matrix, float(max_cost))
    return column_of_row


def _refuse_bad(matrix: Float64Array, good: npt.NDArray[np.bool_]) -> None:
    if not good.all():
        row, column = (int(i) for i in np.argwhere(~good)[0])
        raise ValueError(f"costs must be numbers but costs[{row}, {column}] is {matrix[row, column]}")


@njit("int64[::1](float64[:, ::1], float64, float64)", cache=True, nogil=True)
def _auction(costs, least, span):  # type: ignore[no-untyped-def]
    """Column of each row for N <= M. Rows up to M that cost 0 everywhere make it square, as scaling needs."""
    rows, columns = costs.shape
    column_of_row = np.full(columns, -1, np.int64)
    row_of_column = np.full(columns, -1, np.int64)
    price = np.zeros(columns)
    waiting = np.empty(columns, np.int64)
    epsilon = max(0.25 * span, least)
    while True:
        # bids of this size from the prices of the last size
        column_of_row[:] = -1
        row_of_column[:] = -1
        count = columns
        for k in range(columns):
            waiting[k] = columns - 1 - k
        while count > 0:
            count -= 1
            i = waiting[count]
            best, second, chosen = np.inf, np.inf, 0
            for j in range(columns):
                total = price[j] + (costs[i, j] if i < rows else 0.0)
                if total < second:
                    if total < best:
                        best, second, chosen = total, best, j
                    else:
                        second = total
            price[chosen] += (second - best if second < np.inf else 0.0) + epsilon
            loser = row_of_column[chosen]
            row_of_column[chosen] = i
            column_of_row[i] = chosen
            if loser >= 0:
                column_of_row[loser] = -1
                waiting[count] = loser
                count += 1
        if epsilon <= least:
            return column_of_row[:rows].copy()
        epsilon = max(0.2 * epsilon, least)


@njit("int64[::1](float64[:, ::1], float64)", cache=True, nogil=True)
def _greedy(costs, max_cost):  # type: ignore[no-untyped-def]
    rows, columns = costs.shape
    column_of_row = np.full(rows, -1, np.int64)
    count = 0
    for i in range(rows):
        for j in range(columns):
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
