"""Sensor rigs: cameras, lidar and positioning of the simulated vehicle."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import pydantic
from pydantic import Field
from pydantic.dataclasses import dataclass as checked

from perception.errors import ConfigError
from perception.geometry import EGO_R_CAM, SE3, PinholeCamera

__all__ = ["LensSpec", "LidarSpec", "PositioningSpec", "Rig", "Variation", "load_rig", "rig_names"]

_STRICT = pydantic.ConfigDict(extra="forbid", allow_inf_nan=False)
_Share = Annotated[float, Field(ge=0, le=1)]
_Spread = Annotated[float, Field(ge=0)]


@checked(frozen=True, slots=True, config=_STRICT)
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
    elevations_deg: Annotated[tuple[float, ...], Field(min_length=1)] = tuple(
        np.concatenate([np.linspace(2.0, -8.33, 32), np.linspace(-8.83, -24.33, 32)]).tolist()
    )
    azimuth_step_deg: Annotated[float, Field(gt=0, le=90)] = 0.18
    max_range_m: Annotated[float, Field(gt=1)] = 110.0
    range_noise_m: _Spread = 0.015
    drop_out: _Share = 0.04


@checked(frozen=True, slots=True, config=_STRICT)
class PositioningSpec:
    """GPS and inertial unit; the errors are standard deviations."""

    position_noise_m: _Spread = 0.02
    angle_noise_rad: _Spread = 0.0005
    velocity_noise_mps: _Spread = 0.02
    accel_noise_mps2: _Spread = 0.05
    turn_noise_radps: _Spread = 0.001


@checked(frozen=True, slots=True, config=_STRICT)
class LensSpec:
    """What happens to the light between the pinhole and the file; none of it changes the truth.

    Attributes:
        exposure_s: how long the shutter is open; everything smears along its true motion for so long. 0: no blur.
        dirt: share of the lens that is dirty. Specks out of focus drift down the lens, thicken and wash off.
        drops: how many rain drops sit on the lens, 0 ... 1, times the scenario's rain; each shows the scene upside
            down, grows, runs down and is replaced after a few seconds.
        gain: exposure over the scene's own level.
        noise: factor on photon and read noise.
        vignette: share of the light that is lost half a picture width from the middle.
    """

    exposure_s: Annotated[float, Field(ge=0, le=0.1)] = 0.0
    dirt: _Share = 0.0
    drops: _Share = 0.0
    gain: Annotated[float, Field(gt=0, le=20)] = 1.0
    noise: Annotated[float, Field(ge=0, le=50)] = 1.0
    vignette: Annotated[float, Field(ge=0, le=0.7)] = 0.22


@checked(frozen=True, slots=True, config=_STRICT)
class Variation:
    """How far cameras differ from drive to drive: half widths of uniform draws, once per seed.

    Attributes:
        focal: relative change of the focal length.
        height_m: of the camera's place; likewise ``pitch_deg`` and ``roll_deg`` of its direction.
        gain: relative change of the exposure.
        noise: relative change of the sensor noise; likewise ``vignette``.
    """

    focal: Annotated[float, Field(ge=0, lt=1)] = 0.0
    height_m: Annotated[float, Field(ge=0, le=1)] = 0.0
    pitch_deg: Annotated[float, Field(ge=0, le=20)] = 0.0
    roll_deg: Annotated[float, Field(ge=0, le=20)] = 0.0
    gain: Annotated[float, Field(ge=0, lt=1)] = 0.0
    noise: _Share = 0.0
    vignette: _Share = 0.0


@dataclass(frozen=True, slots=True)
class Rig:
    """What the vehicle carries.

    Attributes:
        name: of the rig.
        cameras: at least one; names are folder names ending in two digits. Labels are those of the first.
        lidar: or None.
        positioning: or None.
        rate_hz: frames per second of every sensor.
        lens: of every camera.
        variation: how the cameras differ from seed to seed.
    """

    name: str
    cameras: tuple[PinholeCamera, ...]
    lidar: LidarSpec | None = field(default_factory=LidarSpec)
    positioning: PositioningSpec | None = field(default_factory=PositioningSpec)
    rate_hz: float = 10.0
    lens: LensSpec = field(default_factory=LensSpec)
    variation: Variation = field(default_factory=Variation)

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ConfigError(f"rig {self.name!r} must have at least one camera but has none")
        names = [camera.name for camera in self.cameras]
        if len(set(names)) != len(names):
            raise ConfigError(f"rig {self.name!r} must name its cameras differently but got {names}")
        if not (np.isfinite(self.rate_hz) and self.rate_hz > 0):
            raise ConfigError(f"rig {self.name!r}: rate_hz must be positive but got {self.rate_hz}")

    def drawn(self, seed: int) -> Rig:
        """The rig of a drive: this one with its variation drawn, and none left."""
        spread = self.variation
        if spread == Variation():
            return self
        rng = np.random.default_rng([seed, 21])
        cameras = []
        for camera in self.cameras:
            focal, height, pitch, roll = rng.uniform(-1, 1, 4)
            pose = camera.ego_SE3_cam
            turn = turned(0.0, spread.pitch_deg * pitch, spread.roll_deg * roll) @ EGO_R_CAM.T
            cameras.append(
                dataclasses.replace(
                    camera,
                    fx_px=camera.fx_px * (1 + spread.focal * focal), fy_px=camera.fy_px * (1 + spread.focal * focal),
                    # about the camera's own axes, wherever it looks
                    ego_SE3_cam=SE3(
                        pose.rotation @ EGO_R_CAM.T @ turn @ EGO_R_CAM,
                        pose.translation + np.array([0.0, 0.0, spread.height_m * height]),
                    ),
                )
            )  # fmt: skip
        gain, noise, vignette = rng.uniform(-1, 1, 3)
        lens = dataclasses.replace(
            self.lens,
            gain=self.lens.gain * (1 + spread.gain * gain),
            noise=self.lens.noise * (1 + spread.noise * noise),
            vignette=self.lens.vignette * (1 + spread.vignette * vignette),
        )
        return dataclasses.replace(self, cameras=tuple(cameras), lens=lens, variation=Variation())


def turned(yaw_deg: float = 0.0, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> np.ndarray:
    """``ego_R_cam`` of a camera that looks ``yaw_deg`` to the left and ``pitch_deg`` down."""
    y, p, r = np.radians([yaw_deg, pitch_deg, roll_deg])
    about_z = np.array([[np.cos(y), -np.sin(y), 0], [np.sin(y), np.cos(y), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(p), 0, np.sin(p)], [0, 1, 0], [-np.sin(p), 0, np.cos(p)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(r), -np.sin(r)], [0, np.sin(r), np.cos(r)]])
    return np.asarray(about_z @ about_y @ about_x @ EGO_R_CAM)


def _camera(
    name: str, focal_px: float, centre: tuple[float, float], size: tuple[int, int], place: tuple[float, float, float],
    rotation: np.ndarray, distortion: tuple[float, ...] = (),
) -> PinholeCamera:  # fmt: skip
    return PinholeCamera(
        focal_px, focal_px, centre[0], centre[1], size[0], size[1], np.array(distortion),
        SE3(rotation, np.array(place)), name,
    )  # fmt: skip


# the left colour camera of KITTI's car: ahead of the lidar, 1.65 m above the road, turned by a fraction of a degree
_KITTI_PLACE = (0.272, 0.016, 1.654)
_KITTI_TURN = turned(0.42, 0.55, 0.10)


def _rigs() -> dict[str, Rig]:
    kitti = _camera("image_02", 721.5377, (609.5593, 172.854), (1242, 375), _KITTI_PLACE, _KITTI_TURN)
    scale = 416 / 1242
    small = _camera(
        "image_02", 721.5377 * scale, (609.5593 * scale, 172.854 * scale), (416, 128), _KITTI_PLACE, _KITTI_TURN
    )
    camvid = _camera("image_02", 560.0, (240.0, 168.0), (480, 360), (1.2, 0.0, 1.35), turned())
    dashcam = _camera(
        "image_02", 760.0, (640.0, 352.0), (1280, 720), (1.35, 0.0, 1.32), turned(0.0, 1.5, 0.0),
        (-0.31, 0.11, 0.0006, -0.0004, -0.018),
    )  # fmt: skip
    around = []
    # from the front clockwise; image_02 is what KITTI's layout names the camera that looks ahead
    for k, yaw in enumerate((0.0, -55.0, -110.0, 180.0, 110.0, 55.0)):
        place = (1.2 * float(np.cos(np.radians(yaw))), 0.7 * float(np.sin(np.radians(yaw))), 1.55)
        around.append(_camera(f"image_{k + 2:02d}", 628.0, (400.0, 225.0), (800, 450), place, turned(yaw)))
    sparse = LidarSpec(1.84, tuple(np.linspace(10.0, -30.0, 32).tolist()), 0.33, 100.0, 0.02, 0.05)
    spread = Variation(focal=0.25, height_m=0.3, pitch_deg=3.0, roll_deg=1.5, gain=0.3, noise=0.8, vignette=0.9)
    used = LensSpec(exposure_s=0.012, dirt=0.12, drops=0.7, noise=1.5, vignette=0.35)
    return {
        "kitti": Rig("kitti", (kitti,)),
        "train": Rig("train", (small,), None, None),
        "train_varied": Rig(
            "train_varied", (small,), None, None, lens=LensSpec(exposure_s=0.006), variation=spread
        ),
        "camvid": Rig("camvid", (camvid,), None, PositioningSpec()),
        "dashcam": Rig("dashcam", (dashcam,), None, PositioningSpec(), 10.0, used),
        "surround6": Rig("surround6", tuple(around), sparse),
    }  # fmt: skip


def rig_names() -> tuple[str, ...]:
    """Names of the presets."""
    return tuple(_rigs())


def load_rig(name: str | Path) -> Rig:
    """A preset rig, or one from a TOML file (``sim_data.rig_files`` says what it holds).

    Raises:
        ConfigError: there is no such rig, or a key or value of the file is not allowed.
    """
    if Path(name).suffix == ".toml":
        from sim_data.rig_files import read_rig

        return read_rig(Path(name))
    rigs = _rigs()
    if str(name) not in rigs:
        raise ConfigError(f"unknown rig {str(name)!r}: expected one of {', '.join(rigs)}, or a .toml file")
    return rigs[str(name)]
