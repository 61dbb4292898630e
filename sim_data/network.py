"""Roads, junctions and the lane paths that traffic follows, in world metres; traffic keeps to the right.

A network starts as nodes and edges. Every edge becomes a ``Road`` along a smooth centreline that is cut back where it
meets a ``Junction``; lanes and the turns between them become ``LanePath`` objects.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim_data.lane_paths import LanePath, build_lane_paths
from sim_data.polylines import bezier, resample

__all__ = ["Arm", "Edge", "Junction", "Network", "Road", "build_network"]

Array = npt.NDArray[np.float64]


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
    """One road at a junction.

    Attributes:
        road: number; ``at_end`` whether the junction lies at the road's end.
        mouth: (2,) where the road's centreline meets the junction.
        away: (2,) unit direction that leads away from it.
        crossing: whether a crossing for people is painted before the mouth; ``stop_line`` likewise.
        paint_m: distance of the stop line's middle from the mouth; ``line_m`` where vehicles stop.
    """

    road: int
    at_end: bool
    mouth: Array
    away: Array
    crossing: bool = False
    stop_line: bool = False
    paint_m: float = 0.6
    line_m: float = 1.1

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
        ring: whether it is part of a roundabout, whose traffic has the right of way.
    """

    node: int
    centre: Array
    arms: list[Arm]
    outline: Array
    corners: list[Array]
    signals: bool = False
    ring: bool = False

    def green_arm(self, arm: int, time_s: float) -> str:
        """State of an arm's light: opposite arms share a phase of 14 s green, 2 s yellow, 2 s all red."""
        axis = np.abs(np.cos(self.arms[arm].angle - self.arms[0].angle)) > 0.7
        moment = (time_s + 7.3 * self.node) % 36.0
        if not axis:
            moment = (moment + 18.0) % 36.0
        return "green" if moment < 14.0 else "yellow" if moment < 16.0 else "red"


@dataclass(slots=True, eq=False)
class Network:
    """All roads, junctions and lane paths of a world."""

    roads: list[Road]
    junctions: list[Junction]
    paths: list[LanePath]


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
    return Network(roads, junctions, build_lane_paths(roads, junctions))
