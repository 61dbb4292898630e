"""Per-frame pictures of what a stage found, for other programs to read: ``--save semantic,instance,depth``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from perception.datasets.drive import Reading
from perception.files import replaced_when_done
from perception.sinks.sink import RunContext, RunSummary
from perception.types import FrameResult

__all__ = ["PicturesSink", "encode_depth", "encode_instances"]

Picture = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

# KITTI's depth pictures: metres times 256, 0 where unknown
_DEPTH_STEPS_PER_M = 256.0


class PicturesSink:
    """Writes ``semantic/FRAME.png``, ``instance/FRAME.png`` and ``depth/FRAME.png``, each where it was asked for.

    Semantic pictures hold class ids in 8 bits, 255 void. Instance pictures hold in 16 bits the row of the frame's
    detections plus 1, 0 for background; ``detection_row`` of tracks.parquet leads from there to track ids. Depth
    pictures hold metres times 256 in 16 bits, 0 where unknown. Skipped frames have no pictures, nor has depth without
    a source.

    Args:
        context: the run.
    """

    name = "pictures"

    def __init__(self, context: RunContext) -> None:
        save = context.config.save
        self._out = context.out
        self._kinds: dict[str, Callable[[FrameResult], Picture | None]] = {}
        if save.semantic:
            self._kinds["semantic"] = lambda result: result.semantic.class_ids
        if save.instance:
            self._kinds["instance"] = lambda result: encode_instances(result.instances.detection_rows)
        if save.depth:
            self._kinds["depth"] = lambda result: None if result.depth is None else encode_depth(result.depth.depth_m)
        for kind in self._kinds:
            (self._out / kind).mkdir(parents=True, exist_ok=True)

    def write(self, result: FrameResult) -> None:
        """Writes one frame's pictures."""
        for kind, picture_of in self._kinds.items():
            picture = picture_of(result)
            if picture is not None:
                _save_png(self._out / kind / f"{result.frame.name}.png", picture)

    def skip(self, reading: Reading) -> None:
        """Nothing was found in a skipped frame."""

    def finish(self, summary: RunSummary) -> None:
        """Every picture is finished already."""

    def abort(self) -> None:
        """Every picture is finished already."""


def encode_instances(detection_rows: npt.NDArray[np.int32]) -> npt.NDArray[np.uint16]:
    """(H, W) rows of detections, -1 background, to 16 bit values from 1, 0 background.

    >>> encode_instances(np.array([[-1, 0, 7]], np.int32))
    array([[0, 1, 8]], dtype=uint16)
    """
    return np.clip(detection_rows + 1, 0, np.iinfo(np.uint16).max).astype(np.uint16)


def encode_depth(depth_m: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """(H, W) f32 m, NaN unknown, to KITTI's 16 bit form. Depths past 255.99 m are written as that.

    >>> encode_depth(np.array([[1.5, np.nan, 1000.0]], np.float32))
    array([[  384,     0, 65535]], dtype=uint16)
    """
    steps = np.nan_to_num(depth_m * _DEPTH_STEPS_PER_M, nan=0.0, posinf=0.0, neginf=0.0)
    whole: npt.NDArray[np.uint16] = np.clip(np.rint(steps), 0, np.iinfo(np.uint16).max).astype(np.uint16)
    return whole


def _save_png(path: Path, picture: Picture) -> None:
    encoded, data = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not encoded:
        raise ValueError(f"{path}: a picture of shape {picture.shape} and type {picture.dtype} has no PNG form")
    with replaced_when_done(path) as aside:
        aside.write_bytes(data.tobytes())
