"""The lanes of roads and the turns between them, as the paths that vehicles drive along."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sim_data.polylines import bezier, directions, offset_line, resample

if TYPE_CHECKING:
    from sim_data.network import Junction, Road

__all__ = ["LanePath", "build_lane_paths"]

Array = npt.NDArray[np.float64]


@dataclass(slots=True, eq=False)
class LanePath:
    """What a vehicle can drive along.

    Attributes:
        points: (N, 2) about every metre.
        s: (N,) arc length.
        following: paths that begin where this one ends.
        speed_mps: limit, lower in tight turns.
        junction: the junction it crosses, or -1 for a lane of a road.
        arm: for a turn the arm it comes from; for a lane the arm of the junction it runs into, or -1.
        ahead_junction: the junction at the lane's end, or -1.
        road: the road it belongs to, or -1.
        left: lane to the left in the same direction, or -1; ``right`` likewise.
    """

    points: Array
    s: Array
    speed_mps: float
    following: list[int] = field(default_factory=list)
    junction: int = -1
    arm: int = -1
    ahead_junction: int = -1
    road: int = -1
    left: int = -1
    right: int = -1
    headings: Array = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        tangents = directions(self.points)
        self.headings = np.unwrap(np.arctan2(tangents[:, 1], tangents[:, 0]))

    @property
    def length_m(self) -> float:
        """Length of the path."""
        return float(self.s[-1])

    def at(self, s: float) -> tuple[float, float, float]:
        """x, y and heading at an arc length."""
        return (
            float(np.interp(s, self.s, self.points[:, 0])),
            float(np.interp(s, self.s, self.points[:, 1])),
            float(np.interp(s, self.s, self.headings)),
        )


def _lane_path(
    points: Array,
    speed_mps: float,
    road: int = -1,
    junction: int = -1,
    arm: int = -1,
    following: Sequence[int] = (),
) -> LanePath:
    fine = resample(points, 1.0)
    s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(fine, axis=0), axis=1))])
    tangents = directions(fine)
    heading = np.unwrap(np.arctan2(tangents[:, 1], tangents[:, 0]))
    bend = np.abs(np.gradient(heading, s)).max() if len(fine) > 2 else 0.0
    # at most 2.2 m/s2 sideways
    return LanePath(
        fine, s, min(speed_mps, float(np.sqrt(2.2 / max(bend, 1e-6)))), list(following), junction, arm, road=road
    )


def build_lane_paths(roads: list[Road], junctions: list[Junction]) -> list[LanePath]:
    """A path for every lane of every road, and for every turn that a lane allows at a junction."""
    paths: list[LanePath] = []
    lanes: dict[tuple[int, bool], list[int]] = {}  # by road and direction, innermost first
    for number, road in enumerate(roads):
        edge = road.edge
        for backwards in (False,) if edge.one_way else (False, True):
            line = road.centre[::-1] if backwards else road.centre
            rows = []
            for lane in range(edge.lanes):
                right = edge.median_m + (lane + 0.5) * edge.lane_m
                if edge.one_way:
                    right = (lane + 0.5 - 0.5 * edge.lanes) * edge.lane_m
                rows.append(len(paths))
                paths.append(_lane_path(offset_line(line, -right), edge.speed_mps, road=number))
            for inner, outer in itertools.pairwise(rows):
                paths[inner].right, paths[outer].left = outer, inner
            lanes[number, backwards] = rows
    for index, junction in enumerate(junctions):
        for k, arm in enumerate(junction.arms):
            incoming = lanes.get((arm.road, not arm.at_end), [])
            for row in incoming:
                paths[row].ahead_junction, paths[row].arm = index, k
            for other_index, other in enumerate(junction.arms):
                if other_index == k:
                    continue
                outgoing = lanes.get((other.road, other.at_end), [])
                turn = (other.angle - arm.angle - np.pi + np.pi) % (2 * np.pi) - np.pi
                for position, row in enumerate(incoming):
                    if not outgoing:
                        continue
                    if len(incoming) > 1 and len(junction.arms) > 2:
                        # inner lanes turn left, outer lanes turn right, all go straight
                        if (turn > 0.6 and position != 0) or (turn < -0.6 and position != len(incoming) - 1):
                            continue
                    target = outgoing[min(position, len(outgoing) - 1)]
                    a, b = paths[row].points[-1], paths[target].points[0]
                    ahead = directions(paths[row].points)[-1]
                    onwards = directions(paths[target].points)[0]
                    pull = 0.40 * float(np.linalg.norm(b - a))
                    line = bezier(a, a + ahead * pull, b - onwards * pull, b, 40)
                    speed = min(paths[row].speed_mps, paths[target].speed_mps)
                    paths[row].following.append(len(paths))
                    paths.append(_lane_path(line, speed, following=[target], junction=index, arm=k))
    return paths
