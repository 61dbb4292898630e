from __future__ import annotations

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from drive_makers import benchmark_calibration, make_image_folder, make_raw_drive

from perception.datasets.calibration import fitted_calibration, read_calibration
from perception.datasets.factory import open_drive
from perception.errors import CalibrationError

VALUES = {
    "fx_px": 900.0,
    "fy_px": 910.0,
    "cx_px": 639.5,
    "cy_px": 359.5,
    "width_px": 1280,
    "height_px": 720,
    "distortion": [-0.3, 0.1, 0.001, 0.002, 0.01],
}


def toml(values: dict[str, object]) -> str:
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def write_opencv(path: Path, matrix: np.ndarray, distortion: np.ndarray | None, size: tuple[int, int] | None) -> None:
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    if size is not None:
        storage.write("image_width", size[0])
        storage.write("image_height", size[1])
    storage.write("camera_matrix", matrix)
    if distortion is not None:
        storage.write("distortion_coefficients", distortion)
    storage.release()


def test_all_formats_give_the_same_camera(tmp_path: Path) -> None:
    matrix = np.array([[900.0, 0, 639.5], [0, 910.0, 359.5], [0, 0, 1]])
    (tmp_path / "a.toml").write_text(toml(VALUES))
    (tmp_path / "a.json").write_text(json.dumps(VALUES))
    write_opencv(tmp_path / "a.yml", matrix, np.array([VALUES["distortion"]]), (1280, 720))
    write_opencv(tmp_path / "b.yml", matrix, np.array([VALUES["distortion"]]).T, (1280, 720))
    write_opencv(tmp_path / "a.xml", matrix, np.array([VALUES["distortion"]]), (1280, 720))
    for name in ("a.toml", "a.json", "a.yml", "b.yml", "a.xml"):
        camera = read_calibration(tmp_path / name)
        np.testing.assert_allclose(camera.matrix, matrix, err_msg=name)
        np.testing.assert_allclose(camera.distortion, VALUES["distortion"], err_msg=name)
        assert (camera.width_px, camera.height_px) == (1280, 720)
        np.testing.assert_allclose(camera.ego_SE3_cam.translation, [0, 0, 1.5])


@pytest.mark.parametrize(
    ("mounting", "pixel_of_far_ahead"),
    [
        ({}, "centre"),
        ({"pitch_deg": 5.0}, "above"),  # a camera that looks down sees the horizon above its centre
        ({"yaw_deg": 5.0}, "right"),  # one that looks left sees what is ahead on its right
    ],
)
def test_mounting_angles_turn_as_documented(
    tmp_path: Path, mounting: dict[str, float], pixel_of_far_ahead: str
) -> None:
    (tmp_path / "a.toml").write_text(toml({**VALUES, "distortion": [], "height_m": 2.0, **mounting}))
    camera = read_calibration(tmp_path / "a.toml")
    u, v = camera.project_ego(np.array([[1e6, 0, 2.0]]))[0] - [camera.cx_px, camera.cy_px]
    aside = {"centre": (0, 0), "above": (0, -910), "right": (900, 0)}[pixel_of_far_ahead]
    np.testing.assert_allclose([u, v], np.array(aside) * np.tan(np.radians(5)), atol=1e-2)


def test_roll_leans_right(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(toml({**VALUES, "distortion": [], "roll_deg": 10.0}))
    camera = read_calibration(tmp_path / "a.toml")
    left, right = camera.project_ego(np.array([[100, 50, 1.5], [100, -50, 1.5]]))
    # leaning right, the camera sees the horizon's right end rise in its image
    assert right[1] < camera.cy_px < left[1]


def test_kitti_texts_take_the_size_of_the_pictures(tmp_path: Path) -> None:
    (tmp_path / "calib.txt").write_text(benchmark_calibration())
    camera = read_calibration(tmp_path / "calib.txt", 64, 48)
    assert (camera.fx_px, camera.width_px, camera.name) == (50, 64, "image_02")
    np.testing.assert_allclose(camera.ego_SE3_cam.translation, [0.27, 0.06, 1.65])
    with pytest.raises(CalibrationError, match="gives no image size"):
        read_calibration(tmp_path / "calib.txt")
    make_raw_drive(tmp_path / "day", frames=1)
    raw = read_calibration(tmp_path / "day" / "calib_cam_to_cam.txt")
    assert (raw.width_px, raw.height_px) == (64, 48)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fx_px": None}, "lacks fx_px"),
        ({"fx_px": "wide"}, "fx_px must be a finite number but is 'wide'"),
        ({"fx_px": True}, "fx_px must be a finite number but is True"),
        ({"fx_px": float("nan")}, "fx_px must be a finite number"),
        ({"fx_px": -5.0}, "focal lengths must be positive"),
        ({"width_px": 12.5}, "width_px must be a positive whole number of pixels but is 12.5"),
        ({"width_px": 0}, "width_px must be a positive whole number"),
        ({"distortion": [1.0, 2.0]}, r"distortion must hold 0, 4, 5 or 8 coefficients but got shape \(2,\)"),
        ({"distortion": [[1.0, 2.0, 3.0, 4.0]]}, "distortion must hold 0, 4, 5 or 8"),
        ({"distortion": "none"}, "distortion must be a list of numbers but is 'none'"),
        ({"fy": 3.0}, "unknown key fy; did you mean fy_px"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    file = tmp_path / "a.json"
    values = {key: value for key, value in {**VALUES, **change}.items() if value is not None}
    file.write_text(json.dumps(values))
    with pytest.raises(CalibrationError, match=message) as error:
        read_calibration(file)
    assert str(file) in str(error.value)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.toml", "fx_px = ", "cannot be read as TOML"),
        ("a.json", "{", "cannot be read as JSON"),
        ("a.json", "[1]", "expected a JSON object but found list"),
        ("a.yml", "camera: [", "camera_matrix must be (3, 3) but is missing; expected TOML or JSON"),
        ("a.yml", "camera_matrix: 5", "camera_matrix must be a matrix with rows, cols and data"),
        ("a.yml", "camera_matrix:\n  rows: 3\n  cols: 3\n  data: [1, 2]", "must have 3x3 values but has 2"),
        ("a.yml", "camera_matrix:\n  rows: 3\n  cols: x\n  data: [1, 2]", "could not convert string to float: 'x'"),
        ("a.xml", "<opencv_storage>", "cannot be read as OpenCV FileStorage"),
        ("a.txt", "hello: world\n", "expected a projection P0 ... P3, P_rect_00 ... or K_00 ... but found hello"),
        ("a.ini", "", "unknown kind of calibration file '.ini'"),
    ],
)
def test_unreadable_files_are_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(CalibrationError, match=re.escape(message)):
        read_calibration(tmp_path / name, 64, 48)


def test_ros_camera_info_is_understood(tmp_path: Path) -> None:
    (tmp_path / "ost.yaml").write_text(
        "image_width: 640\nimage_height: 480\ncamera_name: narrow_stereo\ncamera_matrix:\n  rows: 3\n  cols: 3\n"
        "  data: [430.2, 0, 306.6, 0, 430.5, 227.2, 0, 0, 1]\ndistortion_model: plumb_bob\n"
        "distortion_coefficients:\n  rows: 1\n  cols: 5\n  data: [-0.33, 0.11, -0.0008, 0.0005, 0.0]\n"
    )
    camera = read_calibration(tmp_path / "ost.yaml")
    assert (camera.fx_px, camera.cy_px, camera.width_px) == (430.2, 227.2, 640)
    np.testing.assert_allclose(camera.distortion, [-0.33, 0.11, -0.0008, 0.0005, 0.0])


def test_opencv_files_of_the_wrong_shape_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    write_opencv(file, np.eye(4), None, (64, 48))
    with pytest.raises(CalibrationError, match=r"camera_matrix must be \(3, 3\) but is of shape \(4, 4\)"):
        read_calibration(file)
    write_opencv(file, np.eye(3), None, None)
    with pytest.raises(CalibrationError, match="lacks image_width or image_height"):
        read_calibration(file)
    skewed = np.eye(3)
    skewed[0, 1] = 0.5
    write_opencv(file, skewed, None, (64, 48))
    with pytest.raises(CalibrationError, match="camera_matrix must be"):
        read_calibration(file)
    write_opencv(file, np.eye(3), np.zeros((1, 7)), (64, 48))
    with pytest.raises(CalibrationError, match="distortion must hold 0, 4, 5 or 8"):
        read_calibration(file)


def test_a_scaled_calibration_sees_the_same_rays(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text(toml(VALUES))
    whole = read_calibration(file)
    half, notes = fitted_calibration(file, 640, 360)
    assert "scaled from 1280x720 to 640x360" in notes[0]
    points = np.array([[1.0, 0.5, 5], [-2, 1, 9], [0.3, -0.6, 4]])
    # pixel centres are whole numbers: shrinking by two puts u at (u + 0.5) / 2 - 0.5
    np.testing.assert_allclose(half.project(points), (whole.project(points) + 0.5) / 2 - 0.5)
    assert fitted_calibration(file, 1280, 720)[1] == ()
    with pytest.raises(CalibrationError, match="is for images of 1280x720 but the drive's are 640x480"):
        fitted_calibration(file, 640, 480)


def test_a_given_calibration_replaces_the_drives_own(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(toml({**VALUES, "width_px": 64, "height_px": 48, "cx_px": 32, "cy_px": 24}))
    for path in (make_raw_drive(tmp_path / "day"), make_image_folder(tmp_path / "walk")):
        info = open_drive(path, file).info
        assert info.camera is not None
        assert info.camera.fx_px == 900
        assert info.calibration_source == str(file)
    (tmp_path / "day" / "calib_cam_to_cam.txt").unlink()
    info = open_drive(tmp_path / "day", file).info
    assert info.camera is not None
    assert info.sensors == ("camera image_02", "lidar velodyne_points")
    assert any("calib_cam_to_cam.txt: calibration file is missing" in note for note in info.notes)
    with pytest.raises(CalibrationError, match=r"absent\.toml: expected a calibration file but there is none"):
        open_drive(tmp_path / "walk", tmp_path / "absent.toml")
