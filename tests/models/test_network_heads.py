"""The kernels behind the network's outputs, against torch and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from perception.kernels.network_heads import (
    assign_pixels,
    cell_centres,
    cells_of_boxes,
    decode_cells,
    image_planes,
    upsampled_argmax,
)
from perception.models.street_layout import BOX_STRIDES, CUE_SCALE_PX
from perception.training.losses import cell_grid, decode_boxes


def raw_output(height: int, width: int, classes: int, seed: int) -> np.ndarray:
    cells = sum((height // stride) * (width // stride) for stride in BOX_STRIDES)
    return np.random.default_rng(seed).normal(0, 1.5, (4 + classes, cells)).astype(np.float32)


def test_planes_are_normalised_channels() -> None:
    image = np.random.default_rng(2).integers(0, 256, (5, 7, 3), np.uint8)
    mean, deviation = np.array([10, 120, 30], np.float32), np.array([50, 60, 70], np.float32)
    planes = image_planes(image, mean, deviation)
    assert planes.shape == (1, 3, 5, 7)
    np.testing.assert_allclose(planes[0], ((image - mean) / deviation).transpose(2, 0, 1), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"image must be \(H, W, 3\).*\(5, 7\)"):
        image_planes(image[:, :, 0], mean, deviation)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.75, 1.0])
def test_decoded_boxes_equal_those_of_training(threshold: float) -> None:
    raw = raw_output(64, 96, 3, seed=1)
    boxes, scores, ids, cells = decode_cells(raw, 64, 96, BOX_STRIDES, threshold)
    centres, strides = cell_grid(64, 96)
    expected = decode_boxes(torch.from_numpy(raw[:4].T.copy()), centres, strides).numpy()
    best = torch.from_numpy(raw[4:]).sigmoid().max(dim=0)
    keep = best.values.numpy() >= threshold
    np.testing.assert_allclose(boxes, expected[keep], rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(scores, best.values.numpy()[keep], rtol=1e-5)
    np.testing.assert_array_equal(ids, best.indices.numpy()[keep])
    assert boxes.shape == (len(scores), 4)
    np.testing.assert_array_equal(cells, np.flatnonzero(keep))
    places, steps = cell_centres(cells, 64, 96, BOX_STRIDES)
    np.testing.assert_array_equal(places, centres.numpy()[keep])
    np.testing.assert_array_equal(steps, strides.numpy()[keep])
    assert len(boxes) == keep.sum()


def test_numbers_that_are_no_box_are_left_out() -> None:
    raw = np.full((6, 84), -9.0, np.float32)
    raw[4, :3] = 5.0
    raw[0, 0] = np.nan
    raw[4, 1] = np.nan
    raw[5, 1] = np.nan
    raw[2, 2] = np.inf  # an exponent without limit would give an infinite box
    boxes, _, _, _ = decode_cells(raw, 64, 64, BOX_STRIDES, 0.5)
    assert np.isfinite(boxes).all()
    assert len(boxes) == 1


def test_a_raw_output_of_another_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"raw must be \(4 \+ C, 84\) for input 64x64 but got shape \(7, 126\)"):
        decode_cells(raw_output(64, 96, 3, seed=0), 64, 64, BOX_STRIDES, 0.5)


def in_cells(logits: np.ndarray) -> np.ndarray:
    """(C, 2h, 2w) to (C, 4, h, w)."""
    return np.stack([logits[:, v::2, u::2] for v in (0, 1) for u in (0, 1)], axis=1)


@pytest.mark.parametrize(
    ("cells_hw", "image_hw"),
    [((8, 26), (47, 155)), ((4, 4), (16, 16)), ((6, 8), (3, 4)), ((2, 2), (6, 5)), ((2, 6), (1, 9))],
)
@pytest.mark.parametrize("smooth", [False, True])
def test_upsampled_argmax_equals_bilinear_enlargement_of_what_is_best_somewhere(
    cells_hw: tuple[int, int], image_hw: tuple[int, int], smooth: bool
) -> None:
    logits = np.random.default_rng(5).normal(0, 2, (6, *cells_hw)).astype(np.float32)
    if smooth:
        logits = np.sort(logits, axis=2)
    ids = np.array([9, 3, 250, 0, 17, 4], np.uint8)
    enlarged = functional.interpolate(torch.from_numpy(logits)[None], image_hw, mode="bilinear", align_corners=False)[0]
    best = functional.one_hot(torch.from_numpy(logits).argmax(dim=0), 6).permute(2, 0, 1).float()[None]
    nearby = functional.interpolate(best, image_hw, mode="bilinear", align_corners=False)[0] > 1e-6
    enlarged = enlarged.masked_fill(~nearby, -torch.inf)
    found = upsampled_argmax(in_cells(logits), ids, *image_hw)
    assert found.shape == image_hw
    top = enlarged.topk(2, dim=0).values
    clear = (top[0] - top[1]).numpy() > 1e-4
    np.testing.assert_array_equal(found[clear], ids[enlarged.argmax(dim=0).numpy()][clear])
    assert clear.mean() > 0.95


def test_one_class_everywhere_fills_the_image() -> None:
    logits = np.zeros((3, 4, 6), np.float32)
    logits[1] = 1.0
    assert (upsampled_argmax(in_cells(logits), np.array([7, 8, 9], np.uint8), 33, 41) == 8).all()


def perfect_cues(owner: np.ndarray, boxes: np.ndarray, stride: int) -> np.ndarray:
    rows, columns = owner.shape
    v, u = (np.mgrid[:rows, :columns] + 0.5) * stride
    mine = boxes[owner]
    edges = np.stack([u - mine[..., 0], v - mine[..., 1], mine[..., 2] - u, mine[..., 3] - v])
    return np.log1p(np.maximum(edges, 0) / CUE_SCALE_PX).astype(np.float32)


def test_overlapping_boxes_share_cells_as_the_cues_say() -> None:
    boxes = np.array([[0, 8, 40, 40], [24, 8, 64, 40]], np.float32)
    owner = np.zeros((12, 16), np.int64)
    owner[:, 7:] = 1
    cells = cells_of_boxes(
        perfect_cues(owner, boxes, 4), CUE_SCALE_PX, boxes, np.ones(2, np.float32), np.array([0, 0]), 2, 4
    )
    assert cells.shape == (2, 12, 16)
    inside = np.s_[2:10]
    np.testing.assert_array_equal(cells[0, inside], owner[inside])
    assert (cells[1] == -1).all()


def test_a_doubtful_box_takes_nothing_from_a_sure_one_of_the_same_object() -> None:
    boxes = np.array([[0, 8, 40, 40], [0, 8, 36, 40], [44, 8, 64, 40]], np.float32)
    predicted = np.array([[0, 8, 37, 40], [44, 8, 64, 40]], np.float32)
    owner = np.zeros((12, 16), np.int64)
    owner[:, 11:] = 1
    cues, groups = perfect_cues(owner, predicted, 4), np.zeros(3, np.int64)
    alike = cells_of_boxes(cues, CUE_SCALE_PX, boxes, np.ones(3, np.float32), groups, 1, 4)
    assert (alike[0, 2:10, 1:9] == 1).all()
    cells = cells_of_boxes(cues, CUE_SCALE_PX, boxes, np.sqrt(np.array([0.9, 0.05, 0.05], np.float32)), groups, 1, 4)
    assert (cells[0, 2:10, 1:9] == 0).all()
    # another object keeps its own, however doubtful
    assert (cells[0, 2:10, 12:] == 2).all()
    with pytest.raises(ValueError, match=r"trust .* \(2,\)"):
        cells_of_boxes(cues, CUE_SCALE_PX, boxes, np.ones(2, np.float32), groups, 1, 4)


def test_groups_do_not_take_each_others_cells() -> None:
    boxes = np.array([[0, 0, 32, 32], [0, 0, 32, 32], [0, 0, 32, 32]], np.float32)
    sure = np.ones(3, np.float32)
    cells = cells_of_boxes(np.zeros((4, 8, 8), np.float32), CUE_SCALE_PX, boxes, sure, np.array([1, 0, -1]), 2, 4)
    assert (cells[0] == 1).all()
    assert (cells[1] == 0).all()


def test_pixels_need_their_class_their_cell_and_their_box() -> None:
    semantic = np.zeros((20, 24), np.uint8)
    semantic[5:15, 2:20] = 13
    semantic[5:8, 2:20] = 11
    groups = np.full(256, -1, np.int64)
    groups[13], groups[11] = 0, 1
    boxes = np.array([[4, 4, 16, 16], [2.0, 2.0, 22.0, 7.0]], np.float32)
    cells = np.stack([np.zeros((5, 6), np.int16), np.ones((5, 6), np.int16)])
    found = assign_pixels(cells, semantic, groups, boxes)
    expected = np.full(semantic.shape, -1, np.int32)
    expected[8:15, 4:16] = 0
    expected[5:7, 2:20] = 1
    np.testing.assert_array_equal(found, expected)


def test_no_box_gives_background() -> None:
    none = np.zeros((0, 4), np.float32)
    cells = cells_of_boxes(
        np.zeros((4, 4, 4), np.float32), CUE_SCALE_PX, none, np.zeros(0, np.float32), np.zeros(0, np.int64), 3, 4
    )
    found = assign_pixels(cells, np.full((16, 16), 13, np.uint8), np.zeros(256, np.int64), none)
    assert found.shape == (16, 16)
    assert (found == -1).all()


def test_cells_that_name_missing_boxes_are_refused() -> None:
    with pytest.raises(ValueError, match="rows below 1"):
        assign_pixels(
            np.full((1, 2, 2), 3, np.int16),
            np.zeros((8, 8), np.uint8),
            np.zeros(256, np.int64),
            np.zeros((1, 4), np.float32),
        )
