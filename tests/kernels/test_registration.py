from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from perception.kernels.registration import VoxelGaussians, voxel_sample


def street(seed: int, count: int = 8000) -> np.ndarray:
    """Points on a road, two walls and a few poles."""
    rng = np.random.default_rng(seed)
    third = count // 3
    road = np.column_stack([rng.uniform(0, 50, third), rng.uniform(-8, 8, third), np.zeros(third)])
    walls = np.column_stack([rng.uniform(0, 50, third), rng.choice([-8.0, 8.0], third), rng.uniform(0, 5, third)])
    poles = np.column_stack(
        [rng.choice(np.arange(3.0, 50, 6), third), rng.choice([-6.0, 6.0], third), rng.uniform(0, 6, third)]
    )
    xyz = np.concatenate([road, walls, poles]) + rng.normal(size=(3 * third, 3)) * 0.02
    return np.column_stack([xyz, np.ones(len(xyz))]).astype(np.float32)


def test_voxel_sample_keeps_the_first_point_of_each_voxel() -> None:
    points = street(1)
    chosen = voxel_sample(points, 0.5)
    voxels = np.floor(points[:, :3].astype(np.float64) / 0.5).astype(int)
    _, first = np.unique(voxels, axis=0, return_index=True)
    assert chosen.tolist() == sorted(first.tolist())


def test_voxel_sample_leaves_out_far_and_nan_points() -> None:
    points = np.array([[0.1, 0, 0, 0], [np.nan, 0, 0, 0], [30, 0, 0, 0], [0.2, 0, 0, 0]], np.float32)
    assert voxel_sample(points, 1.0, 10.0).tolist() == [0]
    assert voxel_sample(points[:0], 1.0).tolist() == []
    with pytest.raises(ValueError, match="voxel_m must be positive"):
        voxel_sample(points, 0.0)


def test_a_moved_scan_is_found_again() -> None:
    scan = street(2)
    voxels = VoxelGaussians(1.0)
    voxels.insert(scan, np.eye(3), np.zeros(3), 100.0)
    true_rotation = Rotation.from_euler("zyx", [0.03, 0.005, -0.004]).as_matrix()
    true_translation = np.array([0.6, -0.15, 0.05])
    moved = street(3)[::4]
    moved[:, :3] = (moved[:, :3] - true_translation) @ true_rotation
    rotation, translation, score = voxels.align(moved, np.eye(3), np.zeros(3), noise_m=0.05, iterations=30)
    assert np.abs(translation - true_translation).max() < 0.03
    assert np.linalg.norm(Rotation.from_matrix(rotation.T @ true_rotation).as_rotvec()) < 0.002
    assert score > 0.45


def test_a_scan_of_another_place_scores_low() -> None:
    voxels = VoxelGaussians(1.0)
    voxels.insert(street(2), np.eye(3), np.zeros(3), 100.0)
    elsewhere = street(3)[::4]
    elsewhere[:, :3] += 500
    _, _, score = voxels.align(elsewhere, np.eye(3), np.zeros(3))
    assert score == 0.0


def test_weights_decide_between_two_motions() -> None:
    """Half of the points moved along with the sensor; the heavier half decides."""
    still = street(4)
    voxels = VoxelGaussians(1.0)
    along = street(5)
    along[:, 2] += 12.0
    voxels.insert(np.concatenate([still, along]), np.eye(3), np.zeros(3), 100.0)
    moved = still.copy()
    moved[:, 0] -= 0.3
    for weight_still, weight_along, expected_m in [(5.0, 1.0, 0.3), (1.0, 5.0, 0.0)]:
        scan = np.concatenate([moved[::5], along[::5]])
        scan[: len(moved[::5]), 3] = weight_still
        scan[len(moved[::5]) :, 3] = weight_along
        _, translation, _ = voxels.align(scan, np.eye(3), np.array([0.15, 0, 0]), noise_m=0.05, iterations=40)
        assert translation[0] == pytest.approx(expected_m, abs=0.06)


def test_a_full_table_drops_what_is_far() -> None:
    voxels = VoxelGaussians(1.0, capacity=1 << 14)
    for step in range(40):
        voxels.insert(street(step, 6000), np.eye(3), np.array([10.0 * step, 0, 0]), keep_radius_m=40.0)
    assert 0 < len(voxels) <= 1 << 13
    near = street(1, 900)
    _, _, score = voxels.align(near, np.eye(3), np.array([390.0, 0, 0]), noise_m=0.1)
    assert score > 0.4


def test_shapes_are_checked() -> None:
    voxels = VoxelGaussians(1.0)
    with pytest.raises(ValueError, match=r"\(P, 4\)"):
        voxels.align(np.zeros((5, 3), np.float32), np.eye(3), np.zeros(3))
    with pytest.raises(ValueError, match="power of two"):
        VoxelGaussians(1.0, capacity=1000)
