"""Velodyne scans as KITTI stores them: x, y, z in m and reflectance 0 ... 1, float32, in the velodyne's own axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.datasets.drive import DamagedError
from perception.datasets.kitti_calibration import VELODYNE_HEIGHT_M

__all__ = ["read_velodyne", "velodyne_folder"]

_BYTES_PER_POINT = 16


def read_velodyne(path: Path) -> tuple[npt.NDArray[np.float32], str | None]:
    """Reads one scan.

    Returns:
        (P, 4) f32 points in the ego frame with reflectance, all finite; and how many were dropped, or None.

    Raises:
        DamagedError: the file cannot be read, is empty, or its size is no whole number of points.
    """
    try:
        values = np.fromfile(path, dtype=np.float32)
        size = path.stat().st_size
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read: {error.strerror}") from None
    if size == 0:
        raise DamagedError(f"{path}: expected points of {_BYTES_PER_POINT} bytes but the file is empty")
    if size % _BYTES_PER_POINT:
        raise DamagedError(f"{path}: expected points of {_BYTES_PER_POINT} bytes but its size is {size}")
    points = values.reshape(-1, 4)
    reason = None
    finite = np.isfinite(values)
    if not finite.all():
        rows = np.flatnonzero(finite.reshape(-1, 4).all(axis=1))
        reason = f"{path}: {len(points) - len(rows)} of {len(points)} points are NaN or infinite, dropped"
        points = points[rows]
    points[:, 2] += np.float32(VELODYNE_HEIGHT_M)
    return points, reason


def velodyne_folder(root: Path, sequence: str = "") -> Path:
    """Where a benchmark keeps its scans: ``velodyne``, or ``velodyne_reduced`` for those cut to the camera's view.

    It need not exist.
    """
    whole, reduced = root / "velodyne" / sequence, root / "velodyne_reduced" / sequence
    return reduced if reduced.is_dir() and not whole.is_dir() else whole
