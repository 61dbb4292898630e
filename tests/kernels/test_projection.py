"""Depth images against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from perception.kernels.projection import depth_image

CAMERA = np.array([[50.0, 0, 20, 0], [0, 50, 15, 0], [0, 0, 1, 0]])


def oracle(points: np.ndarray, matrix: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    depth, rows = np.full((height, width), np.nan, np.float32), np.full((height, width), -1)
    for i, point in enumerate(points[:, :3].astype(float)):
        u, v, z = matrix @ [*point, 1.0]
        if not z >= 0.1:
            continue
        column, row = int(np.floor(u / z + 0.5)), int(np.floor(v / z + 0.5))
        if 0 <= column < width and 0 <= row < height and not depth[row, column] <= z:
            depth[row, column], rows[row, column] = z, i
    return depth, rows


@pytest.mark.parametrize("turned", [False, True])
def test_nearest_point_wins_each_pixel(turned: bool) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform([-5, -4, -2, 0], [5, 4, 20, 1], (5000, 4)).astype(np.float32)
    points[::97] = np.nan
    matrix = CAMERA
    if turned:  # x forward, y left, z up, and the camera moved
        matrix = CAMERA[:, :3] @ np.array([[0, -1, 0, 0.3], [0, 0, -1, 1.2], [1, 0, 0, -0.5]])
        points = points[:, [2, 0, 1, 3]]
    rows = np.zeros((30, 40), np.int32)
    depth = depth_image(points, matrix, 30, 40, rows=rows)
    expected_depth, expected_rows = oracle(points, matrix, 30, 40)
    np.testing.assert_allclose(depth, expected_depth, rtol=1e-6)
    np.testing.assert_array_equal(rows, expected_rows)
    assert depth.dtype == np.float32 and (rows >= 0).sum() > 500
    # every point may come in any order
    again = depth_image(points[::-1], matrix, 30, 40)
    np.testing.assert_array_equal(again, depth)


def test_points_behind_near_or_broken_leave_no_trace() -> None:
    bad = [[0, 0, -1], [0, 0, 0.05], [0, 0, np.nan], [0, 0, 0], [np.inf, 0, 1], [0, 0, np.inf]]
    rows = np.zeros((30, 40), np.int32)
    depth = depth_image(bad, CAMERA, 30, 40, rows=rows)
    assert np.isnan(depth).all() and (rows == -1).all()
    assert np.isnan(depth_image(np.zeros((0, 4), np.float32), CAMERA, 3, 4)).all()
    depth_image([[0, 0, 2], [0, 0, 2]], CAMERA, 30, 40, rows=rows)
    assert rows.max() == 0, "the first of equally near points"


def test_pixels_are_centred_on_whole_coordinates() -> None:
    edges = np.array([[-20.49, 1], [-20.51, 1], [19.49, 1], [19.51, 1]])
    points = np.column_stack([edges[:, 0] / 50, np.zeros(4), edges[:, 1]])
    inside = [bool((depth_image(point[None], CAMERA, 30, 40) > 0).any()) for point in points]
    assert inside == [True, False, True, False]


def test_what_cannot_be_projected_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 4\)"):
        depth_image(np.zeros((1, 4), np.float32), np.eye(3), 3, 4)
    with pytest.raises(ValueError, match="C >= 3"):
        depth_image(np.zeros((4, 2)), CAMERA, 3, 3)
    with pytest.raises(ValueError, match="finite"):
        depth_image(np.zeros((4, 3)), CAMERA * np.nan, 3, 3)
    with pytest.raises(ValueError, match="4x0"):
        depth_image(np.zeros((4, 3)), CAMERA, 0, 4)
    with pytest.raises(ValueError, match=r"rows must be \(3, 4\)"):
        depth_image(np.zeros((4, 3)), CAMERA, 3, 4, rows=np.zeros((4, 3), np.int32))
    with pytest.raises(ValueError, match="int32"):
        depth_image(np.zeros((4, 3)), CAMERA, 3, 4, rows=np.zeros((3, 4), np.int64))
    with pytest.raises(ValueError, match="min_depth_m"):
        depth_image(np.zeros((4, 3)), CAMERA, 3, 4, 0.0)
