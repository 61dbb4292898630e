"""What the embedded network gives for one frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.models.street_layout import DENSE_STRIDE, SEMANTIC_STRIDE

__all__ = ["StreetOutput", "in_place"]

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class StreetOutput:
    """What the network gave for one frame, as it came.

    Attributes:
        boxes: (4 + C, A) f32: logarithms of edge distances in strides, then class logits, for every cell.
        solid: (8, A) f32 ``SOLID_CUES`` of every cell.
        embedding: (``EMBEDDING``, A) f32 of every cell.
        semantic_cells: (S, 4, h, w) f32: logits of four places, row by row, of every cell of ``DENSE_STRIDE``.
        box_cues: (4, h, w) f32 at ``DENSE_STRIDE`` input pixels per cell: log1p of the distances, in ``CUE_SCALE_PX``,
            to the edges of the cell's box.
        log_depth: (h, w) f32 at ``DENSE_STRIDE``: logarithm of the depth in m as for a camera of ``DEPTH_FOCAL_PX``.
        input_hw: height and width of the network's input.
        image_hw: height and width of the frame's image.
    """

    boxes: Float32Array
    solid: Float32Array
    embedding: Float32Array
    semantic_cells: Float32Array
    box_cues: Float32Array
    log_depth: Float32Array
    input_hw: tuple[int, int]
    image_hw: tuple[int, int]

    @property
    def semantic_logits(self) -> Float32Array:
        """(S, h, w) f32 at ``SEMANTIC_STRIDE`` input pixels per cell: a copy with every place where it lies."""
        return in_place(self.semantic_cells)


def in_place(semantic_cells: Float32Array) -> Float32Array:
    """(S, 4, h, w) ``StreetOutput.semantic_cells`` to (S, 2h, 2w): a copy with every place where it lies."""
    classes, _, rows, columns = semantic_cells.shape
    side = DENSE_STRIDE // SEMANTIC_STRIDE
    places = semantic_cells.reshape(classes, side, side, rows, columns).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(places.reshape(classes, side * rows, side * columns))
