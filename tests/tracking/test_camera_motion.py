"""The image's own motion, from pictures that were moved by a known amount and from poses."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.geometry import SE3, guess_camera
from perception.tracking.camera_motion import CameraMotion
from perception.types import Frame

WIDTH, HEIGHT = 1242, 375
NOTHING = np.zeros((0, 4), np.float32)


def texture(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (HEIGHT // 8 + 40, WIDTH // 8 + 40, 3), dtype=np.uint8)
    return cv2.resize(coarse, (WIDTH + 320, HEIGHT + 320), interpolation=cv2.INTER_CUBIC)


def view(picture: np.ndarray, picture_H_view: np.ndarray) -> np.ndarray:
    move = np.array([[1.0, 0, 160], [0, 1.0, 160], [0, 0, 1.0]]) @ picture_H_view
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpPerspective(picture, move, (WIDTH, HEIGHT), flags=flags)


def moved(points: np.ndarray, homography: np.ndarray) -> np.ndarray:
    lifted = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ homography.T
    return lifted[:, :2] / lifted[:, 2:]


CORNERS = np.array([[100.0, 60], [1100, 60], [100, 320], [1100, 320], [620, 190]])
SHIFT = np.array([[1.0, 0, 24.0], [0, 1.0, -9.0], [0, 0, 1.0]])
SPIRAL = np.array([[1.015, -0.01, 6.0], [0.01, 1.015, -8.0], [0, 0, 1.0]])
TILT = np.array([[1.01, 0.004, 5.0], [-0.003, 0.99, 7.0], [1.2e-5, -8e-6, 1.0]])


@pytest.mark.parametrize(
    ("model", "last_H_now"),
    [("similarity", SHIFT), ("similarity", SPIRAL), ("affine", SPIRAL), ("homography", TILT)],
)
def test_a_known_motion_is_found(model: str, last_H_now: np.ndarray) -> None:
    motion = CameraMotion("images", model)  # type: ignore[arg-type]
    picture = texture()
    assert motion.estimate(Frame(0, "0", 0, view(picture, np.eye(3))), NOTHING, SE3.identity()) is None
    found = motion.estimate(Frame(1, "1", 1, view(picture, last_H_now)), NOTHING, SE3.identity())
    assert found is not None and found.shape == (3, 3)
    np.testing.assert_allclose(moved(CORNERS, found), moved(CORNERS, np.linalg.inv(last_H_now)), atol=0.6)


def test_what_moves_inside_boxes_is_not_taken_for_the_camera() -> None:
    """Two thirds of the picture move along; told where, the estimate is that of the rest."""
    motion = CameraMotion("images")
    back, front = view(texture(0), np.eye(3)), view(texture(1), np.eye(3))
    first, second = back.copy(), view(texture(0), SHIFT)
    box = np.array([[200, 0, 1028, 375]], np.float32)
    first[:, 200:1028] = front[:, 200:1028]
    second[:, 200:1028] = front[:, 160:988]
    motion.estimate(Frame(0, "0", 0, first), box, SE3.identity())
    found = motion.estimate(Frame(1, "1", 1, second), box, SE3.identity())
    assert found is not None
    np.testing.assert_allclose(moved(CORNERS, found), CORNERS - SHIFT[:2, 2], atol=0.6)


def test_nothing_is_told_where_nothing_is_seen() -> None:
    blank = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    motion = CameraMotion("images")
    for index in range(3):
        assert motion.estimate(Frame(index, str(index), index, blank), NOTHING, SE3.identity()) is None
    # neither between pictures that have nothing in common, nor of another size, nor after a reset
    motion.estimate(Frame(3, "3", 3, view(texture(0), np.eye(3))), NOTHING, SE3.identity())
    assert motion.estimate(Frame(4, "4", 4, view(texture(5), np.eye(3))), NOTHING, SE3.identity()) is None
    small = np.ascontiguousarray(view(texture(5), np.eye(3))[:200])
    assert motion.estimate(Frame(5, "5", 5, small), NOTHING, SE3.identity()) is None
    motion.reset()
    assert motion.estimate(Frame(6, "6", 6, small), NOTHING, SE3.identity()) is None


def test_poses_tell_where_far_points_go() -> None:
    camera = guess_camera(WIDTH, HEIGHT)
    motion = CameraMotion("poses")
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    turn = np.radians(2.0)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1.0]])
    last, now = SE3.identity(), SE3(rotation, np.array([1.0, 0.1, 0.0]))
    assert motion.estimate(Frame(0, "0", 0, image, camera), NOTHING, last) is None
    found = motion.estimate(Frame(1, "1", 1, image, camera), NOTHING, now)
    assert found is not None
    far = np.array([[1e7, 0, 0], [1e7, 2e6, -1e6], [1e7, -3e6, 1e6]])

    def pixels(world_SE3_ego: SE3) -> np.ndarray:
        points = (camera.cam_SE3_ego @ world_SE3_ego.inverse()).apply(far)
        uvw = points @ camera.matrix.T
        return uvw[:, :2] / uvw[:, 2:]

    np.testing.assert_allclose(moved(pixels(last), found), pixels(now), atol=1e-2)
    assert motion.estimate(Frame(2, "2", 2, image), NOTHING, now) is None


def test_a_recorded_drive_moves_outwards(real_data: Path) -> None:
    """Driving ahead widens the picture: the scale is over 1 in almost all frames."""
    from perception.datasets.factory import open_drive

    drive = open_drive(real_data / "kitti_raw" / "2011_09_26" / "2011_09_26_drive_0900_sync")
    motion = CameraMotion("images")
    frames = [reading.frame for reading in drive.readings()][:12]
    found = [motion.estimate(frame, NOTHING, SE3.identity()) for frame in frames if frame is not None]
    scales = [np.sqrt(np.linalg.det(matrix[:2, :2])) for matrix in found if matrix is not None]
    assert len(scales) >= len(found) - 2
    assert 1.0 < np.median(scales) < 1.05
