"""Rotated boxes to test with, and shapely's polygons of them."""

from __future__ import annotations

import numpy as np
import pytest


def polygon(box: np.ndarray) -> object:
    shapely = pytest.importorskip("shapely")
    x, y, length, width, yaw = box
    corners = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * [length / 2, width / 2]
    turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
    return shapely.Polygon(corners @ turn.T + [x, y])


def bev_crowd(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate(
        [rng.uniform(0, 12, (count, 2)), rng.uniform(1, 5, (count, 2)), rng.uniform(-4, 4, (count, 1))], axis=1
    )
