"""Weight gradient of a depthwise convolution, channels last: torch's own on a CPU takes most of a training step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["depthwise_weight_gradient"]


@njit("void(f4[:,:,::1], f4[:,::1], i8, i8, i8, i8, i8, f4[:,:,::1])", cache=True, nogil=True)
def _add_row(rows, gradient, y, height, kernel, stride, padding, out):  # type: ignore[no-untyped-def]
    """Adds what row ``y`` of the output says; row v of the input is ``rows[v % len(rows)]``."""
    out_width, channels = gradient.shape
    width = rows.shape[1]
    row_sum = np.zeros((kernel, kernel, channels), np.float32)
    for ky in range(kernel):
        v = y * stride + ky - padding
        if v < 0 or v >= height:
            continue
        row = rows[v % len(rows)]
        for x in range(out_width):
            first = x * stride - padding
            grad = gradient[x]
            for kx in range(kernel):
                u = first + kx
                if u < 0 or u >= width:
                    continue
                feature = row[u]
                total = row_sum[ky, kx]
                for c in range(channels):
                    total[c] += feature[c] * grad[c]
    # sums of one row are added up first: rounding grows with rows, not with pixels
    for ky in range(kernel):
        for kx in range(kernel):
            for c in range(channels):
                out[ky, kx, c] += row_sum[ky, kx, c]


@njit("void(f4[:,:,:,::1], f4[:,:,:,::1], i8, i8, f4[:,:,::1])", cache=True, nogil=True)
def _weight_gradient(features, gradient, stride, padding, out):  # type: ignore[no-untyped-def]
    for n in range(features.shape[0]):
        for y in range(gradient.shape[1]):
            _add_row(features[n], gradient[n, y], y, features.shape[1], out.shape[0], stride, padding, out)


@njit("void(u2[::1], u4[::1])", cache=True, nogil=True)
def _widen(bits, out):  # type: ignore[no-untyped-def]
    """A bfloat16 is the upper half of a float32."""
    for k in range(len(bits)):
        out[k] = np.uint32(bits[k]) << np.uint32(16)


@njit("void(u2[:,:,:,::1], u2[:,:,:,::1], i8, i8, f4[:,:,::1])", cache=True, nogil=True)
def _weight_gradient_bf16(features, gradient, stride, padding, out):  # type: ignore[no-untyped-def]
    images, height, width, channels = features.shape
    _, out_height, out_width, _ = gradient.shape
    kernel = out.shape[0]
    # the rows that one row of the output reads stay widened while the next ones read them too
    row_bits = np.zeros((kernel, width * channels), np.uint32)
    gradient_bits = np.zeros(out_width * channels, np.uint32)
    rows = row_bits.view(np.float32).reshape((kernel, width, channels))
    gradient_row = gradient_bits.view(np.float32).reshape((out_width, channels))
    for n in range(images):
        following = 0
        for y in range(out_height):
            while following < min(height, y * stride + kernel - padding):
                _widen(features[n, following].reshape(width * channels), row_bits[following % kernel])
                following += 1
            _widen(gradient[n, y].reshape(out_width * channels), gradient_bits)
            _add_row(rows, gradient_row, y, height, kernel, stride, padding, out)


def depthwise_weight_gradient(
    features: npt.NDArray[np.generic], gradient: npt.NDArray[np.generic], kernel: int, stride: int, padding: int
) -> npt.NDArray[np.float32]:
    """Gradient of a loss with respect to a depthwise convolution's weight.

    Args:
        features: (N, H, W, C) input of the convolution: f32, or u16 that holds bfloat16, which numpy does not know.
        gradient: (N, h, w, C) gradient with respect to its output, likewise.
        kernel: side of the square kernel.
        stride: step in both directions.
        padding: zeros on every side of the input; outputs that would read past it on the far sides read zeros too.

    Returns:
        (kernel, kernel, C) f32.

    Raises:
        ValueError: the arrays have no four axes or differ in images or channels.
    """
    halves = features.dtype == gradient.dtype == np.uint16
    features = np.require(features, np.uint16 if halves else np.float32, "C")
    gradient = np.require(gradient, np.uint16 if halves else np.float32, "C")
    if features.ndim != 4 or gradient.ndim != 4:
        raise ValueError(f"features and gradient must be (N, H, W, C) but got {features.shape} and {gradient.shape}")
    if features.shape[0] != gradient.shape[0] or features.shape[3] != gradient.shape[3]:
        raise ValueError(f"features {features.shape} and gradient {gradient.shape} must agree in images and channels")
    out = np.zeros((kernel, kernel, features.shape[3]), np.float32)
    compiled = _weight_gradient_bf16 if halves else _weight_gradient
    compiled(features, gradient, stride, padding, out)
    return out
