from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perception.datasets.factory import open_drive
from perception.datasets.kitti_poses import anchored, oxts_poses, read_number_rows, read_pose_rows
from perception.geometry import SE3

MOUNT = SE3.from_yaw(0.3, [-0.8, 0.3, 0.9])


def packet(
    east_m: float, north_m: float, up_m: float, yaw: float, roll: float = 0.0, pitch: float = 0.0
) -> list[float]:
    """An oxts packet near Karlsruhe, by the inverse of a local flat map."""
    latitude = 49.0 + np.degrees(north_m / 6378137.0)
    longitude = 8.4 + np.degrees(east_m / (6378137.0 * np.cos(np.radians(49.0))))
    return [latitude, longitude, 110.0 + up_m, roll, pitch, yaw, *[0.0] * 24]


def test_oxts_of_a_known_drive() -> None:
    # along a quarter circle of 50 m radius, climbing
    angles = np.linspace(0, np.pi / 2, 20)
    rows = [packet(50 * np.sin(a), 50 * (1 - np.cos(a)), a, a) for a in angles]
    poses = oxts_poses(rows)
    first = poses[0]
    assert isinstance(first, SE3)
    for angle, pose in zip(angles, poses, strict=True):
        assert isinstance(pose, SE3)
        # Mercator stretches by 1e-5 a hundred metres north
        expected = [50 * np.sin(angle), 50 * (1 - np.cos(angle)), angle]
        np.testing.assert_allclose(pose.translation - first.translation, expected, atol=2e-3)
        assert pose.yaw_rad == pytest.approx(angle)


def test_oxts_angles_turn_about_the_axes_of_the_devkit() -> None:
    pose = oxts_poses([packet(0, 0, 0, 0.7, roll=0.1, pitch=-0.2)])[0]
    assert isinstance(pose, SE3)
    np.testing.assert_allclose(np.arctan2(pose.rotation[2, 1], pose.rotation[2, 2]), 0.1)
    np.testing.assert_allclose(-np.arcsin(pose.rotation[2, 0]), -0.2)
    assert pose.yaw_rad == pytest.approx(0.7)


def test_the_world_is_the_first_posed_vehicle_frame() -> None:
    map_SE3_ego = [SE3.from_yaw(1 + 0.1 * n, [100 + n, 7, 0.1 * n]) for n in range(5)]
    sensor = [pose @ MOUNT for pose in map_SE3_ego]
    found = anchored(["lost", *sensor], MOUNT)
    assert found[0] == "lost"
    for n in range(5):
        pose = found[n + 1]
        assert isinstance(pose, SE3)
        np.testing.assert_allclose(pose.matrix, (map_SE3_ego[0].inverse() @ map_SE3_ego[n]).matrix, atol=1e-9)
    assert anchored(["lost"], MOUNT) == ["lost"]


def test_damaged_rows_become_their_reasons(tmp_path: Path) -> None:
    file = tmp_path / "poses.txt"
    good = "1 0 0 0 0 1 0 0 0 0 1 0"
    file.write_text(f"{good}\n1 2 3\n{good.replace('1 0 0 0', 'nan 0 0 0', 1)}\n{'5' + good[1:]}\n\n")
    poses = read_pose_rows(file)
    assert isinstance(poses[0], SE3)
    assert "poses.txt:2: expected 12 values but found 3" in str(poses[1])
    assert "poses.txt:3: expected finite values" in str(poses[2])
    assert "poses.txt:4: a pose matrix must hold a rotation" in str(poses[3])
    assert len(poses) == 4
    assert read_number_rows(file, 12)[0] == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]


def test_real_odometry_poses_are_given_back_exactly(real_data: Path) -> None:
    folder = real_data / "kitti_odometry" / "sequences" / "01"
    rows = np.loadtxt(folder / "poses.txt").reshape(-1, 3, 4)
    readings = list(open_drive(folder).readings())
    assert len(readings) == len(list((folder / "image_0").iterdir()))
    first = None
    for reading, row in zip(readings, rows, strict=False):
        frame = reading.frame
        assert frame is not None
        assert frame.camera is not None
        assert frame.world_SE3_ego is not None
        world_SE3_cam = frame.world_SE3_ego @ frame.camera.ego_SE3_cam
        first = first or world_SE3_cam
        np.testing.assert_allclose((first.inverse() @ world_SE3_cam).matrix[:3], row, atol=1e-5)
    start, end = readings[0].frame, readings[len(rows) - 1].frame
    assert start is not None
    assert end is not None
    assert start.world_SE3_ego is not None
    assert end.world_SE3_ego is not None
    np.testing.assert_allclose(start.world_SE3_ego.matrix, np.eye(4), atol=1e-9)
    # a motorway drive goes forward, which is ego x
    assert end.world_SE3_ego.translation[0] > 0.9 * np.linalg.norm(rows[-1][:, 3])
