"""The contract that every tracker of the factory keeps."""

from __future__ import annotations

import numpy as np
import pytest

from perception.config import TrackingConfig, load_config
from perception.errors import ConfigError
from perception.geometry import SE3
from perception.roles import Tracker
from perception.tracking.factory import TRACKERS, make_tracker
from perception.types import Boxes3D, Detections, Frame, Tracks

IMAGE = np.zeros((375, 1242, 3), np.uint8)


def settings_of(name: str) -> TrackingConfig:
    return load_config(overrides=[f"tracking.tracker={name}"]).tracking


def frame_at(index: int, timestamp_ns: int | None = None) -> Frame:
    return Frame(index, f"{index:06d}", index * 100_000_000 if timestamp_ns is None else timestamp_ns, IMAGE)


def two_objects(index: int) -> tuple[Detections, Boxes3D]:
    """A car that drives right and a pedestrian that walks left, seen by camera and lidar."""
    boxes = np.array([[100 + 8 * index, 150, 200 + 8 * index, 220], [800 - 3 * index, 140, 830 - 3 * index, 230]])
    centers = np.array([[20.0, 8 - 0.5 * index, 0.8], [12.0, -3 + 0.12 * index, 0.9]])
    lifted = Boxes3D(
        centers.astype(np.float32),
        np.array([[4, 1.7, 1.5], [0.8, 0.7, 1.8]], np.float32),
        np.array([-np.pi / 2, np.pi / 2], np.float32),
        np.array([0.9, 0.8], np.float32),
    )
    return Detections(boxes.astype(np.float32), np.array([0.9, 0.8], np.float32), np.array([0, 7])), lifted


def run(tracker: Tracker, frames: range) -> list[Tracks]:
    return [tracker.update(frame_at(i), *two_objects(i), SE3.identity()) for i in frames]


@pytest.mark.parametrize("name", TRACKERS)
class TestContract:
    def test_plays_the_role(self, name: str) -> None:
        assert isinstance(make_tracker(settings_of(name)), Tracker)

    def test_keeps_one_id_per_object(self, name: str) -> None:
        results = run(make_tracker(settings_of(name)), range(20))
        last = results[-1]
        assert len(last) == 2
        for class_id in (0, 7):
            ids = {int(i) for t in results for i in t.track_ids[t.class_ids == class_id]}
            assert len(ids) == 1
        assert set(last.detection_rows.tolist()) == {0, 1}
        truth = two_objects(19)[0].boxes_xyxy[last.detection_rows]
        np.testing.assert_allclose(last.boxes_xyxy, truth, atol=8)

    def test_empty_frames_are_legal_and_end_tracks(self, name: str) -> None:
        tracker = make_tracker(settings_of(name))
        run(tracker, range(10))
        for index in range(10, 60):
            tracks = tracker.update(frame_at(index), Detections.empty(), Boxes3D.empty(), SE3.identity())
        assert len(tracks) == 0
        again = [tracker.update(frame_at(i), *two_objects(i % 60), SE3.identity()) for i in range(60, 70)]
        assert again[-1].track_ids.min() > 2, "an id was used twice"

    def test_reset_starts_ids_anew(self, name: str) -> None:
        tracker = make_tracker(settings_of(name))
        first = run(tracker, range(10))
        tracker.reset()
        second = run(tracker, range(10))
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one.track_ids, other.track_ids)
            np.testing.assert_array_equal(one.boxes_xyxy, other.boxes_xyxy)

    def test_a_frame_twice_changes_no_id(self, name: str) -> None:
        tracker = make_tracker(settings_of(name))
        before = run(tracker, range(10))[-1]
        again = tracker.update(frame_at(9), *two_objects(9), SE3.identity())
        assert set(again.track_ids.tolist()) == set(before.track_ids.tolist())

    def test_time_backwards_ends_tracks_without_reusing_ids(self, name: str) -> None:
        tracker = make_tracker(settings_of(name))
        old = run(tracker, range(10))[-1]
        later = [
            tracker.update(frame_at(i, timestamp_ns=i * 100_000_000 - 10**10), *two_objects(i), SE3.identity())
            for i in range(10, 20)
        ][-1]
        assert len(later) == 2
        assert not set(later.track_ids.tolist()) & set(old.track_ids.tolist())

    def test_ten_thousand_boxes_are_survived(self, name: str) -> None:
        rng = np.random.default_rng(0)
        corners = rng.uniform([0, 0], [1200, 350], (10_000, 2)).astype(np.float32)
        crowd = Detections(
            np.concatenate([corners, corners + 20], axis=1),
            rng.random(10_000).astype(np.float32),
            np.zeros(10_000, int),
        )
        tracker = make_tracker(settings_of(name))
        for index in range(3):
            tracks = tracker.update(frame_at(index), crowd, Boxes3D.empty(10_000), SE3.identity())
        assert len(np.unique(tracks.track_ids)) == len(tracks)

    def test_rows_point_at_the_frames_detections(self, name: str) -> None:
        tracker = make_tracker(settings_of(name))
        run(tracker, range(10))
        detections, boxes3d = two_objects(10)
        swapped = np.array([1, 0])
        tracks = tracker.update(frame_at(10), detections.select(swapped), boxes3d.select(swapped), SE3.identity())
        np.testing.assert_array_equal(tracks.class_ids, detections.class_ids[swapped][tracks.detection_rows])


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"'bytetrak'.*did you mean 'bytetrack'"):
        make_tracker(settings_of("bytetrak"))
