from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import open3d
import pytest

from perception.classes import SEMANTIC_CLASSES, VOID_ID
from perception.config import MappingConfig, load_config
from perception.geometry import SE3, guess_camera
from perception.mapping.birdseye import BirdsEyeMap
from perception.mapping.cloud import CloudSpool
from perception.mapping.grid import SemanticGrid
from perception.mapping.output import write_map
from perception.mapping.render import draw_map, map_crop
from perception.types import DepthMap, Frame, SemanticMap, Tracks

ROAD, SIDEWALK, BUILDING, CAR = (SEMANTIC_CLASSES.index(name) for name in ("road", "sidewalk", "building", "car"))


@pytest.fixture
def settings() -> MappingConfig:
    return load_config().mapping


def street_frame(index: int = 0) -> tuple[Frame, SemanticMap]:
    """Road ahead, pavement right of 3 m, nothing above the horizon."""
    camera = guess_camera(320, 240)
    v, u = np.mgrid[0:240, 0:320]
    rays = camera.rays_cam(np.stack([u.ravel(), v.ravel()], axis=1)) @ camera.ego_SE3_cam.rotation.T
    with np.errstate(divide="ignore", invalid="ignore"):
        side = rays[:, 1] * np.where(rays[:, 2] < 0, -1.5 / rays[:, 2], np.nan)
    ids = np.where(np.isnan(side), VOID_ID, np.where(side < -3, SIDEWALK, ROAD)).astype(np.uint8).reshape(240, 320)
    return Frame(index, str(index), index, np.full((240, 320, 3), 90, np.uint8), camera), SemanticMap(ids)


def class_at(layer: BirdsEyeMap, x_m: float, y_m: float) -> int:
    snapshot = layer.grid.snapshot()
    column, row = np.floor((np.array([x_m, y_m]) - snapshot.corner_m) / snapshot.cell_m).astype(int)
    return int(snapshot.class_ids[row, column])


def test_the_road_plane_is_painted_in_the_world_frame(settings: MappingConfig) -> None:
    layer = BirdsEyeMap(settings)
    frame, semantic = street_frame()
    # heading along +y from (50, 20): the pavement on the right lies at larger x
    layer.integrate(frame, semantic, None, Tracks.empty(), SE3.from_yaw(np.pi / 2, (50, 20, 0)))
    assert class_at(layer, 50.0, 30.0) == ROAD
    assert class_at(layer, 54.5, 30.0) == SIDEWALK
    assert class_at(layer, 47.0, 32.0) == ROAD
    assert class_at(layer, 50.0, 15.0) == VOID_ID


def test_road_users_leave_no_trace(settings: MappingConfig) -> None:
    layer = BirdsEyeMap(settings)
    frame, _ = street_frame()
    everything_car = SemanticMap(np.full((240, 320), CAR, np.uint8))
    depth = DepthMap(np.full((240, 320), 10.0, np.float32))
    layer.integrate(frame, everything_car, depth, Tracks.empty(), SE3.identity())
    assert (layer.grid.best == VOID_ID).all() and layer.cloud.count == 0


def test_measured_depth_places_a_facade(settings: MappingConfig) -> None:
    layer = BirdsEyeMap(settings)
    frame, semantic = street_frame()
    ids = semantic.class_ids.copy()
    ids[100:118, 150:170] = BUILDING
    depth = np.full(ids.shape, np.nan, np.float32)
    depth[100:118, 150:170] = 20.0
    layer.integrate(frame, SemanticMap(ids), DepthMap(depth), Tracks.empty(), SE3.identity())
    assert class_at(layer, 20.05, 0.1) == BUILDING
    assert layer.cloud.count > 10


def test_cells_survive_leaving_and_returning_to_the_window() -> None:
    grid = SemanticGrid(0.5, 20.0)
    place = lambda: tuple(np.floor((np.array([3.0, 4.0]) - grid.corner_m) / 0.5).astype(int)[::-1])  # noqa: E731
    grid.centre_on(np.zeros(2))
    grid.best[place()], grid.top_m[place()] = BUILDING, 2.5
    grid.votes[(*place(), BUILDING)] = 9
    grid.centre_on(np.array([500.0, -300.0]))
    assert (grid.best == VOID_ID).all() and grid.votes.sum() == 0
    grid.centre_on(np.zeros(2))
    assert grid.best[place()] == BUILDING and grid.votes[(*place(), BUILDING)] == 9
    snapshot, votes, top_m = grid.assemble()
    assert snapshot.class_ids.tolist() == [[BUILDING]] and votes.tolist() == [[9]] and top_m[0, 0] == 2.5
    assert np.allclose(snapshot.corner_m, [3.0, 4.0])


def test_an_empty_map_is_legal(settings: MappingConfig, tmp_path: Path) -> None:
    layer = BirdsEyeMap(settings)
    write_map(layer, tmp_path / "map", "nothing")
    assert cv2.imread(str(tmp_path / "map/bev.png")) is not None
    assert not (tmp_path / "map/points.ply").exists()


def test_the_written_map_says_what_was_seen(settings: MappingConfig, tmp_path: Path) -> None:
    layer = BirdsEyeMap(settings)
    for index in range(5):
        frame, semantic = street_frame(index)
        layer.integrate(frame, semantic, None, Tracks.empty(), SE3.from_yaw(0.0, (1.0 * index, 0, 0)))
    write_map(layer, tmp_path, "five frames")
    data = np.load(tmp_path / "bev.npz")
    column, row = np.floor((np.array([12.0, -4.0]) - data["corner_m"]) / data["cell_m"]).astype(int)
    assert data["classes"][data["class_ids"][row, column]] == "sidewalk"
    assert data["path_xyz_m"].shape == (5, 3)
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "bev.png")), cv2.COLOR_BGR2RGB)
    assert (picture == [244, 35, 232]).all(axis=2).sum() > 100
    layer.reset()
    assert (layer.grid.best == VOID_ID).all() and not layer.path_xyz_m


def test_the_point_cloud_is_read_by_open3d(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    xyz, rgb = rng.normal(size=(100, 3)).astype(np.float32), rng.integers(0, 255, (100, 3), dtype=np.uint8)
    with CloudSpool() as cloud:
        cloud.append(xyz[:60], rgb[:60])
        cloud.append(xyz[60:], rgb[60:])
        cloud.write_ply(tmp_path / "points.ply")
    read = open3d.io.read_point_cloud(str(tmp_path / "points.ply"))
    assert np.allclose(np.asarray(read.points), xyz)
    assert np.allclose(np.asarray(read.colors) * 255, rgb, atol=0.5)


def test_a_crop_turns_with_the_vehicle(settings: MappingConfig) -> None:
    layer = BirdsEyeMap(settings)
    frame, semantic = street_frame()
    pose = SE3.from_yaw(2.0, (7, -3, 0))
    layer.integrate(frame, semantic, None, Tracks.empty(), pose)
    picture, pixel_from_world = map_crop(layer.grid.snapshot(), pose, layer.path_xyz_m, 300, 300)
    assert picture.shape == (300, 300, 3)
    ahead, right = (
        pose.apply(np.array([[12.0, 0, 0], [12.0, -5.0, 0]]))[:, :2] @ pixel_from_world[:, :2].T
        + pixel_from_world[:, 2]
    )
    assert ahead[0] == pytest.approx(150) and ahead[1] < 0.72 * 300 - 50 and right[0] > 150
    assert tuple(picture[int(right[1]), int(right[0])]) == (244, 35, 232)
    assert draw_map(layer.grid.snapshot(), layer.path_xyz_m, "t").shape[2] == 3
