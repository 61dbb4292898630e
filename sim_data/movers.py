"""From the state of the traffic to what is drawn and labelled: meshes, places and looks of everything that moves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perception.classes import SEMANTIC_CLASSES, SEMANTIC_OF_OBJECT
from perception.geometry import SE3
from sim_data.furniture import LIGHT_RGB
from sim_data.kernels.traffic import ACCEL, SHAPE, SPEED, TRAVELLED
from sim_data.people import FIGURES, PEDAL_PHASES, STEP_LENGTH_M, STEP_PHASES
from sim_data.population import CYCLIST, MOTORCYCLIST, Cast
from sim_data.scene import Scene, about_z, spheres
from sim_data.traffic import Traffic
from sim_data.world import SceneObject, World

__all__ = ["Moment", "Movers", "Objects"]

Array = npt.NDArray[np.float64]
_PEDAL_M = 4.2  # way of one turn of a cyclist's pedals
_BRAKES_MPS2, _STANDS_MPS = -0.6, 0.2  # brake lights
_BRAKE_LIGHT = 3  # column of the looks
_NO_CAST = {SEMANTIC_CLASSES.index(name) for name in ("road", "sidewalk", "terrain", "lane marking")}
_ON_THE_GROUND = ("car", "van", "truck", "bus", "pedestrian", "cyclist", "bicycle", "motorcycle")


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """Where everything that moves is: rows in a fixed order, the same at every moment.

    Attributes:
        world_SE3_ego: pose of the ego vehicle; ``speed_mps`` and ``accel_mps2`` along its path.
        speed_mps: as above.
        accel_mps2: as above.
        mesh: (M,) numbers in the library; ``position`` (M, 3) m, ``yaw`` (M,) in the world, ``looks`` (M, 8).
        position: as above.
        yaw: as above.
        looks: as above.
    """

    world_SE3_ego: SE3
    speed_mps: float
    accel_mps2: float
    mesh: npt.NDArray[np.int64]
    position: Array
    yaw: Array
    looks: Array


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """Everything with an identity at one moment, one row each; a row becomes a ``SceneObject`` when it is asked for.

    Attributes:
        names: classes in ``OBJECT_CLASSES``.
        instance: (N,) ids, stable over the drive.
        position: (N, 3) m and ``yaw`` (N,) of the meshes in the world.
        yaw: as above.
        low: (N, 3) lowest corners of the boxes in the meshes' frames, m; ``high`` likewise.
        high: as above.
        velocity: (N, 3) m/s in the world.
        mesh: (N,) numbers in the library.
        moving: (N,) False for parked and fixed ones.
    """

    names: list[str]
    instance: npt.NDArray[np.int64]
    position: Array
    yaw: Array
    low: Array
    high: Array
    velocity: Array
    mesh: npt.NDArray[np.int64]
    moving: npt.NDArray[np.bool_]

    def take(self, rows: npt.NDArray[np.int64]) -> Objects:
        """Some of them."""
        return Objects(
            [self.names[int(row)] for row in rows], self.instance[rows], self.position[rows], self.yaw[rows],
            self.low[rows], self.high[rows], self.velocity[rows], self.mesh[rows], self.moving[rows],
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[SceneObject]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, row: int) -> SceneObject:
        if not 0 <= row < len(self):
            raise IndexError(f"row must be in 0 ... {len(self) - 1} but got {row}")
        position, low, high, velocity = (
            (float(part[row, 0]), float(part[row, 1]), float(part[row, 2]))
            for part in (self.position, self.low, self.high, self.velocity)
        )
        return SceneObject(
            int(self.instance[row]), self.names[row], position, float(self.yaw[row]), low, high, velocity,
            int(self.mesh[row]), bool(self.moving[row]),
        )  # fmt: skip


class Movers:
    """Reads the traffic of one world."""

    def __init__(self, world: World, traffic: Traffic, cast: Cast) -> None:
        self.world, self.traffic, self.cast = world, traffic, cast
        self.looks = np.array(cast.looks).reshape(-1, 8)
        self.semantic = np.array([SEMANTIC_CLASSES.index(SEMANTIC_OF_OBJECT[name]) for name in cast.classes], np.uint8)
        self.instances = np.array(cast.instances, np.int32)
        self._still = self._still_scene()
        self._local = threading.local()
        shapes = traffic.wholes[1:, SHAPE]
        numbers = np.array([vehicle.number for vehicle in traffic.vehicles[1:]], np.int64)
        self._cyclists, motorcycles = np.flatnonzero(shapes == CYCLIST), np.flatnonzero(shapes == MOTORCYCLIST)
        self._driven = np.flatnonzero(shapes >= 0)
        self._mesh = np.zeros(len(shapes), np.int64)
        self._mesh[self._driven] = np.array(world.vehicle_mesh, np.int64)[shapes[self._driven]]
        self._mesh[motorcycles] = np.array(world.motorcycle_mesh)[numbers[motorcycles] % len(world.motorcycle_mesh)]
        self._pedalling = np.array(world.cyclist_mesh, np.int64)[numbers[self._cyclists] % 2]
        build = np.array(traffic.walkers.build, np.int64)
        self._stepping = np.array(world.vehicle_mesh_of_walker, np.int64)[build]
        self._step_m = STEP_LENGTH_M * np.array([size for _, size in FIGURES])[build]
        self._head_places = np.array([place for _, _, _, place, _, _ in world.signal_heads]).reshape(-1, 3)
        self._head_yaws = np.array([yaw for _, _, _, _, yaw, _ in world.signal_heads])
        self._lows = np.array([world.boxes.get(k, ((0.0,) * 3,) * 2)[0] for k in range(len(world.library.meshes))])
        self._highs = np.array([world.boxes.get(k, ((0.0,) * 3,) * 2)[1] for k in range(len(world.library.meshes))])
        self._names = [item.object_class for item in world.objects] + cast.classes
        self._grounded = np.array([name in _ON_THE_GROUND for name in self._names], bool)
        moving = [False] * len(world.objects) + [name != "traffic_light" for name in cast.classes]
        self._moving = np.array(moving, bool)
        self._ids = np.array([item.instance for item in world.objects] + cast.instances, np.int64)
        self._places = np.array([item.position for item in world.objects]).reshape(-1, 3)
        self._yaws = np.array([item.yaw for item in world.objects])
        self._meshes = np.array([item.mesh for item in world.objects], np.int64)

    def moment(self) -> Moment:
        """Everything as it is now."""
        world, traffic = self.world, self.traffic
        vehicles, walkers = len(traffic.vehicles), len(traffic.walkers.rows)
        floats, looks = traffic.floats[1:], self.looks.copy()
        driven = floats[self._driven]
        braking = (driven[:, ACCEL] < _BRAKES_MPS2) | (driven[:, SPEED] < _STANDS_MPS)
        looks[self._driven, _BRAKE_LIGHT] = braking
        mesh = np.empty(len(looks), np.int64)
        mesh[: vehicles - 1] = self._mesh
        phase = (floats[self._cyclists, TRAVELLED] / _PEDAL_M * PEDAL_PHASES).astype(np.int64) % PEDAL_PHASES
        mesh[self._cyclists] = self._pedalling[np.arange(len(phase)), phase]
        step = (traffic.walkers.ways_m / self._step_m * STEP_PHASES).astype(np.int64) % STEP_PHASES
        heads = vehicles - 1 + walkers
        mesh[vehicles - 1 : heads] = self._stepping[np.arange(walkers), step]
        for row, (junction, arm, _, _, _, meshes) in enumerate(world.signal_heads, heads):
            state = world.network.junctions[junction].green_arm(arm, traffic.time_s)
            looks[row, :3] = LIGHT_RGB[state]
            mesh[row] = meshes[state]
        position = np.zeros((len(looks), 3))
        position[:heads, :2] = traffic.bodies[1 : heads + 1, :2]
        position[vehicles - 1 : heads, 2] = traffic.walkers.heights_m
        position[heads:] = self._head_places
        yaw = np.concatenate([traffic.bodies[1 : heads + 1, 2], self._head_yaws])
        ego = traffic.floats[0]
        return Moment(
            _ego_pose(traffic.pose(0), float(ego[SPEED]), float(ego[ACCEL]), float(ego[TRAVELLED])),
            float(ego[SPEED]), float(ego[ACCEL]), mesh, position, yaw, looks,
        )  # fmt: skip

    def scene(self, now: Moment, following: Moment) -> Scene:
        """What stands where, and where it will be; valid until this thread's next call."""
        scene: Scene | None = getattr(self._local, "scene", None)
        if scene is None:
            scene = self._local.scene = self._template()
        moving = slice(scene.fixed, None)
        rotation = about_z(now.yaw)
        scene.mesh[moving], scene.rotation[moving], scene.position[moving] = now.mesh, rotation, now.position
        scene.next_rotation[moving], scene.next_position[moving] = about_z(following.yaw), following.position
        scene.looks[moving] = now.looks
        scene.centres[moving], scene.radii[moving] = spheres(
            self.world.library, now.mesh, rotation, now.position, scene.scale[moving]
        )
        return scene

    def _template(self) -> Scene:
        """A scene of its own whose moving rows are still to be filled."""
        still, count = self._still, len(self.looks)

        def longer(part: Any, tail: Any = 0) -> Any:
            return np.concatenate([part, np.full((count, *part.shape[1:]), tail, part.dtype)])

        scene = Scene(
            longer(still.mesh), longer(still.rotation), longer(still.position), longer(still.scale, 1.0),
            longer(still.rotation), longer(still.position), longer(still.looks), longer(still.semantic),
            longer(still.instance), longer(still.casts, True), longer(still.centres), longer(still.radii), still.fixed,
        )  # fmt: skip
        scene.semantic[still.fixed :], scene.instance[still.fixed :] = self.semantic, self.instances
        return scene

    def objects(self, now: Moment, following: Moment, dt_s: float) -> Objects:
        """Everything with an identity; velocity is the change of place until the next frame."""
        mesh = np.concatenate([self._meshes, now.mesh])
        velocity = np.zeros((len(mesh), 3))
        velocity[len(self._meshes) :] = (following.position - now.position) / dt_s
        return Objects(
            self._names, self._ids, np.concatenate([self._places, now.position]), np.concatenate([self._yaws, now.yaw]),
            self._lows[mesh], self._highs[mesh], velocity, mesh, self._moving,
        )  # fmt: skip

    def footprints(self, objects: Objects, place: Array, reach_m: float) -> Array:
        """(F, 5) x, y, yaw, length and width of what stands on the ground around a place."""
        near = (np.abs(objects.position[:, :2] - place[:2]) < reach_m).all(axis=1) & self._grounded
        size = objects.high[near, :2] - objects.low[near, :2]
        return np.column_stack([objects.position[near, :2], objects.yaw[near], size])

    def _still_scene(self) -> Scene:
        placed = self.world.placed
        mesh, position = np.array(placed.mesh, np.int64), np.array(placed.position)
        rotation, scale = about_z(np.array(placed.yaw)), np.array(placed.scale)
        semantic = np.array(placed.semantic, np.uint8)
        centres, radii = spheres(self.world.library, mesh, rotation, position, scale)
        return Scene(
            mesh, rotation, position, scale, rotation, position, np.array(placed.looks), semantic,
            np.array(placed.instance, np.int32), ~np.isin(semantic, list(_NO_CAST)), centres, radii, len(position),
        )  # fmt: skip


def _ego_pose(pose: tuple[float, float, float], speed_mps: float, accel_mps2: float, way_m: float) -> SE3:
    """The body dips when braking and sways a little on the road's unevenness."""
    x, y, heading = pose
    share = min(speed_mps / 8.0, 1.0)
    pitch = -0.0045 * accel_mps2 + share * (0.0022 * np.sin(way_m * 0.63) + 0.0014 * np.sin(way_m * 1.47 + 1.0))
    roll = share * (0.0030 * np.sin(way_m * 0.41 + 2.0) + 0.0012 * np.sin(way_m * 1.13))
    cp, sp, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return SE3(SE3.from_yaw(heading).rotation @ about_y @ about_x, np.array([x, y, 0.0]))
