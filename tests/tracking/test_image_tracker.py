"""Image trackers on trajectories whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from perception.tracking.image_tracker import ImageTracker, ImageTrackerSettings

FRAME_NS = 100_000_000


def boxes_at(centres: np.ndarray, size: tuple[float, float] = (60, 50)) -> np.ndarray:
    half = np.array(size) / 2
    return np.concatenate([centres - half, centres + half], axis=1).astype(np.float32)


def follow(
    tracker: ImageTracker, centres: np.ndarray, hidden: set[tuple[int, int]] = frozenset()
) -> dict[int, set[int]]:
    """Feeds (T, K, 2) centres; returns the ids that each object had."""
    ids: dict[int, set[int]] = {k: set() for k in range(centres.shape[1])}
    for t, now in enumerate(centres):
        rows = np.array([k for k in range(len(now)) if (t, k) not in hidden], dtype=np.int64)
        tracks = tracker.track_boxes(
            boxes_at(now[rows]), np.full(len(rows), 0.9, np.float32), np.zeros(len(rows), np.int64), t * FRAME_NS
        )
        for track_id, row in zip(tracks.track_ids, tracks.detection_rows, strict=True):
            ids[int(rows[row])].add(int(track_id))
    return ids


def test_two_objects_that_cross_keep_their_ids() -> None:
    t = np.arange(40)[:, None]
    one = np.concatenate([100 + 10 * t, 200 + 0 * t], axis=1)
    other = np.concatenate([490 - 10 * t, 215 + 0 * t], axis=1)
    ids = follow(ImageTracker(ImageTrackerSettings()), np.stack([one, other], axis=1).astype(float))
    assert [len(ids[0]), len(ids[1])] == [1, 1] and ids[0] != ids[1]


def test_a_gap_is_bridged_and_a_longer_one_is_not() -> None:
    path = np.stack([100 + 6.0 * np.arange(60), np.full(60, 150.0)], axis=1)[:, None]
    hidden = {(t, 0) for t in range(20, 28)}
    assert len(follow(ImageTracker(ImageTrackerSettings()), path, hidden)[0]) == 1
    hidden = {(t, 0) for t in range(20, 45)}
    assert len(follow(ImageTracker(ImageTrackerSettings(max_coast_frames=5)), path, hidden)[0]) == 2


def test_a_weak_detection_continues_a_track_but_starts_none() -> None:
    tracker = ImageTracker(ImageTrackerSettings(min_hits=1))
    box = boxes_at(np.array([[100.0, 100.0]]))
    none = np.zeros(1, np.int64)
    for t in range(5):
        assert len(tracker.track_boxes(box, np.full(1, 0.3, np.float32), none, t * FRAME_NS)) == 0
    first = tracker.track_boxes(box, np.full(1, 0.9, np.float32), none, 5 * FRAME_NS)
    after = tracker.track_boxes(box, np.full(1, 0.3, np.float32), none, 6 * FRAME_NS)
    assert after.track_ids.tolist() == first.track_ids.tolist()


def test_classes_do_not_continue_each_other() -> None:
    tracker = ImageTracker(ImageTrackerSettings(min_hits=1))
    box, score = boxes_at(np.array([[100.0, 100.0]])), np.full(1, 0.9, np.float32)
    car = tracker.track_boxes(box, score, np.array([0]), 0)
    person = tracker.track_boxes(box, score, np.array([7]), FRAME_NS)
    assert person.track_ids.tolist() != car.track_ids.tolist()


def test_camera_motion_is_compensated() -> None:
    """A pan of 80 px a frame would break every overlap; told of it, the tracker keeps the id."""

    def run(warp: bool) -> int:
        tracker = ImageTracker(ImageTrackerSettings(min_hits=1, recover_iou=1.0))
        seen = set()
        for t in range(6):
            box = boxes_at(np.array([[600.0 - 80 * t, 100.0]]))
            shift = np.array([[1.0, 0, -80 if t and warp else 0], [0, 1.0, 0], [0, 0, 1.0]])
            tracker.track_boxes(box, np.full(1, 0.9, np.float32), np.zeros(1, np.int64), t * FRAME_NS, None, shift)
            seen |= set(tracker.live_ids())
        return len(seen)

    assert run(warp=True) == 1
    assert run(warp=False) > 1


def test_a_thousand_objects_keep_their_ids() -> None:
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(40), np.arange(25)), axis=-1).reshape(-1, 2) * 80.0
    speed = rng.normal(0, 2, grid.shape)
    centres = np.stack([grid + t * speed for t in range(6)])
    ids = follow(ImageTracker(ImageTrackerSettings(min_hits=1)), centres)
    assert all(len(seen) == 1 for seen in ids.values())
    assert len(set.union(*ids.values())) == 1000


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="min_iou"):
        ImageTrackerSettings(min_iou=1.5)
    with pytest.raises(ValueError, match="low_score"):
        ImageTrackerSettings(high_score=0.1, low_score=0.5)
