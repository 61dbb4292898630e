"""Stages against the exact truth of a simulated drive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from perception.config import load_config
from perception.datasets.factory import open_drive
from perception.egomotion.lidar import LidarOdometry
from perception.egomotion.visual import VisualOdometry
from perception.geometry import SE3
from perception.roles import EgoMotion


def true_positions_m(drive: Path) -> np.ndarray:
    """(F, 3) positions in the frame of the first."""
    world = [SE3.from_matrix(row.reshape(3, 4)) for row in np.loadtxt(drive / "truth/world_T_ego.txt")]
    return np.array([(world[0].inverse() @ pose).translation for pose in world])


def estimated_positions_m(drive: Path, motion: EgoMotion) -> np.ndarray:
    frames = (reading.frame for reading in open_drive(str(drive)).readings())
    return np.array([motion.estimate(frame).translation for frame in frames if frame is not None])


def test_lidar_odometry_is_within_centimetres(small_drive: Path) -> None:
    true = true_positions_m(small_drive)
    estimated = estimated_positions_m(small_drive, LidarOdometry(load_config().egomotion))
    assert np.linalg.norm(estimated - true, axis=1).max() < 0.05


def test_visual_odometry_is_within_an_eighth_of_the_way(small_drive: Path) -> None:
    true = true_positions_m(small_drive)
    length_m = np.linalg.norm(np.diff(true, axis=0), axis=1).sum()
    assert length_m > 2.0
    estimated = estimated_positions_m(small_drive, VisualOdometry(load_config().egomotion))
    assert np.linalg.norm(estimated[-1, :2] - true[-1, :2]) == pytest.approx(0.0, abs=0.125 * length_m)
