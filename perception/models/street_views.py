"""Several looks at one picture, mirrored or at other sizes, made to agree: second opinions on the picture itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from perception.models.street_layout import BOX_STRIDES, DENSE_STRIDE, SEMANTIC_STRIDE, SOLID_CUES
from perception.models.street_output import StreetOutput

__all__ = ["depth_of_views", "finest", "semantic_of_views", "turned_back"]

# left, top, right, bottom
_EDGES = [2, 1, 0, 3]
# an angle a is seen as pi - a, and what lay to the right of a cell lies to its left
_NEGATED = [SOLID_CUES.index("cos_alpha"), SOLID_CUES.index("centre_u")]


def turned_back(output: StreetOutput) -> StreetOutput:
    """The output of a mirrored picture as if it were of the picture.

    Sides of the network's input are multiples of every stride, so that mirrored cells fall on cells.
    """
    cells = _mirrored_cells(*output.input_hw)
    boxes = output.boxes[:, cells]
    boxes[:4] = boxes[_EDGES]
    solid = output.solid[:, cells]
    solid[_NEGATED] *= -1
    side = DENSE_STRIDE // SEMANTIC_STRIDE
    places = np.arange(side * side).reshape(side, side)[:, ::-1].ravel()
    return dataclasses.replace(
        output,
        boxes=boxes,
        solid=solid,
        embedding=output.embedding[:, cells],
        semantic_cells=np.ascontiguousarray(output.semantic_cells[:, places, :, ::-1]),
        box_cues=np.ascontiguousarray(output.box_cues[_EDGES][:, :, ::-1]),
        log_depth=np.ascontiguousarray(output.log_depth[:, ::-1]),
    )


def finest(views: Sequence[StreetOutput]) -> StreetOutput:
    """The view of most pixels; of several the first, which is not mirrored."""
    return max(views, key=lambda view: view.input_hw[0] * view.input_hw[1])


def semantic_of_views(views: Sequence[StreetOutput]) -> npt.NDArray[np.float32]:
    """(S, 4, h, w) f32 as ``StreetOutput.semantic_cells``: the mean of all views, in the cells of the finest."""
    if len(views) == 1:
        return views[0].semantic_cells
    classes, places, rows, columns = finest(views).semantic_cells.shape
    side = DENSE_STRIDE // SEMANTIC_STRIDE
    total = np.zeros((classes, places, rows, columns), np.float32)
    for view in views:
        if view.semantic_cells.shape == total.shape:
            total += view.semantic_cells
            continue
        for mean, plane in zip(total, view.semantic_logits, strict=True):
            enlarged = np.asarray(cv2.resize(plane, (side * columns, side * rows)), np.float32)
            mean += enlarged.reshape(rows, side, columns, side).transpose(1, 3, 0, 2).reshape(mean.shape)
    return np.asarray(total / len(views), np.float32)


def depth_of_views(views: Sequence[StreetOutput]) -> npt.NDArray[np.float32]:
    """(h, w) f32 as ``StreetOutput.log_depth``: the mean of the views that are of the first one's size.

    Nearer looks at the picture are no better at telling how far things are.
    """
    of_a_size = [view.log_depth for view in views if view.input_hw == views[0].input_hw]
    return of_a_size[0] if len(of_a_size) == 1 else np.asarray(np.mean(of_a_size, axis=0), np.float32)


def _mirrored_cells(height_px: int, width_px: int) -> npt.NDArray[np.int64]:
    """(A,) the cell that lies where each one does, left and right exchanged."""
    first, parts = 0, []
    for stride in BOX_STRIDES:
        rows, columns = height_px // stride, width_px // stride
        grid = first + np.arange(rows * columns).reshape(rows, columns)
        parts.append(grid[:, ::-1].ravel())
        first += rows * columns
    return np.concatenate(parts)
