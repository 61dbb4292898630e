"""Labels of pixels made to follow the colours of an image.

Krähenbühl and Koltun, "Efficient inference in fully connected CRFs with Gaussian edge potentials", NeurIPS 2011, with
the window of Teichmann and Cipolla, "Convolutional CRFs for semantic segmentation", BMVC 2019.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["conv_crf"]

Float32Array = npt.NDArray[np.float32]

_FARTHEST = 9.0  # half squared standard deviations: more differing colours weigh less than a ten thousandth
_TABLE = 1024


def conv_crf(
    scores: Float32Array,
    image_rgb: npt.NDArray[np.uint8],
    free: npt.NDArray[np.bool_],
    *,
    radius_px: int,
    colour_deviation: float,
    place_deviation_px: float,
    coupling: float,
    rounds: int,
) -> Float32Array:
    """Mean field approximation of a conditional random field over the pixels' labels.

    In every round a pixel's label is chosen anew by its own score and by the labels of the pixels around it, each
    counting the more, the nearer its place and its colour.

    Args:
        scores: (H, W, L) f32 logarithms of the labels' probabilities, up to a constant for each pixel.
        image_rgb: (H, W, 3) u8.
        free: (H, W) bool pixels whose label may change; the others keep what their scores say.
        radius_px: of the square window around a pixel.
        colour_deviation: standard deviation of colours that belong together, of 255.
        place_deviation_px: standard deviation of places that belong together.
        coupling: how much the neighbours count: the score of a label that all of them have.
        rounds: how often every pixel asks its neighbours.

    Returns:
        (H, W, L) f32 probabilities.

    Raises:
        ValueError: the shapes do not belong together.
    """
    scores = np.require(scores, np.float32, "C")
    image = np.require(image_rgb, np.uint8, "C")
    if scores.ndim != 3 or image.shape != (*scores.shape[:2], 3) or free.shape != scores.shape[:2]:
        raise ValueError(
            f"scores must be (H, W, L), image_rgb (H, W, 3) and free (H, W) but got shapes {scores.shape}, "
            f"{image.shape} and {free.shape}"
        )
    chances: Float32Array = np.exp(scores - scores.max(axis=2, keepdims=True))
    chances /= chances.sum(axis=2, keepdims=True)
    pixels = np.ascontiguousarray(np.argwhere(free))
    if not len(pixels):
        return chances
    steps = np.arange(-radius_px, radius_px + 1)
    nearness = np.exp(-(steps[:, None] ** 2 + steps[None] ** 2) / (2 * place_deviation_px**2)).astype(np.float32)
    nearness[radius_px, radius_px] = 0.0  # nobody is a neighbour of himself
    likeness = np.exp(-np.linspace(0.0, _FARTHEST, _TABLE)).astype(np.float32)
    likeness[-1] = 0.0
    per_square = np.float32((_TABLE - 1) / (_FARTHEST * 2 * colour_deviation**2))
    colours = image.astype(np.int32)
    for _ in range(rounds):
        _round(scores, colours, pixels, nearness, likeness, per_square, np.float32(coupling), chances)
    return chances


@njit(
    "void(float32[:, :, ::1], int32[:, :, ::1], int64[:, ::1], float32[:, ::1], float32[::1], float32, float32, "
    "float32[:, :, ::1])",
    cache=True,
    nogil=True,
    fastmath=True,
)
def _round(scores, image, pixels, nearness, likeness, per_square, coupling, chances):  # type: ignore[no-untyped-def]
    height, width, labels = scores.shape
    radius = len(nearness) // 2
    farthest = len(likeness) - 1
    new = np.empty((len(pixels), labels), np.float32)
    for number in range(len(pixels)):
        v, u = pixels[number]
        asked = new[number]
        asked[:] = 0
        total = np.float32(1e-6)
        red, green, blue = image[v, u, 0], image[v, u, 1], image[v, u, 2]
        for row in range(max(v - radius, 0), min(v + radius + 1, height)):
            for column in range(max(u - radius, 0), min(u + radius + 1, width)):
                square = (
                    (image[row, column, 0] - red) ** 2
                    + (image[row, column, 1] - green) ** 2
                    + (image[row, column, 2] - blue) ** 2
                )
                weight = (
                    nearness[row - v + radius, column - u + radius]
                    * likeness[min(int(square * per_square + np.float32(0.5)), farthest)]
                )
                total += weight
                for label in range(labels):
                    asked[label] += weight * chances[row, column, label]
        largest = np.float32(-1e30)
        for label in range(labels):
            asked[label] = scores[v, u, label] + coupling * asked[label] / total
            largest = max(largest, asked[label])
        total = np.float32(0.0)
        for label in range(labels):
            asked[label] = np.exp(asked[label] - largest)
            total += asked[label]
        for label in range(labels):
            asked[label] /= total
    # all pixels change at once, so that no order of theirs matters
    for number in range(len(pixels)):
        v, u = pixels[number]
        for label in range(labels):
            chances[v, u, label] = new[number, label]
