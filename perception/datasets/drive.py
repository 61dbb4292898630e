"""What a recorded drive is to the rest of the project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from perception.geometry import PinholeCamera
from perception.types import Frame

__all__ = ["DamagedError", "Drive", "DriveInfo", "Gap", "Reading"]


class DamagedError(Exception):
    """Content of one frame that cannot be used. Never leaves this package: its text becomes the reason of a gap."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that a drive should hold and lacks.

    Attributes:
        frame_name: the frame it belongs to, as the drive names it.
        sensor: ``camera``, ``lidar``, ``pose``, ``timestamp`` or ``calibration``.
        reason: what was found and what was expected.
    """

    frame_name: str
    sensor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Reading:
    """One step of a drive: a frame, or the reason why there is none.

    Attributes:
        index: position in the drive; a skipped frame keeps its place.
        name: the drive's name for the frame.
        frame: the frame, or None where it was skipped.
        gaps: what was missing or damaged, those of ``DriveInfo.gaps`` for this frame included; a frame without its
            lidar scan is still a frame.
    """

    index: int
    name: str
    frame: Frame | None
    gaps: tuple[Gap, ...] = ()


@dataclass(frozen=True, slots=True)
class DriveInfo:
    """What is known of a drive before it is read.

    Attributes:
        name: short name for folders and files, such as ``2011_09_26_drive_0900_sync``.
        kind: the dataset's name in the factory, such as ``kitti_raw``.
        path: what was opened.
        frame_count: number of frames including missing ones, or None for a live source.
        rate_hz: frames per second by the timestamps, or None where the frames are no sequence (KITTI object).
        camera: the camera of the first frame, or None where every frame has its own or none is known.
        calibration_source: the file, or the stated guess.
        pose_source: the file of given poses, or None.
        sensors: such as ``("camera image_02", "lidar velodyne_points")``.
        gaps: what is missing by the file names alone; damaged content shows only on reading.
        is_sequence: False for a folder of unrelated images, on which tracking and mapping make no sense across frames.
        labels: folder or file of ground truth, or None.
        notes: assumptions and other things that a run should state once.
        duration_s: from the first frame to the last, or None where the frames are no sequence or the source is live.
    """

    name: str
    kind: str
    path: Path | str
    frame_count: int | None
    rate_hz: float | None
    camera: PinholeCamera | None
    calibration_source: str
    pose_source: str | None
    sensors: tuple[str, ...]
    gaps: tuple[Gap, ...] = ()
    is_sequence: bool = True
    labels: Path | None = None
    notes: tuple[str, ...] = field(default=())
    duration_s: float | None = None


@runtime_checkable
class Drive(Protocol):
    """A sequence of frames. Opening checks layout and calibration; content is read only by ``readings``."""

    info: DriveInfo

    def readings(self, start: int = 0, step: int = 1, count: int | None = None) -> Iterator[Reading]:
        """Every ``step``-th frame from ``start``, at most ``count`` of them, skipped ones included.

        Never raises for a damaged frame: it is yielded with ``frame=None`` and its reason.
        """

    def close(self) -> None:
        """Releases files, cameras and streams."""
