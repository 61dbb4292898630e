from __future__ import annotations

import numpy as np

from perception.detection.boxes import within_image


def test_boxes_are_clipped_and_those_outside_left_out_with_their_rows():
    boxes = np.array([[-5, -5, 10, 10], [90, 40, 120, 60], [100.5, 0, 120, 9], [99.5, 0, 120, 9], [0, 0, 0, 0]])
    keypoints = np.arange(5 * 2 * 3, dtype=np.float32).reshape(5, 2, 3)
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32)
    found = within_image(boxes.astype(np.float32), scores, np.arange(5), (50, 100), keypoints)
    assert found.boxes_xyxy.tolist() == [[0, 0, 10, 10], [90, 40, 100, 50]]
    assert found.class_ids.tolist() == [0, 1]
    np.testing.assert_array_equal(found.scores, scores[:2])
    np.testing.assert_array_equal(found.keypoints, keypoints[:2])


def test_rows_that_are_not_finite_are_left_out():
    boxes = np.tile(np.array([[0, 0, 10, 10]], np.float32), (4, 1))
    boxes[1, 2] = np.nan
    scores = np.array([0.5, 0.5, np.nan, 0.5], np.float32)
    found = within_image(boxes, scores, np.arange(4), (50, 100))
    assert found.class_ids.tolist() == [0, 3]
