"""Other skies over the same street.

Data sets show few of them: what is dark, grey or deep blue up there is taken for a building by a network that only ever
saw bright ones.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["reskied"]

_LEAST_SHARE = 0.005  # of the picture; less is not worth painting
_DETAIL_PX = 12.0  # wires and edges of clouds are finer, the colour of the sky is coarser
_SOFT_PX = 0.8
_CLOUDS = ((3, 5), (6, 10), (12, 20))  # cells of noise, coarse to fine
# what a zenith looks like relative to its brightness: red, green, blue
_TINTS = ((1.0, 1.0, 1.0), (0.92, 0.98, 1.08), (0.62, 0.86, 1.25), (0.45, 0.75, 1.40), (1.12, 0.98, 0.88))


def reskied(
    image: npt.NDArray[np.uint8], is_sky: npt.NDArray[np.bool_], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Another sky where there is one; its finest details stay.

    Args:
        image: (H, W, 3).
        is_sky: (H, W).
        rng: everything random comes from it.

    Returns:
        (H, W, 3); the image itself where it shows hardly any sky.
    """
    if is_sky.mean() < _LEAST_SHARE:
        return image
    height, width = is_sky.shape
    rows = np.flatnonzero(is_sky.any(axis=1))
    # 0 at the horizon, 1 at the upper edge of the picture
    up = np.clip((rows[-1] - np.arange(height)) / max(rows[-1], 1), 0.0, 1.0).astype(np.float32)
    bright = float(np.exp(rng.uniform(np.log(35.0), np.log(235.0))))
    tint = np.array(_TINTS[int(rng.integers(len(_TINTS)))], np.float32)
    zenith = bright * tint
    paler = float(rng.uniform(0.0, 0.9))
    horizon = (bright + (245.0 - bright) * float(rng.uniform(0.0, 0.6))) * (tint + paler * (1.0 - tint))
    steepness = float(np.exp(rng.uniform(-0.9, 0.9)))
    share = (up**steepness)[:, None, None]
    new = horizon * (1 - share) + zenith * share
    clouds = _clouds(height, width, rng) * np.float32(rng.uniform(0.0, 0.3) * bright)
    cover = is_sky.astype(np.float32)
    detail = _detail(image, cover) * np.float32(rng.uniform(0.2, 1.2))
    soft = np.asarray(cv2.GaussianBlur(cover, (0, 0), _SOFT_PX), np.float32)[..., None]
    painted = new + (clouds + detail)[..., None]
    return np.asarray(image * (1 - soft) + painted * soft, np.float32).clip(0, 255).astype(np.uint8)


def _clouds(height: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(H, W) smooth noise around 0, mostly within 1."""
    total = np.zeros((height, width), np.float32)
    for octave, (rows, columns) in enumerate(_CLOUDS):
        cells = rng.standard_normal((rows, columns)).astype(np.float32)
        total += np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)) * np.float32(
            0.6 * 0.5**octave
        )
    return total


def _detail(image: npt.NDArray[np.uint8], cover: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(H, W) how much the sky's pixels differ from the sky around them."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    around = np.asarray(cv2.GaussianBlur(grey * cover, (0, 0), _DETAIL_PX), np.float32)
    weight = np.asarray(cv2.GaussianBlur(cover, (0, 0), _DETAIL_PX), np.float32)
    return np.asarray(np.where(cover > 0, grey - around / np.maximum(weight, 1e-3), 0.0), np.float32)
