"""The vehicle's own motion, from how far detections lie from where tracks expect them.

A vehicle that turns or brakes shifts all detections together, and a single moving object does not. The pose is the nine
numbers of a rotation by rows, then a translation; the motion (2, 3) is speed along and across the vehicle (m/s) and yaw
rate (rad/s), and their standard deviations. These functions are steps of ``perception.tracking.box_tracker``.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["correct_ego", "predict_ego"]


@njit("float64[:, ::1](float64[:, ::1], float64, float64, float64, float64[::1])", cache=True, nogil=True)
def _ego_shift(residuals, ego_x, ego_y, degrees, prior):  # type: ignore[no-untyped-def]
    """(2, 3): shift and turn of the vehicle that its prediction missed (m, m, rad), and their standard deviations.

    Robust least squares over the residuals in place and yaw of paired tracks: every pair pulls with the inverse of its
    variance, less the further off it is (Student-t weights), against a ``prior`` (3,) of zero mean. It turns about the
    vehicle itself.
    """
    out = np.zeros((2, 3))
    for _ in range(3):
        a = np.zeros((3, 3))
        b = np.zeros(3)
        for k in range(3):
            a[k, k] = 1.0 / (prior[k] * prior[k])
        for i in range(residuals.shape[0]):
            rx, ry = residuals[i, 0] - ego_x, residuals[i, 1] - ego_y
            gap_x, gap_y = residuals[i, 2], residuals[i, 3]
            left_x = gap_x - (out[0, 0] - ry * out[0, 2])
            left_y = gap_y - (out[0, 1] + rx * out[0, 2])
            variance = residuals[i, 4]
            squared = (left_x * left_x + left_y * left_y) / variance
            weight = (degrees + 2.0) / (degrees + squared) / variance
            a[0, 0] += weight
            a[1, 1] += weight
            a[0, 2] -= weight * ry
            a[1, 2] += weight * rx
            a[2, 2] += weight * (rx * rx + ry * ry)
            b[0] += weight * gap_x
            b[1] += weight * gap_y
            b[2] += weight * (rx * gap_y - ry * gap_x)
            off, variance = residuals[i, 5], residuals[i, 6]
            squared = (off - out[0, 2]) ** 2 / variance
            weight = (degrees + 1.0) / (degrees + squared) / variance
            a[2, 2] += weight
            b[2] += weight * off
        # elimination of the shift: a[0, 1] is 0
        pivot = a[2, 2] - a[0, 2] * a[0, 2] / a[0, 0] - a[1, 2] * a[1, 2] / a[1, 1]
        turn = (b[2] - a[0, 2] * b[0] / a[0, 0] - a[1, 2] * b[1] / a[1, 1]) / pivot
        out[0, 2] = turn
        out[0, 0] = (b[0] - a[0, 2] * turn) / a[0, 0]
        out[0, 1] = (b[1] - a[1, 2] * turn) / a[1, 1]
        out[1, 2] = np.sqrt(1.0 / pivot)
        out[1, 0] = np.sqrt(1.0 / a[0, 0] + (a[0, 2] / a[0, 0]) ** 2 / pivot)
        out[1, 1] = np.sqrt(1.0 / a[1, 1] + (a[1, 2] / a[1, 1]) ** 2 / pivot)
    return out


@njit("void(float64[::1], float64, float64, float64)", cache=True, nogil=True)
def _move(pose, x, y, turn):  # type: ignore[no-untyped-def]
    cosine, sine = np.cos(turn), np.sin(turn)
    for k in range(3):
        first, second = pose[k], pose[3 + k]
        pose[k] = cosine * first - sine * second
        pose[3 + k] = sine * first + cosine * second
    pose[9] += x
    pose[10] += y


@njit("void(float64[::1], float64[:, ::1], float64, float64)", cache=True, nogil=True)
def predict_ego(pose, motion, dt_s, straightening):  # type: ignore[no-untyped-def]
    """Moves the vehicle's pose on by the first row of its ``motion``.

    The yaw rate decays at the rate of ``straightening`` (1/s).
    """
    heading = np.arctan2(pose[3], pose[0])
    cosine, sine = np.cos(heading), np.sin(heading)
    along, across = motion[0, 0] * dt_s, motion[0, 1] * dt_s
    # vehicles straighten up: without this, objects that move alike would let the world spin
    motion[0, 2] *= np.exp(-straightening * dt_s)
    _move(pose, cosine * along - sine * across, sine * along + cosine * across, motion[0, 2] * dt_s)


@njit("void(float64[:, ::1], float64, float64, float64[::1], float64[::1], float64[:, ::1])", cache=True, nogil=True)
def correct_ego(residuals, dt_s, degrees, drift, pose, motion):  # type: ignore[no-untyped-def]
    """Aligns the vehicle's pose with what its tracks expect and learns its motion from the correction, both in place.

    Args:
        residuals: (K, 7) from ``perception.kernels.box_tracks.residuals``, detections being placed in the world with
            the predicted pose.
        dt_s: since the last frame.
        degrees: of freedom of the weights.
        drift: (3,) standard deviations of acceleration along and across (m/s^2) and of yaw acceleration (rad/s^2).
        pose: (12,).
        motion: (2, 3).
    """
    heading = np.arctan2(pose[3], pose[0])
    cosine, sine = np.cos(heading), np.sin(heading)
    along2 = (motion[1, 0] ** 2 + (drift[0] * dt_s) ** 2) * dt_s * dt_s
    across2 = (motion[1, 1] ** 2 + (drift[1] * dt_s) ** 2) * dt_s * dt_s
    prior = np.empty(3)
    prior[0] = np.sqrt(cosine * cosine * along2 + sine * sine * across2)
    prior[1] = np.sqrt(sine * sine * along2 + cosine * cosine * across2)
    prior[2] = np.sqrt(motion[1, 2] ** 2 + (drift[2] * dt_s) ** 2) * dt_s
    shift = _ego_shift(residuals, pose[9], pose[10], degrees, prior)
    x, y, turn = shift[0, 0], shift[0, 1], shift[0, 2]
    _move(pose, x, y, turn)
    motion[0, 0] += (cosine * x + sine * y) / dt_s
    # a vehicle hardly slides sideways: what looks like it decays
    motion[0, 1] = 0.8 * (motion[0, 1] + (cosine * y - sine * x) / dt_s)
    motion[0, 2] += turn / dt_s
    x2, y2 = shift[1, 0] ** 2, shift[1, 1] ** 2
    motion[1, 0] = np.sqrt(cosine * cosine * x2 + sine * sine * y2) / dt_s
    motion[1, 1] = np.sqrt(sine * sine * x2 + cosine * cosine * y2) / dt_s
    motion[1, 2] = shift[1, 2] / dt_s
