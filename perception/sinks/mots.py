"""Instance masks carried by their tracks, in KITTI MOTS's text format: ``frame id class height width run-lengths``."""

from __future__ import annotations

import numpy as np

from perception.classes import OBJECT_CLASSES
from perception.datasets.drive import Reading
from perception.kernels.label_runs import compressed_masks
from perception.sinks.aside import GrowingFile
from perception.sinks.sink import RunContext, RunSummary
from perception.types import FrameResult

__all__ = ["MotsSink", "mots_rows"]

# MOTS has these two classes only
_MOTS_CLASS = {OBJECT_CLASSES.index("car"): 1, OBJECT_CLASSES.index("pedestrian"): 2}


class MotsSink:
    """Writes ``mots/SEQUENCE.txt``, which ``perceive eval tracking --format mots`` reads.

    Args:
        context: the run.
    """

    name = "mots"

    def __init__(self, context: RunContext) -> None:
        self._file = GrowingFile(context.out / "mots" / f"{context.drive.name}.txt")
        self._rows = self._file.aside.open("w", encoding="utf-8", newline="\n")

    def write(self, result: FrameResult) -> None:
        """Appends the masks of the cars and pedestrians that were seen in the frame."""
        self._rows.writelines(f"{row}\n" for row in mots_rows(result))

    def skip(self, reading: Reading) -> None:
        """A skipped frame has no masks."""

    def finish(self, summary: RunSummary) -> None:
        """Gives the file its name."""
        self._rows.close()
        self._file.finish()

    def abort(self) -> None:
        """Keeps the masks so far as ``SEQUENCE.partial.txt``."""
        self._rows.close()
        self._file.keep_partial()


def mots_rows(result: FrameResult) -> list[str]:
    """One row for each track of a MOTS class whose detection has pixels in this frame, in the order of the tracks."""
    tracks, rows = result.tracks, result.instances.detection_rows
    height_px, width_px = rows.shape
    # pixels of detections that no such track has are background
    label_of_row = np.full(len(result.detections) + 1, -1, np.int32)
    wanted = [t for t, row in enumerate(tracks.detection_rows) if row >= 0 and int(tracks.class_ids[t]) in _MOTS_CLASS]
    label_of_row[tracks.detection_rows[wanted]] = np.arange(len(wanted))
    # row -1 of the map is the last entry of the table
    masks = compressed_masks(label_of_row[rows], len(wanted))
    empty = compressed_masks(np.full(rows.shape, -1, np.int32), 1)[0] if wanted else b""
    return [
        f"{result.frame.index} {tracks.track_ids[t]} {_MOTS_CLASS[int(tracks.class_ids[t])]} {height_px} {width_px} "
        f"{mask.decode('ascii')}"
        for t, mask in zip(wanted, masks, strict=True)
        if mask != empty
    ]
