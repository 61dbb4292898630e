"""The Rauch-Tung-Striebel smoother: the best estimate at every step given all measurements, gaps included."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array
from perception.kernels.kalman_checks import refuse_infinite, spread_of

__all__ = ["smooth"]

Float64Array = npt.NDArray[np.float64]


def smooth(
    times_s: npt.ArrayLike, positions: npt.ArrayLike, position_stds: npt.ArrayLike, acceleration_std: float
) -> tuple[Float64Array, Float64Array]:
    """Smooths one constant-velocity track: forward filter, then Rauch, Tung and Striebel's backward pass.

    Args:
        times_s: (T,) rising.
        positions: (T, D); NaN where nothing was measured. The first row must be measured.
        position_stds: (T,) standard deviation of each measurement.
        acceleration_std: of the white noise that drives the track.

    Returns:
        (T, D, 2) positions and velocities, and (T, D) standard deviations of the positions.

    Raises:
        ValueError: a shape or value is wrong, times do not rise, or the first row is NaN.
    """
    times = as_array("times_s", times_s, np.float64, (None,))
    measured = as_array("positions", positions, np.float64, (len(times), None))
    refuse_infinite("positions", measured)
    stds = spread_of(
        "position_stds", as_array("position_stds", position_stds, np.float64, (len(times),)), (len(times),), True
    )
    if not len(times) or (np.diff(times) <= 0).any():
        raise ValueError(f"times_s must rise and hold at least one time but got {times.tolist()[:10]}")
    if np.isnan(measured[0]).any():
        raise ValueError(f"the first row of positions must be measured but is {measured[0].tolist()}")
    noise = float(spread_of("acceleration_std", acceleration_std, ()))
    means, deviations = _smooth(times, measured, stds, noise)
    return means, deviations


@njit("UniTuple(float64, 5)(float64, float64, float64, float64, float64, float64, float64)", cache=True, nogil=True)
def _moved(p, v, pp, pv, vv, dt, std):  # type: ignore[no-untyped-def]
    """Mean and covariance of one coordinate at constant velocity, ``dt`` later."""
    noise = std * std
    pp += dt * (2.0 * pv + dt * vv) + noise * dt**4 / 4.0
    return p + dt * v, v, pp, pv + dt * vv + noise * dt**3 / 2.0, vv + noise * dt * dt


@njit(
    "Tuple((float64[:, :, ::1], float64[:, ::1]))(float64[::1], float64[:, ::1], float64[::1], float64)",
    cache=True,
    nogil=True,
)
def _smooth(times, positions, stds, acceleration_std):  # type: ignore[no-untyped-def]
    steps, coordinates = positions.shape
    means = np.empty((steps, coordinates, 2))
    deviations = np.empty((steps, coordinates))
    filtered = np.empty((steps, 5))
    ahead = np.empty((steps, 5))
    for k in range(coordinates):
        # an unknown velocity: a prior wide enough to say nothing at 100 m/s
        p, v, pp, pv, vv = positions[0, k], 0.0, stds[0] * stds[0], 0.0, 1e4
        for t in range(steps):
            if t > 0:
                dt = times[t] - times[t - 1]
                p, v, pp, pv, vv = _moved(p, v, pp, pv, vv, dt, acceleration_std)
                ahead[t, 0], ahead[t, 1], ahead[t, 2], ahead[t, 3], ahead[t, 4] = p, v, pp, pv, vv
                if not np.isnan(positions[t, k]):
                    spread = pp + stds[t] * stds[t]
                    gain_p, gain_v = pp / spread, pv / spread
                    off = positions[t, k] - p
                    p += gain_p * off
                    v += gain_v * off
                    vv -= gain_v * pv
                    pv -= gain_p * pv
                    pp -= gain_p * pp
            filtered[t, 0], filtered[t, 1], filtered[t, 2], filtered[t, 3], filtered[t, 4] = p, v, pp, pv, vv
        means[steps - 1, k, 0], means[steps - 1, k, 1] = p, v
        deviations[steps - 1, k] = np.sqrt(pp)
        for t in range(steps - 2, -1, -1):
            dt = times[t + 1] - times[t]
            fp, fv, fpp, fpv, fvv = filtered[t, 0], filtered[t, 1], filtered[t, 2], filtered[t, 3], filtered[t, 4]
            app, apv, avv = ahead[t + 1, 2], ahead[t + 1, 3], ahead[t + 1, 4]
            determinant = app * avv - apv * apv
            # gain = P F' A^-1 with F = [[1, dt], [0, 1]]
            a, b = fpp + dt * fpv, fpv
            c, d = fpv + dt * fvv, fvv
            g00, g01 = (a * avv - b * apv) / determinant, (b * app - a * apv) / determinant
            g10, g11 = (c * avv - d * apv) / determinant, (d * app - c * apv) / determinant
            off_p, off_v = p - ahead[t + 1, 0], v - ahead[t + 1, 1]
            dpp, dpv, dvv = pp - app, pv - apv, vv - avv
            p, v = fp + g00 * off_p + g01 * off_v, fv + g10 * off_p + g11 * off_v
            pp = fpp + g00 * (g00 * dpp + g01 * dpv) + g01 * (g00 * dpv + g01 * dvv)
            pv = fpv + g00 * (g10 * dpp + g11 * dpv) + g01 * (g10 * dpv + g11 * dvv)
            vv = fvv + g10 * (g10 * dpp + g11 * dpv) + g11 * (g10 * dpv + g11 * dvv)
            means[t, k, 0], means[t, k, 1] = p, v
            deviations[t, k] = np.sqrt(max(pp, 0.0))
    return means, deviations
