"""Renders a scene into an ideal pinhole: visibility, shadows, light and the truth of every pixel.

Work is cut into bands of rows that a few threads fill; kernels release the lock, and no result depends on the threads.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from perception.geometry import SE3, PinholeCamera
from sim_data.kernels.raster import SETUP_COLUMNS, rasterise, setup_triangles
from sim_data.light import Light
from sim_data.mesh import MeshLibrary
from sim_data.shading import Placed, Shading, View, tiles
from sim_data.textures import make_masks, make_textures
from sim_data.vehicles import car_table

__all__ = ["Renderer", "Scene", "View", "VisibleTriangles"]

Array = npt.NDArray[np.float64]
_NEAR_TEXELS, _NEAR_M = 2048, 120.0
_FAR_TEXELS, _FAR_M = 1536, 460.0
_MOVING_TEXELS, _MOVING_M = 1024, 90.0
_ANCHOR_M = 24.0
_SUN_FAR_M = 3000.0
_SKY_ID = 10


@dataclass(slots=True, eq=False)
class Scene:
    """Placed meshes at one moment, one row each; what moves comes last.

    Attributes:
        mesh: (I,) numbers in the library.
        rotation: (I, 3, 3) to the world, without scale; ``position`` (I, 3) m; ``scale`` (I,).
        next_rotation: the same one frame later; ``next_position`` likewise.
        looks: (I, 8) two colours, seed, lamps.
        semantic: (I,) u8; ``instance`` (I,) i32.
        casts: (I,) whether it throws a shadow.
        fixed: number of rows that never move.
    """

    mesh: npt.NDArray[np.int64]
    rotation: Array
    position: Array
    scale: Array
    next_rotation: Array
    next_position: Array
    looks: Array
    semantic: npt.NDArray[np.uint8]
    instance: npt.NDArray[np.int32]
    casts: npt.NDArray[np.bool_]
    fixed: int


@dataclass(slots=True, eq=False)
class VisibleTriangles:
    """Buffers of one view that the rasteriser fills, kept from frame to frame."""

    planes: Array
    boxes: npt.NDArray[np.int32]
    sources: npt.NDArray[np.int32]
    nearness: npt.NDArray[np.float32]
    ids: npt.NDArray[np.int32]
    count: int = 0

    @classmethod
    def sized(cls, height: int, width: int, capacity: int = 60_000) -> VisibleTriangles:
        """Buffers of a sample grid."""
        return cls(
            np.empty((capacity, SETUP_COLUMNS)),
            np.empty((capacity, 4), np.int32),
            np.empty((capacity, 2), np.int32),
            np.zeros((height, width), np.float32),
            np.full((height, width), -1, np.int32),
        )


def _bands(rows: int, count: int) -> list[tuple[int, int]]:
    edges = np.linspace(0, rows, count + 1).round().astype(int)
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges) if b > a]


class Renderer:
    """Renders scenes of one world under one light."""

    def __init__(
        self, library: MeshLibrary, coarse: dict[int, int], paints: list[Array], light: Light, lamps: Array, seed: int,
        threads: int = 2,
    ) -> None:  # fmt: skip
        self.library = library
        self.light = light
        self.lamps = lamps
        texels, self.masks, self.grain = _images(seed)
        self.shading = Shading(
            library, np.ascontiguousarray(np.stack(paints)), np.ascontiguousarray(car_table()), light.vector, texels
        )
        self.coarse = np.arange(len(library.meshes))
        for fine, rough in coarse.items():
            self.coarse[fine] = rough
        self.bands = 2 * threads if threads > 1 else 1
        self.pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self.views: dict[tuple[int, int], VisibleTriangles] = {}
        self._sun_axes()
        self._near_anchor: tuple[int, int] | None = None
        self._near = VisibleTriangles.sized(_NEAR_TEXELS, _NEAR_TEXELS)
        self._far = VisibleTriangles.sized(_FAR_TEXELS, _FAR_TEXELS)
        self._moving = VisibleTriangles.sized(_MOVING_TEXELS, _MOVING_TEXELS, 20_000)
        self.shadow_view = np.zeros((6, 4))

    def close(self) -> None:
        """Ends the threads."""
        if self.pool is not None:
            self.pool.shutdown()

    def by_tiles(self, work: Callable[[tuple[int, int]], object], rows: list[tuple[int, int]]) -> None:
        """Calls ``work`` with each span of rows, on all threads."""
        if self.pool is None:
            for span in rows:
                work(span)
        else:
            list(self.pool.map(work, rows))

    def by_bands(self, work: Callable[[tuple[int, int]], object], rows: int) -> None:
        """Calls ``work`` with bands of rows, on all threads."""
        self.by_tiles(work, _bands(rows, self.bands))

    def _sun_axes(self) -> None:
        towards = -self.light.sun
        helper = np.array([0.0, 0.0, 1.0]) if abs(towards[2]) < 0.95 else np.array([1.0, 0.0, 0.0])
        right = np.cross(towards, helper)
        right /= np.linalg.norm(right)
        self.sun_axes = np.stack([right, np.cross(towards, right), towards])

    def _triangles(
        self,
        view: VisibleTriangles,
        mesh: npt.NDArray[np.int64],
        linear: Array,
        offset: Array,
        grid: Array,
        parallel: bool,
    ) -> VisibleTriangles:
        library = self.library
        arguments = (
            library.vertices, library.attributes, library.flags, library.first[mesh], library.last[mesh],
            np.ascontiguousarray(linear), np.ascontiguousarray(offset), grid, parallel,
        )  # fmt: skip
        count = setup_triangles(*arguments, view.planes, view.boxes, view.sources)
        if count > len(view.planes):
            roomy = VisibleTriangles.sized(1, 1, int(1.3 * count))
            view.planes, view.boxes, view.sources = roomy.planes, roomy.boxes, roomy.sources
            count = setup_triangles(*arguments, view.planes, view.boxes, view.sources)
        view.count = count
        return view

    def fill_view(
        self, view: VisibleTriangles, mesh: npt.NDArray[np.int64], linear: Array, offset: Array, grid: Array
    ) -> None:
        """Rasterises placed meshes into a pinhole view: ``linear`` (I, 3, 3) and ``offset`` (I, 3) lead into it."""
        self._triangles(view, mesh, linear, offset, grid, False)
        self._fill(view, False)

    def _fill(self, view: VisibleTriangles, parallel: bool) -> None:
        def work(band: tuple[int, int]) -> None:
            rasterise(
                view.planes, view.boxes, view.sources, view.count, self.library.flags, self.masks, parallel, band,
                view.nearness, view.ids,
            )  # fmt: skip

        self.by_bands(work, len(view.ids))

    def _shadow(
        self, scene: Scene, rows: slice, view: VisibleTriangles, middle: Array, size_m: float, row: int, coarse: bool
    ) -> None:
        texels = len(view.ids)
        density = texels / size_m
        centres, radii = self._spheres(scene, rows)
        local = centres @ self.sun_axes.T
        inside = (np.abs(local[:, :2] - middle) < size_m / 2 + radii[:, None]).all(axis=1) & scene.casts[rows]
        chosen = np.flatnonzero(inside)
        mesh = scene.mesh[rows][chosen]
        linear = self.sun_axes @ (scene.rotation[rows][chosen] * scene.scale[rows][chosen][:, None, None])
        offset = scene.position[rows][chosen] @ self.sun_axes.T + [0.0, 0.0, _SUN_FAR_M]
        shift = texels / 2 - density * middle
        grid = np.array([density, density, shift[0], shift[1], texels, texels], np.float64)
        self._triangles(view, self.coarse[mesh] if coarse else mesh, linear, offset, grid, True)
        self._fill(view, True)
        self.shadow_view[row, :3] = density, shift[0], shift[1]

    def _spheres(self, scene: Scene, rows: slice) -> tuple[Array, Array]:
        mesh = scene.mesh[rows]
        scale = scene.scale[rows]
        local = self.library.centres[mesh] * scale[:, None]
        return np.einsum("nij,nj->ni", scene.rotation[rows], local) + scene.position[rows], self.library.radii[
            mesh
        ] * scale

    def _shadows(self, scene: Scene, focus: Array) -> None:
        middle = (self.sun_axes @ focus)[:2]
        anchor = tuple(int(v) for v in np.floor(middle / _ANCHOR_M + 0.5))
        if anchor != self._near_anchor:
            # anchored to the world, so that a map does not depend on the frames before
            self._near_anchor = (anchor[0], anchor[1])
            fixed = np.array(anchor) * _ANCHOR_M
            still = slice(0, scene.fixed)
            self._shadow(scene, still, self._near, fixed, _NEAR_M, 3, False)
            self._shadow(scene, still, self._far, fixed, _FAR_M, 4, True)
        self._shadow(scene, slice(scene.fixed, None), self._moving, middle, _MOVING_M, 5, False)
        self.shadow_view[:3, :3] = self.sun_axes
        self.shadow_view[2, 3] = _SUN_FAR_M

    def _contact(self, focus: Array, footprints: Array) -> tuple[npt.NDArray[np.float32], Array]:
        """Darkening of the ground around vehicles. ``footprints``: (N, 5) x, y, yaw, length, width."""
        cells, density = 400, 4.0
        low = focus[:2] - cells / density / 2
        field = np.zeros((cells, cells), np.float32)
        reach = 0.5 * np.hypot(footprints[:, 3], footprints[:, 4]) + 0.7
        corners = np.concatenate(
            [
                (footprints[:, :2] - reach[:, None] - low) * density,
                (footprints[:, :2] + reach[:, None] - low) * density + 2,
            ]
        ).reshape(2, -1, 2)
        first, last = np.clip(corners.astype(int), 0, cells)
        for k in np.flatnonzero((first < last).all(axis=1)):
            x, y, yaw, length, width = footprints[k]
            (x0, y0), (x1, y1) = first[k], last[k]
            gx = ((np.arange(x0, x1, dtype=np.float32) + np.float32(0.5)) / density + low[0] - x).astype(np.float32)
            gy = ((np.arange(y0, y1, dtype=np.float32) + np.float32(0.5)) / density + low[1] - y)[:, None]
            gy = gy.astype(np.float32)
            cosine, sine = np.float32(np.cos(yaw)), np.float32(np.sin(yaw))
            along = np.maximum(np.abs(gx * cosine + gy * sine) - np.float32(0.5 * length - 0.25), 0)
            across = np.maximum(np.abs(gy * cosine - gx * sine) - np.float32(0.5 * width - 0.25), 0)
            part = field[y0:y1, x0:x1]
            dark = np.float32(0.88) * np.exp((along * along + across * across) * np.float32(-1 / 0.38**2))
            np.maximum(part, dark, out=part)
        return field, np.array([low[0], low[1], density])

    def visible(
        self, scene: Scene, camera: Array, size: tuple[int, int], world_SE3_cam: SE3, reach_m: float
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows of the scene that may be seen, nearest first, and the mesh to draw for each (coarse when small).

        Args:
            scene: what stands where.
            camera: fx, fy, cx, cy, px.
            size: width and height, px.
            world_SE3_cam: pose of the camera.
            reach_m: how far is drawn.
        """
        centres, radii = self._spheres(scene, slice(None))
        local = (centres - world_SE3_cam.translation) @ world_SE3_cam.rotation
        width, height = size
        seen = (local[:, 2] > -radii) & (local[:, 2] < reach_m + radii)
        for axis, low, high in (
            (0, -camera[2] / camera[0], (width - camera[2]) / camera[0]),
            (1, -camera[3] / camera[1], (height - camera[3]) / camera[1]),
        ):
            seen &= (local[:, axis] - low * local[:, 2]) / np.hypot(1, low) > -radii - 0.05
            seen &= (local[:, axis] - high * local[:, 2]) / np.hypot(1, high) < radii + 0.05
        distance = np.linalg.norm(local, axis=1) - radii
        # nothing smaller than a pixel, except what forms the ground
        seen &= radii * camera[0] > 0.5 * np.maximum(distance, 0.1)
        rows = np.flatnonzero(seen)
        rows = rows[np.argsort(distance[rows], kind="stable")]
        mesh = scene.mesh[rows]
        far = distance[rows] > 42.0 * camera[0] / 721.0
        return rows, np.where(far, self.coarse[mesh], mesh)

    def render(
        self, scene: Scene, camera: PinholeCamera, world_SE3_cam: SE3, next_world_SE3_cam: SE3, footprints: Array,
        extra_lamps: Array, focus: Array,
    ) -> View:  # fmt: skip
        """Renders one pinhole at one moment; shadows are finest around ``focus``, a point on the ground."""
        width, height = camera.width_px, camera.height_px
        lens = np.array([camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px])
        rows, mesh = self.visible(scene, lens, (width, height), world_SE3_cam, 900.0)
        key = (height, width)
        if key not in self.views:
            self.views[key] = VisibleTriangles.sized(2 * height + 1, 2 * width + 1)
        view = self.views[key]
        cam_R_world = world_SE3_cam.rotation.T
        linear = cam_R_world @ (scene.rotation[rows] * scene.scale[rows][:, None, None])
        offset = (scene.position[rows] - world_SE3_cam.translation) @ world_SE3_cam.rotation
        grid = np.array(
            [2 * lens[0], 2 * lens[1], 2 * lens[2] + 1, 2 * lens[3] + 1, 2 * width + 1, 2 * height + 1], np.float64
        )
        self._triangles(view, mesh, linear, offset, grid, False)
        self._fill(view, False)
        self._shadows(scene, focus)
        next_R = next_world_SE3_cam.rotation
        next_linear = next_R.T @ (scene.next_rotation[rows] * scene.scale[rows][:, None, None])
        next_offset = (scene.next_position[rows] - next_world_SE3_cam.translation) @ next_R
        inverses = linear.transpose(0, 2, 1) / (scene.scale[rows] ** 2)[:, None, None]
        moved = next_linear @ inverses
        motions = np.zeros((len(rows) + 1, 3, 4))
        motions[:-1, :, :3] = moved
        motions[:-1, :, 3] = next_offset - np.einsum("nij,nj->ni", moved, offset)
        motions[-1, :, :3] = next_R.T @ world_SE3_cam.rotation
        placed = Placed(
            lens, np.column_stack([world_SE3_cam.rotation, world_SE3_cam.translation]), view.ids, view.planes,
            view.sources, np.ascontiguousarray(inverses), np.ascontiguousarray(offset), scene.rotation[rows],
            scene.looks[rows], motions.reshape(-1, 12), np.append(scene.semantic[rows], np.uint8(_SKY_ID)),
            np.append(scene.instance[rows], np.int32(0)),
            (self._near.nearness, self._moving.nearness, self._far.nearness, self.shadow_view),
            self._contact(focus, footprints), self._lamps_near(world_SE3_cam.translation, extra_lamps),
        )  # fmt: skip
        seen = View.empty(height, width)
        self.by_tiles(lambda tile: self.shading.fill(placed, tile, seen), tiles(height, width))
        return seen

    def _lamps_near(self, place: Array, extra: Array) -> Array:
        if self.light.vector[21] <= 0.0:
            return np.zeros((0, 10))
        away = np.linalg.norm(self.lamps[:, :3] - place, axis=1)
        nearest = np.argsort(away, kind="stable")[:8]
        chosen = self.lamps[nearest[away[nearest] < 90.0]] * [1, 1, 1, *[float(self.light.vector[21])] * 3, 1, 1, 1, 1]
        return np.ascontiguousarray(np.concatenate([chosen, extra]))


@lru_cache(maxsize=2)
def _images(seed: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Textures, masks and noise of a seed."""
    rng = np.random.default_rng([seed, 7])
    return make_textures(rng), make_masks(rng), rng.standard_normal((256, 256, 3)).astype(np.float32)
