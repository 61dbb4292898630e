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

from perception.kernels.kalman_linear import correct_positions, predict_acceleration, predict_velocity
from perception.kernels.kalman_smoother import smooth
from perception.kernels.kalman_turn import correct_turn, predict_turn

__all__ = [
    "correct_positions",
    "correct_turn",
    "predict_acceleration",
    "predict_turn",
    "predict_velocity",
    "smooth",
]
