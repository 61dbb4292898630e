"""The coordinated turn: x, y, heading, speed and yaw rate of a vehicle, an extended Kalman filter whose heading wraps.

A measurement of NaN is none: its object keeps its prediction. Angles lie in -pi ... pi.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array
from perception.kernels.kalman_checks import check_arrays, refuse_infinite, spread_of, time_step

__all__ = ["correct_turn", "predict_turn"]

Float64Array = npt.NDArray[np.float64]


def predict_turn(
    means: Float64Array, covariances: Float64Array, dt_s: float, acceleration_std: float, yaw_acceleration_std: float
) -> None:
    """Moves (N, 5) states (x, y, heading, speed, yaw rate) and (N, 5, 5) covariances along circular arcs, in place.

    Raises:
        ValueError: a shape, type or value is wrong, or time goes backwards.
    """
    check_arrays(means, covariances, (None, 5), (len(means), 5, 5))
    stds = [
        float(spread_of(name, value, ()))
        for name, value in (("acceleration_std", acceleration_std), ("yaw_acceleration_std", yaw_acceleration_std))
    ]
    _predict_turn(means, covariances, time_step(dt_s), stds[0], stds[1])


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
    check_arrays(means, covariances, (None, 5), (len(means), 5, 5))
    measured = as_array("poses", poses, np.float64, (len(means), 3))
    refuse_infinite("poses", measured)
    stds = [
        float(spread_of(name, value, (), positive=True))
        for name, value in (("position_std", position_std), ("heading_std", heading_std))
    ]
    result: Float64Array = _correct_turn(means, covariances, measured, stds[0], stds[1])
    return result


@njit("float64(float64)", cache=True, nogil=True)
def _wrap(angle):  # type: ignore[no-untyped-def]
    return (angle + np.pi) % (2.0 * np.pi) - np.pi


@njit("float64(float64, float64, boolean)", cache=True, nogil=True)
def _turn_between(measured, predicted, mend_flips):  # type: ignore[no-untyped-def]
    off = _wrap(measured - predicted)
    return _wrap(off + np.pi) if mend_flips and abs(off) > 0.5 * np.pi else off


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
