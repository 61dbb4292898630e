"""Ego-motion without estimation: poses that the drive gives, or none at all."""

from __future__ import annotations

from perception.geometry import SE3
from perception.types import Frame

__all__ = ["GivenPoses", "StandingStill", "extrapolate"]


def extrapolate(world_SE3_previous: SE3, world_SE3_last: SE3) -> SE3:
    """The pose one frame after ``last`` if the vehicle keeps the motion it had since ``previous``."""
    return world_SE3_last @ (world_SE3_previous.inverse() @ world_SE3_last)


class GivenPoses:
    """Poses from the drive, relative to the first; a frame without one continues the last motion."""

    source = "given"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forgets the drive."""
        self._given_SE3_world: SE3 | None = None
        self._last = SE3.identity()
        self._previous = SE3.identity()

    def estimate(self, frame: Frame) -> SE3:
        """``world_SE3_ego``; the first given pose becomes the origin."""
        if frame.world_SE3_ego is None:
            pose = extrapolate(self._previous, self._last)
        else:
            if self._given_SE3_world is None:
                self._given_SE3_world = frame.world_SE3_ego @ self._last.inverse()
            pose = self._given_SE3_world.inverse() @ frame.world_SE3_ego
        self._previous, self._last = self._last, pose
        return pose


class StandingStill:
    """No motion: for single pictures, and where nothing better can be had. The run record says so."""

    source = "still (no motion assumed)"

    def reset(self) -> None:
        """Has nothing to forget."""

    def estimate(self, frame: Frame) -> SE3:
        """The identity."""
        return SE3.identity()
