"""Trees and bushes along roads, and the trees all around."""

from __future__ import annotations

import numpy as np

from sim_data.network import Road
from sim_data.placing import Clearance, beside, jittered, shared_mesh
from sim_data.plants import TREE_KINDS, build_bush, build_tree
from sim_data.world import World

__all__ = ["LEAF_RGB", "plant_backdrop", "plant_roadside", "tree_meshes"]

LEAF_RGB = ((0.085, 0.140, 0.030), (0.060, 0.110, 0.030), (0.110, 0.150, 0.040), (0.130, 0.135, 0.035))


def tree_meshes(world: World, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Numbers of the trees' meshes, close up and in the distance; their last levels of detail go to the world."""
    pairs = []
    for kind in (*TREE_KINDS, "round", "wide"):
        near = world.library.add(build_tree(rng, kind, 3))
        far = world.library.add(build_tree(rng, kind, 2))
        tiny, faint = (world.library.add(build_tree(np.random.default_rng(near), kind, detail)) for detail in (1, 0))
        world.distant.update({near: tiny, far: tiny})
        world.faint.update({near: faint, far: faint})
        pairs.append((near, far))
    return pairs


def plant_roadside(
    world: World, road: Road, side: float, clearance: Clearance, trees: list[tuple[int, int]], rng: np.random.Generator
) -> None:
    """Trees on a city's pavements, and trees and bushes on the free land beside a road."""
    share = world.scenario.sides.trees
    city = world.scenario.sides.buildings == "city"
    if city and road.edge.pavement_m >= 2.0 and rng.uniform() < share:
        kind = int(rng.choice([0, 1, 4]))
        for s in np.arange(7.0, road.s[-1] - 4, 11.0):
            if rng.uniform() < 0.88:
                x, y, _ = beside(road, float(s) + float(rng.normal(0, 0.5)), side, 0.75)
                _tree(world, trees[kind], x, y, 0.72 * float(rng.uniform(0.8, 1.15)), rng)
    depth = 45.0 if road.edge.kind == "motorway" else 30.0
    for _ in range(int(road.s[-1] / 10.0 * (share + 0.25) * (2.6 if not city else 1.6))):
        out = road.edge.pavement_m + 3.5 + depth * float(rng.uniform()) ** 1.3
        x, y, _ = beside(road, float(rng.uniform(0, road.s[-1])), side, out)
        if clearance.free(x, y):
            if rng.uniform() < 0.72:
                _tree(world, trees[int(rng.integers(len(trees)))], x, y, float(rng.uniform(0.75, 1.5)), rng)
            else:
                name = f"bush {int(rng.integers(3))}"
                bush = shared_mesh(world, name, lambda: build_bush(rng, 2))
                if bush not in world.coarse:
                    coarse, tiny = (world.library.add(build_bush(np.random.default_rng(bush), k)) for k in (1, 0))
                    world.coarse[bush], world.distant[bush] = coarse, tiny
                leaf = jittered(rng, LEAF_RGB[int(rng.integers(len(LEAF_RGB)))], 0.25)
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
    leaf = jittered(rng, LEAF_RGB[int(rng.integers(len(LEAF_RGB)))], 0.25)
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


def plant_backdrop(world: World, trees: list[tuple[int, int]], clearance: Clearance, rng: np.random.Generator) -> None:
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
            leaf = jittered(rng, LEAF_RGB[int(rng.integers(len(LEAF_RGB)))], 0.2)
            world.placed.put(
                pair[1],
                (float(x), float(y), -0.5),
                float(rng.uniform(0, 6.28)),
                "vegetation",
                (*leaf, *leaf),
                7,
                float(rng.uniform(1.3, 2.1)),
            )
