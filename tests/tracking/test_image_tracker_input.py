"""What the image tracker does with input that should not occur, and with much of it."""

from __future__ import annotations

import numpy as np
import pytest

from perception.config import load_config
from perception.errors import ConfigError
from perception.kernels import image_tracks
from perception.tracking.factory import make_tracker
from perception.tracking.image_tracker import ImageTracker, ImageTrackerSettings

FRAME_NS = 100_000_000
BOX = np.array([[100.0, 50.0, 160.0, 100.0], [300.0, 60.0, 330.0, 140.0]], np.float32)
SCORES = np.array([0.9, 0.8], np.float32)
CLASSES = np.array([0, 7])


def running(**settings: object) -> ImageTracker:
    tracker = ImageTracker(ImageTrackerSettings(min_hits=1, **settings))  # type: ignore[arg-type]
    for t in range(5):
        tracker.track_boxes(BOX, SCORES, CLASSES, t * FRAME_NS)
    return tracker


def changed(array: np.ndarray, place: object, value: float) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("boxes", "scores", "classes", "message"),
    [
        (changed(BOX, (1, 2), np.nan), SCORES, CLASSES, r"boxes_xyxy must be finite .* row 1 is \[300.0, 60.0, nan"),
        (changed(BOX, (0, 0), -np.inf), SCORES, CLASSES, r"boxes_xyxy must be finite .* row 0"),
        (changed(BOX, (0, 3), np.inf), SCORES, CLASSES, r"boxes_xyxy must be finite .* row 0"),
        (changed(BOX, (1, 2), 299.0), SCORES, CLASSES, r"x1 <= x2 .* row 1 is \[300.0, 60.0, 299.0"),
        (changed(BOX, (0, 3), 49.0), SCORES, CLASSES, r"y1 <= y2 .* row 0"),
        (BOX, changed(SCORES, 1, 1.5), CLASSES, r"scores must be 0 \.\.\. 1 but row 1 is 1.5"),
        (BOX, changed(SCORES, 0, -0.1), CLASSES, r"scores must be 0 \.\.\. 1 but row 0"),
        (BOX, changed(SCORES, 0, np.nan), CLASSES, r"scores must be 0 \.\.\. 1 but row 0 is nan"),
        (BOX, SCORES, np.array([0, 11]), r"class_ids must be 0 \.\.\. 10 but row 1 is 11"),
        (BOX, SCORES, np.array([-1, 7]), r"class_ids must be 0 \.\.\. 10 but row 0 is -1"),
        (BOX[:, :3], SCORES, CLASSES, r"boxes_xyxy must be \(N, 4\) but got shape \(2, 3\)"),
        (BOX, SCORES[:1], CLASSES, r"scores must be \(2,\) but got shape \(1,\)"),
    ],
)
def test_bad_detections_are_refused_and_change_nothing(
    boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, message: str
) -> None:
    tracker, undisturbed = running(), running()
    with pytest.raises(ValueError, match=message):
        tracker.track_boxes(boxes, scores, classes, 5 * FRAME_NS)
    one = tracker.track_boxes(BOX, SCORES, CLASSES, 5 * FRAME_NS)
    other = undisturbed.track_boxes(BOX, SCORES, CLASSES, 5 * FRAME_NS)
    assert one.track_ids.tolist() == other.track_ids.tolist() == [1, 2]
    np.testing.assert_array_equal(one.boxes_xyxy, other.boxes_xyxy)
    np.testing.assert_array_equal(one.ages, other.ages)


def test_a_bad_row_in_a_crowd_is_named_before_the_best_are_chosen() -> None:
    boxes = np.tile(BOX[:1], (50, 1))
    boxes[33, 0] = np.nan
    tracker = running(max_objects=10)
    with pytest.raises(ValueError, match="row 33"):
        tracker.track_boxes(boxes, np.full(50, 0.9, np.float32), np.zeros(50, np.int64), 5 * FRAME_NS)


@pytest.mark.parametrize("columns", [4, 32])
def test_embeddings_are_checked(columns: int) -> None:
    tracker = running()
    good = np.eye(2, columns, dtype=np.float32)
    tracker.track_boxes(BOX, SCORES, CLASSES, 5 * FRAME_NS, good)
    with pytest.raises(ValueError, match="embeddings must be finite but row 1"):
        tracker.track_boxes(BOX, SCORES, CLASSES, 6 * FRAME_NS, changed(good, (1, 0), np.nan))
    with pytest.raises(ValueError, match=r"embeddings must have rows of length 1 .* row 0 has 3"):
        tracker.track_boxes(BOX, SCORES, CLASSES, 6 * FRAME_NS, changed(good, (0, 0), 3.0))
    with pytest.raises(ValueError, match=f"embeddings must have {columns} columns as before but got 5"):
        tracker.track_boxes(BOX, SCORES, CLASSES, 6 * FRAME_NS, np.eye(2, 5, dtype=np.float32))
    # a frame without embeddings is legal at any time
    assert len(tracker.track_boxes(BOX, SCORES, CLASSES, 6 * FRAME_NS)) == 2


def test_long_without_detections_everything_is_forgotten_but_the_ids() -> None:
    tracker = running(refind_s=2.0)
    none = np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    for t in range(5, 3000):
        assert len(tracker.track_boxes(*none, t * FRAME_NS)) == 0
        if t > 26:
            assert tracker.live_ids() == []
    assert tracker.track_boxes(BOX, SCORES, CLASSES, 3000 * FRAME_NS).track_ids.tolist() == [3, 4]


@pytest.mark.parametrize("step_ns", [-FRAME_NS, -(10**15), 4 * 10**9, 10**15])
def test_time_that_runs_backwards_or_jumps_ends_all_tracks(step_ns: int) -> None:
    tracker = running(refind_s=10.0)
    ids = tracker.track_boxes(BOX, SCORES, CLASSES, 4 * FRAME_NS + step_ns).track_ids
    assert ids.tolist() == [3, 4]


def test_a_frame_twice_moves_nothing() -> None:
    tracker = ImageTracker(ImageTrackerSettings(min_hits=1))
    for t in range(8):
        last = tracker.track_boxes(BOX + 5 * t, SCORES, CLASSES, t * FRAME_NS)
    again = tracker.track_boxes(BOX + 35, SCORES, CLASSES, 7 * FRAME_NS)
    assert again.track_ids.tolist() == last.track_ids.tolist()
    # without prediction a second look at the same box can only bring the estimate nearer to it
    assert (np.abs(again.boxes_xyxy - (BOX + 35)) <= np.abs(last.boxes_xyxy - (BOX + 35)) + 1e-4).all()


def test_boxes_without_area_and_far_away_are_survived() -> None:
    tracker = running()
    odd = np.array([[5.0, 5, 5, 5], [1e30, 1e30, 2e30, 2e30], [-1e9, 0, 1e9, 1e9]], np.float32)
    for t in range(5, 10):
        tracks = tracker.track_boxes(odd, np.full(3, 0.9, np.float32), np.zeros(3, np.int64), t * FRAME_NS)
        assert np.isfinite(tracks.boxes_xyxy).all()


def test_of_too_many_boxes_the_best_are_used() -> None:
    rng = np.random.default_rng(0)
    corners = np.stack(np.meshgrid(np.arange(100), np.arange(100)), axis=-1).reshape(-1, 2) * 40.0
    boxes = np.concatenate([corners, corners + 30], axis=1).astype(np.float32)
    scores = rng.permutation(10_000).astype(np.float32) / 10_000
    tracker = ImageTracker(ImageTrackerSettings(min_hits=1, max_objects=200))
    for t in range(3):
        tracks = tracker.track_boxes(boxes, scores, np.zeros(10_000, np.int64), t * FRAME_NS)
    assert set(tracks.detection_rows.tolist()) == set(np.argsort(-scores)[:200].tolist())
    assert tracks.track_ids.tolist() == list(range(1, 201))


def test_memory_stays_the_same() -> None:
    """Flickering detections give birth in every frame; the state never grows and ids are never used twice."""
    tracker = ImageTracker(ImageTrackerSettings(min_hits=1, max_objects=20, refind_s=5.0, refind_reach=0.01))
    state = tracker._floats, tracker._integers
    rng = np.random.default_rng(0)
    seen: set[int] = set()
    for t in range(300):
        corners = rng.uniform(0, 1e6, (20, 2))
        boxes = np.concatenate([corners, corners + 30], axis=1).astype(np.float32)
        ids = tracker.track_boxes(boxes, np.full(20, 0.9, np.float32), np.zeros(20, np.int64), t * FRAME_NS).track_ids
        new = {int(i) for i in ids} - seen
        assert all(i > max(seen, default=0) for i in new)
        seen |= new
        assert len(tracker.live_ids()) <= 40
    assert tracker._floats is state[0] and tracker._integers is state[1]


def test_the_kernels_table_has_a_column_for_every_name() -> None:
    settings = ImageTrackerSettings(per_class=("pedestrian.min_iou=0.07", "car.max_coast_frames = 3"))
    table = settings.parameters()
    assert table.shape == (11, len(image_tracks.PARAMETERS))
    for name in image_tracks.PARAMETERS[:-1]:
        column = getattr(image_tracks, _CONSTANT.get(name, name.upper()))
        assert image_tracks.PARAMETERS.index(name) == column
        assert table[1, column] == float(getattr(settings, name))
    assert table[7, image_tracks.MIN_IOU] == 0.07 and table[0, image_tracks.MAX_COAST] == 3


_CONSTANT = {
    "high_score": "HIGH", "low_score": "LOW", "birth_score": "BIRTH", "sure_score": "SURE",
    "direction_weight": "DIRECTION", "appearance_weight": "APPEARANCE", "max_coast_frames": "MAX_COAST",
    "show_coast_frames": "SHOW_COAST", "tentative_frames": "TENTATIVE", "acceleration_std": "ACCELERATION",
    "growth_std": "GROWTH",
}  # fmt: skip


@pytest.mark.parametrize(
    ("difference", "message"),
    [
        ("pedestrain.min_iou=0.1", "did you mean pedestrian"),
        ("pedestrian.min_iuo=0.1", "did you mean min_iou"),
        ("pedestrian.min_iou=much", "expected a number but got 'much'"),
        ("pedestrian.min_iou=7", "min_iou must be 0 ... 1"),
        ("pedestrian.low_score=0.9", "must not exceed high_score"),
    ],
)
def test_wrong_differences_of_a_class_are_named(difference: str, message: str) -> None:
    config = load_config(overrides=["tracking.tracker=image", f'tracking.image.per_class=["{difference}"]'])
    with pytest.raises(ConfigError, match=message):
        make_tracker(config.tracking)
