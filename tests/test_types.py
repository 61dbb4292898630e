from __future__ import annotations

import numpy as np
import pytest

from perception.geometry import guess_camera
from perception.types import Boxes3D, Detections, Frame, Tracks


def test_shapes_are_told_where_they_are_wrong() -> None:
    with pytest.raises(ValueError, match=r"Detections.boxes_xyxy must be \(N, 4\) but got shape \(3,\)"):
        Detections(np.zeros(3), np.zeros(1), np.zeros(1))
    with pytest.raises(ValueError, match=r"Detections.scores must be \(2,\) but got shape \(1,\)"):
        Detections(np.zeros((2, 4)), np.zeros(1), np.zeros(2))
    with pytest.raises(ValueError, match="row 1 is"):
        Detections(np.array([[0, 0, 1, 1], [0, 0, np.nan, 1]]), np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="x1 <= x2"):
        Detections(np.array([[5, 0, 1, 1]]), np.zeros(1), np.zeros(1))


def test_values_are_coerced_to_the_stated_types() -> None:
    detections = Detections([[0, 0, 1, 1]], [0.5], [2])
    assert detections.boxes_xyxy.dtype == np.float32
    assert detections.class_ids.dtype == np.int64
    assert len(detections.select(np.array([], dtype=int))) == 0


def test_frames_check_image_camera_and_points() -> None:
    image = np.zeros((48, 64, 3), np.uint8)
    with pytest.raises(ValueError, match="is for 65x48 but the image is 64x48"):
        Frame(0, "0", 0, image, guess_camera(65, 48))
    with pytest.raises(ValueError, match="uint8"):
        Frame(0, "0", 0, image.astype(np.float32))
    with pytest.raises(ValueError, match="finite"):
        Frame(0, "0", 0, image, points_ego=np.array([[np.inf, 0, 0, 0]], np.float32))
    with pytest.raises(ValueError, match="hold pixels"):
        Frame(0, "0", 0, np.zeros((0, 4, 3), np.uint8))


def test_track_ids_are_unique() -> None:
    twice = np.array([3, 3])
    with pytest.raises(ValueError, match="3 occurs twice"):
        Tracks(twice, np.zeros((2, 4)), None, np.zeros((2, 2)), np.zeros(2), twice, twice, twice)
    assert len(Tracks.empty()) == 0
    assert len(Boxes3D.empty(3)) == 3
