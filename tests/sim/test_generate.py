"""Drives on disk: what a reader of KITTI raw gets back, the same bytes for one seed, resuming, and bad input."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from perception.cli.app import build_app
from perception.datasets.factory import open_drive
from perception.errors import ConfigError, OutputError
from perception.geometry import SE3
from sim_data import generate, list_scenarios, load_rig, stream
from sim_data.rigs import Rig
from sim_data.scenario import load_scenario

FRAMES = 4


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate("city", 1, FRAMES, "camvid", tmp_path_factory.mktemp("drive"))


def test_the_drive_reads_back_as_it_was(drive: Path) -> None:
    opened = open_drive(str(drive))
    assert opened.info.kind == "kitti_raw"
    assert opened.info.frame_count == FRAMES
    assert opened.info.rate_hz == pytest.approx(10.0)
    assert not opened.info.gaps
    readings = list(opened.readings())
    opened.close()
    truth = list(stream("city", 1, FRAMES, "camvid"))
    camera = load_rig("camvid").cameras[0]
    start = truth[0].world_SE3_ego.inverse()
    for reading, frame in zip(readings, truth, strict=True):
        assert reading.frame is not None and not reading.gaps
        np.testing.assert_array_equal(reading.frame.image_rgb, frame.pictures["image_02"].rgb)
        assert reading.frame.camera is not None and reading.frame.world_SE3_ego is not None
        np.testing.assert_allclose(reading.frame.camera.matrix, camera.matrix, rtol=1e-7)
        np.testing.assert_allclose(reading.frame.camera.ego_SE3_cam.matrix, camera.ego_SE3_cam.matrix, atol=1e-6)
        expected = start @ frame.world_SE3_ego
        # the positioning unit's noise: 2 cm and 0.5 mrad, on this frame and on the first
        assert np.abs(expected.translation - reading.frame.world_SE3_ego.translation).max() < 0.15
        assert np.abs(expected.rotation - reading.frame.world_SE3_ego.rotation).max() < 0.005


def test_lidar_reads_back_in_the_ego_frame(tmp_path: Path) -> None:
    folder = generate("suburb", 2, 1, "kitti", tmp_path)
    (reading,) = open_drive(str(folder)).readings()
    (frame,) = stream("suburb", 2, 1, "kitti")
    assert reading.frame is not None and reading.frame.points_ego is not None and frame.points_ego is not None
    np.testing.assert_allclose(reading.frame.points_ego, frame.points_ego, atol=1e-5)
    assert len(frame.points_ego) > 80_000


def test_truth_files_hold_the_truth(drive: Path) -> None:
    truth = drive / "truth"
    frames = list(stream("city", 1, FRAMES, "camvid"))
    poses = np.loadtxt(truth / "poses.txt").reshape(-1, 3, 4)
    assert len(poses) == FRAMES
    np.testing.assert_allclose(poses[0], np.eye(4)[:3], atol=1e-9)
    for frame in frames:
        picture, name = frame.pictures["image_02"], f"{frame.index:010d}.png"
        semantic = cv2.imread(str(truth / "semantic" / "image_02" / name), cv2.IMREAD_UNCHANGED)
        instance = cv2.imread(str(truth / "instance" / "image_02" / name), cv2.IMREAD_UNCHANGED)
        depth = cv2.imread(str(truth / "depth" / "image_02" / name), cv2.IMREAD_UNCHANGED) / 256.0
        flow = cv2.imread(str(truth / "flow" / "image_02" / name), cv2.IMREAD_UNCHANGED).astype(np.float64)
        np.testing.assert_array_equal(semantic, picture.semantic)
        np.testing.assert_array_equal(instance, picture.instance)
        near = np.nan_to_num(picture.depth_m, nan=1e9) < 250
        np.testing.assert_allclose(depth[near], picture.depth_m[near], atol=1 / 256)
        assert (depth[np.isnan(picture.depth_m)] == 0).all()
        valid = flow[..., 0] == 1
        assert valid.mean() > 0.9
        np.testing.assert_allclose((flow[..., 2][valid] - 32768) / 64, picture.flow_px[..., 0][valid], atol=1 / 64)
        np.testing.assert_allclose((flow[..., 1][valid] - 32768) / 64, picture.flow_px[..., 1][valid], atol=1 / 64)


def test_labels_are_kitti_tracking_rows_that_project_to_their_boxes(drive: Path) -> None:
    camera = load_rig("camvid").cameras[0]
    (file,) = (drive / "truth" / "label_02").iterdir()
    rows = [line.split() for line in file.read_text().splitlines()]
    assert rows and all(len(row) == 17 for row in rows)
    assert {row[2] for row in rows} <= {"Car", "Van", "Truck", "Tram", "Pedestrian", "Cyclist", "Misc"}
    for row in rows:
        x1, y1, x2, y2, high, wide, long, x, y, z, rotation_y = (float(value) for value in row[6:])
        if row[2] != "Car" or row[3] != "0" or z < 6 or z > 40:
            continue
        ahead, aside = (
            np.array([np.cos(rotation_y), 0, -np.sin(rotation_y)]),
            np.array([np.sin(rotation_y), 0, np.cos(rotation_y)]),
        )
        corners = np.array(
            [
                [x, y, z] + a * long / 2 * ahead + b * wide / 2 * aside - [0, c * high, 0]
                for a in (-1, 1)
                for b in (-1, 1)
                for c in (0, 1)
            ]
        )
        # labels live in the reference camera, 6 cm to the right of this one
        pixels = camera.project(corners + np.array([0.0621690, 0, 0]))
        low, top = pixels.min(axis=0)
        right, bottom = pixels.max(axis=0)
        # a car lies within its 3D box and touches its sides; the corners stick out by little
        slack = 0.18 * max(right - low, bottom - top) + 3
        assert low - 1.5 < x1 < low + slack and right - slack < x2 < right + 1.5
        assert top - 1.5 < y1 < top + slack and bottom - slack < y2 < bottom + 1.5


def test_object_table_has_every_visible_object(drive: Path) -> None:
    table = pq.read_table(drive / "truth" / "objects.parquet").to_pylist()
    frames = list(stream("city", 1, FRAMES, "camvid"))
    for frame in frames:
        seen = set(np.unique(frame.pictures["image_02"].instance)) - {0}
        listed = {row["instance"] for row in table if row["frame"] == frame.index and row["pixels"] > 0}
        assert seen == listed


def test_the_map_lies_beside_the_truth(drive: Path) -> None:
    bev = np.load(drive / "truth" / "map" / "bev.npz")
    assert bev["class_ids"].dtype == np.uint8 and (bev["class_ids"] == 0).any()
    origin = ((0.0 - bev["low_xy_m"]) / bev["cell_m"]).astype(int)
    assert bev["class_ids"][origin[1], origin[0]] in (0, 19)
    lines = json.loads((drive / "truth" / "map" / "lines.geojson").read_text())
    kinds = {feature["properties"]["kind"] for feature in lines["features"]}
    assert {"lane_line", "road_edge", "lane_centre", "turn"} <= kinds


@pytest.mark.slow
def test_the_same_bytes_whatever_the_jobs_and_after_an_interruption(drive: Path, tmp_path: Path) -> None:
    expected = _digests(drive)
    assert _digests(generate("city", 1, FRAMES, "camvid", tmp_path / "jobs", jobs=2)) == expected

    class Stop(Exception):
        pass

    done = []

    def stop(count: int) -> None:
        done.append(count)
        if sum(done) == 2:
            raise Stop

    with pytest.raises(Stop):
        generate("city", 1, FRAMES, "camvid", tmp_path / "resumed", progress=stop)
    (status,) = (tmp_path / "resumed").rglob("sim.json")
    assert json.loads(status.read_text())["status"] == "partial"
    with pytest.raises(OutputError, match="partial drive"):
        generate("city", 1, FRAMES, "camvid", tmp_path / "resumed")
    with pytest.raises(OutputError, match="other settings"):
        generate("fog", 1, FRAMES, "camvid", tmp_path / "resumed", resume=True)
    assert _digests(generate("city", 1, FRAMES, "camvid", tmp_path / "resumed", resume=True)) == expected


def test_bad_settings_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for arguments, message in (
        (("atlantis", 1, 5, "kitti"), "unknown scenario 'atlantis': expected one of city"),
        (("city", 1, 5, "hovercraft"), "unknown rig 'hovercraft': expected one of kitti"),
        (("city", 1, 0, "kitti"), "frames must be at least 1 but got 0"),
        (("city", -1, 5, "kitti"), "seed must be at least 0 but got -1"),
    ):
        with pytest.raises(ConfigError, match=message):
            generate(*arguments, tmp_path / "out")
    with pytest.raises(ConfigError, match="jobs must be at least 1"):
        generate("city", 1, 5, "kitti", tmp_path / "out", jobs=0)
    assert not (tmp_path / "out").exists()


def test_impossible_rigs_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one camera"):
        Rig("blind", ())
    with pytest.raises(ConfigError, match="rate_hz must be positive but got -10"):
        Rig("backwards", load_rig("train").cameras, None, None, -10.0)


def test_scenario_files(tmp_path: Path) -> None:
    assert len(list_scenarios()) >= 8
    for name in list_scenarios():
        assert load_scenario(name).title
    bad = tmp_path / "bad.toml"
    bad.write_text('title = "x"\n[weather]\nrain = 3.0\n')
    with pytest.raises(ConfigError, match=r"bad\.toml: weather\.rain: .* got 3\.0"):
        load_scenario(bad)
    bad.write_text('title = "x"\n[wether]\n')
    with pytest.raises(ConfigError, match=r"bad\.toml: wether"):
        load_scenario(bad)
    with pytest.raises(ConfigError, match="cannot read the scenario"):
        load_scenario(tmp_path / "none.toml")


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "2030_01_01" / "2030_01_01_drive_0001_sync"
    folder.mkdir(parents=True)
    (folder / "precious.txt").write_text("keep")
    with pytest.raises(OutputError, match="files of another drive"):
        generate("city", 1, 2, "train", tmp_path)
    assert [path.name for path in folder.iterdir()] == ["precious.txt"]


def test_a_complete_drive_is_neither_resumed_nor_replaced_unasked(drive: Path) -> None:
    before = _digests(drive)
    for resume in (False, True):
        with pytest.raises(OutputError, match="holds a complete drive"):
            generate("city", 1, FRAMES, "camvid", drive.parents[1], resume=resume)
    with pytest.raises(OutputError, match="holds a complete drive"):
        generate("suburb", 1, FRAMES, "camvid", drive.parents[1])
    assert _digests(drive) == before


def test_the_verb_lists_and_refuses() -> None:
    runner = CliRunner()
    listed = runner.invoke(build_app(), ["sim", "--list"])
    assert listed.exit_code == 0
    assert "roundabout" in listed.output and "surround6" in listed.output
    refused = runner.invoke(build_app(), ["sim", "--scenario", "atlantis"])
    assert isinstance(refused.exception, ConfigError)


def test_each_layout_and_weather_makes_a_picture() -> None:
    for name in ("motorway", "roundabout", "night_rain", "fog"):
        (frame,) = stream(name, 1, 1, "train")
        picture = frame.pictures["image_02"]
        assert (picture.semantic == 0).mean() > 0.05, name
        assert picture.rgb.std() > 8, name
        assert isinstance(frame.world_SE3_ego, SE3)
