from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from drive_makers import benchmark_calibration, make_raw_drive

from perception.datasets.kitti_calibration import (
    EGO_SE3_VELO,
    load_benchmark_calibration,
    load_raw_calibration,
    read_kitti_entries,
)
from perception.errors import CalibrationError


def matrix(entries: dict[str, str], key: str, rows: int) -> np.ndarray:
    return np.array([float(word) for word in entries[key].split()]).reshape(rows, -1)


def homogeneous(part: np.ndarray) -> np.ndarray:
    whole = np.eye(4)
    whole[: part.shape[0], : part.shape[1]] = part
    return whole


def project_as_the_devkit_does(projection: np.ndarray, rect: np.ndarray, velo: np.ndarray) -> np.ndarray:
    return projection @ homogeneous(rect) @ homogeneous(velo)


POINTS_VELO = np.random.default_rng(0).uniform([4, -8, -1.7], [60, 8, 1], (50, 3))


def assert_projects_alike(camera_project: Callable, devkit: np.ndarray) -> None:
    pixels = np.column_stack([POINTS_VELO, np.ones(len(POINTS_VELO))]) @ devkit.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    # calibration texts hold six digits, so their rotations are off by about 1e-6
    np.testing.assert_allclose(camera_project(EGO_SE3_VELO.apply(POINTS_VELO)), pixels, atol=2e-2)


@pytest.mark.parametrize("camera_number", [0, 1, 2, 3])
def test_real_object_calibration_projects_as_the_devkit(real_data: Path, camera_number: int) -> None:
    for file in sorted((real_data / "kitti_object" / "training" / "calib").iterdir())[::10]:
        entries = read_kitti_entries(file)
        devkit = project_as_the_devkit_does(
            matrix(entries, f"P{camera_number}", 3),
            matrix(entries, "R0_rect", 3),
            matrix(entries, "Tr_velo_to_cam", 3),
        )
        camera = load_benchmark_calibration(file, camera_number).camera("camera", 1242, 375)
        assert_projects_alike(camera.project_ego, devkit)


def test_real_raw_calibration_projects_as_the_devkit(real_data: Path) -> None:
    day = real_data / "kitti_raw" / "2011_09_26"
    entries, velo = (
        read_kitti_entries(day / "calib_cam_to_cam.txt"),
        read_kitti_entries(day / "calib_velo_to_cam.txt"),
    )
    devkit = project_as_the_devkit_does(
        matrix(entries, "P_rect_02", 3),
        matrix(entries, "R_rect_00", 3),
        np.column_stack([matrix(velo, "R", 3), matrix(velo, "T", 3)]),
    )
    calibration = load_raw_calibration(day / "calib_cam_to_cam.txt", 2)
    assert calibration.image_size == (1242, 375)
    assert_projects_alike(calibration.camera("image_02", 1242, 375).project_ego, devkit)


def test_real_texts_of_all_benchmarks_give_the_same_rig(real_data: Path) -> None:
    raw = load_raw_calibration(real_data / "kitti_raw" / "2011_09_26" / "calib_cam_to_cam.txt", 2)
    tracking = load_benchmark_calibration(real_data / "kitti_tracking" / "training" / "calib" / "0000.txt", 2)
    assert raw.ref_SE3_velo is not None
    assert tracking.ref_SE3_velo is not None
    np.testing.assert_allclose(raw.projection, tracking.projection, atol=1e-6)
    np.testing.assert_allclose(raw.ref_SE3_velo.matrix, tracking.ref_SE3_velo.matrix, atol=1e-6)
    assert tracking.ego_SE3_imu is not None
    # the imu sits behind the velodyne, to its right and lower
    np.testing.assert_allclose(tracking.ego_SE3_imu.translation, [-0.81, 0.32, 0.93], atol=0.01)


def test_the_odometry_text_without_velodyne_puts_the_camera_above_the_road(real_data: Path) -> None:
    file = real_data / "kitti_odometry" / "sequences" / "01" / "calib.txt"
    camera = load_benchmark_calibration(file, 0).camera("image_0", 1226, 370)
    np.testing.assert_allclose(camera.ego_SE3_cam.translation, [0, 0, 1.65])
    np.testing.assert_allclose(camera.project_ego(np.array([[10, 0, 1.65]])), [[camera.cx_px, camera.cy_px]])


def test_names_and_colons_of_every_benchmark_are_understood(tmp_path: Path) -> None:
    plain, tracking, odometry = (tmp_path / name for name in ("object.txt", "tracking.txt", "odometry.txt"))
    text = benchmark_calibration()
    plain.write_text(text)
    tracking.write_text(text.replace("R0_rect:", "R_rect").replace("Tr_velo_to_cam:", "Tr_velo_cam"))
    odometry.write_text(text.replace("R0_rect: 1 0 0 0 1 0 0 0 1\n", "").replace("Tr_velo_to_cam", "Tr"))
    poses = [load_benchmark_calibration(file, 2).ref_SE3_velo for file in (plain, tracking, odometry)]
    assert poses[0] is not None
    for pose in poses[1:]:
        assert pose is not None
        np.testing.assert_array_equal(pose.matrix, poses[0].matrix)


@pytest.mark.parametrize(
    ("found", "broken", "message"),
    [
        ("P2:", "P9:", r"expected an entry P2 of 12 values but found P0, P9, R0_rect"),
        ("P2: 50 0", "P2: 50", r"P2 must have 12 values but has 11"),
        ("P2: 50", "P2: nan", r"P2 must be finite"),
        ("P2: 50", "P2: fifty", r"could not convert string to float: 'fifty'"),
        ("P2: 50 0", "P2: 50 7", r"projection of image_2 must be \[fx 0 cx tx"),
        ("P2: 50", "P2: -50", r"focal lengths must be positive"),
        ("R0_rect: 1 0 0", "R0_rect: 2 0 0", r"R_rect: a pose matrix must hold a rotation"),
        ("R0_rect: 1 0 0", "R0_rect: 1 0", r"R0_rect must have 9 values but has 8"),
    ],
)
def test_malformed_entries_are_named(tmp_path: Path, found: str, broken: str, message: str) -> None:
    file = tmp_path / "calib.txt"
    text = benchmark_calibration()
    assert found in text
    file.write_text(text.replace(found, broken, 1))
    with pytest.raises(CalibrationError, match=message) as error:
        load_benchmark_calibration(file, 2).camera("image_2", 64, 48)
    assert str(file) in str(error.value)


def test_missing_and_empty_and_binary_files_are_named(tmp_path: Path) -> None:
    for name, content, message in [
        ("none.txt", None, "is missing"),
        ("empty.txt", b"\n", "is empty"),
        ("binary.txt", b"\xff\xfe\x00\x80", "cannot be read as KITTI calibration text"),
    ]:
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(CalibrationError, match=message):
            load_benchmark_calibration(tmp_path / name, 2)


def test_raw_calibration_lives_without_velodyne_and_imu(tmp_path: Path) -> None:
    make_raw_drive(tmp_path, frames=1)
    cameras = tmp_path / "calib_cam_to_cam.txt"
    assert load_raw_calibration(cameras, 2).ref_SE3_velo is not None
    (tmp_path / "calib_velo_to_cam.txt").unlink()
    calibration = load_raw_calibration(cameras, 2)
    assert calibration.ref_SE3_velo is None
    assert calibration.ego_SE3_imu is None
