"""Lenses: the truth must follow the bent picture, and what only dims or blurs light must leave the truth alone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.datasets.calibration import read_calibration
from perception.datasets.factory import open_drive
from perception.errors import ConfigError, OutputError
from perception.geometry import SE3
from sim_data import generate, load_rig, stream
from sim_data.glass import Glass
from sim_data.kernels.post import resample, smear
from sim_data.kernels.raster import SETUP_COLUMNS
from sim_data.optics import Optics
from sim_data.rigs import LensSpec, LidarSpec, PositioningSpec, Rig, Variation
from sim_data.simulation import SimFrame

LENS = np.array([-0.37, 0.20, 0.0022, 0.0014, -0.07])  # as strong as KITTI's before it is rectified
RIG_TOML = """
rate_hz = 10.0

[[cameras]]
name = "image_02"
width_px = 208
height_px = 128
fx_px = 120.0
distortion = [-0.30, 0.09, 0.001, -0.0005]
position_m = [1.2, 0.0, 1.4]
pitch_deg = 1.0

[[cameras]]
name = "image_05"
width_px = 208
height_px = 128
fx_px = 140.0
position_m = [-1.0, 0.3, 1.5]
yaw_deg = 150.0

[positioning]

[lens]
exposure_s = 0.01
dirt = 0.2
"""


@pytest.fixture(scope="module")
def bent_rig() -> Rig:
    camera = dataclasses.replace(load_rig("train").cameras[0], distortion=LENS, fx_px=290.0, fy_px=290.0)
    lidar = LidarSpec(1.73, tuple(np.linspace(2.0, -22.0, 20).tolist()), 0.6, 80.0, range_noise_m=0.0, drop_out=0.0)
    return Rig("bent", (camera,), lidar, PositioningSpec())


@pytest.fixture(scope="module")
def frames(bent_rig: Rig) -> list[SimFrame]:
    return list(stream("city", 1, 3, bent_rig, threads=1))


def test_the_pinhole_sees_all_that_the_lens_shows(bent_rig: Rig) -> None:
    camera = bent_rig.cameras[0]
    optics = Optics(camera, LensSpec(), 0.0, 1)
    assert optics.where is not None
    assert optics.pinhole.width_px > camera.width_px
    size = np.array([optics.pinhole.width_px, optics.pinhole.height_px])
    assert (optics.where >= 0).all() and (optics.where <= size - 1).all()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, [camera.width_px, camera.height_px], (200, 2))
    seen = optics.where[pixels[:, 1], pixels[:, 0]].astype(np.float64)
    # OpenCV's own lens model takes the pinhole's ray back to the pixel
    rays = np.column_stack([(seen - [optics.pinhole.cx_px, optics.pinhole.cy_px]) / camera.fx_px, np.ones(len(seen))])
    back, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), camera.matrix, LENS)
    np.testing.assert_allclose(back.reshape(-1, 2), pixels, atol=1e-3)


def _points_cam(frame: SimFrame, rig: Rig) -> np.ndarray:
    camera, depth = rig.cameras[0], frame.pictures["image_02"].depth_m.astype(np.float64)
    v, u = np.mgrid[: camera.height_px, : camera.width_px]
    rays = camera.rays_cam(np.column_stack([u.ravel(), v.ravel()])).reshape(*u.shape, 3)
    return rays * depth[..., None]


def test_depth_of_the_ground_lies_on_the_ground(frames: list[SimFrame], bent_rig: Rig) -> None:
    for frame in frames:
        world = (frame.world_SE3_ego @ bent_rig.cameras[0].ego_SE3_cam).apply(_points_cam(frame, bent_rig))
        picture = frame.pictures["image_02"]
        on_road = (picture.semantic == 0) & (picture.depth_m < 60)
        assert on_road.sum() > 2000
        assert np.abs(world[on_road][:, 2]).max() < 2e-3


def test_flow_of_still_things_follows_from_depth_and_poses(frames: list[SimFrame], bent_rig: Rig) -> None:
    camera = bent_rig.cameras[0]
    now, following = frames[:2]
    picture = now.pictures["image_02"]
    next_SE3_now = (following.world_SE3_ego @ camera.ego_SE3_cam).inverse() @ (now.world_SE3_ego @ camera.ego_SE3_cam)
    still = (picture.instance == 0) & np.isfinite(picture.depth_m)
    pixels, _ = cv2.projectPoints(
        next_SE3_now.apply(_points_cam(now, bent_rig)[still]), np.zeros(3), np.zeros(3), camera.matrix, LENS
    )
    v, u = np.nonzero(still)
    expected = pixels.reshape(-1, 2) - np.stack([u, v], axis=1)
    flow = picture.flow_px[still]
    valid = np.isfinite(flow).all(axis=1) & (np.abs(expected) < 50).all(axis=1)
    assert valid.mean() > 0.9
    wrong = np.linalg.norm(flow - expected, axis=1)[valid]
    assert wrong.max() < 5e-3


def test_boxes_fit_the_masks_within_a_pixel(frames: list[SimFrame]) -> None:
    whole = 0
    for frame in frames:
        truth = frame.truth["image_02"]
        for k, item in enumerate(truth.objects):
            if truth.pixels[k] == 0:
                continue
            ys, xs = np.nonzero(frame.pictures["image_02"].instance == item.instance)
            seen = np.array([xs.min(), ys.min(), xs.max(), ys.max()])
            full = truth.full_xyxy[k]
            # a pixel's class is that of the pinhole's nearest, at most half a pixel away
            assert (seen[:2] >= full[:2] - 0.75).all() and (seen[2:] <= full[2:] + 0.75).all()
            clear = truth.truncation[k] == 0 and truth.visible_share[k] > 0.999
            if clear and item.object_class in ("car", "van", "truck", "bus") and (full[2:] - full[:2]).min() > 8:
                np.testing.assert_allclose(seen, full, atol=1.5)
                whole += 1
    assert whole >= 1


def test_lidar_points_lie_on_the_bent_depth_image(frames: list[SimFrame], bent_rig: Rig) -> None:
    camera = bent_rig.cameras[0]
    errors = []
    for frame in frames:
        assert frame.points_ego is not None
        picture = frame.pictures["image_02"]
        points = camera.cam_SE3_ego.apply(frame.points_ego[:, :3].astype(np.float64))
        points = points[(points[:, 2] > 1) & (np.abs(points[:, 0]) < 0.8 * points[:, 2])]
        pixels, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.matrix, LENS)
        pixels = pixels.reshape(-1, 2)
        inside = (pixels >= 1).all(axis=1) & (pixels < [414, 126]).all(axis=1)
        pixels, depth = pixels[inside], points[inside, 2]
        u, v = np.floor(pixels).astype(int).T
        share_u, share_v = (pixels - np.floor(pixels)).T
        inverse = np.stack([1.0 / picture.depth_m[v + j, u + i].astype(np.float64) for j in (0, 1) for i in (0, 1)])
        classes = np.stack([picture.semantic[v + j, u + i] for j in (0, 1) for i in (0, 1)])
        instances = np.stack([picture.instance[v + j, u + i] for j in (0, 1) for i in (0, 1)])
        flat = np.abs(inverse[0] + inverse[3] - inverse[1] - inverse[2]) < 5e-4 * inverse.mean(axis=0)
        surface = np.isin(classes, [0, 1, 2, 9, 13, 19]).all(axis=0) & (instances == instances[0]).all(axis=0) & flat
        between = (inverse[0] * (1 - share_u) + inverse[1] * share_u) * (1 - share_v) + (
            inverse[2] * (1 - share_u) + inverse[3] * share_u
        ) * share_v
        behind = depth > 1 / between + 0.25
        errors.append(np.abs(depth - 1 / between)[surface & ~behind])
    every = np.concatenate(errors)
    assert len(every) > 1000
    assert np.percentile(every, 99) < 0.05


def test_resampling_tilted_planes_is_exact() -> None:
    height, width = 12, 16
    v, u = np.mgrid[:height, :width].astype(np.float64)
    # two planes side by side: the right one begins in column 9
    inverse = np.where(u < 9, 0.02 + 0.004 * v + 0.001 * u, 0.09 - 0.002 * v - 0.001 * u)
    light = np.stack([u, v, u + v], axis=2).astype(np.float32)
    planes = np.zeros((2, SETUP_COLUMNS))
    planes[0, 9:12] = 0.0005, 0.002, 0.02 - 0.0005 - 0.002  # over samples, which are twice as dense
    planes[1, 9:12] = -0.0005, -0.001, 0.09 + 0.0005 + 0.001
    ids = np.zeros((2 * height + 1, 2 * width + 1), np.int32)
    ids[:, 19:] = 1
    sources = np.array([[0, 0], [1, 1]], np.int32)
    motions = np.tile(np.eye(3, 4).ravel(), (3, 1))
    motions[0, 3], motions[1, 7] = 0.5, -0.4  # the left one moves to the right, the right one up
    where = np.stack([1.3 + 0.9 * u[:8, :14], 2.2 + 0.8 * v[:8, :14]], axis=2).astype(np.float32)
    out = (
        np.empty((8, 14, 3), np.float32), np.empty((8, 14), np.float32), np.empty((8, 14), np.uint8),
        np.empty((8, 14), np.int32), np.empty((8, 14, 2), np.float32),
    )  # fmt: skip
    seen = (
        light, (1.0 / inverse).astype(np.float32), np.ones((height, width), np.uint8),
        np.where(u < 9, 7, 8).astype(np.int32),
    )  # fmt: skip
    straight = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 1e9])
    cameras = np.array([10.0, 10.0, 5.0, 4.0, 5.0, 4.0])
    resample(where, seen, (ids, planes, sources, motions), straight, cameras, (0, 8), out)
    at_u, at_v = where[..., 0].astype(np.float64), where[..., 1].astype(np.float64)
    left = at_u < 8.5
    expected = np.where(left, 0.02 + 0.004 * at_v + 0.001 * at_u, 0.09 - 0.002 * at_v - 0.001 * at_u)
    np.testing.assert_allclose(out[0][..., 2], at_u + at_v, rtol=1e-5)
    np.testing.assert_allclose(out[1], 1.0 / expected, rtol=1e-6)
    assert (out[2] == 1).all() and (out[3] == np.where(left, 7, 8)).all()
    np.testing.assert_allclose(out[4][..., 0], at_u + np.where(left, 5.0 * expected, 0) - u[:8, :14], atol=1e-5)
    np.testing.assert_allclose(out[4][..., 1], at_v - np.where(left, 0, 4.0 * expected) - v[:8, :14], atol=1e-5)
    with pytest.raises(ValueError, match="parts must agree"):
        resample(where, (light[:5], *seen[1:]), (ids, planes, sources, motions), straight, cameras, (0, 8), out)
    with pytest.raises(ValueError, match="samples must be twice as many"):
        resample(where, seen, (ids[1:], planes, sources, motions), straight, cameras, (0, 8), out)


def test_motion_blur_is_the_mean_along_the_motion() -> None:
    light = np.zeros((5, 41, 3), np.float32)
    light[:, 20] = 1.0
    flow = np.zeros((5, 41, 2), np.float32)
    flow[..., 0] = 80.0
    depth = np.full((5, 41), 10.0, np.float32)
    out = np.empty_like(light)
    smear(light, depth, flow, 0.1, (0, 5), out)
    wide = np.flatnonzero(out[2, :, 0])
    # 8 px of motion spread the line over 8 px, and no light is lost
    assert 7 <= len(wide) <= 9 and abs(wide.mean() - 20) <= 0.5
    assert out[2, :, 0].sum() == pytest.approx(1.0, rel=0.15)
    smear(light, depth, np.full_like(flow, np.nan), 0.1, (0, 5), out)
    np.testing.assert_array_equal(out, light)
    # what is nearer and still does not smear over what moves behind it
    depth[:, 20], flow[:, 20] = 2.0, 0.0
    smear(light, depth, flow, 0.1, (0, 5), out)
    np.testing.assert_array_equal(out, light)
    with pytest.raises(ValueError, match="images must agree"):
        smear(light, depth[:2], flow, 0.1, (0, 5), out)


def test_blur_dirt_and_drops_leave_the_truth_alone_and_come_back_the_same() -> None:
    plain = Rig("plain", load_rig("train").cameras, None, None)
    dull = dataclasses.replace(plain, lens=LensSpec(exposure_s=0.02, dirt=0.6, drops=1.0))
    (clean,), (covered,), (again,) = (
        [frame for frame in stream("night_rain", 2, 3, rig) if frame.index == 2] for rig in (plain, dull, dull)
    )
    a, b = clean.pictures["image_02"], covered.pictures["image_02"]
    for name in ("depth_m", "semantic", "instance", "flow_px"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert (a.rgb != b.rgb).any(axis=2).mean() > 0.3
    np.testing.assert_array_equal(b.rgb, again.pictures["image_02"].rgb)


def test_dirt_rolls_and_drops_are_replaced() -> None:
    glass = Glass((120, 200), 0.5, 0.5, 3)
    assert glass.dirt_cover(0.0).mean() > 0.005
    assert glass.dirt_cover(0.0).max() <= 1.0
    assert np.abs(glass.dirt_cover(0.0) - glass.dirt_cover(0.1)).max() < 0.2  # slowly
    assert np.abs(glass.dirt_cover(0.0) - glass.dirt_cover(20.0)).max() > 0.2
    early, late = np.array(glass.drops_at(0.0)), np.array(glass.drops_at(20.0))
    assert len(early) > 10 and len(late) > 10
    assert min(np.hypot(*(late[:, :2] - early[0, :2]).T)) > 0.1
    light = np.random.default_rng(0).uniform(0, 1, (120, 200, 3)).astype(np.float32)
    assert (glass.cover(light, 1.0) <= 1.05).all()
    assert Glass((120, 200), 0.0, 0.0, 3).cover(light, 1.0) is light


def test_lenses_that_fold_the_picture_over_are_refused() -> None:
    camera = dataclasses.replace(load_rig("train").cameras[0], distortion=np.array([-1.8, 0.0, 0.0, 0.0]))
    with pytest.raises(ConfigError, match="folds the picture over"):
        Optics(camera, LensSpec(), 0.0, 1)


def test_a_drive_of_bent_and_turned_cameras_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(RIG_TOML)
    rig = load_rig(file)
    folder = generate("city", 3, 2, file, tmp_path / "out")
    truth = list(stream("city", 3, 2, rig))
    assert np.ptp(truth[0].pictures["image_05"].rgb) > 100
    for camera in rig.cameras:
        drive = open_drive(str(folder if camera.name == "image_02" else folder / camera.name))
        found = drive.info.camera
        assert found is not None and found.name == camera.name
        np.testing.assert_allclose(found.matrix, camera.matrix, rtol=1e-8)
        np.testing.assert_allclose(found.distortion, camera.distortion, atol=1e-9)
        np.testing.assert_allclose(found.ego_SE3_cam.matrix, camera.ego_SE3_cam.matrix, atol=1e-7)
        readings = list(drive.readings())
        drive.close()
        for reading, frame in zip(readings, truth, strict=True):
            assert reading.frame is not None and not reading.gaps
            np.testing.assert_array_equal(reading.frame.image_rgb, frame.pictures[camera.name].rgb)
    calibrated = read_calibration(folder.parent / "calib_cam_to_cam.txt")
    np.testing.assert_allclose(calibrated.distortion, rig.cameras[0].distortion, atol=1e-9)
    with pytest.raises(OutputError, match="from another rig"):
        generate("city", 4, 1, "train", tmp_path / "out")


def test_the_surround_rig_opens_with_the_camera_that_looks_ahead() -> None:
    rig = load_rig("surround6")
    assert [camera.name for camera in rig.cameras] == [f"image_{k:02d}" for k in range(2, 8)]
    ahead = [camera.ego_SE3_cam.rotation[:, 2] for camera in rig.cameras]
    np.testing.assert_allclose(ahead[0], [1, 0, 0], atol=1e-12)
    yaws = np.degrees([np.arctan2(axis[1], axis[0]) for axis in ahead])
    np.testing.assert_allclose(np.abs(yaws), [0, 55, 110, 180, 110, 55], atol=1e-9)


def test_variation_is_drawn_once_per_seed() -> None:
    rig = load_rig("train_varied")
    a, b, again = rig.drawn(1), rig.drawn(2), rig.drawn(1)
    assert a.variation == Variation() and a.drawn(5) is a
    assert a.cameras[0].fx_px == again.cameras[0].fx_px != b.cameras[0].fx_px
    for drawn in (rig.drawn(seed) for seed in range(30)):
        camera, base = drawn.cameras[0], rig.cameras[0]
        assert abs(camera.fx_px / base.fx_px - 1) <= rig.variation.focal
        offset = camera.ego_SE3_cam.translation - base.ego_SE3_cam.translation
        assert np.abs(offset[:2]).max() == 0 and abs(offset[2]) <= rig.variation.height_m
        turn = SE3(base.ego_SE3_cam.rotation, np.zeros(3)).inverse().rotation @ camera.ego_SE3_cam.rotation
        assert np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))) < 3.5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("dirt = 0.2", "dirt = 1.2", r"lens\.dirt: .* got 1\.2"),
        ("dirt = 0.2", "grime = 0.2", r"lens\.grime: "),
        ("exposure_s = 0.01", "exposure_s = -1", r"lens\.exposure_s: .* got -1"),
        ("rate_hz = 10.0", "rate_hz = -10.0", r"rate_hz: .* got -10"),
        ("width_px = 208", "width_px = 0", r"cameras\.0\.width_px: .* got 0"),
        ('"image_05"', '"image_02"', r"must name its cameras differently"),
        ("yaw_deg = 150.0", "yaw = 150.0", r"cameras\.1\.yaw: "),
        ("[positioning]", "[lidar]\nazimuth_step_deg = 0", r"lidar\.azimuth_step_deg: .* got 0"),
    ],
)
def test_rig_files_are_strict(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "rig.toml"
    file.write_text(RIG_TOML.replace(old, new, 1))
    with pytest.raises(ConfigError, match=message):
        load_rig(file)
    with pytest.raises(ConfigError, match="cannot read the rig"):
        load_rig(tmp_path / "none.toml")
    file.write_text("cameras = []\n")
    with pytest.raises(ConfigError, match="cameras: "):
        load_rig(file)
