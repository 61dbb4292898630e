"""Fills the sides of the roads: houses, trees, hedges, lamp posts, signs, lights, parked vehicles."""

from __future__ import annotations

import numpy as np

from sim_data import furniture
from sim_data.buildings import build_house
from sim_data.ground import KERB_M
from sim_data.network import Road
from sim_data.plants import TREE_KINDS, build_bush, build_tree
from sim_data.vehicles import VEHICLE_SHAPES
from sim_data.world import World, paint_colour

__all__ = ["furnish"]

_WALLS = (
    (0.52, 0.48, 0.40), (0.56, 0.54, 0.50), (0.46, 0.38, 0.27), (0.34, 0.20, 0.14), (0.32, 0.31, 0.29),
    (0.48, 0.40, 0.31), (0.26, 0.14, 0.10), (0.42, 0.43, 0.43), (0.42, 0.29, 0.21), (0.58, 0.56, 0.48),
)  # fmt: skip
_TRIMS = ((0.22, 0.09, 0.06), (0.10, 0.10, 0.11), (0.16, 0.08, 0.055), (0.07, 0.09, 0.11), (0.19, 0.10, 0.07))
_LEAVES = ((0.085, 0.140, 0.030), (0.060, 0.110, 0.030), (0.110, 0.150, 0.040), (0.130, 0.135, 0.035))
_GREY = (0.25, 0.26, 0.27, 0.25, 0.26, 0.27)


def _jitter(rng: np.random.Generator, colour: tuple[float, float, float], spread: float) -> tuple[float, float, float]:
    gain = 1 + rng.uniform(-spread, spread)
    tint = 1 + rng.uniform(-0.3 * spread, 0.3 * spread, 3)
    return (
        float(np.clip(colour[0] * gain * tint[0], 0.01, 0.8)),
        float(np.clip(colour[1] * gain * tint[1], 0.01, 0.8)),
        float(np.clip(colour[2] * gain * tint[2], 0.01, 0.8)),
    )


class _Clearance:
    """Where roads and houses are, on a raster, so that nothing stands in the way."""

    def __init__(self, world: World) -> None:
        points = np.concatenate([road.centre for road in world.network.roads])
        self.low = points.min(axis=0) - 200.0
        self.cell_m = 1.0
        size = np.ceil((points.max(axis=0) + 200.0 - self.low) / self.cell_m).astype(int)
        self.taken = np.zeros((size[1], size[0]), bool)
        for road in world.network.roads:
            reach = road.left_m + road.edge.pavement_m + 0.6
            for point in road.centre:
                self._disc(point, reach)
        for junction in world.network.junctions:
            reach = float(np.linalg.norm(junction.outline - junction.centre, axis=1).max())
            self._disc(junction.centre, reach + 1.5)

    def _disc(self, point: np.ndarray, radius: float) -> None:
        column, row = (point - self.low) / self.cell_m
        span = int(radius / self.cell_m) + 1
        ys, xs = np.mgrid[int(row) - span : int(row) + span + 1, int(column) - span : int(column) + span + 1]
        inside = (xs + 0.5 - column) ** 2 + (ys + 0.5 - row) ** 2 < (radius / self.cell_m) ** 2
        ys, xs = ys[inside], xs[inside]
        fits = (ys >= 0) & (xs >= 0) & (ys < self.taken.shape[0]) & (xs < self.taken.shape[1])
        self.taken[ys[fits], xs[fits]] = True

    def take(self, corners: np.ndarray) -> bool:
        """Claims a parallelogram (origin, two sides) if it is free."""
        origin, along, across = corners
        u = np.arange(0, 1.0001, 0.8 / max(float(np.linalg.norm(along)), 1.0))
        v = np.arange(0, 1.0001, 0.8 / max(float(np.linalg.norm(across)), 1.0))
        spots = origin + u[:, None, None] * along + v[None, :, None] * across
        cells = ((spots.reshape(-1, 2) - self.low) / self.cell_m).astype(int)
        if (cells < 0).any() or (cells >= [self.taken.shape[1], self.taken.shape[0]]).any():
            return False
        if self.taken[cells[:, 1], cells[:, 0]].any():
            return False
        self.taken[cells[:, 1], cells[:, 0]] = True
        return True

    def free(self, x: float, y: float) -> bool:
        """Whether nothing is there."""
        column, row = int((x - self.low[0]) / self.cell_m), int((y - self.low[1]) / self.cell_m)
        inside = 0 <= row < self.taken.shape[0] and 0 <= column < self.taken.shape[1]
        return bool(inside and not self.taken[row, column])


def furnish(world: World, rng: np.random.Generator) -> None:
    """Places everything that stands still."""
    clearance = _Clearance(world)
    trees = _tree_meshes(world, rng)
    lamps: list[list[float]] = []
    posts = world.library.add(furniture.build_lamp_post())
    for road in world.network.roads:
        for side in (1.0, -1.0):
            if world.scenario.sides.buildings != "none" and road.edge.kind != "motorway":
                _houses(world, road, side, clearance, rng)
            _street_items(world, road, side, posts, lamps, rng)
            if road.edge.parking_m > 0 and road.edge.kind != "motorway":
                _parked(world, road, side, rng)
            if road.edge.kind == "motorway":
                _barriers(world, road, side, rng)
    for road in world.network.roads:
        for side in (1.0, -1.0):
            _greenery(world, road, side, clearance, trees, rng)
    _junction_items(world, rng)
    _backdrop(world, trees, clearance, rng)
    world.lamps = np.array(lamps).reshape(-1, 10)


def _tree_meshes(world: World, rng: np.random.Generator) -> list[tuple[int, int]]:
    pairs = []
    for kind in (*TREE_KINDS, "round", "wide"):
        near = world.library.add(build_tree(rng, kind, 1))
        far = world.library.add(build_tree(rng, kind, 0))
        pairs.append((near, far))
    return pairs


def _spot(road: Road, s: float, side: float, out_m: float) -> tuple[float, float, float]:
    """x, y and heading of a point ``out_m`` outside the kerb."""
    point, heading = road.at(s, side * (road.left_m + out_m))
    return float(point[0]), float(point[1]), heading


def _houses(world: World, road: Road, side: float, clearance: _Clearance, rng: np.random.Generator) -> None:
    city = world.scenario.sides.buildings == "city"
    s = 1.0
    end = float(road.s[-1])
    while s < end - 8.0:
        if city:
            width = float(rng.choice([8.1, 10.8, 13.5, 16.2]))
            gap = 0.0 if rng.uniform() < 0.82 else float(rng.uniform(3, 9))
            floors = int(rng.choice([2, 3, 4, 5], p=[0.2, 0.35, 0.3, 0.15]))
            back, depth = float(rng.choice([0.1, 0.1, 0.6])), float(rng.uniform(10, 14))
            roof = str(rng.choice(["flat", "gable", "gable"]))
        else:
            width = float(rng.choice([8.1, 10.8, 10.8, 13.5]))
            gap, floors = float(rng.uniform(4, 12)), int(rng.choice([1, 2, 2]))
            back, depth = float(rng.uniform(4, 8)), float(rng.uniform(8, 11))
            roof = str(rng.choice(["gable", "hip", "gable"]))
        if s + width > end:
            break
        start = _spot(road, s if side > 0 else s + width, side, road.edge.pavement_m + 0.35 + back)
        finish = _spot(road, s + width if side > 0 else s, side, road.edge.pavement_m + 0.35 + back)
        along = np.array([finish[0] - start[0], finish[1] - start[1]])
        length = float(np.linalg.norm(along))
        along /= length
        # the house's y runs along the front and its x away from the street
        away = np.array([along[1], -along[0]])
        middle, _ = road.at(s + width / 2)
        if away @ (np.array(start[:2]) - middle) < 0:
            away, along = -away, -along
            start, finish = finish, start
            away = np.array([along[1], -along[0]])
        origin = np.array(start[:2])
        yaw = float(np.arctan2(away[1], away[0]))
        margin = 0.9
        claim = np.array([origin + along * margin + away * 1.2, along * (length - 2 * margin), away * (depth - 2.0)])
        if clearance.take(claim):
            mesh = world.library.add(build_house(rng, length, depth, floors, roof, bool(rng.uniform() < 0.3)))
            wall = _jitter(rng, _WALLS[int(rng.integers(len(_WALLS)))], 0.18)
            trim = _jitter(rng, _TRIMS[int(rng.integers(len(_TRIMS)))], 0.25)
            place = (float(origin[0]), float(origin[1]), 0.0)
            world.placed.put(mesh, place, yaw, "building", (*wall, *trim), int(rng.integers(1, 1 << 20)))
            if not city:
                _garden_front(world, road, s, width, side, rng)
        s += width + gap


def _garden_front(world: World, road: Road, s: float, width: float, side: float, rng: np.random.Generator) -> None:
    draw = rng.uniform()
    x, y, heading = _spot(road, s if side > 0 else s + width, side, road.edge.pavement_m + 0.5)
    yaw = heading if side > 0 else heading + np.pi
    leaf = _jitter(rng, _LEAVES[int(rng.integers(len(_LEAVES)))], 0.2)
    share = width * float(rng.uniform(0.6, 1.0))
    if draw < world.scenario.sides.hedges + 0.25:
        mesh = world.library.add(furniture.build_hedge(share, float(rng.uniform(0.8, 1.7)), 0.7))
        world.placed.put(mesh, (x, y, 0.0), yaw, "vegetation", (*leaf, *leaf), int(rng.integers(1000)))
    elif draw < world.scenario.sides.hedges + 0.45:
        mesh = world.library.add(furniture.build_wall(share, float(rng.uniform(0.5, 1.3))))
        world.placed.put(mesh, (x, y, 0.0), yaw, "wall", (0.42, 0.40, 0.36, 0.4, 0.4, 0.4), 1)
    elif draw < world.scenario.sides.hedges + 0.65:
        mesh = world.library.add(furniture.build_railing(share, float(rng.uniform(0.8, 1.2))))
        tone = float(rng.choice([0.05, 0.45, 0.12]))
        world.placed.put(mesh, (x, y, 0.02), yaw, "fence", (tone, tone, tone, 0.1, 0.1, 0.1), 1)


def _street_items(
    world: World, road: Road, side: float, posts: int, lamps: list[list[float]], rng: np.random.Generator
) -> None:
    edge = road.edge
    step = 45.0 if edge.kind == "motorway" else 32.0
    lit = world.scenario.weather.time != "day"
    for s in np.arange(step * (0.3 if side > 0 else 0.8), road.s[-1] - 4, step):
        x, y, heading = _spot(road, float(s), side, 1.2 if edge.kind == "motorway" else 0.55)
        yaw = heading + (np.pi if side > 0 else 0.0)  # the arm reaches along the mesh's +y, towards the road
        world.placed.put(posts, (x, y, KERB_M), yaw, "pole", _GREY if not lit else (*_GREY[:3], 1, 0.8, 0.5), 1)
        reach = np.array([-np.sin(yaw), np.cos(yaw)]) * 1.8
        lamps.append([x + reach[0], y + reach[1], 7.6, 24.0, 17.0, 9.0, 30.0, 0.0, 0.0, 0.0])
    if edge.kind == "motorway":
        return
    signs = ("speed", "warning", "mandatory", "priority")
    for s in np.arange(18.0 + rng.uniform(0, 10), road.s[-1] - 6, 42.0):
        if rng.uniform() < 0.6:
            x, y, heading = _spot(road, float(s), side, 0.45)
            ahead = heading if side < 0 else heading + np.pi
            design = signs[int(rng.integers(len(signs)))]
            _sign_post(world, x, y, ahead, design, rng)
    for s in np.arange(10.0, road.s[-1] - 8, 9.0):
        draw = rng.uniform()
        if draw < 0.06:
            x, y, heading = _spot(road, float(s), side, edge.pavement_m - 0.2)
            mesh = _once(world, "bin", furniture.build_bin)
            tone = ((0.03, 0.08, 0.04), (0.05, 0.05, 0.06), (0.30, 0.22, 0.03), (0.04, 0.07, 0.16))[
                int(rng.integers(4))
            ]
            world.placed.put(mesh, (x, y, KERB_M), heading + rng.normal(0, 0.2), "wall", (*tone, *tone), 1)
        elif draw < 0.12 and edge.kind == "street":
            for k in range(3):
                x, y, heading = _spot(road, float(s) + 1.6 * k, side, 0.4)
                mesh = _once(world, "bollard", furniture.build_bollard)
                world.placed.put(mesh, (x, y, KERB_M), 0.0, "pole", (0.12, 0.12, 0.12, 0.1, 0.1, 0.1), 1)
        elif draw < 0.16:
            # along the houses, where nobody walks
            x, y, heading = _spot(road, float(s), side, edge.pavement_m - 0.12)
            colour = paint_colour(rng)
            world.put_object(
                "bicycle",
                world.bicycle_mesh,
                (x, y, KERB_M),
                float(heading + np.clip(rng.normal(0, 0.05), -0.1, 0.1)),
                (*colour, *colour),
                3,
            )


def _once(world: World, name: str, build: object) -> int:
    """A shared mesh, built on first use."""
    known = world.shared
    if name not in known:
        known[name] = world.library.add(build())  # type: ignore[operator]
    return known[name]


def _sign_post(world: World, x: float, y: float, ahead: float, design: str, rng: np.random.Generator) -> None:
    height = float(rng.uniform(2.3, 2.8))
    post = _once(world, "mast 3.0", lambda: furniture.build_mast(3.1))
    world.placed.put(post, (x, y, KERB_M), 0.0, "pole", _GREY, 1)
    plate = _once(world, f"sign {design}", lambda: furniture.build_sign(design))
    at = (x - 0.045 * float(np.cos(ahead)), y - 0.045 * float(np.sin(ahead)), KERB_M + height)
    world.put_object("traffic_sign", plate, at, ahead, (0.02, 0.10, 0.42, 0.3, 0.3, 0.3), 1)


def _parked(world: World, road: Road, side: float, rng: np.random.Generator) -> None:
    s = float(rng.uniform(8.0, 12.0))
    while s < road.s[-1] - 13.0:
        shape = int(rng.choice(7, p=[0.27, 0.18, 0.17, 0.13, 0.12, 0.08, 0.05]))
        length = VEHICLE_SHAPES[shape].length_m
        if rng.uniform() < world.scenario.actors.parked:
            inwards = -0.5 * road.edge.parking_m + float(rng.normal(0, 0.06))
            x, y, heading = _spot(road, s + length / 2, side, inwards)
            yaw = heading + (np.pi if side > 0 else 0.0) + float(rng.normal(0, 0.02))
            if rng.uniform() < 0.06:
                yaw += np.pi
            world.put_object(
                VEHICLE_SHAPES[shape].object_class, world.vehicle_mesh[shape], (x, y, 0.0), yaw,
                (*paint_colour(rng), 0.0, 0.0, 0.0), int(rng.integers(1, 1 << 20)),
            )  # fmt: skip
            s += length + float(rng.uniform(0.7, 1.6))
        else:
            s += length + float(rng.uniform(1.0, 4.0))


def _barriers(world: World, road: Road, side: float, rng: np.random.Generator) -> None:
    centre = road.centre
    for k in range(0, len(centre) - 6, 6):
        a, _ = road.at(float(road.s[k]), side * 0.5)
        b, _ = road.at(float(road.s[k + 6]), side * 0.5)
        out_a, _ = road.at(float(road.s[k]), side * (road.left_m + 0.7))
        out_b, _ = road.at(float(road.s[k + 6]), side * (road.left_m + 0.7))
        for p, q, keep in ((a, b, True), (out_a, out_b, rng.uniform() < 0.7)):
            if keep:
                length = float(np.linalg.norm(q - p))
                mesh = _once(
                    world,
                    f"rail {round(length, 1)}",
                    lambda length=length: furniture.build_guard_rail(round(length, 1) + 0.1),
                )
                yaw = float(np.arctan2(q[1] - p[1], q[0] - p[0]))
                world.placed.put(
                    mesh, (float(p[0]), float(p[1]), 0.0), yaw, "fence", (0.35, 0.36, 0.37, 0.3, 0.3, 0.3), 1
                )


def _greenery(
    world: World, road: Road, side: float, clearance: _Clearance, trees: list[tuple[int, int]], rng: np.random.Generator
) -> None:
    share = world.scenario.sides.trees
    city = world.scenario.sides.buildings == "city"
    if city and road.edge.pavement_m >= 2.0 and rng.uniform() < share:
        kind = int(rng.choice([0, 1, 4]))
        for s in np.arange(7.0, road.s[-1] - 4, 11.0):
            if rng.uniform() < 0.88:
                x, y, _ = _spot(road, float(s) + float(rng.normal(0, 0.5)), side, 0.75)
                _tree(world, trees[kind], x, y, 0.72 * float(rng.uniform(0.8, 1.15)), rng)
    depth = 45.0 if road.edge.kind == "motorway" else 30.0
    for _ in range(int(road.s[-1] / 10.0 * (share + 0.25) * (2.6 if not city else 1.6))):
        out = road.edge.pavement_m + 3.5 + depth * float(rng.uniform()) ** 1.3
        x, y, _ = _spot(road, float(rng.uniform(0, road.s[-1])), side, out)
        if clearance.free(x, y):
            if rng.uniform() < 0.72:
                _tree(world, trees[int(rng.integers(len(trees)))], x, y, float(rng.uniform(0.75, 1.5)), rng)
            else:
                bush = _once(world, f"bush {int(rng.integers(3))}", lambda: build_bush(rng))
                leaf = _jitter(rng, _LEAVES[int(rng.integers(len(_LEAVES)))], 0.25)
                world.placed.put(
                    bush,
                    (x, y, 0.0),
                    float(rng.uniform(0, 6.28)),
                    "vegetation",
                    (*leaf, *leaf),
                    5,
                    float(rng.uniform(0.8, 1.8)),
                )


def _tree(world: World, pair: tuple[int, int], x: float, y: float, scale: float, rng: np.random.Generator) -> None:
    leaf = _jitter(rng, _LEAVES[int(rng.integers(len(_LEAVES)))], 0.25)
    world.placed.put(
        pair[0],
        (x, y, 0.0),
        float(rng.uniform(0, 6.28)),
        "vegetation",
        (*leaf, *leaf),
        int(rng.integers(1, 1000)),
        scale,
    )
    world.coarse[pair[0]] = pair[1]


def _junction_items(world: World, rng: np.random.Generator) -> None:
    heads = {state: world.library.add(furniture.build_light_head(state)) for state in furniture.LIGHT_STATES}
    mast = world.library.add(furniture.build_mast(3.3, 0.06))
    for number, junction in enumerate(world.network.junctions):
        if len(junction.arms) < 3:
            continue
        for k, arm in enumerate(junction.arms):
            road = world.network.roads[arm.road]
            into = -arm.away
            right = np.array([into[1], -into[0]])
            ahead = float(np.arctan2(into[1], into[0]))
            at = arm.mouth + right * (road.left_m + 0.6) - into * 0.4
            if junction.signals:
                for offset, hand in ((0.0, 1.0), (0.0, -1.0)):
                    spot = arm.mouth + hand * right * (road.left_m + 0.6) - into * (0.4 + offset)
                    place = (float(spot[0]), float(spot[1]), KERB_M)
                    world.placed.put(mast, place, 0.0, "pole", _GREY, 1)
                    head_at = (place[0] - 0.16 * float(into[0]), place[1] - 0.16 * float(into[1]), KERB_M + 2.3)
                    world.signal_heads.append((number, k, world.next_instance, head_at, ahead, heads))
                    world.next_instance += 1
            elif road.edge.kind != "ring" and rng.uniform() < 0.7:
                _sign_post(world, float(at[0]), float(at[1]), ahead, "priority" if k % 2 else "warning", rng)
    for head in heads.values():
        mesh = world.library.meshes[head]
        low, high = mesh.bounds
        world.boxes[head] = (tuple(low.tolist()), tuple(high.tolist()))


def _backdrop(world: World, trees: list[tuple[int, int]], clearance: _Clearance, rng: np.random.Generator) -> None:
    """A ring of tall trees, so that no street ends in nothing."""
    points = np.concatenate([road.centre for road in world.network.roads])
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    reach = float(np.linalg.norm(points - middle, axis=1).max()) + 45.0
    for ring in range(2):
        radius = reach + 14.0 * ring
        count = int(2 * np.pi * radius / 8.0)
        for k in range(count):
            angle = 2 * np.pi * (k + 0.5 * ring) / count
            far = radius + float(rng.normal(0, 4))
            x, y = middle[0] + far * np.cos(angle), middle[1] + far * np.sin(angle)
            pair = trees[int(rng.integers(len(trees)))]
            leaf = _jitter(rng, _LEAVES[int(rng.integers(len(_LEAVES)))], 0.2)
            world.placed.put(
                pair[1],
                (float(x), float(y), -0.5),
                float(rng.uniform(0, 6.28)),
                "vegetation",
                (*leaf, *leaf),
                7,
                float(rng.uniform(1.3, 2.1)),
            )
