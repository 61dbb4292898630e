"""Given poses of KITTI drives: GPS/IMU packets (oxts) and the odometry benchmark's pose rows, brought to one world.

The world is the ego frame of the first frame that has a pose.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from perception.errors import DriveError
from perception.geometry import SE3

__all__ = ["anchored", "oxts_poses", "read_number_rows", "read_pose_rows"]

Row = list[float]

# the devkit's convertOxtsToPose.m uses this radius for its Mercator projection
_EARTH_RADIUS_M = 6378137.0
_OXTS_VALUES = 30


def read_number_rows(path: Path, count: int) -> list[Row | str]:
    """Rows of ``count`` finite numbers; a damaged row becomes its reason.

    Raises:
        DriveError: the file cannot be read as text.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DriveError(f"{path}: cannot be read as rows of {count} numbers: {error}") from None
    while lines and not lines[-1].strip():
        lines.pop()
    return [_row(path, number, line, count) for number, line in enumerate(lines, start=1)]


def read_pose_rows(path: Path) -> list[SE3 | str]:
    """``poses.txt``: the rectified camera 0 in the world, 3x4 by rows; a damaged row becomes its reason."""
    poses: list[SE3 | str] = []
    for number, row in enumerate(read_number_rows(path, 12), start=1):
        try:
            poses.append(row if isinstance(row, str) else SE3.from_matrix(np.array(row).reshape(3, 4)))
        except ValueError as error:
            poses.append(f"{path}:{number}: {error}")
    return poses


def oxts_poses(rows: Sequence[Row | str]) -> list[SE3 | str]:
    """Imu poses in a local Mercator map (x east, y north, z up), as the devkit's ``convertOxtsToPose`` has them.

    Args:
        rows: packets of 30 values that begin with latitude and longitude in degrees, altitude in m, and roll, pitch and
            yaw in rad; or the reason why there is none.
    """
    scale = next((np.cos(np.radians(row[0])) for row in rows if not isinstance(row, str)), 1.0)
    return [row if isinstance(row, str) else _oxts_pose(row, float(scale)) for row in rows]


def read_oxts_packet(path: Path) -> Row | str:
    """One packet of KITTI raw's ``oxts/data``, or the reason why there is none."""
    try:
        rows = read_number_rows(path, _OXTS_VALUES)
    except DriveError as error:
        return str(error)
    return rows[0] if rows else f"{path}: expected {_OXTS_VALUES} values but the file is empty"


def read_oxts_sequence(path: Path) -> list[Row | str]:
    """All packets of a sequence of the tracking benchmark, one a row."""
    return read_number_rows(path, _OXTS_VALUES)


def anchored(poses: Sequence[SE3 | str], ego_SE3_sensor: SE3) -> list[SE3 | str]:
    """Poses of a sensor in any map to poses of the vehicle in the world of the first posed frame."""
    first = next((pose for pose in poses if isinstance(pose, SE3)), None)
    if first is None:
        return list(poses)
    world_SE3_map = ego_SE3_sensor @ first.inverse()
    sensor_SE3_ego = ego_SE3_sensor.inverse()
    return [pose if isinstance(pose, str) else world_SE3_map @ pose @ sensor_SE3_ego for pose in poses]


def _row(path: Path, number: int, line: str, count: int) -> Row | str:
    words = line.split()
    if len(words) != count:
        return f"{path}:{number}: expected {count} values but found {len(words)}"
    try:
        values = [float(word) for word in words]
    except ValueError as error:
        return f"{path}:{number}: {error}"
    return values if np.isfinite(values).all() else f"{path}:{number}: expected finite values but found {line.strip()}"


def _oxts_pose(packet: Row, scale: float) -> SE3:
    latitude_deg, longitude_deg, altitude_m, roll, pitch, yaw = packet[:6]
    east = scale * np.radians(longitude_deg) * _EARTH_RADIUS_M
    north = scale * _EARTH_RADIUS_M * np.log(np.tan(np.radians(90 + latitude_deg) / 2))
    cosines, sines = np.cos([roll, pitch, yaw]), np.sin([roll, pitch, yaw])
    about_x = np.array([[1, 0, 0], [0, cosines[0], -sines[0]], [0, sines[0], cosines[0]]])
    about_y = np.array([[cosines[1], 0, sines[1]], [0, 1, 0], [-sines[1], 0, cosines[1]]])
    about_z = np.array([[cosines[2], -sines[2], 0], [sines[2], cosines[2], 0], [0, 0, 1]])
    return SE3(about_z @ about_y @ about_x, np.array([east, north, altitude_m]))
