"""Weight gradient of a depthwise convolution, channels last: torch's own on a CPU takes most of a training step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["depthwise_weight_gradient"]


@njit("void(f4[:,:,:,::1], f4[:,:,:,::1], i8, i8, f4[:,:,::1])", cache=True, nogil=True)
def _weight_gradient(features, gradient, stride, padding, out):  # type: ignore[no-untyped-def]
    images, height, width, channels = features.shape
    _, out_height, out_width, _ = gradient.shape
    kernel = out.shape[0]
    row_sum = np.zeros((kernel, kernel, channels), np.float32)
    for n in range(images):
        for y in range(out_height):
            row_sum[:] = 0.0
            for ky in range(kernel):
                v = y * stride + ky - padding
                if v < 0 or v >= height:
                    continue
                for x in range(out_width):
                    first = x * stride - padding
                    grad = gradient[n, y, x]
                    for kx in range(kernel):
                        u = first + kx
                        if u < 0 or u >= width:
                            continue
                        feature = features[n, v, u]
                        total = row_sum[ky, kx]
                        for c in range(channels):
                            total[c] += feature[c] * grad[c]
            # sums of one row are added up first: rounding grows with rows, not with pixels
            for ky in range(kernel):
                for kx in range(kernel):
                    for c in range(channels):
                        out[ky, kx, c] += row_sum[ky, kx, c]


def depthwise_weight_gradient(
    features: npt.NDArray[np.float32], gradient: npt.NDArray[np.float32], kernel: int, stride: int, padding: int
) -> npt.NDArray[np.float32]:
    """Gradient of a loss with respect to a depthwise convolution's weight.

    Args:
        features: (N, H, W, C) input of the convolution.
        gradient: (N, h, w, C) gradient with respect to its output.
        kernel: side of the square kernel.
        stride: step in both directions.
        padding: zeros on every side of the input; outputs that would read past it on the far sides read zeros too.

    Returns:
        (kernel, kernel, C) f32.

    Raises:
        ValueError: the arrays have no four axes or differ in images or channels.
    """
    features = np.require(features, np.float32, "C")
    gradient = np.require(gradient, np.float32, "C")
    if features.ndim != 4 or gradient.ndim != 4:
        raise ValueError(f"features and gradient must be (N, H, W, C) but got {features.shape} and {gradient.shape}")
    if features.shape[0] != gradient.shape[0] or features.shape[3] != gradient.shape[3]:
        raise ValueError(f"features {features.shape} and gradient {gradient.shape} must agree in images and channels")
    out = np.zeros((kernel, kernel, features.shape[3]), np.float32)
    _weight_gradient(features, gradient, stride, padding, out)
    return out
