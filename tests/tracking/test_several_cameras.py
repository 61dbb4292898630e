"""Several cameras of one vehicle, whose views overlap: an object is one track in the world, and has one id."""

from __future__ import annotations

import numpy as np

from perception.config import load_config
from perception.geometry import EGO_R_CAM, SE3, PinholeCamera, box_corners
from perception.tracking.factory import make_tracker
from perception.types import Boxes3D, Detections, Frame, Tracks

SIZE = (640, 400)
CAR, PEDESTRIAN = 0, 7


def camera(name: str, yaw_rad: float) -> PinholeCamera:
    """90 degrees wide, 1.5 m above the road, turned to the left by ``yaw_rad``."""
    pose = SE3.from_yaw(yaw_rad, np.array([0.0, 0.0, 1.5])) @ SE3(EGO_R_CAM, np.zeros(3))
    return PinholeCamera(320.0, 320.0, 320.0, 200.0, *SIZE, np.zeros(0), pose, name)


# 60 degrees apart: 30 degrees are in both views
CAMERAS = (camera("left", np.pi / 6), camera("right", -np.pi / 6))


def objects(t: int) -> np.ndarray:
    """Four cars that cross the views from left to right at 8 m/s and one that stands in both: boxes in the world."""
    y = np.array([14.0, 9.0, 4.0, -1.0]) - 0.8 * t
    driven = np.stack([np.array([24.0, 18, 30, 36]), y, np.full(4, 0.8), np.full(4, -np.pi / 2)], axis=1)
    return np.concatenate([np.concatenate([driven, [[45.0, 0, 0.8, 0]]]), np.tile([4.2, 1.7, 1.5], (5, 1))], axis=1)


def seen(view: PinholeCamera, boxes: np.ndarray, rng: np.random.Generator) -> tuple[Detections, Boxes3D, list[int]]:
    """What one camera detects, with noise of its own, and which object each row is."""
    cam_SE3_ego = view.cam_SE3_ego
    rows, image = [], []
    for k, corners in enumerate(box_corners(boxes[:, :3], boxes[:, 4:], boxes[:, 3])):
        local = cam_SE3_ego.apply(corners)
        uv = local @ view.matrix.T
        uv = uv[:, :2] / uv[:, 2:]
        if local[:, 2].min() > 1.0 and (uv.min(axis=0) > 0).all() and (uv.max(axis=0) < SIZE).all():
            rows.append(k)
            image.append([*uv.min(axis=0), *uv.max(axis=0)])
    found = boxes[rows] + rng.normal(0, 0.06, (len(rows), 7))
    count = len(rows)
    return (
        Detections(np.array(image, np.float32).reshape(-1, 4), np.full(count, 0.9, np.float32), np.full(count, CAR)),
        Boxes3D(
            found[:, :3].astype(np.float32), found[:, 4:].astype(np.float32), found[:, 3].astype(np.float32),
            np.full(count, 0.9, np.float32),
        ),
        rows,
    )  # fmt: skip


def frame_of(view: PinholeCamera, t: int) -> Frame:
    return Frame(t, f"{t:06d}", t * 100_000_000, np.zeros((SIZE[1], SIZE[0], 3), np.uint8), view)


def test_an_object_keeps_its_id_from_camera_to_camera() -> None:
    rng = np.random.default_rng(0)
    tracker = make_tracker(load_config(overrides=["tracking.tracker=world"]).tracking)
    ids: list[set[int]] = [set() for _ in range(5)]
    views: list[set[str]] = [set() for _ in range(5)]
    both = 0
    for t in range(30):
        here: list[dict[int, int]] = []
        for view in CAMERAS:
            detections, boxes, rows = seen(view, objects(t), rng)
            tracks = tracker.update(frame_of(view, t), detections, boxes, SE3.identity())
            pairs = zip(tracks.track_ids.tolist(), tracks.detection_rows.tolist(), strict=True)
            here.append({rows[row]: track_id for track_id, row in pairs if row >= 0})
            for k, track_id in here[-1].items():
                ids[k].add(track_id)
                views[k].add(view.name)
        for k in here[0].keys() & here[1].keys():
            assert here[0][k] == here[1][k]
            both += 1
    assert all(len(seen_as) == 1 for seen_as in ids)
    assert len(set.union(*ids)) == 5
    assert sum(len(names) == 2 for names in views) >= 4, "the scene must cross from one view to the other"
    assert both > 30


def test_boxes_of_one_camera_continue_no_track_of_another() -> None:
    tracker = make_tracker(load_config(overrides=["tracking.tracker=world"]).tracking)
    box = np.array([[100.0, 150, 130, 230]], np.float32)
    detections = Detections(box, np.full(1, 0.9, np.float32), np.full(1, PEDESTRIAN))
    last: dict[str, Tracks] = {}
    for t in range(10):
        for view in CAMERAS:
            last[view.name] = tracker.update(frame_of(view, t), detections, Boxes3D.empty(1), SE3.identity())
    left, right = (last[view.name].track_ids.tolist() for view in CAMERAS)
    assert len(left) == len(right) == 1
    assert left != right
