"""Vehicle meshes: bodies lofted from a side profile, with wheels; windows, lamps and seams come from the shading.

Every mesh's frame has its origin on the road below the middle of its bounds: x forward, y left, z up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from sim_data.mesh import Mesh, MeshBuilder

__all__ = ["CAR_COLUMNS", "VEHICLE_SHAPES", "VehicleShape", "build_vehicle", "car_table"]

CAR_COLUMNS = 16
_RING, _ROUGH_RING = 9, (0, 1, 3, 5, 6, 8)  # corners of half a cross-section, and those that a rough one has
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VehicleShape:
    """Side profile of a vehicle, metres; x is measured from the middle.

    Attributes:
        name: of the shape.
        object_class: in ``OBJECT_CLASSES``.
        length_m: bumper to bumper; likewise ``width_m`` (without mirrors) and ``height_m``.
        hood_front_m: height of the bonnet's front edge; ``hood_back_m`` where it meets the windscreen.
        belt_m: lower edge of the side windows.
        screen_m: x of the windscreen's foot and top.
        rear_m: x of the rear window's top and foot.
        deck_m: height of the body behind the rear window.
        axles_m: x of the front and rear axle.
        wheel_m: wheel radius.
        sill_m: ground clearance.
        pillar_m: x of the pillar behind the front doors.
        kind: car, panel (no windows behind the front seats) or bus.
    """

    name: str
    object_class: str
    length_m: float
    width_m: float
    height_m: float
    hood_front_m: float
    hood_back_m: float
    belt_m: float
    screen_m: tuple[float, float]
    rear_m: tuple[float, float]
    deck_m: float
    axles_m: tuple[float, float]
    wheel_m: float
    sill_m: float
    pillar_m: float
    kind: str = "car"


VEHICLE_SHAPES = (
    VehicleShape(
        "hatchback", "car", 4.05, 1.74, 1.46, 0.70, 0.93, 0.93, (1.02, 0.22), (-1.42, -1.88), 1.0, (1.26, -1.26),
        0.31, 0.19, -0.18,
    ),
    VehicleShape(
        "saloon", "car", 4.62, 1.80, 1.44, 0.70, 0.92, 0.92, (0.98, 0.18), (-1.02, -1.66), 1.02, (1.42, -1.36),
        0.32, 0.18, -0.28,
    ),
    VehicleShape(
        "estate", "car", 4.64, 1.80, 1.49, 0.71, 0.94, 0.94, (1.02, 0.24), (-1.84, -2.16), 1.0, (1.40, -1.36),
        0.32, 0.19, -0.26,
    ),
    VehicleShape(
        "compact", "car", 3.62, 1.64, 1.48, 0.74, 0.95, 0.94, (1.02, 0.30), (-1.30, -1.66), 1.0, (1.17, -1.17),
        0.29, 0.18, -0.10,
    ),
    VehicleShape(
        "suv", "car", 4.52, 1.86, 1.70, 0.88, 1.06, 1.07, (1.02, 0.34), (-1.70, -2.06), 1.12, (1.36, -1.34),
        0.36, 0.25, -0.22,
    ),
    VehicleShape(
        "mpv", "car", 4.40, 1.80, 1.64, 0.80, 1.02, 1.00, (1.32, 0.44), (-1.78, -2.06), 1.08, (1.36, -1.36),
        0.32, 0.19, -0.10,
    ),
    VehicleShape(
        "panel van", "van", 5.35, 1.98, 2.36, 0.98, 1.22, 1.20, (1.92, 1.30), (-2.50, -2.60), 1.30, (1.78, -1.52),
        0.35, 0.24, 0.72, "panel",
    ),
    VehicleShape(
        "lorry", "truck", 7.60, 2.40, 3.25, 1.10, 1.42, 1.35, (3.62, 3.42), (-3.70, -3.76), 1.45, (2.62, -2.05),
        0.48, 0.45, 2.45, "panel",
    ),
    VehicleShape(
        "bus", "bus", 11.60, 2.52, 3.05, 0.95, 1.08, 1.05, (5.66, 5.40), (-5.62, -5.72), 1.15, (3.05, -2.95),
        0.48, 0.30, 4.20, "bus",
    ),
)  # fmt: skip


def car_table() -> Array:
    """(V, 16) what the shading needs to know of each shape, in ``VEHICLE_SHAPES`` order."""
    table = np.zeros((len(VEHICLE_SHAPES), CAR_COLUMNS))
    for row, shape in enumerate(VEHICLE_SHAPES):
        table[row] = [
            shape.length_m / 2, shape.width_m / 2, shape.sill_m, shape.belt_m, shape.height_m,
            shape.axles_m[0], shape.axles_m[1], shape.wheel_m,
            shape.screen_m[0], shape.screen_m[1], shape.rear_m[0], shape.rear_m[1], shape.pillar_m,
            float(shape.kind == "panel"), float(shape.kind == "bus"), float(shape.name in ("estate", "mpv", "suv")),
        ]  # fmt: skip
    return table


def _stations(shape: VehicleShape, rough: bool) -> Array:
    """(S, 5) cross-sections from nose to tail: x, half-width, lowest z, belt z, top z; fewer for a rough shape."""
    half, wide = shape.length_m / 2, shape.width_m / 2
    sill, belt, top = shape.sill_m, shape.belt_m, shape.height_m
    foot, head = shape.screen_m
    back_head, back_foot = shape.rear_m
    nose = shape.hood_front_m
    # the first says whether a rough shape has it too
    rows = [
        (True, half, 0.74 * wide, sill + 0.10, nose - 0.20, nose - 0.14),
        (False, half - 0.05, 0.86 * wide, sill + 0.04, nose - 0.12, nose - 0.05),
        (True, half - 0.18, 0.95 * wide, sill, nose - 0.05, nose + 0.01),
    ]
    if half - 0.5 > foot + 0.2:
        share = (half - 0.5 - foot) / (half - foot)
        hood = nose * share + shape.hood_back_m * (1 - share) + 0.02
        rows.append((False, half - 0.5, 0.99 * wide, sill, hood - 0.05, hood))
    rows += [
        (True, foot, wide, sill, shape.hood_back_m - 0.04, shape.hood_back_m),
        (False, 0.5 * (foot + head), wide, sill, belt, 0.5 * (shape.hood_back_m + top) + 0.015),
        (True, head, wide, sill, belt, top - 0.035),
        (False, head - 0.35, wide, sill, belt, top - 0.004),
    ]
    middle = 0.5 * (head - 0.35 + back_head)
    back = 0.5 * (back_head + back_foot)
    rows += [
        (True, middle, wide, sill, belt, top),
        (True, back_head + 0.02, 0.99 * wide, sill, belt + 0.01, top - 0.05),
        (False, back, 0.985 * wide, sill, belt + 0.02, 0.5 * (top - 0.05 + shape.deck_m) + 0.02),
        (True, back_foot, 0.98 * wide, sill, shape.deck_m - 0.06, shape.deck_m),
    ]
    rear = -half
    if back_foot - 0.30 > rear:
        rows.append((False, rear + 0.16, 0.96 * wide, sill + 0.02, shape.deck_m - 0.09, shape.deck_m - 0.03))
    rows += [
        (True, rear + 0.06, 0.91 * wide, sill + 0.05, shape.deck_m - 0.14, shape.deck_m - 0.07),
        (True, rear, 0.84 * wide, sill + 0.12, shape.deck_m - 0.26, shape.deck_m - 0.18),
    ]
    return np.array([row for in_rough, *row in rows if in_rough or not rough])


def _ring(station: Array, boxy: bool) -> Array:
    """(9, 2) y, z from the bottom middle over the left side to the top middle."""
    _, wide, low, belt, top = station
    cabin = min(1.0, max(0.0, (top - belt - 0.08) / 0.35))
    lean = 0.03 if boxy else 0.22
    roof = wide * (0.93 - lean * cabin)
    corner = min(0.07, 0.5 * (top - belt))
    return np.array(
        [
            (0.0, low),
            (0.88 * wide, low),
            (0.975 * wide, low + 0.10),
            (wide, 0.5 * (low + belt) + 0.05),
            (0.99 * wide, belt - 0.05),
            (0.96 * wide, belt),
            (roof, top - corner),
            (roof - 0.07, top - 0.25 * corner),
            (0.0, top + (0.025 if cabin > 0.5 else 0.012)),
        ]
    )


def _smooth_normals(triangles: Array, crease_deg: float) -> Array:
    """(T, 3, 3) corner normals: the mean of the faces that meet there within the crease angle, weighted by area."""
    cross = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    unit = cross / np.maximum(np.linalg.norm(cross, axis=1, keepdims=True), 1e-12)
    keys = np.round(triangles.reshape(-1, 3) * 1e4).astype(np.int64)
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.reshape(-1)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(np.concatenate([[-1], group[order]])))
    normals = np.zeros((len(group), 3))
    limit = np.cos(np.radians(crease_deg))
    for begin, end in zip(starts, [*starts[1:], len(order)], strict=True):
        corners = order[begin:end]
        faces = corners // 3
        near = unit[faces] @ unit[faces].T > limit
        normals[corners] = near @ cross[faces]
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return normals.reshape(-1, 3, 3)


def _wheel(
    builder: MeshBuilder, x: float, side: float, wide: float, radius: float, thick: float, rough: bool
) -> None:  # fmt: skip
    outer, inner = side * wide, side * (wide - thick)
    sides = 8 if rough else 16
    if not rough:
        builder.add_tube([x, inner, radius], [x, outer, radius], radius, radius, "wheel", sides)
    angles = np.arange(sides + 1) * (2 * np.pi / sides) * side
    ring = np.stack([x - radius * np.cos(angles), np.full(sides + 1, outer), radius + radius * np.sin(angles)], axis=-1)
    middle = np.array([x, outer - side * 0.03, radius])
    disc = np.stack([ring[:-1], ring[1:], np.tile(middle, (sides, 1))], axis=1)
    uvs = np.stack([disc[..., 0] - x, disc[..., 2] - radius], axis=-1)
    builder.add(disc, "wheel", uvs, par=(0.66 * radius, 0.0))


@cache
def build_vehicle(shape: VehicleShape, *, rough: bool = False) -> Mesh:
    """The mesh of a shape, rough for where it is a few pixels wide.

    Its body's first parameter is the row of ``car_table``.
    """
    row = VEHICLE_SHAPES.index(shape)
    stations = _stations(shape, rough)
    boxy = shape.kind != "car"
    corners = list(_ROUGH_RING if rough else range(_RING))
    half_rings = np.stack([_ring(station, boxy)[corners] for station in stations])
    mirrored = half_rings[:, -2:0:-1] * [-1.0, 1.0]
    rings = np.concatenate([half_rings, mirrored, half_rings[:, :1]], axis=1)
    points = np.concatenate([np.broadcast_to(stations[:, :1, None], (*rings.shape[:2], 1)), rings], axis=2)
    quads = np.stack([points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]], axis=2)
    triangles, regions = [], []
    segments = quads.shape[1]
    ends = 1 if rough else 2  # segments of the front and of the rear
    for i in range(quads.shape[0]):
        x = 0.5 * (stations[i, 0] + stations[i + 1, 0])
        for k in range(segments):
            level = corners[min(k, segments - 1 - k)]
            region = 0
            if level == 0:
                region = 7
            elif i < ends:
                region = 5
            elif i >= quads.shape[0] - ends:
                region = 6
            elif level >= 6:
                if shape.screen_m[1] < x < shape.screen_m[0]:
                    region = 1
                elif shape.rear_m[1] < x < shape.rear_m[0]:
                    region = 2
                else:
                    region = 3 if shape.rear_m[0] < x < shape.screen_m[1] else 4
            elif level == 5 and not shape.rear_m[1] < x < shape.screen_m[0]:
                region = 4
            triangles += [quads[i, k, [0, 1, 2]], quads[i, k, [0, 2, 3]]]
            regions += [region, region]
    for end, region in ((0, 5), (-1, 6)):
        ring = points[end, :-1]
        middle = ring.mean(axis=0)
        for k in range(len(ring)):
            pair = (ring[k], ring[(k + 1) % len(ring)])
            triangles.append(np.array([middle, *(pair if end == 0 else pair[::-1])]))
            regions.append(region)
    body = np.array(triangles)
    normals = _smooth_normals(body, 38.0)
    builder = MeshBuilder()
    region_of = np.array(regions)
    for region in np.unique(region_of):
        chosen = region_of == region
        uvs = body[chosen][..., [0, 2]]
        builder.add(body[chosen], "car", uvs, normals[chosen], (float(row), float(region)))
    wide = shape.width_m / 2
    for axle in shape.axles_m:
        for side in (1.0, -1.0):
            thick = 0.5 if boxy and shape.length_m > 6 else 0.21
            _wheel(builder, axle, side, wide - 0.015, shape.wheel_m, thick, rough)
    if rough:
        return builder.finish()
    mirror_x, mirror_z = shape.screen_m[0] - 0.32, shape.belt_m + 0.06
    for side in (1.0, -1.0):
        builder.add_ellipsoid(
            [mirror_x, side * (wide + 0.02), mirror_z], [0.07, 0.10, 0.07], "car", 6, 4, (float(row), 4.0)
        )
    return builder.finish()
