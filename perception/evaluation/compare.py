"""What got better and worse between two metric files, with paired bootstrap intervals over frames or sequences."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from perception.evaluation.results import EvaluationResult
from perception.evaluation.samples import resampler

__all__ = ["Change", "Comparison", "compare_results", "direction"]

LOWER_IS_BETTER = (
    "*IDSW", "*IDS", "*Frag", "*FRAG", "*/FN", "*/FP", "*IDFN", "*IDFP", "*/ML", "abs_rel", "sq_rel", "mae", "rmse*",
    "SILog", "t_err*", "*/t_err*", "r_err*", "*/r_err*", "*ATE_*", "*RPE_*", "*_ms", "deadline_misses*", "height_*",
)  # fmt: skip
NEITHER = ("*/labels/*", "*AP40_cap*", "frames", "area_m2", "*scale", "deadline_ms", "*/PT")


@dataclass(frozen=True, slots=True)
class Change:
    """One metric in both files.

    Attributes:
        name: of the metric.
        before: its value in the first file.
        after: its value in the second.
        interval: 95 % interval of ``after - before``, or None where it cannot be resampled.
        verdict: ``better``, ``worse``, ``same`` or ``unclear`` (the interval holds both).
    """

    name: str
    before: float
    after: float
    interval: tuple[float, float] | None
    verdict: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """All metrics in both files, and notes."""

    changes: list[Change]
    notes: list[str]

    @property
    def worse(self) -> list[Change]:
        """Those that got worse."""
        return [change for change in self.changes if change.verdict == "worse"]


def direction(name: str) -> int:
    """1 where more is better, -1 where less is, 0 where neither.

    >>> direction("car/HOTA"), direction("car/IDSW"), direction("Car/labels/easy")
    (1, -1, 0)
    """
    if any(fnmatch.fnmatchcase(name, pattern) for pattern in NEITHER):
        return 0
    return -1 if any(fnmatch.fnmatchcase(name, pattern) for pattern in LOWER_IS_BETTER) else 1


def compare_results(
    before: EvaluationResult,
    after: EvaluationResult,
    *,
    patterns: Sequence[str] = (),
    tolerance: float = 0.0,
    resamples: int = 500,
    seed: int = 0,
) -> Comparison:
    """Compares two evaluations.

    A metric is worse when it fell by more than the tolerance and its interval, if there is one, holds nothing on the
    better side.

    Args:
        before: the first.
        after: the second.
        patterns: names to compare, such as ``*/HOTA``; all by default.
        tolerance: differences up to it are the same.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    notes = []
    if before.task and after.task and before.task != after.task:
        notes.append(f"one file is of {before.task}, the other of {after.task}")
    names = [name for name in before.metrics if name in after.metrics and _wanted(name, patterns)]
    for label, one, other in (("first", before, after), ("second", after, before)):
        alone = [name for name in one.metrics if name not in other.metrics and _wanted(name, patterns)]
        if alone:
            notes.append(f"{len(alone)} metrics are only in the {label} file, such as {alone[0]}")
    intervals, note = _intervals(before, after, resamples, seed)
    if note:
        notes.append(note)
    changes = []
    for name in names:
        interval = intervals.get(name)
        verdict = _verdict(name, after.metrics[name] - before.metrics[name], interval, tolerance)
        changes.append(Change(name, float(before.metrics[name]), float(after.metrics[name]), interval, verdict))
    return Comparison(changes, notes)


def _wanted(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _verdict(name: str, difference: float, interval: tuple[float, float] | None, tolerance: float) -> str:
    sign = direction(name)
    if sign == 0 or abs(difference) <= max(tolerance, 1e-9):
        return "same"
    if interval is not None:
        low, high = sorted(sign * bound for bound in interval)
        if (difference * sign < 0 and high > 1e-9) or (difference * sign > 0 and low < -1e-9):
            return "unclear"
    return "better" if difference * sign > 0 else "worse"


def _intervals(
    before: EvaluationResult, after: EvaluationResult, resamples: int, seed: int
) -> tuple[dict[str, tuple[float, float]], str]:
    first, second = resampler(before.samples), resampler(after.samples)
    if first is None or second is None:
        return {}, "no intervals: the files do not both hold samples"
    names = before.samples["names"]
    if names != after.samples["names"] or before.samples["kind"] != after.samples["kind"]:
        return {}, "no intervals: the files are not of the same frames or sequences"
    if len(names) < 2:
        return {}, f"no intervals: there is only one {before.samples['unit']}"
    rng = np.random.default_rng(seed)
    differences: dict[str, list[float]] = {}
    for _ in range(resamples):
        weights = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names)).astype(np.float64)
        a, b = first(weights), second(weights)
        for name in a.keys() & b.keys():
            differences.setdefault(name, []).append(b[name] - a[name])
    intervals = {}
    for name, values in differences.items():
        low, high = np.percentile(values, [2.5, 97.5])
        intervals[name] = (float(low), float(high))
    return intervals, ""
