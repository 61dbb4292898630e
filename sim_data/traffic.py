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
    BODY_COLUMNS,
    VEHICLE,
    free_distances,
    overlapping,
    place_vehicles,
    walk,
)
from sim_data.lane_changes import CHANGE_S, consider_change, shifted
from sim_data.lane_paths import LanePath
from sim_data.network import Network
from sim_data.right_of_way import RightOfWay
from sim_data.vehicle_state import Vehicle
from sim_data.walking import Walkers

__all__ = ["STEP_S", "Traffic"]

Array = npt.NDArray[np.float64]
STEP_S = 0.05
_MIN_GAP_M = 2.0
_HEADWAY_S = 1.2
_BRAKE_MPS2 = 2.2
_HARDEST_MPS2 = 7.5
_BRAKING_MPS3, _PUSHING_MPS3 = 60.0, 30.0


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
    """

    network: Network
    vehicles: list[Vehicle]
    walkers: Walkers
    standing: Array
    rng: np.random.Generator
    time_s: float = 0.0
    bodies: Array = field(default_factory=lambda: np.zeros((0, BODY_COLUMNS)))
    _paths: tuple[Array, npt.NDArray[np.int64], Array] = field(init=False)
    _right_of_way: RightOfWay = field(init=False)

    def __post_init__(self) -> None:
        paths = self.network.paths
        starts = np.concatenate([[0], np.cumsum([len(path.points) for path in paths])]).astype(np.int64)
        lengths = np.array([path.length_m for path in paths])
        self._paths = (np.ascontiguousarray(np.concatenate([path.points for path in paths])), starts, lengths)
        self._right_of_way = RightOfWay(self.network)

    def begin(self) -> None:
        """Puts everybody where they are at first; to be called once, when nobody joins any more."""
        count = len(self.vehicles)
        self.bodies = np.zeros((count + len(self.walkers.rows) + len(self.standing), BODY_COLUMNS))
        self.bodies[:count, 3] = [vehicle.half_long_m for vehicle in self.vehicles]
        self.bodies[:count, 4] = [vehicle.half_wide_m for vehicle in self.vehicles]
        self.bodies[:count, 7] = VEHICLE
        self.walkers.begin(self.bodies, count)
        self.bodies[count + len(self.walkers.rows) :] = self.standing
        self._place(range(count))

    def pose(self, vehicle: int) -> tuple[float, float, float]:
        """x, y and heading of a vehicle."""
        x, y, yaw = self.bodies[vehicle, :3]
        return float(x), float(y), float(yaw)

    def free_at_start(self, vehicle: Vehicle, distance_m: float) -> bool:
        """Whether a vehicle that may join would have a distance before and behind it to all who have joined."""
        x, y, yaw = place_vehicles(self._paths, self._chains([vehicle]), self._states([vehicle]))[0]
        others = [np.array([x, y, yaw, vehicle.half_long_m + distance_m, vehicle.half_wide_m, 0, 0, VEHICLE])]
        if self.vehicles:
            poses = place_vehicles(self._paths, self._chains(self.vehicles), self._states(self.vehicles))
            sizes = np.array([[v.half_long_m, v.half_wide_m] for v in self.vehicles])
            others += list(np.column_stack([poses, sizes, np.zeros((len(poses), 3))]))
        return not overlapping(
            np.ascontiguousarray(np.vstack([*others, self.standing])), 0, (float(x), float(y), float(yaw)), 0.05
        )

    def advance(self, duration_s: float) -> None:
        """Moves everything on."""
        for _ in range(round(duration_s / STEP_S)):
            self._step()

    def _chains(self, vehicles: list[Vehicle]) -> npt.NDArray[np.int64]:
        rows = []
        for vehicle in vehicles:
            following = self.network.paths[vehicle.next_path].following if vehicle.next_path >= 0 else []
            rows.append((*vehicle.behind, vehicle.path, vehicle.next_path, following[0] if following else -1))
        return np.array(rows, np.int64).reshape(-1, 5)

    def _states(self, vehicles: list[Vehicle]) -> Array:
        return np.array([(v.s_m, v.base_m, v.offset_m, v.slope, v.speed_mps) for v in vehicles]).reshape(-1, 5)

    def _place(self, numbers: range) -> None:
        chosen = [self.vehicles[k] for k in numbers]
        poses = place_vehicles(self._paths, self._chains(chosen), self._states(chosen))
        rows = list(numbers)
        self.bodies[rows, :3] = poses
        speeds = np.array([vehicle.speed_mps for vehicle in chosen])
        self.bodies[rows, 5], self.bodies[rows, 6] = speeds * np.cos(poses[:, 2]), speeds * np.sin(poses[:, 2])

    def _step(self) -> None:
        self._right_of_way.grant(self.vehicles, self.time_s)
        seen = np.concatenate([self.bodies, self.walkers.claims()])
        states = self._states(self.vehicles)
        gaps = free_distances(self._paths, self._chains(self.vehicles), states, np.ascontiguousarray(seen))
        wished = [self._acceleration(v, float(gap), float(speed)) for v, (gap, speed) in
                  zip(self.vehicles, gaps, strict=True)]  # fmt: skip
        for number, (vehicle, acceleration) in enumerate(zip(self.vehicles, wished, strict=True)):
            self._move(number, vehicle, acceleration)
        if len(self.walkers.rows):
            walk(
                self.walkers.lines, self.walkers.roads, self.walkers.rows, self.bodies, len(self.vehicles),
                len(self.vehicles), self.walkers.allowed(self._light), STEP_S,
            )  # fmt: skip
        self.time_s += STEP_S

    def _move(self, number: int, vehicle: Vehicle, acceleration: float) -> None:
        # brakes and engines take a moment
        change = float(np.clip(acceleration - vehicle.accel_mps2, -_BRAKING_MPS3 * STEP_S, _PUSHING_MPS3 * STEP_S))
        acceleration = max(vehicle.accel_mps2 + change, -_HARDEST_MPS2)
        speed = max(0.0, vehicle.speed_mps + acceleration * STEP_S)
        before = (
            vehicle.path, vehicle.next_path, vehicle.behind, vehicle.s_m, vehicle.offset_m, vehicle.slope,
            vehicle.change_s, vehicle.granted,
        )  # fmt: skip
        step = 0.5 * (speed + vehicle.speed_mps) * STEP_S
        vehicle.s_m += step
        shifted(vehicle, STEP_S)
        self._change_path(vehicle)
        old = self.bodies[number].copy()
        self._place(range(number, number + 1))
        moved = float(np.hypot(*(self.bodies[number, :2] - old[:2])))
        if moved > 1e-9 and overlapping(self.bodies, number, self.pose(number), 0.02):
            # the model has failed to keep clear: stand still rather than touch
            (
                vehicle.path, vehicle.next_path, vehicle.behind, vehicle.s_m, vehicle.offset_m, vehicle.slope,
                vehicle.change_s, vehicle.granted,
            ) = before  # fmt: skip
            self.bodies[number] = old
            self.bodies[number, 5:7] = 0.0
            vehicle.speed_mps = vehicle.accel_mps2 = 0.0
            return
        vehicle.accel_mps2 = (speed - vehicle.speed_mps) / STEP_S
        vehicle.speed_mps = speed
        vehicle.travelled_m += step
        self.bodies[number, 5] = speed * np.cos(self.bodies[number, 2])
        self.bodies[number, 6] = speed * np.sin(self.bodies[number, 2])
        vehicle.calm_s -= STEP_S
        if vehicle.calm_s <= 0.0:
            vehicle.calm_s = 0.5
            if consider_change(self.network, self.bodies, self.vehicles, number):
                vehicle.next_path = self.choose(self.network.paths[vehicle.path])
                vehicle.behind, vehicle.granted, vehicle.calm_s = (-1, -1), -1, CHANGE_S + 3.0

    def _change_path(self, vehicle: Vehicle) -> None:
        path = self.network.paths[vehicle.path]
        while vehicle.s_m > path.length_m:
            if vehicle.next_path < 0:
                vehicle.s_m = path.length_m
                return
            vehicle.s_m -= path.length_m
            vehicle.behind, vehicle.path = (vehicle.behind[1], vehicle.path), vehicle.next_path
            path = self.network.paths[vehicle.path]
            vehicle.next_path = self.choose(path)
        clear = path.junction < 0 and vehicle.s_m > vehicle.half_long_m + 0.5
        if clear and vehicle.granted >= 0 and vehicle.granted == vehicle.behind[1]:
            vehicle.granted = -1

    def choose(self, path: LanePath) -> int:
        """What follows a path, at random."""
        if not path.following:
            return -1
        # dead ends are left to nobody: prefer turns that lead on
        leading = [p for p in path.following if self._leads_on(p)] or path.following
        return leading[int(self.rng.integers(len(leading)))]

    def _leads_on(self, number: int) -> bool:
        path = self.network.paths[number]
        if path.junction < 0:
            return bool(path.following)
        return any(self.network.paths[p].following for p in path.following)

    def _acceleration(self, vehicle: Vehicle, gap: float, lead_speed: float) -> float:
        path = self.network.paths[vehicle.path]
        limit = min(path.speed_mps * vehicle.desire, vehicle.top_speed_mps)
        to_end = path.length_m - vehicle.s_m
        upcoming = self.network.paths[vehicle.next_path] if vehicle.next_path >= 0 else None
        # brake in time for the slower path ahead
        slower = upcoming.speed_mps * vehicle.desire if upcoming is not None else 0.0
        limit = min(limit, float(np.sqrt(slower**2 + 2 * 1.3 * max(to_end - 1.0, 0.0))))
        stop = self._stop_distance(vehicle, path, to_end)
        gap = max(gap, 0.05)
        if stop < gap:
            # a line is a place to stop at, not a body to stay away from
            gap, lead_speed = stop + _MIN_GAP_M - 0.4, 0.0
        speed = vehicle.speed_mps
        free = 1.0 - (speed / max(limit, 0.3)) ** 4
        wished = _MIN_GAP_M + max(
            0.0, speed * _HEADWAY_S + speed * (speed - lead_speed) / (2 * np.sqrt(vehicle.power_mps2 * _BRAKE_MPS2))
        )
        interaction = (wished / max(gap, 0.2)) ** 2
        least = -_HARDEST_MPS2 if interaction > 1.0 else -2.5  # nobody brakes hard for a bend
        return float(np.clip(vehicle.power_mps2 * (free - interaction), least, vehicle.power_mps2))

    def _stop_distance(self, vehicle: Vehicle, path: LanePath, to_end: float) -> float:
        """Distance to where the vehicle must stop for a junction, a large number where it need not."""
        if path.ahead_junction < 0 or vehicle.next_path < 0 or vehicle.granted == vehicle.next_path or to_end > 60.0:
            return 1e3
        if len(self.network.junctions[path.ahead_junction].arms) < 3:
            return 1e3
        return max(self._right_of_way.to_line_m(vehicle, path, to_end), 0.0)

    def _light(self, junction: int, arm: int, later_s: float = 0.0) -> str:
        return self.network.junctions[junction].green_arm(arm, self.time_s + later_s)
