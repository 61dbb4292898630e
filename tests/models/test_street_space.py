"""What the network says of space is decoded as it was learnt, and scaled by the camera's focal length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from perception.classes import OBJECT_CLASSES
from perception.config import load_config
from perception.datasets.factory import open_drive
from perception.detection.network import NetworkDetector, decode_solid
from perception.lifting.network_depth import NetworkDepth
from perception.models.street_layout import DEPTH_FOCAL_PX
from perception.models.street_network import StreetNetwork
from perception.training.losses import _solid_targets, cell_grid
from perception.types import Frame


@pytest.fixture(scope="module")
def network() -> StreetNetwork:
    return StreetNetwork(load_config().network, "cpu")


@pytest.fixture(scope="module")
def frame(real_data: Path) -> Frame:
    reading = next(iter(open_drive(real_data / "kitti_object" / "training").readings(start=5, count=1)))
    assert reading.frame is not None and reading.frame.camera is not None
    return reading.frame


def test_decoding_takes_back_what_training_encodes() -> None:
    centres, strides = cell_grid(64, 96)
    cells = np.array([3, 100, 125])
    solid = np.array(
        [[1.5, 1.7, 4.0, -1.2, 18.0, 55, 30], [1.8, 0.6, 0.8, 2.9, 7.0, 10, 60], [3, 2.5, 11, 0.1, 60, 90, 5]],
        np.float32,
    )
    cues = _solid_targets(torch.from_numpy(solid), centres[cells], strides[cells]).numpy().T
    found = decode_solid(cues, cells, (64, 96), focal_px=2 * DEPTH_FOCAL_PX)
    solid[:, 4] *= 2  # what looks as large through twice the focal length is twice as far away
    np.testing.assert_allclose(found, solid, rtol=1e-4, atol=1e-4)


def test_detections_carry_unit_embeddings_and_plausible_cars(network: StreetNetwork, frame: Frame) -> None:
    found = NetworkDetector(network, load_config().detection).detect(frame)
    assert found.embeddings is not None and found.solid is not None
    np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1.0, atol=1e-4)
    cars = found.solid[found.class_ids == OBJECT_CLASSES.index("car")]
    heights_px = (found.boxes_xyxy[:, 3] - found.boxes_xyxy[:, 1])[found.class_ids == OBJECT_CLASSES.index("car")]
    assert len(cars) >= 3
    assert (np.abs(cars[:, 0] - 1.5) < 0.5).all() and (np.abs(cars[:, 2] - 4.0) < 1.5).all()
    assert frame.camera is not None
    # height over distance is what the box shows
    shown = frame.camera.fy_px * cars[:, 0] / cars[:, 4]
    assert np.median(np.abs(shown / heights_px - 1)) < 0.25


def test_without_calibration_nothing_is_said_of_metres(network: StreetNetwork, frame: Frame) -> None:
    bare = replace(frame, camera=None, points_ego=None)
    assert NetworkDetector(network, load_config().detection).detect(bare).solid is None
    assert NetworkDepth(network).estimate(bare) is None


def test_depth_agrees_with_the_lidar_and_scales_with_the_focal_length(network: StreetNetwork, frame: Frame) -> None:
    camera, points = frame.camera, frame.points_ego
    assert camera is not None and points is not None
    depth = NetworkDepth(network).estimate(frame)
    assert depth is not None and not depth.is_measured and depth.depth_m.shape == frame.image_rgb.shape[:2]
    points_cam = camera.cam_SE3_ego.apply(points[:, :3])
    pixels = camera.project(points_cam)
    inside = ((pixels >= 0) & (pixels < [camera.width_px, camera.height_px])).all(axis=1) & (points_cam[:, 2] < 40)
    u, v = pixels[inside].astype(int).T
    assert np.median(np.abs(depth.depth_m[v, u] / points_cam[inside, 2] - 1)) < 0.15
    longer = NetworkDepth(network).estimate(replace(frame, camera=replace(camera, fy_px=2 * camera.fy_px)))
    assert longer is not None
    np.testing.assert_allclose(longer.depth_m, 2 * depth.depth_m, rtol=1e-4)
