"""Polylines in the plane: even spacing, curves, directions and parallels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["bezier", "directions", "offset_line", "resample"]

Array = npt.NDArray[np.float64]


def resample(points: Array, step_m: float) -> Array:
    """(N, 2) points at even distances of about ``step_m`` along a polyline, both ends kept."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    count = max(2, round(lengths[-1] / step_m) + 1)
    s = np.linspace(0.0, lengths[-1], count)
    return np.stack([np.interp(s, lengths, points[:, 0]), np.interp(s, lengths, points[:, 1])], axis=1)


def bezier(a: Array, b: Array, c: Array, d: Array, count: int) -> Array:
    """(count, 2) points of a cubic Bezier curve."""
    t = np.linspace(0.0, 1.0, count)[:, None]
    return np.asarray((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d)


def directions(points: Array) -> Array:
    """(N, 2) unit tangents of a polyline at its points."""
    tangents = np.gradient(points, axis=0)
    return np.asarray(tangents / np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-9))


def offset_line(points: Array, left_m: float | Array) -> Array:
    """The polyline moved to its left by ``left_m``."""
    tangents = directions(points)
    normals = np.stack([-tangents[:, 1], tangents[:, 0]], axis=1)
    return np.asarray(points + normals * np.reshape(left_m, (-1, 1)))
