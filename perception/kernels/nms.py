"""Greedy non-maximum suppression of axis-aligned boxes, plain and class-wise.

A box falls when it overlaps a kept box of higher score by more than the threshold; equal scores keep their input order
(as torchvision does). Scores are sorted by a radix sort of their bits; each candidate is compared with blocks of
kept boxes in SIMD and leaves at the first block that holds a suppressor.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from perception.kernels.checks import as_array

__all__ = ["class_nms", "nms"]

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]


def nms(boxes_xyxy: npt.ArrayLike, scores: npt.ArrayLike, iou_threshold: float) -> Int64Array:
    """Greedy suppression regardless of class.

    Args:
        boxes_xyxy: (N, 4) corners.
        scores: (N,) finite; only their order counts.
        iou_threshold: boxes that overlap by more than this fall.

    Returns:
        (K,) rows that stay, best first.

    Raises:
        ValueError: a shape is wrong, or a row holds NaN, infinity or corners out of order.

    >>> nms([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], [0.8, 0.9, 0.7], 0.5).tolist()
    [1, 2]
    """
    boxes, score = _checked(boxes_xyxy, scores)
    return _result(_nms(boxes, score, _NO_CLASSES, np.float32(iou_threshold)), boxes, score)


def class_nms(
    boxes_xyxy: npt.ArrayLike, scores: npt.ArrayLike, class_ids: npt.ArrayLike, iou_threshold: float
) -> Int64Array:
    """Greedy suppression within each class.

    Args:
        boxes_xyxy: (N, 4) corners.
        scores: (N,) finite; only their order counts.
        class_ids: (N,) whole numbers that fit 32 bits; each value is a class, known or not.
        iou_threshold: boxes of one class that overlap by more than this fall.

    Returns:
        (K,) rows that stay, best first.

    Raises:
        ValueError: a shape is wrong, or a row holds NaN, infinity or corners out of order.
    """
    boxes, score = _checked(boxes_xyxy, scores)
    classes = as_array("class_ids", class_ids, np.int32, (len(boxes),))
    return _result(_nms(boxes, score, classes, np.float32(iou_threshold)), boxes, score)


_NO_CLASSES = np.zeros(0, np.int32)


def _checked(boxes_xyxy: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Float32Array, Float32Array]:
    boxes = as_array("boxes_xyxy", boxes_xyxy, np.float32, (None, 4))
    return boxes, as_array("scores", scores, np.float32, (len(boxes),))


def _result(kept: Int64Array, boxes: Float32Array, scores: Float32Array) -> Int64Array:
    if len(kept) and kept[0] < 0:
        row = -int(kept[0]) - 1
        raise ValueError(
            f"boxes must be finite with x1 <= x2 and y1 <= y2 and scores finite, but row {row} is "
            f"{boxes[row].tolist()} with score {scores[row]}"
        )
    return kept


@njit("uint32[::1](float32[::1])", cache=True, nogil=True)
def _descending(scores):  # type: ignore[no-untyped-def]
    """Rows by falling score, stable: radix sort of the float's bits, turned so that they fall as unsigned integers."""
    count = scores.size
    keys = np.empty(count, np.uint32)
    bits = scores.view(np.uint32)
    sign = np.uint32(0x80000000)
    for i in range(count):
        key = bits[i]
        if key == sign:  # minus zero ties with zero
            key = np.uint32(0)
        keys[i] = key if key & sign else ~(key | sign) & np.uint32(0xFFFFFFFF)
    order = np.empty(count, np.uint32)
    for i in range(count):
        order[i] = i
    if count <= 64:
        for i in range(1, count):
            row, key, j = order[i], keys[order[i]], i - 1
            while j >= 0 and keys[order[j]] > key:
                order[j + 1] = order[j]
                j -= 1
            order[j + 1] = row
        return order
    other = np.empty(count, np.uint32)
    digits = np.zeros((4, 256), np.int64)
    for i in range(count):
        key = keys[i]
        for digit in range(4):
            digits[digit, (key >> np.uint32(8 * digit)) & np.uint32(255)] += 1
    for digit in range(4):
        histogram = digits[digit]
        shift = np.uint32(8 * digit)
        if histogram[(keys[0] >> shift) & np.uint32(255)] == count:
            continue
        start = 0
        for value in range(256):
            here = histogram[value]
            histogram[value] = start
            start += here
        for i in range(count):
            row = order[i]
            value = (keys[row] >> shift) & np.uint32(255)
            other[histogram[value]] = row
            histogram[value] += 1
        order, other = other, order
    return order


@njit("int64[::1](float32[:, ::1], float32[::1], int32[::1], float32)", cache=True, nogil=True)
def _nms(boxes, scores, classes, threshold):  # type: ignore[no-untyped-def]
    count = boxes.shape[0]
    zero = np.float32(0.0)
    kept = np.empty(max(count, 1), np.int64)
    for i in range(count):
        x1, y1, x2, y2 = boxes[i, 0], boxes[i, 1], boxes[i, 2], boxes[i, 3]
        # infinite or NaN corners make the sum of the differences NaN or infinite
        span = (x2 - x1) + (y2 - y1)
        if not (x2 >= x1 and y2 >= y1 and np.isfinite(span) and np.isfinite(x1 + y1) and np.isfinite(scores[i])):
            kept[0] = -i - 1
            return kept[:1]
    order = _descending(scores)
    by_class = classes.size > 0
    # kept boxes lie in columns padded with boxes that nothing overlaps, so that every block is whole: with a constant
    # count and a sum instead of a condition the inner loop becomes SIMD
    block = 32
    far = np.float32(1e18)  # small enough that differences stay finite
    kx1, ky1 = np.full(count + block, far), np.full(count + block, far)
    kx2, ky2 = np.full(count + block, -far), np.full(count + block, -far)
    karea = np.zeros(count + block, np.float32)
    kclass = np.zeros(count + block, np.int32)
    found = 0
    for position in range(count):
        row = order[position]
        x1, y1, x2, y2 = boxes[row, 0], boxes[row, 1], boxes[row, 2], boxes[row, 3]
        area = (x2 - x1) * (y2 - y1)
        own_class = classes[row] if by_class else np.int32(0)
        fallen = False
        start = 0
        while start < found:
            hits = np.int32(0)
            for k in range(start, start + block):
                left = x1 if x1 > kx1[k] else kx1[k]
                top = y1 if y1 > ky1[k] else ky1[k]
                right = x2 if x2 < kx2[k] else kx2[k]
                bottom = y2 if y2 < ky2[k] else ky2[k]
                width = right - left
                height = bottom - top
                width = width if width > zero else zero
                height = height if height > zero else zero
                inter = width * height
                over = np.int32(inter > threshold * (area + karea[k] - inter))
                hits += over * np.int32(kclass[k] == own_class)
            if hits > 0:
                fallen = True
                break
            start += block
        if not fallen:
            kx1[found], ky1[found], kx2[found], ky2[found], karea[found] = x1, y1, x2, y2, area
            kclass[found] = own_class
            kept[found] = row
            found += 1
    return kept[:found].copy()
