"""KITTI raw: ``DATE/DATE_drive_NNNN_sync`` with its day's calibration beside it.

2011_09_26/calib_cam_to_cam.txt  calib_velo_to_cam.txt  [calib_imu_to_velo.txt]
2011_09_26/2011_09_26_drive_0009_sync/image_02/data/0000000000.png  image_02/timestamps.txt
                                      [velodyne_points/data/0000000000.bin]  [oxts/data/0000000000.txt]

A drive's path opens its first camera of image_02, 03, 00 and 01; ``..._sync/image_04`` opens that one.
"""

from __future__ import annotations

import re
from pathlib import Path

from perception.datasets.drive import Drive
from perception.datasets.kitti_calibration import KittiCalibration, load_raw_calibration
from perception.datasets.kitti_poses import oxts_poses, read_oxts_packet
from perception.datasets.kitti_sequence import CAMERA_ORDER, GivenPoses, SequenceLayout, open_sequence
from perception.datasets.kitti_times import read_times
from perception.datasets.numbering import listing, only_one
from perception.errors import DriveError

__all__ = ["open_kitti_raw", "recognises_kitti_raw"]

_CAMERA_FOLDER = re.compile(r"image_(\d\d)")
# simulated drives bring the tracking benchmark's text in place of the tracklets
_LABELS = ("tracklet_labels.xml", "truth/label_02")


def recognises_kitti_raw(path: str) -> bool:
    """Whether the path is a drive, one of its cameras, or a folder of one or several (a day, or a folder of days)."""
    folder = Path(path)
    return folder.is_dir() and (_camera_of(folder) is not None or _is_drive(folder) or bool(_drives_below(folder)))


def open_kitti_raw(path: str, calib: Path | None) -> Drive:
    """Opens a drive, one camera of a drive, or the one drive of a folder.

    Raises:
        DriveError: there are several drives, it is not rectified, or has no pictures.
        CalibrationError: the day's calibration is missing or malformed.
    """
    folder = Path(path)
    number = _camera_of(folder)
    if number is not None:
        folder = folder.absolute().parent
    elif not _is_drive(folder):
        folder = only_one(folder, "KITTI raw drive", _drives_below(folder))
    if folder.absolute().name.endswith("_extract"):
        raise DriveError(
            f"{folder}: expected rectified, synchronised images (..._sync) but this is an unrectified drive"
        )
    if number is None:
        number = next((n for n in CAMERA_ORDER if _image_folder(folder, n).is_dir()), None)
    if number is None:
        raise DriveError(f"{folder}: expected image_02/data (or image_03, 00, 01) but found {listing(folder)}")
    # beside the drive; where the drive is a link, beside what it points to
    days = (folder.absolute().parent, folder.resolve().parent)
    day = next((day for day in days if (day / "calib_cam_to_cam.txt").exists()), days[0])

    calibration_file = day / "calib_cam_to_cam.txt"

    def poses(calibration: KittiCalibration, numbers: range) -> GivenPoses | str | None:
        oxts = folder / "oxts" / "data"
        if not oxts.is_dir():
            return None
        if calibration.ego_SE3_imu is None:
            return f"{folder / 'oxts'} left out: {day / 'calib_imu_to_velo.txt'} is missing"
        present = [n for n in numbers if (oxts / f"{n:010d}.txt").exists()]
        packets = [read_oxts_packet(oxts / f"{n:010d}.txt") for n in present]
        return GivenPoses(
            str(folder / "oxts"), calibration.ego_SE3_imu, dict(zip(present, oxts_poses(packets), strict=True))
        )

    return open_sequence(
        SequenceLayout(
            kind="kitti_raw",
            folder=folder,
            image_folder=_image_folder(folder, number),
            camera_number=number,
            camera_name=f"image_{number:02d}",
            lidar_folder=folder / "velodyne_points" / "data",
            lidar_name="velodyne_points",
            calibration=calibration_file,
            load_calibration=lambda: load_raw_calibration(calibration_file, number),
            times=lambda numbers: read_times(folder / f"image_{number:02d}" / "timestamps.txt", numbers),
            poses=poses,
            labels=next((folder / place for place in _LABELS if (folder / place).exists()), folder / _LABELS[0]),
        ),
        calib,
    )


def _image_folder(folder: Path, number: int) -> Path:
    return folder / f"image_{number:02d}" / "data"


def _camera_of(folder: Path) -> int | None:
    """Number of the camera whose folder this is, in a drive."""
    found = _CAMERA_FOLDER.fullmatch(folder.absolute().name)
    if found is None or not (folder / "data").is_dir() or not _is_drive(folder.absolute().parent):
        return None
    return int(found[1])


def _is_drive(folder: Path) -> bool:
    named = folder.absolute().name.endswith(("_sync", "_extract"))
    sensors = [_image_folder(folder, number) for number in CAMERA_ORDER] + [folder / "velodyne_points" / "data"]
    return named or any(sensor.is_dir() for sensor in sensors)


def _drives_below(folder: Path) -> list[Path]:
    patterns = ("*_sync", "*/*_sync", "*/image_0[0-3]/data", "*/*/image_0[0-3]/data")
    found = {drive for pattern in patterns[:2] for drive in folder.glob(pattern) if drive.is_dir()}
    found |= {data.parent.parent for pattern in patterns[2:] for data in folder.glob(pattern)}
    return sorted(found)
