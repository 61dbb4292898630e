"""Rigs as TOML files.

Lengths are in metres, angles in degrees and pixels where it says so::

rate_hz = 10.0

[[cameras]]                                        # one or more; labels are those of the first
name = "image_02"                                  # folder of its pictures
width_px = 1280
height_px = 720
fx_px = 900.0                                      # fy_px, cx_px and cy_px are optional
distortion = [-0.30, 0.10, 0.0005, -0.0005, 0.0]   # optional: k1 k2 p1 p2 [k3], as OpenCV orders them
position_m = [1.3, 0.0, 1.4]                       # in the ego frame
yaw_deg = 0.0                                      # to the left; pitch_deg down; roll_deg to the right

[lidar]                                            # fields of LidarSpec; without this table there is none
[positioning]                                      # fields of PositioningSpec; likewise
[lens]                                             # fields of LensSpec
[variation]                                        # fields of Variation
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perception.errors import ConfigError
from perception.geometry import SE3, PinholeCamera
from sim_data.rigs import LensSpec, LidarSpec, PositioningSpec, Rig, Variation, turned

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["read_rig"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Camera(_Strict):
    name: Annotated[str, Field(pattern=r"^image_\d\d$")]
    width_px: Annotated[int, Field(ge=16, le=8192)]
    height_px: Annotated[int, Field(ge=16, le=8192)]
    fx_px: Annotated[float, Field(gt=0)]
    fy_px: Annotated[float | None, Field(gt=0)] = None
    cx_px: float | None = None
    cy_px: float | None = None
    distortion: Annotated[tuple[float, ...], Field(max_length=5)] = ()
    position_m: tuple[float, float, float] = (0.3, 0.0, 1.65)
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    roll_deg: float = 0.0

    def camera(self) -> PinholeCamera:
        padded = np.zeros(0) if not any(self.distortion) else np.zeros(5)
        padded[: len(self.distortion)] = self.distortion if len(padded) else ()
        return PinholeCamera(
            self.fx_px, self.fx_px if self.fy_px is None else self.fy_px,
            # the middle of the picture, where the first pixel's centre is at 0
            0.5 * (self.width_px - 1) if self.cx_px is None else self.cx_px,
            0.5 * (self.height_px - 1) if self.cy_px is None else self.cy_px,
            self.width_px, self.height_px, padded,
            SE3(turned(self.yaw_deg, self.pitch_deg, self.roll_deg), np.array(self.position_m)), self.name,
        )  # fmt: skip


class _RigFile(_Strict):
    cameras: Annotated[tuple[_Camera, ...], Field(min_length=1)]
    rate_hz: Annotated[float, Field(gt=0, le=1000)] = 10.0
    lidar: LidarSpec | None = None
    positioning: PositioningSpec | None = None
    lens: LensSpec = LensSpec()
    variation: Variation = Variation()


def read_rig(path: Path) -> Rig:
    """Reads a rig; it is named after the file.

    Raises:
        ConfigError: the file cannot be read, or a key or value is not allowed.
    """
    try:
        found = _RigFile.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the rig: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {key}: {first['msg']}, got {first.get('input')!r}") from error
    cameras = tuple(camera.camera() for camera in found.cameras)
    return Rig(path.stem, cameras, found.lidar, found.positioning, found.rate_hz, found.lens, found.variation)
