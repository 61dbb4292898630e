"""latency.json: how long each stage took."""

from __future__ import annotations

import json
from array import array

import numpy as np

from perception.datasets.drive import Reading
from perception.files import write_text_atomic
from perception.sinks.sink import RunContext, RunSummary
from perception.types import FrameResult

__all__ = ["LatencySink", "StageTimes"]

PERCENTILES = (("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("max", 100.0))


class StageTimes:
    """Milliseconds of every stage over a run: eight bytes per stage and frame."""

    def __init__(self) -> None:
        self.stages: dict[str, array[float]] = {}

    def add(self, timings_ms: dict[str, float]) -> None:
        """Takes one frame's timings."""
        for stage, duration_ms in timings_ms.items():
            self.stages.setdefault(stage, array("d")).append(duration_ms)

    def misses(self, deadline_ms: float) -> int:
        """Frames whose total exceeds the deadline; none where there is no deadline."""
        return sum(total > deadline_ms for total in self.stages.get("total", ())) if deadline_ms > 0 else 0

    def percentiles(self) -> dict[str, dict[str, float]]:
        """``{stage: {"p50": ms, "p90": ms, "p99": ms, "max": ms}}``, the total last."""
        order = [stage for stage in self.stages if stage != "total"] + ["total"] * ("total" in self.stages)
        return {
            stage: {
                key: round(float(value), 3)
                for (key, _), value in zip(
                    PERCENTILES, np.percentile(self.stages[stage], [p for _, p in PERCENTILES]), strict=True
                )
            }
            for stage in order
        }


class LatencySink:
    """Writes latency.json when the run ends.

    Args:
        context: the run.
    """

    name = "latency"

    def __init__(self, context: RunContext) -> None:
        self._path = context.out / "latency.json"
        self._deadline_ms = context.deadline_ms
        self._times = StageTimes()
        self._frames = 0

    def write(self, result: FrameResult) -> None:
        """Takes one frame's timings."""
        self._frames += 1
        self._times.add(result.timings_ms)

    def skip(self, reading: Reading) -> None:
        """A frame that was not processed took no time."""

    def finish(self, summary: RunSummary) -> None:
        """Writes the file."""
        report = {
            "frames": self._frames,
            "fps": round(self._frames / summary.elapsed_s, 3) if summary.elapsed_s > 0 else 0.0,
            "deadline_ms": self._deadline_ms,
            "deadline_misses": self._times.misses(self._deadline_ms),
            "stages": self._times.percentiles(),
        }
        write_text_atomic(self._path, json.dumps(report, indent=2) + "\n")

    def abort(self) -> None:
        """Leaves nothing: percentiles of part of a run would pass for those of the whole."""
