"""Nodes and edges of the networks that scenarios name."""

from __future__ import annotations

import numpy as np

from sim_data.junctions import paint_arms
from sim_data.network import Edge, Network, build_network
from sim_data.scenario import Roads

__all__ = ["build_layout"]


def build_layout(roads: Roads, rng: np.random.Generator) -> Network:
    """The road network of a scenario."""
    build = {"grid": _grid, "curves": _grid, "motorway": _motorway, "roundabout": _roundabout}[roads.layout]
    network = build(roads, rng)
    paint_arms(network, rng)
    return network


def _grid(roads: Roads, rng: np.random.Generator) -> Network:
    """Blocks of 3 x 3 streets with jittered corners; ``curves`` bends them."""
    size = 4
    curvy = roads.layout == "curves"
    spots = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), -1).reshape(-1, 2)
    nodes = (spots - (size - 1) / 2) * roads.block_m + rng.uniform(-0.09, 0.09, (size * size, 2)) * roads.block_m
    edges = []
    for x in range(size):
        for y in range(size):
            for step in ((1, 0), (0, 1)):
                ox, oy = x + step[0], y + step[1]
                if ox >= size or oy >= size:
                    continue
                main = (y if step[0] else x) in (1, 2)
                edges.append(
                    Edge(
                        x * size + y, ox * size + oy,
                        lanes=roads.lanes if main else 1,
                        parking_m=2.1 if roads.parking and rng.uniform() < 0.8 else 0.0,
                        pavement_m=roads.pavement_m,
                        speed_mps=roads.speed_mps,
                        kind="residential" if curvy and rng.uniform() < 0.7 else "street",
                        bend=float(rng.uniform(-0.16, 0.16)) if curvy else float(rng.normal(0, 0.015)),
                    )
                )  # fmt: skip
    # some blocks grow together, which leaves junctions of three arms
    for _ in range(3):
        k = int(rng.integers(len(edges)))
        degree = np.bincount([n for e in edges for n in (e.start, e.end)], minlength=len(nodes))
        if degree[edges[k].start] > 3 and degree[edges[k].end] > 3:
            edges.pop(k)
    degree = np.bincount([n for e in edges for n in (e.start, e.end)], minlength=len(nodes))
    signals = {int(n) for n in range(len(nodes)) if degree[n] == 4 and rng.uniform() < roads.signals}
    return build_network(nodes, edges, 13.0 + 3.0 * (roads.lanes - 1), signals)


def _motorway(roads: Roads, rng: np.random.Generator) -> Network:
    """A closed dual carriageway of about 3.9 km without junctions."""
    # bends of at least 400 m, which are driven at full speed
    angles = np.linspace(0, 2 * np.pi, 1500, endpoint=False)
    phases = rng.uniform(0, 2 * np.pi, 2)
    radius = 620.0 * (1 + 0.06 * np.cos(2 * angles + phases[0]) + 0.03 * np.cos(3 * angles + phases[1]))
    fine = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
    cut = len(fine) // 4
    edges = []
    for k in range(4):
        points = fine[k * cut : (k + 1) * cut + 1] if k < 3 else np.concatenate([fine[k * cut :], fine[:1]])
        edges.append(
            Edge(
                k, (k + 1) % 4, lanes=max(2, roads.lanes), lane_m=3.65, parking_m=2.6, pavement_m=0.0,
                speed_mps=roads.speed_mps, kind="motorway", median_m=1.8, curve=points,
            )
        )  # fmt: skip
    return build_network(fine[[0, cut, 2 * cut, 3 * cut]], edges, 0.0, set())


def _roundabout(roads: Roads, rng: np.random.Generator) -> Network:
    """A roundabout with four arms whose outer ends are joined by streets."""
    radius = 19.0
    reach = roads.block_m + radius
    angles = np.arange(4) * np.pi / 2 + rng.uniform(-0.12, 0.12, 4)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius
    outer = np.stack([np.cos(angles), np.sin(angles)], axis=1) * reach
    nodes = np.concatenate([ring, outer])
    edges = []
    for k in range(4):
        following = (k + 1) % 4
        span = (angles[following] - angles[k]) % (2 * np.pi)
        arc = angles[k] + np.linspace(0, span, 30)
        curve = np.stack([np.cos(arc), np.sin(arc)], axis=1) * radius
        edges.append(
            Edge(k, following, lane_m=5.0, parking_m=0.0, pavement_m=roads.pavement_m, speed_mps=8.0, kind="ring",
                 one_way=True, curve=curve)
        )  # fmt: skip
        edges.append(Edge(4 + k, k, parking_m=0.0, pavement_m=roads.pavement_m, speed_mps=roads.speed_mps))
        arc = angles[k] + np.linspace(0, span, 80)
        wide = reach * (1 + 0.05 * np.sin(np.linspace(0, np.pi, 80)))
        curve = np.stack([np.cos(arc) * wide, np.sin(arc) * wide], axis=1)
        edges.append(
            Edge(4 + k, 4 + following, parking_m=2.1 if roads.parking else 0.0, pavement_m=roads.pavement_m,
                 speed_mps=roads.speed_mps, curve=curve)
        )  # fmt: skip
    cuts = {k: 6.5 for k in range(4)} | {4 + k: 13.0 for k in range(4)}
    return build_network(nodes, edges, cuts, set())
