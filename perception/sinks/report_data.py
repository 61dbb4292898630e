"""What report.html shows, gathered over a run."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.sinks.latency import StageTimes
from perception.sinks.sink import RunContext, RunSummary

__all__ = ["Figure", "RunData", "TrackLine"]


@dataclass(frozen=True, slots=True)
class Figure:
    """An encoded picture and its caption."""

    caption: str
    data: bytes
    media_type: str = "image/jpeg"

    @property
    def address(self) -> str:
        """A ``data:`` address that holds the picture."""
        return f"data:{self.media_type};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(slots=True)
class TrackLine:
    """What the page says of one track; ``first`` and ``last`` count the run's frames from 0."""

    track_id: int
    class_id: int
    first_name: str
    first: int
    last_name: str = ""
    last: int = 0
    frames: int = 0
    score_sum: float = 0.0

    def add(self, class_id: int, score: float, frame_name: str, place: int) -> None:
        """Takes one frame of it; the class is the latest one that the tracker holds."""
        self.class_id, self.last_name, self.last = class_id, frame_name, place
        self.frames += 1
        self.score_sum += score


@dataclass(frozen=True, slots=True, eq=False)
class RunData:
    """All that the page shows."""

    context: RunContext
    summary: RunSummary
    times: StageTimes
    counts: Mapping[str, npt.NDArray[np.float64]]
    tracks: list[TrackLine]
    skipped: list[tuple[str, str]]
    pictures: list[Figure]
    map_picture: Figure | None
    distance_m: float
    detections: int
