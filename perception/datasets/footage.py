"""The camera of footage that brings no calibration of its own: the one that the user gives, or a stated guess."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perception.datasets.calibration import fitted_calibration
from perception.datasets.recorded import CameraSource, one_camera
from perception.geometry import PinholeCamera, guess_camera

__all__ = ["GUESSED", "FootageCamera", "footage_camera"]

GUESSED = "guessed: 80 degrees of horizontal view, 1.5 m up, looking straight ahead"


@dataclass(frozen=True, slots=True, eq=False)
class FootageCamera:
    """How footage was taken.

    Attributes:
        camera: for images of the size that most have.
        camera_of: for images of any size.
        source: the calibration file, or that it is a guess.
        notes: what a run should state.
    """

    camera: PinholeCamera
    camera_of: CameraSource
    source: str
    notes: tuple[str, ...]


def footage_camera(calib: Path | None, width_px: int, height_px: int) -> FootageCamera:
    """Reads the calibration, or guesses one; guessed, every other size of image gets its own guess.

    Raises:
        CalibrationError: the calibration is malformed or for another aspect ratio.
    """
    if calib is not None:
        camera, notes = fitted_calibration(calib, width_px, height_px)
        return FootageCamera(camera, one_camera(camera), str(calib), notes)
    camera_of = _guessed()
    return FootageCamera(camera_of("", width_px, height_px), camera_of, GUESSED, ())


def _guessed() -> CameraSource:
    cameras: dict[tuple[int, int], PinholeCamera] = {}

    def camera_of(name: str, width_px: int, height_px: int) -> PinholeCamera:
        size = (width_px, height_px)
        if size not in cameras:
            cameras[size] = guess_camera(width_px, height_px)
        return cameras[size]

    return camera_of
