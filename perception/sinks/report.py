"""report.html: the run on one self-contained page."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES
from perception.datasets.drive import Reading
from perception.files import write_text_atomic
from perception.sinks.latency import StageTimes
from perception.sinks.render import Painter
from perception.sinks.report_data import Figure, RunData, TrackLine
from perception.sinks.report_page import build_page
from perception.sinks.sink import RunContext, RunSummary
from perception.types import FrameResult

__all__ = ["ReportSink"]

_MAX_PICTURE_PX = 1600
_JPEG_QUALITY = 86


class ReportSink:
    """Gathers a few numbers per frame and some pictures, and writes the page when the run ends.

    Args:
        context: the run.
        painter: paints the pictures.
    """

    name = "report"

    def __init__(self, context: RunContext, painter: Painter) -> None:
        self._context = context
        self._painter = painter
        self._samples = _EvenSamples(context.config.report.pictures)
        self._times = StageTimes()
        self._counts = [array("H") for _ in OBJECT_CLASSES]
        self._tracks: dict[int, TrackLine] = {}
        self._skipped: list[tuple[str, str]] = []
        self._distance_m = 0.0
        self._detections = 0
        self._position: npt.NDArray[np.float64] | None = None

    def write(self, result: FrameResult) -> None:
        """Takes one frame's numbers, and its picture where it is one of the samples."""
        self._painter.follow(result)
        self._times.add(result.timings_ms)
        self._detections += len(result.detections)
        position = result.world_SE3_ego.translation
        if self._position is not None:
            self._distance_m += float(np.linalg.norm(position - self._position))
        self._position = position
        place = len(self._counts[0])
        tracks = result.tracks
        for counts, count in zip(
            self._counts, np.bincount(tracks.class_ids, minlength=len(OBJECT_CLASSES)), strict=True
        ):
            counts.append(int(count))
        for track_id, class_id, score in zip(
            tracks.track_ids.tolist(), tracks.class_ids.tolist(), tracks.scores.tolist(), strict=True
        ):
            if track_id not in self._tracks:
                self._tracks[track_id] = TrackLine(track_id, class_id, result.frame.name, place)
            self._tracks[track_id].add(class_id, score, result.frame.name, place)
        if self._samples.wants_next():
            self._samples.add(Figure(f"frame {result.frame.name}", _jpeg(self._painter.paint(result))))

    def skip(self, reading: Reading) -> None:
        """Takes note of the reason."""
        self._skipped.append((reading.name, "; ".join(gap.reason for gap in reading.gaps)))

    def finish(self, summary: RunSummary) -> None:
        """Writes the page."""
        map_picture = None
        if summary.map_picture is not None:
            image = cv2.imread(str(summary.map_picture), cv2.IMREAD_COLOR)
            if image is None:
                raise ValueError(f"{summary.map_picture}: found no readable picture; expected the finished map")
            map_picture = Figure("map", _encode(".png", _shrunk(image), [cv2.IMWRITE_PNG_COMPRESSION, 9]), "image/png")
        data = RunData(
            context=self._context,
            summary=summary,
            times=self._times,
            counts={
                name: np.frombuffer(counts, np.uint16).astype(np.float64)
                for name, counts in zip(OBJECT_CLASSES, self._counts, strict=True)
                if any(counts)
            },
            tracks=list(self._tracks.values()),
            skipped=self._skipped,
            pictures=self._samples.chosen(),
            map_picture=map_picture,
            distance_m=self._distance_m,
            detections=self._detections,
        )
        write_text_atomic(self._context.out / "report.html", build_page(data))

    def abort(self) -> None:
        """Leaves nothing: a page about part of a run would pass for one about the whole."""


class _EvenSamples:
    """Keeps pictures spread evenly over a run whose length is not known beforehand.

    Whenever there are twice as many as wanted, every second one is let go and the distance doubles.
    """

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._distance = 1
        self._seen = 0
        self._kept: list[Figure] = []

    def wants_next(self) -> bool:
        """Whether the next frame is one to keep; to be asked once per frame."""
        self._seen += 1
        return self._wanted > 0 and (self._seen - 1) % self._distance == 0

    def add(self, figure: Figure) -> None:
        self._kept.append(figure)
        if len(self._kept) > 2 * self._wanted:
            self._kept = self._kept[::2]
            self._distance *= 2

    def chosen(self) -> list[Figure]:
        count = min(self._wanted, len(self._kept))
        return [self._kept[i] for i in np.linspace(0, len(self._kept) - 1, count).round().astype(int)]


def _jpeg(picture_rgb: npt.NDArray[np.uint8]) -> bytes:
    picture = _shrunk(np.asarray(cv2.cvtColor(picture_rgb, cv2.COLOR_RGB2BGR), np.uint8))
    return _encode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])


def _shrunk(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    shrink = _MAX_PICTURE_PX / max(picture.shape[:2])
    if shrink >= 1:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)


def _encode(suffix: str, picture_bgr: npt.NDArray[np.uint8], options: list[int]) -> bytes:
    encoded, data = cv2.imencode(suffix, picture_bgr, options)
    if not encoded:
        raise ValueError(f"a picture of shape {picture_bgr.shape} has no {suffix} form")
    return bytes(data.tobytes())
