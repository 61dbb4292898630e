"""Decodes the raw output of a YOLOX network (Ge et al. 2021, https://arxiv.org/abs/2107.08430)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["YOLOX_STRIDES", "decode_yolox", "yolox_row_count"]

YOLOX_STRIDES = (8, 16, 32)

# what lies beyond is no box but a number gone wrong
_FARTHEST_PX = 1e6
_LARGEST_LOG_SIZE = 15.0

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]


def yolox_row_count(height_px: int, width_px: int) -> int:
    """Grid cells of all strides, which is the number of rows a network of that input size gives.

    >>> yolox_row_count(416, 416)
    3549
    """
    return sum((height_px // stride) * (width_px // stride) for stride in YOLOX_STRIDES)


def decode_yolox(
    raw: Float32Array, object_ids: Int64Array, height_px: int, width_px: int, score_threshold: float
) -> tuple[Float32Array, Float32Array, Int64Array]:
    """Boxes of every grid cell whose best wanted class reaches the threshold.

    Centre = (xy + cell) * stride, size = exp(wh) * stride, score = objectness * class.

    Args:
        raw: (M, 5 + C) f32, a row per cell: x, y, w, h, objectness, classes; strides 8, 16, 32, each row by row.
        object_ids: (C,) i64, the id to give each class, or -1 for one that is not wanted.
        height_px: of the network's input.
        width_px: of the network's input.
        score_threshold: rows below are left out, as are rows of numbers that are no box or no probability.

    Returns:
        boxes (N, 4) f32 x1, y1, x2, y2 in input pixels, not clipped; scores (N,) f32; ids (N,) i64.

    Raises:
        ValueError: the shapes do not belong together.
    """
    raw = np.require(raw, np.float32, "C")
    object_ids = np.require(object_ids, np.int64, "C")
    wanted = (yolox_row_count(height_px, width_px), 5 + len(object_ids))
    if raw.shape != wanted:
        raise ValueError(f"raw must be {wanted} for input {width_px}x{height_px} but got shape {raw.shape}")
    boxes, scores, ids, count = _decode(raw, object_ids, height_px, width_px, score_threshold)
    return boxes[:count], scores[:count], ids[:count]


@njit(
    "Tuple((float32[:, ::1], float32[::1], int64[::1], int64))(float32[:, ::1], int64[::1], int64, int64, float64)",
    cache=True,
    nogil=True,
)
def _decode(raw, object_ids, height_px, width_px, score_threshold):  # type: ignore[no-untyped-def]
    boxes = np.empty((len(raw), 4), np.float32)
    scores = np.empty(len(raw), np.float32)
    ids = np.empty(len(raw), np.int64)
    count = 0
    row = 0
    for stride in YOLOX_STRIDES:
        for cell_y in range(height_px // stride):
            for cell_x in range(width_px // stride):
                cell = raw[row]
                row += 1
                objectness = cell[4]
                # class probabilities are at most 1, so most cells are done here
                if not objectness >= score_threshold:
                    continue
                best = np.float32(-1.0)
                best_id = -1
                for column in range(len(object_ids)):
                    if object_ids[column] >= 0 and cell[5 + column] > best:
                        best = cell[5 + column]
                        best_id = object_ids[column]
                score = objectness * best
                if best_id < 0 or not score_threshold <= score <= 1.0:
                    continue
                centre_x = (cell[0] + cell_x) * stride
                centre_y = (cell[1] + cell_y) * stride
                half_width = np.exp(min(cell[2], _LARGEST_LOG_SIZE)) * stride / 2
                half_height = np.exp(min(cell[3], _LARGEST_LOG_SIZE)) * stride / 2
                # false for NaN as well
                if not (abs(centre_x) + half_width < _FARTHEST_PX and abs(centre_y) + half_height < _FARTHEST_PX):
                    continue
                boxes[count, 0] = centre_x - half_width
                boxes[count, 1] = centre_y - half_height
                boxes[count, 2] = centre_x + half_width
                boxes[count, 3] = centre_y + half_height
                scores[count] = score
                ids[count] = best_id
                count += 1
    return boxes, scores, ids, count
