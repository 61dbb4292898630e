"""Translucent class and object colours over an image, in one pass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["tint"]

# how much of an object's own colour its inside and its outline take, of 256
_INSIDE_OF_256 = 80
_OUTLINE_OF_256 = 192


@njit("void(u1[:,:,::1], u1[:,::1], i4[:,::1], u1[:,::1], i8[::1], u1[:,::1], i8)", cache=True, nogil=True)
def _tint(  # type: ignore[no-untyped-def]
    image_rgb, class_ids, object_rows, class_colours_rgb, class_alphas, object_colours_rgb, inside
):
    height, width = image_rgb.shape[:2]
    map_height, map_width = class_ids.shape
    columns = np.empty(width + 1, np.int64)
    for u in range(width + 1):
        columns[u] = min((2 * u + 1) * map_width // (2 * width), map_width - 1)
    objects = object_colours_rgb.shape[0]
    for v in range(height):
        row = (2 * v + 1) * map_height // (2 * height)
        row_below = min((2 * v + 3) * map_height // (2 * height), map_height - 1)
        for u in range(width):
            column = columns[u]
            thing = object_rows[row, column]
            if 0 <= thing < objects:
                alpha = inside
                # the left and upper neighbours see this same edge from their side, so outlines are two pixels wide
                if object_rows[row, columns[u + 1]] != thing or object_rows[row_below, column] != thing:
                    alpha = _OUTLINE_OF_256
                elif (u > 0 and object_rows[row, columns[u - 1]] != thing) or (
                    v > 0 and object_rows[(2 * v - 1) * map_height // (2 * height), column] != thing
                ):
                    alpha = _OUTLINE_OF_256
                for c in range(3):
                    old = np.int64(image_rgb[v, u, c])
                    image_rgb[v, u, c] = old + ((np.int64(object_colours_rgb[thing, c]) - old) * alpha >> 8)
            else:
                kind = class_ids[row, column]
                alpha = class_alphas[kind]
                if alpha > 0:
                    for c in range(3):
                        old = np.int64(image_rgb[v, u, c])
                        image_rgb[v, u, c] = old + ((np.int64(class_colours_rgb[kind, c]) - old) * alpha >> 8)


def tint(
    image_rgb: npt.NDArray[np.uint8],
    class_ids: npt.NDArray[np.uint8],
    object_rows: npt.NDArray[np.int32],
    class_colours_rgb: npt.NDArray[np.uint8],
    class_alphas: npt.NDArray[np.integer],
    object_colours_rgb: npt.NDArray[np.uint8],
    inside_alpha: int = _INSIDE_OF_256,
) -> npt.NDArray[np.uint8]:
    """A copy of an image with classes tinted, objects tinted over them, and objects' outlines.

    The two maps may be of another size than the image; each pixel takes the nearest value.

    Args:
        image_rgb: (H, W, 3) u8.
        class_ids: (h, w) u8.
        object_rows: (h, w) i32 rows of ``object_colours_rgb``; others are background.
        class_colours_rgb: (256, 3) u8.
        class_alphas: (256,) weight of a class's colour, 0 ... 256.
        object_colours_rgb: (N, 3) u8.
        inside_alpha: weight of an object's colour inside its outline, 0 ... 256.

    Returns:
        (H, W, 3) u8.

    Raises:
        ValueError: a shape or a weight is wrong.
    """
    tinted = np.array(image_rgb, dtype=np.uint8, order="C")
    ids = np.require(class_ids, np.uint8, ("C", "W"))
    rows = np.require(object_rows, np.int32, ("C", "W"))
    colours = np.require(class_colours_rgb, np.uint8, ("C", "W"))
    alphas = np.require(class_alphas, np.int64, ("C", "W"))
    object_colours = np.require(object_colours_rgb, np.uint8, ("C", "W")).reshape(-1, 3)
    if tinted.ndim != 3 or tinted.shape[2] != 3:
        raise ValueError(f"image_rgb must be (H, W, 3) but got shape {tinted.shape}")
    if ids.ndim != 2 or ids.size == 0 or rows.shape != ids.shape:
        raise ValueError(f"class_ids and object_rows must be one (h, w) but got shapes {ids.shape} and {rows.shape}")
    if colours.shape != (256, 3) or alphas.shape != (256,):
        raise ValueError(f"class colours must be (256, 3) and alphas (256,) but got {colours.shape}, {alphas.shape}")
    if alphas.min() < 0 or alphas.max() > 256 or not 0 <= inside_alpha <= 256:
        raise ValueError("alphas must lie in 0 ... 256")
    _tint(tinted, ids, rows, colours, alphas, object_colours, inside_alpha)
    return tinted
