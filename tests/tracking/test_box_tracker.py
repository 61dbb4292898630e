"""The 3D tracker on a simulated street whose truth is known, online and offline."""

from __future__ import annotations

import numpy as np
import pytest

from perception.geometry import SE3
from perception.tracking.box_tracker import BoxTracker
from perception.tracking.detection_tracks import track_boxes, track_boxes_offline
from perception.tracking.settings import BoxTrackerSettings, load_box_settings

FRAME_NS = 100_000_000
CAR = np.array([4.2, 1.7, 1.5])
# a camera that sees all around for these tests: only what lies behind it is out of the image
PROJECTION = np.array([[600.0, -700.0, 0, 0], [200.0, 0, -700.0, 0], [1.0, 0, 0, 0]])
SIZE = (1200.0, 400.0)


@pytest.fixture(scope="module")
def settings() -> BoxTrackerSettings:
    return load_box_settings("pointrcnn")


def street(frames: int, turn_rate: float = 0.0, seed: int = 0) -> tuple[list[SE3], list[np.ndarray]]:
    """Poses of a vehicle at 10 m/s and, in its frame, boxes of 12 parked cars and two that drive."""
    rng = np.random.default_rng(seed)
    parked = np.stack([rng.uniform(5, 140, 12), np.repeat([-7.0, 7.0], 6), np.full(12, 0.75)], axis=1)
    parked[:, 0] = np.sort(parked[:, 0].reshape(2, 6), axis=1).ravel() + np.tile(np.arange(6) * 8, 2)
    poses, boxes = [], []
    heading, position = 0.0, np.zeros(3)
    for t in range(frames):
        poses.append(SE3.from_yaw(heading, position))
        ahead = np.array([[15 + 1.2 * t, -2.0, 0.75], [120 - 1.5 * t, 2.5, 0.75]])
        world = np.concatenate([parked, ahead])
        local = poses[-1].inverse().apply(world)
        yaws = np.concatenate([np.zeros(13), [np.pi]]) - heading
        noisy = np.concatenate(
            [local + rng.normal(0, 0.05, local.shape), yaws[:, None] + rng.normal(0, 0.02, (14, 1)),
             CAR + rng.normal(0, 0.05, (14, 3))], axis=1,
        )  # fmt: skip
        boxes.append(noisy)
        position = position + np.array([np.cos(heading), np.sin(heading), 0.0])
        heading += 0.1 * turn_rate
    return poses, boxes


def ids_of_objects(tracker: BoxTracker, poses: list[SE3] | None, boxes: list[np.ndarray]) -> list[set[int]]:
    ids: list[set[int]] = [set() for _ in range(14)]
    for t, now in enumerate(boxes):
        tracker.step(now, np.full(14, 8.0), np.zeros(14, np.int64), t * FRAME_NS, poses[t] if poses else None)
        for track_id, row in tracker.pairs():
            ids[row].add(int(track_id))
    return ids


@pytest.mark.parametrize("given_poses", [True, False])
@pytest.mark.parametrize("turn_rate", [0.0, 0.4])
def test_ids_hold_while_the_vehicle_drives_and_turns(
    settings: BoxTrackerSettings, given_poses: bool, turn_rate: float
) -> None:
    poses, boxes = street(40, turn_rate)
    ids = ids_of_objects(BoxTracker(settings), poses if given_poses else None, boxes)
    assert all(len(seen) == 1 for seen in ids)
    assert len(set.union(*ids)) == 14


def test_the_vehicles_own_motion_is_found(settings: BoxTrackerSettings) -> None:
    poses, boxes = street(40, 0.4)
    tracker = BoxTracker(settings)
    ids_of_objects(tracker, None, boxes)
    travelled = np.linalg.norm(poses[-1].translation - tracker.world_SE3_ego.translation)
    # what the first frames attribute to the cars instead stays: their common speed cannot be told from the vehicle's
    assert travelled < 4.0, "39 m driven round a bend"
    assert abs(poses[-1].yaw_rad - tracker.world_SE3_ego.yaw_rad) < 0.03


def test_poses_once_given_out_stay_as_they_were(settings: BoxTrackerSettings) -> None:
    _, boxes = street(12)
    tracker = BoxTracker(settings)
    held = []
    for t, now in enumerate(boxes):
        tracker.step(now, np.full(14, 8.0), np.zeros(14, np.int64), t * FRAME_NS)
        held.append((tracker.world_SE3_ego, tracker.world_SE3_ego.translation.copy()))
    for pose, then in held:
        np.testing.assert_array_equal(pose.translation, then)
    assert held[-1][1][0] > held[5][1][0] + 1.0


def test_a_car_ahead_alone_does_not_spin_the_world(settings: BoxTrackerSettings) -> None:
    rng = np.random.default_rng(0)
    tracker = BoxTracker(settings)
    for t in range(300):
        ahead = np.array([[30.0, 0.6 * np.sin(0.02 * t), 0.75, 0.0, *CAR]])
        ahead[:, :4] += rng.normal(0, 0.05, 4)
        tracks = tracker.step(ahead, np.full(1, 8.0), np.zeros(1, np.int64), t * FRAME_NS)
        assert tracks.track_ids[tracks.detection_rows == 0].tolist() == [1]
        assert np.hypot(*(tracks.boxes_ego[0, :2] - ahead[0, :2])) < 0.3
    assert abs(tracker.world_SE3_ego.yaw_rad) < 0.35


def test_velocities_are_those_of_the_world(settings: BoxTrackerSettings) -> None:
    poses, boxes = street(40)
    tracker = BoxTracker(settings)
    for t, now in enumerate(boxes):
        tracks = tracker.step(now, np.full(14, 8.0), np.zeros(14, np.int64), t * FRAME_NS, poses[t])
    speeds = {int(row): tracks.velocities_world[i] for i, row in enumerate(tracks.detection_rows)}
    np.testing.assert_allclose(speeds[12], [12.0, 0.0], atol=0.7)
    np.testing.assert_allclose(speeds[13], [-15.0, 0.0], atol=0.7)
    np.testing.assert_allclose(speeds[0], [0.0, 0.0], atol=0.7)


def test_a_gap_is_shown_as_long_as_evidence_lasts(settings: BoxTrackerSettings) -> None:
    _, boxes = street(40)
    tracker = BoxTracker(settings)
    shown = []
    for t, now in enumerate(boxes):
        rows = np.arange(14) if t < 20 else np.delete(np.arange(14), 12)
        tracks = tracker.step(now[rows], np.full(len(rows), 8.0), np.zeros(len(rows), np.int64), t * FRAME_NS)
        shown.append(int((tracks.detection_rows < 0).sum()))
    coast = int(settings.classes["car"].show_coast_frames)
    assert shown[19] == 0 and shown[20] == 1 and shown[20 + coast] == 0


def test_yaw_flips_are_repaired(settings: BoxTrackerSettings) -> None:
    _, boxes = street(30)
    tracker = BoxTracker(settings)
    for t, now in enumerate(boxes):
        now[::2, 3] += np.pi * (t % 3 == 1)
        tracks = tracker.step(now, np.full(14, 8.0), np.zeros(14, np.int64), t * FRAME_NS)
        if t > 5:
            off = np.cos(tracks.boxes_ego[tracks.detection_rows < 13, 3])
            assert (off > 0.95).all()


def test_a_track_born_lying_across_turns_with_its_detections(settings: BoxTrackerSettings) -> None:
    box = np.array([[20.0, 3.0, 0.8, 0.3, *CAR]])
    tracker = BoxTracker(settings)
    for t in range(10):
        seen = box + np.array([0, 0, 0, 0.5 * np.pi * (t < 2), 0, 0, 0])
        tracks = tracker.step(seen, np.full(1, 6.0), np.zeros(1, np.int64), t * FRAME_NS, SE3.identity())
    assert abs(tracks.boxes_ego[0, 3] - 0.3) < 0.05
    # and one box across is passed over
    seen = box + np.array([0, 0, 0, 0.5 * np.pi, 0, 0, 0])
    tracks = tracker.step(seen, np.full(1, 6.0), np.zeros(1, np.int64), 10 * FRAME_NS, SE3.identity())
    assert abs(tracks.boxes_ego[0, 3] - 0.3) < 0.05


def test_of_two_readings_of_one_object_the_likelier_wins(settings: BoxTrackerSettings) -> None:
    cyclist, walker = np.array([15.0, 2, 0.9, 0, 1.8, 0.6, 1.7]), np.array([15.1, 2, 0.9, 0, 0.8, 0.6, 1.7])
    scores, classes = np.array([8.0, 2.5]), np.array([2, 1])
    aside = np.array([0, 8, 0, 0, 0, 0, 0])
    apart, together = BoxTracker(settings), BoxTracker(settings)
    for t in range(5):
        far = apart.step(np.stack([cyclist, walker + aside]), scores, classes, t * FRAME_NS)
        near = together.step(np.stack([cyclist, walker]), scores, classes, t * FRAME_NS)
    assert near.class_rows.tolist() == far.class_rows.tolist() == [2, 1]
    assert abs(near.scores[0] - far.scores[0]) < 1.0
    assert near.scores[1] < far.scores[1] - 2.0


def test_an_unseen_track_on_the_place_of_a_seen_one_is_not_shown(settings: BoxTrackerSettings) -> None:
    tracker = BoxTracker(settings)
    one, score = np.zeros(1, np.int64), np.full(1, 9.0)
    parked = np.array([[20.0, 3.0, 0.8, 0.0, *CAR]])
    for t in range(20):
        passing = np.array([[4.0 + 0.7 * t, 3.0, 0.8, 0.0, *CAR]])
        both = np.concatenate([parked, passing])
        tracker.step(both, np.full(2, 9.0), np.zeros(2, np.int64), t * FRAME_NS, SE3.identity())
    # the driven one stops being seen just before it would run through the parked one
    shown = [tracker.step(parked, score, one, t * FRAME_NS, SE3.identity()) for t in range(20, 24)]
    assert all(len(tracks) == 1 for tracks in shown[1:])
    assert len(tracker.live_ids()) == 2


def test_a_double_of_a_tracked_box_starts_nothing(settings: BoxTrackerSettings) -> None:
    box = np.array([[20.0, 3.0, 0.8, 0.0, *CAR]])
    double = box + np.array([0.4, 0.3, 0, 0.05, 0, 0, 0])
    tracker = BoxTracker(settings)
    for t in range(10):
        both = np.concatenate([box, double]) if t > 2 else box
        tracker.step(both, np.full(len(both), 6.0), np.zeros(len(both), np.int64), t * FRAME_NS)
    assert len(tracker.live_ids()) == 1


def test_another_view_of_the_same_moment_takes_no_evidence_away(settings: BoxTrackerSettings) -> None:
    left, right = np.array([[20.0, 12.0, 0.8, 0.0, *CAR]]), np.array([[20.0, -12.0, 0.8, 0.0, *CAR]])
    tracker = BoxTracker(settings)
    one, score = np.zeros(1, np.int64), np.full(1, 6.0)
    for t in range(30):
        tracker.step(left, score, one, t * FRAME_NS, SE3.identity())
        tracker.step(right, score, one, t * FRAME_NS, SE3.identity())
    assert tracker.live_ids() == [1, 2]


def sequence(hidden: set[tuple[int, int]]) -> tuple[np.ndarray, ...]:
    _, boxes = street(50)
    keep = [[k for k in range(14) if (t, k) not in hidden and now[k, 0] > 2] for t, now in enumerate(boxes)]
    starts = np.concatenate([[0], np.cumsum([len(rows) for rows in keep])]).astype(np.int64)
    flat = np.concatenate([now[rows] for now, rows in zip(boxes, keep, strict=True)])
    return starts, flat, np.full(len(flat), 8.0), np.zeros(len(flat), np.int64)


def test_offline_joins_what_a_long_gap_broke(settings: BoxTrackerSettings) -> None:
    hidden = {(t, 12) for t in range(18, 40)}
    short = settings.model_copy(
        update={"classes": {n: c.model_copy(update={"max_coast_frames": 3.0}) for n, c in settings.classes.items()}}
    )
    online = track_boxes(short, *sequence(hidden), PROJECTION, SIZE)
    offline = track_boxes_offline(short, *sequence(hidden), PROJECTION, SIZE)
    assert len(np.unique(online.track_ids)) == len(np.unique(offline.track_ids)) + 1
    counts = [int((offline.track_ids == i).sum()) for i in np.unique(offline.track_ids)]
    assert 50 - 22 in counts, "one object over both parts, its gap of 22 frames too long to fill"
    filling = short.model_copy(
        update={"classes": {n: c.model_copy(update={"fill_frames": 22.0}) for n, c in short.classes.items()}}
    )
    filled = track_boxes_offline(filling, *sequence(hidden), PROJECTION, SIZE)
    joined = [i for i in np.unique(filled.track_ids) if (filled.track_ids == i).sum() == 50]
    assert joined, "the object is there in every frame"


def test_offline_sizes_are_one_per_track_and_scores_too(settings: BoxTrackerSettings) -> None:
    rows = track_boxes_offline(settings, *sequence(set()), PROJECTION, SIZE)
    for track_id in np.unique(rows.track_ids):
        mine = rows.track_ids == track_id
        assert np.ptp(rows.boxes_ego[mine, 4:], axis=0).max() < 1e-9
        assert np.ptp(rows.scores[mine]) < 1e-9
        if mine.sum() > 10:
            np.testing.assert_allclose(rows.boxes_ego[mine][0, 4:], CAR, atol=0.06)


def test_nothing_in_nothing_out(settings: BoxTrackerSettings) -> None:
    none = (np.zeros(6, np.int64), np.zeros((0, 7)), np.zeros(0), np.zeros(0, np.int64))
    assert len(track_boxes(settings, *none, PROJECTION, SIZE)) == 0
    assert len(track_boxes_offline(settings, *none, PROJECTION, SIZE)) == 0
