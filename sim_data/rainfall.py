"""Drops in the air between the camera and the scene, as streaks of the length that they fall while the shutter is open.

A drop that an opaque surface hides is not drawn, and no drop changes the truth.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from perception.geometry import PinholeCamera
from sim_data.kernels.rain import draw_streaks

__all__ = ["Rainfall"]

Array = npt.NDArray[np.float64]
_DROPS_PER_M3 = 5.0  # large enough to be seen, in the heaviest rain
_NEAREST_M, _FARTHEST_M = 0.6, 14.0
_SHUTTER_S = 1 / 90  # of a camera whose shutter is not described
_FALL_MPS = 6.5  # Gunn and Kinzer (1949): drops of 2 mm
_DROP_M = 0.004
_FAINTEST = 0.004
_CLEAREST = 0.35  # a drop never hides more than this of what is behind it


class Rainfall:
    """Falling rain before one camera.

    Args:
        camera: the pinhole's focal lengths and the picture's size.
        rain: amount, 0 ... 1.
        exposure_s: how long the shutter is open; 0 where that is not told.
        seed: of the camera.
    """

    def __init__(self, camera: PinholeCamera, rain: float, exposure_s: float, seed: int) -> None:
        self.camera, self.rain, self.seed = camera, rain, seed
        self.exposure_s = exposure_s or _SHUTTER_S

    def fall(
        self, light: npt.NDArray[np.float32], depth_m: npt.NDArray[np.float32], camera_R_world: Array,
        velocity_world: Array, time_s: float,
    ) -> npt.NDArray[np.float32]:  # fmt: skip
        """The light with the drops of a moment before it.

        Args:
            light: (H, W, 3) linear light of the scene; not changed.
            depth_m: (H, W), NaN in the sky.
            camera_R_world: (3, 3) world directions to the camera's.
            velocity_world: (3,) of the camera, m/s.
            time_s: since the drive's start; a moment's drops are a function of it and of the seed.
        """
        if self.rain <= 0:
            return light
        streaks = self.streaks(camera_R_world, velocity_world, time_s)
        light = light.copy()
        # a drop shows the whole scene in small; what is around it counts most
        around = cv2.resize(light, (16, 8), interpolation=cv2.INTER_AREA)
        column = np.clip(streaks[:, 0] / light.shape[1] * 16, 0, 15).astype(int)
        row = np.clip(streaks[:, 1] / light.shape[0] * 8, 0, 7).astype(int)
        colours = 0.6 * around[row, column] + 0.6 * around[:5].mean(axis=(0, 1))
        draw_streaks(light, depth_m, streaks, np.ascontiguousarray(colours, np.float32))
        return light

    def streaks(self, camera_R_world: Array, velocity_world: Array, time_s: float) -> Array:
        """(N, 7) as ``draw_streaks`` takes them, of those that can be seen."""
        camera = self.camera
        rng = np.random.default_rng([self.seed, 35, round(1e6 * time_s)])
        # as many in every cubic metre of the view's cone
        widest = _FARTHEST_M**3 - _NEAREST_M**3
        section = (camera.width_px / camera.fx_px) * (camera.height_px / camera.fy_px)
        count = rng.poisson(self.rain * _DROPS_PER_M3 * section * widest / 3)
        z = np.cbrt(_NEAREST_M**3 + widest * rng.uniform(0, 1, count))
        u, v = rng.uniform(-0.1, 1.1, (2, count)) * [[camera.width_px], [camera.height_px]]
        size = _DROP_M * rng.uniform(0.6, 1.5, count)
        falling = np.zeros((count, 3))
        falling[:, 2] = -_FALL_MPS * rng.uniform(0.8, 1.2, count)
        falling[:, :2] = rng.normal(0, 0.25, (count, 2))
        move = (falling - velocity_world) @ camera_R_world.T * self.exposure_s / 2
        middle = np.column_stack([(u - camera.cx_px) / camera.fx_px * z, (v - camera.cy_px) / camera.fy_px * z, z])
        first, last = middle - move, middle + move
        focal, centre = np.array([camera.fx_px, camera.fy_px]), np.array([camera.cx_px, camera.cy_px])
        ahead = np.minimum(first[:, 2], last[:, 2]) > 0.3 * _NEAREST_M
        first, last, z, size = first[ahead], last[ahead], z[ahead], size[ahead]
        begin = first[:, :2] / first[:, 2:] * focal + centre
        end = last[:, :2] / last[:, 2:] * focal + centre
        # a drop narrower than a pixel dims it less; a near one is far out of focus
        true_px = size * camera.fx_px / z
        shown_px = np.maximum(np.hypot(true_px, 0.5 * true_px), 1.0)
        length_px = np.hypot(*(end - begin).T)
        opacity = np.minimum(1.6 * true_px / shown_px * (true_px / (true_px + 0.1 * length_px)), _CLEAREST)
        rows = np.column_stack([begin, end, z, shown_px / 2, opacity])
        return np.ascontiguousarray(rows[opacity > _FAINTEST])
