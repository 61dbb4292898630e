"""Exact assignment of rows to columns of a dense, possibly rectangular matrix.

The solver follows Jonker and Volgenant (Computing 38, 1987) for rectangular costs: columns start with price 0, rows bid
for their cheapest column (augmenting row reduction), and each row that is still free is placed by a shortest augmenting
path. Columns that stay free keep price 0, which is what makes a rectangular optimum.

Loops over a row are written so that they become SIMD. A least value is sought among the floats' bits, since compilers
may reorder a minimum of integers but not one of floats; the order of bits is that of the floats once the bits below the
sign of negative ones are turned.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["assign"]

Int64Array = npt.NDArray[np.int64]

_INT64 = np.dtype(np.int64)
_MAGNITUDE = 0x7FFFFFFFFFFFFFFF
_INFINITY = 0x7FF0000000000000
# 2^1000: sums of prices of any matrix that fits memory stay finite
_TOO_LARGE = 0x7E70000000000000


def assign(costs: npt.ArrayLike) -> tuple[Int64Array, Int64Array]:
    """The min(N, M) pairs of least total cost.

    Args:
        costs: (N, M), each finite and within 2^1000.

    Returns:
        Rows in rising order and their columns, each (min(N, M),).

    Raises:
        ValueError: the shape is wrong or a cost is not finite.

    >>> rows, columns = assign([[4.0, 1.0, 3.0], [2.0, 0.0, 5.0]])
    >>> rows.tolist(), columns.tolist()
    ([0, 1], [1, 0])
    """
    try:
        height, width = costs.shape  # type: ignore[union-attr]
        count = height if height < width else width
        rows, columns = np.empty(count, _INT64), np.empty(count, _INT64)
        _assign(costs, rows, columns)
    except (TypeError, ValueError, AttributeError):  # another type or layout than the compiled one, or a bad cost
        matrix = as_array("costs", costs, np.float64, (None, None))
        bad = np.argwhere(~(np.abs(matrix) < 2.0**1000))
        if len(bad):
            row, column = (int(i) for i in bad[0])
            raise ValueError(
                f"costs must be finite and within 2^1000 but costs[{row}, {column}] is {matrix[row, column]}"
            ) from None
        rows, columns = np.empty(min(matrix.shape), _INT64), np.empty(min(matrix.shape), _INT64)
        _assign(matrix, rows, columns)
    return rows, columns


@njit("void(float64[::1], float64[::1], float64[::1])", cache=True, nogil=True)
def _reduce(line, price, reduced):  # type: ignore[no-untyped-def]
    for j in range(line.size):
        reduced[j] = line[j] - price[j]


@njit("int64(int64[::1])", cache=True, nogil=True)
def _count_bad(bits):  # type: ignore[no-untyped-def]
    bad = 0
    for j in range(bits.size):
        bad += np.int64((bits[j] & _MAGNITUDE) >= _TOO_LARGE)
    return bad


@njit("int64(int64[::1])", cache=True, nogil=True)
def _least(bits):  # type: ignore[no-untyped-def]
    least = np.int64(_INFINITY)
    for j in range(bits.size):
        key = bits[j] ^ ((bits[j] >> 63) & _MAGNITUDE)
        least = key if key < least else least
    return least ^ ((least >> 63) & _MAGNITUDE)


@njit("int64(int64[::1])", cache=True, nogil=True)
def _least_distance(bits):  # type: ignore[no-untyped-def]
    """The same for values of at least 0, which need no turning."""
    least = np.int64(_INFINITY)
    for j in range(bits.size):
        least = bits[j] if bits[j] < least else least
    return least


@njit(
    "void(float64[::1], float64[::1], float64, float64, int64, float64[::1], int64[::1])",
    cache=True,
    nogil=True,
)
def _relax(line, price, offset, reached, row, distance, previous):  # type: ignore[no-untyped-def]
    for j in range(line.size):
        length = offset + (line[j] - price[j])
        # no nearer than what is done, which only rounding could make it
        length = length if length > reached else reached
        nearer = length < distance[j]
        distance[j] = length if nearer else distance[j]
        previous[j] = row if nearer else previous[j]


@njit("boolean(float64[:, ::1], int64[::1], int64[::1], float64[::1], int64[::1])", cache=True, nogil=True)
def _solve(costs, column_of_row, row_of_column, floats, integers):  # type: ignore[no-untyped-def]
    """Fills both maps for N <= M, -1 where a column is free; False when a cost is bad.

    Works in 4 M + 1 ``floats`` and 3 M ``integers``.
    """
    rows, columns = costs.shape
    price, open_price = floats[:columns], floats[columns : 2 * columns]
    reduced, distance = floats[2 * columns : 3 * columns], floats[3 * columns : 4 * columns]
    cost_bits = costs.view(np.int64)
    reduced_bits, distance_bits = reduced.view(np.int64), distance.view(np.int64)
    second_float = floats[4 * columns : 4 * columns + 1]
    second_bits = second_float.view(np.int64)
    free, previous, done = integers[:rows], integers[columns : 2 * columns], integers[2 * columns : 3 * columns]
    column_of_row[:] = -1
    row_of_column[:] = -1
    price[:] = 0.0
    for i in range(rows):
        free[i] = i
    waiting = rows
    seen = 0
    # augmenting row reduction, twice as published; the count of bids is bounded so that rounding cannot cycle
    for _ in range(2):
        queue = waiting
        waiting = 0
        k = 0
        bids = 0
        while k < queue:
            i = free[k]
            k += 1
            bids += 1
            if i == seen:  # its first visit, while the row comes from memory anyway
                seen += 1
                if _count_bad(cost_bits[i]) > 0:
                    return False
            _reduce(costs[i], price, reduced)
            least = _least(reduced_bits)
            j = 0
            while reduced_bits[j] != least:
                j += 1
            best = reduced[j]
            reduced[j] = np.inf
            second_bits[0] = _least(reduced_bits)
            second = second_float[0]
            holder = row_of_column[j]
            lowered = best < second
            if lowered:
                if second < np.inf:
                    price[j] -= second - best
            elif holder >= 0:
                # of the other columns that cost the same, a free one if there is one
                for rival in range(columns):
                    if reduced[rival] == best:
                        j = rival
                        if row_of_column[j] < 0:
                            break
                holder = row_of_column[j]
            row_of_column[j] = i
            column_of_row[i] = j
            if holder >= 0:
                column_of_row[holder] = -1
                if lowered and bids < 4 * rows:
                    k -= 1
                    free[k] = holder
                else:
                    free[waiting] = holder
                    waiting += 1
    for f in range(waiting):
        start = free[f]
        distance[:] = np.inf
        open_price[:] = price
        _reduce(costs[start], price, reduced)
        second_bits[0] = _least(reduced_bits)
        offset = -second_float[0]
        reached = 0.0
        i = start
        count = 0
        while True:
            _relax(costs[i], open_price, offset, reached, i, distance, previous)
            least = _least_distance(distance_bits)
            j = -1
            for column in range(columns):
                if distance_bits[column] == least:
                    j = column
                    if row_of_column[j] < 0:
                        break
            reached = distance[j]
            if row_of_column[j] < 0:  # on ties, too, a free column ends the search
                break
            # a column that is done is neither reached again nor chosen again
            distance[j] = np.inf
            open_price[j] = -np.inf
            done[count] = j
            reduced[count] = reached
            count += 1
            i = row_of_column[j]
            offset = reached - (costs[i, j] - price[j])
        for k in range(count):
            price[done[k]] += reduced[k] - reached
        while True:
            i = previous[j]
            row_of_column[j] = i
            j, column_of_row[i] = column_of_row[i], j
            if i == start:
                break
    return True


@njit("void(float64[:, ::1], int64[::1], int64[::1])", cache=True, nogil=True)
def _assign(costs, rows_out, columns_out):  # type: ignore[no-untyped-def]
    rows, columns = costs.shape
    longer = max(rows, columns)
    floats = np.empty(4 * longer + 1)
    integers = np.empty(4 * longer, np.int64)
    if rows == 0 or columns == 0:
        return
    if rows <= columns:
        if not _solve(costs, columns_out, integers[3 * columns :], floats, integers[: 3 * columns]):
            raise ValueError("costs must be finite and within 2^1000")
        for i in range(rows):
            rows_out[i] = i
        return
    flipped = np.empty((columns, rows))
    for i in range(rows):
        for j in range(columns):
            flipped[j, i] = costs[i, j]
    column_of_row = integers[3 * rows :]
    if not _solve(flipped, np.empty(columns, np.int64), column_of_row, floats, integers[: 3 * rows]):
        raise ValueError("costs must be finite and within 2^1000")
    k = 0
    for i in range(rows):
        if column_of_row[i] >= 0:
            rows_out[k], columns_out[k] = i, column_of_row[i]
            k += 1
