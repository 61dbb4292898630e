"""Shadow maps: what stands still in tiles that are fixed to the world, what moves in a map of its own.

A frame looks through a window of whole tiles. A tile depends on its place alone, so windows overlap bit by bit: the
next one is the last one moved on, with new tiles at its edge, and no frame depends on which frames came before it.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sim_data.mesh import MeshLibrary
from sim_data.scene import Scene
from sim_data.visibility import VisibleTriangles

__all__ = ["ShadowMaps", "Shadows"]

Array = npt.NDArray[np.float64]
Map = npt.NDArray[np.float32]
_SUN_FAR_M = 3000.0
_MOVING_TEXELS, _MOVING_M = 1024, 90.0
_KEPT = 2  # windows; frames that are rendered side by side differ by one at most


@dataclass(frozen=True, slots=True)
class _Grid:
    """A window of square tiles."""

    tiles: int
    tile_texels: int
    texel_m: float

    @property
    def texels(self) -> int:
        return self.tiles * self.tile_texels


_NEAR = _Grid(8, 256, 15.0 / 256)
_FAR = _Grid(12, 128, 40.0 / 128)


@dataclass(frozen=True, slots=True, eq=False)
class ShadowMaps:
    """What the shading looks up: 10000 m minus the distance from far before the sun, 0 where nothing is.

    Attributes:
        near: (2048, 2048) what stands still, finely; ``moving`` (1024, 1024); ``far`` (1536, 1536) coarsely.
        moving: as above.
        far: as above.
        view: (6, 4) world to the sun's axes, m; then for near, far and moving: texels per metre and shift of x and y.
    """

    near: Map
    moving: Map
    far: Map
    view: Array


@dataclass(slots=True, eq=False)
class _Casters:
    """Placed meshes in the sun's axes: middles (N, 2) and radii (N,) of their spheres, and how they are placed."""

    mesh: npt.NDArray[np.int64]
    middles: Array
    radii: Array
    linear: Array
    offset: Array

    def draw(self, view: VisibleTriangles, library: MeshLibrary, masks: npt.NDArray[np.int32], low: Array,
             size_m: float) -> None:  # fmt: skip
        """Fills a view with what throws shadows into the square at ``low`` (2,) m."""
        texels = len(view.nearness)
        middle = low + size_m / 2
        chosen = np.flatnonzero((np.abs(self.middles - middle) < size_m / 2 + self.radii[:, None]).all(axis=1))
        density = texels / size_m
        grid = np.array([density, density, -density * low[0], -density * low[1], texels, texels], np.float64)
        view.draw(library, masks, self.mesh[chosen], self.linear[chosen], self.offset[chosen], grid, parallel=True)


@dataclass(slots=True, eq=False)
class _Windows:
    """The latest windows of one grid, by their first tile."""

    grid: _Grid
    casters: _Casters
    tile: VisibleTriangles
    known: dict[tuple[int, int], Map] = field(default_factory=dict)

    def at(self, first: tuple[int, int], library: MeshLibrary, masks: npt.NDArray[np.int32]) -> Map:
        """The window that begins with a tile (column, row)."""
        if first not in self.known:
            window = self._made(first, library, masks)
            self.known = dict([*self.known.items(), (first, window)][-_KEPT:])
        return self.known[first]

    def _made(self, first: tuple[int, int], library: MeshLibrary, masks: npt.NDArray[np.int32]) -> Map:
        grid, texels = self.grid, self.grid.tile_texels
        window = np.empty((grid.texels, grid.texels), np.float32)
        there = np.zeros((grid.tiles, grid.tiles), bool)
        for old, known in self.known.items():
            moved = old[1] - first[1], old[0] - first[0]
            if max(map(abs, moved)) >= grid.tiles:
                continue
            to = tuple(slice(max(0, m), grid.tiles + min(0, m)) for m in moved)
            from_ = tuple(slice(max(0, -m), grid.tiles + min(0, -m)) for m in moved)
            window[_texels(to, texels)] = known[_texels(from_, texels)]
            there[to] = True
        side_m = texels * grid.texel_m
        for row, column in np.argwhere(~there):
            low = side_m * np.array([first[0] + column, first[1] + row])
            self.casters.draw(self.tile, library, masks, low, side_m)
            window[row * texels : (row + 1) * texels, column * texels : (column + 1) * texels] = self.tile.nearness
        return window


def _texels(tiles: tuple[slice, ...], texels: int) -> tuple[slice, ...]:
    return tuple(slice(part.start * texels, part.stop * texels) for part in tiles)


class Shadows:
    """Shadows of one world under one sun."""

    def __init__(
        self, library: MeshLibrary, coarse: npt.NDArray[np.int64], masks: npt.NDArray[np.int32], sun: Array
    ) -> None:
        self.library, self.coarse, self.masks = library, coarse, masks
        towards = -sun
        helper = np.array([0.0, 0.0, 1.0]) if abs(towards[2]) < 0.95 else np.array([1.0, 0.0, 0.0])
        right = np.cross(towards, helper)
        right /= np.linalg.norm(right)
        self.axes = np.stack([right, np.cross(towards, right), towards])
        self._lock = threading.Lock()
        self._windows: tuple[_Windows, _Windows] | None = None
        self._local = threading.local()

    def maps(self, scene: Scene, focus: Array) -> ShadowMaps:
        """The maps of a scene around a point on the ground; what moves is only valid until this thread's next call."""
        middle = (self.axes @ focus)[:2]
        view = np.zeros((6, 4))
        view[:3, :3] = self.axes
        view[2, 3] = _SUN_FAR_M
        # one thread makes a window, the others wait for it
        with self._lock:
            if self._windows is None:
                still = self._casters(scene, slice(0, scene.fixed))
                rough = _Casters(self.coarse[still.mesh], still.middles, still.radii, still.linear, still.offset)
                self._windows = _windows(_NEAR, still), _windows(_FAR, rough)
            maps = []
            for row, windows in ((3, self._windows[0]), (4, self._windows[1])):
                grid = windows.grid
                first = np.floor(middle / (grid.texel_m * grid.tile_texels) + 0.5).astype(int) - grid.tiles // 2
                maps.append(windows.at((int(first[0]), int(first[1])), self.library, self.masks))
                view[row, :3] = 1.0 / grid.texel_m, *(-float(grid.tile_texels) * first)
        near, far = maps
        moving = self._casters(scene, slice(scene.fixed, None))
        if not hasattr(self._local, "moving"):
            self._local.moving = VisibleTriangles.sized(_MOVING_TEXELS, _MOVING_TEXELS, 20_000, ids=False)
        moving_view: VisibleTriangles = self._local.moving
        low = middle - _MOVING_M / 2
        moving.draw(moving_view, self.library, self.masks, low, _MOVING_M)
        density = _MOVING_TEXELS / _MOVING_M
        view[5, :3] = density, -density * low[0], -density * low[1]
        return ShadowMaps(near, moving_view.nearness, far, view)

    def _casters(self, scene: Scene, rows: slice) -> _Casters:
        casts = scene.casts[rows]
        linear = self.axes @ (scene.rotation[rows][casts] * scene.scale[rows][casts][:, None, None])
        offset = scene.position[rows][casts] @ self.axes.T + [0.0, 0.0, _SUN_FAR_M]
        middles = scene.centres[rows][casts] @ self.axes[:2].T
        return _Casters(scene.mesh[rows][casts], middles, scene.radii[rows][casts], linear, offset)


def _windows(grid: _Grid, casters: _Casters) -> _Windows:
    return _Windows(grid, casters, VisibleTriangles.sized(grid.tile_texels, grid.tile_texels, ids=False))
