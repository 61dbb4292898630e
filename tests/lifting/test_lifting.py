from __future__ import annotations

import numpy as np
import pytest

from perception.classes import OBJECT_CLASSES
from perception.config import load_config
from perception.geometry import guess_camera
from perception.lifting.factory import make_depth, make_lifter
from perception.types import Detections, Frame, InstanceMap

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
    assert make_depth(load_config().lifting, None, has_lidar=False).estimate(Frame(0, "0", 0, IMAGE, CAMERA, points_ego=points)) is None


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
