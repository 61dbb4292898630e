"""A drive that lies in files, one picture a frame: what the KITTI drives and image folders have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.datasets.drive import DamagedError, DriveInfo, Gap, Reading
from perception.datasets.images import read_image
from perception.geometry import SE3, PinholeCamera
from perception.types import Frame

__all__ = ["CameraSource", "LidarReader", "RecordedDrive", "Step", "gaps_of", "one_camera", "selected"]

# frame name, image width, image height -> its camera; raises DamagedError where there is none for such an image
CameraSource = Callable[[str, int, int], PinholeCamera]

# file -> (P, 4) points in the ego frame, and what was wrong with some of them or None; raises DamagedError
LidarReader = Callable[[Path], tuple[npt.NDArray[np.float32], str | None]]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """Where one frame lies.

    Attributes:
        name: the drive's name for the frame.
        timestamp_ns: time of the exposure.
        image: the picture, or None where it is missing.
        lidar: the scan, or None where it is missing or the drive has none.
        world_SE3_ego: given pose, or None.
        gaps: what is missing by the file names.
    """

    name: str
    timestamp_ns: int
    image: Path | None
    lidar: Path | None = None
    world_SE3_ego: SE3 | None = None
    gaps: tuple[Gap, ...] = ()


class RecordedDrive:
    """Reads frames from files, one at a time, in order."""

    def __init__(
        self,
        info: DriveInfo,
        steps: Sequence[Step],
        camera_of: CameraSource,
        read_lidar: LidarReader | None = None,
    ) -> None:
        self.info = info
        self._steps = steps
        self._camera_of = camera_of
        self._read_lidar = read_lidar

    def readings(self, start: int = 0, step: int = 1, count: int | None = None) -> Iterator[Reading]:
        """Every ``step``-th frame from ``start``, at most ``count`` of them, skipped ones included."""
        for index in selected(len(self._steps), start, step, count):
            yield self._read(index)

    def close(self) -> None:
        """Holds nothing open."""

    def _read(self, index: int) -> Reading:
        step = self._steps[index]
        if step.image is None:
            return Reading(index, step.name, None, step.gaps)
        try:
            image = read_image(step.image)
            camera = self._camera_of(step.name, image.shape[1], image.shape[0])
        except DamagedError as damage:
            return Reading(index, step.name, None, (*step.gaps, Gap(step.name, "camera", str(damage))))
        points, gaps = None, step.gaps
        if step.lidar is not None and self._read_lidar is not None:
            try:
                points, reason = self._read_lidar(step.lidar)
            except DamagedError as damage:
                reason = str(damage)
            if reason is not None:
                gaps = (*gaps, Gap(step.name, "lidar", reason))
        frame = Frame(index, step.name, step.timestamp_ns, image, camera, step.world_SE3_ego, points)
        return Reading(index, step.name, frame, gaps)


def one_camera(camera: PinholeCamera) -> CameraSource:
    """One camera for the whole drive; images of another size do not belong to it."""

    def camera_of(name: str, width_px: int, height_px: int) -> PinholeCamera:
        if (width_px, height_px) != (camera.width_px, camera.height_px):
            raise DamagedError(
                f"image is {width_px}x{height_px} but the drive's camera is {camera.width_px}x{camera.height_px}"
            )
        return camera

    return camera_of


def selected(length: int, start: int, step: int, count: int | None) -> range:
    """Positions of every ``step``-th frame from ``start``, at most ``count``.

    Raises:
        ValueError: a number is out of range.
    """
    if start < 0 or step < 1 or (count is not None and count < 0):
        raise ValueError(f"start and count must not be negative and step at least 1, got {start}, {count} and {step}")
    positions = range(start, max(length, start), step)
    return positions if count is None else positions[:count]


def gaps_of(steps: Sequence[Step]) -> tuple[Gap, ...]:
    """All that is missing by the file names."""
    return tuple(gap for step in steps for gap in step.gaps)
