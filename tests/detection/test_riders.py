from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.classes import OBJECT_CLASSES
from perception.detection.riders import merge_riders
from perception.types import Detections

# what YOLOX-nano finds at the cyclist of KITTI object frame 000076, whose label is 413 169 490 291
RIDER = ("pedestrian", (427, 172, 482, 284), 0.8)
RIDDEN = ("bicycle", (423, 213, 472, 291), 0.6)
LABEL = np.array([412.88, 169.18, 490.13, 290.64])


def _detections(*rows: tuple[str, tuple[float, float, float, float], float]) -> Detections:
    return Detections(
        np.array([box for _, box, _ in rows], np.float32).reshape(-1, 4),
        np.array([score for *_, score in rows], np.float32),
        np.array([OBJECT_CLASSES.index(name) for name, *_ in rows], np.int64),
    )


def _names(detections: Detections) -> list[str]:
    return [OBJECT_CLASSES[i] for i in detections.class_ids]


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    shared = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0).prod()
    return float(shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared))


@pytest.mark.parametrize("rows", [(RIDER, RIDDEN), (RIDDEN, RIDER)])
def test_rider_and_bicycle_become_one_cyclist_nearer_to_the_label(rows):
    merged = merge_riders(_detections(*rows))
    assert _names(merged) == ["cyclist"]
    assert merged.boxes_xyxy.tolist() == [[423, 172, 482, 291]]
    assert merged.scores.tolist() == [pytest.approx(0.8)]
    assert _iou(merged.boxes_xyxy[0], LABEL) > _iou(np.array(RIDER[1], float), LABEL)


def test_the_surer_of_the_two_gives_the_score():
    merged = merge_riders(_detections(RIDER, (*RIDDEN[:2], 0.9)))
    assert merged.scores.tolist() == [pytest.approx(0.9)]


def test_a_motorcycle_is_ridden_too():
    assert _names(merge_riders(_detections(RIDER, ("motorcycle", *RIDDEN[1:])))) == ["cyclist"]


def test_a_bicycle_found_twice_goes_with_its_rider():
    twice = ("motorcycle", (424, 215, 470, 290), 0.3)
    assert _names(merge_riders(_detections(RIDER, twice, RIDDEN))) == ["cyclist"]


@pytest.mark.parametrize(
    "person",
    [
        (427, 180, 482, 293),  # stands before it: feet at or below the wheels
        (432, 215, 460, 288),  # crouches or is far behind: no head above the handlebar
        (380, 172, 430, 284),  # walks beside it
        (440, 100, 460, 200),  # is seen above it
        (423, 20, 482, 284),  # is far nearer than it
    ],
)
def test_whoever_does_not_ride_stays_a_pedestrian(person):
    given_ = _detections(("pedestrian", person, 0.8), RIDDEN)
    merged = merge_riders(given_)
    assert _names(merged) == ["pedestrian", "bicycle"]
    np.testing.assert_array_equal(merged.boxes_xyxy, given_.boxes_xyxy)


def test_one_bicycle_carries_the_better_centred_person():
    beside = ("pedestrian", (407, 172, 460, 284), 0.8)
    merged = merge_riders(_detections(beside, RIDER, RIDDEN))
    assert _names(merged) == ["pedestrian", "cyclist"]
    assert merged.boxes_xyxy[1].tolist() == [423, 172, 482, 291]


def test_one_rider_takes_the_bicycle_that_is_seen_best():
    weak = ("bicycle", (429, 213, 480, 291), 0.3)
    far_less = ("bicycle", (429, 213, 480, 291), 0.1)
    merged = merge_riders(_detections(weak, RIDER, RIDDEN))
    assert _names(merged) == ["cyclist"]
    assert merged.boxes_xyxy.tolist() == [[423, 172, 482, 291]]
    assert _names(merge_riders(_detections(far_less, RIDER))) == ["bicycle", "pedestrian"]


def test_two_riders_take_a_bicycle_each():
    far = [(name, (x1 + 300, y1, x2 + 300, y2), score) for name, (x1, y1, x2, y2), score in (RIDER, RIDDEN)]
    merged = merge_riders(_detections(RIDER, far[1], RIDDEN, far[0]))
    assert _names(merged) == ["cyclist", "cyclist"]
    assert merged.boxes_xyxy.tolist() == [[423, 172, 482, 291], [723, 172, 782, 291]]


def test_input_is_not_changed_and_joints_stay_with_their_rows():
    plain = _detections(("car", (0, 0, 9, 9), 0.5), RIDDEN, RIDER)
    keypoints = np.arange(3 * 17 * 3, dtype=np.float32).reshape(3, 17, 3)
    before = Detections(plain.boxes_xyxy, plain.scores, plain.class_ids, keypoints)
    boxes = before.boxes_xyxy.copy()
    merged = merge_riders(before)
    np.testing.assert_array_equal(before.boxes_xyxy, boxes)
    assert _names(before) == ["car", "bicycle", "pedestrian"]
    np.testing.assert_array_equal(merged.keypoints, keypoints[[0, 2]])


@pytest.mark.parametrize("rows", [(), (RIDER,), (RIDDEN,), (("car", (0, 0, 9, 9), 0.5),)])
def test_nothing_to_merge_is_nothing_changed(rows):
    before = _detections(*rows)
    assert merge_riders(before) is before


_BOX = st.tuples(*[st.floats(0, 200, width=32)] * 4).map(
    lambda v: (min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3]))
)
_ROW = st.tuples(st.sampled_from(("pedestrian", "bicycle", "motorcycle", "car")), _BOX, st.floats(0, 1, width=32))


@given(st.lists(_ROW, max_size=8))
def test_counts_always_add_up(rows):
    before, after = _names(_detections(*rows)), _names(merge_riders(_detections(*rows)))
    cyclists = after.count("cyclist")
    bikes = [sum(names.count(kind) for kind in ("bicycle", "motorcycle")) for names in (before, after)]
    assert before.count("pedestrian") == after.count("pedestrian") + cyclists
    assert before.count("car") == after.count("car")
    assert bikes[1] <= bikes[0] - cyclists
