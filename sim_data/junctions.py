"""Which turns of a junction get in each other's way, and which arms have crossings and stop lines."""

from __future__ import annotations

import itertools

import numpy as np

from sim_data.network import Network

__all__ = ["conflicts_of", "paint_arms"]

_CLEAR_M = 3.0  # centrelines of two vehicles that pass each other
_LINE_BEHIND_CROSSING_M = 4.6
_LINE_BEHIND_MOUTH_M = 0.6


def conflicts_of(network: Network) -> dict[int, frozenset[int]]:
    """For each turn the turns of the same junction that it may not be driven at the same time with."""
    by_junction: dict[int, list[int]] = {}
    for number, path in enumerate(network.paths):
        if path.junction >= 0:
            by_junction.setdefault(path.junction, []).append(number)
    found: dict[int, set[int]] = {number: set() for row in by_junction.values() for number in row}
    for row in by_junction.values():
        for a, b in itertools.combinations(row, 2):
            first, second = network.paths[a], network.paths[b]
            same_target = first.following == second.following
            if first.arm == second.arm and not same_target:
                continue
            # who comes out of the same lane follows, and needs no grant of its own
            if np.allclose(first.points[0], second.points[0]):
                continue
            away = np.linalg.norm(first.points[:, None] - second.points[None], axis=2)
            if same_target or away.min() < _CLEAR_M:
                found[a].add(b)
                found[b].add(a)
    return {number: frozenset(others) for number, others in found.items()}


def paint_arms(network: Network, rng: np.random.Generator) -> None:
    """Decides which arms get a crossing, and which a stop line."""
    for junction in network.junctions:
        junction.ring = any(network.roads[arm.road].edge.kind == "ring" for arm in junction.arms)
        for arm in junction.arms:
            edge = network.roads[arm.road].edge
            if edge.kind not in ("street", "residential") or (edge.one_way and not arm.at_end):
                continue
            if len(junction.arms) < 3:
                continue
            arm.crossing = bool(edge.kind == "street" and (junction.signals or rng.uniform() < 0.45))
            arm.stop_line = bool(junction.signals or rng.uniform() < 0.6)
            arm.paint_m = _LINE_BEHIND_CROSSING_M if arm.crossing else _LINE_BEHIND_MOUTH_M
            arm.line_m = arm.paint_m + 0.5
