"""Only the map of a drive: process every frame, write the map folder, no other files.

python examples/map_without_video.py DRIVE OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

from perception.config import load_config
from perception.datasets.factory import open_drive
from perception.mapping.output import write_map
from perception.pipeline import build_pipeline
from perception.replay import readings_ahead


def main(drive_path: str, out: Path, frames: int | None = None) -> None:
    drive = open_drive(drive_path)
    pipeline = build_pipeline(load_config(overrides=["mapping.cell_m=0.1"]), drive.info)
    for reading in readings_ahead(drive, ahead=4, count=frames):
        if reading.frame is not None:
            pipeline.process(reading.frame)
    write_map(pipeline.map_layer, out, drive.info.name)
    print(f"{out}: {len(pipeline.map_layer.path_xyz_m)} frames, {pipeline.map_layer.cloud.count} points")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
