"""Each part of the image tracker on a scene that it decides."""

from __future__ import annotations

import numpy as np
import pytest

from perception.kernels.appearance import HISTOGRAM_COLUMNS, colour_histograms
from perception.tracking.appearance import Appearance
from perception.tracking.image_tracker import ImageTracker, ImageTrackerSettings
from perception.types import Detections, Frame, Tracks

FRAME_NS = 100_000_000
CAR, VAN, PEDESTRIAN = 0, 1, 7


def box_at(x: float, y: float = 100.0, width: float = 30.0, height: float = 80.0) -> list[float]:
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


def step(
    tracker: ImageTracker,
    t: int,
    boxes: list[list[float]],
    classes: list[int] | None = None,
    looks: np.ndarray | None = None,
    score: float = 0.9,
    motion: np.ndarray | None = None,
) -> Tracks:
    count = len(boxes)
    return tracker.track_boxes(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.full(count, score, np.float32),
        np.array(classes or [PEDESTRIAN] * count, np.int64),
        t * FRAME_NS,
        looks,
        motion,
    )


def id_of(tracks: Tracks, row: int) -> int:
    return int(tracks.track_ids[np.flatnonzero(tracks.detection_rows == row)[0]])


LOOKS = np.eye(2, 32, dtype=np.float32)


@pytest.mark.parametrize("appearance_weight", [0.0, 1.0])
def test_appearance_tells_apart_who_turned_back_behind_whom(appearance_weight: float) -> None:
    """Two people meet and turn back; motion alone takes them to have crossed."""
    tracker = ImageTracker(ImageTrackerSettings(min_hits=1, appearance_weight=appearance_weight))
    for t in range(10):
        start = step(tracker, t, [box_at(100 + 8 * t), box_at(260 - 8 * t)], looks=LOOKS)
    for t in range(10, 20):
        end = step(tracker, t, [box_at(172 - 8 * (t - 9)), box_at(188 + 8 * (t - 9))], looks=LOOKS)
    kept = [id_of(end, row) == id_of(start, row) for row in (0, 1)]
    assert kept == ([True, True] if appearance_weight else [False, False])


def lose_and_return(
    hidden: int,
    back_at: float = 230.0,
    classes: tuple[int, int] = (PEDESTRIAN, PEDESTRIAN),
    looks: tuple[np.ndarray | None, np.ndarray | None] = (LOOKS[:1], LOOKS[:1]),
    size: float = 1.0,
    **settings: object,
) -> bool:
    """Someone walks from 100 to 190 px, is hidden, and stands elsewhere; whether the id comes back."""
    tracker = ImageTracker(
        ImageTrackerSettings(min_hits=3, max_coast_frames=4, **({"refind_s": 4.0} | settings))  # type: ignore[arg-type]
    )
    for t in range(10):
        before = step(tracker, t, [box_at(100 + 10 * t)], [classes[0]], looks[0])
    for t in range(10, 10 + hidden):
        step(tracker, t, [])
    for t in range(10 + hidden, 16 + hidden):
        after = step(tracker, t, [box_at(back_at, width=30 * size, height=80 * size)], [classes[1]], looks[1])
    return id_of(before, 0) == id_of(after, 0)


def test_a_lost_track_is_found_again_with_its_id() -> None:
    assert lose_and_return(20)
    assert lose_and_return(20, looks=(None, None)), "near its place it is found without appearance too"
    assert not lose_and_return(20, refind_s=0.0), "switched off"
    assert not lose_and_return(45), "after refind_s it is forgotten"
    assert lose_and_return(45, refind_s=6.0)


def test_only_what_may_be_the_same_is_found_again() -> None:
    assert not lose_and_return(20, looks=(LOOKS[:1], LOOKS[1:])), "it looks different"
    assert not lose_and_return(20, classes=(PEDESTRIAN, CAR)), "it is of another class"
    assert not lose_and_return(20, back_at=900.0), "it is too far away"
    assert not lose_and_return(20, size=2.5), "it is too large"


def test_of_two_lost_tracks_each_comes_back_as_itself() -> None:
    tracker = ImageTracker(ImageTrackerSettings(min_hits=1, max_coast_frames=3, refind_s=4.0))
    for t in range(10):
        before = step(tracker, t, [box_at(100), box_at(160)], looks=LOOKS)
    for t in range(10, 22):
        step(tracker, t, [])
    after = step(tracker, 22, [box_at(130), box_at(140)], looks=np.ascontiguousarray(LOOKS[::-1]))
    assert [id_of(after, 0), id_of(after, 1)] == [id_of(before, 1), id_of(before, 0)]


def test_classes_that_detectors_confuse_continue_each_other_if_asked_to() -> None:
    def ids(class_gate: str, other: int) -> tuple[int, int]:
        tracker = ImageTracker(ImageTrackerSettings(min_hits=1, class_gate=class_gate))  # type: ignore[arg-type]
        seen: set[int] = set()
        for t in range(12):
            tracks = step(tracker, t, [box_at(100 + 2 * t, width=80)], [other if t % 4 == 3 else CAR])
            seen |= set(tracks.track_ids.tolist())
        return len(seen), int(tracks.class_ids[-1])

    assert ids("same", VAN)[0] > 1
    assert ids("group", VAN) == (1, CAR), "the class is the one that most scores speak for"
    assert ids("group", PEDESTRIAN)[0] > 1
    assert ids("any", PEDESTRIAN) == (1, CAR)


def test_in_a_group_the_same_class_is_preferred() -> None:
    tracker = ImageTracker(ImageTrackerSettings(min_hits=1, class_gate="group"))
    first = step(tracker, 0, [box_at(100, width=80), box_at(106, width=80)], [CAR, VAN])
    second = step(tracker, 1, [box_at(104, width=80), box_at(102, width=80)], [CAR, VAN])
    assert [id_of(second, 0), id_of(second, 1)] == [id_of(first, 0), id_of(first, 1)]


def test_a_second_detection_of_a_tracked_object_starts_no_track() -> None:
    for double_iou, live in ((1.0, 2), (0.6, 1)):
        tracker = ImageTracker(ImageTrackerSettings(min_hits=1, double_iou=double_iou))
        for t in range(4):
            step(tracker, t, [box_at(100)] if t == 0 else [box_at(100), box_at(104)])
        assert len(tracker.live_ids()) == live


def test_an_unseen_track_is_shown_where_it_is_thought_to_be() -> None:
    tracker = ImageTracker(ImageTrackerSettings(min_hits=3, show_coast_frames=2))
    for t in range(10):
        step(tracker, t, [box_at(100 + 6 * t)])
    for t, shown in ((10, 1), (11, 1), (12, 0)):
        tracks = step(tracker, t, [])
        assert len(tracks) == shown
        if shown:
            assert tracks.detection_rows.tolist() == [-1]
            np.testing.assert_allclose(tracks.boxes_xyxy[0], box_at(100 + 6 * t), atol=3)


def test_a_sure_detection_confirms_at_once() -> None:
    for sure_score, shown in ((1.1, 0), (0.8, 1)):
        tracker = ImageTracker(ImageTrackerSettings(min_hits=3, sure_score=sure_score))
        for t in range(6):
            step(tracker, t, [])
        assert len(step(tracker, 6, [box_at(100)])) == shown


def test_a_pan_loses_nobody_even_hidden_ones() -> None:
    """The camera turns by 60 px a frame, more than a width, while one of two people is hidden for half a second."""
    pan = np.array([[1.0, 0, -60.0], [0, 1.0, 4.0], [0, 0, 1.0]])
    for told in (True, False):
        tracker = ImageTracker(ImageTrackerSettings(min_hits=1))
        ids = set()
        for t in range(14):
            shift, drop = (-60.0 * (t - 4), 4.0 * (t - 4)) if t > 4 else (0.0, 0.0)
            boxes = [box_at(900 + 3 * t + shift, 100 + drop), box_at(700 - 2 * t + shift, 120 + drop)]
            seen = boxes[:1] if 6 <= t < 11 else boxes
            ids |= set(step(tracker, t, seen, motion=pan if told and t > 4 else None).track_ids.tolist())
        assert (ids == {1, 2}) == told


def test_histograms_tell_colours_apart_and_forgive_brightness() -> None:
    image = np.zeros((120, 300, 3), np.uint8)
    image[:, :100], image[:, 100:200], image[:, 200:] = (200, 30, 30), (170, 25, 25), (30, 60, 190)
    boxes = np.array([box_at(50), box_at(150), box_at(250), box_at(900)], np.float32)
    rows = colour_histograms(image, boxes)
    assert rows.shape == (4, HISTOGRAM_COLUMNS) and rows.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(rows[:3], axis=1), 1.0, rtol=1e-5)
    assert not rows[3].any(), "outside of the image nothing is known"
    alike = rows @ rows.T
    assert alike[0, 1] > 0.9 > 0.4 > alike[0, 2]


def test_the_weight_of_looks_is_nothing_where_none_are_told() -> None:
    rng = np.random.default_rng(0)
    places = rng.uniform(0.0, 400.0, (40, 2))
    trackers = [ImageTracker(ImageTrackerSettings(min_hits=1, appearance_weight=weight)) for weight in (0.0, 3.0)]
    for t in range(30):
        corners = (places + rng.normal(0.0, 12.0, places.shape))[rng.random(40) < 0.8]
        boxes = np.concatenate([corners, corners + np.array([30.0, 60.0])], axis=1).astype(np.float32)
        scores, classes = np.full(len(boxes), 0.9, np.float32), np.full(len(boxes), 7)
        plain, weighing = (tracker.track_boxes(boxes, scores, classes, t * FRAME_NS) for tracker in trackers)
        assert plain.track_ids.tolist() == weighing.track_ids.tolist()


def test_what_all_have_in_common_is_taken_from_embeddings() -> None:
    """Three objects whose embeddings are alike but for a little; one alone stays itself."""
    rng = np.random.default_rng(0)
    common = rng.normal(0.0, 1.0, 32)
    own = rng.normal(0.0, 0.3, (3, 32))
    frame = Frame(0, "0", 0, np.zeros((150, 300, 3), np.uint8))
    together, alone = Appearance("embedding"), Appearance("embedding")
    looks: list[np.ndarray] = []
    lone: list[np.ndarray] = []
    for _ in range(10):
        noisy = common + own + rng.normal(0.0, 0.05, own.shape)
        noisy = (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)
        assert (noisy @ noisy.T).min() > 0.8
        detections = Detections(np.array([box_at(100)] * 3), np.ones(3), np.full(3, 7), embeddings=noisy)
        found = together.of_detections(frame, detections)
        single = alone.of_detections(frame, detections.select(np.array([0])))
        assert found is not None and single is not None
        looks.append(found)
        lone.append(single[0])
    alike = looks[-2] @ looks[-1].T
    assert alike[~np.eye(3, dtype=bool)].max() < 0.4 < 0.8 < alike.diagonal().min()
    assert lone[-2] @ lone[-1] > 0.8
    together.reset()
    first = together.of_detections(frame, detections.select(np.array([0])))
    np.testing.assert_allclose(first, Appearance("auto").of_detections(frame, detections.select(np.array([0]))))


def test_appearance_comes_from_the_detector_or_from_the_image() -> None:
    rng = np.random.default_rng(0)
    frame = Frame(0, "0", 0, rng.integers(0, 255, (150, 300, 3), dtype=np.uint8))
    plain = Detections(np.array([box_at(100), box_at(200)]), np.ones(2), np.array([7, 7]))
    told = Detections(plain.boxes_xyxy, plain.scores, plain.class_ids, embeddings=LOOKS)
    for source in ("embedding", "auto"):
        found = Appearance(source).of_detections(frame, told)  # type: ignore[arg-type]
        assert found is not None
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-6)
        assert (np.einsum("ij,ij->i", found, LOOKS) > 0.5).all(), "it points where the detector's does"
    assert Appearance("embedding").of_detections(frame, plain) is None
    for source, detections in (("auto", plain), ("histogram", told)):
        found = Appearance(source).of_detections(frame, detections)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found, colour_histograms(frame.image_rgb, plain.boxes_xyxy))
