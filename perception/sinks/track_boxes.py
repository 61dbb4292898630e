"""Where the tracks of a frame are in 3D, whichever kind of tracker followed them."""

from __future__ import annotations

import numpy as np

from perception.types import Boxes3D, FrameResult

__all__ = ["track_boxes3d"]


def track_boxes3d(result: FrameResult) -> Boxes3D:
    """One box per track, score 0 where there is none.

    A tracker in 3D has its own; under an image tracker a track takes the lifted box of the detection it follows, and
    has none while it coasts.
    """
    if result.tracks.boxes3d is not None:
        return result.tracks.boxes3d
    if not len(result.boxes3d):
        return Boxes3D.empty(len(result.tracks))
    rows = result.tracks.detection_rows
    known = (rows >= 0) & (result.boxes3d.scores[rows] > 0)
    boxes = result.boxes3d.select(rows)
    return Boxes3D(boxes.centers_ego, boxes.sizes_lwh, boxes.yaws, np.where(known, boxes.scores, np.float32(0.0)))
