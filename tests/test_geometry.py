from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from perception.geometry import EGO_R_CAM, SE3, PinholeCamera, box_corners, guess_camera, wrap_angle


def random_pose(seed: int) -> SE3:
    rng = np.random.default_rng(seed)
    return SE3(Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3) * 10)


@given(st.integers(0, 1000))
def test_composition_is_matrix_product_and_inverse_undoes(seed: int) -> None:
    a, b = random_pose(seed), random_pose(seed + 1)
    assert np.allclose((a @ b).matrix, a.matrix @ b.matrix)
    assert np.allclose((a @ a.inverse()).matrix, np.eye(4), atol=1e-9)
    points = np.random.default_rng(seed).normal(size=(7, 3))
    assert np.allclose(a.apply(points), (a.matrix @ np.column_stack([points, np.ones(7)]).T).T[:, :3])


def test_se3_refuses_what_is_no_rigid_transform() -> None:
    with pytest.raises(ValueError, match="rotation"):
        SE3(np.diag([1.0, 1.0, -1.0]), np.zeros(3))
    with pytest.raises(ValueError, match=r"\(3,\) but got shape \(2,\)"):
        SE3(np.eye(3), np.zeros(2))
    with pytest.raises(ValueError, match="finite"):
        SE3(np.eye(3), np.array([0, np.nan, 0]))
    with pytest.raises(ValueError, match="singular values"):
        SE3.from_matrix(np.column_stack([2 * np.eye(3), np.zeros(3)]))


@pytest.mark.parametrize("distortion", [[], [-0.3, 0.1, 0.001, -0.002, 0.01], [-0.2, 0.05, 0.001, 0.001, 0, 0.1, 0, 0]])
def test_projection_agrees_with_opencv_and_rays_undo_it(distortion: list[float]) -> None:
    camera = PinholeCamera(700, 710, 610, 180, 1242, 375, np.array(distortion), SE3.identity())
    rng = np.random.default_rng(3)
    points = np.column_stack([rng.uniform(-5, 5, 50), rng.uniform(-1.5, 1.5, 50), rng.uniform(8, 40, 50)])
    pixels = camera.project(points)
    oracle, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.matrix, camera.distortion)
    assert pixels.shape == (50, 2)
    assert np.allclose(pixels, oracle[:, 0], atol=1e-8)
    assert np.allclose(camera.rays_cam(pixels), points / points[:, 2:], atol=1e-6)


def test_points_behind_the_camera_have_no_pixel() -> None:
    camera = guess_camera(640, 480)
    assert np.isnan(camera.project(np.array([[0, 0, -1.0], [0, 0, 0.0]]))).all()


def test_a_camera_that_looks_ahead_sees_ahead_in_its_middle() -> None:
    camera = guess_camera(640, 480, height_m=1.5)
    assert np.allclose(camera.project_ego(np.array([[10.0, 0.0, 1.5]])), [[320, 240]])
    left, low = camera.project_ego(np.array([[10.0, 2.0, 1.5], [10.0, 0.0, 0.0]]))
    assert left[0] < 320 and left[1] == pytest.approx(240)
    assert low[1] > 240 and low[0] == pytest.approx(320)
    assert np.linalg.det(EGO_R_CAM) == pytest.approx(1)


def test_box_corners_of_a_turned_box() -> None:
    corners = box_corners(np.array([[1.0, 2.0, 0.5]]), np.array([[4.0, 2.0, 1.0]]), np.array([np.pi / 2]))
    assert corners.shape == (1, 8, 3)
    # the front left corner of a box that heads along y lies at -x, +y of its centre
    assert np.allclose(corners[0, 0], [0.0, 4.0, 0.0])
    assert np.allclose(corners[0].mean(axis=0), [1, 2, 0.5])


@given(st.floats(-50, 50))
def test_wrapped_angles_are_the_same_direction(angle: float) -> None:
    wrapped = float(wrap_angle(angle))
    assert -np.pi <= wrapped < np.pi
    assert np.cos(wrapped) == pytest.approx(np.cos(angle), abs=1e-9)
    assert np.sin(wrapped) == pytest.approx(np.sin(angle), abs=1e-9)
