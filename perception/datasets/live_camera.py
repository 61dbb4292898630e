"""A camera of this machine, by its number."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from perception.datasets.drive import DamagedError, Drive, DriveInfo, Gap, Reading
from perception.datasets.footage import footage_camera
from perception.datasets.recorded import CameraSource
from perception.errors import DriveError
from perception.types import Frame

__all__ = ["LiveCameraDrive", "open_camera", "recognises_camera"]

# this many frames in a row that cannot be had mean that the camera is gone
_MAX_FAILURES = 30


class LiveCameraDrive:
    """Reads frames as they come; times are the machine's."""

    def __init__(self, capture: cv2.VideoCapture, info: DriveInfo, camera_of: CameraSource) -> None:
        self.info = info
        self._capture = capture
        self._camera_of = camera_of

    def readings(self, start: int = 0, step: int = 1, count: int | None = None) -> Iterator[Reading]:
        """Every ``step``-th frame from now on, leaving out ``start``; ends when the camera is gone."""
        failures = 0
        for index in itertools.count() if count is None else range(start + step * count):
            if failures >= _MAX_FAILURES:
                return
            grabbed = self._capture.grab()
            timestamp_ns = time.time_ns()
            failures = 0 if grabbed else failures + 1
            if index >= start and (index - start) % step == 0:
                yield self._reading(index, timestamp_ns, grabbed)

    def close(self) -> None:
        """Hands the camera back."""
        self._capture.release()

    def _reading(self, index: int, timestamp_ns: int, grabbed: bool) -> Reading:
        name = f"{index:06d}"
        ok, image = self._capture.retrieve() if grabbed else (False, None)
        if not ok or image is None:
            return Reading(index, name, None, (Gap(name, "camera", f"camera {self.info.path} gave no frame"),))
        rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), dtype=np.uint8)
        try:
            camera = self._camera_of(name, rgb.shape[1], rgb.shape[0])
        except DamagedError as damage:
            return Reading(index, name, None, (Gap(name, "camera", str(damage)),))
        return Reading(index, name, Frame(index, name, timestamp_ns, rgb, camera))


def recognises_camera(path: str) -> bool:
    """Whether the path is a number, and no file of that name is there."""
    return path.isascii() and path.isdigit() and not Path(path).exists()


def open_camera(path: str, calib: Path | None) -> Drive:
    """Opens a camera of this machine.

    Raises:
        DriveError: there is no such camera, or it gives no frame.
        CalibrationError: the calibration is malformed or for another aspect ratio.
    """
    index = int(path)
    if sys.platform == "linux" and not Path(f"/dev/video{index}").exists():
        present = sorted(device.name.removeprefix("video") for device in Path("/dev").glob("video[0-9]*"))
        found = f"those present are {', '.join(present)}" if present else "this machine has none"
        raise DriveError(f"camera {index}: there is no /dev/video{index}; {found}")
    capture = cv2.VideoCapture(index)
    ok, image = capture.read() if capture.isOpened() else (False, None)
    if not ok or image is None:
        capture.release()
        raise DriveError(f"camera {index}: expected frames but it cannot be opened or gives none; is it in use?")
    height_px, width_px = image.shape[:2]
    try:
        footage = footage_camera(calib, width_px, height_px)
    except BaseException:
        capture.release()
        raise
    info = DriveInfo(
        name=f"camera_{index}",
        kind="camera",
        path=path,
        frame_count=None,
        rate_hz=float(capture.get(cv2.CAP_PROP_FPS)) or None,
        camera=footage.camera,
        calibration_source=footage.source,
        pose_source=None,
        sensors=("camera",),
        notes=footage.notes,
    )
    return LiveCameraDrive(capture, info, footage.camera_of)
