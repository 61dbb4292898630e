"""People on foot: they walk along pavements to and fro, give way to each other, and cross roads.

At a painted crossing somebody who waits is a claim on the near lane, which drivers stop for while they can; with
lights people wait for them. Elsewhere one crosses when there is a gap in the traffic. Whoever is on the road has a
claim on the way before him.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sim_data.ground import KERB_M
from sim_data.kernels.traffic import BODY_COLUMNS, CLAIM, PERSON, overlapping
from sim_data.network import Network, Road
from sim_data.polylines import directions, resample

__all__ = ["CROSSING_FROM_MOUTH_M", "Walkers"]

Array = npt.NDArray[np.float64]
CROSSING_FROM_MOUTH_M = 2.2
_NEAREST_KERB_M = 1.05  # lamp posts and signs stand nearer the kerb
_FARTHEST_M = 0.8  # bicycles lean nearer the houses
_CORRIDOR_M = 0.8  # half width of the way that somebody crossing needs
# columns of ``rows``
_ROAD, _SIDE, _S, _LEFT, _AHEAD, _YAW, _PACE, _PHASE = range(8)
_SINCE, _HOME, _CROSS, _CALM, _PAINTED, _BLOCKED, _STRIDE, _WAY = range(8, 16)


@dataclass(slots=True)
class Walkers:
    """Everybody on foot.

    Attributes:
        network: roads whose pavements they use.
        half_sizes: (B, 2) half length and half width of each figure's box, m.
        rows: (W, 16) as ``sim_data.kernels.traffic.walk`` reads them.
        build: of each, a row of the world's figures.
        crossing: of each, junction and arm whose light it minds, -1 where there is none.
        lines: centrelines of the roads, about every metre.
        roads: (R, 3) kerb and pavement of each road.
    """

    network: Network
    half_sizes: Array
    rows: Array = field(default_factory=lambda: np.zeros((0, 16)))
    build: list[int] = field(default_factory=list)
    crossing: list[tuple[int, int]] = field(default_factory=list)
    lines: tuple[Array, Array, npt.NDArray[np.int64], Array] = field(init=False)
    roads: Array = field(init=False)

    def __post_init__(self) -> None:
        lines = [resample(road.centre, 1.0) for road in self.network.roads]
        headings = []
        for line in lines:
            tangents = directions(line)
            headings.append(np.unwrap(np.arctan2(tangents[:, 1], tangents[:, 0])))
        starts = np.concatenate([[0], np.cumsum([len(line) for line in lines])]).astype(np.int64)
        lengths = np.array([float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for line in lines])
        self.lines = (np.ascontiguousarray(np.concatenate(lines)), np.concatenate(headings), starts, lengths)
        self.roads = np.array([[road.left_m, *_band(road)] for road in self.network.roads])

    def place(self, row: Array) -> tuple[float, float, float]:
        """x, y and heading of a row."""
        x, y, heading = self._centre(int(row[_ROAD]), float(row[_S]))
        left = float(row[_LEFT])
        return x - left * math.sin(heading), y + left * math.cos(heading), float(row[_YAW])

    @property
    def ways_m(self) -> Array:
        """(W,) how far each has walked."""
        return self.rows[:, _WAY]

    @property
    def heights_m(self) -> Array:
        """(W,) of the ground that everybody walks on: the pavement, or the road; the kerb is a short ramp."""
        beyond = np.abs(self.rows[:, _LEFT]) - self.roads[self.rows[:, _ROAD].astype(np.int64), 0]
        return np.asarray(KERB_M * np.clip(0.5 + beyond / 0.4, 0.0, 1.0))

    def begin(self, bodies: Array, first: int) -> None:
        """Writes everybody into the rows of ``bodies`` that begin at ``first``; sizes are there already."""
        for k, row in enumerate(self.rows):
            bodies[first + k, :3] = self.place(row)
            bodies[first + k, 3:5] = self.half_sizes[self.build[k]]
            bodies[first + k, 7] = PERSON

    def populate(self, count: int, home: int, standing: Array, rng: np.random.Generator) -> None:
        """Spreads people over the pavements; ``home`` is the road that gets most of them."""
        able = [k for k, road in enumerate(self.network.roads) if road.edge.pavement_m >= 1.5]
        if not able or not count:
            return
        weights = np.array([self.network.roads[k].s[-1] * (4.0 if k == home else 1.0) for k in able])
        bodies = np.zeros((count + len(standing), BODY_COLUMNS))
        bodies[count:] = standing
        bodies[:count, 0] = 1e6
        rows: list[Array] = []
        for _ in range(count):
            for _ in range(12):
                row, crossing = self._draw(int(rng.choice(able, p=weights / weights.sum())), standing, rng)
                build = int(rng.integers(len(self.half_sizes)))
                bodies[len(rows), 3:5] = self.half_sizes[build]
                pose = self.place(row)
                if not overlapping(bodies, len(rows), pose, 0.1):
                    bodies[len(rows), :3] = pose
                    rows.append(row)
                    self.build.append(build)
                    self.crossing.append(crossing)
                    break
        self.rows = np.ascontiguousarray(np.array(rows).reshape(-1, 16))

    def _draw(self, number: int, standing: Array, rng: np.random.Generator) -> tuple[Array, tuple[int, int]]:
        road = self.network.roads[number]
        length = float(self.lines[3][number])
        row = np.zeros(16)
        row[[_ROAD, _SIDE, _S]] = number, rng.choice([-1.0, 1.0]), rng.uniform(2.0, length - 2.0)
        kerb, low, high = self.roads[number]
        row[_HOME] = rng.uniform(low, high)
        row[_LEFT] = row[_SIDE] * (kerb + row[_HOME])
        row[_AHEAD] = rng.choice([-1.0, 1.0])
        row[_PACE] = rng.uniform(0.9, 1.6) if rng.uniform() < 0.92 else 0.0
        row[_STRIDE] = rng.uniform(1.2, 1.7)
        row[_CROSS], crossing, painted = self._way_over(number, road, length, standing, rng)
        row[_PAINTED] = float(painted)
        if row[_PACE] > 0 and np.isfinite(row[_CROSS]) and rng.uniform() < 0.4:
            # begin near the place where one crosses, so that short drives see it
            row[_S] = np.clip(row[_CROSS] - row[_AHEAD] * rng.uniform(1.0, 14.0), 2.0, length - 2.0)
        row[_YAW] = 0.0
        _, _, heading = self._centre(number, float(row[_S]))
        row[_YAW] = heading if row[_AHEAD] > 0 else heading + np.pi
        return row, crossing

    def _centre(self, number: int, s: float) -> tuple[float, float, float]:
        """Point of a road's centreline at an arc length, and the heading there."""
        points, headings, starts, lengths = self.lines
        first, last = int(starts[number]), int(starts[number + 1]) - 1
        position = min(max(s / float(lengths[number]), 0.0), 1.0) * (last - first)
        k = min(first + int(position), last - 1)
        share = position - (k - first)
        (x, y), (next_x, next_y) = points[k : k + 2].tolist()
        heading, next_heading = headings[k : k + 2].tolist()
        return x + share * (next_x - x), y + share * (next_y - y), heading + share * (next_heading - heading)

    def _way_over(
        self, number: int, road: Road, length: float, standing: Array, rng: np.random.Generator
    ) -> tuple[float, tuple[int, int], bool]:
        """Arc length where somebody crosses (NaN: never), the light he minds, and whether it is painted."""
        draw = rng.uniform()
        painted = []
        for index, junction in enumerate(self.network.junctions):
            for k, arm in enumerate(junction.arms):
                if arm.road == number and arm.crossing:
                    s = length - CROSSING_FROM_MOUTH_M if arm.at_end else CROSSING_FROM_MOUTH_M
                    painted.append((s, (index, k) if junction.signals else (-1, -1)))
        if painted and draw < 0.35:
            s, light = painted[int(rng.integers(len(painted)))]
            return s, light, True
        if 0.35 <= draw < 0.5 and length > 40.0 and road.edge.lanes == 1:
            s = float(rng.uniform(16.0, length - 16.0))
            middle, heading = road.at(s)
            delta = standing[:, :2] - middle
            along = np.abs(delta @ [np.cos(heading), np.sin(heading)]) - standing[:, 3]
            across = np.abs(delta @ [-np.sin(heading), np.cos(heading)])
            if not ((along < 0.7) & (across < road.left_m + 0.5)).any():
                return s, (-1, -1), False
        return float("nan"), (-1, -1), False

    def allowed(self, light: Callable[[int, int, float], str]) -> npt.NDArray[np.bool_]:
        """(W,) False for those who wait and whose light forbids to cross, or will before they are over.

        Args:
            light: what drivers see at a junction's arm so many seconds from now.
        """
        allowed = np.ones(len(self.rows), bool)
        for k in np.flatnonzero(self.rows[:, _PHASE] == 1.0):
            junction, arm = self.crossing[k]
            if junction >= 0:
                over_s = 2.0 * self.roads[int(self.rows[k, _ROAD]), 0] / self.rows[k, _STRIDE] + 2.0
                allowed[k] = all(light(junction, arm, later) == "red" for later in (-1.0, over_s))
        return allowed

    def claims(self) -> Array:
        """(C, 8) bodies that drivers keep clear of: the way of those who cross, and of those who wait at crossings."""
        found = []
        for k in np.flatnonzero(self.rows[:, _PHASE] > 0):
            row = self.rows[k]
            kerb = self.roads[int(row[_ROAD]), 0]
            if row[_PHASE] == 1.0:
                junction, _ = self.crossing[k]
                if row[_PAINTED] == 0.0 or junction >= 0 or row[_SINCE] < 0.8:
                    continue
                reach = min(5.0, 2 * kerb)
                start, kind = kerb, CLAIM
            else:
                start = row[_LEFT] * row[_SIDE]
                reach, kind = min(2.6, max(start + kerb, 0.0)), PERSON
            if reach < 0.3:
                continue
            x, y, heading = self._centre(int(row[_ROAD]), float(row[_S]))
            # from the person (or the kerb) towards the other side
            left = float(row[_SIDE] * (start - 0.5 * reach))
            x, y = x - left * math.sin(heading), y + left * math.cos(heading)
            found.append([x, y, heading + 0.5 * np.pi, 0.5 * reach, _CORRIDOR_M, 0.0, 0.0, kind])
        return np.array(found).reshape(-1, BODY_COLUMNS)


def _band(road: Road) -> tuple[float, float]:
    """Least and largest distance from the kerb at which people walk."""
    return _NEAREST_KERB_M, max(_NEAREST_KERB_M, road.edge.pavement_m - _FARTHEST_M)
