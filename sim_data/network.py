"""Roads, junctions and the lane paths that traffic follows, in world metres; traffic keeps to the right.

A network starts as nodes and edges. Every edge becomes a ``Road`` along a smooth centreline that is cut back where it
meets a ``Junction``; lanes and the turns between them become ``LanePath`` objects.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = [
    "Arm",
    "Edge",
    "Junction",
    "LanePath",
    "Network",
    "Road",
    "bezier",
    "build_network",
    "offset_line",
    "resample",
]

Array = npt.NDArray[np.float64]


def resample(points: Array, step_m: float) -> Array:
    """(N, 2) points at even distances of about ``step_m`` along a polyline, both ends kept."""
    lengths = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    count = max(2, round(lengths[-1] / step_m) + 1)
    s = np.linspace(0.0, lengths[-1], count)
    return np.stack([np.interp(s, lengths, points[:, 0]), np.interp(s, lengths, points[:, 1])], axis=1)


def bezier(a: Array, b: Array, c: Array, d: Array, count: int) -> Array:
    """(count, 2) points of a cubic Bezier curve."""
    t = np.linspace(0.0, 1.0, count)[:, None]
    return np.asarray((1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d)


def directions(points: Array) -> Array:
    """(N, 2) unit tangents of a polyline at its points."""
    tangents = np.gradient(points, axis=0)
    return np.asarray(tangents / np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-9))


def offset_line(points: Array, left_m: float | Array) -> Array:
    """The polyline moved to its left by ``left_m``."""
    tangents = directions(points)
    normals = np.stack([-tangents[:, 1], tangents[:, 0]], axis=1)
    return np.asarray(points + normals * np.reshape(left_m, (-1, 1)))


@dataclass(frozen=True, slots=True)
class Edge:
    """A road to be built between two nodes.

    Attributes:
        start: node number; ``end`` likewise.
        lanes: per direction; ``one_way`` roads have none against their direction.
        lane_m: lane width.
        parking_m: width of the parking strip on each side, 0 for none.
        pavement_m: pavement width, 0 for none.
        speed_mps: what traffic drives.
        kind: street, residential, motorway or ring.
        bend: sideways bulge as a share of the length.
        median_m: half the width of a strip between the directions.
        curve: given centreline instead of a smooth one, or None.
    """

    start: int
    end: int
    lanes: int = 1
    lane_m: float = 3.25
    parking_m: float = 2.1
    pavement_m: float = 2.6
    speed_mps: float = 11.0
    kind: str = "street"
    bend: float = 0.0
    median_m: float = 0.0
    one_way: bool = False
    curve: Array | None = None


@dataclass(slots=True, eq=False)
class Road:
    """A built road.

    Attributes:
        edge: what it was built from.
        centre: (N, 2) centreline about every 2 m, from start to end, cut back at junctions.
        s: (N,) arc length.
    """

    edge: Edge
    centre: Array
    s: Array

    @property
    def left_m(self) -> float:
        """Distance from the centreline to the left kerb."""
        edge = self.edge
        return edge.parking_m + (
            0.5 * edge.lanes * edge.lane_m if edge.one_way else edge.median_m + edge.lanes * edge.lane_m
        )

    @property
    def right_m(self) -> float:
        """Distance from the centreline to the right kerb."""
        return self.left_m

    def at(self, s: float, left_m: float = 0.0) -> tuple[Array, float]:
        """Point and heading at an arc length, ``left_m`` to the left."""
        s = float(np.clip(s, 0.0, self.s[-1]))
        k = int(np.clip(np.searchsorted(self.s, s) - 1, 0, len(self.s) - 2))
        delta = self.centre[k + 1] - self.centre[k]
        share = (s - self.s[k]) / max(self.s[k + 1] - self.s[k], 1e-9)
        heading = float(np.arctan2(delta[1], delta[0]))
        point = self.centre[k] + share * delta + left_m * np.array([-np.sin(heading), np.cos(heading)])
        return point, heading


@dataclass(slots=True, eq=False)
class Arm:
    """One road at a junction: its mouth, and the direction that leads away from the junction."""

    road: int
    at_end: bool
    mouth: Array
    away: Array

    @property
    def angle(self) -> float:
        """Direction away from the junction."""
        return float(np.arctan2(self.away[1], self.away[0]))


@dataclass(slots=True, eq=False)
class Junction:
    """Arms in counter-clockwise order, the outline of the surface, and the corners between the arms.

    Attributes:
        node: number of the node.
        centre: (2,) m.
        arms: counter-clockwise.
        outline: (P, 2) closed surface without repeated end.
        corners: for each arm the (C, 2) kerb line from its left edge to the next arm's right edge.
        signals: whether traffic lights control it.
    """

    node: int
    centre: Array
    arms: list[Arm]
    outline: Array
    corners: list[Array]
    signals: bool = False

    def green_arm(self, arm: int, time_s: float) -> str:
        """State of an arm's light: opposite arms share a phase of 14 s green, 2 s yellow, 2 s all red."""
        axis = np.abs(np.cos(self.arms[arm].angle - self.arms[0].angle)) > 0.7
        moment = (time_s + 7.3 * self.node) % 36.0
        if not axis:
            moment = (moment + 18.0) % 36.0
        return "green" if moment < 14.0 else "yellow" if moment < 16.0 else "red"


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


@dataclass(slots=True, eq=False)
class Network:
    """All roads, junctions and lane paths of a world."""

    roads: list[Road]
    junctions: list[Junction]
    paths: list[LanePath]


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


def _corner(left_edge: Array, from_away: Array, right_edge: Array, to_away: Array) -> Array:
    """Kerb line from one arm's left edge around to the next arm's right edge."""
    matrix = np.stack([-from_away, to_away], axis=1)
    determinant = float(np.linalg.det(matrix))
    gap = float(np.linalg.norm(right_edge - left_edge))
    if abs(determinant) > 0.25:
        reach = np.linalg.solve(matrix, left_edge - right_edge)
        control = left_edge - from_away * reach[0]
        if -0.2 * gap < reach[0] < 2 * gap:
            return bezier(
                left_edge,
                left_edge + 0.6 * (control - left_edge),
                right_edge + 0.6 * (control - right_edge),
                right_edge,
                10,
            )
    pull = 0.33 * gap
    return bezier(left_edge, left_edge - from_away * pull, right_edge - to_away * pull, right_edge, 10)


def _curve(edge: Edge, nodes: Array) -> Array:
    if edge.curve is not None:
        return resample(edge.curve, 2.0)
    a, b = nodes[edge.start], nodes[edge.end]
    across = b - a
    side = np.array([-across[1], across[0]]) * edge.bend
    return resample(bezier(a, a + across / 3 + side, a + 2 * across / 3 + side, b, 120), 2.0)


def build_network(nodes: Array, edges: list[Edge], cut_m: dict[int, float] | float, signals: set[int]) -> Network:
    """Builds roads, junctions and lane paths.

    Args:
        nodes: (N, 2) m.
        edges: roads between nodes. A node with one edge is the end of the world.
        cut_m: how far roads are cut back at a junction, for all or by node.
        signals: nodes controlled by lights.
    """
    touching: dict[int, list[tuple[int, bool]]] = {}
    for number, edge in enumerate(edges):
        touching.setdefault(edge.start, []).append((number, False))
        touching.setdefault(edge.end, []).append((number, True))
    roads = []
    for edge in edges:
        line = _curve(edge, nodes)
        s = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        cuts = []
        for node in (edge.start, edge.end):
            cut = cut_m if isinstance(cut_m, float) else cut_m.get(node, 0.0)
            cuts.append(cut if len(touching[node]) > 1 else 0.0)
        wanted = np.arange(cuts[0], s[-1] - cuts[1], 2.0)
        wanted = np.append(wanted[wanted < s[-1] - cuts[1] - 0.8], s[-1] - cuts[1])
        line = np.stack([np.interp(wanted, s, line[:, 0]), np.interp(wanted, s, line[:, 1])], axis=1)
        roads.append(
            Road(edge, line, np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]))
        )
    junctions = []
    for node, ends in sorted(touching.items()):
        if len(ends) < 2:
            continue
        arms = []
        for number, at_end in ends:
            line = roads[number].centre
            mouth, inner = (line[-1], line[-2]) if at_end else (line[0], line[1])
            arms.append(Arm(number, at_end, mouth, (inner - mouth) / np.linalg.norm(inner - mouth)))
        arms.sort(key=lambda arm: arm.angle)
        outline, corners = [], []
        for arm, following in zip(arms, arms[1:] + arms[:1], strict=True):
            half, next_half = roads[arm.road].left_m, roads[following.road].left_m
            left = np.array([-arm.away[1], arm.away[0]])
            next_left = np.array([-following.away[1], following.away[0]])
            corner = _corner(arm.mouth + left * half, arm.away, following.mouth - next_left * next_half, following.away)
            corners.append(corner)
            outline += [arm.mouth - left * half, *corner]
        junctions.append(
            Junction(
                node, np.mean([arm.mouth for arm in arms], axis=0), arms, np.array(outline), corners, node in signals
            )
        )
    return Network(roads, junctions, _lane_paths(roads, junctions))


def _lane_paths(roads: list[Road], junctions: list[Junction]) -> list[LanePath]:
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
