"""Tileable textures with mip levels and opacity masks, computed from a seed; no picture is read."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from sim_data.kernels.texture import TEXTURE_SIZE, pack_texture

__all__ = ["MASK_LAYERS", "make_masks", "make_textures"]

_SIZE = TEXTURE_SIZE
_MASK_SIZE = 256
MASK_LAYERS = {"leaves": 0, "needles": 1, "railing": 2, "twigs": 3}
Float = npt.NDArray[np.float64]


def _spectral(rng: np.random.Generator, power: float, lowest: float = 1.0, highest: float = 1e9) -> Float:
    """Noise with an isotropic power-law spectrum between two frequencies (cycles per tile), 0 ... 1."""
    spectrum = np.fft.fft2(rng.standard_normal((_SIZE, _SIZE)))
    frequency = np.fft.fftfreq(_SIZE) * _SIZE
    radius = np.hypot(frequency[:, None], frequency[None, :])
    gain = np.where((radius >= lowest) & (radius <= highest), np.maximum(radius, 1.0) ** -power, 0.0)
    field = np.real(np.fft.ifft2(spectrum * gain))
    # equalise to a smooth bell: the shading code thresholds these fields
    field = (field - field.mean()) / field.std()
    return np.asarray(np.clip(0.5 + field / 5.0, 0.0, 1.0))


def _stamps(rng: np.random.Generator, count: int, long_px: float, wide_px: float, upright: float = 0.0) -> Float:
    """Overlapping shaded ellipses (leaves, blades), later ones on top; tileable by drawing each at its wraps."""
    canvas = np.full((_SIZE, _SIZE), 0.12, np.float32)
    for k in range(count):
        x, y = rng.uniform(0, _SIZE, 2)
        angle = rng.uniform(0, 180) if upright == 0 else 90 + rng.normal(0, upright)
        tone = float(0.15 + 0.85 * (k / count) * rng.uniform(0.35, 1.0))
        size = (max(1, int(long_px * rng.uniform(0.6, 1.3))), max(1, int(wide_px * rng.uniform(0.6, 1.3))))
        for ox in (-_SIZE, 0, _SIZE):
            for oy in (-_SIZE, 0, _SIZE):
                if -30 < x + ox < _SIZE + 30 and -30 < y + oy < _SIZE + 30:
                    cv2.ellipse(canvas, (int(x + ox), int(y + oy)), size, angle, 0, 360, tone, -1)
    return canvas.astype(np.float64)


def _courses(
    rng: np.random.Generator, rows: int, columns: int, joint_px: int, joint_tone: float, shift: float = 0.5
) -> Float:
    """Rows of blocks with joints, every other row shifted; each block has its own tone."""
    canvas = np.full((_SIZE, _SIZE), joint_tone)
    height, width = _SIZE // rows, _SIZE // columns
    for row in range(rows):
        offset = int(width * shift) if row % 2 else 0
        for column in range(columns):
            xs = (np.arange(column * width + joint_px, (column + 1) * width) + offset) % _SIZE
            canvas[row * height + joint_px : (row + 1) * height, xs] = 0.55 + 0.22 * rng.standard_normal()
    return np.asarray(np.clip(canvas, 0.05, 1.0))


def _cobbles(rng: np.random.Generator) -> Float:
    """Distance to the second nearest of scattered points minus the nearest: rounded stones."""
    cells = 16
    points = (
        np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), -1) + rng.uniform(0.2, 0.8, (cells, cells, 2))
    ) / cells
    points = points.reshape(-1, 2)
    tones = rng.uniform(0.45, 1.0, len(points))
    grid = (np.stack(np.meshgrid(np.arange(_SIZE), np.arange(_SIZE)), -1) + 0.5) / _SIZE
    near, which = (
        np.asarray(part) for part in cKDTree(points % 1.0, boxsize=np.ones(2)).query(grid.reshape(-1, 2), k=2)
    )
    gap = np.clip((near[:, 1] - near[:, 0]) * cells * 2.2, 0, 1)
    nearest = which[:, 0]
    return np.asarray((0.15 + 0.75 * gap * tones[nearest]).reshape(_SIZE, _SIZE))


def make_textures(rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """All of ``sim_data.materials.TEXTURES`` with their halvings, as ``sim_data.kernels.texture`` reads them."""
    fine = rng.standard_normal((_SIZE, _SIZE))
    grain = np.clip(0.5 + 0.16 * fine + 0.10 * np.where(rng.uniform(size=fine.shape) > 0.93, 2.5, 0.0), 0, 1)
    grain = grain * 0.75 + 0.25 * _spectral(rng, 0.6)
    brick = _courses(rng, 16, 8, 2, 0.75)
    slabs = np.clip(_courses(rng, 8, 8, 2, 0.22) * 0.7 + 0.3 * _spectral(rng, 0.8), 0, 1)
    tiles = _courses(rng, 16, 16, 2, 0.2)
    ramp = np.linspace(1.0, 0.65, _SIZE // 16)
    tiles = tiles * np.tile(ramp, 16)[:, None]
    bark = _spectral(rng, 1.0)
    bark = np.repeat(bark[::4], 4, axis=0)
    layers = [
        _spectral(rng, 1.6),
        grain,
        0.55 * _stamps(rng, 900, 8, 4) + 0.45 * _spectral(rng, 1.2, 2),
        0.6 * _stamps(rng, 2600, 9, 1, 25.0) + 0.4 * _spectral(rng, 1.0),
        0.5 + 0.6 * (_spectral(rng, 0.5) - 0.5) + 0.3 * (_spectral(rng, 1.5) - 0.5),
        np.clip(brick + 0.15 * (_spectral(rng, 0.3) - 0.5), 0, 1),
        slabs,
        _cobbles(rng),
        np.clip(tiles, 0, 1),
        bark,
        _spectral(rng, 1.75, 1.0),
    ]
    return np.concatenate([pack_texture(layer) for layer in layers])


def make_masks(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """(4, 256, 256) u8 opacity masks, 255 opaque, by ``MASK_LAYERS``."""
    size = _MASK_SIZE
    masks = np.zeros((len(MASK_LAYERS), size, size), np.uint8)
    middle = size / 2
    for layer, (count, long_px, wide_px, spread) in {0: (330, 13, 7, 0.30), 1: (420, 17, 2, 0.30)}.items():
        for _ in range(count):
            # leaves gather in a few clumps, densest in the middle of the card, none at its edge
            angle, radius = rng.uniform(0, 2 * np.pi), min(abs(rng.normal(0, spread)), 0.44)
            x, y = middle + radius * size * np.cos(angle), middle + radius * size * np.sin(angle)
            axes = (max(1, int(long_px * rng.uniform(0.6, 1.2))), max(1, int(wide_px * rng.uniform(0.6, 1.2))))
            cv2.ellipse(masks[layer], (int(x), int(y)), axes, rng.uniform(0, 180), 0, 360, 255, -1)
    rail = masks[2]
    rail[: size // 14] = rail[-size // 14 :] = 255
    for x in range(0, size, size // 8):
        rail[:, x : x + size // 36] = 255
    for _ in range(60):
        start = rng.uniform(0.1, 0.9, 2) * size
        end = start + rng.normal(0, 40, 2)
        cv2.line(masks[3], tuple(int(v) for v in start), tuple(int(v) for v in end), 255, 2)
    return masks
