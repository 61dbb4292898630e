"""Makes map layers by name."""

from __future__ import annotations

from perception.config import MappingConfig
from perception.mapping.birdseye import BirdsEyeMap

__all__ = ["make_map"]


def make_map(settings: MappingConfig) -> BirdsEyeMap:
    """The bird's-eye semantic map."""
    return BirdsEyeMap(settings)
