"""poses.txt: the camera's way as KITTI odometry writes it."""

from __future__ import annotations

import numpy as np

from perception.datasets.drive import Reading
from perception.geometry import EGO_R_CAM, SE3
from perception.sinks.aside import GrowingFile
from perception.sinks.sink import RunContext, RunSummary
from perception.types import FrameResult

__all__ = ["PosesSink"]

_LOOKING_AHEAD = SE3(EGO_R_CAM, np.zeros(3))


class PosesSink:
    """Writes one row of twelve numbers per frame: the top of the matrix that takes this camera to the first one.

    Row numbers are all that tells which frame a row belongs to, so a skipped frame repeats the row before it;
    frames.parquet says which frames those are.

    Args:
        context: the run.
    """

    name = "poses"

    def __init__(self, context: RunContext) -> None:
        self._file = GrowingFile(context.out / "poses.txt")
        self._rows = self._file.aside.open("w", encoding="utf-8", newline="\n")
        self._first_SE3_world: SE3 | None = None
        self._row = _kitti_row(SE3.identity())

    def write(self, result: FrameResult) -> None:
        """Appends one pose."""
        camera = result.frame.camera
        world_SE3_cam = result.world_SE3_ego @ (_LOOKING_AHEAD if camera is None else camera.ego_SE3_cam)
        if self._first_SE3_world is None:
            self._first_SE3_world = world_SE3_cam.inverse()
        self._row = _kitti_row(self._first_SE3_world @ world_SE3_cam)
        self._rows.write(self._row)

    def skip(self, reading: Reading) -> None:
        """Repeats the pose before."""
        self._rows.write(self._row)

    def finish(self, summary: RunSummary) -> None:
        """Gives the file its name."""
        self._rows.close()
        self._file.finish()

    def abort(self) -> None:
        """Keeps the rows so far as ``poses.partial.txt``."""
        self._rows.close()
        self._file.keep_partial()


def _kitti_row(first_SE3_cam: SE3) -> str:
    # a picometre is rounding error; adding 0.0 turns -0.0 into 0.0
    return " ".join(f"{value:.9e}" for value in (first_SE3_cam.matrix[:3].round(12) + 0.0).ravel()) + "\n"
