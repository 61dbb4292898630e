"""Sensor rigs: cameras, lidar and positioning of the simulated vehicle."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from perception.errors import ConfigError
from perception.geometry import EGO_R_CAM, SE3, PinholeCamera

__all__ = ["LidarSpec", "PositioningSpec", "Rig", "load_rig", "rig_names"]


@dataclass(frozen=True, slots=True)
class LidarSpec:
    """A spinning lidar.

    Attributes:
        height_m: above the ego origin.
        elevations_deg: one per channel.
        azimuth_step_deg: between firings.
        max_range_m: of a good reflector.
        range_noise_m: standard deviation.
        drop_out: share of returns that are lost at random.
    """

    height_m: float = 1.73
    elevations_deg: tuple[float, ...] = tuple(
        np.concatenate([np.linspace(2.0, -8.33, 32), np.linspace(-8.83, -24.33, 32)]).tolist()
    )
    azimuth_step_deg: float = 0.18
    max_range_m: float = 110.0
    range_noise_m: float = 0.015
    drop_out: float = 0.04


@dataclass(frozen=True, slots=True)
class PositioningSpec:
    """GPS and inertial unit; the errors are standard deviations."""

    position_noise_m: float = 0.02
    angle_noise_rad: float = 0.0005
    velocity_noise_mps: float = 0.02


@dataclass(frozen=True, slots=True)
class Rig:
    """What the vehicle carries.

    Attributes:
        name: of the rig.
        cameras: at least one; names are folder names.
        lidar: or None.
        positioning: or None.
        rate_hz: frames per second of every sensor.
        exposure: gain over the scene's own level; ``noise`` scales sensor noise; ``vignette`` darkens corners.
        dirt: share of the lens that is dirty, 0 ... 1.
    """

    name: str
    cameras: tuple[PinholeCamera, ...]
    lidar: LidarSpec | None = field(default_factory=LidarSpec)
    positioning: PositioningSpec | None = field(default_factory=PositioningSpec)
    rate_hz: float = 10.0
    exposure: float = 1.0
    noise: float = 1.0
    vignette: float = 0.22

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ConfigError(f"rig {self.name!r} must have at least one camera but has none")
        bent = [camera.name for camera in self.cameras if camera.distortion.size]
        if bent:
            raise ConfigError(f"rig {self.name!r}: cameras must be rectified but {bent[0]} has distortion")
        names = [camera.name for camera in self.cameras]
        if len(set(names)) != len(names):
            raise ConfigError(f"rig {self.name!r} must name its cameras differently but got {names}")
        if not self.rate_hz > 0:
            raise ConfigError(f"rig {self.name!r}: rate_hz must be positive but got {self.rate_hz}")
        if self.lidar is not None and not (self.lidar.azimuth_step_deg > 0 and self.lidar.elevations_deg):
            raise ConfigError(f"rig {self.name!r}: the lidar must have channels and a positive azimuth step")


def _turned(yaw_deg: float = 0.0, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> np.ndarray:
    """Ego rotation of a camera that looks ``yaw_deg`` to the left and ``pitch_deg`` down."""
    y, p, r = np.radians([yaw_deg, pitch_deg, roll_deg])
    about_z = np.array([[np.cos(y), -np.sin(y), 0], [np.sin(y), np.cos(y), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(p), 0, np.sin(p)], [0, 1, 0], [-np.sin(p), 0, np.cos(p)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(r), -np.sin(r)], [0, np.sin(r), np.cos(r)]])
    return np.asarray(about_z @ about_y @ about_x @ EGO_R_CAM)


def _camera(
    name: str, focal_px: float, centre: tuple[float, float], size: tuple[int, int], place: tuple[float, float, float],
    rotation: np.ndarray,
) -> PinholeCamera:  # fmt: skip
    return PinholeCamera(
        focal_px, focal_px, centre[0], centre[1], size[0], size[1], np.zeros(0), SE3(rotation, np.array(place)), name
    )


# the left colour camera of KITTI's car: ahead of the lidar, 1.65 m above the road, turned by a fraction of a degree
_KITTI_PLACE = (0.272, 0.016, 1.654)
_KITTI_TURN = _turned(0.42, 0.55, 0.10)


def _rigs() -> dict[str, Rig]:
    kitti = _camera("image_02", 721.5377, (609.5593, 172.854), (1242, 375), _KITTI_PLACE, _KITTI_TURN)
    scale = 416 / 1242
    small = _camera(
        "image_02", 721.5377 * scale, (609.5593 * scale, 172.854 * scale), (416, 128), _KITTI_PLACE, _KITTI_TURN
    )
    camvid = _camera("image_02", 560.0, (240.0, 168.0), (480, 360), (1.2, 0.0, 1.35), _turned())
    around = []
    for k, yaw in enumerate((0.0, -55.0, -110.0, 180.0, 110.0, 55.0)):
        place = (1.2 * float(np.cos(np.radians(yaw))), 0.7 * float(np.sin(np.radians(yaw))), 1.55)
        around.append(_camera(f"image_{k:02d}", 628.0, (400.0, 225.0), (800, 450), place, _turned(yaw)))
    sparse = LidarSpec(1.84, tuple(np.linspace(10.0, -30.0, 32).tolist()), 0.33, 100.0, 0.02, 0.05)
    return {
        "kitti": Rig("kitti", (kitti,)),
        "train": Rig("train", (small,), None, None),
        "camvid": Rig("camvid", (camvid,), None, PositioningSpec()),
        "surround6": Rig("surround6", tuple(around), sparse),
    }


def rig_names() -> tuple[str, ...]:
    """Names of the presets."""
    return tuple(_rigs())


def load_rig(name: str) -> Rig:
    """A preset rig.

    Raises:
        ConfigError: there is no such rig.
    """
    rigs = _rigs()
    if name not in rigs:
        raise ConfigError(f"unknown rig {name!r}: expected one of {', '.join(rigs)}")
    return rigs[name]
