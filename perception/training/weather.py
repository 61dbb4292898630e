"""Fog, rain and snow over a picture. Nothing moves, so that every label stays true."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from perception.models.street_layout import DEPTH_FOCAL_PX

__all__ = ["add_fog", "add_rain", "add_snow", "weathered"]

_VISIBILITY_M = (40.0, 250.0)
_EXTINCTION = 3.0  # over the visibility, contrast falls to 5 %: Koschmieder's law
_FAR_M = 300.0
_HORIZON = 0.42  # share of the height, where no depth is known
_CAMERA_HEIGHT_M = 1.5
_MOSTLY_KNOWN = 0.5


def weathered(
    image: npt.NDArray[np.uint8], depth_m: npt.NDArray[np.float32], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """One of the three, as thick as ``rng`` says.

    Args:
        image: (H, W, 3).
        depth_m: (h, w) of a view, 0 where unknown.
        rng: everything random comes from it.
    """
    kind = int(rng.integers(3))
    if kind == 0:
        return add_fog(image, depth_m, float(np.exp(rng.uniform(*np.log(_VISIBILITY_M)))), rng)
    return (add_rain if kind == 1 else add_snow)(image, float(rng.uniform(0.2, 1.0)), rng)


def add_fog(
    image: npt.NDArray[np.uint8], depth_m: npt.NDArray[np.float32], visibility_m: float, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Mixes in the light of the fog by distance.

    Where most of the depth is known it is used, and what is unknown is far; else the road is taken for a plane.
    """
    height, width = image.shape[:2]
    if (depth_m > 0).mean() > _MOSTLY_KNOWN:
        depth = np.asarray(cv2.resize(np.where(depth_m > 0, depth_m, _FAR_M), (width, height)), np.float32)
    else:
        below = np.maximum(np.arange(height) + 0.5 - _HORIZON * height, 1e-3)
        depth = np.minimum(_CAMERA_HEIGHT_M * DEPTH_FOCAL_PX / below, _FAR_M).astype(np.float32)[:, None]
    passes = np.exp(-_EXTINCTION * depth / visibility_m)[..., None]
    light = np.float32(rng.uniform(150, 235)) + rng.uniform(-6, 6, 3).astype(np.float32)
    return np.asarray(image * passes + light * (1 - passes), np.float32).clip(0, 255).astype(np.uint8)


def add_rain(image: npt.NDArray[np.uint8], amount: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Streaks of one slant, under a darker and greyer sky.

    Args:
        image: (H, W, 3).
        amount: 0 ... 1.
        rng: everything random comes from it.
    """
    height, width = image.shape[:2]
    streaks = np.zeros((height, width), np.uint8)
    slant = float(rng.uniform(-0.35, 0.35))
    count = int(amount * height * width / 350)
    starts = rng.uniform((-0.1 * width, -0.1 * height), (1.1 * width, height), (count, 2))
    lengths = rng.uniform(0.02, 0.09, count) * height
    for (u, v), length, bright in zip(starts, lengths, rng.integers(60, 200, count), strict=True):
        cv2.line(streaks, (int(u), int(v)), (int(u + slant * length), int(v + length)), int(bright), 1, cv2.LINE_AA)
    streaks = cv2.GaussianBlur(streaks, (0, 0), float(rng.uniform(0.5, 0.9)))
    grey = np.float32(image.mean())
    dull = image * np.float32(1 - 0.25 * amount) + grey * np.float32(0.12 * amount)
    return np.asarray(dull + 0.6 * streaks[..., None], np.float32).clip(0, 255).astype(np.uint8)


def add_snow(image: npt.NDArray[np.uint8], amount: float, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Flakes, the near ones large and blurred, in bright haze.

    Args:
        image: (H, W, 3).
        amount: 0 ... 1.
        rng: everything random comes from it.
    """
    height, width = image.shape[:2]
    cover = np.zeros((height, width), np.float32)
    for radius_px, blur_px, share in ((1, 0.6, 1.0), (2, 1.0, 0.25), (4, 2.2, 0.04)):
        flakes = np.zeros((height, width), np.uint8)
        for u, v in rng.integers((0, 0), (width, height), (int(share * amount * height * width / 500), 2)):
            cv2.circle(flakes, (int(u), int(v)), radius_px, 255, -1, cv2.LINE_AA)
        cover = np.maximum(cover, cv2.GaussianBlur(flakes, (0, 0), blur_px).astype(np.float32) / 255)
    haze = np.float32(0.18 * amount)
    hazy = image * (1 - haze) + 215 * haze
    return np.asarray(hazy + (245 - hazy) * cover[..., None], np.float32).clip(0, 255).astype(np.uint8)
