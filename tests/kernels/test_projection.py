from __future__ import annotations

import numpy as np
import pytest

from perception.kernels.projection import sparse_depth

CAMERA = np.array([[50.0, 0, 20, 0], [0, 50, 15, 0], [0, 0, 1, 0]])


def oracle(points: np.ndarray, height: int, width: int) -> np.ndarray:
    depth = np.full((height, width), np.nan, np.float32)
    for x, y, z in points[:, :3].astype(float):
        if not z >= 0.1:
            continue
        column, row = int(np.floor(50 * x / z + 20.5)), int(np.floor(50 * y / z + 15.5))
        if 0 <= column < width and 0 <= row < height and not depth[row, column] <= z:
            depth[row, column] = z
    return depth


def test_nearest_point_wins_each_pixel() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform([-5, -4, -2, 0], [5, 4, 20, 1], (5000, 4)).astype(np.float32)
    points[::97] = np.nan
    assert np.array_equal(sparse_depth(points, CAMERA, 30, 40), oracle(points, 30, 40), equal_nan=True)


def test_nothing_projects_to_nothing() -> None:
    assert np.isnan(sparse_depth(np.zeros((0, 4), np.float32), CAMERA, 3, 4)).all()
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        sparse_depth(np.zeros((1, 4), np.float32), np.eye(3), 3, 4)
