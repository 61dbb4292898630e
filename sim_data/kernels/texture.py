"""Texture lookups for many points at once.

A texel holds its own value and those of its right, lower and diagonal neighbours, a byte each, so that one load fetches
all that a bilinear lookup needs. Levels of detail lie one after the other, the smallest first.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim_data.kernels.simd import vector_kernel

__all__ = ["LEVELS", "TEXTURE_SIZE", "look_up", "pack_texture"]

LEVELS = 9
TEXTURE_SIZE = 1 << (LEVELS - 1)
_LAYER_TEXELS = 0x55555555 & (4**LEVELS - 1)  # 1 + 4 + 16 ...
_F = np.float32
_HALF, _BYTE, _TEXELS = _F(0.5), _F(1.0 / 255.0), _F(TEXTURE_SIZE * 1.41421356)
_I = np.int32


@vector_kernel(
    "void(int32[::1], int64, float32[::1], float32[::1], float32[::1], float32, float32, float32, float32, float32, "
    "int64, int64, float32[::1])"
)
def _look_up(texels, layer, u, v, footprint, scale_u, scale_v, shift_u, grow, least, start, stop, out):  # type: ignore[no-untyped-def]
    base = _I(layer * _LAYER_TEXELS)
    for n in range(start, stop):
        i = np.uint64(n)
        x = u[i] * scale_u + shift_u
        y = v[i] * scale_v
        # the exponent of the footprint in texels is the level whose texels match it
        across = _F((footprint[i] * grow + least) * _TEXELS)
        level = min(max((across.view(_I) >> _I(23)) - _I(127), _I(0)), _I(LEVELS - 1))
        size = _I(_I(TEXTURE_SIZE) >> level)
        first = _I(base + ((size * size - _I(1)) & _I(0x55555555)))
        mask = _I(size - _I(1))
        x = _F((x - np.floor(x)) * _F(size) - _HALF)
        y = _F((y - np.floor(y)) * _F(size) - _HALF)
        column, row = np.floor(x), np.floor(y)
        dx, dy = x - column, y - row
        place = _I(first + _I(_I(_I(row) & mask) * size) + _I(_I(column) & mask))
        four = texels[np.uint32(place)]
        a, b = _F(four & _I(255)), _F((four >> _I(8)) & _I(255))
        c, d = _F((four >> _I(16)) & _I(255)), _F((four >> _I(24)) & _I(255))
        top = a + (b - a) * dx
        out[i] = (top + (c + (d - c) * dx - top) * dy) * _BYTE


def look_up(
    texels: npt.NDArray[np.int32],
    layer: int,
    u: npt.NDArray[np.float32],
    v: npt.NDArray[np.float32],
    footprint: npt.NDArray[np.float32],
    scale: tuple[float, float, float],
    span: tuple[int, int],
    out: npt.NDArray[np.float32],
    shift: float = 0.0,
    least: float = 0.0,
) -> None:
    """Reads a texture, 0 ... 1, at points ``span[0] <= i < span[1]``, in the level of detail that fits.

    Args:
        texels: (layers x ``LAYER_TEXELS``,) from ``pack_texture``, layers one after the other.
        layer: which.
        u: (N,) in any unit; ``v`` (N,) likewise.
        v: as above.
        footprint: (N,) what a pixel covers, in the same unit.
        scale: texture repeats per unit of u, of v, and of the footprint.
        span: first point and one past the last.
        out: (N,) written; must not be one of the other arrays.
        shift: texture repeats added to u.
        least: texture repeats added to the footprint.
    """
    _look_up(texels, layer, u, v, footprint, scale[0], scale[1], shift, scale[2], least, span[0], span[1], out)


def pack_texture(picture: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    """One tileable picture (S, S), 0 ... 1, with all its halvings, as ``look_up`` reads it."""
    if picture.shape != (TEXTURE_SIZE, TEXTURE_SIZE):
        raise ValueError(f"picture must be {(TEXTURE_SIZE, TEXTURE_SIZE)} but got {picture.shape}")
    level = np.asarray(picture, np.float32)
    parts = []
    while True:
        bytes_ = np.clip(np.rint(level * 255), 0, 255).astype(np.uint32)
        right, below = np.roll(bytes_, -1, axis=1), np.roll(bytes_, -1, axis=0)
        four = bytes_ | (right << 8) | (below << 16) | (np.roll(right, -1, axis=0) << 24)
        parts.append(four.astype(np.uint32).view(np.int32).ravel())
        if len(level) == 1:
            break
        level = 0.25 * (level[::2, ::2] + level[1::2, ::2] + level[::2, 1::2] + level[1::2, 1::2])
    return np.concatenate(parts[::-1])
