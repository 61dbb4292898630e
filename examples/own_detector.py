"""A detector of your own in the pipeline: any object with ``detect(frame) -> Detections``.

python examples/own_detector.py DRIVE
"""

from __future__ import annotations

import dataclasses
import sys

import numpy as np

from perception.classes import OBJECT_CLASSES
from perception.config import load_config
from perception.datasets.factory import open_drive
from perception.pipeline import build_pipeline
from perception.types import Detections, Frame


class BrightSpots:
    """Calls the brightest 40 x 40 pixels a traffic light: not good, but a detector."""

    def detect(self, frame: Frame) -> Detections:
        """One box."""
        grey = frame.image_rgb.mean(axis=2)
        row, column = np.unravel_index(int(grey.argmax()), grey.shape)
        box = np.clip([column - 20, row - 20, column + 20, row + 20], 0, [*grey.shape[::-1], *grey.shape[::-1]])
        return Detections(box[None], np.array([grey.max() / 255]), np.array([OBJECT_CLASSES.index("traffic_light")]))


def main(drive_path: str, frames: int = 5) -> int:
    drive = open_drive(drive_path)
    pipeline = dataclasses.replace(build_pipeline(load_config(), drive.info), detector=BrightSpots())
    found = 0
    for reading in drive.readings(count=frames):
        if reading.frame is not None:
            result = pipeline.process(reading.frame)
            found += len(result.detections)
            print(result.frame.name, result.detections.boxes_xyxy.round().tolist(), result.tracks.track_ids.tolist())
    return found


if __name__ == "__main__":
    main(sys.argv[1])
