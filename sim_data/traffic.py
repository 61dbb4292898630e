"""Moving traffic: vehicles that follow lanes, keep their distance, stop at lights and take turns; people that walk.

Car following is the intelligent driver model (Treiber, Hennecke and Helbing, 2000). A junction without lights admits
one vehicle at a time unless their turns begin at the same arm; waiting vehicles go in the order of arrival.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sim_data.network import LanePath, Network

__all__ = ["STEP_S", "Traffic", "Vehicle", "Walker"]

STEP_S = 0.05
_MIN_GAP_M = 2.2
_HEADWAY_S = 1.3
_BRAKE_MPS2 = 2.2


@dataclass(slots=True)
class Vehicle:
    """One vehicle on a lane path; ``s_m`` is where its middle is.

    Attributes:
        number: unique over the drive; its instance id is made from it.
        shape: row of ``VEHICLE_SHAPES``, or -1 for a cyclist.
        length_m: bumper to bumper.
        path: lane path, and ``next_path`` the one chosen after it (-1: none).
        desire: factor on the speed limit.
        offset_m: to the left of the path, for cyclists who keep right.
    """

    number: int
    shape: int
    length_m: float
    path: int
    next_path: int
    s_m: float
    speed_mps: float
    accel_mps2: float = 0.0
    desire: float = 1.0
    power_mps2: float = 1.6
    offset_m: float = 0.0
    top_speed_mps: float = 99.0
    granted: int = -1  # junction that it may cross
    travelled_m: float = 0.0


@dataclass(slots=True)
class Walker:
    """A pedestrian on a line, walking to and fro."""

    number: int
    build: int
    points: np.ndarray
    s: np.ndarray
    s_m: float
    speed_mps: float
    forwards: bool
    height: float
    travelled_m: float = 0.0

    def pose(self) -> tuple[float, float, float]:
        """x, y and heading."""
        x, y = (
            float(np.interp(self.s_m, self.s, self.points[:, 0])),
            float(np.interp(self.s_m, self.s, self.points[:, 1])),
        )
        ahead = min(self.s_m + 0.5, float(self.s[-1]))
        behind = max(self.s_m - 0.5, 0.0)
        dx = np.interp(ahead, self.s, self.points[:, 0]) - np.interp(behind, self.s, self.points[:, 0])
        dy = np.interp(ahead, self.s, self.points[:, 1]) - np.interp(behind, self.s, self.points[:, 1])
        heading = float(np.arctan2(dy, dx))
        return x, y, heading if self.forwards else heading + np.pi


@dataclass(slots=True)
class Traffic:
    """All that moves, advanced in steps of ``STEP_S``; vehicle 0 is the ego vehicle."""

    network: Network
    vehicles: list[Vehicle]
    walkers: list[Walker]
    rng: np.random.Generator
    time_s: float = 0.0
    waiting: dict[int, list[int]] = field(default_factory=dict)

    def advance(self, duration_s: float) -> None:
        """Moves everything on."""
        for _ in range(round(duration_s / STEP_S)):
            self._step()

    def _step(self) -> None:
        by_path: dict[int, list[Vehicle]] = {}
        for vehicle in self.vehicles:
            by_path.setdefault(vehicle.path, []).append(vehicle)
        for row in by_path.values():
            row.sort(key=lambda v: v.s_m)
        accelerations = [self._acceleration(vehicle, by_path) for vehicle in self.vehicles]
        for vehicle, acceleration in zip(self.vehicles, accelerations, strict=True):
            speed = max(0.0, vehicle.speed_mps + acceleration * STEP_S)
            vehicle.accel_mps2 = 0.8 * vehicle.accel_mps2 + 0.2 * (speed - vehicle.speed_mps) / STEP_S
            step = 0.5 * (speed + vehicle.speed_mps) * STEP_S
            vehicle.speed_mps = speed
            vehicle.s_m += step
            vehicle.travelled_m += step
            self._change_path(vehicle)
        for walker in self.walkers:
            step = walker.speed_mps * STEP_S
            walker.travelled_m += step
            walker.s_m += step if walker.forwards else -step
            if walker.s_m >= walker.s[-1] - 0.6 or walker.s_m <= 0.6:
                walker.s_m = float(np.clip(walker.s_m, 0.6, walker.s[-1] - 0.6))
                walker.forwards = not walker.forwards
        self.time_s += STEP_S

    def _change_path(self, vehicle: Vehicle) -> None:
        path = self.network.paths[vehicle.path]
        while vehicle.s_m > path.length_m:
            if vehicle.next_path < 0:
                vehicle.s_m = path.length_m
                vehicle.speed_mps = 0.0
                return
            vehicle.s_m -= path.length_m
            left_junction = path.junction
            vehicle.path = vehicle.next_path
            path = self.network.paths[vehicle.path]
            if left_junction >= 0 and vehicle.granted == left_junction:
                vehicle.granted = -1
            vehicle.next_path = self.choose(path)

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

    def _acceleration(self, vehicle: Vehicle, by_path: dict[int, list[Vehicle]]) -> float:
        path = self.network.paths[vehicle.path]
        limit = min(path.speed_mps * vehicle.desire, vehicle.top_speed_mps)
        to_end = path.length_m - vehicle.s_m
        upcoming = self.network.paths[vehicle.next_path] if vehicle.next_path >= 0 else None
        # brake in time for the slower path ahead
        slower = upcoming.speed_mps * vehicle.desire if upcoming is not None else 0.0
        limit = min(limit, float(np.sqrt(slower**2 + 2 * 1.3 * max(to_end - 1.0, 0.0))))
        gap, lead_speed = self._leader(vehicle, by_path)
        stop = self._stop_distance(vehicle, path, to_end, by_path)
        if stop < gap:
            gap, lead_speed = stop, 0.0
        speed = vehicle.speed_mps
        free = 1.0 - (speed / max(limit, 0.3)) ** 4
        wished = _MIN_GAP_M + max(
            0.0, speed * _HEADWAY_S + speed * (speed - lead_speed) / (2 * np.sqrt(vehicle.power_mps2 * _BRAKE_MPS2))
        )
        interaction = (wished / max(gap, 0.2)) ** 2
        return float(np.clip(vehicle.power_mps2 * (free - interaction), -7.0, vehicle.power_mps2))

    def _leader(self, vehicle: Vehicle, by_path: dict[int, list[Vehicle]]) -> tuple[float, float]:
        best_gap, best_speed = 1e3, vehicle.speed_mps
        for other in by_path[vehicle.path]:
            if other.s_m > vehicle.s_m or (other.s_m == vehicle.s_m and other.number > vehicle.number):
                gap = other.s_m - vehicle.s_m - 0.5 * (other.length_m + vehicle.length_m)
                if gap < best_gap:
                    best_gap, best_speed = gap, other.speed_mps
        reach = self.network.paths[vehicle.path].length_m - vehicle.s_m
        number = vehicle.next_path
        for _ in range(2):
            if number < 0 or reach > 60.0:
                break
            ahead = by_path.get(number)
            if ahead:
                gap = reach + ahead[0].s_m - 0.5 * (ahead[0].length_m + vehicle.length_m)
                if gap < best_gap:
                    best_gap, best_speed = gap, ahead[0].speed_mps
            path = self.network.paths[number]
            reach += path.length_m
            number = path.following[0] if path.junction >= 0 and path.following else -1
        return best_gap, best_speed

    def _stop_distance(
        self, vehicle: Vehicle, path: LanePath, to_end: float, by_path: dict[int, list[Vehicle]]
    ) -> float:
        """Distance to where the vehicle must stop for a junction, a large number where it need not."""
        if path.ahead_junction < 0 or to_end > 45.0:
            return 1e3
        junction = self.network.junctions[path.ahead_junction]
        line = to_end - 0.5 * vehicle.length_m - (4.8 if junction.signals else 1.0)
        if len(junction.arms) < 3:
            return 1e3
        if junction.signals:
            state = junction.green_arm(path.arm, self.time_s)
            can_stop = line > vehicle.speed_mps**2 / (2 * 3.0)
            return line if line > -1.0 and (state == "red" or (state == "yellow" and can_stop)) else 1e3
        if vehicle.granted == path.ahead_junction:
            return 1e3
        if to_end > 22.0:
            return 1e3
        queue = self.waiting.setdefault(path.ahead_junction, [])
        if vehicle.number not in queue:
            queue.append(vehicle.number)
        inside = [
            other for other in self.vehicles if other.granted == path.ahead_junction and other.number != vehicle.number
        ]
        blocked = any(self._arm_of(other, path.ahead_junction) != path.arm for other in inside)
        if queue[0] == vehicle.number and not blocked:
            queue.pop(0)
            vehicle.granted = path.ahead_junction
            return 1e3
        return line

    def _arm_of(self, vehicle: Vehicle, junction: int) -> int:
        path = self.network.paths[vehicle.path]
        if path.junction == junction or path.ahead_junction == junction:
            return path.arm
        return -1
