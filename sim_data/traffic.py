"""Moving traffic: vehicles that follow lanes, keep their distance, change lanes, take turns at junctions, and people.

Car following is the intelligent driver model (Treiber, Hennecke and Helbing, 2000): the distance is what is free along
the vehicle's own path, whoever is in the way. A junction is entered with a grant: nobody with a crossing path holds
one, the light is green or it is one's turn, and there is room behind it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sim_data.kernels.traffic import (
    AFTER,
    BODY_COLUMNS,
    DRAW,
    FLOATS,
    GRANTED,
    HALF_LONG,
    HALF_WIDE,
    NEXT,
    PATH,
    SPEED,
    VEHICLE,
    WHOLES,
    S,
    drive,
    free_distances,
    overlapping,
    place_vehicles,
    walk,
)  # fmt: skip
from sim_data.lane_changes import CALM_AFTER_S, consider_change
from sim_data.lane_paths import LanePath
from sim_data.network import Network
from sim_data.right_of_way import RightOfWay
from sim_data.vehicle_state import Vehicle
from sim_data.walking import Walkers

__all__ = ["STEP_S", "Traffic"]

Array = npt.NDArray[np.float64]
Wholes = npt.NDArray[np.int64]
STEP_S = 0.05


@dataclass(slots=True)
class Traffic:
    """All that moves, advanced in steps of ``STEP_S``; vehicle 0 is the ego vehicle.

    Attributes:
        network: lanes and junctions.
        vehicles: ego first.
        walkers: people on foot.
        standing: (S, 8) bodies of what is parked.
        rng: for the choice of ways.
        time_s: since the beginning.
        bodies: (V + W + S, 8) of everything with a footprint, vehicles first, then walkers.
        floats: (V, ``FLOATS``) numbers of the vehicles, as ``drive`` reads them; ``wholes`` (V, ``WHOLES``) likewise.
        wholes: as above.
    """

    network: Network
    vehicles: list[Vehicle]
    walkers: Walkers
    standing: Array
    rng: np.random.Generator
    time_s: float = 0.0
    bodies: Array = field(default_factory=lambda: np.zeros((0, BODY_COLUMNS)))
    floats: Array = field(default_factory=lambda: np.zeros((0, FLOATS)))
    wholes: Wholes = field(default_factory=lambda: np.zeros((0, WHOLES), np.int64))
    _paths: tuple[Array, Wholes, Array] = field(init=False)
    _roads: tuple[Array, Wholes, Wholes] = field(init=False)
    _ahead_junction: Wholes = field(init=False)
    _right_of_way: RightOfWay = field(init=False)

    def __post_init__(self) -> None:
        paths = self.network.paths
        starts = np.concatenate([[0], np.cumsum([len(path.points) for path in paths])]).astype(np.int64)
        lengths = np.array([path.length_m for path in paths])
        self._paths = (np.ascontiguousarray(np.concatenate([path.points for path in paths])), starts, lengths)
        onward = [self._leading(path) for path in paths]
        counts = np.array([len(row) for row in onward], np.int64)
        links = np.array(
            [(path.junction, path.following[0] if path.following else -1, 0, 0, path.left >= 0 or path.right >= 0)
             for path in paths], np.int64,
        )  # fmt: skip
        links[:, 2], links[:, 3] = np.cumsum(counts) - counts, counts
        limits = np.array([(path.speed_mps, self._line_m(path)) for path in paths])
        self._roads = (limits, links, np.array([p for row in onward for p in row], np.int64))
        self._ahead_junction = np.array([path.ahead_junction for path in paths], np.int64)
        self._right_of_way = RightOfWay(self.network)

    def begin(self) -> None:
        """Puts everybody where they are at first; to be called once, when nobody joins any more."""
        count = len(self.vehicles)
        self.floats = np.array([vehicle.floats for vehicle in self.vehicles])
        self.wholes = np.array([vehicle.wholes for vehicle in self.vehicles])
        for k, vehicle in enumerate(self.vehicles):
            vehicle.floats, vehicle.wholes = self.floats[k], self.wholes[k]
        self._look_beyond()
        self.bodies = np.zeros((count + len(self.walkers.rows) + len(self.standing), BODY_COLUMNS))
        self.bodies[:count, 3:5] = self.floats[:, [HALF_LONG, HALF_WIDE]]
        self.bodies[:count, 7] = VEHICLE
        self.walkers.begin(self.bodies, count)
        self.bodies[count + len(self.walkers.rows) :] = self.standing
        self.bodies[:count, :3] = place_vehicles(self._paths, self.wholes, self.floats)
        speed, yaw = self.floats[:, SPEED], self.bodies[:count, 2]
        self.bodies[:count, 5], self.bodies[:count, 6] = speed * np.cos(yaw), speed * np.sin(yaw)

    def pose(self, vehicle: int) -> tuple[float, float, float]:
        """x, y and heading of a vehicle."""
        x, y, yaw = self.bodies[vehicle, :3]
        return float(x), float(y), float(yaw)

    def free_at_start(self, vehicle: Vehicle, distance_m: float) -> bool:
        """Whether a vehicle that may join would have a distance before and behind it to all who have joined."""
        everybody = [vehicle, *self.vehicles]
        wholes = np.array([each.wholes for each in everybody])
        wholes[:, AFTER] = self._following(wholes[:, NEXT])
        floats = np.array([each.floats for each in everybody])
        bodies = np.zeros((len(everybody), BODY_COLUMNS))
        bodies[:, :3] = place_vehicles(self._paths, wholes, floats)
        bodies[:, 3:5], bodies[:, 7] = floats[:, [HALF_LONG, HALF_WIDE]], VEHICLE
        bodies[0, 3] += distance_m
        x, y, yaw = (float(v) for v in bodies[0, :3])
        return not overlapping(np.ascontiguousarray(np.vstack([bodies, self.standing])), 0, (x, y, yaw), 0.05)

    def advance(self, duration_s: float) -> None:
        """Moves everything on."""
        for _ in range(round(duration_s / STEP_S)):
            self._step()

    def _following(self, paths: Wholes) -> Wholes:
        """The first path after each, -1 after none."""
        return np.where(paths >= 0, self._roads[1][paths, 1], -1)

    def _look_beyond(self) -> None:
        """Renews what was used or is not known: the paths after the next ones, and numbers for choices."""
        self.wholes[:, AFTER] = self._following(self.wholes[:, NEXT])
        for row in np.flatnonzero(self.floats[:, DRAW] < 0):
            self.floats[row, DRAW] = self.rng.uniform()

    def _step(self) -> None:
        count = len(self.vehicles)
        self._right_of_way.grant(self.vehicles, self._near_junctions(), self.time_s)
        seen = np.concatenate([self.bodies, self.walkers.claims()])
        gaps = free_distances(self._paths, self.wholes, self.floats, seen)
        thinking = drive(self._paths, self._roads, self.floats, self.wholes, gaps, self.bodies, STEP_S)
        for number in thinking:
            vehicle = self.vehicles[number]
            if consider_change(self.network, self.bodies, self.vehicles, int(number)):
                vehicle.next_path = self.choose(self.network.paths[vehicle.path])
                vehicle.forget_behind()
                vehicle.granted, vehicle.calm_s = -1, CALM_AFTER_S
        self._look_beyond()
        if len(self.walkers.rows):
            walk(
                self.walkers.lines, self.walkers.roads, self.walkers.rows, self.bodies, count, count,
                self.walkers.allowed(self._light), STEP_S,
            )  # fmt: skip
        self.time_s += STEP_S

    def _near_junctions(self) -> list[Vehicle]:
        """Those that hold a grant or want one."""
        path, speed, half = self.wholes[:, PATH], self.floats[:, SPEED], self.floats[:, HALF_LONG]
        to_end = self._paths[2][path] - self.floats[:, S]
        asking = (self._ahead_junction[path] >= 0) & (self.wholes[:, NEXT] >= 0)
        asking &= to_end < 12.0 + half + 1.2 * speed + speed**2 / 5.0
        return [self.vehicles[k] for k in np.flatnonzero((self.wholes[:, GRANTED] >= 0) | asking)]

    def choose(self, path: LanePath) -> int:
        """What follows a path, at random."""
        leading = self._leading(path)
        return leading[int(self.rng.integers(len(leading)))] if leading else -1

    def _leading(self, path: LanePath) -> list[int]:
        """What one may choose at a path's end: dead ends are left to nobody where another way leads on."""
        return [p for p in path.following if self._leads_on(p)] or path.following

    def _leads_on(self, number: int) -> bool:
        path = self.network.paths[number]
        if path.junction < 0:
            return bool(path.following)
        return any(self.network.paths[p].following for p in path.following)

    def _line_m(self, path: LanePath) -> float:
        """How far before a path's end one stops for a junction, -1 where one need not."""
        if path.ahead_junction < 0 or len(self.network.junctions[path.ahead_junction].arms) < 3:
            return -1.0
        return self.network.junctions[path.ahead_junction].arms[path.arm].line_m

    def _light(self, junction: int, arm: int, later_s: float = 0.0) -> str:
        return self.network.junctions[junction].green_arm(arm, self.time_s + later_s)
