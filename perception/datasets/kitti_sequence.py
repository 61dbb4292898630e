"""What KITTI's three kinds of sequence share: numbered pictures and scans, times, poses and one rectified camera."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from perception.datasets.calibration import fitted_calibration
from perception.datasets.drive import DriveInfo, Gap
from perception.datasets.images import IMAGE_SUFFIXES, probe_size
from perception.datasets.kitti_calibration import CAMERA_HEIGHT_M, KittiCalibration
from perception.datasets.kitti_poses import anchored
from perception.datasets.kitti_times import Times
from perception.datasets.kitti_velodyne import read_velodyne
from perception.datasets.numbering import Numbered, files_by_name, listing, missing_file, number_range, numbers_of
from perception.datasets.recorded import RecordedDrive, Step, gaps_of, one_camera
from perception.errors import CalibrationError, DriveError
from perception.geometry import SE3, PinholeCamera

__all__ = ["CAMERA_ORDER", "GivenPoses", "SequenceLayout", "open_sequence"]

# colour before grey, left before right
CAMERA_ORDER = (2, 3, 0, 1)


@dataclass(frozen=True, slots=True, eq=False)
class GivenPoses:
    """Poses of a drive, not yet brought to the world.

    Attributes:
        source: the file or folder.
        ego_SE3_sensor: where the sensor of these poses sits.
        by_number: pose in any map, or the reason why there is none, by frame number.
    """

    source: str
    ego_SE3_sensor: SE3
    by_number: Mapping[int, SE3 | str]


@dataclass(frozen=True, slots=True, eq=False)
class SequenceLayout:
    """Where the parts of one sequence lie.

    Attributes:
        kind: the factory's name.
        folder: what was opened; its last part names the drive.
        image_folder: numbered pictures.
        camera_number: 0 ... 3.
        camera_name: the drive's name for the camera.
        lidar_folder: numbered scans; may be missing.
        lidar_name: the drive's name for the lidar.
        calibration: the file of the drive's own calibration.
        load_calibration: reads it.
        times: times for the frame numbers.
        poses: given poses for the calibration and the frame numbers, or a note why they are left out, or None.
        labels: ground truth, if it exists.
    """

    kind: str
    folder: Path
    image_folder: Path
    camera_number: int
    camera_name: str
    lidar_folder: Path
    lidar_name: str
    calibration: Path
    load_calibration: Callable[[], KittiCalibration]
    times: Callable[[range], Times]
    poses: Callable[[KittiCalibration, range], GivenPoses | str | None]
    labels: Path


def open_sequence(layout: SequenceLayout, calib: Path | None) -> RecordedDrive:
    """Opens a KITTI sequence by its layout.

    Args:
        layout: where its parts lie.
        calib: a calibration that replaces the drive's own, or None.

    Raises:
        DriveError: there are no pictures, or none can be read.
        CalibrationError: the calibration is missing, malformed or for another image size.
    """
    images, notes = _numbered(layout.image_folder, IMAGE_SUFFIXES)
    if not images:
        raise DriveError(
            f"{layout.image_folder}: expected numbered pictures such as 0000000000.png but found "
            f"{listing(layout.image_folder)}"
        )
    sizes = probe_size([images[number] for number in sorted(images)], str(layout.image_folder))
    calibration, camera, camera_notes = _calibrate(layout, calib, sizes)
    scans, scan_notes = _scans(layout, calibration, calib)
    numbers = number_range(layout.image_folder, [*images, *(scans or {})])
    times = layout.times(numbers)
    given = None if calibration is None else layout.poses(calibration, numbers)
    poses = _world_poses(given, numbers) if isinstance(given, GivenPoses) else {}

    digits = len(next(iter(images.values())).stem)
    steps = []
    for number, timestamp_ns in zip(numbers, times.timestamps_ns, strict=True):
        name = f"{number:0{digits}d}"
        gaps = []
        if number not in images:
            gaps.append(missing_file(name, "camera", layout.image_folder))
        if scans is not None and number not in scans:
            gaps.append(missing_file(name, "lidar", layout.lidar_folder))
        if number in times.gaps:
            gaps.append(Gap(name, "timestamp", times.gaps[number]))
        pose = poses.get(number)
        if isinstance(pose, str):
            gaps.append(Gap(name, "pose", pose))
            pose = None
        steps.append(Step(name, timestamp_ns, images.get(number), (scans or {}).get(number), pose, tuple(gaps)))

    info = DriveInfo(
        name=layout.folder.absolute().name,
        kind=layout.kind,
        path=layout.folder,
        frame_count=len(steps),
        rate_hz=times.rate_hz,
        camera=camera,
        calibration_source=str(layout.calibration if calib is None else calib),
        pose_source=given.source if isinstance(given, GivenPoses) else None,
        sensors=(f"camera {layout.camera_name}", *([] if scans is None else [f"lidar {layout.lidar_name}"])),
        gaps=gaps_of(steps),
        labels=layout.labels if layout.labels.exists() else None,
        notes=(*camera_notes, *times.notes, *notes, *scan_notes, *([given] if isinstance(given, str) else [])),
        duration_s=(times.timestamps_ns[-1] - times.timestamps_ns[0]) / 1e9,
    )
    return RecordedDrive(info, steps, one_camera(camera), read_velodyne)


def _numbered(folder: Path, suffixes: tuple[str, ...]) -> tuple[Numbered, list[str]]:
    """Files by frame number, and a note on those that have none."""
    files, strangers = numbers_of(files_by_name(folder, suffixes))
    return files, [f"{folder}: {', '.join(strangers)} left out: no frame number"] if strangers else []


def _scans(
    layout: SequenceLayout, calibration: KittiCalibration | None, calib: Path | None
) -> tuple[Numbered | None, list[str]]:
    """Scans by frame number, or None where there are none or nothing says how the camera lies to them."""
    if not layout.lidar_folder.is_dir():
        return None, []
    if calib is None and calibration is not None and calibration.ref_SE3_velo is None:
        return None, [f"{layout.lidar_folder} left out: {calibration.source} does not place it"]
    return _numbered(layout.lidar_folder, (".bin",))


def _world_poses(given: GivenPoses, numbers: range) -> dict[int, SE3 | str]:
    listed = [given.by_number.get(number, f"{given.source}: no pose for frame {number}") for number in numbers]
    return dict(zip(numbers, anchored(listed, given.ego_SE3_sensor), strict=True))


def _calibrate(
    layout: SequenceLayout, calib: Path | None, sizes: Counter[tuple[int, int]]
) -> tuple[KittiCalibration | None, PinholeCamera, list[str]]:
    """The rig's calibration, and the drive's one camera: the given one, or that of the rig.

    The camera is for the size that its calibration states, or that most pictures have.
    """
    width_px, height_px = max(sizes, key=lambda size: sizes[size])
    if calib is not None:
        camera, fit_notes = fitted_calibration(calib, width_px, height_px)
        try:
            return layout.load_calibration(), camera, [*fit_notes]
        except CalibrationError as error:
            return None, camera, [*fit_notes, f"{error}; given poses, if any, are left out"]
    calibration = layout.load_calibration()
    if calibration.image_size is not None:
        if calibration.image_size not in sizes:
            stated = "x".join(str(side) for side in calibration.image_size)
            raise CalibrationError(
                f"{calibration.source}: is for images of {stated} but those of {layout.image_folder} are "
                f"{width_px}x{height_px}"
            )
        width_px, height_px = calibration.image_size
    notes = []
    if calibration.ref_SE3_velo is None:
        notes = [f"no velodyne calibration: {layout.camera_name} is taken to look ahead from {CAMERA_HEIGHT_M} m"]
    return calibration, calibration.camera(layout.camera_name, width_px, height_px), notes
