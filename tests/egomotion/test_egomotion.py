from __future__ import annotations

import cv2
import numpy as np
import pytest

from perception.config import EgoMotionConfig, load_config
from perception.datasets.factory import open_drive
from perception.egomotion.factory import EGOMOTION_SOURCES, make_egomotion
from perception.egomotion.lidar import LidarOdometry
from perception.egomotion.simple import GivenPoses
from perception.egomotion.visual import VisualOdometry
from perception.errors import ConfigError
from perception.geometry import EGO_R_CAM, SE3, PinholeCamera
from perception.roles import EgoMotion
from perception.types import Frame

IMAGE = np.zeros((48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def settings() -> EgoMotionConfig:
    return load_config().egomotion


def frame(index: int, **fields: object) -> Frame:
    fields = {"image_rgb": IMAGE, **fields}
    return Frame(index, f"{index:06d}", index * 100_000_000, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", EGOMOTION_SOURCES)
def test_every_source_starts_at_the_origin_and_forgets(name: str, settings: EgoMotionConfig) -> None:
    motion = EGOMOTION_SOURCES[name](settings)
    assert isinstance(motion, EgoMotion) and motion.source
    assert np.allclose(motion.estimate(frame(0)).matrix, np.eye(4))
    motion.estimate(frame(1))
    motion.reset()
    assert np.allclose(motion.estimate(frame(0)).matrix, np.eye(4))


def test_auto_takes_the_first_source_that_the_drive_feeds(settings: EgoMotionConfig) -> None:
    assert make_egomotion(settings, has_poses=True, has_lidar=True).source == "given"
    assert "lidar" in make_egomotion(settings, has_poses=False, has_lidar=True).source
    assert "camera" in make_egomotion(settings, has_poses=False, has_lidar=False).source
    assert "still" in make_egomotion(settings, has_poses=True, has_lidar=True, is_sequence=False).source
    with pytest.raises(ConfigError, match="no lidar"):
        make_egomotion(settings.model_copy(update={"source": "lidar"}), has_poses=True, has_lidar=False)
    with pytest.raises(ConfigError, match="no poses"):
        make_egomotion(settings.model_copy(update={"source": "given"}), has_poses=False, has_lidar=True)


def test_given_poses_are_relative_to_the_first_and_bridge_a_gap() -> None:
    motion = GivenPoses()
    start = SE3.from_yaw(0.5, (100, 50, 0))
    step = SE3.from_yaw(0.02, (1.0, 0, 0))
    true = [SE3.identity()]
    for _ in range(5):
        true.append(true[-1] @ step)
    for index, pose in enumerate(true):
        given = None if index == 3 else start @ pose
        estimate = motion.estimate(frame(index, world_SE3_ego=given))
        assert np.allclose(estimate.matrix, pose.matrix, atol=1e-9), index


def walls(rng: np.random.Generator, count: int) -> np.ndarray:
    third = count // 3
    road = np.column_stack([rng.uniform(-20, 90, third), rng.uniform(-7, 7, third), rng.normal(0, 0.01, third)])
    side = np.column_stack([rng.uniform(-20, 90, third), rng.choice([-8.0, 8.5], third), rng.uniform(0, 6, third)])
    posts = np.column_stack(
        [rng.choice(np.arange(-20.0, 90, 7), third), rng.choice([-6.0, 6.2], third), rng.uniform(0, 6, third)]
    )
    return np.concatenate([road, side, posts])


def scan(world_points: np.ndarray, world_SE3_ego: SE3, rng: np.random.Generator) -> np.ndarray:
    ego = world_SE3_ego.inverse().apply(world_points)
    ego = ego[(ego[:, 0] > 2) & (np.linalg.norm(ego, axis=1) < 60)]
    ego += rng.normal(0, 0.01, ego.shape)
    return np.column_stack([ego, np.zeros(len(ego))]).astype(np.float32)


def test_lidar_odometry_follows_a_curve(settings: EgoMotionConfig) -> None:
    rng = np.random.default_rng(0)
    motion = LidarOdometry(settings)
    pose = SE3.identity()
    for index in range(20):
        # a fresh sample of the same surfaces each time, as a scanner takes it
        estimate = motion.estimate(frame(index, points_ego=scan(walls(rng, 24000), pose, rng)))
        assert np.linalg.norm(estimate.translation - pose.translation) < 0.02 + 0.015 * index
        assert abs(estimate.yaw_rad - pose.yaw_rad) < 0.01
        pose = pose @ SE3.from_yaw(0.01, (0.8, 0, 0))


def test_lidar_odometry_bridges_missing_scans_and_survives_a_cut(settings: EgoMotionConfig) -> None:
    rng = np.random.default_rng(1)
    motion = LidarOdometry(settings)
    for index in range(12):
        pose = SE3.from_yaw(0.0, (0.7 * index, 0, 0))
        points = None if index in (7, 8) else scan(walls(rng, 24000), pose, rng)
        estimate = motion.estimate(frame(index, points_ego=points))
    assert estimate.translation[0] == pytest.approx(0.7 * 11, abs=0.3)
    elsewhere = rng.uniform([3, -30, 0, 0], [60, 30, 20, 1], (9000, 4)).astype(np.float32)
    after_cut = motion.estimate(frame(12, points_ego=elsewhere))
    assert np.isfinite(after_cut.matrix).all()
    assert np.linalg.norm(after_cut.translation - estimate.translation) < 1.5
    empty = motion.estimate(frame(13, points_ego=np.zeros((0, 4), np.float32)))
    assert np.isfinite(empty.matrix).all()


def road_picture(x_m: float, camera: PinholeCamera) -> np.ndarray:
    """A textured road and two textured walls, seen from ``x_m`` along the road."""
    rng = np.random.default_rng(5)
    texture = cv2.GaussianBlur(rng.integers(0, 255, (512, 512), dtype=np.uint8), (0, 0), 1.5)
    v, u = np.mgrid[0 : camera.height_px, 0 : camera.width_px]
    rays = camera.rays_cam(np.stack([u.ravel(), v.ravel()], axis=1)) @ camera.ego_SE3_cam.rotation.T
    origin = np.array([x_m, 0, camera.ego_SE3_cam.translation[2]])
    picture = np.full(len(rays), 200, np.uint8)
    with np.errstate(divide="ignore", invalid="ignore"):
        to_road = np.where(rays[:, 2] < 0, -origin[2] / rays[:, 2], np.inf)
        to_wall = np.where(np.abs(rays[:, 1]) > 1e-9, 5.0 / np.abs(rays[:, 1]), np.inf)
    distance = np.minimum(to_road, to_wall)
    hit = origin + rays * np.where(np.isfinite(distance), distance, 0)[:, None]
    on_wall = to_wall < to_road
    across = np.where(on_wall, hit[:, 2] + 3, hit[:, 1] + 20)
    near = distance < 60
    picture[near] = texture[(hit[near, 0] * 12).astype(int) % 512, (across[near] * 12).astype(int) % 512]
    return np.repeat(picture.reshape(camera.height_px, camera.width_px, 1), 3, axis=2)


def test_visual_odometry_has_the_scale_of_the_camera_height(settings: EgoMotionConfig) -> None:
    camera = PinholeCamera(400, 400, 320, 120, 640, 240, np.zeros(0), SE3(EGO_R_CAM, np.array([0.0, 0.0, 1.5])))
    motion = VisualOdometry(settings)
    for index in range(10):
        estimate = motion.estimate(frame(index, image_rgb=road_picture(0.5 * index, camera), camera=camera))
    assert estimate.translation[0] == pytest.approx(4.5, rel=0.12)
    assert abs(estimate.yaw_rad) < 0.02 and abs(estimate.translation[1]) < 0.2
    still = motion.estimate(frame(10, image_rgb=road_picture(4.5, camera), camera=camera))
    assert np.allclose(still.matrix, estimate.matrix)


def test_a_jam_does_not_pull_the_estimate_to_a_standstill(settings: EgoMotionConfig, real_data) -> None:  # type: ignore[no-untyped-def]
    """The recorded drive brakes from about 2.4 m/s to a stop among cars that do the same."""
    drive = open_drive(str(real_data / "kitti_raw/2011_09_26/2011_09_26_drive_0900_sync"))
    motion = LidarOdometry(settings)
    path = np.array([motion.estimate(reading.frame).translation for reading in drive.readings() if reading.frame])
    steps_m = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert 0.2 < np.median(steps_m[:10]) < 0.3
    assert steps_m[-10:].max() < 0.05
    assert 7.0 < steps_m.sum() < 9.0


def test_visual_odometry_on_a_motorway_is_near_the_given_path(settings: EgoMotionConfig, real_data) -> None:  # type: ignore[no-untyped-def]
    drive = open_drive(str(real_data / "kitti_odometry/sequences/01"))
    motion, given = VisualOdometry(settings), []
    estimated = []
    for reading in drive.readings():
        assert reading.frame is not None
        estimated.append(motion.estimate(reading.frame).translation)
        given.append(reading.frame.world_SE3_ego)
    true = np.array([pose.translation for pose in given if pose is not None])
    length_m = np.linalg.norm(np.diff(true, axis=0), axis=1).sum()
    assert np.linalg.norm(estimated[len(true) - 1] - true[-1]) < 0.12 * length_m
