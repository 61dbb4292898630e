"""From light behind an ideal pinhole to the picture that a camera writes: lens, shutter, dirt, drops and sensor.

The order is that of the light: distortion, motion blur, falling rain, drops and dirt on the glass, glare, then the
sensor. Distortion moves the truth with the picture; nothing else touches the truth.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError
from perception.geometry import PinholeCamera
from sim_data.glass import Glass
from sim_data.kernels.post import bend_point, develop, resample, smear
from sim_data.rainfall import Rainfall
from sim_data.render import View
from sim_data.rigs import LensSpec

__all__ = ["Optics", "Picture"]

Array = npt.NDArray[np.float64]
_WIDEST_VIEW = 3.0  # a pinhole's view may be so many times as wide as the picture
_TURNING = 0.05  # a lens is good as long as its radius still grows by this share


@dataclass(slots=True, eq=False)
class Picture:
    """A camera's image and its truth.

    Attributes:
        rgb: (H, W, 3) u8.
        depth_m: (H, W) f32 along the camera's axis, NaN in the sky.
        semantic: (H, W) u8 into ``SEMANTIC_CLASSES``.
        instance: (H, W) i32, 0 for stuff.
        flow_px: (H, W, 2) f32 to the next frame, NaN where the point goes behind the camera.
    """

    rgb: npt.NDArray[np.uint8]
    depth_m: npt.NDArray[np.float32]
    semantic: npt.NDArray[np.uint8]
    instance: npt.NDArray[np.int32]
    flow_px: npt.NDArray[np.float32]


class Optics:
    """One camera's lens and sensor.

    Attributes:
        camera: as it is written down, with distortion.
        pinhole: what to render for it: the same axes and focal lengths without distortion, and as wide as needed.
    """

    def __init__(self, camera: PinholeCamera, spec: LensSpec, rain: float, seed: int) -> None:
        self.camera, self.spec = camera, spec
        self.lens = np.zeros(6)
        self.lens[5] = 1e9
        self.where: npt.NDArray[np.float32] | None = None
        self.pinhole = camera
        if np.any(camera.distortion):
            self._bend()
        self.rainfall = Rainfall(camera, rain, spec.exposure_s, seed)
        self.glass = Glass((camera.height_px, camera.width_px), spec.dirt, spec.drops * rain, seed)

    def _bend(self) -> None:
        camera = self.camera
        if camera.distortion.size > 5:
            raise ConfigError(f"camera {camera.name}: distortion must be k1 k2 p1 p2 k3 but got {camera.distortion}")
        self.lens[: camera.distortion.size] = camera.distortion
        self.lens[5] = _widest_radius(self.lens)
        v, u = np.mgrid[: camera.height_px, : camera.width_px]
        pixels = np.column_stack([u.ravel(), v.ravel()]).astype(np.float64)
        rays = _unbend((pixels - [camera.cx_px, camera.cy_px]) / [camera.fx_px, camera.fy_px], self.lens)
        miss = np.abs(camera.project(np.column_stack([rays, np.ones(len(rays))])) - pixels).max()
        if not miss < 1e-3 or np.hypot(*rays.T).max() > self.lens[5]:
            raise ConfigError(
                f"camera {camera.name}: distortion {camera.distortion.tolist()} folds the picture over inside "
                f"{camera.width_px}x{camera.height_px} px; expected weaker coefficients or a longer focal length"
            )
        places = rays * [camera.fx_px, camera.fy_px]
        low = np.floor(places.min(axis=0)) - 1
        size = np.ceil(places.max(axis=0)) + 2 - low
        if size[0] > _WIDEST_VIEW * camera.width_px or size[1] > _WIDEST_VIEW * camera.height_px:
            raise ConfigError(
                f"camera {camera.name}: distortion {camera.distortion.tolist()} would need a pinhole of "
                f"{size[0]:.0f}x{size[1]:.0f} px; expected at most {_WIDEST_VIEW:g} times the picture"
            )
        self.pinhole = replace(
            camera, cx_px=float(-low[0]), cy_px=float(-low[1]), width_px=int(size[0]), height_px=int(size[1]),
            distortion=np.zeros(0),
        )  # fmt: skip
        self.where = np.ascontiguousarray((places - low).reshape(*v.shape, 2), np.float32)

    def outline(self, pixels: Array) -> Array:
        """(M, 2) where in the picture a convex outline of the pinhole's view lies, its sides cut into short pieces."""
        if self.where is None or len(pixels) < 3:
            return pixels
        pinhole, camera = self.pinhole, self.camera
        # what lies far beyond the view only needs to stay beyond the picture
        reach = [pinhole.width_px, pinhole.height_px]
        pixels = np.clip(pixels, [-reach[0], -reach[1]], [2 * reach[0], 2 * reach[1]])
        corners = cv2.convexHull(pixels.astype(np.float32)).reshape(-1, 2).astype(np.float64)
        share = np.linspace(0.0, 1.0, 9)[:-1, None, None]
        pieces = (corners * (1 - share) + np.roll(corners, -1, axis=0) * share).reshape(-1, 2)
        points = (pieces - [pinhole.cx_px, pinhole.cy_px]) / [pinhole.fx_px, pinhole.fy_px]
        bent = np.array([bend_point(x, y, self.lens) for x, y in points])
        return np.asarray(bent * [camera.fx_px, camera.fy_px] + [camera.cx_px, camera.cy_px])

    def develop(
        self, view: View, exposure: float, grain: npt.NDArray[np.float32], noise_shift: tuple[int, int], dt_s: float,
        time_s: float, camera_R_world: Array, velocity_world: Array,
    ) -> Picture:  # fmt: skip
        """The picture of a pinhole's view.

        Args:
            view: of ``pinhole``.
            exposure: of the scene's light.
            grain: (S, S, 3) unit noise, tiled with the offset ``noise_shift``.
            noise_shift: x and y offset, px.
            dt_s: between frames.
            time_s: since the drive's start.
            camera_R_world: (3, 3) world directions to the camera's.
            velocity_world: (3,) of the camera, m/s.
        """
        height, width = self.camera.height_px, self.camera.width_px
        view = self._bent(view)
        light = view.light
        if self.spec.exposure_s > 0:
            share = self.spec.exposure_s / dt_s
            blurred = np.empty_like(light)
            smear(light, view.depth_m, view.flow_px, share, (0, height), blurred)
            light = blurred
        light = self.rainfall.fall(light, view.depth_m, camera_R_world, velocity_world, time_s)
        light = self.glass.cover(light, time_s)
        glow = _glow(light)
        spec = self.spec
        settings = np.array([exposure * spec.gain, spec.vignette, 0.012 * spec.noise, 0.004 * spec.noise])
        rgb = np.empty((height, width, 3), np.uint8)
        curve = _tone_curve()
        develop(light, glow, settings, curve, grain, noise_shift, (0, height), rgb)
        return Picture(rgb, view.depth_m, view.semantic, view.instance, view.flow_px)

    def _bent(self, view: View) -> View:
        where = self.where
        if where is None:
            return view
        height, width = where.shape[:2]
        bent = View(
            np.empty((height, width, 3), np.float32), np.empty((height, width), np.float32),
            np.empty((height, width), np.uint8), np.empty((height, width), np.int32),
            np.empty((height, width, 2), np.float32),
        )  # fmt: skip
        camera, pinhole = self.camera, self.pinhole
        cameras = np.array([camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px, pinhole.cx_px, pinhole.cy_px])
        seen = view.light, view.depth_m, view.semantic, view.instance
        out = bent.light, bent.depth_m, bent.semantic, bent.instance, bent.flow_px
        resample(where, seen, view.surfaces, self.lens, cameras, (0, height), out)
        return bent


def _widest_radius(lens: Array) -> float:
    """The largest tangent up to which the lens's radius keeps growing, at most 6 (80 degrees off the axis)."""
    r = np.linspace(0.0, 6.0, 2401)
    growth = 1 + r**2 * (3 * lens[0] + r**2 * (5 * lens[1] + r**2 * 7 * lens[4]))
    folding = np.flatnonzero(growth < _TURNING)
    return float(r[folding[0]]) if len(folding) else 6.0


def _unbend(points: Array, lens: Array) -> Array:
    """(N, 2) normalised points that the lens moves to the given ones, by Newton's method."""
    k1, k2, p1, p2, k3, _ = lens
    found: Array = points.copy()
    for _ in range(30):
        x, y = found.T
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        slope = k1 + r2 * (2 * k2 + 3 * r2 * k3)
        miss_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x) - points[:, 0]
        miss_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y - points[:, 1]
        xx = radial + 2 * x * x * slope + 2 * p1 * y + 6 * p2 * x
        yy = radial + 2 * y * y * slope + 6 * p1 * y + 2 * p2 * x
        xy = 2 * x * y * slope + 2 * p1 * x + 2 * p2 * y
        determinant = xx * yy - xy * xy
        with np.errstate(all="ignore"):
            step = np.stack([yy * miss_x - xy * miss_y, xx * miss_y - xy * miss_x], axis=1) / determinant[:, None]
        found = np.asarray(found - np.clip(np.nan_to_num(step), -0.2, 0.2))
    return found


def _glow(light: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Light that bright spots scatter in the lens."""
    height, width = light.shape[:2]
    small = cv2.resize(light, (max(1, width // 4), max(1, height // 4)), interpolation=cv2.INTER_AREA)
    bright = np.minimum(np.maximum(small - 1.1, 0.0), 6.0)
    soft = 0.10 * cv2.GaussianBlur(bright, (0, 0), 2.0) + 0.05 * cv2.GaussianBlur(bright, (0, 0), 7.0)
    return np.ascontiguousarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR))


@lru_cache(maxsize=1)
def _tone_curve() -> npt.NDArray[np.float32]:
    """Filmic curve with a steep toe, as street cameras have: over the square root of light 0 ... 4."""
    light = np.linspace(0.0, 2.0, 2048) ** 2
    toned = light * (2.3 * light + 0.03) / (light * (2.15 * light + 0.60) + 0.11)
    toned = np.clip(toned / 0.97, 0.0, 1.0)
    srgb = np.where(toned <= 0.0031308, 12.92 * toned, 1.055 * toned ** (1 / 2.4) - 0.055)
    return np.asarray(np.clip(srgb * 255 + 0.5, 0, 255.49), np.float32)
