"""What boxes look like: colour histograms, a descriptor that needs no network."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array, as_boxes

__all__ = ["HISTOGRAM_COLUMNS", "colour_histograms"]

_BINS = 8
_PARTS = 2
HISTOGRAM_COLUMNS = 2 * _BINS * _PARTS
_SAMPLES_U, _SAMPLES_V = 12, 16


def colour_histograms(image_rgb: npt.ArrayLike, boxes_xyxy: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """Histograms of brightness and hue of the upper and the lower half of each box.

    A fixed grid over the inner part of the box is sampled, so the cost does not depend on its size. A pixel counts for
    its hue by its saturation and for its brightness by the rest, shared linearly between the two nearest bins. Rows
    are square roots of shares, so that the product of two rows is their Bhattacharyya coefficient.

    Args:
        image_rgb: (H, W, 3) u8.
        boxes_xyxy: (N, 4) f32 px.

    Returns:
        (N, ``HISTOGRAM_COLUMNS``) f32, rows of length 1; 0 where a box lies outside of the image.

    Raises:
        ValueError: a shape is wrong or a box is not finite or inverted.

    >>> red = np.zeros((10, 10, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    >>> blue = np.ascontiguousarray(red[:, :, ::-1])
    >>> box = np.array([[0, 0, 10, 10]], np.float32)
    >>> round((colour_histograms(red, box) @ colour_histograms(red, box).T).item(), 3)
    1.0
    >>> round((colour_histograms(red, box) @ colour_histograms(blue, box).T).item(), 3)
    0.0
    """
    image = as_array("image_rgb", image_rgb, np.uint8, (None, None, 3))
    boxes = as_boxes("boxes_xyxy", boxes_xyxy)
    result: npt.NDArray[np.float32] = _histograms(image, boxes)
    return result


@njit("float32[:, ::1](uint8[:, :, ::1], float32[:, ::1])", cache=True, nogil=True)
def _histograms(image, boxes):  # type: ignore[no-untyped-def]
    height, width = image.shape[0], image.shape[1]
    out = np.zeros((boxes.shape[0], HISTOGRAM_COLUMNS), np.float32)
    for i in range(boxes.shape[0]):
        x1, y1 = float(boxes[i, 0]), float(boxes[i, 1])
        box_width, box_height = float(boxes[i, 2]) - x1, float(boxes[i, 3]) - y1
        total = 0.0
        for row in range(_SAMPLES_V):
            y = y1 + (0.1 + 0.8 * (row + 0.5) / _SAMPLES_V) * box_height
            if not 0.0 <= y < height:
                continue
            part = row * _PARTS // _SAMPLES_V * 2 * _BINS
            for column in range(_SAMPLES_U):
                x = x1 + (0.2 + 0.6 * (column + 0.5) / _SAMPLES_U) * box_width
                if not 0.0 <= x < width:
                    continue
                v, u = int(y), int(x)
                r, g, b = float(image[v, u, 0]), float(image[v, u, 1]), float(image[v, u, 2])
                most, least = max(r, g, b), min(r, g, b)
                chroma = most - least
                saturation = chroma / most if most > 0.0 else 0.0
                if chroma > 0.0:
                    if most == r:
                        hue = ((g - b) / chroma) % 6.0
                    elif most == g:
                        hue = (b - r) / chroma + 2.0
                    else:
                        hue = (r - g) / chroma + 4.0
                    place = hue / 6.0 * _BINS
                    low = int(place) % _BINS
                    share = place - int(place)
                    out[i, part + low] += saturation * (1.0 - share)
                    out[i, part + (low + 1) % _BINS] += saturation * share
                place = most / 255.0 * (_BINS - 1)
                low = min(int(place), _BINS - 2)
                share = place - low
                out[i, part + _BINS + low] += (1.0 - saturation) * (1.0 - share)
                out[i, part + _BINS + low + 1] += (1.0 - saturation) * share
                total += 1.0
        if total > 0.0:
            for k in range(HISTOGRAM_COLUMNS):
                out[i, k] = np.sqrt(out[i, k] / total)
    return out
