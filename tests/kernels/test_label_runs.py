"""Compressed masks of a label map, against pycocotools."""

from __future__ import annotations

import numpy as np
import pytest

from perception.kernels.label_runs import compressed_masks

mask_tools = pytest.importorskip("pycocotools.mask", reason="pycocotools is the oracle")


def expected(labels: np.ndarray, count: int) -> list[bytes]:
    return [mask_tools.encode(np.asfortranarray((labels == k).astype(np.uint8)))["counts"] for k in range(count)]


@pytest.mark.parametrize("seed", range(6))
def test_noise_and_blocks_are_encoded_as_pycocotools_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.integers(-1, 4, (37, 53)).astype(np.int32)
    if seed % 2:
        labels = np.repeat(np.repeat(labels, 9, axis=0), 7, axis=1)
    assert compressed_masks(labels, 5) == expected(labels, 5)


@pytest.mark.parametrize("fill", [-1, 0, 1])
def test_whole_and_empty_images(fill: int) -> None:
    labels = np.full((480, 640), fill, np.int32)
    assert compressed_masks(labels, 2) == expected(labels, 2)


def test_masks_that_touch_the_ends_and_wrap_round_columns() -> None:
    labels = np.full((5, 4), -1, np.int32)
    labels[3:, 0] = labels[:2, 1] = 0
    labels[-1, -1] = 1
    labels[0, 0] = 2
    assert compressed_masks(labels, 3) == expected(labels, 3)


def test_no_labels_and_labels_out_of_range() -> None:
    assert compressed_masks(np.full((3, 3), -1, np.int32), 0) == []
    with pytest.raises(ValueError, match="below 2 but one is 7"):
        compressed_masks(np.full((3, 3), 7, np.int32), 2)
