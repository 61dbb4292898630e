"""What a sink is, and what it is told about the run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from perception.config import Config
from perception.datasets.drive import DriveInfo, Gap, Reading
from perception.models.weights_used import WeightsUsed
from perception.types import FrameResult

__all__ = ["MapDrawing", "MapView", "RunContext", "RunSummary", "Sink", "map_scale"]

# a square picture of the map spans that; others show as large an area
_MAP_SPAN_M = 56.0

# (width_px, height_px) -> (height, width, 3) u8: the map around the vehicle, heading up, at ``map_scale``
MapDrawing = Callable[[int, int], npt.NDArray[np.uint8]]

# takes the map as it stands after a frame, at once, and returns a function that draws it, in any thread and later
MapView = Callable[[FrameResult], MapDrawing]


@dataclass(frozen=True, slots=True)
class RunContext:
    """What is known of a run when it begins.

    Attributes:
        out: the run folder; it exists.
        drive: what is replayed.
        config: all settings.
        deadline_ms: time a frame may take, 0 for none.
        pose_source: where poses come from, in words.
        depth_source: where metric depth comes from, in words.
        device: where networks run, in words.
        weights: every network's weights, by what it does in the run, such as ``detection``.
        map_view: shows the map around a frame's vehicle (``make_map_view``), or None for a run without a map. It is
            called in the thread that calls ``GuardedSinks.write``, so that it sees the map as that frame left it.
        start: first frame of the drive that is replayed; likewise every ``step``-th and at most ``count``.
        show: a live window was asked for.
    """

    out: Path
    drive: DriveInfo
    config: Config
    deadline_ms: float = 0.0
    pose_source: str = "unknown"
    depth_source: str = "none"
    device: str = "cpu"
    weights: Mapping[str, WeightsUsed] = field(default_factory=dict)
    map_view: MapView | None = None
    start: int = 0
    step: int = 1
    count: int | None = None
    show: bool = False


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What is known of a run when it ends.

    Attributes:
        frames: frames that went through the pipeline.
        elapsed_s: wall time of the drive loop, model loading apart.
        complete: the drive was read to its end, or to the end of the part that was asked for.
        gaps: everything that was missing or damaged, of frames that were skipped and of others.
        notes: what a reader of the run should know.
        map_picture: the finished map as an image file for the report, or None.
        extra: anything else for ``run.json``, of JSON types.
    """

    frames: int
    elapsed_s: float
    complete: bool = True
    gaps: tuple[Gap, ...] = ()
    notes: tuple[str, ...] = ()
    map_picture: Path | None = None
    extra: Mapping[str, object] = field(default_factory=dict)


def map_scale(width_px: int, height_px: int) -> float:
    """Pixels per metre of a map's picture of that size.

    >>> map_scale(560, 560)
    10.0
    """
    return math.sqrt(width_px * height_px) / _MAP_SPAN_M


@runtime_checkable
class Sink(Protocol):
    """Takes the results of a run, in the order of the drive, and writes them.

    All methods are called in one background thread. A sink may raise: it is then aborted and left out of the rest of
    the run, which goes on. It never changes what it is given.
    """

    name: str

    def write(self, result: FrameResult) -> None:
        """Takes one frame."""

    def skip(self, reading: Reading) -> None:
        """Takes note of a frame that could not be processed; ``reading.gaps`` says why."""

    def finish(self, summary: RunSummary) -> None:
        """Completes the files and gives them their names."""

    def abort(self) -> None:
        """Ends early: keeps what is usable under a name that says so, and nothing half-written that looks finished."""
