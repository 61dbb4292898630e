"""Surfaces of a network as meshes: roads with lane lines, kerbs, pavements, junctions, painted marks and open land."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sim_data.mesh import Mesh, MeshBuilder
from sim_data.network import Edge, Junction, Network, Road
from sim_data.polylines import offset_line

__all__ = ["KERB_M", "PAINT_COLUMNS", "PAINT_LINES", "Surface", "build_ground", "paint_quad"]

Array = npt.NDArray[np.float64]
KERB_M = 0.12  # height of kerbs
_KERB_WIDTH_M = 0.16
_MARK_M = 0.004  # painted quads lie this far above the road
PAINT_LINES, PAINT_COLUMNS = 12, 6


@dataclass(slots=True)
class Surface:
    """A mesh in world coordinates, its semantic class and the colours that the shading mixes."""

    mesh: Mesh
    semantic: str
    colours: tuple[float, float, float, float, float, float]
    seed: int = 0


@dataclass(slots=True)
class Ground:
    """Every surface, the table of lane lines, and the same lines as polylines.

    Attributes:
        surfaces: meshes to place with the identity.
        paints: (R, 12, 6): row 0 holds tone, lane width, half-width; others offset, width, dash, gap, yellow.
        lines: properties and (N, 2) points of lane lines, road edges and stop lines.
    """

    surfaces: list[Surface] = field(default_factory=list)
    paints: list[Array] = field(default_factory=list)
    lines: list[tuple[dict[str, str | int | float], Array]] = field(default_factory=list)


def _ribbon(left: Array, right: Array, z_left: float, z_right: float) -> Array:
    """(N-1, 4, 3) quads between two polylines, facing up (or away from the left side where it is vertical)."""
    a = np.column_stack([left, np.full(len(left), z_left)])
    b = np.column_stack([right, np.full(len(right), z_right)])
    return np.stack([b[:-1], b[1:], a[1:], a[:-1]], axis=1)


def _ribbon_uv(u_left: float, u_right: float, s: Array) -> Array:
    one = np.ones(len(s) - 1)
    return np.stack(
        [
            np.stack([u_right * one, s[:-1]], -1),
            np.stack([u_right * one, s[1:]], -1),
            np.stack([u_left * one, s[1:]], -1),
            np.stack([u_left * one, s[:-1]], -1),
        ],
        axis=1,
    )


def _arc_length(points: Array) -> Array:
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])


def _lines_of(road: Road) -> list[tuple[float, float, float, float, float]]:
    """Offset to the left, width, dash, gap (0: solid) and yellowness of a road's longitudinal lines."""
    edge = road.edge
    lines = []
    if edge.one_way:
        half = 0.5 * edge.lanes * edge.lane_m
        lines += [(sign * (half - 0.15), 0.15, 1.0, 0.0, 0.0) for sign in (-1.0, 1.0)]
        lines += [(k * edge.lane_m - half, 0.12, 3.0, 6.0, 0.0) for k in range(1, edge.lanes)]
        return lines
    if edge.kind == "motorway":
        for sign in (-1.0, 1.0):
            lines.append((sign * (edge.median_m + 0.30), 0.15, 1.0, 0.0, 0.0))
            lines.append((sign * (edge.median_m + edge.lanes * edge.lane_m), 0.25, 1.0, 0.0, 0.0))
            lines += [(sign * (edge.median_m + k * edge.lane_m), 0.15, 6.0, 12.0, 0.0) for k in range(1, edge.lanes)]
        return lines
    if edge.kind == "street":
        if edge.lanes > 1:
            lines += [(0.10, 0.12, 1.0, 0.0, 0.0), (-0.10, 0.12, 1.0, 0.0, 0.0)]
        else:
            lines.append((0.0, 0.12, 3.0, 6.0, 0.0))
        for sign in (-1.0, 1.0):
            lines += [(sign * k * edge.lane_m, 0.12, 3.0, 6.0, 0.0) for k in range(1, edge.lanes)]
            if edge.parking_m > 0:
                lines.append((sign * edge.lanes * edge.lane_m, 0.10, 0.5, 0.5, 0.0))
            else:
                lines.append((sign * (edge.lanes * edge.lane_m - 0.25), 0.12, 1.0, 0.0, 0.0))
    return lines


def paint_quad(
    builder: MeshBuilder, centre: Array, heading: float, long_m: float, wide_m: float, z_m: float = _MARK_M
) -> None:
    """A painted rectangle on the road, ``long_m`` along the heading."""
    ahead = np.array([np.cos(heading), np.sin(heading)]) * long_m / 2
    left = np.array([-np.sin(heading), np.cos(heading)]) * wide_m / 2
    corners = np.array([centre - ahead - left, centre + ahead - left, centre + ahead + left, centre - ahead + left])
    quad = np.column_stack([corners, np.full(4, z_m)])
    builder.add_quads([quad], "paint", [corners])


def _paint_arrow(builder: MeshBuilder, tip: Array, heading: float, turn: int) -> None:
    """A lane arrow 4 m long whose head ends at ``tip``; ``turn`` -1 right, 0 straight, 1 left."""
    ahead = np.array([np.cos(heading), np.sin(heading)])
    left = np.array([-ahead[1], ahead[0]])
    paint_quad(builder, tip - ahead * 2.6, heading, 2.8, 0.15)
    if turn == 0:
        base, point, side = tip - ahead * 1.25, tip, left * 0.42
    else:
        base = tip - ahead * 1.25 + left * 0.25 * turn
        paint_quad(builder, base - left * 0.1 * turn, heading + np.pi / 2, 0.5, 0.2)
        point, side = base + left * 0.75 * turn, -ahead * 0.45 * turn
    corners = np.array([base - side, point, base + side])
    triangle = np.column_stack([corners, np.full(3, _MARK_M)])
    builder.add([triangle[[0, 1, 2]]], "paint", [corners])


def _side_strip(
    kerbs: MeshBuilder, pavements: MeshBuilder, verges: MeshBuilder, line: Array, edge: Edge, verge_m: float
) -> None:
    """Kerb, pavement and verge to the right of a kerb line, the road to its left; streets are paved throughout."""
    pavement_m = edge.pavement_m
    s = _arc_length(line)
    top = offset_line(line, -_KERB_WIDTH_M)
    kerbs.add_quads(_ribbon(line, line, 0.0, KERB_M), "kerb", _ribbon_uv(0.0, KERB_M, s))
    kerbs.add_quads(_ribbon(line, top, KERB_M, KERB_M), "kerb", _ribbon_uv(0.12, 0.28, s))
    outer = offset_line(line, -_KERB_WIDTH_M - pavement_m)
    if pavement_m > 0:
        pavements.add_quads(_ribbon(top, outer, KERB_M, KERB_M), "slabs", _ribbon_uv(0.0, pavement_m, s))
    if verge_m > 0:
        end = offset_line(line, -_KERB_WIDTH_M - pavement_m - verge_m)
        if edge.kind == "street" and pavement_m > 0:
            pavements.add_quads(
                _ribbon(outer, end, KERB_M, KERB_M), "slabs", _ribbon_uv(pavement_m, pavement_m + verge_m, s)
            )
        else:
            verges.add_quads(_ribbon(outer, end, KERB_M, -0.05), "grass", _ribbon_uv(0.0, verge_m, s))


def _road_surfaces(ground: Ground, road: Road, number: int, rng: np.random.Generator) -> None:
    edge = road.edge
    paint = np.zeros((PAINT_LINES, PAINT_COLUMNS))
    tone = {"motorway": 0.115, "residential": 0.115}.get(edge.kind, 0.105) * float(rng.uniform(0.85, 1.15))
    paint[0, :3] = tone, edge.lane_m if edge.median_m == 0 else 0.0, road.left_m
    for k, mark in enumerate(_lines_of(road)[: PAINT_LINES - 1]):
        paint[k + 1, :5] = mark
        properties = {
            "kind": "lane_line",
            "style": "dashed" if mark[3] > 0 else "solid",
            "width_m": mark[1],
            "road": number,
        }
        ground.lines.append((properties, offset_line(road.centre, mark[0])))
    row = len(ground.paints)
    ground.paints.append(paint)
    builder, kerbs, pavements, verges = MeshBuilder(), MeshBuilder(), MeshBuilder(), MeshBuilder()
    sides = (
        [(edge.median_m, road.left_m), (-road.right_m, -edge.median_m)]
        if edge.median_m > 0
        else [(-road.right_m, road.left_m)]
    )
    for right_m, left_m in sides:
        cuts = [right_m, 0.5 * (right_m + left_m), left_m] if edge.median_m == 0 else [right_m, left_m]
        for low, high in itertools.pairwise(cuts):
            quads = _ribbon(offset_line(road.centre, high), offset_line(road.centre, low), 0.0, 0.0)
            builder.add_quads(quads, "road", _ribbon_uv(high, low, road.s), par=(float(row), 0.0))
    ground.surfaces.append(Surface(builder.finish(), "road", (0.1,) * 6))
    right = offset_line(road.centre, -road.right_m)
    left = offset_line(road.centre, road.left_m)[::-1]
    verge = 6.0 if edge.kind == "motorway" else 1.2
    for line in (right, left):
        if edge.kind == "motorway":
            outer = offset_line(line, -verge)
            verges.add_quads(_ribbon(line, outer, 0.0, -0.05), "grass", _ribbon_uv(0.0, verge, _arc_length(line)))
        else:
            _side_strip(kerbs, pavements, verges, line, edge, verge)
        ground.lines.append(({"kind": "road_edge", "road": number}, line))
    _finish_strips(ground, kerbs, pavements, verges, rng)
    if edge.median_m > 0:
        median = MeshBuilder()
        inner_left, inner_right = offset_line(road.centre, edge.median_m), offset_line(road.centre, -edge.median_m)
        median.add_quads(_ribbon(inner_left, inner_right, 0.03, 0.03), "grass", _ribbon_uv(0.0, 1.0, road.s))
        ground.surfaces.append(Surface(median.finish(), "terrain", (0.1,) * 6))


def _finish_strips(
    ground: Ground, kerbs: MeshBuilder, pavements: MeshBuilder, verges: MeshBuilder, rng: np.random.Generator
) -> None:
    grey = float(rng.uniform(0.13, 0.22))
    warm = float(rng.uniform(0.0, 0.10))
    colours = (grey * (1 + warm), grey, grey * (1 - warm), 0.3, 0.3, 0.3)
    if kerbs.vertices:
        ground.surfaces.append(Surface(kerbs.finish(), "sidewalk", (0.22, 0.215, 0.205, 0.3, 0.3, 0.3)))
    if pavements.vertices:
        ground.surfaces.append(Surface(pavements.finish(), "sidewalk", colours))
    if verges.vertices:
        ground.surfaces.append(Surface(verges.finish(), "terrain", (0.1,) * 6))


def _junction_surfaces(ground: Ground, junction: Junction, roads: list[Road], rng: np.random.Generator) -> None:
    paint = np.zeros((PAINT_LINES, PAINT_COLUMNS))
    paint[0, :3] = 0.105 * float(rng.uniform(0.9, 1.1)), 0.0, 1e6
    row = len(ground.paints)
    ground.paints.append(paint)
    outline = junction.outline
    following = np.roll(outline, -1, axis=0)
    fan = np.stack([np.broadcast_to(junction.centre, outline.shape), outline, following], axis=1)
    surface = MeshBuilder()
    surface.add(np.concatenate([fan, np.zeros((*fan.shape[:2], 1))], axis=2), "road", fan, par=(float(row), 0.0))
    ground.surfaces.append(Surface(surface.finish(), "road", (0.1,) * 6))
    kerbs, pavements, verges = MeshBuilder(), MeshBuilder(), MeshBuilder()
    for arm, corner in zip(junction.arms, junction.corners, strict=True):
        edge = roads[arm.road].edge
        _side_strip(kerbs, pavements, verges, corner, edge, 1.2)
        ground.lines.append(({"kind": "road_edge", "junction": junction.node}, corner))
    _finish_strips(ground, kerbs, pavements, verges, rng)
    marks = MeshBuilder()
    for arm in junction.arms:
        road = roads[arm.road]
        edge = road.edge
        if edge.kind not in ("street", "residential") or (edge.one_way and not arm.at_end):
            continue
        heading = arm.angle + np.pi  # towards the junction
        into = -arm.away
        right = np.array([into[1], -into[0]])
        back = arm.paint_m
        if arm.crossing:
            for offset in np.arange(-road.left_m + 0.6, road.left_m - 0.3, 1.0):
                paint_quad(marks, arm.mouth - into * 2.2 + right * offset, heading, 3.0, 0.5)
        if arm.stop_line:
            wide = edge.lanes * edge.lane_m
            paint_quad(marks, arm.mouth - into * back + right * (0.5 * wide), heading, 0.45, wide - 0.2)
            ground.lines.append(
                (
                    {"kind": "stop_line", "width_m": 0.45, "junction": junction.node},
                    np.array([arm.mouth - into * back, arm.mouth - into * back + right * wide]),
                )
            )
            for lane in range(edge.lanes):
                if edge.lanes > 1 or rng.uniform() < 0.4:
                    turn = 0 if edge.lanes == 1 else (1 if lane == 0 else -1 if lane == edge.lanes - 1 else 0)
                    _paint_arrow(
                        marks, arm.mouth - into * (back + 4) + right * ((lane + 0.5) * edge.lane_m), heading, turn
                    )
    if marks.vertices:
        ground.surfaces.append(Surface(marks.finish(), "lane marking", (0.62, 0.62, 0.60, 0.6, 0.6, 0.6)))


def _land(network: Network) -> list[Surface]:
    points = np.concatenate([road.centre for road in network.roads])
    low, high = points.min(axis=0) - 420, points.max(axis=0) + 420
    cell = 60.0
    surfaces = []
    xs, ys = np.arange(low[0], high[0] + cell, cell), np.arange(low[1], high[1] + cell, cell)
    for x in xs[:-1]:
        builder = MeshBuilder()
        quads = [
            [[x, y, -0.06], [x + cell, y, -0.06], [x + cell, y + cell, -0.06], [x, y + cell, -0.06]] for y in ys[:-1]
        ]
        corners = np.array(quads)
        builder.add_quads(corners, "grass", corners[..., :2])
        surfaces.append(Surface(builder.finish(), "terrain", (0.1,) * 6))
    return surfaces


def build_ground(network: Network, rng: np.random.Generator) -> Ground:
    """Meshes and lines of everything one can drive or walk on."""
    ground = Ground()
    for number, road in enumerate(network.roads):
        _road_surfaces(ground, road, number, rng)
    for junction in network.junctions:
        _junction_surfaces(ground, junction, network.roads, rng)
    ground.surfaces += _land(network)
    return ground
