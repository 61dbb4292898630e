"""Makes depth estimators and lifters by name."""

from __future__ import annotations

from perception.config import LiftingConfig
from perception.lifting.geometric import GeometricLifter
from perception.lifting.lidar_depth import LidarDepth, NoDepth
from perception.roles import DepthEstimator, Lifter

__all__ = ["make_depth", "make_lifter"]


def make_depth(*, has_lidar: bool) -> DepthEstimator:
    """Lidar where the drive has it."""
    return LidarDepth() if has_lidar else NoDepth()


def make_lifter(settings: LiftingConfig) -> Lifter:
    """The geometric lifter, with or without depth."""
    return GeometricLifter(settings)
