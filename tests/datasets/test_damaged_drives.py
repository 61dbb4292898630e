"""A frame or scan that is missing or damaged costs itself, with a reason, and shifts nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from drive_makers import (
    HEIGHT,
    WIDTH,
    benchmark_calibration,
    make_image_folder,
    make_object_folder,
    make_odometry_sequence,
    make_raw_drive,
    make_tracking_sequence,
    picture,
    scan,
    write_picture,
    write_scan,
)

from perception.datasets.drive import Reading
from perception.datasets.factory import open_drive
from perception.errors import CalibrationError, DriveError
from perception.geometry import SE3


def assert_undamaged(reading: Reading, number: int, lidar: bool = True) -> None:
    frame = reading.frame
    assert frame is not None, reading
    assert reading.gaps == ()
    assert frame.index == reading.index == number
    assert frame.name == reading.name
    assert int(frame.name) == number
    np.testing.assert_array_equal(frame.image_rgb, picture(number))
    if lidar:
        assert frame.points_ego is not None
        np.testing.assert_allclose(frame.points_ego, scan(number) + np.float32([0, 0, 1.73, 0]), atol=1e-6)


def test_a_whole_drive_has_no_gaps(tmp_path: Path) -> None:
    drive = open_drive(make_raw_drive(tmp_path))
    assert drive.info.gaps == ()
    assert drive.info.sensors == ("camera image_02", "lidar velodyne_points")
    readings = list(drive.readings())
    assert len(readings) == drive.info.frame_count == 6
    for number, reading in enumerate(readings):
        assert_undamaged(reading, number)
        assert reading.frame is not None
        assert reading.frame.timestamp_ns == 1317042145_064389445 + (number + 5) * 100_000_000
    camera = drive.info.camera
    assert camera is not None
    np.testing.assert_allclose(camera.ego_SE3_cam.translation, [0.27, 0.06, 1.65], atol=1e-12)


@pytest.mark.parametrize("missing", [0, 2, 5])
def test_a_missing_picture_keeps_its_place(tmp_path: Path, missing: int) -> None:
    folder = make_raw_drive(tmp_path)
    (folder / "image_02" / "data" / f"{missing:010d}.png").unlink()
    drive = open_drive(folder)
    assert [(gap.frame_name, gap.sensor) for gap in drive.info.gaps] == [(f"{missing:010d}", "camera")]
    readings = list(drive.readings())
    assert len(readings) == drive.info.frame_count == 6
    assert readings[missing].frame is None
    assert f"no file named {missing:010d}" in readings[missing].gaps[0].reason
    for number in set(range(6)) - {missing}:
        assert_undamaged(readings[number], number)
    stamps = [reading.frame.timestamp_ns for reading in readings if reading.frame]
    kept = [number for number in range(6) if number != missing]
    assert stamps == [1317042145_064389445 + (number + 5) * 100_000_000 for number in kept]


@pytest.mark.parametrize("missing", [0, 3, 5])
def test_a_missing_scan_keeps_its_frame(tmp_path: Path, missing: int) -> None:
    folder = make_raw_drive(tmp_path)
    (folder / "velodyne_points" / "data" / f"{missing:010d}.bin").unlink()
    readings = list(open_drive(folder).readings())
    frame = readings[missing].frame
    assert frame is not None
    assert frame.points_ego is None
    assert [gap.sensor for gap in readings[missing].gaps] == ["lidar"]
    for number in set(range(6)) - {missing}:
        assert_undamaged(readings[number], number)


def test_damaged_pictures_are_skipped_with_their_reasons(tmp_path: Path) -> None:
    folder = make_raw_drive(tmp_path, suffix=".png")
    data = folder / "image_02" / "data"
    whole = (data / "0000000001.png").read_bytes()
    (data / "0000000001.png").write_bytes(whole[: len(whole) // 2])
    write_picture(data / "0000000002.png", 2, WIDTH + 8, HEIGHT)
    (data / "0000000003.png").write_bytes(b"")
    (data / "0000000004.png").write_text("<html>not found</html>")
    drive = open_drive(folder)
    assert drive.info.gaps == ()
    readings = list(drive.readings())
    assert [reading.frame is None for reading in readings] == [False, True, True, True, True, False]
    reasons = ["truncated PNG", "image is 72x48 but the drive's camera is 64x48", "is empty", "its content is none"]
    for reading, reason in zip(readings[1:5], reasons, strict=True):
        assert reason in reading.gaps[0].reason
    assert_undamaged(readings[0], 0)
    assert_undamaged(readings[5], 5)


def test_damaged_scans_cost_points_or_the_scan(tmp_path: Path) -> None:
    folder = make_raw_drive(tmp_path)
    data = folder / "velodyne_points" / "data"
    spoilt = scan(1)
    spoilt[3, 0], spoilt[7, 2], spoilt[9, 3], spoilt[9, 1] = np.nan, np.inf, -np.inf, np.nan
    spoilt.tofile(data / "0000000001.bin")
    (data / "0000000002.bin").write_bytes(scan(2).tobytes()[:-5])
    (data / "0000000003.bin").write_bytes(b"")
    np.full((4, 4), np.nan, np.float32).tofile(data / "0000000004.bin")
    readings = list(open_drive(folder).readings())
    frames = [reading.frame for reading in readings]
    assert all(frame is not None for frame in frames)
    points = [frame.points_ego for frame in frames if frame is not None]
    assert points[1] is not None
    kept = np.delete(scan(1), [3, 7, 9], axis=0) + np.float32([0, 0, 1.73, 0])
    np.testing.assert_allclose(points[1], kept, atol=1e-6)
    assert "3 of 20 points are NaN or infinite" in readings[1].gaps[0].reason
    assert points[2] is None
    assert "its size is 315" in readings[2].gaps[0].reason
    assert points[3] is None
    assert "file is empty" in readings[3].gaps[0].reason
    assert points[4] is not None
    assert points[4].shape == (0, 4)
    assert_undamaged(readings[0], 0)
    assert_undamaged(readings[5], 5)


def test_tracking_and_odometry_sequences_keep_places_too(tmp_path: Path) -> None:
    tracking = make_tracking_sequence(tmp_path / "t")
    (tracking / "000002.png").unlink()
    odometry = make_odometry_sequence(tmp_path / "o")
    (odometry / "image_2" / "000003.png").unlink()
    for folder, missing, lidar in [(tracking, 2, True), (odometry, 3, False)]:
        readings = list(open_drive(folder).readings())
        assert [reading.index for reading in readings if reading.frame is None] == [missing]
        for number in set(range(5)) - {missing}:
            assert_undamaged(readings[number], number, lidar)


def test_object_frames_are_paired_by_name(tmp_path: Path) -> None:
    training = make_object_folder(tmp_path, ("000000", "000002", "000007", "000008", "000009"))
    (training / "image_2" / "000002.png").unlink()
    (training / "velodyne" / "000007.bin").unlink()
    (training / "calib" / "000008.txt").unlink()
    (training / "calib" / "000009.txt").write_text("P2: 1 2 3\n")
    drive = open_drive(training)
    assert not drive.info.is_sequence
    assert drive.info.rate_hz is None
    readings = list(drive.readings())
    assert [reading.name for reading in readings] == ["000000", "000002", "000007", "000008", "000009"]
    assert [reading.frame is not None for reading in readings] == [True, False, True, False, False]
    assert [gap.sensor for gap in drive.info.gaps] == ["camera", "lidar", "calibration"]
    assert readings[2].frame is not None
    assert readings[2].frame.points_ego is None
    assert readings[2].frame.camera is not None
    assert readings[2].frame.camera.width_px == WIDTH + 4
    assert "P2 must have 12 values but has 3" in readings[4].gaps[0].reason


def test_a_numbered_image_folder_names_what_is_missing(tmp_path: Path) -> None:
    folder = make_image_folder(tmp_path / "walk", 6)
    (folder / "view_10.png").unlink()
    readings = list(open_drive(folder).readings())
    assert [reading.name for reading in readings] == [f"view_{number}" for number in range(8, 14)]
    assert [reading.frame is None for reading in readings] == [False, False, True, False, False, False]
    assert readings[3].frame is not None
    np.testing.assert_array_equal(readings[3].frame.image_rgb, picture(3))
    assert readings[3].frame.timestamp_ns == 300_000_000


def test_pictures_of_several_sizes_get_a_guessed_camera_each(tmp_path: Path) -> None:
    folder = make_image_folder(tmp_path / "walk", 4)
    write_picture(folder / "view_9.png", 1, 2 * WIDTH, HEIGHT)
    drive = open_drive(folder)
    assert any("differ in size" in note for note in drive.info.notes)
    frames = [reading.frame for reading in drive.readings()]
    focal = [frame.camera.fx_px for frame in frames if frame is not None and frame.camera is not None]
    assert len(focal) == 4
    assert focal[1] == pytest.approx(2 * focal[0])


def test_a_drive_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    folder = make_raw_drive(tmp_path)
    for file in (folder / "image_02" / "data").iterdir():
        file.write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DriveError, match=r"none of its 6 pictures can be read; the first: .*truncated JPEG"):
        open_drive(folder)
    shutil.rmtree(folder / "image_02" / "data")
    with pytest.raises(DriveError, match=r"expected image_02/data .* but found image_02/, velodyne_points/"):
        open_drive(folder)
    (folder / "image_02" / "data").mkdir()
    with pytest.raises(DriveError, match=r"expected numbered pictures such as .* but found an empty folder"):
        open_drive(folder)


def test_a_calibration_for_other_pictures_is_refused(tmp_path: Path) -> None:
    folder = make_raw_drive(tmp_path)
    file = tmp_path / "calib_cam_to_cam.txt"
    file.write_text(file.read_text().replace("S_rect_02: 64.0 48.0", "S_rect_02: 1242.0 375.0"))
    with pytest.raises(CalibrationError, match=r"calib_cam_to_cam\.txt: is for images of 1242x375 but .* are 64x48"):
        open_drive(folder)
    file.unlink()
    with pytest.raises(CalibrationError, match=r"calib_cam_to_cam\.txt: calibration file is missing"):
        open_drive(folder)


def test_lidar_that_nothing_places_is_left_out_and_said(tmp_path: Path) -> None:
    folder = make_raw_drive(tmp_path)
    (tmp_path / "calib_velo_to_cam.txt").unlink()
    drive = open_drive(folder)
    assert drive.info.sensors == ("camera image_02",)
    assert any("velodyne_points" in note and "left out" in note for note in drive.info.notes)
    assert all(reading.frame is not None and reading.frame.points_ego is None for reading in drive.readings())
    training = make_object_folder(tmp_path / "object", ("000000",))
    calibration = training / "calib" / "000000.txt"
    calibration.write_text(calibration.read_text().split("R0_rect")[0])
    drive = open_drive(training)
    assert drive.info.sensors == ("camera image_2",)
    assert "velodyne left out" in drive.info.notes[0]


def test_reduced_scans_serve_where_there_are_no_others(tmp_path: Path) -> None:
    training = make_object_folder(tmp_path / "object")
    tracking = make_tracking_sequence(tmp_path / "tracking")
    odometry = make_odometry_sequence(tmp_path / "odometry", 1)
    with (odometry / "calib.txt").open("a") as file:
        file.write(benchmark_calibration().splitlines()[-2].replace("Tr_velo_to_cam", "Tr") + "\n")
    write_scan(odometry / "velodyne" / "000000.bin", 0)
    for drive, folder in [(training, training), (tracking, tracking.parents[1]), (odometry, odometry)]:
        (folder / "velodyne").rename(folder / "velodyne_reduced")
        frame = next(iter(open_drive(drive).readings())).frame
        assert frame is not None
        assert frame.points_ego is not None
        np.testing.assert_allclose(frame.points_ego, scan(0) + np.float32([0, 0, 1.73, 0]), atol=1e-6)


def test_hidden_files_do_not_count(tmp_path: Path) -> None:
    folder = make_raw_drive(tmp_path)
    for sensor, suffix in [("image_02", "png"), ("velodyne_points", "bin")]:
        (folder / sensor / "data" / f"._0000000000.{suffix}").write_bytes(b"resource fork")
    assert open_drive(folder).info.notes == ()


def test_strange_names_are_said_and_wild_numbers_refused(tmp_path: Path) -> None:
    folder = make_raw_drive(tmp_path)
    write_picture(folder / "image_02" / "data" / "thumb.png", 1)
    drive = open_drive(folder)
    assert drive.info.frame_count == 6
    assert any("thumb.png left out" in note for note in drive.info.notes)
    write_scan(folder / "velodyne_points" / "data" / "4000000000.bin", 1)
    with pytest.raises(DriveError, match="expected consecutive frame numbers but its 7 files go from 0 to 4000000000"):
        open_drive(folder)


def oxts_packet(east_m: float) -> str:
    longitude = 8.4 + np.degrees(east_m / (6378137.0 * np.cos(np.radians(49.0))))
    return " ".join(str(value) for value in [49.0, longitude, 110.0, 0.0, 0.0, 0.0, *[0] * 24])


def test_oxts_of_a_raw_drive_gives_poses_by_name(tmp_path: Path) -> None:
    folder = make_raw_drive(tmp_path)
    (folder / "oxts" / "data").mkdir(parents=True)
    for number in range(6):
        (folder / "oxts" / "data" / f"{number:010d}.txt").write_text(oxts_packet(2.0 * number))
    assert any("calib_imu_to_velo.txt is missing" in note for note in open_drive(folder).info.notes)
    (tmp_path / "calib_imu_to_velo.txt").write_text("calib_time: x\nR: 1 0 0 0 1 0 0 0 1\nT: -0.81 0.32 -0.8\n")
    (folder / "oxts" / "data" / "0000000002.txt").unlink()
    (folder / "oxts" / "data" / "0000000004.txt").write_text("49.0 8.4")
    own = tmp_path / "own.json"
    own.write_text('{"fx_px": 40, "fy_px": 40, "cx_px": 32, "cy_px": 24, "width_px": 64, "height_px": 48}')
    assert open_drive(folder, own).info.pose_source == str(folder / "oxts")
    drive = open_drive(folder)
    assert drive.info.pose_source == str(folder / "oxts")
    assert [(gap.frame_name, gap.sensor) for gap in drive.info.gaps] == [
        ("0000000002", "pose"),
        ("0000000004", "pose"),
    ]
    poses = [reading.frame.world_SE3_ego for reading in drive.readings() if reading.frame]
    assert [pose is None for pose in poses] == [False, False, True, False, True, False]
    for number, pose in enumerate(poses):
        if pose is not None:
            np.testing.assert_allclose(pose.translation, [2.0 * number, 0, 0], atol=1e-4)


def test_oxts_of_a_tracking_sequence_gives_poses_by_row(tmp_path: Path) -> None:
    folder = make_tracking_sequence(tmp_path)
    training = tmp_path / "training"
    with (training / "calib" / "0003.txt").open("a") as file:
        file.write("Tr_imu_velo 1 0 0 -0.81 0 1 0 0.32 0 0 1 -0.8\n")
    (training / "oxts").mkdir()
    (training / "oxts" / "0003.txt").write_text("\n".join(oxts_packet(3.0 * number) for number in range(4)))
    readings = list(open_drive(folder).readings())
    for number, reading in enumerate(readings[:4]):
        assert reading.frame is not None
        assert isinstance(reading.frame.world_SE3_ego, SE3)
        np.testing.assert_allclose(reading.frame.world_SE3_ego.translation, [3.0 * number, 0, 0], atol=1e-4)
    assert [gap.sensor for gap in readings[4].gaps] == ["pose"]


def test_the_odometry_benchmarks_own_pose_folder_is_found(tmp_path: Path) -> None:
    folder = make_odometry_sequence(tmp_path)
    assert open_drive(folder).info.pose_source is None
    (tmp_path / "poses").mkdir()
    rows = [f"1 0 0 0 0 1 0 0 0 0 1 {1.5 * number}" for number in range(4)]
    (tmp_path / "poses" / "04.txt").write_text("\n".join(rows) + "\n")
    drive = open_drive(folder)
    assert drive.info.pose_source == str(tmp_path / "poses" / "04.txt")
    frames = [reading.frame for reading in drive.readings()]
    assert frames[3] is not None
    assert frames[3].world_SE3_ego is not None
    np.testing.assert_allclose(frames[3].world_SE3_ego.translation, [4.5, 0, 0], atol=1e-12)
    assert frames[4] is not None
    assert frames[4].world_SE3_ego is None
    assert [(gap.frame_name, gap.sensor) for gap in drive.info.gaps] == [("000004", "pose")]


def test_a_real_drive_survives_the_same(real_data: Path, tmp_path: Path) -> None:
    day = real_data / "kitti_raw" / "2011_09_26"
    for file in day.glob("calib_*.txt"):
        shutil.copy(file, tmp_path)
    source = next(day.glob("*_sync"))
    folder = tmp_path / source.name
    for sensor in ("image_02", "velodyne_points"):
        (folder / sensor / "data").mkdir(parents=True)
        shutil.copy(source / sensor / "timestamps.txt", folder / sensor)
        for file in sorted((source / sensor / "data").iterdir())[:6]:
            shutil.copy(file, folder / sensor / "data")
    (folder / "image_02" / "data" / "0000000002.jpg").unlink()
    (folder / "velodyne_points" / "data" / "0000000004.bin").unlink()
    cut = folder / "image_02" / "data" / "0000000003.jpg"
    cut.write_bytes(cut.read_bytes()[:-1000])
    found, whole = list(open_drive(folder).readings()), open_drive(source).readings(count=6)
    assert [reading.frame is None for reading in found] == [False, False, True, True, False, False]
    for got, expected in zip(found, whole, strict=True):
        assert (got.index, got.name) == (expected.index, expected.name)
        if got.frame is None:
            continue
        assert expected.frame is not None
        assert got.frame.timestamp_ns == expected.frame.timestamp_ns
        np.testing.assert_array_equal(got.frame.image_rgb, expected.frame.image_rgb)
        if got.frame.points_ego is not None:
            assert expected.frame.points_ego is not None
            np.testing.assert_array_equal(got.frame.points_ego, expected.frame.points_ego)
    assert found[4].frame is not None
    assert found[4].frame.points_ego is None
