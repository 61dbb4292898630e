"""Average precision by hand."""

from __future__ import annotations

import numpy as np
import torch

from perception.classes import OBJECT_CLASSES
from perception.training.labels import LabelledBoxes, Sample
from perception.training.validation import average_precision, score_shift

CAR, VAN = OBJECT_CLASSES.index("car"), OBJECT_CLASSES.index("van")
Found = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def truth(boxes: list[list[float]], class_ids: list[int], hard: list[bool] | None = None) -> Sample:
    ids = np.array(class_ids, np.int64)
    return Sample(
        "toy",
        np.zeros((200, 400, 3), np.uint8),
        np.zeros((200, 400), np.uint8),
        "boxes",
        LabelledBoxes(np.array(boxes, np.float32).reshape(-1, 4), ids, ids < 0),
        np.ones(len(OBJECT_CLASSES), bool),
        1.0,
        None if hard is None else np.array(hard),
    )


def found(boxes: list[list[float]], scores: list[float]) -> Found:
    return torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), torch.full((len(boxes),), CAR)


A, B, C = [10.0, 10.0, 60.0, 60.0], [100.0, 10.0, 160.0, 60.0], [200.0, 10.0, 260.0, 60.0]


def test_all_found_is_a_hundred_and_nothing_found_is_zero() -> None:
    sample = truth([A, B], [CAR, CAR])
    assert average_precision([found([A, B], [0.9, 0.8])], [sample], "car", 0.7) == 100.0
    assert average_precision([found([], [])], [sample], "car", 0.7) == 0.0


def test_a_false_alarm_between_two_hits_costs_its_share() -> None:
    # precision 1 up to recall 1/2, then 2/3
    score = average_precision([found([A, C, B], [0.9, 0.8, 0.7])], [truth([A, B], [CAR, CAR])], "car", 0.7)
    assert abs(score - 100 * (0.5 + 0.5 * 2 / 3)) < 1e-4


def test_a_second_box_on_one_car_is_a_false_alarm() -> None:
    score = average_precision([found([A, A, B], [0.9, 0.8, 0.7])], [truth([A, B], [CAR, CAR])], "car", 0.7)
    assert abs(score - 100 * (0.5 + 0.5 * 2 / 3)) < 1e-4


def test_vans_hard_cars_and_ignored_regions_are_neutral() -> None:
    sample = truth([A, B, [190.0, 0.0, 300.0, 90.0]], [CAR, VAN, -1])
    assert average_precision([found([B, C, A], [0.9, 0.8, 0.7])], [sample], "car", 0.7) == 100.0
    sample = truth([A, B], [CAR, CAR], hard=[False, True])
    assert average_precision([found([B, A], [0.9, 0.7])], [sample], "car", 0.7) == 100.0
    assert average_precision([found([A], [0.7])], [sample], "car", 0.7) == 100.0


def test_small_boxes_count_neither_way() -> None:
    small = [10.0, 100.0, 30.0, 120.0]
    sample = truth([A, small], [CAR, CAR])
    assert average_precision([found([small, A], [0.9, 0.5])], [sample], "car", 0.7) == 100.0


def test_the_score_shift_makes_scores_probabilities() -> None:
    # ten boxes of score 0.2, of which eight are right: logit(0.8) - logit(0.2) = 2.77
    boxes = [[40.0 * index, 10.0, 40.0 * index + 30.0, 60.0] for index in range(10)]
    wrong = [[40.0 * index, 100.0, 40.0 * index + 30.0, 160.0] for index in range(2)]
    sample = truth(boxes[:8], [CAR] * 8)
    assert abs(score_shift([found(boxes[:8] + wrong, [0.2] * 10)], [sample]) - 2.8) < 0.11
    assert score_shift([found([], [])], [sample]) == 0.0
