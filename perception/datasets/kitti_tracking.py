"""The KITTI tracking benchmark: sequences side by side under ``training`` or ``testing``.

    training/image_02/0000/000000.png  calib/0000.txt  [velodyne/0000/000000.bin]  [oxts/0000.txt]  [label_02/0000.txt]

A sequence is named by its pictures (``training/image_02/0000``) or shortly (``training/0000``).
"""

from __future__ import annotations

import re
from pathlib import Path

from perception.datasets.drive import Drive
from perception.datasets.kitti_calibration import KittiCalibration, load_benchmark_calibration
from perception.datasets.kitti_poses import oxts_poses, read_oxts_sequence
from perception.datasets.kitti_sequence import CAMERA_ORDER, GivenPoses, SequenceLayout, open_sequence
from perception.datasets.kitti_times import steady_times
from perception.datasets.kitti_velodyne import velodyne_folder
from perception.datasets.numbering import listing, only_one
from perception.errors import DriveError

__all__ = ["open_kitti_tracking", "recognises_kitti_tracking"]

_SEQUENCE = re.compile(r"\d{4}")
_CAMERA_FOLDER = re.compile(r"image_0[0-3]")


def recognises_kitti_tracking(path: str) -> bool:
    """Whether the path is a sequence, by its pictures or shortly, or a folder of sequences."""
    return _root_and_sequence(Path(path).absolute()) is not None


def open_kitti_tracking(path: str, calib: Path | None) -> Drive:
    """Opens a sequence, or the one sequence of a folder.

    Raises:
        DriveError: there are several sequences, or the sequence has no pictures.
        CalibrationError: the calibration is missing or malformed.
    """
    found = _root_and_sequence(Path(path).absolute())
    if found is None:
        raise DriveError(f"{path}: expected a KITTI tracking sequence such as training/image_02/0000")
    root, sequence = found
    cameras = [number for number in CAMERA_ORDER if (root / f"image_{number:02d}").is_dir()]
    if sequence is None:
        sequences = [folder for number in cameras[:1] for folder in _sequences(root / f"image_{number:02d}")]
        if not sequences:
            raise DriveError(f"{root}: expected pictures in image_02/SEQUENCE but found {listing(root)}")
        sequence = only_one(root, "KITTI tracking sequence", sequences).name
    wanted = Path(path).absolute().parent.name
    if _CAMERA_FOLDER.fullmatch(wanted) and Path(path).is_dir():
        cameras = [int(wanted[-1])]
    number = next((n for n in cameras if (root / f"image_{n:02d}" / sequence).is_dir()), None)
    if number is None:
        raise DriveError(f"{root}: expected pictures in image_02/{sequence} but found {listing(root)}")

    calibration_file = root / "calib" / f"{sequence}.txt"

    def poses(calibration: KittiCalibration, numbers: range) -> GivenPoses | str | None:
        oxts = root / "oxts" / f"{sequence}.txt"
        if not oxts.exists():
            return None
        if calibration.ego_SE3_imu is None:
            return f"{oxts} left out: {calibration.source} does not place the imu"
        return GivenPoses(str(oxts), calibration.ego_SE3_imu, dict(enumerate(oxts_poses(read_oxts_sequence(oxts)))))

    image_folder = root / f"image_{number:02d}" / sequence
    return open_sequence(
        SequenceLayout(
            kind="kitti_tracking",
            folder=image_folder,
            image_folder=image_folder,
            camera_number=number,
            camera_name=f"image_{number:02d}",
            lidar_folder=velodyne_folder(root, sequence),
            lidar_name="velodyne",
            calibration=calibration_file,
            load_calibration=lambda: load_benchmark_calibration(calibration_file, number),
            times=steady_times,
            poses=poses,
            labels=root / "label_02" / f"{sequence}.txt",
        ),
        calib,
    )


def _root_and_sequence(path: Path) -> tuple[Path, str | None] | None:
    if _SEQUENCE.fullmatch(path.name):
        if _CAMERA_FOLDER.fullmatch(path.parent.name) and path.is_dir():
            root = path.parent.parent
            beside = (root / "calib").is_dir() or (root / "label_02").is_dir()
            return (root, path.name) if beside else None
        if not path.exists() and _is_root(path.parent):
            return path.parent, path.name
    if _is_root(path):
        return path, None
    return (path / "training", None) if _is_root(path / "training") else None


def _is_root(folder: Path) -> bool:
    if (folder / "label_02").is_dir():
        return True
    return any(_sequences(folder / f"image_{number:02d}") for number in CAMERA_ORDER)


def _sequences(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _SEQUENCE.fullmatch(path.name) and path.is_dir())
