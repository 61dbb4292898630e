"""Fills the sides of the roads: houses, trees, hedges, lamp posts, signs, lights, parked vehicles."""

from __future__ import annotations

from functools import partial

import numpy as np

from sim_data import furniture
from sim_data.buildings import build_house
from sim_data.greenery import LEAF_RGB, plant_backdrop, plant_roadside, tree_meshes
from sim_data.ground import KERB_M
from sim_data.network import Road
from sim_data.placing import Clearance, beside, jittered, shared_mesh
from sim_data.vehicles import VEHICLE_SHAPES
from sim_data.world import World, paint_colour

__all__ = ["furnish"]

_WALLS = (
    (0.52, 0.48, 0.40), (0.56, 0.54, 0.50), (0.46, 0.38, 0.27), (0.34, 0.20, 0.14), (0.32, 0.31, 0.29),
    (0.48, 0.40, 0.31), (0.26, 0.14, 0.10), (0.42, 0.43, 0.43), (0.42, 0.29, 0.21), (0.58, 0.56, 0.48),
)  # fmt: skip
_TRIMS = ((0.22, 0.09, 0.06), (0.10, 0.10, 0.11), (0.16, 0.08, 0.055), (0.07, 0.09, 0.11), (0.19, 0.10, 0.07))
_GREY = (0.25, 0.26, 0.27, 0.25, 0.26, 0.27)
_PARKED_SHARES = (0.27, 0.18, 0.17, 0.13, 0.12, 0.08, 0.05)  # of the first of ``VEHICLE_SHAPES``; the last is a van


def furnish(world: World, rng: np.random.Generator) -> None:
    """Places everything that stands still."""
    clearance = Clearance(world)
    trees = tree_meshes(world, rng)
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
            plant_roadside(world, road, side, clearance, trees, rng)
    _junction_items(world, rng)
    plant_backdrop(world, trees, clearance, rng)
    world.lamps = np.array(lamps).reshape(-1, 10)


def _houses(world: World, road: Road, side: float, clearance: Clearance, rng: np.random.Generator) -> None:
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
        start = beside(road, s if side > 0 else s + width, side, road.edge.pavement_m + 0.35 + back)
        finish = beside(road, s + width if side > 0 else s, side, road.edge.pavement_m + 0.35 + back)
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
            wall = jittered(rng, _WALLS[int(rng.integers(len(_WALLS)))], 0.18)
            trim = jittered(rng, _TRIMS[int(rng.integers(len(_TRIMS)))], 0.25)
            place = (float(origin[0]), float(origin[1]), 0.0)
            world.placed.put(mesh, place, yaw, "building", (*wall, *trim), int(rng.integers(1, 1 << 20)))
            if not city:
                _garden_front(world, road, s, width, side, rng)
        s += width + gap


def _garden_front(world: World, road: Road, s: float, width: float, side: float, rng: np.random.Generator) -> None:
    draw = rng.uniform()
    x, y, heading = beside(road, s if side > 0 else s + width, side, road.edge.pavement_m + 0.5)
    yaw = heading if side > 0 else heading + np.pi
    leaf = jittered(rng, LEAF_RGB[int(rng.integers(len(LEAF_RGB)))], 0.2)
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
        x, y, heading = beside(road, float(s), side, 1.2 if edge.kind == "motorway" else 0.55)
        yaw = heading + (np.pi if side > 0 else 0.0)  # the arm reaches along the mesh's +y, towards the road
        world.placed.put(posts, (x, y, KERB_M), yaw, "pole", _GREY if not lit else (*_GREY[:3], 1, 0.8, 0.5), 1)
        reach = np.array([-np.sin(yaw), np.cos(yaw)]) * 1.8
        lamps.append([x + reach[0], y + reach[1], 7.6, 24.0, 17.0, 9.0, 30.0, 0.0, 0.0, 0.0])
    if edge.kind == "motorway":
        return
    signs = ("speed", "warning", "mandatory", "priority")
    for s in np.arange(18.0 + rng.uniform(0, 10), road.s[-1] - 6, 42.0):
        if rng.uniform() < 0.6:
            x, y, heading = beside(road, float(s), side, 0.45)
            ahead = heading if side < 0 else heading + np.pi
            design = signs[int(rng.integers(len(signs)))]
            _sign_post(world, x, y, ahead, design, rng)
    for s in np.arange(10.0, road.s[-1] - 8, 9.0):
        draw = rng.uniform()
        if draw < 0.06:
            x, y, heading = beside(road, float(s), side, edge.pavement_m - 0.2)
            mesh = shared_mesh(world, "bin", furniture.build_bin)
            tone = ((0.03, 0.08, 0.04), (0.05, 0.05, 0.06), (0.30, 0.22, 0.03), (0.04, 0.07, 0.16))[
                int(rng.integers(4))
            ]
            world.placed.put(mesh, (x, y, KERB_M), heading + rng.normal(0, 0.2), "wall", (*tone, *tone), 1)
        elif draw < 0.12 and edge.kind == "street":
            for k in range(3):
                x, y, heading = beside(road, float(s) + 1.6 * k, side, 0.4)
                mesh = shared_mesh(world, "bollard", furniture.build_bollard)
                world.placed.put(mesh, (x, y, KERB_M), 0.0, "pole", (0.12, 0.12, 0.12, 0.1, 0.1, 0.1), 1)
        elif draw < 0.16:
            # along the houses, where nobody walks
            x, y, heading = beside(road, float(s), side, edge.pavement_m - 0.12)
            colour = paint_colour(rng)
            world.put_object(
                "bicycle",
                world.bicycle_mesh,
                (x, y, KERB_M),
                float(heading + np.clip(rng.normal(0, 0.05), -0.1, 0.1)),
                (*colour, *colour),
                3,
            )


def _sign_post(world: World, x: float, y: float, ahead: float, design: str, rng: np.random.Generator) -> None:
    height = float(rng.uniform(2.3, 2.8))
    post = shared_mesh(world, "mast 3.0", lambda: furniture.build_mast(3.1))
    world.placed.put(post, (x, y, KERB_M), 0.0, "pole", _GREY, 1)
    plate = shared_mesh(world, f"sign {design}", lambda: furniture.build_sign(design))
    at = (x - 0.045 * float(np.cos(ahead)), y - 0.045 * float(np.sin(ahead)), KERB_M + height)
    world.put_object("traffic_sign", plate, at, ahead, (0.02, 0.10, 0.42, 0.3, 0.3, 0.3), 1)


def _parked(world: World, road: Road, side: float, rng: np.random.Generator) -> None:
    s = float(rng.uniform(8.0, 12.0))
    shares = np.array(_PARKED_SHARES)
    heavy = world.scenario.actors.heavy
    if heavy is not None:  # lorries and buses are too wide for the bays
        shares = np.append((1 - heavy) * shares[:-1] / shares[:-1].sum(), heavy)
    while s < road.s[-1] - 13.0:
        shape = int(rng.choice(len(shares), p=shares))
        length = VEHICLE_SHAPES[shape].length_m
        if rng.uniform() < world.scenario.actors.parked:
            inwards = -0.5 * road.edge.parking_m + float(rng.normal(0, 0.06))
            x, y, heading = beside(road, s + length / 2, side, inwards)
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
                length = round(float(np.linalg.norm(q - p)), 1)
                mesh = shared_mesh(world, f"rail {length}", partial(furniture.build_guard_rail, length + 0.1))
                yaw = float(np.arctan2(q[1] - p[1], q[0] - p[0]))
                world.placed.put(
                    mesh, (float(p[0]), float(p[1]), 0.0), yaw, "fence", (0.35, 0.36, 0.37, 0.3, 0.3, 0.3), 1
                )


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
