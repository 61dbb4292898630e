"""Calibration files that a user gives with ``--calib``: our own TOML or JSON, KITTI text, OpenCV FileStorage.

Our own format, in pixels, metres and degrees::

    fx_px = 1000.0
    fy_px = 1000.0
    cx_px = 960.0
    cy_px = 540.0
    width_px = 1920
    height_px = 1080
    distortion = [-0.3, 0.1, 0.0, 0.0, 0.0]  # optional, as OpenCV orders them: k1 k2 p1 p2 k3 ...
    height_m = 1.5                           # optional, above the road
    pitch_deg = 0.0                          # optional, positive looks down; yaw_deg: positive looks left;
                                             # roll_deg: positive leans right
"""

from __future__ import annotations

import difflib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.datasets.kitti_calibration import (
    KittiCalibration,
    load_benchmark_calibration,
    load_raw_calibration,
    read_kitti_entries,
)
from perception.datasets.opencv_text import read_opencv_text
from perception.errors import CalibrationError
from perception.geometry import EGO_R_CAM, SE3, PinholeCamera

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["fitted_calibration", "read_calibration"]

Float64Array = npt.NDArray[np.float64]

DEFAULT_HEIGHT_M = 1.5
_REQUIRED = ("fx_px", "fy_px", "cx_px", "cy_px", "width_px", "height_px")
_OPTIONAL = ("distortion", "height_m", "pitch_deg", "yaw_deg", "roll_deg")
_FORMATS = (
    "TOML or JSON with fx_px, fy_px, cx_px, cy_px, width_px, height_px; KITTI calibration text; or OpenCV FileStorage "
    "with camera_matrix, distortion_coefficients, image_width, image_height"
)
# images of the same view differ by rounding when they are resized
_ASPECT_TOLERANCE = 0.01


def read_calibration(path: Path, width_px: int | None = None, height_px: int | None = None) -> PinholeCamera:
    """Reads a calibration of any of the formats, recognised by suffix and content.

    Args:
        path: ``.toml``, ``.json``, ``.txt`` (KITTI), or ``.yml``, ``.yaml``, ``.xml`` (OpenCV).
        width_px: image width, taken where the format gives no image size (KITTI's benchmarks).
        height_px: image height, likewise.

    Raises:
        CalibrationError: the file cannot be read, lacks a key, or a value has the wrong shape or is not finite.
    """
    if not path.is_file():
        raise CalibrationError(f"{path}: expected a calibration file but there is none")
    suffix = path.suffix.lower()
    if suffix in (".yml", ".yaml", ".xml"):
        return _from_opencv(path)
    if suffix == ".toml":
        return _from_values(path, _load_toml(path))
    if suffix == ".json":
        return _from_values(path, _load_json(path))
    if suffix == ".txt":
        return _from_kitti(path, width_px, height_px)
    raise CalibrationError(f"{path}: unknown kind of calibration file {suffix!r}; expected {_FORMATS}")


def fitted_calibration(path: Path, width_px: int, height_px: int) -> tuple[PinholeCamera, tuple[str, ...]]:
    """Reads a calibration and scales it to images of another size and the same aspect ratio.

    Returns:
        The camera for such images, and a note where it was scaled.

    Raises:
        CalibrationError: as ``read_calibration``, or the aspect ratio differs.
    """
    camera = read_calibration(path, width_px, height_px)
    found = f"{camera.width_px}x{camera.height_px}"
    scale_u, scale_v = width_px / camera.width_px, height_px / camera.height_px
    if scale_u == scale_v == 1:
        return camera, ()
    if abs(scale_u / scale_v - 1) > _ASPECT_TOLERANCE:
        raise CalibrationError(f"{path}: is for images of {found} but the drive's are {width_px}x{height_px}")
    fitted = replace(
        camera,
        fx_px=camera.fx_px * scale_u,
        fy_px=camera.fy_px * scale_v,
        # the centre of the first pixel is at 0, its corner at -0.5
        cx_px=(camera.cx_px + 0.5) * scale_u - 0.5,
        cy_px=(camera.cy_px + 0.5) * scale_v - 0.5,
        width_px=width_px,
        height_px=height_px,
    )
    return fitted, (f"{path}: scaled from {found} to {width_px}x{height_px}",)


def _load_toml(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CalibrationError(f"{path}: cannot be read as TOML: {error}") from None
    return values


def _load_json(path: Path) -> dict[str, Any]:
    try:
        values: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{path}: cannot be read as JSON: {error}") from None
    if not isinstance(values, dict):
        raise CalibrationError(f"{path}: expected a JSON object but found {type(values).__name__}")
    return values


def _from_values(path: Path, values: dict[str, Any]) -> PinholeCamera:
    for key in values:
        if key not in _REQUIRED + _OPTIONAL:
            near = difflib.get_close_matches(key, _REQUIRED + _OPTIONAL, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(_REQUIRED + _OPTIONAL)}"
            raise CalibrationError(f"{path}: unknown key {key}; {hint}")
    missing = [key for key in _REQUIRED if key not in values]
    if missing:
        raise CalibrationError(f"{path}: lacks {', '.join(missing)}; expected {', '.join(_REQUIRED)}")
    numbers = {key: _number(path, key, value) for key, value in values.items() if key != "distortion"}
    width_px, height_px = (_whole(path, key, numbers[key]) for key in ("width_px", "height_px"))
    distortion = _array(path, "distortion", values.get("distortion", []))
    return _camera(
        path,
        [numbers[key] for key in ("fx_px", "fy_px", "cx_px", "cy_px")],
        (width_px, height_px),
        distortion,
        _mounted(
            numbers.get("height_m", DEFAULT_HEIGHT_M),
            numbers.get("yaw_deg", 0.0),
            numbers.get("pitch_deg", 0.0),
            numbers.get("roll_deg", 0.0),
        ),
    )


def _from_opencv(path: Path) -> PinholeCamera:
    storage = read_opencv_text(path)
    matrix = storage.matrix("camera_matrix")
    if matrix is None or matrix.shape != (3, 3):
        found = "missing" if matrix is None else f"of shape {matrix.shape}"
        raise CalibrationError(f"{path}: camera_matrix must be (3, 3) but is {found}; expected {_FORMATS}")
    if np.abs(matrix[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] - [0, 0, 0, 0, 1]).max() > 1e-6:
        raise CalibrationError(f"{path}: camera_matrix must be [fx 0 cx; 0 fy cy; 0 0 1] but is {matrix.tolist()}")
    width_px, height_px = storage.scalar("image_width"), storage.scalar("image_height")
    if width_px is None or height_px is None:
        raise CalibrationError(f"{path}: lacks image_width or image_height")
    distortion = storage.matrix("distortion_coefficients")
    return _camera(
        path,
        [matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]],
        (_whole(path, "image_width", width_px), _whole(path, "image_height", height_px)),
        np.zeros(0) if distortion is None else distortion.reshape(-1),
        _mounted(DEFAULT_HEIGHT_M, 0.0, 0.0, 0.0),
    )


def _from_kitti(path: Path, width_px: int | None, height_px: int | None) -> PinholeCamera:
    entries = read_kitti_entries(path)
    calibration: KittiCalibration | None = None
    for number in (2, 3, 0, 1):
        if f"P{number}" in entries:
            calibration = load_benchmark_calibration(path, number)
        elif f"P_rect_{number:02d}" in entries or f"K_{number:02d}" in entries:
            calibration = load_raw_calibration(path, number)
        if calibration is not None:
            break
    if calibration is None:
        raise CalibrationError(
            f"{path}: expected a projection P0 ... P3, P_rect_00 ... or K_00 ... but found {', '.join(entries)}"
        )
    size = calibration.image_size or (None if width_px is None or height_px is None else (width_px, height_px))
    if size is None:
        raise CalibrationError(f"{path}: gives no image size; expected S_rect_{number:02d}")
    return calibration.camera(f"image_{number:02d}", *size)


def _mounted(height_m: float, yaw_deg: float, pitch_deg: float, roll_deg: float) -> SE3:
    yaw, pitch, roll = np.radians([yaw_deg, pitch_deg, roll_deg])
    about_x = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    about_y = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    rotation = SE3.from_yaw(float(yaw)).rotation @ about_y @ about_x @ EGO_R_CAM
    return SE3(rotation, np.array([0.0, 0.0, height_m]))


def _camera(
    path: Path, intrinsics: list[float], size: tuple[int, int], distortion: Float64Array, ego_SE3_cam: SE3
) -> PinholeCamera:
    try:
        fx, fy, cx, cy = (float(value) for value in intrinsics)
        return PinholeCamera(fx, fy, cx, cy, *size, distortion, ego_SE3_cam, "camera")
    except ValueError as error:
        raise CalibrationError(f"{path}: {error}") from None


def _number(path: Path, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise CalibrationError(f"{path}: {key} must be a finite number but is {value!r}")
    return float(value)


def _whole(path: Path, key: str, value: float) -> int:
    if value != int(value) or value < 1:
        raise CalibrationError(f"{path}: {key} must be a positive whole number of pixels but is {value:g}")
    return int(value)


def _array(path: Path, key: str, value: object) -> Float64Array:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise CalibrationError(f"{path}: {key} must be a list of numbers but is {value!r}") from None
