"""The roles that stages play: a stage is any object with the right method, made by ``perception/<stage>/factory.py``.

Stages never change their inputs. Only ego-motion, trackers and map layers hold state, per instance, with ``reset()``.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from perception.geometry import SE3
from perception.types import Boxes3D, DepthMap, Detections, Frame, InstanceMap, SemanticMap, Tracks

__all__ = [
    "DepthEstimator",
    "Detector",
    "EgoMotion",
    "InstanceSegmenter",
    "Lifter",
    "MapLayer",
    "SemanticSegmenter",
    "Tracker",
]


@runtime_checkable
class Detector(Protocol):
    """Finds road users and signs in an image."""

    def detect(self, frame: Frame) -> Detections:
        """Boxes in the pixels of ``frame.image_rgb``; empty when nothing is seen."""


@runtime_checkable
class SemanticSegmenter(Protocol):
    """Gives every pixel a class."""

    def segment(self, frame: Frame) -> SemanticMap:
        """A map of the image's own size."""


@runtime_checkable
class InstanceSegmenter(Protocol):
    """Gives every detection its pixels."""

    def segment(self, frame: Frame, detections: Detections, semantic: SemanticMap) -> InstanceMap:
        """A map of the image's own size whose values are rows of ``detections``."""


@runtime_checkable
class DepthEstimator(Protocol):
    """Estimates metric depth."""

    def estimate(self, frame: Frame) -> DepthMap | None:
        """A map of the image's own size, or None without a source of depth."""


@runtime_checkable
class EgoMotion(Protocol):
    """Knows where the vehicle is."""

    source: str

    def estimate(self, frame: Frame) -> SE3:
        """``world_SE3_ego`` of this frame; the first frame of a drive is the origin unless poses are given."""

    def reset(self) -> None:
        """Forgets the drive."""


@runtime_checkable
class Lifter(Protocol):
    """Places image detections in 3D."""

    def lift(self, frame: Frame, detections: Detections, instances: InstanceMap, depth: DepthMap | None) -> Boxes3D:
        """One row per detection, score 0 where it could not be lifted."""


@runtime_checkable
class Tracker(Protocol):
    """Follows objects over frames."""

    def update(self, frame: Frame, detections: Detections, boxes3d: Boxes3D, world_SE3_ego: SE3) -> Tracks:
        """Tracks after this frame. Ids are unique until ``reset``."""

    def reset(self) -> None:
        """Forgets all tracks and starts ids anew."""


@runtime_checkable
class MapLayer(Protocol):
    """Accumulates one aspect of the world."""

    def integrate(
        self, frame: Frame, semantic: SemanticMap, depth: DepthMap | None, tracks: Tracks, world_SE3_ego: SE3
    ) -> None:
        """Adds what one frame saw."""

    def reset(self) -> None:
        """Forgets the map."""
