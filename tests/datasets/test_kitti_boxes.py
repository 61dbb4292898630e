from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.datasets.kitti_boxes import (
    UNKNOWN_ANGLE,
    UNKNOWN_LOCATION,
    UNKNOWN_SIZE,
    boxes3d_from_kitti,
    kitti_from_boxes3d,
)
from perception.datasets.kitti_calibration import load_benchmark_calibration
from perception.datasets.kitti_velodyne import read_velodyne
from perception.geometry import EGO_R_CAM, SE3, PinholeCamera, box_corners, wrap_angle
from perception.types import Boxes3D


def labelled(folder: Path, name: str) -> tuple[list[str], npt.NDArray[np.float64], PinholeCamera]:
    """Types, the 14 numbers of every row that has a place in 3D, and the camera."""
    rows = [line.split() for line in (folder / "label_2" / f"{name}.txt").read_text().splitlines()]
    rows = [row for row in rows if row[0] != "DontCare"]
    height, width = cv2.imread(str(folder / "image_2" / f"{name}.jpg")).shape[:2]
    calibration = load_benchmark_calibration(folder / "calib" / f"{name}.txt", 2)
    numbers = np.array([[float(word) for word in row[1:15]] for row in rows]).reshape(-1, 14)
    return [row[0] for row in rows], numbers, calibration.camera("image_2", width, height)


@pytest.fixture
def training(real_data: Path) -> Path:
    return real_data / "kitti_object" / "training"


def frames_of(training: Path) -> list[str]:
    return sorted(file.stem for file in (training / "label_2").iterdir())


def test_real_labels_survive_the_round_trip(training: Path) -> None:
    for name in frames_of(training):
        _, rows, camera = labelled(training, name)
        boxes = boxes3d_from_kitti(rows[:, 10:13], rows[:, 7:10], rows[:, 13], camera)
        kitti = kitti_from_boxes3d(boxes, camera)
        np.testing.assert_allclose(kitti.locations_ref, rows[:, 10:13], atol=1e-5)
        np.testing.assert_allclose(kitti.sizes_hwl, rows[:, 7:10], atol=1e-6)
        np.testing.assert_allclose(wrap_angle(kitti.rotations_y - rows[:, 13]), 0, atol=1e-6)
        # the labels' own alpha is rounded, and taken from unrounded places
        np.testing.assert_allclose(wrap_angle(kitti.alphas - rows[:, 2]), 0, atol=0.07)
        assert kitti.known.all()


def test_real_3d_labels_project_onto_their_2d_boxes(training: Path) -> None:
    overlaps = []
    for name in frames_of(training):
        types, rows, camera = labelled(training, name)
        boxes = boxes3d_from_kitti(rows[:, 10:13], rows[:, 7:10], rows[:, 13], camera)
        corners_of = box_corners(boxes.centers_ego, boxes.sizes_lwh, boxes.yaws)
        for kind, row, corners in zip(types, rows, corners_of, strict=True):
            if kind == "Pedestrian":
                continue  # the 2D box is tight around the body, the 3D one around its swinging limbs
            pixels = camera.project_ego(corners)
            if row[0] > 0 or not np.isfinite(pixels).all():
                continue  # truncated by the image's edge
            limit = [camera.width_px - 1, camera.height_px - 1] * 2
            found = np.clip([*pixels.min(axis=0), *pixels.max(axis=0)], 0, limit)
            wide, high = np.minimum(found[2:], row[5:7]) - np.maximum(found[:2], row[3:5])
            shared = max(wide, 0) * max(high, 0)
            both = np.prod(found[2:] - found[:2]) + np.prod(row[5:7] - row[3:5])
            overlaps.append(shared / (both - shared))
    assert len(overlaps) > 100
    assert np.median(overlaps) > 0.98
    assert np.min(overlaps) > 0.85


def test_real_cars_hold_lidar_points(training: Path) -> None:
    counts = []
    for name in frames_of(training):
        types, rows, camera = labelled(training, name)
        points, reason = read_velodyne(training / "velodyne" / f"{name}.bin")
        assert reason is None
        boxes = boxes3d_from_kitti(rows[:, 10:13], rows[:, 7:10], rows[:, 13], camera)
        for i, kind in enumerate(types):
            if kind == "Car" and rows[i, 1] == 0 and rows[i, 12] < 40:
                local = SE3.from_yaw(float(boxes.yaws[i]), boxes.centers_ego[i]).inverse().apply(points[:, :3])
                counts.append(int((np.abs(local) <= boxes.sizes_lwh[i] / 2).all(axis=1).sum()))
    assert len(counts) > 30
    assert min(counts) >= 10


def test_real_road_is_at_ego_height_zero(training: Path) -> None:
    heights = []
    for name in frames_of(training):
        points, _ = read_velodyne(training / "velodyne" / f"{name}.bin")
        near = points[(points[:, 0] < 12) & (np.abs(points[:, 1]) < 1.5) & (points[:, 2] < 0.6)]
        heights.append(np.median(near[:, 2]))
    assert abs(np.median(heights)) < 0.1


@given(
    st.integers(0, 2**32 - 1),
    st.floats(-0.1, 0.1),
    st.floats(-0.1, 0.1),
)
@settings(max_examples=50, deadline=None)
def test_conversions_are_inverse_under_any_mounting(seed: int, pitch: float, roll: float) -> None:
    tilt, _ = cv2.Rodrigues(np.array([roll, pitch, 0.05]))
    reference = SE3(tilt @ EGO_R_CAM, np.array([0.3, 0.1, 1.6]))
    aside = reference @ SE3(np.eye(3), np.array([0.06, 0.0, 0.0]))
    camera = PinholeCamera(700, 700, 600, 180, 1242, 375, np.zeros(0), aside, ego_SE3_ref=reference)
    rng = np.random.default_rng(seed)
    boxes = Boxes3D(
        rng.uniform([2, -30, 0], [80, 30, 2], (8, 3)).astype(np.float32),
        rng.uniform(0.3, 6, (8, 3)).astype(np.float32),
        rng.uniform(-np.pi, np.pi, 8).astype(np.float32),
        np.ones(8, np.float32),
    )
    kitti = kitti_from_boxes3d(boxes, camera)
    back = boxes3d_from_kitti(kitti.locations_ref, kitti.sizes_hwl, kitti.rotations_y, camera, boxes.scores)
    np.testing.assert_allclose(back.centers_ego, boxes.centers_ego, atol=2e-5)
    np.testing.assert_array_equal(back.sizes_lwh, boxes.sizes_lwh)
    np.testing.assert_allclose(wrap_angle(back.yaws - boxes.yaws), 0, atol=1e-6)


def test_signs_of_a_level_camera() -> None:
    camera = PinholeCamera(700, 700, 600, 180, 1242, 375, np.zeros(0), SE3(EGO_R_CAM, np.array([0.0, 0.0, 1.5])))
    ahead_facing_away = Boxes3D([[10, 2, 1]], [[4, 2, 1.6]], [0], [1])
    kitti = kitti_from_boxes3d(ahead_facing_away, camera)
    np.testing.assert_allclose(kitti.locations_ref, [[-2, 1.5 - 1 + 0.8, 10]], atol=1e-6)
    np.testing.assert_allclose(kitti.sizes_hwl, [[1.6, 2, 4]], atol=1e-6)
    np.testing.assert_allclose(kitti.rotations_y, [-np.pi / 2], atol=1e-6)
    np.testing.assert_allclose(kitti.alphas, [-np.pi / 2 - np.arctan2(-2, 10)], atol=1e-6)


def test_unknown_rows_are_written_and_read_as_the_devkit_has_them(training: Path) -> None:
    camera = labelled(training, "000010")[2]
    kitti = kitti_from_boxes3d(Boxes3D.empty(2), camera)
    assert (kitti.locations_ref == UNKNOWN_LOCATION).all()
    assert (kitti.sizes_hwl == UNKNOWN_SIZE).all()
    assert (kitti.rotations_y == UNKNOWN_ANGLE).all()
    assert (kitti.alphas == UNKNOWN_ANGLE).all()
    assert not kitti.known.any()
    back = boxes3d_from_kitti(kitti.locations_ref, kitti.sizes_hwl, kitti.rotations_y, camera)
    assert (back.scores == 0).all()
    assert not back.centers_ego.any()


def test_nothing_gives_nothing_and_ragged_rows_are_refused(training: Path) -> None:
    camera = labelled(training, "000010")[2]
    assert len(kitti_from_boxes3d(Boxes3D.empty(), camera)) == 0
    assert len(boxes3d_from_kitti([], [], [], camera)) == 0
    with pytest.raises(ValueError, match="as many rows but got 1, 1 and 2"):
        boxes3d_from_kitti([[0, 0, 5]], [[1, 1, 1]], [0, 0], camera)
