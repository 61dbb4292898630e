"""Batched Kalman filters of constant velocity or acceleration, in place.

D independent coordinates per object, each with mean (p, v[, a]) and the upper triangle of its covariance; driven by
white noise of the next derivative (Bar-Shalom, Li, Kirubarajan 2001). Image boxes have D = 4 (u, v, width, height), 3D
boxes D = 7 (x, y, z, length, width, height, yaw) with ``angles=(6,)``, and noise may differ by object and coordinate. A
measurement of NaN is none: its object keeps its prediction. Angles lie in -pi ... pi.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array
from perception.kernels.kalman_checks import check_states, refuse_infinite, spread_of, time_step, wrapping

__all__ = ["correct_positions", "predict_acceleration", "predict_velocity"]

Float64Array = npt.NDArray[np.float64]


def predict_velocity(
    means: Float64Array,
    covariances: Float64Array,
    dt_s: float,
    acceleration_std: npt.ArrayLike,
    *,
    angles: Sequence[int] = (),
) -> None:
    """Moves (N, D, 2) means and (N, D, 3) covariances (pp, pv, vv) ``dt_s`` ahead, in place.

    Args:
        means: position and velocity of each coordinate.
        covariances: of the two.
        dt_s: 0 or more.
        acceleration_std: of the white noise, one or what broadcasts to (N, D).
        angles: coordinates whose position wraps.

    Raises:
        ValueError: a shape, type or value is wrong, or time goes backwards.
    """
    check_states(means, covariances, 2)
    noise = spread_of("acceleration_std", acceleration_std, means.shape[:2])
    _predict_velocity(means, covariances, time_step(dt_s), noise, wrapping(angles, means.shape[1]))


def predict_acceleration(
    means: Float64Array,
    covariances: Float64Array,
    dt_s: float,
    jerk_std: npt.ArrayLike,
    *,
    angles: Sequence[int] = (),
) -> None:
    """Moves (N, D, 3) means and (N, D, 6) covariances (pp, pv, pa, vv, va, aa) ``dt_s`` ahead, in place.

    Arguments and errors are those of ``predict_velocity``.
    """
    check_states(means, covariances, 3)
    noise = spread_of("jerk_std", jerk_std, means.shape[:2])
    _predict_acceleration(means, covariances, time_step(dt_s), noise, wrapping(angles, means.shape[1]))


def correct_positions(
    means: Float64Array,
    covariances: Float64Array,
    positions: npt.ArrayLike,
    position_stds: npt.ArrayLike,
    *,
    angles: Sequence[int] = (),
    mend_flips: bool = False,
) -> Float64Array:
    """Corrects states of either linear filter by measured positions, in place.

    Args:
        means: (N, D, 2) or (N, D, 3).
        covariances: (N, D, 3) or (N, D, 6).
        positions: (N, D) measured, NaN where nothing was.
        position_stds: of the measurements, positive, one or what broadcasts to (N, D).
        angles: coordinates whose difference is taken the short way round.
        mend_flips: take an angle that is off by more than a quarter turn for front and back mistaken, and turn it.

    Returns:
        (N,) squared Mahalanobis distance of each object's measurements to its prediction; 0 where there were none.

    Raises:
        ValueError: a shape, type or value is wrong.
    """
    check_states(means, covariances, means.shape[2] if means.ndim == 3 and means.shape[2] == 3 else 2)
    shape = means.shape[:2]
    measured = as_array("positions", positions, np.float64, shape)
    refuse_infinite("positions", measured)
    stds = spread_of("position_stds", position_stds, shape, positive=True)
    wraps = wrapping(angles, shape[1])
    result: Float64Array = _correct(means, covariances, measured, stds, wraps, bool(mend_flips))
    return result


@njit("float64(float64)", cache=True, nogil=True)
def _wrap(angle):  # type: ignore[no-untyped-def]
    return (angle + np.pi) % (2.0 * np.pi) - np.pi


@njit("UniTuple(float64, 5)(float64, float64, float64, float64, float64, float64, float64)", cache=True, nogil=True)
def _moved(p, v, pp, pv, vv, dt, std):  # type: ignore[no-untyped-def]
    """Mean and covariance of one coordinate at constant velocity, ``dt`` later."""
    noise = std * std
    pp += dt * (2.0 * pv + dt * vv) + noise * dt**4 / 4.0
    return p + dt * v, v, pp, pv + dt * vv + noise * dt**3 / 2.0, vv + noise * dt * dt


@njit("void(float64[:, :, ::1], float64[:, :, ::1], float64, float64[:, ::1], boolean[::1])", cache=True, nogil=True)
def _predict_velocity(means, covariances, dt, stds, wraps):  # type: ignore[no-untyped-def]
    for i in range(means.shape[0]):
        for k in range(means.shape[1]):
            m, c = means[i, k], covariances[i, k]
            m[0], m[1], c[0], c[1], c[2] = _moved(m[0], m[1], c[0], c[1], c[2], dt, stds[i, k])
            if wraps[k]:
                m[0] = _wrap(m[0])


@njit("void(float64[:, :, ::1], float64[:, :, ::1], float64, float64[:, ::1], boolean[::1])", cache=True, nogil=True)
def _predict_acceleration(means, covariances, dt, stds, wraps):  # type: ignore[no-untyped-def]
    half = 0.5 * dt * dt
    # how one step of jerk enters position and velocity; acceleration gets dt
    into_p, into_v = dt**3 / 6.0, half
    for i in range(means.shape[0]):
        for k in range(means.shape[1]):
            m, c = means[i, k], covariances[i, k]
            noise = stds[i, k] * stds[i, k]
            m[0] += dt * m[1] + half * m[2]
            m[1] += dt * m[2]
            if wraps[k]:
                m[0] = _wrap(m[0])
            pp, pv, pa, vv, va, aa = c[0], c[1], c[2], c[3], c[4], c[5]
            c[0] = pp + 2.0 * dt * pv + 2.0 * half * pa + dt * dt * vv + 2.0 * dt * half * va + half * half * aa
            c[0] += noise * into_p * into_p
            c[1] = pv + dt * pa + dt * vv + (dt * dt + half) * va + dt * half * aa + noise * into_p * into_v
            c[2] = pa + dt * va + half * aa + noise * into_p * dt
            c[3] = vv + 2.0 * dt * va + dt * dt * aa + noise * into_v * into_v
            c[4] = va + dt * aa + noise * into_v * dt
            c[5] = aa + noise * dt * dt


@njit("float64(float64, float64, boolean)", cache=True, nogil=True)
def _turn_between(measured, predicted, mend_flips):  # type: ignore[no-untyped-def]
    off = _wrap(measured - predicted)
    return _wrap(off + np.pi) if mend_flips and abs(off) > 0.5 * np.pi else off


@njit(
    "float64[::1](float64[:, :, ::1], float64[:, :, ::1], float64[:, ::1], float64[:, ::1], boolean[::1], boolean)",
    cache=True,
    nogil=True,
)
def _correct(means, covariances, positions, stds, wraps, mend_flips):  # type: ignore[no-untyped-def]
    order = means.shape[2]
    first, gain = np.empty(order), np.empty(order)
    distances = np.zeros(means.shape[0])
    for i in range(means.shape[0]):
        for k in range(means.shape[1]):
            if np.isnan(positions[i, k]):
                continue
            m, c = means[i, k], covariances[i, k]
            spread = c[0] + stds[i, k] * stds[i, k]
            off = _turn_between(positions[i, k], m[0], mend_flips) if wraps[k] else positions[i, k] - m[0]
            distances[i] += off * off / spread
            for a in range(order):
                first[a], gain[a] = c[a], c[a] / spread
                m[a] += gain[a] * off
            at = 0
            for a in range(order):
                for b in range(a, order):
                    c[at] -= gain[a] * first[b]
                    at += 1
            if wraps[k]:
                m[0] = _wrap(m[0])
    return distances
