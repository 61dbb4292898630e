"""Detections and tracks as the KITTI development kits read them.

Object rows: type, truncated, occluded, alpha, 2D box (4), height, width, length, x, y, z, rotation_y, score. Tracking
rows have frame and track id before them. What a camera image does not tell is written as the development kit writes
it: truncated and occluded -1, alpha and rotation_y -10, sizes -1, location -1000. Decimals are fixed, so that equal
results are equal bytes. Sources: the ``readme.txt`` of the object and of the tracking development kit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.classes import KITTI_NAME_OF_OBJECT, OBJECT_CLASSES
from perception.datasets.drive import Reading
from perception.datasets.kitti_boxes import (
    UNKNOWN_ANGLE,
    UNKNOWN_LOCATION,
    UNKNOWN_SIZE,
    KittiBoxes,
    kitti_from_boxes3d,
)
from perception.files import write_text_atomic
from perception.geometry import PinholeCamera
from perception.sinks.aside import GrowingFile
from perception.sinks.sink import RunContext, RunSummary
from perception.sinks.track_boxes import track_boxes3d
from perception.types import Boxes3D, FrameResult

__all__ = ["KittiSink", "kitti_rows"]

_KITTI_NAMES = tuple(KITTI_NAME_OF_OBJECT[name] for name in OBJECT_CLASSES)


class KittiSink:
    """Writes ``kitti/detection/FRAME.txt`` for every frame and ``kitti/tracking/SEQUENCE.txt``.

    A frame that was skipped gets an empty detection file, so that files and frames stay paired. The tracking file
    holds the tracks that were seen in the frame; those that coast are in tracks.parquet only.

    Args:
        context: the run.
    """

    name = "kitti"

    def __init__(self, context: RunContext) -> None:
        self._detection = context.out / "kitti" / "detection"
        self._detection.mkdir(parents=True, exist_ok=True)
        self._tracking = GrowingFile(context.out / "kitti" / "tracking" / f"{context.drive.name}.txt")
        self._rows = self._tracking.aside.open("w", encoding="utf-8", newline="\n")

    def write(self, result: FrameResult) -> None:
        """Writes one frame's detections and appends its tracks."""
        frame, detections, tracks = result.frame, result.detections, result.tracks
        rows = kitti_rows(detections.class_ids, detections.boxes_xyxy, result.boxes3d, detections.scores, frame.camera)
        self._save(frame.name, rows)
        seen = np.flatnonzero(tracks.detection_rows >= 0)
        rows = kitti_rows(
            tracks.class_ids[seen],
            tracks.boxes_xyxy[seen],
            track_boxes3d(result).select(seen),
            tracks.scores[seen],
            frame.camera,
        )
        for track_id, row in zip(tracks.track_ids[seen], rows, strict=True):
            self._rows.write(f"{frame.index} {track_id} {row}\n")

    def skip(self, reading: Reading) -> None:
        """Writes an empty detection file."""
        self._save(reading.name, [])

    def finish(self, summary: RunSummary) -> None:
        """Gives the tracking file its name."""
        self._rows.close()
        self._tracking.finish()

    def abort(self) -> None:
        """Keeps the tracks so far as ``SEQUENCE.partial.txt``; every detection file is whole already."""
        self._rows.close()
        self._tracking.keep_partial()

    def _save(self, frame_name: str, rows: list[str]) -> None:
        write_text_atomic(self._detection / f"{frame_name}.txt", "".join(f"{row}\n" for row in rows))


def kitti_rows(
    class_ids: npt.NDArray[np.int64],
    boxes_xyxy: npt.NDArray[np.float32],
    boxes3d: Boxes3D | None,
    scores: npt.NDArray[np.float32],
    camera: PinholeCamera | None,
) -> list[str]:
    """The 16 columns of KITTI object rows, in the order of the arguments' rows.

    Args:
        class_ids: (N,) into ``OBJECT_CLASSES``.
        boxes_xyxy: (N, 4) px.
        boxes3d: (N) boxes in the ego frame, those of score 0 unknown, or None where none is known.
        scores: (N,).
        camera: the frame's camera; without one no place in 3D can be told.

    >>> box = np.array([[10, 20.5, 30, 40]], np.float32)
    >>> kitti_rows(np.array([0]), box, None, np.array([0.5], np.float32), None)
    ['Car -1 -1 -10 10.00 20.50 30.00 40.00 -1 -1 -1 -1000 -1000 -1000 -10 0.5000']
    """
    in_3d = None if boxes3d is None or camera is None else kitti_from_boxes3d(boxes3d, camera)
    rows = []
    for row, (class_id, box, score) in enumerate(zip(class_ids, boxes_xyxy, scores, strict=True)):
        alpha, place = _place(in_3d, row)
        corners = " ".join(f"{value:.2f}" for value in box)
        rows.append(f"{_KITTI_NAMES[class_id]} -1 -1 {alpha} {corners} {place} {score:.4f}")
    return rows


def _place(boxes: KittiBoxes | None, row: int) -> tuple[str, str]:
    """Alpha, and height to rotation_y, of one box."""
    if boxes is None or not boxes.known[row]:
        size, location, angle = f"{UNKNOWN_SIZE:.0f}", f"{UNKNOWN_LOCATION:.0f}", f"{UNKNOWN_ANGLE:.0f}"
        return angle, " ".join([size] * 3 + [location] * 3 + [angle])
    values = (*boxes.sizes_hwl[row], *boxes.locations_ref[row], boxes.rotations_y[row])
    # "+ 0.0" turns a rounded -0.000 into 0.000
    return f"{round(boxes.alphas[row], 3) + 0.0:.3f}", " ".join(f"{round(value, 3) + 0.0:.3f}" for value in values)
