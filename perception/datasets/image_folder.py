"""Pictures without more: a folder, a glob such as ``'night/*.jpg'``, or one picture."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from perception.datasets.drive import Drive, DriveInfo, Gap
from perception.datasets.footage import footage_camera
from perception.datasets.images import IMAGE_SUFFIXES, probe_size
from perception.datasets.numbering import find_numbering, listing, missing_file, natural_key
from perception.datasets.recorded import RecordedDrive, Step, gaps_of
from perception.errors import DriveError

__all__ = ["open_glob", "open_images", "recognises_glob", "recognises_images"]

# footage without time stamps; the rate of KITTI and of most recorded data sets
DEFAULT_RATE_HZ = 10.0


def recognises_images(path: str) -> bool:
    """Whether the path is a folder with pictures, or a picture."""
    place = Path(path)
    if place.is_dir():
        return any(_is_picture(file) for file in place.iterdir())
    return place.is_file() and _is_picture(place)


def open_images(path: str, calib: Path | None) -> Drive:
    """Opens the pictures of a folder in natural order of their names, or one picture.

    Raises:
        DriveError: no picture can be read.
        CalibrationError: the calibration is malformed or for another aspect ratio.
    """
    place = Path(path)
    if place.is_file():
        return _open(path, place.absolute().stem, [place], calib)
    files = [file for file in place.iterdir() if _is_picture(file)]
    if not files:
        raise DriveError(f"{place}: expected pictures ({' '.join(IMAGE_SUFFIXES)}) but found {listing(place)}")
    return _open(path, place.absolute().name, files, calib)


def recognises_glob(path: str) -> bool:
    """Whether the path has a wildcard and is no existing file itself."""
    return glob.has_magic(path) and "://" not in path and not Path(path).exists()


def open_glob(path: str, calib: Path | None) -> Drive:
    """Opens the pictures that match a pattern; ``**`` matches folders below.

    Raises:
        DriveError: no picture matches, or none can be read.
        CalibrationError: the calibration is malformed or for another aspect ratio.
    """
    matches = [Path(match) for match in glob.glob(path, recursive=True)]  # noqa: PTH207 - absolute patterns too
    files = [match for match in matches if _is_picture(match)]
    if not files:
        raise DriveError(
            f"{path}: expected pictures ({' '.join(IMAGE_SUFFIXES)}) but {len(matches)} files match and none is one"
        )
    folders = {file.absolute().parent for file in files}
    return _open(path, folders.pop().name if len(folders) == 1 else "images", files, calib)


def _open(path: str, name: str, files: Sequence[Path], calib: Path | None) -> Drive:
    ordered = sorted(files, key=lambda file: [natural_key(part) for part in file.parts])
    by_name = {file.stem: file for file in ordered}
    if len(by_name) < len(ordered):
        by_name = {f"{position:06d}_{file.stem}": file for position, file in enumerate(ordered)}
    names = find_numbering(list(by_name))

    sizes = probe_size(ordered, path)
    width_px, height_px = max(sizes, key=lambda size: sizes[size])
    footage = footage_camera(calib, width_px, height_px)
    notes = footage.notes
    if calib is None and len(sizes) > 1:
        found = ", ".join(f"{width}x{height}" for width, height in sizes)
        notes += (f"pictures differ in size ({found}, ...): each size has its own guessed camera",)
    notes += (f"no time stamps: frames are taken to be {1 / DEFAULT_RATE_HZ:g} s apart",)

    period_ns = 1e9 / DEFAULT_RATE_HZ
    folder = ordered[0].parent
    steps = []
    for index, frame_name in enumerate(names):
        file = by_name.get(frame_name)
        gaps: tuple[Gap, ...] = () if file else (missing_file(frame_name, "camera", folder),)
        steps.append(Step(frame_name, round(index * period_ns), file, gaps=gaps))
    info = DriveInfo(
        name=name,
        kind="images",
        path=path,
        frame_count=len(steps),
        rate_hz=DEFAULT_RATE_HZ,
        camera=footage.camera,
        calibration_source=footage.source,
        pose_source=None,
        sensors=("camera",),
        gaps=gaps_of(steps),
        notes=notes,
        duration_s=(len(steps) - 1) / DEFAULT_RATE_HZ,
    )
    return RecordedDrive(info, steps, footage.camera_of)


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()
