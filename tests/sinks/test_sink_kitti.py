from __future__ import annotations

import numpy as np
import pytest
from made_results import made_context, made_result, made_skip

from perception.classes import KITTI_NAME_OF_OBJECT, OBJECT_CLASSES
from perception.datasets.kitti_boxes import boxes3d_from_kitti, kitti_from_boxes3d
from perception.sinks.kitti import KittiSink
from perception.sinks.sink import RunSummary

DONE = RunSummary(frames=1, elapsed_s=1.0)


def rows_of(path):
    return [line.split(" ") for line in path.read_text().splitlines()]


@pytest.fixture
def written(tmp_path):
    def write(*results, skips=()):
        sink = KittiSink(made_context(tmp_path))
        for result in results:
            sink.write(result)
        for reading in skips:
            sink.skip(reading)
        sink.finish(DONE)
        return tmp_path / "kitti"

    return write


def test_detection_rows_read_back_as_they_were(written):
    result = made_result(4, objects=6)
    rows = rows_of(written(result) / "detection" / "0000000004.txt")
    assert [len(row) for row in rows] == [16] * 6
    assert [row[0] for row in rows] == [KITTI_NAME_OF_OBJECT[OBJECT_CLASSES[i]] for i in result.detections.class_ids]
    numbers = np.array([row[1:] for row in rows], float)
    assert (numbers[:, :2] == -1).all()
    np.testing.assert_allclose(numbers[:, 3:7], result.detections.boxes_xyxy, atol=0.0051)
    np.testing.assert_allclose(numbers[:, 14], result.detections.scores, atol=0.000051)
    known = result.boxes3d.scores > 0
    assert 0 < known.sum() < 6
    back = boxes3d_from_kitti(numbers[:, 10:13], numbers[:, 7:10], numbers[:, 13], result.frame.camera)
    assert ((back.scores > 0) == known).all()
    np.testing.assert_allclose(back.centers_ego[known], result.boxes3d.centers_ego[known], atol=0.002)
    np.testing.assert_allclose(back.sizes_lwh[known], result.boxes3d.sizes_lwh[known], atol=0.001)
    turn = np.angle(np.exp(1j * (back.yaws - result.boxes3d.yaws)))[known]
    np.testing.assert_allclose(turn, 0, atol=0.001)
    bearing = np.arctan2(numbers[known, 10], numbers[known, 12])
    off = np.angle(np.exp(1j * (numbers[known, 13] - bearing - numbers[known, 2])))
    np.testing.assert_allclose(off, 0, atol=0.003)


def test_unknown_places_are_written_as_the_development_kit_writes_them(written):
    rows = rows_of(written(made_result(0, camera=False)) / "detection" / "0000000000.txt")
    for row in rows:
        assert row[3] == "-10"
        assert row[8:15] == ["-1", "-1", "-1", "-1000", "-1000", "-1000", "-10"]


def test_every_frame_has_a_file_and_it_is_empty_when_nothing_is_seen_or_the_frame_was_skipped(written):
    folder = written(made_result(0), made_result(1, objects=0), skips=[made_skip(2)]) / "detection"
    assert [path.name for path in sorted(folder.iterdir())] == [f"{i:010d}.txt" for i in range(3)]
    assert (folder / "0000000000.txt").stat().st_size > 0
    assert (folder / "0000000001.txt").read_bytes() == b""
    assert (folder / "0000000002.txt").read_bytes() == b""


def test_tracking_rows_hold_the_tracks_seen_with_their_place_in_3d(written):
    results = [made_result(3, objects=4), made_result(5, objects=3)]
    rows = rows_of(written(*results) / "tracking" / "made_drive.txt")
    assert [len(row) for row in rows] == [18] * 5
    assert [(int(row[0]), int(row[1])) for row in rows] == [(3, 1), (3, 2), (3, 3), (5, 1), (5, 2)]
    first = results[0]
    kitti = kitti_from_boxes3d(first.tracks.boxes3d, first.frame.camera)
    np.testing.assert_allclose(np.array(rows[0][13:16], float), kitti.locations_ref[0], atol=0.00051)
    # the second object could not be lifted
    assert rows[1][13:17] == ["-1000", "-1000", "-1000", "-10"]
    np.testing.assert_allclose(np.array(rows[2][6:10], float), first.tracks.boxes_xyxy[2], atol=0.0051)


def test_a_track_in_the_image_takes_the_place_of_the_detection_it_follows(written):
    in_image, in_3d = made_result(3, objects=4, in_3d=False), made_result(3, objects=4, in_3d=True)
    rows = rows_of(written(in_image, in_3d) / "tracking" / "made_drive.txt")
    assert rows[:3] == rows[3:]


def test_an_aborted_run_leaves_no_file_by_the_finished_name(tmp_path):
    sink = KittiSink(made_context(tmp_path))
    sink.write(made_result(0))
    sink.abort()
    assert [path.name for path in (tmp_path / "kitti" / "tracking").iterdir()] == ["made_drive.partial.txt"]
