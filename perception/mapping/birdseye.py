"""The bird's-eye semantic map: what lies where on the ground of the world frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.classes import SEMANTIC_CLASSES
from perception.config import MappingConfig
from perception.geometry import SE3, PinholeCamera, guess_camera
from perception.kernels.grid import vote_ground, vote_obstacle_feet, vote_points
from perception.mapping.cloud import CloudSpool
from perception.mapping.grid import SemanticGrid
from perception.types import DepthMap, Frame, SemanticMap, Tracks

__all__ = ["BirdsEyeMap"]

GROUND_CLASSES = ("road", "sidewalk", "terrain", "lane marking")
OBSTACLE_CLASSES = ("building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation")
# one degree of pitch moves a point 25 m ahead by 6 m: beyond, the flat-road assumption paints guesses
GROUND_PLANE_RANGE_M = 25.0
MEASURED_WEIGHT = 4
CLOUD_SPACING_M = 0.15
RECENT_VOXELS = 1 << 19


def _class_mask(names: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(256, dtype=np.bool_)
    mask[[SEMANTIC_CLASSES.index(name) for name in names]] = True
    return mask


class BirdsEyeMap:
    """Votes of the static classes, from measured depth where there is any and from the road plane everywhere.

    Road users are left out: they are tracks, not map. Measured depth outvotes the plane.
    """

    def __init__(self, settings: MappingConfig) -> None:
        self._max_range_m = settings.max_range_m
        self.grid = SemanticGrid(settings.cell_m, settings.max_range_m)
        self.cloud = CloudSpool()
        self._is_ground = _class_mask(GROUND_CLASSES)
        self._is_obstacle = _class_mask(OBSTACLE_CLASSES)
        self._is_static = self._is_ground | self._is_obstacle
        self._recent = np.full(RECENT_VOXELS, -1, dtype=np.int64)
        self._table_of: PinholeCamera | None = None
        self._ground_xy: npt.NDArray[np.float32] | None = None
        self.path_xyz_m: list[tuple[float, float, float]] = []

    def reset(self) -> None:
        """Forgets the map."""
        self.grid.reset()
        self.cloud.clear()
        self._recent.fill(-1)
        self.path_xyz_m.clear()

    def integrate(
        self, frame: Frame, semantic: SemanticMap, depth: DepthMap | None, tracks: Tracks, world_SE3_ego: SE3
    ) -> None:
        """Adds what one frame saw."""
        height_px, width_px = frame.image_rgb.shape[:2]
        camera = frame.camera or guess_camera(width_px, height_px)
        self.path_xyz_m.append(tuple(world_SE3_ego.translation.tolist()))
        self.grid.centre_on(world_SE3_ego.translation[:2])
        # depth from a network is dense: voting with every pixel of it would take 20 ms a frame
        measured = depth if depth is not None and depth.is_measured else None
        self._vote_plane(camera, semantic, world_SE3_ego, obstacles=measured is None)
        if measured is not None:
            xyz, rgb = vote_points(
                measured.depth_m,
                semantic.class_ids,
                frame.image_rgb,
                self._is_static,
                (world_SE3_ego @ camera.ego_SE3_cam).matrix,
                camera.matrix,
                self._max_range_m,
                self.grid.corner_m,
                self.grid.cell_m,
                MEASURED_WEIGHT,
                self.grid.votes,
                self.grid.best,
                self.grid.top_m,
                CLOUD_SPACING_M,
                self._recent,
            )
            self.cloud.append(xyz, rgb)

    def _vote_plane(self, camera: PinholeCamera, semantic: SemanticMap, world_SE3_ego: SE3, obstacles: bool) -> None:
        if not _same_view(self._table_of, camera):
            self._table_of = camera
            self._pixels, self._pixels_ego_xy = _cells_in_view(
                camera, min(GROUND_PLANE_RANGE_M, self._max_range_m), self.grid.cell_m
            )
            self._ground_xy = None
        in_grid_m = world_SE3_ego.translation[:2] - self.grid.corner_m
        place = (float(in_grid_m[0]), float(in_grid_m[1]))
        yaw_rad, cell_m, votes, best = world_SE3_ego.yaw_rad, self.grid.cell_m, self.grid.votes, self.grid.best
        # where depth is measured too, the plane fills in: every second cell of it in turn is enough
        turn = slice(None) if obstacles else slice(len(self.path_xyz_m) % 2, None, 2)
        pixels, ego_xy = self._pixels[turn], self._pixels_ego_xy[turn]
        vote_ground(semantic.class_ids, pixels, ego_xy, self._is_ground, yaw_rad, place, cell_m, votes, best)
        if obstacles:
            if self._ground_xy is None:
                self._ground_xy = _road_under_pixels(camera)
            vote_obstacle_feet(
                semantic.class_ids,
                self._ground_xy,
                self._is_ground,
                self._is_obstacle,
                min(GROUND_PLANE_RANGE_M, self._max_range_m),
                yaw_rad,
                place,
                cell_m,
                votes,
                best,
            )


def _cells_in_view(
    camera: PinholeCamera, reach_m: float, cell_m: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """(M, 2) pixel row and column of every cell of flat road that the camera sees, and the cell's (M, 2) ego x, y."""
    steps = np.arange(-reach_m, reach_m, cell_m) + 0.5 * cell_m
    x, y = np.meshgrid(steps, steps, indexing="ij")
    road = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    road = road[np.hypot(road[:, 0], road[:, 1]) <= reach_m]
    pixels = np.round(camera.project_ego(road))
    seen = ((pixels >= 0) & (pixels < [camera.width_px, camera.height_px])).all(axis=1)
    return pixels[seen, ::-1].astype(np.int32), road[seen, :2].astype(np.float32)


def _road_under_pixels(camera: PinholeCamera) -> npt.NDArray[np.float32]:
    """(H, W, 2) ego x, y in m where each pixel's ray meets the plane z = 0; NaN at and above the horizon."""
    v, u = np.mgrid[0 : camera.height_px, 0 : camera.width_px]
    rays_ego = camera.rays_cam(np.stack([u.ravel(), v.ravel()], axis=1)) @ camera.ego_SE3_cam.rotation.T
    origin = camera.ego_SE3_cam.translation
    with np.errstate(divide="ignore", invalid="ignore"):
        reach = np.where(rays_ego[:, 2] < 0, -origin[2] / rays_ego[:, 2], np.nan)
    ground_xy = origin[:2] + rays_ego[:, :2] * reach[:, None]
    return np.asarray(ground_xy, dtype=np.float32).reshape(camera.height_px, camera.width_px, 2)


def _same_view(a: PinholeCamera | None, b: PinholeCamera) -> bool:
    return a is b or (
        a is not None
        and (a.width_px, a.height_px) == (b.width_px, b.height_px)
        and np.array_equal(a.matrix, b.matrix)
        and np.array_equal(a.distortion, b.distortion)
        and np.array_equal(a.ego_SE3_cam.matrix, b.ego_SE3_cam.matrix)
    )
