"""The true map around a drive: a bird's-eye raster of classes, lines, lane paths and everything that stands still.

The map's frame is the ego frame of the drive's first frame with its pitch and roll taken out: x forward, y left, m.
It is the world that a replay of the drive uses.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import SEMANTIC_CLASSES, SEMANTIC_COLOURS_RGB, VOID_ID
from perception.files import replaced_when_done, write_text_atomic
from perception.geometry import SE3
from sim_data.kernels.raster import FLAG_TWO_SIDED, pack_masks, rasterise, setup_triangles
from sim_data.materials import MATERIALS
from sim_data.textures import make_masks
from sim_data.visibility import VisibleTriangles
from sim_data.world import World

__all__ = ["class_raster", "map_frame", "write_map"]

Array = npt.NDArray[np.float64]
_MARGIN_M = 60.0
_TILE = 1024
_CAMERA_M = 500.0
# what a map shows: the ground and what stands on it without a gap; crowns of trees would hide the road
_SHOWN = ("road", "sidewalk", "terrain", "lane marking", "building", "wall", "fence")


def map_frame(world_SE3_ego: SE3) -> SE3:
    """``world_SE3_map`` of a drive whose first pose is given."""
    return SE3.from_yaw(world_SE3_ego.yaw_rad, [*world_SE3_ego.translation[:2], 0.0])


def class_raster(
    world: World, world_SE3_map: SE3, low_m: Array, cells: tuple[int, int], cell_m: float
) -> npt.NDArray[np.uint8]:
    """(rows, columns) class ids seen from above; row 0 is the lowest y, column 0 the lowest x.

    Args:
        world: the world.
        world_SE3_map: frame of the map.
        low_m: (2,) lowest x and y.
        cells: rows and columns.
        cell_m: edge of a cell; a cell has the class at its centre.
    """
    classes = np.full(cells, VOID_ID, np.uint8)
    for row in range(0, cells[0], _TILE):
        for column in range(0, cells[1], _TILE):
            size = (min(_TILE, cells[0] - row), min(_TILE, cells[1] - column))
            corner = low_m + cell_m * np.array([column, row])
            classes[row : row + size[0], column : column + size[1]] = _tile(world, world_SE3_map, corner, size, cell_m)
    return classes


def _tile(
    world: World, world_SE3_map: SE3, low_m: Array, size: tuple[int, int], cell_m: float
) -> npt.NDArray[np.uint8]:
    library, placed = world.library, world.placed
    shown = np.isin(placed.semantic, [SEMANTIC_CLASSES.index(name) for name in _SHOWN])
    mesh, yaw, scale = np.array(placed.mesh), np.array(placed.yaw), np.array(placed.scale)
    cosine, sine = np.cos(yaw), np.sin(yaw)
    rotation = np.zeros((len(mesh), 3, 3))
    rotation[:, 0, 0] = rotation[:, 1, 1] = cosine
    rotation[:, 0, 1], rotation[:, 1, 0], rotation[:, 2, 2] = -sine, sine, 1.0
    # seen from above: columns along the map's x, rows along its y; depth grows downwards
    to_map = world_SE3_map.inverse()
    linear = to_map.rotation @ (rotation * scale[:, None, None])
    offset = to_map.apply(np.array(placed.position))
    centre = np.einsum("nij,nj->ni", linear, library.centres[mesh]) + offset
    radius = library.radii[mesh] * scale
    high = low_m + cell_m * np.array([size[1], size[0]])
    near = (centre[:, :2] > low_m - radius[:, None]).all(axis=1) & (centre[:, :2] < high + radius[:, None]).all(axis=1)
    rows = np.flatnonzero(shown & near)
    # looking down with y to the bottom of the picture mirrors the triangles, so both sides must count
    flags = library.flags | np.uint8(FLAG_TWO_SIDED)
    flip = np.diag([1.0, 1.0, -1.0])
    view = VisibleTriangles.sized(size[0], size[1])
    density = 1.0 / cell_m
    grid = np.array([density, density, -low_m[0] * density - 0.5, -low_m[1] * density - 0.5, size[1], size[0]])
    arguments = (
        library.vertices, library.faces, library.attributes, flags, library.first[mesh[rows]], library.last[mesh[rows]],
        np.ascontiguousarray(flip @ linear[rows]), np.ascontiguousarray(offset[rows] * [1, 1, -1] + [0, 0, _CAMERA_M]),
        grid, True,
    )  # fmt: skip
    count = setup_triangles(*arguments, view.planes, view.boxes, view.sources)
    if count > len(view.planes):
        view = VisibleTriangles.sized(size[0], size[1], count)
        count = setup_triangles(*arguments, view.planes, view.boxes, view.sources)
    masks = pack_masks(make_masks(np.random.default_rng(0)))
    rasterise(view.planes, view.boxes, view.sources, count, flags, masks, True, (0, size[0]), view.nearness, view.ids)
    classes = np.full(size, VOID_ID, np.uint8)
    hit = view.ids >= 0
    triangle, item = (view.sources[view.ids[hit], k] for k in (0, 1))
    classes[hit] = np.array(placed.semantic, np.uint8)[rows[item]]
    ys, xs = np.nonzero(hit)
    on_road = library.materials[triangle] == MATERIALS.index("road")
    x_map = low_m[0] + (xs[on_road] + 0.5) * cell_m
    y_map = low_m[1] + (ys[on_road] + 0.5) * cell_m
    points = world_SE3_map.apply(np.column_stack([x_map, y_map, np.zeros(len(x_map))]))
    attributes = library.attributes[triangle[on_road]].astype(np.float64)
    u = (attributes[:, 12:15] * points).sum(axis=1) + attributes[:, 15]
    v = (attributes[:, 16:19] * points).sum(axis=1) + attributes[:, 19]
    marked = _marked(np.stack(world.ground.paints), library.pars[triangle[on_road], 0].astype(int), u, v)
    classes[ys[on_road][marked], xs[on_road][marked]] = SEMANTIC_CLASSES.index("lane marking")
    return classes


def _marked(paints: Array, row: npt.NDArray[np.int64], u: Array, v: Array) -> npt.NDArray[np.bool_]:
    """Whether points of roads lie on a lane line: u across and v along, m."""
    marked = np.zeros(len(u), bool)
    for k in range(1, paints.shape[1]):
        offset, width, dash, gap = (paints[row, k, c] for c in range(4))
        within = (width > 0) & (np.abs(u - offset) < 0.5 * width)
        period = np.where(gap > 0, dash + gap, 1.0)
        along = (v + 0.5 * period) % period - 0.5 * gap
        marked |= within & ((gap <= 0) | ((along >= 0) & (along < dash)))
    return marked


def write_map(folder: Path, world: World, poses: list[SE3]) -> None:
    """Writes ``bev.npz``, ``bev.png``, ``lines.geojson`` and ``objects.geojson`` of the surroundings of a drive."""
    world_SE3_map = map_frame(poses[0])
    map_SE3_world = world_SE3_map.inverse()
    track = map_SE3_world.apply(np.array([pose.translation for pose in poses]))[:, :2]
    low, high = track.min(axis=0) - _MARGIN_M, track.max(axis=0) + _MARGIN_M
    cell_m = 0.1 if (high - low).max() < 420 else 0.2
    low = np.floor(low / cell_m) * cell_m
    columns, rows = (int(n) for n in np.ceil((high - low) / cell_m))
    classes = class_raster(world, world_SE3_map, low, (rows, columns), cell_m)
    with replaced_when_done(folder / "bev.npz") as aside, aside.open("wb") as file:
        np.savez_compressed(file, class_ids=classes, low_xy_m=low, cell_m=np.array(cell_m))
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(SEMANTIC_COLOURS_RGB)] = SEMANTIC_COLOURS_RGB
    # as one reads a map: x to the right, y upwards
    _, data = cv2.imencode(".png", np.ascontiguousarray(palette[classes[::-1]][..., ::-1]))
    with replaced_when_done(folder / "bev.png") as aside:
        aside.write_bytes(data.tobytes())

    def near(points: Array) -> bool:
        return bool(((points > low) & (points < high)).all(axis=1).any())

    features = []
    for properties, points in world.ground.lines:
        line = map_SE3_world.apply(np.column_stack([points, np.zeros(len(points))]))[:, :2]
        if near(line):
            features.append(_feature("LineString", line.round(3).tolist(), properties))
    for number, path in enumerate(world.network.paths):
        line = map_SE3_world.apply(np.column_stack([path.points, np.zeros(len(path.points))]))[:, :2]
        if near(line):
            kind = "lane_centre" if path.junction < 0 else "turn"
            properties = {"kind": kind, "path": number, "speed_mps": round(path.speed_mps, 2)}
            features.append(_feature("LineString", line.round(3).tolist(), properties))
    _write_geojson(folder / "lines.geojson", features)
    _write_geojson(folder / "objects.geojson", _fixed_objects(world, map_SE3_world, low, high))


def _fixed_objects(world: World, map_SE3_world: SE3, low: Array, high: Array) -> list[dict[str, Any]]:
    features = []
    placed = world.placed
    turn = map_SE3_world.yaw_rad
    for k, name in enumerate(placed.semantic):
        label = SEMANTIC_CLASSES[name]
        if label in ("road", "sidewalk", "terrain", "lane marking"):
            continue
        spot = map_SE3_world.apply(np.array(placed.position[k]))
        if not ((spot[:2] > low) & (spot[:2] < high)).all():
            continue
        mesh = world.library.meshes[placed.mesh[k]]
        size = (mesh.bounds[1] - mesh.bounds[0]) * placed.scale[k]
        properties = {
            "class": label,
            "instance": placed.instance[k],
            "z_m": round(float(spot[2]), 3),
            "yaw_rad": round(float(np.angle(np.exp(1j * (placed.yaw[k] + turn)))), 5),
            "size_lwh_m": [round(float(v), 3) for v in size],
        }
        features.append(_feature("Point", [round(float(v), 3) for v in spot[:2]], properties))
    return features


def _feature(kind: str, coordinates: Any, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def _write_geojson(path: Path, features: list[dict[str, Any]]) -> None:
    # plain metres in the drive's own frame: GeoJSON without a geographic reference
    write_text_atomic(path, json.dumps({"type": "FeatureCollection", "features": features}) + "\n")
