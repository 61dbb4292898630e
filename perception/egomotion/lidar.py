"""Ego-motion from lidar scans, registered against a local map of voxel Gaussians."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.config import EgoMotionConfig
from perception.egomotion.simple import extrapolate
from perception.geometry import SE3
from perception.kernels.registration import VoxelGaussians, voxel_sample
from perception.types import Frame

__all__ = ["LidarOdometry"]

MAP_POINT_SPACING_M = 0.2
SCAN_POINT_SPACING_M = 0.7
# Structure taller than a car is rarely in motion. In a traffic jam most low points move along with the vehicle and
# would pull the estimate to a standstill; poles, bridges and crowns outvote them.
TALL_M = 2.2
TALL_WEIGHT = 4.0
# forward steps tried while nothing is known of the speed; at 10 Hz up to 108 km/h
START_STEPS_M = (0.0, 0.5, 1.0, 2.0, 3.0)
FRAMES_WITHOUT_SPEED = 3
LOST_SCORE = 0.35


class LidarOdometry:
    """Aligns each scan with the map of the scans before it.

    A frame without a scan continues the last motion. A scan that fits nowhere, as after a cut in the recording,
    continues the last motion too and starts a new local map.
    """

    source = "lidar (estimated by scan registration)"

    def __init__(self, settings: EgoMotionConfig) -> None:
        self._settings = settings
        self._map = VoxelGaussians(settings.lidar_voxel_m)
        self.reset()

    def reset(self) -> None:
        """Forgets the drive."""
        self._map.clear()
        self._last = SE3.identity()
        self._previous = SE3.identity()
        self._scans = 0

    def estimate(self, frame: Frame) -> SE3:
        """``world_SE3_ego``; the first frame is the origin."""
        points = frame.points_ego
        if points is None or len(points) == 0:
            pose = extrapolate(self._previous, self._last)
            self._previous, self._last = self._last, pose
            return pose
        dense = points[voxel_sample(points, MAP_POINT_SPACING_M, self._settings.lidar_max_range_m)]
        pose = self._last
        if self._scans > 0:
            pose, score = self._align(dense)
            if score < LOST_SCORE:
                pose = extrapolate(self._previous, self._last)
                self._map.clear()
                self._scans = 0
        self._map.insert(dense, pose.rotation, pose.translation, 1.5 * self._settings.lidar_max_range_m)
        self._scans += 1
        self._previous, self._last = self._last, pose
        return pose

    def _align(self, dense: npt.NDArray[np.float32]) -> tuple[SE3, float]:
        scan = dense[voxel_sample(dense, SCAN_POINT_SPACING_M, self._settings.lidar_max_range_m)]
        scan[:, 3] = np.where(scan[:, 2] > TALL_M, TALL_WEIGHT, 1.0)
        guesses = [extrapolate(self._previous, self._last)]
        if self._scans <= FRAMES_WITHOUT_SPEED:
            guesses += [self._last @ SE3(np.eye(3), np.array([step_m, 0.0, 0.0])) for step_m in START_STEPS_M]
        aligned = [self._map.align(scan, guess.rotation, guess.translation, noise_m=0.05) for guess in guesses]
        rotation, translation, score = max(aligned, key=lambda result: result[2])
        return SE3(rotation, translation), score
