"""Makes trackers by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace

from perception.config import TrackingConfig
from perception.errors import ConfigError
from perception.roles import Tracker
from perception.tracking.image_tracker import ImageTracker, ImageTrackerSettings
from perception.tracking.settings import load_box_settings
from perception.tracking.world_tracker import WorldTracker

__all__ = ["TRACKERS", "make_tracker"]


def _every_part(settings: TrackingConfig) -> ImageTrackerSettings:
    return ImageTrackerSettings(
        high_score=settings.min_score,
        low_score=min(0.1, settings.min_score),
        birth_score=settings.min_score,
        min_iou=settings.min_iou,
        max_coast_frames=settings.max_coast_frames,
        min_hits=settings.min_hits,
    )


def _sort(settings: TrackingConfig) -> Tracker:
    """SORT (Bewley et al., ICIP 2016): one stage by IoU."""
    parts = _every_part(settings)
    return ImageTracker(
        replace(parts, low_score=settings.min_score, recover_iou=1.0, momentum_weight=0.0, re_update=False)
    )


def _bytetrack(settings: TrackingConfig) -> Tracker:
    """ByteTrack (Zhang et al., ECCV 2022): weak detections continue tracks in a second stage."""
    parts = _every_part(settings)
    return ImageTracker(replace(parts, second_iou=0.5, recover_iou=1.0, momentum_weight=0.0, re_update=False))


def _ocsort(settings: TrackingConfig) -> Tracker:
    """OC-SORT (Cao et al., CVPR 2023): direction term, recovery by the last seen box, re-update after a gap."""
    parts = _every_part(settings)
    return ImageTracker(
        replace(parts, low_score=settings.min_score, recover_iou=0.3, momentum_weight=0.2, re_update=True)
    )


def _image(settings: TrackingConfig) -> Tracker:
    """Every part at once: weak detections, direction term, recovery, re-update."""
    return ImageTracker(_every_part(settings))


def _world(settings: TrackingConfig) -> Tracker:
    """This project's own: lifted detections in the world, the others in the image."""
    return WorldTracker(load_box_settings("general"), ImageTracker(_every_part(settings)), settings.min_hits)


TRACKERS: dict[str, Callable[[TrackingConfig], Tracker]] = {
    "sort": _sort,
    "bytetrack": _bytetrack,
    "ocsort": _ocsort,
    "image": _image,
    "world": _world,
}


def make_tracker(settings: TrackingConfig) -> Tracker:
    """The tracker that ``settings.tracker`` names.

    Raises:
        ConfigError: no tracker has that name.
    """
    if settings.tracker not in TRACKERS:
        near = difflib.get_close_matches(settings.tracker, TRACKERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"tracking.tracker = {settings.tracker!r}: expected one of {', '.join(TRACKERS)}{hint}")
    return TRACKERS[settings.tracker](settings)
