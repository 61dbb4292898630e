"""A drive in memory: the world moves, the rig looks at it, and every frame comes with its truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.classes import SEMANTIC_CLASSES, SEMANTIC_OF_OBJECT
from perception.errors import ConfigError
from perception.geometry import SE3
from sim_data.furniture import LIGHT_RGB
from sim_data.lidar import Lidar
from sim_data.light import draw_light
from sim_data.optics import Optics, Picture
from sim_data.people import FIGURES, PEDAL_PHASES, STEP_LENGTH_M, STEP_PHASES
from sim_data.population import CYCLIST, MOTORCYCLIST, name_movers, populate
from sim_data.render import Renderer, Scene
from sim_data.rigs import Rig
from sim_data.scenario import Scenario, load_scenario
from sim_data.truth import ObjectTruth, TruthFinder
from sim_data.vehicle_state import Vehicle
from sim_data.world import SceneObject, World

__all__ = ["SimFrame", "Simulation", "stream"]

_WARM_UP_S = 5.0
_ON_THE_GROUND = ("car", "van", "truck", "bus", "pedestrian", "cyclist", "bicycle", "motorcycle")
_NO_CAST = {SEMANTIC_CLASSES.index(name) for name in ("road", "sidewalk", "terrain", "lane marking")}


@dataclass(slots=True, eq=False)
class SimFrame:
    """One moment of a simulated drive.

    Attributes:
        index: from 0.
        timestamp_ns: of every sensor.
        world_SE3_ego: true pose.
        velocity_world: (3,) m/s; ``acceleration_ego`` (3,) m/s2; ``turn_rate_radps`` about ego z.
        pictures: by camera name.
        points_ego: (P, 4) f32, or None without a lidar.
        objects: every object of the world.
        truth: by camera name, one row per object in front of it.
    """

    index: int
    timestamp_ns: int
    world_SE3_ego: SE3
    velocity_world: npt.NDArray[np.float64]
    acceleration_ego: npt.NDArray[np.float64]
    turn_rate_radps: float
    pictures: dict[str, Picture]
    points_ego: npt.NDArray[np.float32] | None
    objects: list[SceneObject]
    truth: dict[str, ObjectTruth]


@dataclass(slots=True, eq=False)
class _Moment:
    """Where everything that moves is: rows in a fixed order, the same at every moment."""

    world_SE3_ego: SE3
    speed_mps: float
    accel_mps2: float
    mesh: npt.NDArray[np.int64]
    position: npt.NDArray[np.float64]
    yaw: npt.NDArray[np.float64]
    looks: npt.NDArray[np.float64]
    speed: npt.NDArray[np.float64]


class Simulation:
    """One world, its traffic and a rig; ``frames`` renders, ``skip`` only moves on."""

    def __init__(self, scenario: Scenario, seed: int, rig: Rig, threads: int = 2) -> None:
        rig = rig.drawn(seed)
        self.scenario, self.seed, self.rig = scenario, seed, rig
        self.optics = [
            Optics(camera, rig.lens, scenario.weather.rain, seed * 64 + k) for k, camera in enumerate(rig.cameras)
        ]
        self.world = World.build(scenario, seed)
        rng = np.random.default_rng([seed, 2])
        self.light = draw_light(scenario.weather, rng)
        self.renderer = Renderer(
            self.world.library, self.world.coarse, self.world.ground.paints, self.light, self.world.lamps, seed, threads
        )
        self.lidar = None if rig.lidar is None else Lidar(rig.lidar)
        self.truth = TruthFinder(self.world.library, self.renderer.masks)
        self.traffic = populate(self.world, np.random.default_rng([seed, 3]))
        self.cast = name_movers(self.world, self.traffic, np.random.default_rng([seed, 4]))
        self.traffic.advance(_WARM_UP_S)
        self._fixed = _fixed_arrays(self.world)
        self._now = self._moment()
        self._index = 0

    def close(self) -> None:
        """Ends the threads."""
        self.renderer.close()

    def _moment(self) -> _Moment:
        world, traffic = self.world, self.traffic
        mesh, position, yaw, speed = [], [], [], []
        looks = [list(row) for row in self.cast.looks]
        for k, vehicle in enumerate(traffic.vehicles[1:]):
            x, y, heading = traffic.pose(k + 1)
            if vehicle.shape == CYCLIST:
                phase = int(vehicle.travelled_m / 4.2 * PEDAL_PHASES) % PEDAL_PHASES
                mesh.append(world.cyclist_mesh[vehicle.number % 2][phase])
            elif vehicle.shape == MOTORCYCLIST:
                mesh.append(world.motorcycle_mesh[vehicle.number % len(world.motorcycle_mesh)])
            else:
                mesh.append(world.vehicle_mesh[vehicle.shape])
                looks[k][3] = 1.0 if vehicle.accel_mps2 < -0.6 or vehicle.speed_mps < 0.2 else 0.0
            position.append((x, y, 0.0))
            yaw.append(heading)
            speed.append(vehicle.speed_mps)
        for k, (build, way_m) in enumerate(zip(traffic.walkers.build, traffic.walkers.ways_m, strict=True)):
            x, y, heading = traffic.pose(len(traffic.vehicles) + k)
            phase = int(way_m / (STEP_LENGTH_M * FIGURES[build][1]) * STEP_PHASES) % STEP_PHASES
            mesh.append(world.vehicle_mesh_of_walker[build][phase])
            position.append((x, y, traffic.walkers.height_m(k)))
            yaw.append(heading)
            speed.append(0.0)
        for junction, arm, _, place, heading, heads in world.signal_heads:
            state = world.network.junctions[junction].green_arm(arm, traffic.time_s)
            looks[len(mesh)][:3] = LIGHT_RGB[state]
            mesh.append(heads[state])
            position.append(place)
            yaw.append(heading)
            speed.append(0.0)
        ego = traffic.vehicles[0]
        x, y, heading = traffic.pose(0)
        return _Moment(
            _ego_pose(x, y, heading, ego, traffic.time_s), ego.speed_mps, ego.accel_mps2, np.array(mesh, np.int64),
            np.array(position).reshape(-1, 3), np.array(yaw), np.array(looks).reshape(-1, 8), np.array(speed),
        )  # fmt: skip

    def _scene(self, now: _Moment, following: _Moment) -> Scene:
        fixed = self._fixed
        count = len(now.mesh)
        semantic = np.array([SEMANTIC_CLASSES.index(SEMANTIC_OF_OBJECT[name]) for name in self.cast.classes], np.uint8)
        return Scene(
            np.concatenate([fixed.mesh, now.mesh]),
            np.concatenate([fixed.rotation, _about_z(now.yaw)]),
            np.concatenate([fixed.position, now.position]),
            np.concatenate([fixed.scale, np.ones(count)]),
            np.concatenate([fixed.rotation, _about_z(following.yaw)]),
            np.concatenate([fixed.position, following.position]),
            np.concatenate([fixed.looks, now.looks]),
            np.concatenate([fixed.semantic, semantic]),
            np.concatenate([fixed.instance, np.array(self.cast.instances, np.int32)]),
            np.concatenate([fixed.casts, np.ones(count, bool)]),
            fixed.fixed,
        )

    def _objects(self, now: _Moment, following: _Moment, dt_s: float) -> list[SceneObject]:
        found = list(self.world.objects)
        for k, name in enumerate(self.cast.classes):
            x, y, z = (float(v) for v in now.position[k])
            low, high = self.world.boxes[int(now.mesh[k])]
            velocity = (following.position[k] - now.position[k]) / dt_s
            found.append(
                SceneObject(
                    self.cast.instances[k], name, (x, y, z), float(now.yaw[k]), low, high,
                    (float(velocity[0]), float(velocity[1]), float(velocity[2])), int(now.mesh[k]),
                    name != "traffic_light",
                )
            )  # fmt: skip
        return found

    def skip(self, count: int) -> None:
        """Moves on by frames that nobody looks at."""
        for _ in range(count):
            self.traffic.advance(1.0 / self.rig.rate_hz)
            self._index += 1
        if count:
            self._now = self._moment()

    def frames(self, count: int) -> Iterator[SimFrame]:
        """Renders the next ``count`` frames."""
        dt_s = 1.0 / self.rig.rate_hz
        for _ in range(count):
            now = self._now
            self.traffic.advance(dt_s)
            following = self._moment()
            yield self._frame(now, following, dt_s)
            self._now = following
            self._index += 1

    def _frame(self, now: _Moment, following: _Moment, dt_s: float) -> SimFrame:
        scene = self._scene(now, following)
        objects = self._objects(now, following, dt_s)
        place = now.world_SE3_ego.translation
        footprints = np.array(
            [
                (*item.position[:2], item.yaw, item.high[0] - item.low[0], item.high[1] - item.low[1])
                for item in objects
                if item.object_class in _ON_THE_GROUND
                and abs(item.position[0] - place[0]) < 80
                and abs(item.position[1] - place[1]) < 80
            ]
        ).reshape(-1, 5)
        rng = np.random.default_rng([self.seed, 9, self._index])
        lamps = self._headlights(now.world_SE3_ego)
        # one camera looks ahead; several look around, and share one shadow map
        reach = 18.0 if len(self.rig.cameras) == 1 else 0.0
        focus = (place + reach * now.world_SE3_ego.rotation[:, 0]) * [1.0, 1.0, 0.0]
        pictures, truth = {}, {}
        for optics in self.optics:
            camera = optics.camera
            shift = (int(rng.integers(256)), int(rng.integers(256)))
            pose = now.world_SE3_ego @ camera.ego_SE3_cam
            view = self.renderer.render(
                scene, optics.pinhole, pose, following.world_SE3_ego @ camera.ego_SE3_cam, footprints, lamps, focus
            )
            picture = optics.develop(
                view, self.renderer.by_bands, self.light.exposure, self.renderer.grain, shift, dt_s, self._index * dt_s
            )
            pictures[camera.name] = picture
            truth[camera.name] = self.truth.find(objects, optics, pose, picture, view.instance)
        points = None
        if self.lidar is not None:
            points = self.lidar.scan(self.renderer, scene, now.world_SE3_ego, rng)
        velocity = (following.world_SE3_ego.translation - now.world_SE3_ego.translation) / dt_s
        turn = float(np.angle(np.exp(1j * (following.world_SE3_ego.yaw_rad - now.world_SE3_ego.yaw_rad)))) / dt_s
        return SimFrame(
            self._index, round(self._index * 1e9 * dt_s), now.world_SE3_ego, velocity,
            np.array([now.accel_mps2, now.speed_mps * turn, 0.0]), turn, pictures, points, objects, truth,
        )  # fmt: skip

    def _headlights(self, ego: SE3) -> npt.NDArray[np.float64]:
        if self.light.vector[22] <= 0:
            return np.zeros((0, 10))
        rows = []
        for side in (0.6, -0.6):
            x, y, z = ego.apply(np.array([1.9, side, 0.65]))
            ahead = ego.rotation[:, 0]
            rows.append([x, y, z, 95.0, 92.0, 82.0, 75.0, 1.0, ahead[0], ahead[1]])
        return np.array(rows)


def _about_z(yaw: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    rotation = np.zeros((len(yaw), 3, 3))
    rotation[:, 0, 0] = rotation[:, 1, 1] = np.cos(yaw)
    rotation[:, 1, 0] = np.sin(yaw)
    rotation[:, 0, 1] = -rotation[:, 1, 0]
    rotation[:, 2, 2] = 1.0
    return rotation


def _fixed_arrays(world: World) -> Scene:
    placed = world.placed
    rotation = _about_z(np.array(placed.yaw))
    position = np.array(placed.position)
    semantic = np.array(placed.semantic, np.uint8)
    return Scene(
        np.array(placed.mesh, np.int64), rotation, position, np.array(placed.scale), rotation, position,
        np.array(placed.looks), semantic, np.array(placed.instance, np.int32),
        ~np.isin(semantic, list(_NO_CAST)), len(position),
    )  # fmt: skip


def _ego_pose(x: float, y: float, heading: float, ego: Vehicle, time_s: float) -> SE3:
    """The body dips when braking and sways a little on the road's unevenness."""
    share = min(ego.speed_mps / 8.0, 1.0)
    way = ego.travelled_m
    pitch = -0.0045 * ego.accel_mps2 + share * (0.0022 * np.sin(way * 0.63) + 0.0014 * np.sin(way * 1.47 + 1.0))
    roll = share * (0.0030 * np.sin(way * 0.41 + 2.0) + 0.0012 * np.sin(way * 1.13))
    cp, sp, cr, sr = np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    about_x = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
    return SE3(SE3.from_yaw(heading).rotation @ about_y @ about_x, np.array([x, y, 0.0]))


def stream(
    scenario: str | Path | Scenario, seed: int, frames: int, rig: str | Rig = "train", threads: int = 2
) -> Iterator[SimFrame]:
    """Simulated frames with their truth, one by one in memory.

    Args:
        scenario: a name, a TOML file or a ``Scenario``.
        seed: everything random comes from it.
        frames: how many.
        rig: a preset's name or a ``Rig``.
        threads: for rendering; the result does not depend on it.

    Raises:
        ConfigError: an unknown scenario or rig, or an impossible setting.
    """
    from sim_data.rigs import load_rig

    if frames < 1:
        raise ConfigError(f"frames must be at least 1 but got {frames}")
    simulation = Simulation(
        scenario if isinstance(scenario, Scenario) else load_scenario(scenario), seed,
        rig if isinstance(rig, Rig) else load_rig(rig), threads,
    )  # fmt: skip
    try:
        yield from simulation.frames(frames)
    finally:
        simulation.close()
