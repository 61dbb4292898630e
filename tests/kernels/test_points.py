"""Point kernels against plain NumPy."""

from __future__ import annotations

import numpy as np

from perception.kernels.points import ground_mask, points_in_boxes, voxel_means


def cloud(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-6, 6, (count, 4)).astype(np.float32)


def test_points_in_boxes_by_half_planes() -> None:
    points = cloud(3000, 0)
    points[5, 1] = np.nan
    boxes = np.array([[0, 0, 0, 6, 2, 3, 0.7], [1, 1, 0, 4, 4, 4, -2.0], [50, 0, 0, 1, 1, 1, 0]])
    expected = np.full(3000, -1)
    for row in (2, 1, 0):
        x, y, z, length, width, height, yaw = boxes[row]
        turn = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
        local = (points[:, :2] - [x, y]) @ turn
        inside = (np.abs(local) <= [length / 2, width / 2]).all(axis=1) & (np.abs(points[:, 2] - z) <= height / 2)
        expected[inside] = row
    np.testing.assert_array_equal(points_in_boxes(points, boxes), expected)
    assert points_in_boxes(np.zeros((0, 3)), boxes).shape == (0,)


def test_voxels_group_by_floor() -> None:
    points = cloud(2000, 1)
    points[7, 2] = np.inf
    means, counts, voxel_of_point = voxel_means(points, 0.75)
    good = np.isfinite(points).all(axis=1)
    assert voxel_of_point[7] == -1 and counts.sum() == good.sum()
    keys = np.floor(points[good, :3].astype(np.float64) / 0.75)
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    assert len(unique) == len(means)
    for voxel in range(0, len(means), 50):
        members = points[voxel_of_point == voxel]
        assert len(np.unique(np.floor(members[:, :3].astype(np.float64) / 0.75), axis=0)) == 1
        np.testing.assert_allclose(means[voxel], members.mean(axis=0), atol=1e-4)
    assert len(set(zip(inverse.ravel().tolist(), voxel_of_point[good].tolist(), strict=True))) == len(unique)


def test_ground_follows_a_hill_and_leaves_cars_out() -> None:
    rng = np.random.default_rng(2)
    road = rng.uniform(-40, 40, (40_000, 3))
    road[:, 2] = 0.05 * road[:, 0] + rng.normal(0, 0.02, len(road))
    car = rng.uniform([8, -1, 0.6], [12, 1, 1.5], (500, 3))
    car[:, 2] += 0.05 * car[:, 0]
    tree = rng.uniform([20, 20, 2.0], [24, 24, 6.0], (500, 3))
    points = np.concatenate([road, car, tree]).astype(np.float32)
    mask = ground_mask(points)
    assert mask[: len(road)].mean() > 0.99
    assert not mask[len(road) :].any()


def test_ground_of_a_real_scan_is_flat_and_low(real_data: object) -> None:
    from pathlib import Path

    scans = sorted((Path(str(real_data)) / "kitti_object/training/velodyne").glob("*.bin"))
    points = np.fromfile(scans[0], np.float32).reshape(-1, 4)
    mask = ground_mask(points, sensor_height_m=1.73)
    near = mask & (np.abs(points[:, :2]) < 25).all(axis=1)
    assert 0.1 < mask.mean() < 0.9
    assert abs(np.median(points[near, 2]) + 1.73) < 0.25
