"""Buffers that the rasteriser fills, and the calls that fill them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim_data.kernels.raster import SETUP_COLUMNS, rasterise, setup_triangles
from sim_data.mesh import MeshLibrary

__all__ = ["VisibleTriangles"]

Array = npt.NDArray[np.float64]


@dataclass(slots=True, eq=False)
class VisibleTriangles:
    """Buffers of one view, kept from frame to frame.

    Attributes:
        planes: (M, ``SETUP_COLUMNS``) of triangles, with ``boxes`` (M, 4) and ``sources`` (M, 2).
        boxes: as above.
        sources: as above.
        nearness: (H, W) of the samples; ``ids`` (H, W) their rows of ``planes``, of no size where nobody asks for them.
        count: rows in use.
    """

    planes: Array
    boxes: npt.NDArray[np.int32]
    sources: npt.NDArray[np.int32]
    nearness: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int32]
    count: int = 0

    @classmethod
    def sized(cls, height: int, width: int, capacity: int = 60_000, *, ids: bool = True) -> VisibleTriangles:
        """Buffers of a sample grid."""
        return cls(
            np.empty((capacity, SETUP_COLUMNS)),
            np.empty((capacity, 4), np.int32),
            np.empty((capacity, 2), np.int32),
            np.zeros((height, width), np.float32),
            np.full((height, width) if ids else (0, 0), -1, np.int32),
        )

    def draw(
        self, library: MeshLibrary, masks: npt.NDArray[np.uint8], mesh: npt.NDArray[np.int64], linear: Array,
        offset: Array, grid: Array, *, parallel: bool = False,
    ) -> None:  # fmt: skip
        """Fills the view with placed meshes.

        Args:
            library: of the meshes; ``masks`` (L, S, S) their opacity.
            masks: as above.
            mesh: (I,) numbers in the library.
            linear: (I, 3, 3) from each mesh's frame to the view's; ``offset`` (I, 3) m.
            offset: as above.
            grid: fx, fy, cx, cy, width, height of the samples.
            parallel: whether rays are; then only ``nearness`` is filled.
        """
        arguments = (
            library.vertices, library.attributes, library.flags, library.first[mesh], library.last[mesh],
            np.ascontiguousarray(linear), np.ascontiguousarray(offset), grid, parallel,
        )  # fmt: skip
        self.count = setup_triangles(*arguments, self.planes, self.boxes, self.sources)
        if self.count > len(self.planes):
            self._grow(int(1.3 * self.count))
            self.count = setup_triangles(*arguments, self.planes, self.boxes, self.sources)
        rasterise(
            self.planes, self.boxes, self.sources, self.count, library.flags, masks, parallel,
            (0, len(self.nearness)), self.nearness, self.ids,
        )  # fmt: skip

    def _grow(self, capacity: int) -> None:
        self.planes = np.empty((capacity, SETUP_COLUMNS))
        self.boxes = np.empty((capacity, 4), np.int32)
        self.sources = np.empty((capacity, 2), np.int32)
