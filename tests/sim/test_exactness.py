"""Truth against geometry: every kind of truth of a rendered drive must follow from the poses, or from another kind."""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
import pytest

from perception.classes import SEMANTIC_CLASSES, SEMANTIC_OF_OBJECT
from perception.geometry import SE3
from sim_data.rigs import LidarSpec, PositioningSpec, Rig, load_rig
from sim_data.scenario import load_scenario
from sim_data.simulation import SimFrame, Simulation
from sim_data.truth_map import class_raster, map_frame

FRAMES = 6
CAMERA = "image_02"
_SURFACES = [
    SEMANTIC_CLASSES.index(name) for name in ("road", "sidewalk", "terrain", "lane marking", "building", "car")
]


@pytest.fixture(scope="module")
def rig() -> Rig:
    lidar = LidarSpec(1.73, tuple(np.linspace(2.0, -22.0, 20).tolist()), 0.6, 80.0, range_noise_m=0.0, drop_out=0.0)
    return Rig("test", load_rig("train").cameras, lidar, PositioningSpec())


@pytest.fixture(scope="module")
def simulation(rig: Rig) -> Simulation:
    return Simulation(load_scenario("city"), 1, rig, threads=1)


@pytest.fixture(scope="module")
def frames(simulation: Simulation) -> list[SimFrame]:
    return list(simulation.frames(FRAMES))


def _points_cam(frame: SimFrame, rig: Rig) -> np.ndarray:
    camera, depth = rig.cameras[0], frame.pictures[CAMERA].depth_m
    v, u = np.mgrid[: camera.height_px, : camera.width_px]
    rays = np.stack([(u - camera.cx_px) / camera.fx_px, (v - camera.cy_px) / camera.fy_px, np.ones(u.shape)], axis=-1)
    return rays * depth[..., None].astype(np.float64)


def test_sky_is_where_there_is_no_depth(frames: list[SimFrame]) -> None:
    for frame in frames:
        picture = frame.pictures[CAMERA]
        np.testing.assert_array_equal(np.isnan(picture.depth_m), picture.semantic == SEMANTIC_CLASSES.index("sky"))
        assert picture.rgb.std() > 20


def test_depth_of_the_ground_lies_on_the_ground(frames: list[SimFrame], rig: Rig) -> None:
    for frame in frames:
        world = (frame.world_SE3_ego @ rig.cameras[0].ego_SE3_cam).apply(_points_cam(frame, rig))
        on_road = (frame.pictures[CAMERA].semantic == 0) & (frame.pictures[CAMERA].depth_m < 60)
        assert on_road.sum() > 2000
        assert np.abs(world[on_road][:, 2]).max() < 2e-3


def test_flow_of_still_things_follows_from_depth_and_poses(frames: list[SimFrame], rig: Rig) -> None:
    camera = rig.cameras[0]
    for now, following in itertools.pairwise(frames):
        picture = now.pictures[CAMERA]
        next_SE3_now = (following.world_SE3_ego @ camera.ego_SE3_cam).inverse() @ (
            now.world_SE3_ego @ camera.ego_SE3_cam
        )
        still = (picture.instance == 0) & np.isfinite(picture.depth_m)
        pixels = camera.project(next_SE3_now.apply(_points_cam(now, rig)[still]))
        v, u = np.nonzero(still)
        expected = pixels - np.stack([u, v], axis=1)
        ahead = np.isfinite(expected).all(axis=1) & (np.abs(expected) < 200).all(axis=1)
        np.testing.assert_allclose(picture.flow_px[still][ahead], expected[ahead], atol=5e-3)
        assert ahead.mean() > 0.95


def test_flow_of_moving_things_follows_from_their_own_motion(frames: list[SimFrame], rig: Rig) -> None:
    camera = rig.cameras[0]
    checked = 0
    for now, following in itertools.pairwise(frames):
        later = {item.instance: item for item in following.objects}
        for item in now.objects:
            mask = now.pictures[CAMERA].instance == item.instance
            if not item.moving or mask.sum() < 30 or item.instance not in later:
                continue
            object_SE3_cam = SE3.from_yaw(item.yaw, item.position).inverse() @ now.world_SE3_ego @ camera.ego_SE3_cam
            moved = SE3.from_yaw(later[item.instance].yaw, later[item.instance].position)
            cam_SE3_object = (following.world_SE3_ego @ camera.ego_SE3_cam).inverse() @ moved
            pixels = camera.project((cam_SE3_object @ object_SE3_cam).apply(_points_cam(now, rig)[mask]))
            v, u = np.nonzero(mask)
            np.testing.assert_allclose(now.pictures[CAMERA].flow_px[mask], pixels - np.stack([u, v], axis=1), atol=5e-3)
            checked += 1
    assert checked >= FRAMES


def test_pixels_of_an_object_lie_in_its_3d_box(frames: list[SimFrame], rig: Rig) -> None:
    checked = set()
    for frame in frames:
        world = (frame.world_SE3_ego @ rig.cameras[0].ego_SE3_cam).apply(_points_cam(frame, rig))
        for item in frame.objects:
            mask = frame.pictures[CAMERA].instance == item.instance
            if not mask.any():
                continue
            local = SE3.from_yaw(item.yaw, item.position).inverse().apply(world[mask])
            # depth is held in 32 bits
            assert (local > np.array(item.low) - 0.01).all() and (local < np.array(item.high) + 0.01).all()
            wanted = SEMANTIC_CLASSES.index(SEMANTIC_OF_OBJECT[item.object_class])
            assert (frame.pictures[CAMERA].semantic[mask] == wanted).all()
            checked.add(item.instance)
    assert len(checked) > 10


def test_boxes_fit_the_masks_within_a_pixel(frames: list[SimFrame]) -> None:
    misses = []
    for frame in frames:
        truth = frame.truth[CAMERA]
        for k, item in enumerate(truth.objects):
            if truth.pixels[k] == 0:
                continue
            ys, xs = np.nonzero(frame.pictures[CAMERA].instance == item.instance)
            seen = np.array([xs.min(), ys.min(), xs.max(), ys.max()])
            np.testing.assert_array_equal(truth.visible_xyxy[k], seen)
            full = truth.full_xyxy[k]
            assert (seen[:2] >= full[:2] - 1e-6).all() and (seen[2:] <= full[2:] + 1e-6).all()
            whole = item.object_class in ("car", "van", "truck", "bus") and truth.truncation[k] == 0
            # on a car of a few pixels, mirrors and bumpers fall between the pixel centres
            if whole and truth.visible_share[k] > 0.999 and (full[2:] - full[:2]).min() > 8:
                misses.append(np.abs(seen - full))
    every = np.concatenate(misses)
    assert len(misses) >= 3
    # the outline is continuous and the mask sampled: where its outermost end is lower than a pixel, it may pass between
    # the centres of the first column that it reaches, and end as much over a pixel before the next one
    assert (every <= 1.0).mean() > 0.97 and every.max() < 1.05


def test_truncation_and_occlusion(frames: list[SimFrame], rig: Rig) -> None:
    for frame in frames:
        truth = frame.truth[CAMERA]
        assert ((truth.truncation >= 0) & (truth.truncation < 1)).all()
        assert ((truth.visible_share > 0) == (truth.pixels > 0)).all()
        assert set(truth.occlusion.tolist()) <= {0, 1, 2, 3}
        for k, item in enumerate(truth.objects):
            inside = np.clip(truth.full_xyxy[k], 0, [415, 127, 415, 127])
            kept = np.prod(inside[2:] - inside[:2]) / np.prod(truth.full_xyxy[k][2:] - truth.full_xyxy[k][:2])
            assert truth.truncation[k] == pytest.approx(1 - kept), item


def test_lidar_points_lie_on_the_surfaces_of_the_depth_image(frames: list[SimFrame], rig: Rig) -> None:
    camera = rig.cameras[0]
    errors, compared, hidden = [], 0, 0
    for frame in frames:
        assert frame.points_ego is not None
        picture = frame.pictures[CAMERA]
        points = camera.cam_SE3_ego.apply(frame.points_ego[:, :3])
        pixels = camera.project(points)
        inside = np.isfinite(pixels).all(axis=1) & (pixels >= 0).all(axis=1) & (pixels < [415, 127]).all(axis=1)
        pixels, depth = pixels[inside], points[inside, 2]
        u0, v0 = np.floor(pixels).astype(int).T
        share_u, share_v = (pixels - np.floor(pixels)).T
        corners = np.stack([picture.depth_m[v0 + j, u0 + i] for j in (0, 1) for i in (0, 1)]).astype(np.float64)
        classes = np.stack([picture.semantic[v0 + j, u0 + i] for j in (0, 1) for i in (0, 1)])
        instances = np.stack([picture.instance[v0 + j, u0 + i] for j in (0, 1) for i in (0, 1)])
        inverse = 1.0 / corners
        # inverse depth is linear on a plane, so its bilinear interpolation is exact there
        bent = np.abs(inverse[0] + inverse[3] - inverse[1] - inverse[2])
        surface = np.isin(classes, _SURFACES).all(axis=0) & (instances == instances[0]).all(axis=0)
        surface &= bent < 1e-3 * inverse.mean(axis=0)
        expected = 1.0 / (
            (inverse[0] * (1 - share_u) + inverse[1] * share_u) * (1 - share_v)
            + (inverse[2] * (1 - share_u) + inverse[3] * share_u) * share_v
        )
        behind = depth > expected + 0.25  # the lidar sits higher and looks over things
        errors.append(np.abs(depth - expected)[surface & ~behind])
        compared += int(surface.sum())
        hidden += int((surface & behind).sum())
    every = np.concatenate(errors)
    assert len(every) > 3000
    assert np.percentile(every, 99) < 0.05
    assert hidden < 0.05 * compared


def test_ids_never_swap(frames: list[SimFrame]) -> None:
    known: dict[int, tuple[str, tuple[float, ...]]] = {}
    previous: dict[int, np.ndarray] = {}
    for frame in frames:
        ids = [item.instance for item in frame.objects]
        assert len(ids) == len(set(ids))
        assert set(np.unique(frame.pictures[CAMERA].instance)) - {0} <= set(ids)
        for item in frame.objects:
            what = (item.object_class, (*item.low, *item.high))
            assert known.setdefault(item.instance, what) == what
            place = np.array(item.position)
            if item.instance in previous:
                step = float(np.linalg.norm(place - previous[item.instance]))
                assert step < 3.5
                assert item.moving or step == 0.0
            previous[item.instance] = place


def test_velocity_is_the_change_of_place(frames: list[SimFrame]) -> None:
    for now, following in itertools.pairwise(frames):
        later = {item.instance: np.array(item.position) for item in following.objects}
        for item in now.objects:
            if item.instance in later:
                step = (later[item.instance] - np.array(item.position)) * 10.0
                np.testing.assert_allclose(item.velocity, step, atol=1e-6)


def test_the_map_agrees_with_what_the_camera_sees(simulation: Simulation, frames: list[SimFrame], rig: Rig) -> None:
    frame = frames[0]
    world_SE3_map = map_frame(frame.world_SE3_ego)
    low, cell_m = np.array([-5.0, -25.0]), 0.1
    classes = class_raster(simulation.world, world_SE3_map, low, (500, 500), cell_m)
    camera_points = _points_cam(frame, rig)
    picture = frame.pictures[CAMERA]
    ground = np.isin(picture.semantic, [SEMANTIC_CLASSES.index(n) for n in ("road", "sidewalk", "lane marking")])
    ground &= picture.depth_m < 30
    world = (frame.world_SE3_ego @ rig.cameras[0].ego_SE3_cam).apply(camera_points[ground])
    spots = world_SE3_map.inverse().apply(world)[:, :2]
    column, row = np.floor((spots - low) / cell_m).astype(int).T
    kept = (column >= 0) & (row >= 0) & (column < 500) & (row < 500)
    # cells on the edge of a line or kerb have either class
    around = np.ones((3, 3), np.uint8)
    inner = cv2.erode(classes, around) == cv2.dilate(classes, around)
    kept[kept] &= inner[row[kept], column[kept]]
    agree = classes[row[kept], column[kept]] == picture.semantic[ground][kept]
    assert kept.sum() > 3000
    assert agree.mean() > 0.98
    assert len(np.unique(picture.semantic[ground][kept])) >= 2


@pytest.mark.parametrize(("name", "scenario"), [("camvid", "suburb"), ("dashcam", "junctions"), ("surround6", "city")])
def test_truth_is_exact_on_every_rig(name: str, scenario: str) -> None:
    preset = load_rig(name)
    sparse = LidarSpec(1.8, tuple(np.linspace(2.0, -24.0, 16).tolist()), 1.0, 60.0, range_noise_m=0.0, drop_out=0.0)
    rig = dataclasses.replace(preset, lidar=sparse, cameras=preset.cameras[:3])
    simulation = Simulation(load_scenario(scenario), 5, rig, threads=2)
    simulation.skip(5)
    (frame,) = simulation.frames(1)
    simulation.close()
    assert frame.points_ego is not None
    compared, errors, heights = 0, [], []
    for camera in rig.cameras:
        picture, truth = frame.pictures[camera.name], frame.truth[camera.name]
        assert picture.rgb.shape == (camera.height_px, camera.width_px, 3)
        # the ground, through the lens
        v, u = np.mgrid[: camera.height_px, : camera.width_px]
        rays = camera.rays_cam(np.column_stack([u.ravel(), v.ravel()])).reshape(*u.shape, 3)
        world = (frame.world_SE3_ego @ camera.ego_SE3_cam).apply(rays * picture.depth_m[..., None])
        road = (picture.semantic == 0) & (picture.depth_m < 50)
        heights.append(np.abs(world[road][:, 2]))
        # boxes of masks, and 3D boxes
        for k, item in enumerate(truth.objects):
            if truth.pixels[k] == 0:
                continue
            ys, xs = np.nonzero(picture.instance == item.instance)
            assert truth.visible_xyxy[k].tolist() == [xs.min(), ys.min(), xs.max(), ys.max()]
            full = truth.full_xyxy[k]
            # a bent picture's pixel has the class of the pinhole's nearest, at most half a pixel away
            slack = 0.75 if camera.distortion.size else 1e-6
            assert xs.min() >= full[0] - slack and ys.min() >= full[1] - slack
            assert xs.max() <= full[2] + slack and ys.max() <= full[3] + slack
            local = SE3.from_yaw(item.yaw, item.position).inverse().apply(world[ys, xs])
            inside = (local > np.array(item.low) - 0.02) & (local < np.array(item.high) + 0.02)
            # an edge pixel of a bent picture may look past the triangle that its nearest pixel sees
            assert inside.all(axis=1).mean() > (0.99 if camera.distortion.size else 0.9999)
            compared += 1
        points = camera.cam_SE3_ego.apply(frame.points_ego[:, :3].astype(np.float64))
        points = points[(points[:, 2] > 1) & (np.abs(points[:, 0]) < 1.2 * points[:, 2])]
        pixels = camera.project(points)
        seen = (pixels >= 0).all(axis=1) & (pixels < [camera.width_px - 1, camera.height_px - 1]).all(axis=1)
        column, row = np.floor(pixels[seen]).astype(int).T
        share_u, share_v = (pixels[seen] - np.floor(pixels[seen])).T
        inverse = np.stack([1.0 / picture.depth_m[row + j, column + i].astype(float) for j in (0, 1) for i in (0, 1)])
        classes = np.stack([picture.semantic[row + j, column + i] for j in (0, 1) for i in (0, 1)])
        ids = np.stack([picture.instance[row + j, column + i] for j in (0, 1) for i in (0, 1)])
        flat = np.abs(inverse[0] + inverse[3] - inverse[1] - inverse[2]) < 5e-4 * inverse.mean(axis=0)
        flat &= np.isin(classes, _SURFACES).all(axis=0) & (ids == ids[0]).all(axis=0)
        between = (inverse[0] * (1 - share_u) + inverse[1] * share_u) * (1 - share_v)
        between += (inverse[2] * (1 - share_u) + inverse[3] * share_u) * share_v
        miss = points[seen, 2] - 1.0 / between
        errors.append(np.abs(miss[flat & (miss < 0.25)]))
    every = np.concatenate(errors)
    assert sum(map(len, heights)) > 2000
    assert np.concatenate(heights).max() < 2e-3
    assert compared >= 3 and len(every) > 200
    assert np.percentile(every, 99) < 0.05
