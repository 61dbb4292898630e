"""What sits on the glass before the lens: specks of dirt and drops of rain, both far out of focus.

Both are functions of the seed and the time alone, so that a frame does not depend on the frames before it.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Glass"]

_SPECKS, _DROPS = 90, 70  # on a lens that is all dirty, or in the heaviest rain
_DIRT_RGB = np.array([0.30, 0.25, 0.18], np.float32)  # share of the light around that a speck sends on
_LENS_POWER = 2.6  # a drop shows so many times its own size of the scene, upside down
Image = npt.NDArray[np.float32]


class Glass:
    """Dirt and drops of one camera over a drive.

    Args:
        size: height and width of the picture, px.
        dirt: share of the glass that is dirty, 0 ... 1.
        rain: amount of drops, 0 ... 1.
        seed: of the camera.
    """

    def __init__(self, size: tuple[int, int], dirt: float, rain: float, seed: int) -> None:
        self.size, self.seed = size, seed
        rng = np.random.default_rng([seed, 31])
        count = round(_SPECKS * dirt)
        self.specks = np.column_stack(
            [
                rng.uniform(0, 1, (count, 2)),  # where at first, shares of width and height
                0.008 + 0.045 * rng.uniform(0, 1, count) ** 2.5,  # radius, share of the width
                rng.uniform(0.002, 0.02, count) * rng.choice([0.0, 1.0], count, p=[0.4, 0.6]),  # heights per second
                rng.uniform(6.0, 30.0, count),  # seconds from one washing to the next
                rng.uniform(0, 1, count),
                rng.uniform(0.25, 0.8, count),  # opacity
            ]
        )
        self.drops = np.column_stack(
            [rng.uniform(2.0, 7.0, round(_DROPS * rain)), rng.uniform(0, 1, round(_DROPS * rain))]
        )

    def cover(self, light: Image, time_s: float) -> Image:
        """The light behind the glass at a time, (H, W, 3)."""
        if not len(self.specks) and not len(self.drops):
            return light
        height, width = self.size
        quarter = cv2.resize(light, (max(2, width // 4), max(2, height // 4)), interpolation=cv2.INTER_AREA)
        light = light.copy()
        if len(self.specks):
            cover = cv2.resize(self.dirt_cover(time_s), (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
            around = cv2.GaussianBlur(quarter, (0, 0), max(2.0, 0.03 * width))
            around = cv2.resize(around, (width, height), interpolation=cv2.INTER_LINEAR)
            light = light * (1 - cover) + cover * around * _DIRT_RGB
        soft = cv2.GaussianBlur(quarter, (0, 0), 1.6)
        for x, y, radius in self.drops_at(time_s):
            _refract(light, soft, x, y, radius)
        return np.ascontiguousarray(light, np.float32)

    def dirt_cover(self, time_s: float) -> Image:
        """(H/4, W/4) opacity of the dirt."""
        height, width = (max(2, side // 4) for side in self.size)
        cover = np.zeros((height, width), np.float32)
        for x, y, radius, speed, period, phase, opacity in self.specks:
            age = (time_s / period + phase) % 1.0
            # thickens, then is washed off within a tenth of its time
            strength = opacity * min(1.0, 0.3 + 0.9 * age, 10.0 * (1.0 - age))
            centre = np.array([x * width, ((y + speed * time_s) % 1.1 - 0.05) * height])
            reach = max(1.0, radius * width)
            low = np.maximum(np.floor(centre - 2 * reach), 0).astype(int)
            high = np.minimum(np.ceil(centre + 2 * reach) + 1, [width, height]).astype(int)
            if (high <= low).any():
                continue
            dx = np.arange(low[0], high[0]) - centre[0]
            dy = (np.arange(low[1], high[1]) - centre[1])[:, None]
            disc = strength / (1.0 + np.exp((np.hypot(dx, dy) / reach - 1.0) * 5.0))
            part = cover[low[1] : high[1], low[0] : high[0]]
            part += (1 - part) * disc.astype(np.float32)
        return cover

    def drops_at(self, time_s: float) -> list[tuple[float, float, float]]:
        """x, y and radius of every drop, px."""
        height, width = self.size
        found = []
        for k, (life_s, phase) in enumerate(self.drops):
            turns = time_s / life_s + phase
            rng = np.random.default_rng([self.seed, 33, k, int(turns)])
            age = turns % 1.0
            x, y, size, runs = rng.uniform(0, 1, 4)
            radius = width * (0.005 + 0.016 * size**3) * min(1.0, age / 0.08) * min(1.0, (1.0 - age) / 0.05)
            # heavy drops start to run halfway through
            slide = 0.5 * size * (runs > 0.5) * max(0.0, age - 0.5) ** 2 * 4
            if radius > 0.7:
                found.append((float(x * width), float((y + slide) * height), float(radius)))
        return found


def _refract(light: Image, soft: Image, x: float, y: float, radius: float) -> None:
    """Puts a drop into ``light`` (H, W, 3); ``soft`` is the unfocused scene at a quarter of the size."""
    height, width = light.shape[:2]
    left, right = max(0, int(x - radius)), min(width, int(x + radius) + 2)
    top, bottom = max(0, int(y - 1.15 * radius)), min(height, int(y + 1.15 * radius) + 2)
    if left >= right or top >= bottom:
        return
    dx = np.broadcast_to(np.arange(left, right) - x, (bottom - top, right - left))
    dy = np.broadcast_to((np.arange(top, bottom) - y)[:, None] / 1.15, dx.shape)
    rho = np.hypot(dx, dy) / radius
    # the rim bends light most: it shows what lies farthest away
    reach = -_LENS_POWER * (1.0 + 2.0 * rho**2)
    map_x = np.clip((x + dx * reach) / 4, 0, soft.shape[1] - 1).astype(np.float32)
    map_y = np.clip((y + dy * reach) / 4, 0, soft.shape[0] - 1).astype(np.float32)
    inside = cv2.remap(soft, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    inside = inside * (0.97 - 0.3 * np.clip(rho, 0, 1) ** 4).astype(np.float32)[..., None]
    cover = np.clip((1.0 - rho) / 0.4, 0, 1).astype(np.float32)[..., None]
    part = light[top:bottom, left:right]
    part += cover * (inside - part)
