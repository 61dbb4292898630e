"""A drive in memory: the world moves, the rig looks at it, and every frame comes with its truth."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError
from perception.geometry import SE3
from sim_data.lidar import Lidar
from sim_data.light import draw_light
from sim_data.movers import Moment, Movers, Objects
from sim_data.optics import Optics, Picture
from sim_data.population import name_movers, populate
from sim_data.render import Renderer
from sim_data.rigs import Rig, load_rig
from sim_data.scenario import Scenario, load_scenario
from sim_data.truth import ObjectTruth, TruthFinder
from sim_data.world import World

__all__ = ["SimFrame", "Simulation", "stream"]

_WARM_UP_S = 5.0
_CONTACT_REACH_M = 80.0


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
    objects: Objects
    truth: dict[str, ObjectTruth]


class Simulation:
    """One world, its traffic and a rig; ``frames`` renders, ``skip`` only moves on.

    Several threads render as many frames at once. A frame depends on its moment alone, so they change no bit of it.
    """

    def __init__(self, scenario: Scenario, seed: int, rig: Rig, threads: int = 2) -> None:
        rig = rig.drawn(seed)
        self.scenario, self.seed, self.rig, self.threads = scenario, seed, rig, threads
        self.optics = [
            Optics(camera, rig.lens, scenario.weather.rain, seed * 64 + k) for k, camera in enumerate(rig.cameras)
        ]
        self.world = World.build(scenario, seed)
        rng = np.random.default_rng([seed, 2])
        self.light = draw_light(scenario.weather, rng)
        self.renderer = Renderer(
            self.world.library,
            (self.world.coarse, self.world.distant, self.world.faint),
            self.world.ground.paints,
            self.light,
            self.world.lamps,
            seed,
        )
        self.lidar = None if rig.lidar is None else Lidar(rig.lidar)
        self.truth = TruthFinder(self.world.library)
        self.traffic = populate(self.world, np.random.default_rng([seed, 3]))
        cast = name_movers(self.world, self.traffic, np.random.default_rng([seed, 4]))
        self.movers = Movers(self.world, self.traffic, cast)
        self.traffic.advance(_WARM_UP_S)
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._now = self.movers.moment()
        self._index = 0

    def close(self) -> None:
        """Ends the threads."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def skip(self, count: int) -> None:
        """Moves on by frames that nobody looks at."""
        for _ in range(count):
            self.traffic.advance(1.0 / self.rig.rate_hz)
            self._index += 1
        if count:
            self._now = self.movers.moment()

    def frames(self, count: int) -> Iterator[SimFrame]:
        """Renders the next ``count`` frames; who stops early has skipped those that were begun."""
        dt_s = 1.0 / self.rig.rate_hz
        waiting: deque[Future[SimFrame]] = deque()
        for _ in range(count):
            now = self._now
            self.traffic.advance(dt_s)
            self._now = self.movers.moment()
            self._index += 1
            if self._pool is None:
                yield self._frame(self._index - 1, now, self._now, dt_s)
                continue
            waiting.append(self._pool.submit(self._frame, self._index - 1, now, self._now, dt_s))
            # one more than can be rendered at once, so that no thread waits for who reads them
            if len(waiting) > self.threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _frame(self, index: int, now: Moment, following: Moment, dt_s: float) -> SimFrame:
        scene = self.movers.scene(now, following)
        objects = self.movers.objects(now, following, dt_s)
        place = now.world_SE3_ego.translation
        rng = np.random.default_rng([self.seed, 9, index])
        # one camera looks ahead; several look around, and share one shadow map
        reach = 18.0 if len(self.rig.cameras) == 1 else 0.0
        focus = (place + reach * now.world_SE3_ego.rotation[:, 0]) * [1.0, 1.0, 0.0]
        around = self.renderer.surroundings(
            scene, focus, self.movers.footprints(objects, place, _CONTACT_REACH_M),
            self._headlights(now.world_SE3_ego),
        )  # fmt: skip
        velocity = (following.world_SE3_ego.translation - now.world_SE3_ego.translation) / dt_s
        pictures, truth = {}, {}
        for optics in self.optics:
            camera = optics.camera
            shift = (int(rng.integers(256)), int(rng.integers(256)))
            pose = now.world_SE3_ego @ camera.ego_SE3_cam
            view = self.renderer.render(around, optics.pinhole, pose, following.world_SE3_ego @ camera.ego_SE3_cam)
            picture = optics.develop(
                view, self.light.exposure, self.renderer.grain, shift, dt_s, index * dt_s, pose.rotation.T, velocity
            )
            pictures[camera.name] = picture
            truth[camera.name] = self.truth.find(objects, optics, pose, picture, view)
        points = None
        if self.lidar is not None:
            points = self.lidar.scan(self.renderer, scene, now.world_SE3_ego, rng)
        turn = float(np.angle(np.exp(1j * (following.world_SE3_ego.yaw_rad - now.world_SE3_ego.yaw_rad)))) / dt_s
        return SimFrame(
            index, round(index * 1e9 * dt_s), now.world_SE3_ego, velocity,
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


def stream(
    scenario: str | Path | Scenario, seed: int, frames: int, rig: str | Rig = "train", threads: int = 2
) -> Iterator[SimFrame]:
    """Simulated frames with their truth, one by one in memory.

    Args:
        scenario: a name, a TOML file or a ``Scenario``.
        seed: everything random comes from it.
        frames: how many.
        rig: a preset's name or a ``Rig``.
        threads: that render, each a frame of its own; the result does not depend on it.

    Raises:
        ConfigError: an unknown scenario or rig, or an impossible setting.
    """
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
