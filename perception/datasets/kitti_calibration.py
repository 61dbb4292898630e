"""KITTI's calibration texts, of all four benchmarks, and the cameras that follow from them.

A camera without ``P_rect`` has unrectified pictures: its intrinsics are ``K``, its distortion ``D``, and ``R`` and
``T`` take points of the unrectified camera 0 to it, whichever way it looks.

KITTI's rectified cameras share one orientation: that of camera 0 after ``R_rect``, the reference. A projection matrix
``P = K [I | t]`` projects points of the reference, so ``t = K^-1 P[:, 3]`` is where camera 0 lies in the camera of P.
The velodyne sits 1.73 m above the road and the cameras 1.65 m (Geiger et al., "Vision meets Robotics", figure 3).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.errors import CalibrationError
from perception.geometry import EGO_R_CAM, SE3, PinholeCamera

__all__ = [
    "CAMERA_HEIGHT_M",
    "EGO_SE3_VELO",
    "KittiCalibration",
    "load_benchmark_calibration",
    "load_raw_calibration",
    "read_kitti_entries",
]

Float64Array = npt.NDArray[np.float64]

VELODYNE_HEIGHT_M = 1.73
CAMERA_HEIGHT_M = 1.65

# ego: the velodyne's own axes (x forward, y left, z up), moved down to the road
EGO_SE3_VELO = SE3(np.eye(3), np.array([0.0, 0.0, VELODYNE_HEIGHT_M]))

# the benchmarks name the same transforms differently
_VELO_KEYS = ("Tr_velo_to_cam", "Tr_velo_cam", "Tr")
_IMU_KEYS = ("Tr_imu_to_velo", "Tr_imu_velo")
_RECT_KEYS = ("R0_rect", "R_rect")


@dataclass(frozen=True, slots=True, eq=False)
class KittiCalibration:
    """How one camera of KITTI's rig sees, and where the rig's sensors sit.

    Attributes:
        projection: (3, 4) f64 px, ``P`` of the camera; ``[K | 0]`` where its pictures are not rectified.
        ref_SE3_velo: velodyne to rectified camera 0, or None where the calibration has no velodyne.
        velo_SE3_imu: imu to velodyne, or None.
        image_size: width and height in px, or None where the text does not give it.
        source: the file or files it was read from.
        distortion: (5,) f64 as cv2 orders them, or (0,) for rectified pictures.
        cam_SE3_ref: rectified camera 0 to this one, or None where that follows from ``projection``.
    """

    projection: Float64Array
    ref_SE3_velo: SE3 | None
    velo_SE3_imu: SE3 | None
    image_size: tuple[int, int] | None
    source: str
    distortion: Float64Array = field(default_factory=lambda: np.zeros(0))
    cam_SE3_ref: SE3 | None = None

    @property
    def ego_SE3_ref(self) -> SE3:
        """Pose of the rectified camera 0; straight ahead at its usual height where there is no velodyne."""
        if self.ref_SE3_velo is None:
            return SE3(EGO_R_CAM, np.array([0.0, 0.0, CAMERA_HEIGHT_M]))
        return EGO_SE3_VELO @ self.ref_SE3_velo.inverse()

    @property
    def ego_SE3_imu(self) -> SE3 | None:
        """Pose of the imu, or None where the calibration has none."""
        return None if self.velo_SE3_imu is None else EGO_SE3_VELO @ self.velo_SE3_imu

    def camera(self, name: str, width_px: int, height_px: int) -> PinholeCamera:
        """The camera for images of the given size.

        Raises:
            CalibrationError: the projection is not that of a pinhole.
        """
        intrinsics = self.projection[:, :3]
        if np.abs(intrinsics[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] - [0, 0, 0, 0, 1]).max() > 1e-6:
            raise CalibrationError(
                f"{self.source}: the projection of {name} must be [fx 0 cx tx; 0 fy cy ty; 0 0 1 tz] but is "
                f"{self.projection.tolist()}"
            )
        camera_SE3_ref = self.cam_SE3_ref
        if camera_SE3_ref is None:
            offset_m: Float64Array = np.linalg.inv(intrinsics) @ self.projection[:, 3]
            camera_SE3_ref = SE3(np.eye(3), offset_m)
        try:
            return PinholeCamera(
                float(intrinsics[0, 0]),
                float(intrinsics[1, 1]),
                float(intrinsics[0, 2]),
                float(intrinsics[1, 2]),
                width_px,
                height_px,
                self.distortion,
                self.ego_SE3_ref @ camera_SE3_ref.inverse(),
                name,
                self.ego_SE3_ref,
            )
        except ValueError as error:
            raise CalibrationError(f"{self.source}: {name}: {error}") from None


def read_kitti_entries(path: Path) -> dict[str, str]:
    """The rows of a KITTI calibration text by key; ``KEY: values`` and the tracking benchmark's ``KEY values``.

    Raises:
        CalibrationError: the file cannot be read, or holds no rows of that kind.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CalibrationError(f"{path}: calibration file is missing") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path}: cannot be read as KITTI calibration text: {error}") from None
    entries = {}
    for line in text.splitlines():
        key, _, values = line.strip().partition(" ")
        if key:
            entries[key.rstrip(":")] = values.strip()
    if not entries:
        raise CalibrationError(f"{path}: expected rows such as 'P2: ...' but the file is empty")
    return entries


def load_benchmark_calibration(path: Path, camera_number: int) -> KittiCalibration:
    """Reads the one-file calibration of the object, tracking and odometry benchmarks.

    Args:
        path: such as ``training/calib/000000.txt`` or ``sequences/00/calib.txt``.
        camera_number: 0 ... 3, for ``P0`` ... ``P3``.

    Raises:
        CalibrationError: the file is missing or lacks ``P<n>``, or an entry has the wrong number of values.
    """
    entries = read_kitti_entries(path)
    rect = _optional(path, entries, _RECT_KEYS, 9)
    velo = _optional(path, entries, _VELO_KEYS, 12)
    imu = _optional(path, entries, _IMU_KEYS, 12)
    ref_SE3_velo = None
    if velo is not None:
        ref_SE3_cam = SE3.identity() if rect is None else _pose(path, "R_rect", _from_rotation(rect))
        ref_SE3_velo = ref_SE3_cam @ _pose(path, "Tr_velo_to_cam", velo.reshape(3, 4))
    return KittiCalibration(
        _numbers(path, entries, f"P{camera_number}", 12).reshape(3, 4),
        ref_SE3_velo,
        None if imu is None else _pose(path, "Tr_imu_to_velo", imu.reshape(3, 4)),
        None,
        str(path),
    )


def load_raw_calibration(cameras: Path, camera_number: int) -> KittiCalibration:
    """Reads the calibration files of a day of KITTI raw; those of velodyne and imu, beside the first, are optional.

    Args:
        cameras: ``calib_cam_to_cam.txt``.
        camera_number: 0 ... 99, for ``P_rect_00`` ..., or for ``K_00``, ``D_00``, ``R_00`` and ``T_00`` where there is
            no such projection.

    Raises:
        CalibrationError: a file is missing, lacks an entry, or an entry has the wrong number of values.
    """
    entries = read_kitti_entries(cameras)
    number = f"{camera_number:02d}"
    rect = _numbers(cameras, entries, "R_rect_00", 9)
    distortion, cam_SE3_ref = np.zeros(0), None
    if f"P_rect_{number}" in entries or f"K_{number}" not in entries:
        size = _optional(cameras, entries, (f"S_rect_{number}",), 2)
        projection = _numbers(cameras, entries, f"P_rect_{number}", 12).reshape(3, 4)
    else:
        size = _optional(cameras, entries, (f"S_{number}",), 2)
        projection = _from_rotation(_numbers(cameras, entries, f"K_{number}", 9))
        bent = _numbers(cameras, entries, f"D_{number}", 5)
        distortion = bent if bent.any() else distortion
        rotation = _numbers(cameras, entries, f"R_{number}", 9).reshape(3, 3)
        place = np.column_stack([rotation, _numbers(cameras, entries, f"T_{number}", 3)])
        ref_SE3_cam0 = _pose(cameras, "R_rect_00", _from_rotation(rect))
        cam_SE3_ref = _pose(cameras, f"R_{number} and T_{number}", place) @ ref_SE3_cam0.inverse()
    cam_SE3_velo = _rigid(cameras.parent / "calib_velo_to_cam.txt")
    return KittiCalibration(
        projection,
        None if cam_SE3_velo is None else _pose(cameras, "R_rect_00", _from_rotation(rect)) @ cam_SE3_velo,
        _rigid(cameras.parent / "calib_imu_to_velo.txt"),
        None if size is None else (round(size[0]), round(size[1])),
        str(cameras),
        distortion,
        cam_SE3_ref,
    )


def _rigid(path: Path) -> SE3 | None:
    """``R`` and ``T`` of a raw calibration file, or None where there is no such file."""
    if not path.exists():
        return None
    entries = read_kitti_entries(path)
    rotation = _numbers(path, entries, "R", 9).reshape(3, 3)
    return _pose(path, "R and T", np.column_stack([rotation, _numbers(path, entries, "T", 3)]))


def _numbers(path: Path, entries: dict[str, str], key: str, count: int) -> Float64Array:
    if key not in entries:
        raise CalibrationError(f"{path}: expected an entry {key} of {count} values but found {', '.join(entries)}")
    try:
        values = np.array([float(word) for word in entries[key].split()])
    except ValueError as error:
        raise CalibrationError(f"{path}: {key}: {error}") from None
    if len(values) != count:
        raise CalibrationError(f"{path}: {key} must have {count} values but has {len(values)}")
    if not np.isfinite(values).all():
        raise CalibrationError(f"{path}: {key} must be finite but is {entries[key]}")
    return values


def _optional(path: Path, entries: dict[str, str], keys: tuple[str, ...], count: int) -> Float64Array | None:
    return next((_numbers(path, entries, key, count) for key in keys if key in entries), None)


def _from_rotation(values: Float64Array) -> Float64Array:
    return np.column_stack([values.reshape(3, 3), np.zeros(3)])


def _pose(path: Path, key: str, matrix: Float64Array) -> SE3:
    try:
        return SE3.from_matrix(matrix)
    except ValueError as error:
        raise CalibrationError(f"{path}: {key}: {error}") from None
