"""What placing things beside roads has in common: free room, points beside a road, colours, shared meshes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sim_data.mesh import Mesh
from sim_data.network import Road
from sim_data.world import World

__all__ = ["Clearance", "beside", "jittered", "shared_mesh"]


def jittered(rng: np.random.Generator, colour: tuple[float, float, float], spread: float) -> tuple[float, float, float]:
    """A colour somewhat lighter or darker, and a little of another tint."""
    gain = 1 + rng.uniform(-spread, spread)
    tint = 1 + rng.uniform(-0.3 * spread, 0.3 * spread, 3)
    return (
        float(np.clip(colour[0] * gain * tint[0], 0.01, 0.8)),
        float(np.clip(colour[1] * gain * tint[1], 0.01, 0.8)),
        float(np.clip(colour[2] * gain * tint[2], 0.01, 0.8)),
    )


class Clearance:
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


def beside(road: Road, s: float, side: float, out_m: float) -> tuple[float, float, float]:
    """x, y and heading of a point ``out_m`` outside the kerb."""
    point, heading = road.at(s, side * (road.left_m + out_m))
    return float(point[0]), float(point[1]), heading


def shared_mesh(world: World, name: str, build: Callable[[], Mesh]) -> int:
    """A shared mesh, built on first use."""
    known = world.shared
    if name not in known:
        known[name] = world.library.add(build())
    return known[name]
