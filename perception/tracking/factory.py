"""Makes trackers by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import replace

from perception.config import TrackingConfig
from perception.errors import ConfigError
from perception.roles import Tracker
from perception.tracking.appearance import Appearance
from perception.tracking.camera_motion import CameraMotion
from perception.tracking.image_tracker import ImageTracker, ImageTrackerSettings
from perception.tracking.settings import load_box_settings
from perception.tracking.world_tracker import WorldTracker

__all__ = ["TRACKERS", "make_tracker"]


# settings that the published trackers have too, whose differences for a class apply to them
_SHARED = (
    "high_score", "birth_score", "sure_score", "min_iou", "max_coast_frames", "show_coast_frames", "tentative_frames",
    "min_hits", "position_std", "acceleration_std", "size_std", "growth_std",
)  # fmt: skip


def _every_part(settings: TrackingConfig) -> ImageTrackerSettings:
    parts = settings.image.model_dump(exclude={"camera_motion", "motion_model", "appearance"})
    parts["low_score"] = min(settings.image.low_score, settings.min_score)
    return ImageTrackerSettings(
        high_score=settings.min_score,
        birth_score=settings.min_score,
        min_iou=settings.min_iou,
        max_coast_frames=settings.max_coast_frames,
        min_hits=settings.min_hits,
        **parts,
    )


def _plain(settings: TrackingConfig) -> ImageTrackerSettings:
    """What SORT, ByteTrack and OC-SORT share."""
    kept = tuple(text for text in settings.image.per_class if text.partition("=")[0].strip().split(".")[-1] in _SHARED)
    return replace(
        _every_part(settings), per_class=kept, low_score=settings.min_score, recover_iou=1.0, double_iou=1.0,
        direction_weight=0.0, score_weight=0.0, appearance_weight=0.0, buffer=0.0, re_update=False, refind_s=0.0,
        class_gate="same",
    )  # fmt: skip


def _sort(settings: TrackingConfig, has_motion: bool) -> Tracker:
    """SORT (Bewley et al., ICIP 2016): one stage by IoU."""
    return ImageTracker(_plain(settings))


def _bytetrack(settings: TrackingConfig, has_motion: bool) -> Tracker:
    """ByteTrack (Zhang et al., ECCV 2022): weak detections continue tracks in a second stage."""
    low_score = min(settings.image.low_score, settings.min_score)
    return ImageTracker(replace(_plain(settings), low_score=low_score, weak_iou=0.5))


def _ocsort(settings: TrackingConfig, has_motion: bool) -> Tracker:
    """OC-SORT (Cao et al., CVPR 2023): direction term, recovery by the last seen box, re-update after a gap."""
    return ImageTracker(replace(_plain(settings), recover_iou=0.3, direction_weight=0.2, re_update=True))


def _image(settings: TrackingConfig, has_motion: bool) -> ImageTracker:
    """Every part at once: weak detections, direction, recovery, re-update, camera motion, appearance, re-finding."""
    image = settings.image
    source = image.camera_motion
    if source == "auto":
        source = "poses" if has_motion else "none"
    return ImageTracker(
        _every_part(settings),
        None if source == "none" else CameraMotion(source, image.motion_model),
        None if image.appearance == "none" else Appearance(image.appearance),
    )


def _world(settings: TrackingConfig, has_motion: bool) -> Tracker:
    """This project's own: lifted detections in the world, the others in the image."""
    return WorldTracker(load_box_settings("general"), _image(settings, has_motion), settings.min_hits)


TRACKERS: dict[str, Callable[[TrackingConfig, bool], Tracker]] = {
    "sort": _sort,
    "bytetrack": _bytetrack,
    "ocsort": _ocsort,
    "image": _image,
    "world": _world,
}


def make_tracker(settings: TrackingConfig, *, has_motion: bool = True) -> Tracker:
    """The tracker that ``settings.tracker`` names.

    Args:
        settings: the ``[tracking]`` section.
        has_motion: poses are given or estimated, so that they tell how the camera moves.

    Raises:
        ConfigError: no tracker has that name.
    """
    if settings.tracker not in TRACKERS:
        near = difflib.get_close_matches(settings.tracker, TRACKERS, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"tracking.tracker = {settings.tracker!r}: expected one of {', '.join(TRACKERS)}{hint}")
    return TRACKERS[settings.tracker](settings, has_motion)
