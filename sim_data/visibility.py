"""Buffers that the rasteriser fills, and the calls that fill them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim_data.kernels.culling import BLOCK, farthest_of_blocks, may_be_seen
from sim_data.kernels.raster import SETUP_COLUMNS, rasterise, setup_triangles
from sim_data.mesh import MeshLibrary

__all__ = ["VisibleTriangles"]

Array = npt.NDArray[np.float64]
# meshes that are drawn before one looks what they hide, and by how much the next such groups grow
_FIRST_GROUP, _GROWTH = 40, 3


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
        self, library: MeshLibrary, masks: npt.NDArray[np.int32], mesh: npt.NDArray[np.int64], linear: Array,
        offset: Array, grid: Array, *, parallel: bool = False,
    ) -> None:  # fmt: skip
        """Fills the view with placed meshes.

        Args:
            library: of the meshes; ``masks`` their opacity, from ``pack_masks``.
            masks: as above.
            mesh: (I,) numbers in the library.
            linear: (I, 3, 3) from each mesh's frame to the view's; ``offset`` (I, 3) m.
            offset: as above.
            grid: fx, fy, cx, cy, width, height of the samples.
            parallel: whether rays are.
        """
        self.count = 0
        self._add(library, masks, mesh, linear, offset, grid, parallel, 0)

    def draw_seen(
        self, library: MeshLibrary, masks: npt.NDArray[np.int32], mesh: npt.NDArray[np.int64], linear: Array,
        offset: Array, grid: Array,
    ) -> npt.NDArray[np.int64]:  # fmt: skip
        """Fills a pinhole view with placed meshes, nearest first, but for those that what is drawn already hides.

        Args:
            library: as for ``draw``, like all others.
            masks: as above.
            mesh: as above.
            linear: as above.
            offset: as above.
            grid: as above.

        Returns:
            (D,) the meshes that were drawn, which the second column of ``sources`` counts.
        """
        self.count = 0
        low, high = library.lows[mesh], library.highs[mesh]
        farthest = np.zeros(tuple((side + BLOCK - 1) // BLOCK for side in self.nearness.shape), np.float32)
        drawn: list[npt.NDArray[np.int64]] = []
        first, size, number = 0, _FIRST_GROUP, 0
        while first < len(mesh) or not drawn:
            group = slice(first, first + size)
            seen = may_be_seen(low[group], high[group], linear[group], offset[group], grid, farthest)
            chosen = first + np.flatnonzero(seen)
            self._add(library, masks, mesh[chosen], linear[chosen], offset[chosen], grid, False, number)
            drawn.append(chosen)
            first, size, number = first + size, _GROWTH * size, number + len(chosen)
            if first < len(mesh):
                farthest = farthest_of_blocks(self.nearness)
        return np.concatenate(drawn)

    def _add(
        self, library: MeshLibrary, masks: npt.NDArray[np.int32], mesh: npt.NDArray[np.int64], linear: Array,
        offset: Array, grid: Array, parallel: bool, number: int,
    ) -> None:  # fmt: skip
        """Draws ``mesh`` over what the first ``count`` triangles of the first ``number`` meshes have left."""
        arguments = (
            library.vertices, library.faces, library.attributes, library.flags, library.first[mesh], library.last[mesh],
            np.ascontiguousarray(linear), np.ascontiguousarray(offset), grid, parallel,
        )  # fmt: skip
        begun = self.count
        count = setup_triangles(*arguments, self.planes, self.boxes, self.sources, (begun, number))
        if count > len(self.planes):
            self._grow(int(1.3 * count))
            count = setup_triangles(*arguments, self.planes, self.boxes, self.sources, (begun, number))
        self.count = count
        rasterise(
            self.planes, self.boxes, self.sources, count, library.flags, masks, parallel,
            (0, len(self.nearness)), self.nearness, self.ids, begun,
        )  # fmt: skip

    def _grow(self, capacity: int) -> None:
        for name in ("planes", "boxes", "sources"):
            old = getattr(self, name)
            roomy = np.empty((capacity, old.shape[1]), old.dtype)
            roomy[: self.count] = old[: self.count]
            setattr(self, name, roomy)
