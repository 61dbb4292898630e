"""How far a run is, what the rates are multiplied by there, and when something is due."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from perception.training.settings import ScheduleSettings

__all__ = ["BestSoFar", "Progress", "Schedule"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        step: steps of the optimiser that are done.
        elapsed_minutes: time spent, over all parts of a run that was interrupted.
    """

    step: int
    elapsed_minutes: float


class Schedule:
    """Linear warm-up over steps, then the chosen curve over steps, epochs or the clock.

    It holds no state: the same progress always gives the same factor, so that a resumed run goes on as it would have.
    """

    def __init__(self, settings: ScheduleSettings, steps_per_epoch: float):
        self.settings = settings
        self._steps_per_epoch = steps_per_epoch

    def position(self, progress: Progress) -> float:
        """Progress in the schedule's own unit."""
        if self.settings.unit == "minutes":
            return progress.elapsed_minutes
        return progress.step if self.settings.unit == "steps" else progress.step / self._steps_per_epoch

    def factor(self, progress: Progress) -> float:
        """What the rates of the next step are multiplied by; a plateau's drops come on top.

        >>> settings = ScheduleSettings(unit="steps", length=100, warmup_steps=4, checkpoint_every=10)
        >>> [round(Schedule(settings, 1).factor(Progress(step, 0.0)), 2) for step in (0, 3, 50, 100)]
        [0.25, 1.0, 0.5, 0.0]
        """
        settings, position = self.settings, self.position(progress)
        warm = min(1.0, (progress.step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
        if settings.kind == "cosine":
            share = min(1.0, position / settings.length)
            return warm * (settings.floor + (1 - settings.floor) * (0.5 + 0.5 * math.cos(math.pi * share)))
        if settings.kind == "step":
            passed = sum(position >= milestone for milestone in settings.milestones)
            return float(warm * settings.gamma**passed)
        return warm

    def is_over(self, progress: Progress) -> bool:
        """Whether the run is as long as it should be."""
        return self.position(progress) >= self.settings.length

    def is_due(self, every: float, since: Progress, now: Progress) -> bool:
        """Whether a multiple of ``every`` lies between two moments; never for 0."""
        return every > 0 and math.floor(self.position(now) / every) > math.floor(self.position(since) / every)


class BestSoFar:
    """Follows a metric and counts how long it has not been better; for early stopping and plateaus.

    Attributes:
        value: best so far, NaN before the first.
        waited: observations since the last that was better by ``least_gain``.
        drops: how often ``waited`` went beyond the patience; each begins a new count.
    """

    def __init__(self, mode: str, patience: int, least_gain: float = 0.0):
        self._sign = 1.0 if mode == "max" else -1.0
        self._patience, self._least_gain = patience, least_gain
        self.value, self.waited, self.drops = math.nan, 0, 0

    def observe(self, value: float) -> bool:
        """Takes one value in; returns whether it is the best so far. NaN never is."""
        gain = self._sign * (value - self.value)
        is_better = not math.isnan(value) and (math.isnan(self.value) or gain > self._least_gain)
        if is_better:
            self.value, self.waited = value, 0
        else:
            self.waited += 1
            if self.waited > self._patience:
                self.drops, self.waited = self.drops + 1, 0
        return is_better

    def state(self) -> dict[str, float]:
        """What ``restore`` needs."""
        return {"value": self.value, "waited": self.waited, "drops": self.drops}

    def restore(self, state: Mapping[str, float]) -> None:
        """Goes on from a ``state``."""
        self.value, self.waited, self.drops = state["value"], int(state["waited"]), int(state["drops"])
