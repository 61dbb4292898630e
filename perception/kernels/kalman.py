"""Batched Kalman filters over arrays of states, in place, and a Rauch-Tung-Striebel smoother.

- constant velocity and constant acceleration: D independent coordinates per object, each with mean (p, v[, a]) and
  the upper triangle of its covariance; driven by white noise of the next derivative (Bar-Shalom, Li, Kirubarajan 2001).
  Image boxes have D = 4 (u, v, width, height), 3D boxes D = 7 (x, y, z, length, width, height, yaw) with
  ``angles=(6,)``, and noise may differ by object and coordinate;
- coordinated turn: x, y, heading, speed, yaw rate of a vehicle, an extended filter whose heading wraps;
- ``smooth``: the best estimate at every step given all measurements, gaps included.

A measurement of NaN is none: its object keeps its prediction. Angles lie in -pi ... pi.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = [
    "correct_positions",
    "correct_turn",
    "predict_acceleration",
    "predict_turn",
    "predict_velocity",
    "smooth",
]

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
    _check_states(means, covariances, 2)
    noise = _spread("acceleration_std", acceleration_std, means.shape[:2])
    _predict_velocity(means, covariances, _time_step(dt_s), noise, _wrapping(angles, means.shape[1]))


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
    _check_states(means, covariances, 3)
    noise = _spread("jerk_std", jerk_std, means.shape[:2])
    _predict_acceleration(means, covariances, _time_step(dt_s), noise, _wrapping(angles, means.shape[1]))


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
    _check_states(means, covariances, means.shape[2] if means.ndim == 3 and means.shape[2] == 3 else 2)
    shape = means.shape[:2]
    measured = as_array("positions", positions, np.float64, shape)
    _refuse_infinite("positions", measured)
    stds = _spread("position_stds", position_stds, shape, positive=True)
    wraps = _wrapping(angles, shape[1])
    result: Float64Array = _correct(means, covariances, measured, stds, wraps, bool(mend_flips))
    return result


def predict_turn(
    means: Float64Array, covariances: Float64Array, dt_s: float, acceleration_std: float, yaw_acceleration_std: float
) -> None:
    """Moves (N, 5) states (x, y, heading, speed, yaw rate) and (N, 5, 5) covariances along circular arcs, in place.

    Raises:
        ValueError: a shape, type or value is wrong, or time goes backwards.
    """
    _check_arrays(means, covariances, (None, 5), (len(means), 5, 5))
    stds = [
        float(_spread(name, value, ()))
        for name, value in (("acceleration_std", acceleration_std), ("yaw_acceleration_std", yaw_acceleration_std))
    ]
    _predict_turn(means, covariances, _time_step(dt_s), stds[0], stds[1])


def correct_turn(
    means: Float64Array, covariances: Float64Array, poses: npt.ArrayLike, position_std: float, heading_std: float
) -> Float64Array:
    """Corrects (N, 5) states and (N, 5, 5) covariances by (N, 3) measured x, y, heading, in place.

    A heading that is off by more than a quarter turn is taken for front and back mistaken, and turned round.

    Returns:
        (N,) squared Mahalanobis distance of each measurement; 0 where any of its values is NaN.

    Raises:
        ValueError: a shape, type or value is wrong.
    """
    _check_arrays(means, covariances, (None, 5), (len(means), 5, 5))
    measured = as_array("poses", poses, np.float64, (len(means), 3))
    _refuse_infinite("poses", measured)
    stds = [
        float(_spread(name, value, (), positive=True))
        for name, value in (("position_std", position_std), ("heading_std", heading_std))
    ]
    result: Float64Array = _correct_turn(means, covariances, measured, stds[0], stds[1])
    return result


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
    _refuse_infinite("positions", measured)
    stds = _spread(
        "position_stds", as_array("position_stds", position_stds, np.float64, (len(times),)), (len(times),), True
    )
    if not len(times) or (np.diff(times) <= 0).any():
        raise ValueError(f"times_s must rise and hold at least one time but got {times.tolist()[:10]}")
    if np.isnan(measured[0]).any():
        raise ValueError(f"the first row of positions must be measured but is {measured[0].tolist()}")
    noise = float(_spread("acceleration_std", acceleration_std, ()))
    means, deviations = _smooth(times, measured, stds, noise)
    return means, deviations


def _check_states(means: Float64Array, covariances: Float64Array, order: int) -> None:
    triangle = order * (order + 1) // 2
    _check_arrays(means, covariances, (None, None, order), (*means.shape[:2], triangle))


def _check_arrays(
    means: Float64Array, covariances: Float64Array, shape: tuple[int | None, ...], shapes: tuple[int, ...]
) -> None:
    """They are written in place, so they must be as the kernels want them, not only convertible."""
    if as_array("means", means, np.float64, shape) is not means:
        raise ValueError("means must be a C-contiguous, writable float64 array")
    if as_array("covariances", covariances, np.float64, shapes) is not covariances:
        raise ValueError("covariances must be a C-contiguous, writable float64 array")


def _time_step(dt_s: float) -> float:
    if not (dt_s >= 0.0 and np.isfinite(dt_s)):
        raise ValueError(f"dt_s must be 0 or more but got {dt_s}")
    return float(dt_s)


def _spread(name: str, stds: npt.ArrayLike, shape: tuple[int, ...], positive: bool = False) -> Float64Array:
    if isinstance(stds, float) and 0.0 < stds < np.inf:  # what most give
        return np.full(shape, stds)
    values = np.asarray(stds, np.float64)
    good = np.isfinite(values) & ((values > 0.0) if positive else (values >= 0.0))
    if not good.all():
        least = "positive" if positive else "0 or more"
        raise ValueError(f"{name} must be finite and {least} but holds {values[~good].ravel()[0]}")
    return np.array(np.broadcast_to(values, shape))


def _refuse_infinite(name: str, measured: Float64Array) -> None:
    if np.isinf(measured).any():
        row = int(np.argwhere(np.isinf(measured))[0, 0])
        raise ValueError(f"{name} must be finite, or NaN for none, but row {row} is {measured[row].tolist()}")


def _wrapping(angles: Sequence[int], coordinates: int) -> npt.NDArray[np.bool_]:
    wraps = np.zeros(coordinates, np.bool_)
    for coordinate in angles:
        if not 0 <= coordinate < coordinates:
            raise ValueError(f"angles must lie in 0 ... {coordinates - 1} but hold {coordinate}")
        wraps[coordinate] = True
    return wraps


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


@njit("void(float64[:, ::1], float64[:, :, ::1], float64, float64, float64)", cache=True, nogil=True)
def _predict_turn(means, covariances, dt, acceleration_std, yaw_acceleration_std):  # type: ignore[no-untyped-def]
    jacobian = np.empty((5, 5))
    for i in range(means.shape[0]):
        m = means[i]
        heading, speed, rate = m[2], m[3], m[4]
        turned = heading + rate * dt
        jacobian[:] = 0.0
        for k in range(5):
            jacobian[k, k] = 1.0
        if abs(rate * dt) > 1e-4:
            along = (np.sin(turned) - np.sin(heading)) / rate
            across = (np.cos(heading) - np.cos(turned)) / rate
            jacobian[0, 4] = speed * (dt * np.cos(turned) - along) / rate
            jacobian[1, 4] = speed * (dt * np.sin(turned) - across) / rate
        else:
            # the arc's limit, with its second-order term, where dividing by the rate would lose digits
            along = dt * np.cos(heading) - 0.5 * rate * dt * dt * np.sin(heading)
            across = dt * np.sin(heading) + 0.5 * rate * dt * dt * np.cos(heading)
            jacobian[0, 4] = -0.5 * speed * dt * dt * np.sin(heading)
            jacobian[1, 4] = 0.5 * speed * dt * dt * np.cos(heading)
        jacobian[0, 2], jacobian[0, 3] = -speed * across, along
        jacobian[1, 2], jacobian[1, 3] = speed * along, across
        jacobian[2, 4] = dt
        m[0] += speed * along
        m[1] += speed * across
        m[2] = _wrap(turned)
        covariances[i] = jacobian @ covariances[i] @ jacobian.T
        noise = (acceleration_std * dt) ** 2
        covariances[i, 3, 3] += noise
        push_x, push_y = 0.5 * dt * np.cos(heading), 0.5 * dt * np.sin(heading)
        covariances[i, 0, 0] += push_x * push_x * noise
        covariances[i, 1, 1] += push_y * push_y * noise
        covariances[i, 0, 1] += push_x * push_y * noise
        covariances[i, 1, 0] += push_x * push_y * noise
        noise = (yaw_acceleration_std * dt) ** 2
        covariances[i, 4, 4] += noise
        covariances[i, 2, 2] += 0.25 * dt * dt * noise
        covariances[i, 2, 4] += 0.5 * dt * noise
        covariances[i, 4, 2] += 0.5 * dt * noise


@njit("float64[::1](float64[:, ::1], float64[:, :, ::1], float64[:, ::1], float64, float64)", cache=True, nogil=True)
def _correct_turn(means, covariances, poses, position_std, heading_std):  # type: ignore[no-untyped-def]
    distances = np.zeros(means.shape[0])
    for i in range(means.shape[0]):
        if np.isnan(poses[i, 0] + poses[i, 1] + poses[i, 2]):
            continue
        m, c = means[i], covariances[i]
        # three scalar corrections: the measured values' errors are independent
        for k in range(3):
            off = _turn_between(poses[i, k], m[k], True) if k == 2 else poses[i, k] - m[k]
            std = heading_std if k == 2 else position_std
            spread = c[k, k] + std * std
            distances[i] += off * off / spread
            gain = c[:, k] / spread
            for row in range(5):
                m[row] += gain[row] * off
            taken = c[k].copy()
            for row in range(5):
                for column in range(5):
                    c[row, column] -= gain[row] * taken[column]
        m[2] = _wrap(m[2])
    return distances


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
