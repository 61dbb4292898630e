"""Who may enter a junction: a vehicle needs a grant, which it holds until its rear has left the junction."""

from __future__ import annotations

from dataclasses import dataclass, field

from sim_data.junctions import conflicts_of
from sim_data.lane_paths import LanePath
from sim_data.network import Network
from sim_data.vehicle_state import Vehicle

__all__ = ["RightOfWay"]

_EASY_MPS2 = 3.0  # who would have to brake harder drives on through yellow


@dataclass(slots=True)
class RightOfWay:
    """Grants to enter junctions.

    Attributes:
        network: junctions and paths.
        conflicts: for each turn those that may not be driven at the same time.
        queues: by junction the vehicles that wait, in the order of their arrival.
    """

    network: Network
    conflicts: dict[int, frozenset[int]] = field(init=False)
    queues: dict[int, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.conflicts = conflicts_of(self.network)

    def grant(self, vehicles: list[Vehicle], near: list[Vehicle], time_s: float) -> None:
        """Lets vehicles into junctions: straight on before left, at junctions without lights in order of arrival.

        Args:
            vehicles: all.
            near: those of them that hold a grant or want one.
            time_s: of the lights.
        """
        held: dict[int, list[Vehicle]] = {}
        asking: dict[int, list[tuple[float, Vehicle]]] = {}
        for vehicle in near:
            granted = vehicle.granted
            if granted >= 0:
                held.setdefault(self.network.paths[granted].junction, []).append(vehicle)
                continue
            path = self.network.paths[vehicle.path]
            asking.setdefault(path.ahead_junction, []).append((path.length_m - vehicle.s_m, vehicle))
        for number, row in asking.items():
            junction = self.network.junctions[number]
            if len(junction.arms) < 3:
                continue
            inside = held.get(number, [])
            queue = self.queues.setdefault(number, [])
            present = {vehicle.number for _, vehicle in row}
            queue[:] = [k for k in queue if k in present]
            queue += [vehicle.number for _, vehicle in sorted(row, key=lambda pair: pair[0]) if
                      vehicle.number not in queue]  # fmt: skip
            if junction.signals or junction.ring:
                row.sort(key=lambda pair: (self._rank(junction.ring, pair[1]), pair[0]))
            else:
                row.sort(key=lambda pair: queue.index(pair[1].number))
            refused: list[Vehicle] = []
            for to_end, vehicle in row:
                if self._may_enter(vehicle, to_end, inside, refused, vehicles, time_s):
                    vehicle.granted = vehicle.next_path
                    inside.append(vehicle)
                elif (
                    not junction.signals or junction.green_arm(self.network.paths[vehicle.path].arm, time_s) == "green"
                ):
                    refused.append(vehicle)

    def _rank(self, ring: bool, vehicle: Vehicle) -> float:
        """Left turns come last; on a roundabout those who enter it."""
        if ring:
            path = self.network.paths[vehicle.path]
            return 0.0 if self.network.roads[path.road].edge.kind == "ring" else 1.0
        headings = self.network.paths[vehicle.next_path].headings
        return 1.0 if headings[-1] - headings[0] > 0.6 else 0.0

    def _may_enter(
        self, vehicle: Vehicle, to_end: float, inside: list[Vehicle], refused: list[Vehicle], vehicles: list[Vehicle],
        time_s: float,
    ) -> bool:  # fmt: skip
        path = self.network.paths[vehicle.path]
        turn = self.network.paths[vehicle.next_path]
        if self.network.junctions[path.ahead_junction].signals:
            state = self.network.junctions[path.ahead_junction].green_arm(path.arm, time_s)
            line = self.to_line_m(vehicle, path, to_end)
            if state == "red" and line > -1.0:
                return False
            if state == "yellow" and line > vehicle.speed_mps**2 / (2 * _EASY_MPS2):
                return False
        crossing = self.conflicts[vehicle.next_path]
        if any(other.granted in crossing for other in inside):
            return False
        # who waits longer, or has the right of way, is not kept waiting by those behind
        if any(other.next_path in crossing and other.path != vehicle.path for other in refused):
            return False
        # one lane enters in the order of its vehicles
        if any(other.path == vehicle.path and other.s_m > vehicle.s_m for other in refused):
            return False
        return self._room_behind(vehicle, turn, vehicles)

    def _room_behind(self, vehicle: Vehicle, turn: LanePath, vehicles: list[Vehicle]) -> bool:
        """Whether the lane after a turn will take the vehicle and those already on their way there."""
        target = turn.following[0] if turn.following else -1
        if target < 0:
            return True
        room, slow = self.network.paths[target].length_m, False
        for other in vehicles:
            if other.path == target and other is not vehicle:
                room = min(room, other.s_m - other.half_long_m + 1.5 * max(other.speed_mps - 1.0, 0.0))
                slow = True
        for other in vehicles:
            if other.granted >= 0 and other.path != target and other is not vehicle:
                following = self.network.paths[other.granted].following
                if following and following[0] == target:
                    room -= 2 * other.half_long_m + 2.5
        return not slow or room > 2 * vehicle.half_long_m + 5.0

    def to_line_m(self, vehicle: Vehicle, path: LanePath, to_end: float) -> float:
        """From a vehicle's front to where it would stop before the junction at its path's end."""
        return to_end - vehicle.half_long_m - self.network.junctions[path.ahead_junction].arms[path.arm].line_m
