from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from made_results import made_context, made_result, made_skip

from perception.classes import OBJECT_CLASSES
from perception.geometry import SE3
from perception.sinks.latency import LatencySink
from perception.sinks.pictures import PicturesSink
from perception.sinks.poses import PosesSink
from perception.sinks.sink import RunSummary
from perception.sinks.tables import FramesTable, TracksTable

DONE = RunSummary(frames=1, elapsed_s=2.0)


def test_tracks_read_back_with_their_place_in_the_world(tmp_path):
    sink = TracksTable(made_context(tmp_path))
    results = [made_result(0, objects=4), made_result(1, objects=0), made_result(2, objects=4)]
    for result in results:
        sink.write(result)
    sink.finish(DONE)
    rows = pq.read_table(tmp_path / "tracks.parquet").to_pylist()
    assert [row["frame_index"] for row in rows] == [0] * 4 + [2] * 4
    result, row = results[2], rows[4]
    assert (row["frame_name"], row["timestamp_ns"], row["track_id"]) == ("0000000002", 200_000_000, 1)
    assert row["class"] == OBJECT_CLASSES[result.tracks.class_ids[0]]
    assert (row["detection_row"], row["age_frames"]) == (0, 3)
    assert [row[f"{key}_px"] for key in ("x1", "y1", "x2", "y2")] == result.tracks.boxes_xyxy[0].tolist()
    world = result.world_SE3_ego.apply(result.tracks.boxes3d.centers_ego[0])
    np.testing.assert_allclose([row[f"{axis}_world_m"] for axis in "xyz"], world)
    turned = result.tracks.boxes3d.yaws[0] + result.world_SE3_ego.yaw_rad
    assert np.angle(np.exp(1j * (row["yaw_world_rad"] - turned))) == pytest.approx(0, abs=1e-6)
    assert [row[f"v{axis}_world_mps"] for axis in "xyz"] == result.tracks.velocities[0].tolist()
    assert row["vu_pxps"] is None
    # the second could not be lifted, the last coasts
    assert rows[5]["x_ego_m"] is None
    assert rows[5]["yaw_world_rad"] is None
    assert rows[7]["detection_row"] == -1


def test_image_tracks_have_velocities_in_the_image(tmp_path):
    sink = TracksTable(made_context(tmp_path))
    result = made_result(0, objects=4, in_3d=False)
    sink.write(result)
    sink.finish(DONE)
    rows = pq.read_table(tmp_path / "tracks.parquet").to_pylist()
    assert [rows[0]["vu_pxps"], rows[0]["vv_pxps"]] == result.tracks.velocities[0].tolist()
    assert rows[0]["vx_world_mps"] is None
    np.testing.assert_allclose(rows[0]["x_ego_m"], result.boxes3d.centers_ego[0, 0])
    assert rows[3]["x_ego_m"] is None


def test_tables_of_a_run_without_any_frame_can_be_read(tmp_path):
    for sink in (TracksTable(made_context(tmp_path)), FramesTable(made_context(tmp_path))):
        sink.finish(DONE)
    assert pq.read_table(tmp_path / "tracks.parquet").num_rows == 0
    assert pq.read_table(tmp_path / "frames.parquet").num_rows == 0


def test_frames_hold_skipped_ones_and_survive_many_batches(tmp_path):
    sink = FramesTable(made_context(tmp_path))
    result = made_result(0)
    for index in range(450):
        if index == 7:
            sink.skip(made_skip(index, "gone"))
        else:
            sink.write(replace(result, frame=replace(result.frame, index=index)))
    # a stage that first runs when the columns are settled
    sink.write(replace(result, timings_ms={"detection": 1.0, "late": 2.5, "later": 0.5, "total": 4.0}))
    sink.finish(DONE)
    file = pq.ParquetFile(tmp_path / "frames.parquet")
    assert file.metadata.num_row_groups == 3
    table = file.read()
    assert table.column_names[-4:] == ["ms_detection", "ms_tracking", "ms_total", "ms_other"]
    rows = table.to_pylist()
    assert [row["frame_index"] for row in rows[:450]] == list(range(450))
    assert (rows[7]["status"], rows[7]["reason"], rows[7]["ms_total"]) == ("skipped", "gone", None)
    assert (rows[8]["status"], rows[8]["detections"], rows[8]["lidar_points"]) == ("done", 3, 5)
    assert (rows[450]["ms_other"], rows[450]["ms_tracking"], rows[450]["ms_total"]) == (3.0, None, 4.0)
    pose = [rows[8][f"world_T_ego_{i}{j}"] for i in range(3) for j in range(4)]
    np.testing.assert_array_equal(pose, result.world_SE3_ego.matrix[:3].ravel())


def test_an_interrupted_run_keeps_its_rows_under_a_name_that_says_so(tmp_path):
    for sink in (TracksTable(made_context(tmp_path)), FramesTable(made_context(tmp_path))):
        sink.write(made_result(0))
        sink.abort()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames.partial.parquet", "tracks.partial.parquet"]
    assert pq.read_table(tmp_path / "frames.partial.parquet").num_rows == 1


def test_poses_take_each_camera_to_the_first(tmp_path):
    sink = PosesSink(made_context(tmp_path))
    results = [made_result(i, pose=SE3.from_yaw(0.3 + 0.1 * i, [5.0 + i, 2.0 * i, 1.0])) for i in range(4)]
    for i, result in enumerate(results):
        if i == 2:
            sink.skip(made_skip(2))
        else:
            sink.write(result)
    sink.finish(DONE)
    lines = (tmp_path / "poses.txt").read_text().splitlines()
    assert lines[0].split() == [f"{value:.9e}" for value in np.eye(4)[:3].ravel()]
    assert lines[2] == lines[1]
    camera = results[0].frame.camera.ego_SE3_cam
    world_SE3_cams = [result.world_SE3_ego @ camera for result in results]
    expected = np.linalg.inv(world_SE3_cams[0].matrix) @ world_SE3_cams[3].matrix
    got = np.array(lines[3].split(), float).reshape(3, 4)
    np.testing.assert_allclose(got, expected[:3], atol=1e-8)


def test_latency_has_percentiles_and_misses(tmp_path):
    sink = LatencySink(made_context(tmp_path, deadline_ms=15.0))
    results = [made_result(i) for i in range(14)]
    for result in results:
        sink.write(result)
    sink.finish(RunSummary(frames=14, elapsed_s=2.0))
    report = json.loads((tmp_path / "latency.json").read_text())
    totals = [result.timings_ms["total"] for result in results]
    assert (report["frames"], report["fps"], report["deadline_ms"]) == (14, 7.0, 15.0)
    assert report["deadline_misses"] == sum(total > 15.0 for total in totals) > 0
    assert list(report["stages"]) == ["detection", "tracking", "total"]
    assert report["stages"]["total"]["p50"] == pytest.approx(np.percentile(totals, 50), abs=1e-3)
    assert report["stages"]["total"]["p99"] == pytest.approx(np.percentile(totals, 99), abs=1e-3)
    assert report["stages"]["total"]["max"] == max(totals)


def test_latency_of_no_frames_and_no_deadline(tmp_path):
    sink = LatencySink(made_context(tmp_path, deadline_ms=0.0))
    sink.finish(RunSummary(frames=0, elapsed_s=0.0))
    report = json.loads((tmp_path / "latency.json").read_text())
    assert report == {"frames": 0, "fps": 0.0, "deadline_ms": 0.0, "deadline_misses": 0, "stages": {}}


def test_saved_pictures_read_back(tmp_path):
    sink = PicturesSink(made_context(tmp_path, "save.semantic=true", "save.instance=true", "save.depth=true"))
    result = made_result(0)
    sink.write(result)
    sink.write(replace(made_result(1), depth=None))
    sink.skip(made_skip(2))
    sink.finish(DONE)
    semantic = cv2.imread(str(tmp_path / "semantic" / "0000000000.png"), cv2.IMREAD_UNCHANGED)
    assert semantic.dtype == np.uint8
    np.testing.assert_array_equal(semantic, result.semantic.class_ids)
    instance = cv2.imread(str(tmp_path / "instance" / "0000000000.png"), cv2.IMREAD_UNCHANGED)
    assert instance.dtype == np.uint16
    np.testing.assert_array_equal(instance.astype(int) - 1, result.instances.detection_rows)
    depth = cv2.imread(str(tmp_path / "depth" / "0000000000.png"), cv2.IMREAD_UNCHANGED)
    assert depth.dtype == np.uint16
    np.testing.assert_array_equal(depth == 0, np.isnan(result.depth.depth_m))
    assert depth[1, 1] == 12.5 * 256
    assert [path.name for path in (tmp_path / "depth").iterdir()] == ["0000000000.png"]
    assert len(list((tmp_path / "semantic").iterdir())) == 2
