"""Camera and lidar detections of one object continue each other: exact scenes whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from perception.config import load_config
from perception.geometry import EGO_R_CAM, SE3, PinholeCamera, box_corners
from perception.tracking.box_tracker import BoxTracker
from perception.tracking.factory import make_tracker
from perception.tracking.settings import load_box_settings
from perception.tracking.world_tracker import WorldTracker
from perception.types import Boxes3D, Detections, Frame, Tracks

CAMERA = PinholeCamera(
    700.0, 700.0, 620.0, 190.0, 1240, 376, np.zeros(0), SE3(EGO_R_CAM, np.array([0.0, 0.0, 1.6])), "front"
)
PROJECTION = CAMERA.matrix @ np.concatenate(
    [CAMERA.cam_SE3_ego.rotation, CAMERA.cam_SE3_ego.translation[:, None]], axis=1
)
SIZE = (1240.0, 376.0)
CAR = np.array([4.2, 1.7, 1.5])


def outline(box: np.ndarray) -> np.ndarray:
    """Corners of a box in the image."""
    local = CAMERA.cam_SE3_ego.apply(box_corners(box[None, :3], box[None, 4:], box[None, 3])[0])
    uv = local @ CAMERA.matrix.T
    uv = uv[:, :2] / uv[:, 2:]
    return np.concatenate([uv.min(axis=0), uv.max(axis=0)])


def seen(boxes: list[np.ndarray], lifted: list[bool], embeddings: np.ndarray | None = None) -> tuple:
    """Detections of cars, of which some could not be lifted."""
    count = len(boxes)
    spaces = Boxes3D.empty(count)
    for k, box in enumerate(boxes):
        if lifted[k]:
            spaces.centers_ego[k], spaces.sizes_lwh[k], spaces.yaws[k] = box[:3], box[4:], box[3]
            spaces.scores[k] = 0.9
    image = np.array([outline(box) for box in boxes], np.float32).reshape(-1, 4)
    return Detections(image, np.full(count, 0.9, np.float32), np.zeros(count, np.int64), None, embeddings), spaces


def frame_at(t: int) -> Frame:
    return Frame(t, f"{t:06d}", t * 100_000_000, np.zeros((376, 1240, 3), np.uint8), CAMERA)


def world_tracker(*overrides: str) -> WorldTracker:
    tracker = make_tracker(load_config(overrides=["tracking.tracker=world", *overrides]).tracking)
    assert isinstance(tracker, WorldTracker)
    return tracker


def crossing(t: int) -> np.ndarray:
    """A car that comes from the left at 6 m/s, brakes from frame 10 on and stands from frame 20 on."""
    after = min(max(t - 10, 0), 10) * 0.1
    y = 9.0 - 0.6 * min(t, 10) - (6.0 * after - 3.0 * after * after)
    return np.array([24.0, y, 0.75, -np.pi / 2, *CAR])


def test_the_camera_alone_corrects_what_the_lidar_has_lost() -> None:
    tracker = world_tracker()
    for t in range(40):
        tracks = tracker.update(frame_at(t), *seen([crossing(t)], [t < 10]), SE3.identity())
        assert tracks.boxes3d is not None
        if t >= 3:
            assert tracks.track_ids.tolist() == [1]
            assert tracks.detection_rows.tolist() == [0]
            off = np.linalg.norm(tracks.boxes3d.centers_ego[0, :2] - crossing(t)[:2])
            # of the 3 m that a second at the old speed would lead astray
            assert off < 0.8
    assert tracks.scores[0] > 0.9
    assert np.linalg.norm(tracks.velocities[0]) < 0.3


def test_nearness_shows_in_height() -> None:
    """A car ahead brakes: in the image its middle stays and its height grows."""
    tracker = world_tracker()
    for t in range(30):
        x = 30.0 - 0.3 * max(t - 10, 0)
        tracks = tracker.update(
            frame_at(t), *seen([np.array([x, 0.0, 0.75, 0.0, *CAR])], [t < 10]), SE3.identity()
        )  # fmt: skip
    assert tracks.boxes3d is not None
    assert tracks.track_ids.tolist() == [1]
    assert abs(tracks.boxes3d.centers_ego[0, 0] - x) < 2.0, "of the 5.7 m that it came nearer"


def test_first_lifting_keeps_the_id_of_the_image() -> None:
    tracker = world_tracker()
    history: list[Tracks] = []
    for t in range(25):
        box = np.array([60.0 - 1.5 * t, 4.0, 0.75, 0.0, *CAR])
        history.append(tracker.update(frame_at(t), *seen([box], [t >= 12]), SE3.identity()))
    shown = history[3:]
    assert all(tracks.track_ids.tolist() == [1] for tracks in shown), "one object, one id, in every frame"
    spaces = [tracks.boxes3d for tracks in history]
    assert spaces[11] is not None and spaces[11].scores.tolist() == [0.0]
    assert spaces[12] is not None and spaces[12].scores[0] > 0.5


def test_turns_of_camera_and_lidar_are_one_object() -> None:
    tracker = world_tracker()
    for t in range(60):
        box = np.array([50.0 - 0.6 * t, -3.0, 0.75, 0.0, *CAR])
        tracks = tracker.update(frame_at(t), *seen([box], [t // 6 % 2 == 1]), SE3.identity())
        if t >= 3:
            assert tracks.track_ids.tolist() == [1], f"frame {t}"


def test_a_double_of_a_lifted_box_is_no_second_object() -> None:
    tracker = world_tracker()
    for t in range(12):
        box = np.array([20.0, 3.0, 0.75, 0.0, *CAR])
        neighbour = np.array([22.0, 0.2, 0.75, 0.0, *CAR])
        double = box + np.array([0.1, 0.1, 0, 0, 0, 0, 0])
        tracks = tracker.update(
            frame_at(t), *seen([box, double, neighbour], [True, False, False]), SE3.identity()
        )  # fmt: skip
    assert sorted(tracks.detection_rows.tolist()) == [0, 2], "the neighbour is one, in the image"


def test_the_image_tracker_of_the_world_hears_of_camera_motion_and_looks() -> None:
    """The vehicle turns so fast that boxes of two frames do not touch; then two like boxes trade places."""
    tracker = world_tracker("tracking.image.camera_motion=poses", "tracking.image.appearance=embedding",
                            "tracking.image.appearance_weight=2.0", "tracking.min_iou=0.01")  # fmt: skip
    looks = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    ids: list[dict[int, int]] = []
    for t in range(12):
        pose = SE3.from_yaw(-0.12 * min(t, 6), np.zeros(3))
        # the second pair of places overlaps the first by a third
        places = [np.array([30.0, 3.0, 0.75, -np.pi / 2, *CAR]), np.array([30.0, 1.2, 0.75, -np.pi / 2, *CAR])]
        places = places[::-1] if t >= 9 else places
        local = []
        for place in places:
            moved = place.copy()
            moved[:3] = pose.inverse().apply(place[None, :3])[0]
            moved[3] -= pose.yaw_rad
            local.append(moved)
        tracks = tracker.update(frame_at(t), *seen(local, [False, False], looks), pose)
        rows = zip(tracks.detection_rows.tolist(), tracks.track_ids.tolist(), strict=True)
        ids.append({row: i for row, i in rows if row >= 0})
    assert ids[3].keys() == {0, 1}
    assert all(here == ids[3] for here in ids[3:])


def test_a_sighting_of_no_coasting_track_is_refused() -> None:
    tracker = BoxTracker(load_box_settings("general"))
    box = np.array([[20.0, 3.0, 0.75, 0.0, *CAR]])
    with pytest.raises(ValueError, match="must follow a step with a projection"):
        tracker.correct_from_camera(np.array([1]), np.zeros((1, 4)), np.zeros(1))
    tracker.step(box, np.full(1, 4.0), np.zeros(1, np.int64), 0, SE3.identity(), PROJECTION, SIZE)
    with pytest.raises(ValueError, match="shown without a detection but 1 is not"):
        tracker.correct_from_camera(np.array([1]), outline(box[0])[None], np.full(1, 2.0))
