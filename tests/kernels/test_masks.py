"""Run lengths against pycocotools, outlines against OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from perception.kernels.masks import mask_outline, rle_areas, rle_decode, rle_encode, rle_iou


def blobs(seed: int, height: int = 40, width: int = 55) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(height, width)).astype(np.float32)
    return (cv2.GaussianBlur(noise, (0, 0), 3) > 0.02).astype(np.uint8)


@pytest.mark.parametrize("mask", [blobs(0), blobs(1), np.zeros((3, 4)), np.ones((3, 4)), np.eye(5), np.zeros((0, 7))])
def test_runs_come_back(mask: np.ndarray) -> None:
    counts = rle_encode(mask)
    assert counts.sum() == mask.size
    np.testing.assert_array_equal(rle_decode(counts, *mask.shape), mask)
    assert rle_areas([counts])[0] == np.count_nonzero(mask)


def test_runs_are_cocos() -> None:
    tools = pytest.importorskip("pycocotools.mask")
    mask = blobs(3)
    coco = tools.encode(np.asfortranarray(mask))
    uncompressed = tools.frPyObjects({"size": list(mask.shape), "counts": rle_encode(mask).tolist()}, *mask.shape)
    assert uncompressed["counts"] == coco["counts"]


def test_overlap_of_runs_is_overlap_of_pixels() -> None:
    a, b = [blobs(i) for i in range(4)], [*(blobs(i) for i in range(4, 7)), np.zeros((40, 55))]
    found = rle_iou([rle_encode(m) for m in a], [rle_encode(m) for m in b])
    for i, j in np.ndindex(4, 4):
        union = ((a[i] > 0) | (b[j] > 0)).sum()
        assert found[i, j] == pytest.approx(((a[i] > 0) & (b[j] > 0)).sum() / union)
    assert rle_iou([rle_encode(np.zeros((2, 2)))], [rle_encode(np.zeros((2, 2)))])[0, 0] == 0.0
    assert rle_iou([], []).shape == (0, 0)


def test_bad_runs_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to 2x2"):
        rle_decode([1, 2], 2, 2)
    with pytest.raises(ValueError, match="negative"):
        rle_decode([5, -1], 2, 2)
    with pytest.raises(ValueError, match="one size"):
        rle_iou([[4]], [[5]])


@pytest.mark.parametrize("seed", range(6))
def test_outlines_are_opencvs(seed: int) -> None:
    mask = blobs(seed)
    expected, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    found = mask_outline(mask)
    as_sets = {frozenset(map(tuple, part.tolist())) for part in found}
    assert as_sets == {frozenset(map(tuple, part[:, 0].tolist())) for part in expected}
    for part in found:
        steps = np.abs(np.diff(np.concatenate([part, part[:1]]), axis=0)).max(axis=1)
        assert (steps <= 1).all(), "an outline is a chain of neighbours"


def test_single_pixels_and_nothing() -> None:
    assert mask_outline(np.zeros((4, 4))) == []
    assert [part.tolist() for part in mask_outline(np.diag([0, 0, 1]))] == [[[2, 2]]]
