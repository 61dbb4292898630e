"""Renders a scene into an ideal pinhole: visibility, shadows, light and the truth of every pixel.

A renderer belongs to one world and may be used by several threads at once, each with its own frame: kernels release the
lock, buffers are the thread's own, and no result depends on what was rendered before.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from perception.geometry import SE3, PinholeCamera
from sim_data.kernels.contact import darken
from sim_data.kernels.placing import in_sight, motions_of, onto_camera
from sim_data.kernels.raster import count_whole, pack_masks
from sim_data.light import Light
from sim_data.mesh import MeshLibrary
from sim_data.scene import Scene
from sim_data.shading import Placed, Shading, View, tiles
from sim_data.shadows import ShadowMaps, Shadows
from sim_data.textures import make_masks, make_textures
from sim_data.vehicles import car_table
from sim_data.visibility import VisibleTriangles

__all__ = ["Renderer", "Surroundings", "View"]

Array = npt.NDArray[np.float64]
_REACH_M = 900.0
_ROUGHER_FROM_M, _ROUGHER_FOCAL_PX = (42.0, 200.0, 450.0), 721.0
_CONTACT_CELLS, _CONTACT_CELLS_PER_M = 400, 4.0
_SKY_ID = 10


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """What all cameras of a moment share.

    Attributes:
        scene: what stands where.
        shadows: maps of the sun's light.
        contact: (400, 400) darkening beside vehicles, and x, y, cells per metre of it.
        lamps: (K, 10) headlights, as ``add_lamp`` takes them.
    """

    scene: Scene
    shadows: ShadowMaps
    contact: tuple[npt.NDArray[np.float32], Array]
    lamps: Array


class Renderer:
    """Renders scenes of one world under one light."""

    def __init__(
        self, library: MeshLibrary, rougher: Sequence[dict[int, int]], paints: list[Array], light: Light,
        lamps: Array, seed: int,
    ) -> None:  # fmt: skip
        """Prepares textures and light.

        Args:
            library: of all meshes.
            rougher: for some of them the ones to draw from 42 m, 200 m and 450 m on, with a lens like KITTI's.
            paints: lane markings by road surface.
            light: of the drive.
            lamps: (L, 10) street lamps, as ``add_lamp`` takes them.
            seed: of textures and noise.
        """
        self.library = library
        self.light = light
        self.lamps = lamps
        texels, self.masks, self.grain = _images(seed)
        self.shading = Shading(
            library, np.ascontiguousarray(np.stack(paints)), np.ascontiguousarray(car_table()), light.vector, texels
        )
        # row by row rougher: the mesh to draw instead of each
        self.levels = np.tile(np.arange(len(library.meshes)), (len(rougher) + 1, 1))
        for level, meshes in enumerate(rougher):
            self.levels[level + 1] = self.levels[level]
            self.levels[level + 1, list(meshes)] = list(meshes.values())
        self.shadows = Shadows(library, self.levels[1], self.masks, light.sun)
        self._local = threading.local()

    def surroundings(self, scene: Scene, focus: Array, footprints: Array, lamps: Array) -> Surroundings:
        """Shadows around ``focus``, a point on the ground where they are finest; valid until this thread's next call.

        Args:
            scene: what stands where.
            focus: (3,) in the world, m.
            footprints: (N, 5) x, y, yaw, length, width of what stands on the ground.
            lamps: (K, 10) headlights, as ``add_lamp`` takes them.
        """
        low = focus[:2] - _CONTACT_CELLS / _CONTACT_CELLS_PER_M / 2
        field = np.empty((_CONTACT_CELLS, _CONTACT_CELLS), np.float32)
        darken(footprints, (float(low[0]), float(low[1])), _CONTACT_CELLS_PER_M, field)
        contact = field, np.array([low[0], low[1], _CONTACT_CELLS_PER_M])
        return Surroundings(scene, self.shadows.maps(scene, focus), contact, lamps)

    def visible(
        self, scene: Scene, camera: Array, size: tuple[int, int], world_SE3_cam: SE3, reach_m: float
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows of the scene that may be seen, nearest first, and the mesh to draw for each (rougher when small).

        Args:
            scene: what stands where.
            camera: fx, fy, cx, cy, px.
            size: width and height, px.
            world_SE3_cam: pose of the camera.
            reach_m: how far is drawn.
        """
        rows, distance = in_sight(
            scene.centres, scene.radii, world_SE3_cam.rotation, world_SE3_cam.translation,
            np.array([*camera, *size], np.float64), reach_m,
        )  # fmt: skip
        scale = camera[0] / _ROUGHER_FOCAL_PX
        level = np.searchsorted(np.array(_ROUGHER_FROM_M) * scale, distance)
        return rows, self.levels[level, scene.mesh[rows]]

    def buffers(self, height: int, width: int) -> VisibleTriangles:
        """This thread's buffers of a sample grid."""
        views: dict[tuple[int, int], VisibleTriangles] = self._local.__dict__.setdefault("views", {})
        if (height, width) not in views:
            views[height, width] = VisibleTriangles.sized(height, width)
        return views[height, width]

    def render(self, around: Surroundings, camera: PinholeCamera, world_SE3_cam: SE3, next_world_SE3_cam: SE3) -> View:
        """Renders one pinhole at one moment; flow leads to the next one's pose."""
        scene = around.scene
        width, height = camera.width_px, camera.height_px
        lens = np.array([camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px])
        rows, mesh = self.visible(scene, lens, (width, height), world_SE3_cam, _REACH_M)
        view = self.buffers(2 * height + 1, 2 * width + 1)
        still = scene.rotation, scene.position, scene.scale
        linear, offset = onto_camera(rows, *still, world_SE3_cam.rotation, world_SE3_cam.translation)
        grid = np.array(
            [2 * lens[0], 2 * lens[1], 2 * lens[2] + 1, 2 * lens[3] + 1, 2 * width + 1, 2 * height + 1], np.float64
        )
        drawn = view.draw_seen(self.library, self.masks, mesh, linear, offset, grid)
        rows, linear, offset = rows[drawn], linear[drawn], offset[drawn]
        following = onto_camera(
            rows, scene.next_rotation, scene.next_position, scene.scale, next_world_SE3_cam.rotation,
            next_world_SE3_cam.translation,
        )  # fmt: skip
        inverses, moved = motions_of(linear, offset, *following)
        motions = np.zeros((len(rows) + 1, 3, 4))
        motions[:-1] = moved
        motions[-1, :, :3] = next_world_SE3_cam.rotation.T @ world_SE3_cam.rotation
        shadows = around.shadows
        placed = Placed(
            lens, np.column_stack([world_SE3_cam.rotation, world_SE3_cam.translation]), view.ids, view.planes,
            view.sources, inverses, offset, scene.rotation[rows],
            scene.looks[rows], motions.reshape(-1, 12), np.append(scene.semantic[rows], np.uint8(_SKY_ID)),
            np.append(scene.instance[rows], np.int32(0)),
            (shadows.near, shadows.moving, shadows.far, shadows.view),
            around.contact, self._lamps_near(world_SE3_cam.translation, around.lamps),
        )  # fmt: skip
        seen = View.empty(height, width)
        for tile in tiles(height, width):
            self.shading.fill(placed, tile, seen)
        seen.surfaces = placed.ids, placed.planes, placed.sources, placed.motions
        seen.whole = self._whole(view, scene.instance[rows], (height, width))
        return seen

    def _whole(self, view: VisibleTriangles, instances: npt.NDArray[np.int32], size: tuple[int, int]) -> dict[int, int]:
        """Pixels by id of each object with nothing before it; ``instances`` (D,) of the meshes that were drawn."""
        order = np.argsort(instances, kind="stable")
        order = order[np.searchsorted(instances[order], 1) :]
        ids, groups = np.unique(instances[order], return_inverse=True)
        starts = np.searchsorted(view.sources[: view.count, 1], np.arange(len(instances) + 1)).astype(np.int64)
        counts = count_whole(
            view.planes, view.boxes, view.sources, self.library.flags, self.masks, (starts[order], starts[order + 1]),
            groups.astype(np.int64), size,
        )  # fmt: skip
        return dict(zip(ids.tolist(), counts.tolist(), strict=True))

    def _lamps_near(self, place: Array, extra: Array) -> Array:
        if self.light.vector[21] <= 0.0:
            return np.zeros((0, 10))
        away = np.linalg.norm(self.lamps[:, :3] - place, axis=1)
        nearest = np.argsort(away, kind="stable")[:8]
        chosen = self.lamps[nearest[away[nearest] < 90.0]] * [1, 1, 1, *[float(self.light.vector[21])] * 3, 1, 1, 1, 1]
        return np.ascontiguousarray(np.concatenate([chosen, extra]))


@lru_cache(maxsize=2)
def _images(seed: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """Textures, masks and noise of a seed."""
    rng = np.random.default_rng([seed, 7])
    return make_textures(rng), pack_masks(make_masks(rng)), rng.standard_normal((256, 256, 3)).astype(np.float32)
