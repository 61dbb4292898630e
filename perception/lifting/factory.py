"""Makes depth estimators and lifters by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perception.config import LiftingConfig
from perception.errors import ConfigError
from perception.lifting.geometric import GeometricLifter
from perception.lifting.lidar_depth import LidarDepth, NoDepth
from perception.roles import DepthEstimator, Lifter

if TYPE_CHECKING:
    from perception.models.street_network import StreetNetwork

__all__ = ["make_depth", "make_lifter"]


def make_depth(settings: LiftingConfig, network: StreetNetwork | None, *, has_lidar: bool) -> DepthEstimator:
    """The source of depth that the settings name.

    Args:
        settings: ``auto`` takes lidar where the drive has it, else the network where one runs anyway.
        network: the embedded network, or None where it is not loaded.
        has_lidar: the drive has lidar scans.

    Raises:
        ConfigError: the source that is asked for is not there.
    """
    source = settings.depth
    if source == "auto":
        source = "lidar" if has_lidar else "network" if network is not None else "none"
    if source == "lidar":
        if not has_lidar:
            raise ConfigError("lifting.depth = 'lidar' but the drive has no lidar; use auto, network or none")
        return LidarDepth()
    if source == "network":
        if network is None:
            raise ConfigError("lifting.depth = 'network': found no network loaded; expected the embedded one")
        from perception.lifting.network_depth import NetworkDepth

        return NetworkDepth(network)
    return NoDepth()


def make_lifter(settings: LiftingConfig) -> Lifter:
    """The geometric lifter, with or without depth."""
    return GeometricLifter(settings)
