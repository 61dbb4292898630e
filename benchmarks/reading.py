"""Reading a drive, beside the bare libraries: what checking, pairing and bringing to the ego frame cost.

    python benchmarks/reading.py --drive ../shared/data/kitti_raw [--json FILE]

The candidates take turns frame by frame in one process, so their ratios hold on a busy machine too.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import av
import cv2
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from perception.datasets.factory import open_drive
from perception.datasets.images import read_image
from perception.datasets.kitti_velodyne import read_velodyne
from perception.files import write_text_atomic


def main(
    drive: Annotated[Path, typer.Option(help="A KITTI raw drive.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the numbers.")] = None,
    frames: Annotated[int, typer.Option(min=2, help="How many frames.")] = 40,
) -> None:
    info = open_drive(drive).info
    folder = Path(info.path)
    pictures = sorted((folder / "image_02" / "data").iterdir())[:frames]
    scans = sorted((folder / "velodyne_points" / "data").iterdir())[:frames]
    with tempfile.TemporaryDirectory() as scratch:
        lossless = [_as_png(picture, Path(scratch)) for picture in pictures]
        video = _as_video(pictures, Path(scratch) / "drive.mp4")
        metrics = {
            **_medians("jpeg", pictures, {"read_image": read_image, "cv2.imread": _imread}),
            **_medians("png", lossless, {"read_image": read_image, "cv2.imread": _imread}),
            **_medians("scan", scans, {"read_velodyne": read_velodyne, "numpy.fromfile": np.fromfile}),
            "video/open_drive": _per_frame(lambda: sum(1 for _ in open_drive(video).readings()), frames),
            "video/av": _per_frame(lambda: _decode_with_av(video), frames),
            "drive/open_ms": _per_frame(lambda: open_drive(drive), 1),
            "drive/readings": _per_frame(lambda: sum(1 for _ in open_drive(drive).readings(count=frames)), frames),
        }
    table = Table("number", "ms", title=f"{len(pictures)} frames of {info.name}, median or mean per frame")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.2f}")
    Console().print(table)
    if json_file is not None:
        write_text_atomic(
            json_file, json.dumps({"metrics": metrics, "meta": {"frames": len(pictures)}}, indent=2) + "\n"
        )


def _imread(path: Path) -> object:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def _medians(kind: str, paths: list[Path], readers: dict[str, Callable[[Path], object]]) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in readers}
    for path in paths:
        path.read_bytes()  # so that no candidate pays for the disk
        for name, reader in readers.items():
            begin = time.perf_counter()
            reader(path)
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {f"{kind}/{name}": float(np.median(values)) for name, values in times.items()}


def _per_frame(action: Callable[[], object], count: int) -> float:
    best = min(_seconds(action) for _ in range(3))
    return 1e3 * best / count


def _seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def _as_png(picture: Path, scratch: Path) -> Path:
    path = scratch / f"{picture.stem}.png"
    cv2.imwrite(str(path), cv2.imread(str(picture)))
    return path


def _as_video(pictures: list[Path], path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        height, width = read_image(pictures[0]).shape[:2]
        stream.width, stream.height, stream.pix_fmt = width - width % 2, height - height % 2, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(read_image(picture), format="rgb24")))
        container.mux(stream.encode())
    return path


def _decode_with_av(path: Path) -> None:
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            frame.to_ndarray(format="rgb24")


if __name__ == "__main__":
    typer.run(main)
