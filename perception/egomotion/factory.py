"""Makes the ego-motion estimator that a drive can feed."""

from __future__ import annotations

from collections.abc import Callable

from perception.config import EgoMotionConfig
from perception.egomotion.lidar import LidarOdometry
from perception.egomotion.simple import GivenPoses, StandingStill
from perception.egomotion.visual import VisualOdometry
from perception.errors import ConfigError
from perception.roles import EgoMotion

__all__ = ["EGOMOTION_SOURCES", "make_egomotion"]

EGOMOTION_SOURCES: dict[str, Callable[[EgoMotionConfig], EgoMotion]] = {
    "given": lambda settings: GivenPoses(),
    "lidar": LidarOdometry,
    "visual": VisualOdometry,
    "still": lambda settings: StandingStill(),
}


def make_egomotion(
    settings: EgoMotionConfig, *, has_poses: bool, has_lidar: bool, is_sequence: bool = True
) -> EgoMotion:
    """The estimator named in the settings; ``auto`` takes given poses, then lidar, then the camera.

    Args:
        settings: the ``[egomotion]`` section.
        has_poses: the drive gives poses.
        has_lidar: the drive has lidar scans.
        is_sequence: False for unrelated pictures, between which there is no motion.

    Raises:
        ConfigError: a source is asked for that the drive cannot feed.
    """
    source = settings.source
    if source == "auto":
        if not is_sequence:
            source = "still"
        else:
            source = "given" if has_poses else "lidar" if has_lidar else "visual"
    if source == "given" and not has_poses:
        raise ConfigError("egomotion.source = 'given' but the drive has no poses; use auto, lidar, visual or still")
    if source == "lidar" and not has_lidar:
        raise ConfigError("egomotion.source = 'lidar' but the drive has no lidar; use auto, visual or still")
    return EGOMOTION_SOURCES[source](settings)
