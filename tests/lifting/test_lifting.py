from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perception.classes import OBJECT_CLASSES
from perception.config import load_config
from perception.geometry import guess_camera
from perception.lifting.factory import make_depth, make_lifter
from perception.types import DepthMap, Detections, Frame, InstanceMap

CAMERA = guess_camera(640, 360)
IMAGE = np.zeros((360, 640, 3), np.uint8)
CAR, SIGN = OBJECT_CLASSES.index("car"), OBJECT_CLASSES.index("traffic_sign")


def detections(boxes: list[list[float]], class_ids: list[int]) -> Detections:
    return Detections(np.array(boxes, np.float32), np.full(len(boxes), 0.8, np.float32), np.array(class_ids))


def test_without_depth_a_box_stands_on_the_road() -> None:
    foot = CAMERA.project_ego(np.array([[15.0, 2.0, 0.0]]))[0]
    found = detections([[foot[0] - 30, foot[1] - 40, foot[0] + 30, foot[1]]], [CAR])
    lifted = make_lifter(load_config().lifting).lift(
        Frame(0, "0", 0, IMAGE, CAMERA), found, InstanceMap.empty(360, 640), None
    )
    assert lifted.centers_ego[0, 0] - lifted.sizes_lwh[0, 0] / 2 == pytest.approx(15.0, abs=0.05)
    assert lifted.centers_ego[0, 1] == pytest.approx(2.0, abs=0.05)
    assert lifted.centers_ego[0, 2] == pytest.approx(lifted.sizes_lwh[0, 2] / 2)
    assert 0 < lifted.scores[0] < found.scores[0]


def as_seen(centre_ego: list[float], heading_rad: float) -> list[float]:
    """What a perfect network says of a car 4.2 m long."""
    centre_cam = CAMERA.cam_SE3_ego.apply(np.array([centre_ego]))[0]
    ahead_cam = CAMERA.cam_SE3_ego.rotation @ np.array([np.cos(heading_rad), np.sin(heading_rad), 0.0])
    alpha = np.arctan2(-ahead_cam[2], ahead_cam[0]) - np.arctan2(centre_cam[0], centre_cam[2])
    return [1.5, 1.7, 4.2, alpha, centre_cam[2], *CAMERA.project(centre_cam[None])[0]]


@pytest.mark.parametrize("heading_rad", [0.0, 3.0, -1.2])
def test_what_the_network_sees_in_space_gives_size_heading_and_place(heading_rad: float) -> None:
    box = [300, 100, 340, 120]  # above the horizon: the road says nothing
    found = detections([box], [CAR])
    found = replace(found, solid=np.array([as_seen([20.0, 3.0, 0.75], heading_rad)], np.float32))
    lifted = make_lifter(load_config().lifting).lift(
        Frame(0, "0", 0, IMAGE, CAMERA), found, InstanceMap.empty(360, 640), None
    )
    np.testing.assert_allclose(lifted.centers_ego[0], [20.0, 3.0, 0.75], atol=1e-3)
    np.testing.assert_allclose(lifted.sizes_lwh[0], [4.2, 1.7, 1.5], atol=1e-3)
    assert lifted.yaws[0] == pytest.approx(heading_rad, abs=1e-3)


def test_guesses_are_averaged_and_measurements_are_not() -> None:
    foot = CAMERA.project_ego(np.array([[15.0, 0.0, 0.0]]))[0]
    x1, y1, x2, y2 = (round(float(v)) for v in (foot[0] - 30, foot[1] - 40, foot[0] + 30, foot[1]))
    found = detections([[x1, y1, x2, y2]], [CAR])
    found = replace(found, solid=np.array([as_seen([23.0, 0.0, 0.75], 0.0)], np.float32))
    rows = np.full((360, 640), -1, np.int32)
    rows[y1:y2, x1:x2] = 0
    metres = np.full((360, 640), np.nan, np.float32)
    metres[rows == 0] = 10.0
    lifter, frame = make_lifter(load_config().lifting), Frame(0, "0", 0, IMAGE, CAMERA)
    measured = lifter.lift(frame, found, InstanceMap(rows), DepthMap(metres))
    guessed = lifter.lift(frame, found, InstanceMap(rows), DepthMap(metres, is_measured=False))
    nothing = lifter.lift(frame, found, InstanceMap(rows), None)
    assert measured.centers_ego[0, 0] == pytest.approx(10 + 2.1, abs=0.4)
    on_road = 15.0 + 2.1
    assert nothing.centers_ego[0, 0] == pytest.approx((on_road + 23.0) / 2, abs=0.2)
    expected = (on_road + 23.0 + measured.centers_ego[0, 0]) / 3
    assert guessed.centers_ego[0, 0] == pytest.approx(expected, abs=0.2)
    assert guessed.scores[0] < measured.scores[0]


def test_what_cannot_be_placed_has_score_zero() -> None:
    above_horizon, cut_off = [300, 50, 340, 100], [200, 250, 400, 360]
    found = detections([above_horizon, cut_off, [300, 100, 320, 200]], [CAR, CAR, SIGN])
    lifted = make_lifter(load_config().lifting).lift(
        Frame(0, "0", 0, IMAGE, CAMERA), found, InstanceMap.empty(360, 640), None
    )
    assert lifted.scores.tolist() == [0, 0, 0] and not lifted.centers_ego.any()
    assert len(make_lifter(load_config().lifting).lift(
        Frame(0, "0", 0, IMAGE), Detections.empty(), InstanceMap.empty(360, 640), None)) == 0  # fmt: skip


def test_lidar_depth_is_none_without_a_scan() -> None:
    depth = make_depth(load_config().lifting, None, has_lidar=True)
    assert depth.estimate(Frame(0, "0", 0, IMAGE, CAMERA)) is None
    points = np.array([[10.0, 0, 1.5, 0.3]], np.float32)
    seen = depth.estimate(Frame(0, "0", 0, IMAGE, CAMERA, points_ego=points))
    assert seen is not None
    rows, columns = np.nonzero(np.isfinite(seen.depth_m))
    assert rows.tolist() == [180] and columns.tolist() == [320]
    assert seen.depth_m[180, 320] == pytest.approx(10.0)
    assert (
        make_depth(load_config().lifting, None, has_lidar=False).estimate(
            Frame(0, "0", 0, IMAGE, CAMERA, points_ego=points)
        )
        is None
    )


def test_real_cars_are_placed_by_lidar(real_data) -> None:  # type: ignore[no-untyped-def]
    """Labelled cars of KITTI object frames: half of them within 0.6 m, from their 2D boxes alone."""
    from perception.datasets.factory import open_drive
    from perception.datasets.kitti_boxes import boxes3d_from_kitti

    lifter, depth = make_lifter(load_config().lifting), make_depth(load_config().lifting, None, has_lidar=True)
    errors_m = []
    for reading in open_drive(str(real_data / "kitti_object/training")).readings(count=30):
        frame = reading.frame
        assert frame is not None and frame.camera is not None
        lines = (real_data / f"kitti_object/training/label_2/{reading.name}.txt").read_text().splitlines()
        rows = [line.split() for line in lines]
        cars = np.array([row[4:15] for row in rows if row[0] == "Car" and float(row[1]) < 0.3 and row[2] == "0"], float)
        if not len(cars):
            continue
        true = boxes3d_from_kitti(cars[:, 7:10], cars[:, 4:7], cars[:, 10], frame.camera)
        found = detections(cars[:, :4].tolist(), [CAR] * len(cars))
        instances = np.full(frame.image_rgb.shape[:2], -1, np.int32)
        for row in np.argsort(-np.linalg.norm(true.centers_ego, axis=1)):
            x1, y1, x2, y2 = np.maximum(cars[row, :4], 0).astype(int)
            instances[y1:y2, x1:x2] = row
        lifted = lifter.lift(frame, found, InstanceMap(instances), depth.estimate(frame))
        near = (lifted.scores > 0) & (true.centers_ego[:, 0] < 40)
        errors_m += np.linalg.norm(lifted.centers_ego - true.centers_ego, axis=1)[near].tolist()
    assert len(errors_m) > 20
    assert np.median(errors_m) < 0.6
