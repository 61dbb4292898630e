"""The spinning lidar: four square views around the sensor are rasterised, then every beam meets its own triangle."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.geometry import EGO_R_CAM, SE3
from sim_data.kernels.lidar import cast_beams
from sim_data.kernels.placing import onto_camera
from sim_data.render import Renderer
from sim_data.rigs import LidarSpec
from sim_data.scene import Scene

__all__ = ["Lidar"]

_GRID = 900


class Lidar:
    """Casts the beams of one lidar."""

    def __init__(self, spec: LidarSpec) -> None:
        self.spec = spec
        azimuths = np.radians(np.arange(-180.0, 180.0, spec.azimuth_step_deg))
        elevations = np.radians(spec.elevations_deg)
        azimuth, elevation = (grid.ravel() for grid in np.meshgrid(azimuths, elevations))
        self.directions_ego = np.stack(
            [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], axis=1
        )
        face = (np.floor((azimuth + np.pi / 4) / (np.pi / 2)).astype(int)) % 4
        turns = [SE3.from_yaw(k * np.pi / 2).rotation @ EGO_R_CAM for k in range(4)]
        # per view: its rotation, its beams, and their directions in it
        self.faces = [
            (turn, np.flatnonzero(face == k), np.ascontiguousarray(self.directions_ego[face == k] @ turn))
            for k, turn in enumerate(turns)
        ]
        # just wide enough for 45 degrees to both sides and the steepest beam at the view's corner
        self.focal = 0.5 * (_GRID - 4)
        steep = np.sqrt(2.0) * np.tan([elevations.min(), elevations.max()])
        top, bottom = max(0.02, steep[1]) + 0.01, -min(-0.02, steep[0]) + 0.01
        self.size = (_GRID, int((top + bottom) * self.focal) + 2)
        self.centre = (0.5 * (_GRID - 1), top * self.focal)

    def scan(
        self, renderer: Renderer, scene: Scene, world_SE3_ego: SE3, rng: np.random.Generator
    ) -> npt.NDArray[np.float32]:
        """(P, 4) points in the ego frame and reflectance 0 ... 1, channel by channel."""
        spec = self.spec
        origin = np.array([0.0, 0.0, spec.height_m])
        ranges = np.full(len(self.directions_ego), np.inf)
        reflectance = np.zeros(len(self.directions_ego))
        grid = np.array([self.focal, self.focal, *self.centre, *self.size], np.float64)
        bright = np.clip(scene.looks[:, :3].mean(axis=1), 0.05, 0.9)
        view = renderer.buffers(self.size[1], self.size[0])
        for turn, beams, directions in self.faces:
            world_SE3_view = world_SE3_ego @ SE3(turn, origin)
            rows, mesh = renderer.visible(scene, grid[:4], self.size, world_SE3_view, spec.max_range_m)
            linear, offset = onto_camera(
                rows, scene.rotation, scene.position, scene.scale, world_SE3_view.rotation, world_SE3_view.translation
            )
            rows = rows[view.draw_seen(renderer.library, renderer.masks, mesh, linear, offset, grid)]
            distance, hits = cast_beams(
                directions, grid, view.ids, view.planes, view.sources, renderer.library.flags,
                renderer.masks,
            )  # fmt: skip
            ranges[beams] = distance
            found = np.flatnonzero(hits >= 0)
            reflectance[beams[found]] = bright[rows[view.sources[hits[found], 1]]]
        kept = np.isfinite(ranges) & (ranges > 0.9) & (ranges < spec.max_range_m)
        # dark surfaces stop answering before bright ones do
        kept &= ranges < spec.max_range_m * np.sqrt(np.clip(reflectance / 0.10, 0.05, 1.0))
        kept &= rng.random(len(ranges), np.float32) >= spec.drop_out
        noisy = ranges + spec.range_noise_m * rng.standard_normal(len(ranges), np.float32)
        points = origin + self.directions_ego[kept] * noisy[kept, None]
        cloud = np.empty((len(points), 4), np.float32)
        cloud[:, :3] = points
        cloud[:, 3] = np.clip(reflectance[kept] + 0.04 * rng.standard_normal(len(points), np.float32), 0.0, 0.99)
        return cloud
