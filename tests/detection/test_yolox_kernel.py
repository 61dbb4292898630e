from __future__ import annotations

import numpy as np
import pytest

from perception.kernels.yolox import YOLOX_STRIDES, decode_yolox, yolox_row_count

HEIGHT, WIDTH = 64, 96


def _oracle(raw, object_ids, height, width, threshold):
    """The published decoding, with grids as arrays in float64."""
    grids, strides = [], []
    for stride in YOLOX_STRIDES:
        y, x = np.mgrid[: height // stride, : width // stride]
        grids.append(np.stack([x, y], axis=-1).reshape(-1, 2))
        strides.append(np.full((y.size, 1), stride))
    grid, stride = np.concatenate(grids), np.concatenate(strides)
    raw = raw.astype(np.float64)
    centres, sizes = (raw[:, :2] + grid) * stride, np.exp(raw[:, 2:4]) * stride
    classes = np.where(object_ids >= 0, raw[:, 5:], -1)
    best = classes.argmax(axis=1)
    scores = raw[:, 4] * classes[np.arange(len(raw)), best]
    kept = scores >= threshold
    boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], axis=1)
    return boxes[kept], scores[kept], object_ids[best][kept]


def _random_raw(seed: int, classes: int = 7) -> np.ndarray:
    rng = np.random.default_rng(seed)
    raw = np.empty((yolox_row_count(HEIGHT, WIDTH), 5 + classes), np.float32)
    raw[:, :2] = rng.normal(0.5, 1, (len(raw), 2))
    raw[:, 2:4] = rng.normal(0, 1, (len(raw), 2))
    raw[:, 4:] = rng.random((len(raw), 1 + classes))
    return raw


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_published_decoding(seed, threshold):
    object_ids = np.array([4, -1, 0, -1, 2, 2, -1])
    raw = _random_raw(seed)
    boxes, scores, ids = decode_yolox(raw, object_ids, HEIGHT, WIDTH, threshold)
    want_boxes, want_scores, want_ids = _oracle(raw, object_ids, HEIGHT, WIDTH, threshold)
    np.testing.assert_allclose(boxes, want_boxes, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(scores, want_scores, rtol=1e-6)
    np.testing.assert_array_equal(ids, want_ids)
    assert (boxes.dtype, scores.dtype, ids.dtype) == (np.float32, np.float32, np.int64)


def test_nothing_above_the_threshold_is_empty():
    boxes, scores, ids = decode_yolox(_random_raw(0) * 0, np.zeros(7, np.int64), HEIGHT, WIDTH, 0.1)
    assert boxes.shape == (0, 4)
    assert scores.shape == ids.shape == (0,)


def test_unwanted_classes_never_come_out():
    assert len(decode_yolox(_random_raw(1), np.full(7, -1), HEIGHT, WIDTH, 0.0)[0]) == 0


@pytest.mark.parametrize("column", range(6))
@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_rows_of_impossible_numbers_are_left_out(column, value):
    raw = np.full((yolox_row_count(HEIGHT, WIDTH), 6), 0.5, np.float32)
    raw[10, column] = value
    boxes, scores, _ = decode_yolox(raw, np.zeros(1, np.int64), HEIGHT, WIDTH, 0.1)
    assert len(boxes) == len(scores) == len(raw) - 1
    assert np.isfinite(boxes).all()
    assert (scores == 0.25).all()


def test_equal_classes_take_the_first():
    raw = np.full((yolox_row_count(HEIGHT, WIDTH), 8), 0.5, np.float32)
    assert set(decode_yolox(raw, np.array([-1, 6, 3]), HEIGHT, WIDTH, 0.1)[2]) == {6}


def test_any_layout_and_dtype_is_taken():
    raw = _random_raw(2)
    want = decode_yolox(raw, np.arange(7), HEIGHT, WIDTH, 0.3)
    for other in (np.asfortranarray(raw), raw.astype(np.float64)):
        for got, expected in zip(decode_yolox(other, np.arange(7), HEIGHT, WIDTH, 0.3), want, strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("shape", [(10, 12), (126, 11), (126, 13), (0, 12)])
def test_wrong_shapes_say_what_was_expected(shape):
    with pytest.raises(ValueError, match=r"must be \(126, 12\) for input 96x64 but got shape"):
        decode_yolox(np.zeros(shape, np.float32), np.zeros(7, np.int64), HEIGHT, WIDTH, 0.5)
