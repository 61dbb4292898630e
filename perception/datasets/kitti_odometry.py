"""The KITTI odometry benchmark.

sequences/00/image_0/000000.png (or image_2)  calib.txt  [times.txt]  [velodyne/000000.bin]  [poses.txt]
poses/00.txt
"""

from __future__ import annotations

from pathlib import Path

from perception.datasets.drive import Drive
from perception.datasets.kitti_calibration import KittiCalibration, load_benchmark_calibration
from perception.datasets.kitti_poses import read_pose_rows
from perception.datasets.kitti_sequence import CAMERA_ORDER, GivenPoses, SequenceLayout, open_sequence
from perception.datasets.kitti_times import read_times
from perception.datasets.kitti_velodyne import velodyne_folder
from perception.datasets.numbering import only_one

__all__ = ["open_kitti_odometry", "recognises_kitti_odometry"]


def recognises_kitti_odometry(path: str) -> bool:
    """Whether the path is a sequence, or a folder of one or several."""
    folder = Path(path)
    return folder.is_dir() and (_is_sequence(folder) or bool(_sequences_below(folder)))


def open_kitti_odometry(path: str, calib: Path | None) -> Drive:
    """Opens a sequence, or the one sequence of a folder. Poses are looked for in it and in ``../../poses``.

    Raises:
        DriveError: there are several sequences, or the pictures or poses cannot be read.
        CalibrationError: ``calib.txt`` is malformed.
    """
    folder = Path(path)
    if not _is_sequence(folder):
        folder = only_one(folder, "KITTI odometry sequence", _sequences_below(folder))
    number = next(n for n in CAMERA_ORDER if (folder / f"image_{n}").is_dir())

    calibration_file = folder / "calib.txt"

    def poses(calibration: KittiCalibration, numbers: range) -> GivenPoses | None:
        sequence = folder.absolute()
        candidates = (sequence / "poses.txt", sequence.parent.parent / "poses" / f"{sequence.name}.txt")
        file = next((file for file in candidates if file.is_file()), None)
        if file is None:
            return None
        return GivenPoses(str(file), calibration.ego_SE3_ref, dict(enumerate(read_pose_rows(file))))

    return open_sequence(
        SequenceLayout(
            kind="kitti_odometry",
            folder=folder,
            image_folder=folder / f"image_{number}",
            camera_number=number,
            camera_name=f"image_{number}",
            lidar_folder=velodyne_folder(folder),
            lidar_name="velodyne",
            calibration=calibration_file,
            load_calibration=lambda: load_benchmark_calibration(calibration_file, number),
            times=lambda numbers: read_times(folder / "times.txt", numbers),
            poses=poses,
            labels=folder / "labels",
        ),
        calib,
    )


def _is_sequence(folder: Path) -> bool:
    return (folder / "calib.txt").is_file() and any((folder / f"image_{number}").is_dir() for number in CAMERA_ORDER)


def _sequences_below(folder: Path) -> list[Path]:
    found = {file.parent for pattern in ("*/calib.txt", "sequences/*/calib.txt") for file in folder.glob(pattern)}
    return sorted(sequence for sequence in found if _is_sequence(sequence))
