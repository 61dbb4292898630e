"""A cautious search of settings: CMA-ES (package ``cma``) from known values, stopped by sequences that were left out.

Few sequences tell little, so three things hold the search back. Settings are drawn back to where they started
(``PULL``). What counts of a generation is its mean, not the best of its lucky samples. And the search stops at the
generation whose settings, found without a part of the sequences, were best on that part: where none was better than
the start, the start stays.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from perception.evaluation.kitti_rows import KittiRows

__all__ = ["Bench", "Knob", "Outcome", "Validation", "cross_validate", "evolve"]

Point = npt.NDArray[np.float64]
Rows = Mapping[str, KittiRows]

POPULATION = 8
SEED = 1
SPREAD = 0.4
# worth that a setting one unit from its start must gain to be chosen
PULL = 0.04
# left-out worth that settings must gain over the start to replace it: a threshold one step off changes as much
MARGIN = 0.5
# generations between two looks at what was left out
STRIDE = 3


@dataclass(frozen=True, slots=True)
class Knob:
    """One setting that is searched.

    Attributes:
        name: of the setting.
        unit: step of the search: added, or, if ``factor``, the logarithm of what it is multiplied by.
        factor: whether it is.
        low, high: bounds of the value.
    """

    name: str
    unit: float
    factor: bool = True
    low: float = 0.0
    high: float = math.inf

    def moved(self, value: float, amount: float) -> float:
        """The value so many units further, to four digits."""
        moved = value * math.exp(self.unit * amount) if self.factor else value + self.unit * amount
        return float(f"{min(max(moved, self.low), self.high):.4g}")


class Outcome(Protocol):
    """Scores of one class on some sequences."""

    @property
    def worth(self) -> float:
        """What the search maximises."""


class Bench(Protocol):
    """Runs a tracker and scores it."""

    class_names: tuple[str, ...]
    names: tuple[str, ...]
    knobs: tuple[Knob, ...]

    def run(self, points: Mapping[str, Point], names: Sequence[str]) -> Rows:
        """Tracks of the named sequences with each class's settings moved by its point."""

    def least(self, rows: Rows, class_name: str) -> float:
        """The track score over which the class does best."""

    def outcome(self, rows: Rows, class_name: str, least: Mapping[str, float] | None = None) -> Outcome:
        """Scores of one class over the least track score of each sequence, or over the best one of a few for all."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What the search is worth for one class on sequences that it did not see.

    Attributes:
        start: left out, with the settings of the start; only its threshold comes from the other sequences.
        found: left out, with the settings of the chosen generation.
        generation: the chosen one; 0 is the start.
    """

    start: Outcome
    found: Outcome
    generation: int


def evolve(bench: Bench, names: Sequence[str], generations: int) -> list[dict[str, Point]]:
    """Means of every generation from the start (all 0) on, the classes searched side by side on these sequences."""
    import cma

    size = len(bench.knobs)
    options = {"popsize": POPULATION, "seed": SEED, "bounds": [-4, 4], "verbose": -9}
    strategies = {
        kind: cma.CMAEvolutionStrategy(np.zeros(size), SPREAD, options | {"seed": SEED + row})
        for row, kind in enumerate(bench.class_names)
    }
    trail = [{kind: np.zeros(size) for kind in bench.class_names}]
    for _ in range(generations):
        asked = {kind: strategy.ask() for kind, strategy in strategies.items()}
        costs: dict[str, list[float]] = {kind: [] for kind in bench.class_names}
        for k in range(POPULATION):
            rows = bench.run({kind: points[k] for kind, points in asked.items()}, names)
            for kind, points in asked.items():
                costs[kind].append(PULL * float(points[k] @ points[k]) - bench.outcome(rows, kind).worth)
        for kind, strategy in strategies.items():
            strategy.tell(asked[kind], costs[kind])
        trail.append({kind: np.array(strategy.result.xfavorite) for kind, strategy in strategies.items()})
    return trail


def cross_validate(bench: Bench, folds: int, generations: int) -> dict[str, Validation]:
    """Searches without each part of the sequences in turn and scores the parts together, for every class."""
    parts = [bench.names[fold::folds] for fold in range(folds)]
    trails = []
    for part in parts:
        trails.append(evolve(bench, [name for name in bench.names if name not in part], generations))
        print(f"searched without {', '.join(part)}", flush=True)
    looks = list(range(0, generations + 1, STRIDE))
    outcomes: dict[str, list[Outcome]] = {kind: [] for kind in bench.class_names}
    for generation in looks:
        rows: dict[str, KittiRows] = {}
        least: dict[str, dict[str, float]] = {kind: {} for kind in bench.class_names}
        for part, trail in zip(parts, trails, strict=True):
            rows |= bench.run(trail[generation], part)
            seen = bench.run(trail[generation], [name for name in bench.names if name not in part])
            for kind in bench.class_names:
                least[kind] |= dict.fromkeys(part, bench.least(seen, kind))
        for kind in bench.class_names:
            outcomes[kind].append(bench.outcome(rows, kind, least[kind]))
            print(f"generation {generation}, left out: {kind}: {outcomes[kind][-1]}", flush=True)
    found = {}
    for kind, tried in outcomes.items():
        best = int(np.argmax([outcome.worth for outcome in tried]))
        if tried[best].worth < tried[0].worth + MARGIN:
            best = 0
        found[kind] = Validation(tried[0], tried[best], looks[best])
    return found
