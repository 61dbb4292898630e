"""Drops in the air: where they fall, what hides them, and that they are no truth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from perception.geometry import EGO_R_CAM
from sim_data import load_rig, stream
from sim_data.kernels.rain import draw_streaks
from sim_data.rainfall import Rainfall
from sim_data.scenario import load_scenario

CAMERA = load_rig("train").cameras[0]
LIGHT = np.full((CAMERA.height_px, CAMERA.width_px, 3), 0.2, np.float32)
SKY = np.full(LIGHT.shape[:2], np.nan, np.float32)
STILL, AHEAD = np.zeros(3), np.array([20.0, 0.0, 0.0])


def test_before_a_camera_that_stands_drops_fall_straight_down() -> None:
    streaks = Rainfall(CAMERA, 1.0, 0.01, 1).streaks(EGO_R_CAM.T, STILL, 0.5)
    assert len(streaks) > 50
    fall = streaks[:, 2:4] - streaks[:, :2]
    assert (fall[:, 1] > 0).all()
    assert np.median(np.abs(fall[:, 0]) / fall[:, 1]) < 0.1
    # 6.5 m/s for a hundredth of a second
    np.testing.assert_allclose(np.median(fall[:, 1] * streaks[:, 4] / CAMERA.fy_px), 0.065, rtol=0.05)


def test_before_a_camera_that_drives_they_come_from_ahead() -> None:
    streaks = Rainfall(CAMERA, 1.0, 0.01, 1).streaks(EGO_R_CAM.T, AHEAD, 0.5)
    away = streaks[:, :2] - [CAMERA.cx_px, CAMERA.cy_px]
    fall = streaks[:, 2:4] - streaks[:, :2]
    to_the_side = np.abs(away[:, 0]) > 0.2 * CAMERA.width_px
    assert (np.sign(fall[to_the_side, 0]) == np.sign(away[to_the_side, 0])).mean() > 0.95


def test_more_rain_is_more_drops_and_none_is_none() -> None:
    counts = [len(Rainfall(CAMERA, rain, 0.0, 1).streaks(EGO_R_CAM.T, STILL, 0.5)) for rain in (0.25, 1.0)]
    assert counts[1] == pytest.approx(4 * counts[0], rel=0.35)
    assert Rainfall(CAMERA, 0.0, 0.0, 1).fall(LIGHT, SKY, EGO_R_CAM.T, STILL, 0.5) is LIGHT


def test_what_is_nearer_hides_drops() -> None:
    rainfall = Rainfall(CAMERA, 1.0, 0.0, 1)
    drawn = rainfall.fall(LIGHT, SKY, EGO_R_CAM.T, STILL, 0.5)
    changed = (drawn != LIGHT).any(axis=2).mean()
    assert 0.005 < changed < 0.3
    wall = np.where(np.arange(CAMERA.width_px) < CAMERA.width_px // 2, 0.5, 50.0).astype(np.float32)
    drawn = rainfall.fall(LIGHT, np.tile(wall, (CAMERA.height_px, 1)), EGO_R_CAM.T, STILL, 0.5)
    np.testing.assert_array_equal(drawn[:, : CAMERA.width_px // 2], LIGHT[:, : CAMERA.width_px // 2])
    assert (drawn[:, CAMERA.width_px // 2 :] != LIGHT[:, CAMERA.width_px // 2 :]).any()


def test_a_line_covers_its_width_times_its_length() -> None:
    for streak in ([20.3, 10.2, 24.9, 50.7], [5.5, 30.1, 60.25, 33.0], [40.0, 20.0, 40.0, 20.4]):
        light = np.zeros((64, 80, 3), np.float32)
        draw_streaks(
            light, np.full((64, 80), 9.0, np.float32), np.array([[*streak, 3.0, 0.8, 0.5]]), np.ones((1, 3), np.float32)
        )
        longest = max(abs(streak[2] - streak[0]), abs(streak[3] - streak[1]), 1.0)
        assert light[..., 0].sum() == pytest.approx(0.5 * 1.6 * longest, rel=0.03)


def test_rain_changes_the_picture_and_not_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    wet = load_scenario("night_rain")
    rig = load_rig("train")
    shown = [next(iter(stream(wet, 4, 1, rig))).pictures["image_02"] for _ in range(2)]
    np.testing.assert_array_equal(shown[0].rgb, shown[1].rgb)
    monkeypatch.setattr(Rainfall, "fall", lambda self, light, *rest: light)
    bare = next(iter(stream(wet, 4, 1, rig))).pictures["image_02"]
    assert (bare.rgb != shown[0].rgb).any()
    for field in dataclasses.fields(bare):
        if field.name != "rgb":
            np.testing.assert_array_equal(getattr(bare, field.name), getattr(shown[0], field.name))


def test_shapes_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(ValueError, match="streaks"):
        draw_streaks(LIGHT.copy(), SKY[1:], np.zeros((1, 7)), np.zeros((1, 3), np.float32))
