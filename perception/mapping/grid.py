"""A semantic grid without bounds: votes in a window around the vehicle, outcomes in tiles behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.classes import SEMANTIC_CLASSES, VOID_ID

__all__ = ["GridSnapshot", "SemanticGrid"]

UInt8Array = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class GridSnapshot:
    """The grid at one moment, for drawing.

    Attributes:
        class_ids: (R, C) u8, row along world y, column along world x; 255 unknown.
        corner_m: (2,) world x, y of cell (0, 0)'s outer corner.
        cell_m: edge of a cell.
    """

    class_ids: UInt8Array
    corner_m: npt.NDArray[np.float64]
    cell_m: float


class SemanticGrid:
    """Counts class votes per cell of the world's x-y plane.

    Full counts are kept in a square window that follows the vehicle. A cell that leaves the window keeps its leading
    class, that class's votes and its height, so that memory grows by 4 bytes a cell seen, not by one per class.

    Args:
        cell_m: edge of a cell.
        radius_m: half of the window's edge must be more than this, so that all that a frame sees falls inside.
    """

    def __init__(self, cell_m: float, radius_m: float) -> None:
        self.cell_m = cell_m
        self._tile_cells = max(16, round(16.0 / cell_m))
        self._tile_m = self._tile_cells * cell_m
        tiles_across = 2 * int(np.ceil(radius_m / self._tile_m)) + 3
        cells = tiles_across * self._tile_cells
        self._tiles_across = tiles_across
        self.votes: UInt8Array = np.zeros((cells, cells, len(SEMANTIC_CLASSES)), dtype=np.uint8)
        self.best: UInt8Array = np.full((cells, cells), VOID_ID, dtype=np.uint8)
        self.top_m = np.full((cells, cells), np.nan, dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        self._tiles: dict[tuple[int, int], tuple[UInt8Array, UInt8Array, npt.NDArray[np.float16]]] = {}
        # tile coordinates of the window's corner
        self._corner = (-(self._tiles_across // 2), -(self._tiles_across // 2))
        self.votes.fill(0)
        self.best.fill(VOID_ID)
        self.top_m.fill(np.nan)

    @property
    def corner_m(self) -> npt.NDArray[np.float64]:
        """(2,) world x, y of the window's corner."""
        return np.array(self._corner, dtype=np.float64) * self._tile_m

    def centre_on(self, world_xy_m: npt.NDArray[np.float64]) -> None:
        """Moves the window so that the position lies in its middle tile or next to it."""
        half = self._tiles_across // 2
        wanted = np.floor(np.asarray(world_xy_m) / self._tile_m).astype(int) - half
        if np.abs(wanted - self._corner).max() <= 1:
            return
        self._store_window()
        self._corner = (int(wanted[0]), int(wanted[1]))
        self._load_window()

    def _window_tiles(self) -> list[tuple[tuple[int, int], tuple[slice, slice]]]:
        size = self._tile_cells
        return [
            (
                (self._corner[0] + i, self._corner[1] + j),
                (slice(j * size, (j + 1) * size), slice(i * size, (i + 1) * size)),
            )
            for i in range(self._tiles_across)
            for j in range(self._tiles_across)
        ]

    def _store_window(self) -> None:
        for key, cells in self._window_tiles():
            best = self.best[cells]
            if (best == VOID_ID).all():
                continue
            leading = np.minimum(best, len(SEMANTIC_CLASSES) - 1).astype(np.intp)
            votes = np.take_along_axis(self.votes[cells], leading[..., None], axis=2)[..., 0]
            self._tiles[key] = (best.copy(), votes, self.top_m[cells].astype(np.float16))

    def _load_window(self) -> None:
        self.votes.fill(0)
        self.best.fill(VOID_ID)
        self.top_m.fill(np.nan)
        for key, cells in self._window_tiles():
            if key not in self._tiles:
                continue
            best, votes, top_m = self._tiles[key]
            self.best[cells] = best
            self.top_m[cells] = top_m
            known = best != VOID_ID
            rows, columns = np.nonzero(known)
            self.votes[cells][rows, columns, best[known]] = votes[known]

    def snapshot(self) -> GridSnapshot:
        """The window as it stands, copied."""
        return GridSnapshot(self.best.copy(), self.corner_m, self.cell_m)

    def assemble(self) -> tuple[GridSnapshot, UInt8Array, npt.NDArray[np.float32]]:
        """The whole grid as arrays over its bounding box: classes, votes of the leading class, highest z in m."""
        self._store_window()
        if not self._tiles:
            empty = np.full((1, 1), VOID_ID, dtype=np.uint8)
            return (
                GridSnapshot(empty, np.zeros(2), self.cell_m),
                np.zeros((1, 1), np.uint8),
                np.full((1, 1), np.nan, np.float32),
            )
        keys = np.array(sorted(self._tiles))
        low, high = keys.min(axis=0), keys.max(axis=0)
        columns, rows = (high - low + 1) * self._tile_cells
        class_ids = np.full((rows, columns), VOID_ID, dtype=np.uint8)
        votes = np.zeros((rows, columns), dtype=np.uint8)
        top_m = np.full((rows, columns), np.nan, dtype=np.float32)
        size = self._tile_cells
        for (i, j), (tile_best, tile_votes, tile_top_m) in self._tiles.items():
            column, row = (i - low[0]) * size, (j - low[1]) * size
            cells = (slice(row, row + size), slice(column, column + size))
            class_ids[cells], votes[cells], top_m[cells] = tile_best, tile_votes, tile_top_m
        known_rows = np.flatnonzero((class_ids != VOID_ID).any(axis=1))
        known_columns = np.flatnonzero((class_ids != VOID_ID).any(axis=0))
        used = (slice(known_rows[0], known_rows[-1] + 1), slice(known_columns[0], known_columns[-1] + 1))
        corner_m = low * self._tile_m + np.array([known_columns[0], known_rows[0]]) * self.cell_m
        return GridSnapshot(class_ids[used], corner_m, self.cell_m), votes[used], top_m[used]
