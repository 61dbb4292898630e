"""Odd input of the 3D tracker: refused with its row, or handled by the rule that the module states."""

from __future__ import annotations

import numpy as np
import pytest

from perception.geometry import SE3
from perception.tracking.box_tracker import BoxTracker
from perception.tracking.settings import BoxTrackerSettings, load_box_settings

FRAME_NS = 100_000_000
BOXES = np.array([[20.0, 3.0, 0.8, 0.0, 4.2, 1.7, 1.5], [12.0, -4.0, 0.9, 1.0, 4.0, 1.8, 1.6]])
SCORES, CLASSES = np.full(2, 8.0), np.zeros(2, np.int64)


@pytest.fixture(scope="module")
def settings() -> BoxTrackerSettings:
    return load_box_settings("pointrcnn")


def running(settings: BoxTrackerSettings, frames: int = 5) -> BoxTracker:
    """A tracker that has followed two standing cars."""
    tracker = BoxTracker(settings)
    for t in range(frames):
        tracker.step(BOXES, SCORES, CLASSES, t * FRAME_NS, SE3.identity())
    return tracker


def test_bad_boxes_are_refused_by_row_and_change_nothing(settings: BoxTrackerSettings) -> None:
    tracker = running(settings)
    state = tracker._floats.copy()
    for column, value in ((0, np.nan), (4, -1.0), (5, 0.0), (3, np.inf)):
        bad = BOXES.copy()
        bad[1, column] = value
        with pytest.raises(ValueError, match="row 1"):
            tracker.step(bad, SCORES, CLASSES, 5 * FRAME_NS, SE3.identity())
    for score in (np.nan, np.inf):
        with pytest.raises(ValueError, match=f"scores finite, but row 0 is .* with score {score}"):
            tracker.step(BOXES, np.array([score, 1.0]), CLASSES, 5 * FRAME_NS, SE3.identity())
    with pytest.raises(ValueError, match=r"0 \.\.\. 2 \(car, pedestrian, cyclist\)"):
        tracker.step(BOXES, SCORES, np.array([0, 9]), 5 * FRAME_NS)
    with pytest.raises(ValueError, match=r"\(N, 7\)"):
        tracker.step(BOXES[:, :6], SCORES, CLASSES, 5 * FRAME_NS)
    np.testing.assert_array_equal(tracker._floats, state)
    assert tracker.step(BOXES, SCORES, CLASSES, 5 * FRAME_NS, SE3.identity()).track_ids.tolist() == [1, 2]


@pytest.mark.parametrize("poses", [True, False])
def test_long_without_detections_everything_is_forgotten_but_the_ids(settings: BoxTrackerSettings, poses: bool) -> None:
    tracker = running(settings)
    none = np.zeros((0, 7)), np.zeros(0), np.zeros(0, np.int64)
    for t in range(5, 3000):
        shown = tracker.step(*none, t * FRAME_NS, SE3.identity() if poses else None)
        if t > 40:
            assert len(shown) == 0 and tracker.live_ids() == []
    assert np.isfinite(tracker.world_SE3_ego.translation).all()
    again = tracker.step(BOXES, SCORES, CLASSES, 3000 * FRAME_NS, SE3.identity() if poses else None)
    assert again.track_ids.tolist() == [3, 4]


@pytest.mark.parametrize("step_ns", [-FRAME_NS, -(10**15), 4 * 10**9, 10**15])
def test_time_that_runs_backwards_or_jumps_ends_all_tracks(settings: BoxTrackerSettings, step_ns: int) -> None:
    tracker = running(settings)
    assert tracker.step(BOXES, SCORES, CLASSES, 4 * FRAME_NS + step_ns, SE3.identity()).track_ids.tolist() == [3, 4]


def test_a_frame_twice_starts_nothing_and_ages_nothing(settings: BoxTrackerSettings) -> None:
    tracker = running(settings)
    once = tracker.step(BOXES, SCORES, CLASSES, 5 * FRAME_NS, SE3.identity())
    twice = tracker.step(BOXES, SCORES, CLASSES, 5 * FRAME_NS, SE3.identity())
    assert twice.track_ids.tolist() == once.track_ids.tolist() == [1, 2]
    assert twice.ages.tolist() == once.ages.tolist()
    np.testing.assert_allclose(twice.boxes_ego, once.boxes_ego, atol=0.02)


def test_of_too_many_boxes_the_best_are_used(settings: BoxTrackerSettings) -> None:
    rng = np.random.default_rng(0)
    places = np.stack(np.meshgrid(np.arange(100), np.arange(100)), axis=-1).reshape(-1, 2) * 10.0
    boxes = np.tile(BOXES[0], (10_000, 1))
    boxes[:, :2] = places
    scores = rng.permutation(10_000) / 1000.0 + 5.0
    tracker = BoxTracker(settings.model_copy(update={"max_objects": 200}))
    state = tracker._floats, tracker._integers
    for t in range(3):
        tracks = tracker.step(boxes, scores, np.zeros(10_000, np.int64), t * FRAME_NS, SE3.identity())
    assert set(tracks.detection_rows.tolist()) == set(np.argsort(-scores)[:200].tolist())
    assert tracks.track_ids.tolist() == list(range(1, 201))
    assert tracker._floats is state[0] and tracker._integers is state[1], "the state never grows"


def test_births_beyond_the_room_for_tracks_are_left_out(settings: BoxTrackerSettings) -> None:
    """Flickering detections give birth in every frame; the state never grows and ids are never used twice."""
    tracker = BoxTracker(settings.model_copy(update={"max_objects": 20}))
    rng = np.random.default_rng(0)
    highest = 0
    for t in range(200):
        boxes = np.tile(BOXES[0], (20, 1))
        boxes[:, :2] = rng.uniform(-1e4, 1e4, (20, 2))
        ids = tracker.step(boxes, np.full(20, 8.0), np.zeros(20, np.int64), t * FRAME_NS, SE3.identity()).track_ids
        born = ids[ids > highest]
        assert len(np.unique(ids)) == len(ids) <= 40
        highest = max([highest, *born.tolist()])
        assert len(tracker.live_ids()) <= 40
