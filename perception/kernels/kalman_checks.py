"""What the Kalman filters check before they hand arrays to compiled code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from perception.kernels.checks import as_array

__all__ = ["check_arrays", "check_states", "refuse_infinite", "spread_of", "time_step", "wrapping"]

Float64Array = npt.NDArray[np.float64]


def check_states(means: Float64Array, covariances: Float64Array, order: int) -> None:
    """Means (N, D, ``order``) and the upper triangles of their covariances."""
    triangle = order * (order + 1) // 2
    check_arrays(means, covariances, (None, None, order), (*means.shape[:2], triangle))


def check_arrays(
    means: Float64Array, covariances: Float64Array, shape: tuple[int | None, ...], shapes: tuple[int, ...]
) -> None:
    """They are written in place, so they must be as the kernels want them, not only convertible."""
    if as_array("means", means, np.float64, shape) is not means:
        raise ValueError("means must be a C-contiguous, writable float64 array")
    if as_array("covariances", covariances, np.float64, shapes) is not covariances:
        raise ValueError("covariances must be a C-contiguous, writable float64 array")


def time_step(dt_s: float) -> float:
    """A step in time, 0 s or more."""
    if not (dt_s >= 0.0 and np.isfinite(dt_s)):
        raise ValueError(f"dt_s must be 0 or more but got {dt_s}")
    return float(dt_s)


def spread_of(name: str, stds: npt.ArrayLike, shape: tuple[int, ...], positive: bool = False) -> Float64Array:
    """Standard deviations, finite and 0 or more (or positive), in that shape."""
    if isinstance(stds, float) and 0.0 < stds < np.inf:  # what most give
        return np.full(shape, stds)
    values = np.asarray(stds, np.float64)
    good = np.isfinite(values) & ((values > 0.0) if positive else (values >= 0.0))
    if not good.all():
        least = "positive" if positive else "0 or more"
        raise ValueError(f"{name} must be finite and {least} but holds {values[~good].ravel()[0]}")
    return np.array(np.broadcast_to(values, shape))


def refuse_infinite(name: str, measured: Float64Array) -> None:
    """NaN is no measurement; infinity is an error."""
    if np.isinf(measured).any():
        row = int(np.argwhere(np.isinf(measured))[0, 0])
        raise ValueError(f"{name} must be finite, or NaN for none, but row {row} is {measured[row].tolist()}")


def wrapping(angles: Sequence[int], coordinates: int) -> npt.NDArray[np.bool_]:
    """(D,) whether each coordinate is an angle."""
    wraps = np.zeros(coordinates, np.bool_)
    for coordinate in angles:
        if not 0 <= coordinate < coordinates:
            raise ValueError(f"angles must lie in 0 ... {coordinates - 1} but hold {coordinate}")
        wraps[coordinate] = True
    return wraps
