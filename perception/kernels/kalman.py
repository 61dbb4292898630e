"""Batched Kalman filters over arrays of states, in place, and a Rauch-Tung-Striebel smoother.

- constant velocity and constant acceleration: D independent coordinates per object, each with mean (p, v[, a]) and
  the upper triangle of its covariance; driven by white noise of the next derivative (Bar-Shalom, Li, Kirubarajan 2001);
- coordinated turn: x, y, heading, speed, yaw rate of a vehicle, an extended filter whose angles wrap;
- ``smooth``: the best estimate at every step given all measurements, gaps included.

A measurement of NaN is none: its object keeps its prediction.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = [
    "correct_acceleration",
    "correct_turn",
    "correct_velocity",
    "predict_acceleration",
    "predict_turn",
    "predict_velocity",
    "smooth",
]

Float64Array = npt.NDArray[np.float64]


def predict_velocity(means: Float64Array, covariances: Float64Array, dt_s: float, acceleration_std: float) -> None:
    """Moves (N, D, 2) means and (N, D, 3) covariances (pp, pv, vv) ``dt_s`` ahead, in place."""
    _check_states(means, covariances, 2, 3)
    _predict_velocity(means, covariances, float(dt_s), float(acceleration_std))


def correct_velocity(
    means: Float64Array, covariances: Float64Array, positions: npt.ArrayLike, position_stds: npt.ArrayLike
) -> Float64Array:
    """Corrects (N, D, 2) means and (N, D, 3) covariances by (N, D) measured positions, in place.

    Returns:
        (N,) squared Mahalanobis distance of each measurement to its prediction; 0 where there was none.
    """
    _check_states(means, covariances, 2, 3)
    shape = means.shape[:2]
    measured = as_array("positions", positions, np.float64, shape)
    stds = as_array("position_stds", np.broadcast_to(np.asarray(position_stds, np.float64), shape), np.float64, shape)
    result: Float64Array = _correct_velocity(means, covariances, measured, stds)
    return result


def predict_acceleration(means: Float64Array, covariances: Float64Array, dt_s: float, jerk_std: float) -> None:
    """Moves (N, D, 3) means and (N, D, 6) covariances (pp, pv, pa, vv, va, aa) ``dt_s`` ahead, in place."""
    _check_states(means, covariances, 3, 6)
    _predict_acceleration(means, covariances, float(dt_s), float(jerk_std))


def correct_acceleration(
    means: Float64Array, covariances: Float64Array, positions: npt.ArrayLike, position_stds: npt.ArrayLike
) -> Float64Array:
    """Corrects (N, D, 3) means and (N, D, 6) covariances by (N, D) positions, as ``correct_velocity`` does."""
    _check_states(means, covariances, 3, 6)
    shape = means.shape[:2]
    measured = as_array("positions", positions, np.float64, shape)
    stds = as_array("position_stds", np.broadcast_to(np.asarray(position_stds, np.float64), shape), np.float64, shape)
    result: Float64Array = _correct_acceleration(means, covariances, measured, stds)
    return result


def predict_turn(
    means: Float64Array, covariances: Float64Array, dt_s: float, acceleration_std: float, yaw_acceleration_std: float
) -> None:
    """Moves (N, 5) states (x, y, heading, speed, yaw rate) and (N, 5, 5) covariances along circular arcs, in place."""
    if means.ndim != 2 or means.shape[1] != 5 or covariances.shape != (len(means), 5, 5):
        raise ValueError(
            f"means and covariances must be (N, 5) and (N, 5, 5) but got {means.shape} and {covariances.shape}"
        )
    _predict_turn(means, covariances, float(dt_s), float(acceleration_std), float(yaw_acceleration_std))


def correct_turn(
    means: Float64Array, covariances: Float64Array, poses: npt.ArrayLike, position_std: float, heading_std: float
) -> Float64Array:
    """Corrects (N, 5) states and (N, 5, 5) covariances by (N, 3) measured x, y, heading, in place.

    A heading that is off by more than a quarter turn is taken for front and back mistaken, and turned round.

    Returns:
        (N,) squared Mahalanobis distance of each measurement; 0 where any of its values is NaN.
    """
    if means.ndim != 2 or means.shape[1] != 5 or covariances.shape != (len(means), 5, 5):
        raise ValueError(
            f"means and covariances must be (N, 5) and (N, 5, 5) but got {means.shape} and {covariances.shape}"
        )
    measured = as_array("poses", poses, np.float64, (len(means), 3))
    result: Float64Array = _correct_turn(means, covariances, measured, float(position_std), float(heading_std))
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
        ValueError: a shape is wrong, times do not rise, or the first row is NaN.
    """
    times = as_array("times_s", times_s, np.float64, (None,))
    measured = as_array("positions", positions, np.float64, (len(times), None))
    stds = as_array("position_stds", position_stds, np.float64, (len(times),))
    if not len(times) or (np.diff(times) <= 0).any():
        raise ValueError(f"times_s must rise and hold at least one time but got {times.tolist()[:10]}")
    if np.isnan(measured[0]).any():
        raise ValueError(f"the first row of positions must be measured but is {measured[0].tolist()}")
    means, deviations = _smooth(times, measured, stds, float(acceleration_std))
    return means, deviations


def _check_states(means: Float64Array, covariances: Float64Array, order: int, triangle: int) -> None:
    if means.ndim != 3 or means.shape[2] != order or covariances.shape != (*means.shape[:2], triangle):
        raise ValueError(
            f"means and covariances must be (N, D, {order}) and (N, D, {triangle}) but got {means.shape} and "
            f"{covariances.shape}"
        )


@njit("void(float64[:, :, ::1], float64[:, :, ::1], float64, float64)", cache=True, nogil=True)
def _predict_velocity(means, covariances, dt, acceleration_std):  # type: ignore[no-untyped-def]
    noise = acceleration_std * acceleration_std
    for i in range(means.shape[0]):
        for k in range(means.shape[1]):
            m, c = means[i, k], covariances[i, k]
            m[0] += dt * m[1]
            c[0] += dt * (2.0 * c[1] + dt * c[2]) + noise * dt**4 / 4.0
            c[1] += dt * c[2] + noise * dt**3 / 2.0
            c[2] += noise * dt * dt


@njit("float64[::1](float64[:, :, ::1], float64[:, :, ::1], float64[:, ::1], float64[:, ::1])", cache=True, nogil=True)
def _correct_velocity(means, covariances, positions, stds):  # type: ignore[no-untyped-def]
    distances = np.zeros(means.shape[0])
    for i in range(means.shape[0]):
        for k in range(means.shape[1]):
            if np.isnan(positions[i, k]):
                continue
            m, c = means[i, k], covariances[i, k]
            spread = c[0] + stds[i, k] * stds[i, k]
            off = positions[i, k] - m[0]
            gain_p, gain_v = c[0] / spread, c[1] / spread
            distances[i] += off * off / spread
            m[0] += gain_p * off
            m[1] += gain_v * off
            c[2] -= gain_v * c[1]
            c[1] -= gain_p * c[1]
            c[0] -= gain_p * c[0]
    return distances


@njit("void(float64[:, :, ::1], float64[:, :, ::1], float64, float64)", cache=True, nogil=True)
def _predict_acceleration(means, covariances, dt, jerk_std):  # type: ignore[no-untyped-def]
    noise = jerk_std * jerk_std
    half = 0.5 * dt * dt
    # how one step of jerk enters position, velocity and acceleration
    enters = (dt**3 / 6.0, half, dt)
    for i in range(means.shape[0]):
        for k in range(means.shape[1]):
            m, c = means[i, k], covariances[i, k]
            m[0] += dt * m[1] + half * m[2]
            m[1] += dt * m[2]
            pp, pv, pa, vv, va, aa = c[0], c[1], c[2], c[3], c[4], c[5]
            c[0] = pp + 2.0 * dt * pv + 2.0 * half * pa + dt * dt * vv + 2.0 * dt * half * va + half * half * aa
            c[1] = pv + dt * pa + dt * vv + (dt * dt + half) * va + dt * half * aa
            c[2] = pa + dt * va + half * aa
            c[3] = vv + 2.0 * dt * va + dt * dt * aa
            c[4] = va + dt * aa
            c[0] += noise * enters[0] * enters[0]
            c[1] += noise * enters[0] * enters[1]
            c[2] += noise * enters[0] * enters[2]
            c[3] += noise * enters[1] * enters[1]
            c[4] += noise * enters[1] * enters[2]
            c[5] = aa + noise * enters[2] * enters[2]


@njit("float64[::1](float64[:, :, ::1], float64[:, :, ::1], float64[:, ::1], float64[:, ::1])", cache=True, nogil=True)
def _correct_acceleration(means, covariances, positions, stds):  # type: ignore[no-untyped-def]
    distances = np.zeros(means.shape[0])
    for i in range(means.shape[0]):
        for k in range(means.shape[1]):
            if np.isnan(positions[i, k]):
                continue
            m, c = means[i, k], covariances[i, k]
            spread = c[0] + stds[i, k] * stds[i, k]
            off = positions[i, k] - m[0]
            pp, pv, pa = c[0], c[1], c[2]
            distances[i] += off * off / spread
            m[0] += pp / spread * off
            m[1] += pv / spread * off
            m[2] += pa / spread * off
            c[0] -= pp * pp / spread
            c[1] -= pp * pv / spread
            c[2] -= pp * pa / spread
            c[3] -= pv * pv / spread
            c[4] -= pv * pa / spread
            c[5] -= pa * pa / spread
    return distances


@njit("float64(float64)", cache=True, nogil=True)
def _wrap(angle):  # type: ignore[no-untyped-def]
    return (angle + np.pi) % (2.0 * np.pi) - np.pi


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
            off = poses[i, k] - m[k]
            std = position_std
            if k == 2:
                off = _wrap(off)
                if abs(off) > 0.5 * np.pi:
                    off = _wrap(off + np.pi)
                std = heading_std
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
    noise = acceleration_std * acceleration_std
    filtered = np.empty((steps, 5))
    ahead = np.empty((steps, 5))
    for k in range(coordinates):
        # an unknown velocity: a prior wide enough to say nothing at 100 m/s
        p, v, pp, pv, vv = positions[0, k], 0.0, stds[0] * stds[0], 0.0, 1e4
        for t in range(steps):
            if t > 0:
                dt = times[t] - times[t - 1]
                p += dt * v
                pp += dt * (2.0 * pv + dt * vv) + noise * dt**4 / 4.0
                pv += dt * vv + noise * dt**3 / 2.0
                vv += noise * dt * dt
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
