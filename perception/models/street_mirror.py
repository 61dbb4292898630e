"""What the network says of a mirrored picture, turned back: a second opinion on the picture itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from perception.models.street_layout import BOX_STRIDES, DENSE_STRIDE, SEMANTIC_STRIDE, SOLID_CUES
from perception.models.street_output import StreetOutput

__all__ = ["turned_back"]

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


def _mirrored_cells(height_px: int, width_px: int) -> npt.NDArray[np.int64]:
    """(A,) the cell that lies where each one does, left and right exchanged."""
    first, parts = 0, []
    for stride in BOX_STRIDES:
        rows, columns = height_px // stride, width_px // stride
        grid = first + np.arange(rows * columns).reshape(rows, columns)
        parts.append(grid[:, ::-1].ravel())
        first += rows * columns
    return np.concatenate(parts)
