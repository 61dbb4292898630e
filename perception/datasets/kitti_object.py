"""The KITTI object benchmark: unrelated frames, each with its own calibration.

training/image_2/000000.png  calib/000000.txt  [velodyne/000000.bin]  [label_2/000000.txt]
"""

from __future__ import annotations

from pathlib import Path

from perception.datasets.calibration import fitted_calibration
from perception.datasets.drive import DamagedError, Drive, DriveInfo, Gap
from perception.datasets.images import IMAGE_SUFFIXES, probe_size
from perception.datasets.kitti_calibration import load_benchmark_calibration
from perception.datasets.kitti_times import KITTI_RATE_HZ
from perception.datasets.kitti_velodyne import read_velodyne, velodyne_folder
from perception.datasets.numbering import files_by_name, listing, missing_file, natural_key
from perception.datasets.recorded import CameraSource, RecordedDrive, Step, gaps_of, one_camera
from perception.errors import CalibrationError, DriveError
from perception.geometry import PinholeCamera

__all__ = ["open_kitti_object", "recognises_kitti_object"]

_CAMERA_NUMBER = 2


def recognises_kitti_object(path: str) -> bool:
    """Whether the path is ``training`` or ``testing``, or the folder above."""
    return _root(Path(path)) is not None


def open_kitti_object(path: str, calib: Path | None) -> Drive:
    """Opens the frames as a drive that is no sequence.

    A frame without calibration is skipped with a gap; the first one's must be right.

    Raises:
        DriveError: there are no pictures.
        CalibrationError: the first frame's calibration is missing or malformed.
    """
    root = _root(Path(path))
    if root is None:
        raise DriveError(f"{path}: expected image_2 and calib but found {listing(Path(path))}")
    image_folder, calib_folder = root / "image_2", root / "calib"
    images = files_by_name(image_folder, IMAGE_SUFFIXES)
    if not images:
        raise DriveError(f"{image_folder}: expected pictures such as 000000.png but found {listing(image_folder)}")
    sizes = probe_size(list(images.values()), str(image_folder))
    width_px, height_px = max(sizes, key=lambda size: sizes[size])
    lidar_folder = velodyne_folder(root)
    scans = files_by_name(lidar_folder, (".bin",)) if lidar_folder.is_dir() else None
    camera: PinholeCamera | None = None
    notes: tuple[str, ...] = ()
    camera_of: CameraSource
    if calib is not None:
        camera, notes = fitted_calibration(calib, width_px, height_px)
        camera_of = one_camera(camera)
    else:
        first = next((name for name in images if (calib_folder / f"{name}.txt").exists()), next(iter(images)))
        calibration = load_benchmark_calibration(calib_folder / f"{first}.txt", _CAMERA_NUMBER)
        calibration.camera("image_2", width_px, height_px)
        camera_of = _own_camera(calib_folder)
        if scans is not None and calibration.ref_SE3_velo is None:
            scans, notes = None, (f"{lidar_folder} left out: {calibration.source} does not place it",)

    steps = []
    for index, name in enumerate(sorted({*images, *(scans or {})}, key=natural_key)):
        gaps: list[Gap] = []
        if name not in images:
            gaps.append(missing_file(name, "camera", image_folder))
        if calib is None and not (calib_folder / f"{name}.txt").exists():
            gaps.append(missing_file(name, "calibration", calib_folder))
        if scans is not None and name not in scans:
            gaps.append(missing_file(name, "lidar", lidar_folder))
        scan = None if scans is None else scans.get(name)
        steps.append(Step(name, round(index * 1e9 / KITTI_RATE_HZ), images.get(name), scan, None, tuple(gaps)))

    labels = root / "label_2"
    info = DriveInfo(
        name=f"{root.absolute().parent.name}_{root.absolute().name}",
        kind="kitti_object",
        path=root,
        frame_count=len(steps),
        rate_hz=None,
        camera=camera,
        calibration_source=f"{calib_folder} (one file a frame)" if calib is None else str(calib),
        pose_source=None,
        sensors=("camera image_2",) if scans is None else ("camera image_2", f"lidar {lidar_folder.name}"),
        gaps=gaps_of(steps),
        is_sequence=False,
        labels=labels if labels.is_dir() else None,
        notes=notes,
    )
    return RecordedDrive(info, steps, camera_of, read_velodyne)


def _own_camera(calib_folder: Path) -> CameraSource:
    def camera_of(name: str, width_px: int, height_px: int) -> PinholeCamera:
        try:
            calibration = load_benchmark_calibration(calib_folder / f"{name}.txt", _CAMERA_NUMBER)
            return calibration.camera("image_2", width_px, height_px)
        except CalibrationError as error:
            raise DamagedError(str(error)) from None

    return camera_of


def _root(path: Path) -> Path | None:
    for folder in (path, path / "training", path / "testing"):
        if (folder / "image_2").is_dir() and (folder / "calib").is_dir():
            return folder
    return None
