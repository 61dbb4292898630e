"""Opens any drive: looks at a path, says which kind it is, and opens it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perception.datasets.drive import Drive
from perception.datasets.image_folder import open_glob, open_images, recognises_glob, recognises_images
from perception.datasets.kitti_object import open_kitti_object, recognises_kitti_object
from perception.datasets.kitti_odometry import open_kitti_odometry, recognises_kitti_odometry
from perception.datasets.kitti_raw import open_kitti_raw, recognises_kitti_raw
from perception.datasets.kitti_tracking import open_kitti_tracking, recognises_kitti_tracking
from perception.datasets.live_camera import open_camera, recognises_camera
from perception.datasets.numbering import listing
from perception.datasets.video import open_stream, open_video, recognises_stream, recognises_video
from perception.errors import CalibrationError, DriveError

__all__ = ["OPENERS", "Opener", "open_drive"]


@dataclass(frozen=True, slots=True)
class Opener:
    """One kind of drive.

    Attributes:
        recognises: whether a path is of this kind, by names alone and quickly.
        open: opens it, with a calibration that replaces the drive's own or None.
        expects: what it looks like, for messages.
    """

    recognises: Callable[[str], bool]
    open: Callable[[str, Path | None], Drive]
    expects: str


# The first that recognises a path opens it: addresses before files, and layouts before what any folder could be.
OPENERS: dict[str, Opener] = {
    "stream": Opener(recognises_stream, open_stream, "a stream (rtsp://...)"),
    "camera": Opener(recognises_camera, open_camera, "a camera's number"),
    "kitti_raw": Opener(recognises_kitti_raw, open_kitti_raw, "KITTI raw (..._sync with image_02/data)"),
    "kitti_tracking": Opener(
        recognises_kitti_tracking, open_kitti_tracking, "a KITTI tracking sequence (training/image_02/0000)"
    ),
    "kitti_odometry": Opener(
        recognises_kitti_odometry, open_kitti_odometry, "a KITTI odometry sequence (sequences/00 with calib.txt)"
    ),
    "kitti_object": Opener(recognises_kitti_object, open_kitti_object, "a KITTI object folder (image_2 and calib)"),
    "video": Opener(recognises_video, open_video, "a video"),
    "images": Opener(recognises_images, open_images, "a folder of pictures"),
    "glob": Opener(recognises_glob, open_glob, "a pattern such as 'drive/*.jpg'"),
}


def open_drive(path: str | Path, calib: Path | None = None) -> Drive:
    """Opens a drive of any kind. Layout and calibration are checked here; content is read by ``readings``.

    Args:
        path: a folder, file, pattern, address or camera number.
        calib: a calibration file that replaces the drive's own, or None.

    Raises:
        DriveError: the path is missing, unreadable, or no drive of any kind.
        CalibrationError: the calibration is missing, malformed or for another image size.
    """
    place = str(path)
    if not place:
        raise DriveError(f"the drive's path is empty; expected {_expected()}")
    if calib is not None and not calib.is_file():
        raise CalibrationError(f"{calib}: expected a calibration file but there is none")
    try:
        for opener in OPENERS.values():
            if opener.recognises(place):
                return opener.open(place, calib)
        raise DriveError(f"{place}: {_found(Path(place))}; expected {_expected()}")
    except OSError as error:
        raise DriveError(f"{error.filename or place}: cannot be read: {error.strerror or error}") from None


def _found(path: Path) -> str:
    if path.is_dir():
        return f"found a folder with {listing(path)}"
    return f"found a file of unknown kind {path.suffix!r}" if path.exists() else "no such file or folder"


def _expected() -> str:
    *kinds, last = (opener.expects for opener in OPENERS.values())
    return f"{', '.join(kinds)} or {last}"
