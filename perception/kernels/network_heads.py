"""Around the street network: an image to its input, its outputs to boxes, classes of pixels and objects of pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["assign_pixels", "cell_centres", "cells_of_boxes", "decode_cells", "image_planes", "upsampled_argmax"]

Float32Array = npt.NDArray[np.float32]

_LARGEST_LOG_EDGE = 6.0


def image_planes(image: npt.NDArray[np.uint8], mean: Float32Array, deviation: Float32Array) -> Float32Array:
    """An image as a network takes it: one plane per channel, of mean 0 and deviation 1 over the training images.

    Args:
        image: (H, W, 3) u8.
        mean: (3,) f32 of the channels, 0 ... 255.
        deviation: (3,) f32 of the channels, 0 ... 255.

    Returns:
        (1, 3, H, W) f32.

    Raises:
        ValueError: a shape is wrong.
    """
    image = np.require(image, np.uint8, ("C", "W"))
    scale, shift = np.require(1.0 / deviation, np.float32, "C"), np.require(-mean / deviation, np.float32, "C")
    if image.ndim != 3 or image.shape[2] != 3 or scale.shape != (3,) or shift.shape != (3,):
        raise ValueError(
            f"image must be (H, W, 3), mean and deviation (3,) but got shapes {image.shape}, {np.shape(mean)} and "
            f"{np.shape(deviation)}"
        )
    out = np.empty((1, 3, *image.shape[:2]), np.float32)
    _planes(image.reshape(-1, 3), scale, shift, out.reshape(3, -1))
    return out


@njit("void(uint8[:, ::1], float32[::1], float32[::1], float32[:, ::1])", cache=True, nogil=True)
def _planes(pixels, scale, shift, out):  # type: ignore[no-untyped-def]
    for channel in range(3):
        plane, factor, offset = out[channel], scale[channel], shift[channel]
        for pixel in range(len(pixels)):
            plane[pixel] = pixels[pixel, channel] * factor + offset


def decode_cells(
    raw: Float32Array, height_px: int, width_px: int, strides: tuple[int, ...], score_threshold: float
) -> tuple[Float32Array, Float32Array, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Boxes of every cell whose best class reaches the threshold.

    Args:
        raw: (4 + C, A) f32: logarithms of the distances left, top, right, bottom from the cell's centre in strides,
            then class logits; cells row by row, one stride after the other.
        height_px: of the network's input.
        width_px: of the network's input.
        strides: of the cell grids.
        score_threshold: rows below are left out, as are those with a NaN.

    Returns:
        boxes (N, 4) f32 x1, y1, x2, y2 in input pixels, not clipped; scores (N,) f32; class ids (N,) i64; the cells
        that they come from (N,) i64.

    Raises:
        ValueError: the shapes do not belong together.
    """
    raw = np.require(raw, np.float32, "C")
    steps = np.array(strides, np.int64)
    cells = int(((height_px // steps) * (width_px // steps)).sum())
    if raw.ndim != 2 or raw.shape[0] < 5 or raw.shape[1] != cells:
        raise ValueError(f"raw must be (4 + C, {cells}) for input {width_px}x{height_px} but got shape {raw.shape}")
    # compared as a logit, so that most cells need no exponential
    least = float(np.log(score_threshold / (1.0 - score_threshold))) if 0.0 < score_threshold < 1.0 else -np.inf
    if score_threshold >= 1.0:
        least = np.inf
    boxes, scores, ids, origins, count = _decode(raw, height_px, width_px, steps, least)
    return boxes[:count], scores[:count], ids[:count], origins[:count]


def cell_centres(
    cells: npt.NDArray[np.int64], height_px: int, width_px: int, strides: tuple[int, ...]
) -> tuple[Float32Array, Float32Array]:
    """Where cells lie.

    Args:
        cells: (N,) i64, counted row by row, one stride after the other.
        height_px: of the network's input.
        width_px: of the network's input.
        strides: of the cell grids.

    Returns:
        centres (N, 2) f32 u, v in input pixels; strides (N,) f32.

    Raises:
        ValueError: a cell is out of range.
    """
    steps = np.array(strides, np.int64)
    counts = (height_px // steps) * (width_px // steps)
    if len(cells) and not (cells.min() >= 0 and cells.max() < counts.sum()):
        raise ValueError(f"cells must be 0 ... {counts.sum() - 1} but got {cells.min()} ... {cells.max()}")
    ends = np.cumsum(counts)
    level = np.searchsorted(ends, cells, side="right")
    place = cells - (ends - counts)[level]
    stride = steps[level]
    row, column = np.divmod(place, width_px // stride)
    centres = np.stack([(column + 0.5) * stride, (row + 0.5) * stride], axis=1)
    return centres.astype(np.float32), stride.astype(np.float32)


@njit(
    "Tuple((float32[:, ::1], float32[::1], int64[::1], int64[::1], int64))"
    "(float32[:, ::1], int64, int64, int64[::1], float64)",
    cache=True,
    nogil=True,
)
def _decode(raw, height_px, width_px, strides, least):  # type: ignore[no-untyped-def]
    cells = raw.shape[1]
    best = raw[4].copy()
    best_id = np.zeros(cells, np.int64)
    for row in range(5, raw.shape[0]):
        logits = raw[row]
        for cell in range(cells):
            if logits[cell] > best[cell]:
                best[cell] = logits[cell]
                best_id[cell] = row - 4
    count = 0
    for cell in range(cells):
        count += best[cell] >= least
    boxes = np.empty((count, 4), np.float32)
    scores = np.empty(count, np.float32)
    ids = np.empty(count, np.int64)
    origins = np.empty(count, np.int64)
    count = 0
    first = 0
    for stride in strides:
        columns = width_px // stride
        rows = height_px // stride
        for cell in range(first, first + rows * columns):
            if not best[cell] >= least:
                continue
            u = ((cell - first) % columns + 0.5) * stride
            v = ((cell - first) // columns + 0.5) * stride
            left = np.exp(min(raw[0, cell], _LARGEST_LOG_EDGE)) * stride
            top = np.exp(min(raw[1, cell], _LARGEST_LOG_EDGE)) * stride
            right = np.exp(min(raw[2, cell], _LARGEST_LOG_EDGE)) * stride
            bottom = np.exp(min(raw[3, cell], _LARGEST_LOG_EDGE)) * stride
            if not np.isfinite(left + top + right + bottom):
                continue
            boxes[count, 0] = u - left
            boxes[count, 1] = v - top
            boxes[count, 2] = u + right
            boxes[count, 3] = v + bottom
            scores[count] = 1.0 / (1.0 + np.exp(-best[cell]))
            ids[count] = best_id[cell]
            origins[count] = cell
            count += 1
        first += rows * columns
    return boxes, scores, ids, origins, count


def upsampled_argmax(
    logits: Float32Array, ids: npt.NDArray[np.uint8], height_px: int, width_px: int
) -> npt.NDArray[np.uint8]:
    """The best class of every pixel, as if the logits were enlarged bilinearly first (pixel centres aligned).

    Between four cells of one best class that class is best everywhere, since differences of bilinear functions are
    bilinear; only the other places are computed pixel by pixel, among the classes that are best at one of their four
    cells. A class that would be best only in between is left out: it is nowhere best at a cell.

    Args:
        logits: (C, 4, h, w) f32: of four places in every coarser cell, row by row, which is how the network gives them.
        ids: (C,) u8, the id to write for each class.
        height_px: of the result.
        width_px: of the result.

    Returns:
        (height_px, width_px) u8.

    Raises:
        ValueError: the shapes do not belong together.
    """
    logits = np.require(logits, np.float32, "C")
    ids = np.require(ids, np.uint8, "C")
    if logits.ndim != 4 or logits.size == 0 or logits.shape[1] != 4 or ids.shape != logits.shape[:1]:
        raise ValueError(f"logits must be (C, 4, h, w) and ids (C,) but got shapes {logits.shape} and {ids.shape}")
    out = np.empty((height_px, width_px), np.uint8)
    _argmax(logits, ids, out)
    return out


@njit("void(float32[:, :, :, ::1], uint8[::1], uint8[:, ::1])", cache=True, nogil=True)
def _argmax(logits, ids, out):  # type: ignore[no-untyped-def]
    classes, _, coarse_rows, coarse_columns = logits.shape
    rows, columns = 2 * coarse_rows, 2 * coarse_columns
    height, width = out.shape
    best = np.empty((rows, columns), np.int32)
    top = np.empty(coarse_columns, np.float32)
    winner = np.empty(coarse_columns, np.int32)
    for row in range(rows):
        for side in range(2):
            place = 2 * (row % 2) + side
            top[:] = logits[0, place, row // 2]
            winner[:] = 0
            for c in range(1, classes):
                plane = logits[c, place, row // 2]
                for column in range(coarse_columns):
                    # two selections without a branch, which become vector instructions
                    value, before = plane[column], top[column]
                    winner[column] = np.int32(c) if value > before else winner[column]
                    top[column] = value if value > before else before
            for column in range(coarse_columns):
                best[row, 2 * column + side] = winner[column]
    # where each band of pixels between two neighbouring cells begins; the first and last reach to the border
    start_u = np.empty(columns + 2, np.int64)
    start_v = np.empty(rows + 2, np.int64)
    for side in range(2):
        starts, count, length = (start_u, columns, width) if side == 0 else (start_v, rows, height)
        starts[0] = 0
        for cell in range(count):
            # first pixel whose centre is at or behind the cell's centre
            starts[cell + 1] = min(length, max(0, int(np.ceil((cell + 0.5) * length / count - 0.5))))
        starts[count + 1] = length
    scale_u, scale_v = columns / width, rows / height
    able = np.empty(4, np.int64)
    corners = np.empty((4, 4), np.float32)
    a, b, c, d = corners[0], corners[1], corners[2], corners[3]
    for band_v in range(rows + 1):
        above, below = max(band_v - 1, 0), min(band_v, rows - 1)
        first_v, last_v = start_v[band_v], start_v[band_v + 1]
        band_u = 0
        while band_u <= columns:
            left, right = max(band_u - 1, 0), min(band_u, columns - 1)
            first_u = start_u[band_u]
            one = best[above, left]
            if best[below, left] == one and best[above, right] == one and best[below, right] == one:
                # as far as nothing changes, rows are filled in one go
                while band_u < columns:
                    right = min(band_u + 1, columns - 1)
                    if best[above, right] != one or best[below, right] != one:
                        break
                    band_u += 1
                for v in range(first_v, last_v):
                    out[v, first_u : start_u[band_u + 1]] = ids[one]
                band_u += 1
                continue
            able[0] = one
            count = 1
            for other in (best[above, right], best[below, left], best[below, right]):
                known = False
                for index in range(count):
                    known |= able[index] == other
                if not known:
                    able[count] = other
                    count += 1
            for index in range(count):
                upper, lower = logits[able[index], :, above >> 1], logits[able[index], :, below >> 1]
                a[index] = upper[(above & 1) * 2 + (left & 1), left >> 1]
                b[index] = upper[(above & 1) * 2 + (right & 1), right >> 1]
                c[index] = lower[(below & 1) * 2 + (left & 1), left >> 1]
                d[index] = lower[(below & 1) * 2 + (right & 1), right >> 1]
            for v in range(first_v, last_v):
                weight_v = np.float32((v + 0.5) * scale_v - 0.5 - above) if below > above else np.float32(0.0)
                for u in range(first_u, start_u[band_u + 1]):
                    weight_u = np.float32((u + 0.5) * scale_u - 0.5 - left) if right > left else np.float32(0.0)
                    top_value = np.float32(-np.inf)
                    top_class = np.int64(one)
                    for index in range(count):
                        over = a[index] + (b[index] - a[index]) * weight_u
                        under = c[index] + (d[index] - c[index]) * weight_u
                        value = over + (under - over) * weight_v
                        # of equals the first in the list of classes
                        if value > top_value or (value == top_value and able[index] < top_class):
                            top_value = value
                            top_class = able[index]
                    out[v, u] = ids[top_class]
            band_u += 1


def cells_of_boxes(
    cue: Float32Array, cue_scale_px: float, boxes_xyxy: Float32Array, trust: Float32Array,
    groups: npt.NDArray[np.int64], group_count: int, stride: int,
) -> npt.NDArray[np.int16]:  # fmt: skip
    """Which box each cell belongs to, for each group of classes: the one that agrees best with the box it predicts.

    Args:
        cue: (4, h, w) f32: ``log1p(distance / cue_scale_px)`` from the cell's centre to the box's left, top, right,
            bottom edge.
        cue_scale_px: see ``cue``.
        boxes_xyxy: (N, 4) f32 in input pixels.
        trust: (N,) f32 that a box's agreement is multiplied by, so that a doubtful box takes nothing from a sure one.
        groups: (N,) i64, the group of each box; -1 takes no cell.
        group_count: number of groups.
        stride: input pixels per cell.

    Returns:
        (group_count, h, w) i16 rows of ``boxes_xyxy``; -1 outside every box of the group, plus a margin of one cell.

    Raises:
        ValueError: the shapes do not belong together, or a group is out of range.
    """
    cue = np.require(cue, np.float32, "C")
    boxes = np.require(boxes_xyxy, np.float32, "C")
    groups, trust = np.require(groups, np.int64, "C"), np.require(trust, np.float32, "C")
    is_table = cue.ndim == 3 and cue.shape[0] == 4 and boxes.ndim == 2 and boxes.shape[1] == 4
    if not is_table or not groups.shape == trust.shape == boxes.shape[:1]:
        raise ValueError(
            f"cue must be (4, h, w), boxes_xyxy (N, 4), trust and groups (N,) but got shapes {cue.shape}, "
            f"{boxes.shape}, {trust.shape} and {groups.shape}"
        )
    if len(groups) and not (-1 <= groups.min() and groups.max() < group_count):
        raise ValueError(f"groups must be -1 ... {group_count - 1} but got {groups.min()} ... {groups.max()}")
    out = np.full((group_count, *cue.shape[1:]), -1, np.int16)
    _cells(cue, cue_scale_px, boxes, trust, groups, stride, out)
    return out


@njit(
    "void(float32[:, :, ::1], float64, float32[:, ::1], float32[::1], int64[::1], int64, int16[:, :, ::1])",
    cache=True,
    nogil=True,
)
def _cells(cue, cue_scale_px, boxes, trust, groups, stride, out):  # type: ignore[no-untyped-def]
    rows, columns = cue.shape[1:]
    agreement = np.full(out.shape, -1.0, np.float32)
    least_area = np.empty(out.shape, np.float32)
    predicted = np.empty((rows, columns, 4), np.float32)
    is_predicted = np.zeros((rows, columns), np.bool_)
    for n in range(len(boxes)):
        group = groups[n]
        if group < 0:
            continue
        x1, y1, x2, y2 = boxes[n]
        area = (x2 - x1) * (y2 - y1)
        for row in range(max(0, int(y1 / stride) - 1), min(rows, int(y2 / stride) + 2)):
            for column in range(max(0, int(x1 / stride) - 1), min(columns, int(x2 / stride) + 2)):
                box = predicted[row, column]
                if not is_predicted[row, column]:
                    is_predicted[row, column] = True
                    for side in range(4):
                        reach = cue_scale_px * (np.exp(min(cue[side, row, column], _LARGEST_LOG_EDGE)) - 1.0)
                        cell = column if side % 2 == 0 else row
                        box[side] = (cell + 0.5) * stride + (reach if side >= 2 else -reach)
                overlap_u = min(x2, box[2]) - max(x1, box[0])
                overlap_v = min(y2, box[3]) - max(y1, box[1])
                iou = np.float32(0.0)
                if overlap_u > 0 and overlap_v > 0:
                    overlap = overlap_u * overlap_v
                    iou = np.float32(overlap / ((box[2] - box[0]) * (box[3] - box[1]) + area - overlap)) * trust[n]
                # of boxes that agree equally badly the smaller one, which is the harder to hit by chance
                before = agreement[group, row, column]
                if iou > before or (iou == before and area < least_area[group, row, column]):
                    agreement[group, row, column] = iou
                    least_area[group, row, column] = area
                    out[group, row, column] = n


def assign_pixels(
    cells: npt.NDArray[np.int16],
    semantic_ids: npt.NDArray[np.uint8],
    group_of_semantic: npt.NDArray[np.int64],
    boxes_xyxy: Float32Array,
) -> npt.NDArray[np.int32]:
    """Gives the pixels of things to boxes, by the cell that they lie in.

    Args:
        cells: (G, h, w) i16 rows of ``boxes_xyxy`` for each group, -1 for none, over the whole image.
        semantic_ids: (H, W) u8 class of every pixel.
        group_of_semantic: (256,) i64 group of every class, -1 for what is no thing.
        boxes_xyxy: (N, 4) f32 in image pixels; no pixel outside a box belongs to it.

    Returns:
        (H, W) i32 rows of ``boxes_xyxy``, -1 for background.

    Raises:
        ValueError: the shapes do not belong together.
    """
    cells = np.require(cells, np.int16, "C")
    semantic = np.require(semantic_ids, np.uint8, "C")
    groups = np.require(group_of_semantic, np.int64, "C")
    boxes = np.require(boxes_xyxy, np.float32, "C")
    if cells.ndim != 3 or semantic.ndim != 2 or groups.shape != (256,) or boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"cells must be (G, h, w), semantic_ids (H, W), group_of_semantic (256,) and boxes_xyxy (N, 4) but got "
            f"shapes {cells.shape}, {semantic.shape}, {groups.shape} and {boxes.shape}"
        )
    if cells.size and (cells.max() >= len(boxes) or groups.max() >= len(cells)):
        raise ValueError(
            f"cells must name rows below {len(boxes)} and groups below {len(cells)} but got {cells.max()} and "
            f"{groups.max()}"
        )
    out = np.full(semantic.shape, -1, np.int32)
    if len(boxes):
        _pixels(cells, semantic, groups, boxes, out)
    return out


@njit("void(int16[:, :, ::1], uint8[:, ::1], int64[::1], float32[:, ::1], int32[:, ::1])", cache=True, nogil=True)
def _pixels(cells, semantic, groups, boxes, out):  # type: ignore[no-untyped-def]
    height, width = semantic.shape
    rows, columns = cells.shape[1:]
    start_u = np.empty(columns + 1, np.int64)
    for column in range(columns + 1):
        start_u[column] = int(np.ceil(column * width / columns - 0.5))
    for row in range(rows):
        row_v, next_v = int(np.ceil(row * height / rows - 0.5)), int(np.ceil((row + 1) * height / rows - 0.5))
        for group in range(len(cells)):
            for column in range(columns):
                n = cells[group, row, column]
                if n < 0:
                    continue
                first_u = max(start_u[column], int(np.ceil(boxes[n, 0] - 0.5)))
                last_u = min(start_u[column + 1], int(np.ceil(boxes[n, 2] - 0.5)))
                first_v = max(row_v, int(np.ceil(boxes[n, 1] - 0.5)))
                last_v = min(next_v, int(np.ceil(boxes[n, 3] - 0.5)))
                for v in range(first_v, last_v):
                    for u in range(first_u, last_u):
                        if groups[semantic[v, u]] == group:
                            out[v, u] = n
