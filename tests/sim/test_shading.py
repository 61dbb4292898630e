"""Kernels of the shading against plain numpy: texture lookups, fragments and their weights, painted lines."""

from __future__ import annotations

import numpy as np
import pytest

from sim_data.kernels.fragments import collect, resolve
from sim_data.kernels.ground import CELLS_PER_M, line_cells
from sim_data.kernels.raster import SETUP_COLUMNS, pack_masks
from sim_data.kernels.texture import TEXTURE_SIZE, look_up, pack_texture
from sim_data.materials import MATERIALS, RANKS, ROUND
from sim_data.shading import tiles


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(TEXTURE_SIZE, TEXTURE_SIZE))


def test_a_lookup_is_bilinear_and_the_texture_repeats(picture: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    u, v = rng.uniform(-3, 3, (2, 500)).astype(np.float32)
    found = np.empty(500, np.float32)
    texels = np.concatenate([pack_texture(np.zeros_like(picture)), pack_texture(picture)])
    look_up(texels, 1, u, v, np.full(500, 1e-6, np.float32), (1.0, 1.0, 1.0), (0, 500), found)
    x, y = (u % 1.0) * TEXTURE_SIZE - 0.5, (v % 1.0) * TEXTURE_SIZE - 0.5
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    expected = np.zeros(500)
    for j in (0, 1):
        for i in (0, 1):
            weight = (1 - np.abs(x - left - i)) * (1 - np.abs(y - top - j))
            expected += weight * picture[(top + j) % TEXTURE_SIZE, (left + i) % TEXTURE_SIZE]
    # texels hold eight bits, coordinates 24
    np.testing.assert_allclose(found, expected, atol=0.004)


@pytest.mark.parametrize(("level", "footprint"), [(1, 2.0), (3, 8.0), (8, 1e4)])
def test_a_wide_footprint_sees_the_mean(picture: np.ndarray, level: int, footprint: float) -> None:
    size = TEXTURE_SIZE >> level
    halved = picture.reshape(size, 1 << level, size, 1 << level).mean(axis=(1, 3))
    middle = ((np.arange(size) + 0.5) / size).astype(np.float32)
    v, u = (np.ascontiguousarray(part.ravel()) for part in np.meshgrid(middle, middle, indexing="ij"))
    found = np.empty(size * size, np.float32)
    wide = np.full(size * size, footprint / TEXTURE_SIZE, np.float32)
    look_up(pack_texture(picture), 0, u, v, wide, (1.0, 1.0, 1.0), (0, len(u)), found)
    np.testing.assert_allclose(found.reshape(size, size), halved, atol=0.004)


def test_fragments_share_each_pixel_out_among_what_it_sees() -> None:
    height, width = 6, 9
    rng = np.random.default_rng(2)
    ids = rng.integers(-1, 4, (2 * height + 1, 2 * width + 1)).astype(np.int32)
    planes = np.ones((4, SETUP_COLUMNS))
    sources = np.stack([np.arange(4), np.arange(4)], axis=1).astype(np.int32)
    materials = np.array([MATERIALS.index(name) for name in ("road", "car", "leaves", "road")], np.uint8)
    room = 9 * width * (height + 1)
    numbers, places = np.empty((2, room), np.int32), np.empty((3, room), np.float32)
    starts, triangles = np.zeros(len(RANKS) + 3, np.int64), np.empty(room, np.int32)
    slots = np.full(4, -1, np.int32)
    scratch = slots, np.empty((4, room), np.int32), np.empty((3, room), np.float32)
    end = collect(
        (0, height), ids, sources, planes, (materials, RANKS, ROUND), scratch, triangles, (numbers, places), starts
    )
    count = int(starts[-2])
    assert end == height and (slots == -1).all() and int(starts[-1]) == 4
    seen = np.where(numbers[0, :count] < 0, -1, triangles[numbers[0, :count]])
    pixel, centre = numbers[1, :count] >> 1, numbers[1, :count] & 1
    np.testing.assert_allclose(np.bincount(pixel, places[2, :count]), 1.0, atol=1e-6)
    np.testing.assert_array_equal(seen[centre == 1][np.argsort(pixel[centre == 1])], ids[1::2, 1::2].ravel())
    ranks = np.where(seen < 0, 0, RANKS[materials[seen]])
    assert (np.diff(ranks) >= 0).all()
    # the tent filter, one colour channel per id
    colours = np.zeros((3, room), np.float32)
    colours[:, :count] = np.stack([seen == -1, seen == 0, seen == 2])
    rgb = np.empty((height, width, 3), np.float32)
    resolve((0, height), count, numbers, places, colours, rgb)
    tent = np.outer([1, 2, 1], [1, 2, 1]) / 16
    for channel, number in enumerate((-1, 0, 2)):
        windows = np.lib.stride_tricks.sliding_window_view((ids == number).astype(float), (3, 3))[::2, ::2]
        np.testing.assert_allclose(rgb[..., channel], (windows * tent).sum(axis=(2, 3)), atol=1e-6)


def test_fragments_stop_where_there_is_no_room() -> None:
    ids = np.arange(7 * 9, dtype=np.int32).reshape(7, 9)
    sources = np.stack([np.zeros(63), np.arange(63)], axis=1).astype(np.int32)
    room = 2 * 9 * 4 - 1
    out = np.empty((2, room), np.int32), np.empty((3, room), np.float32)
    scratch = np.full(63, -1, np.int32), np.empty((4, room), np.int32), np.empty((3, room), np.float32)
    end = collect(
        (0, 3), ids, sources, np.ones((63, SETUP_COLUMNS)), (np.zeros(1, np.uint8), RANKS, ROUND), scratch,
        np.empty(room, np.int32), out, np.zeros(len(RANKS) + 3, np.int64),
    )  # fmt: skip
    assert end == 1
    with pytest.raises(ValueError, match="there must be room for a row of 9 samples"):
        collect(
            (0, 3), ids, sources, np.ones((63, SETUP_COLUMNS)), (np.zeros(1, np.uint8), RANKS, ROUND),
            (scratch[0], np.empty((4, 8), np.int32), np.empty((3, 8), np.float32)), np.empty(8, np.int32),
            (np.empty((2, 8), np.int32), np.empty((3, 8), np.float32)), np.zeros(len(RANKS) + 3, np.int64),
        )  # fmt: skip


def test_line_cells_name_the_two_nearest_lines() -> None:
    paints = np.zeros((2, 4, 6))
    paints[0, 1:, 0], paints[0, 1:, 1] = (-3.5, 0.0, 3.5), 0.12
    cells = line_cells(paints)
    for place, expected in ((-3.0, [1, 2]), (2.0, [2, 3]), (40.0, [2, 3])):
        assert cells[0, int((place + 64) * CELLS_PER_M)].tolist() == expected
    assert (cells[1] == 0).all()


def test_tiles_cover_every_row_once() -> None:
    for height, width in ((375, 1242), (128, 416), (1, 5), (3, 40_000)):
        rows = [y for first, stop in tiles(height, width) for y in range(first, stop)]
        assert rows == list(range(height))


def test_masks_must_be_a_power_of_two_wide() -> None:
    with pytest.raises(ValueError, match="power of two"):
        pack_masks(np.zeros((1, 24, 24), np.uint8))
    masks = np.zeros((2, 8, 8), np.uint8)
    masks[1, 3, 5] = 128
    packed = pack_masks(masks)
    assert packed.shape == (2, 2)
    assert packed[0].tolist() == [0, 0] and packed[1].tolist() == [1 << (3 * 8 + 5), 0]
