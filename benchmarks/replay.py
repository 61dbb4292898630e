"""The whole pipeline on a drive: latency per stage, start-up, and memory over thousands of frames.

    python benchmarks/replay.py DRIVE [--frames 3000] [--set key.path=value ...]

Sinks are left out: they run beside the loop. The drive is repeated until ``--frames`` frames are done; memory is the
resident set after frame 300 and at the end.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

NETWORK_STAGES = ("network",)


def resident_mb() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def help_seconds(repeats: int = 7) -> float:
    """Median wall time of ``perceive --help`` as a process of its own."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run([Path(sys.executable).parent / "perceive", "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def first_frame_seconds(drive: str, overrides: list[str]) -> float:
    """Wall time of a fresh process from its start to the end of its first frame."""
    code = (
        "import sys, itertools\n"
        "from perception.config import load_config\n"
        "from perception.datasets.factory import open_drive\n"
        "from perception.pipeline import build_pipeline\n"
        "drive = open_drive(sys.argv[1])\n"
        "pipeline = build_pipeline(load_config(overrides=sys.argv[2:]), drive.info)\n"
        "pipeline.process(next(drive.readings()).frame)\n"
    )
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, drive, *overrides], check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("drive")
    parser.add_argument("--frames", type=int, default=300, help="frames to process, the drive being repeated")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY.PATH=VALUE")
    arguments = parser.parse_args()

    from perception.config import load_config
    from perception.datasets.factory import open_drive
    from perception.pipeline import build_pipeline
    from perception.replay import readings_ahead

    print(f"perceive --help: {help_seconds():.2f} s")
    print(f"start to first frame done: {first_frame_seconds(arguments.drive, arguments.overrides):.2f} s")

    config = load_config(overrides=arguments.overrides)
    drive = open_drive(arguments.drive)
    pipeline = build_pipeline(config, drive.info)
    if drive.info.camera is not None:
        pipeline.warm_up(drive.info.camera)
    readings = itertools.chain.from_iterable(
        readings_ahead(drive, config.replay.decode_ahead_frames) for _ in itertools.count()
    )
    frames = (reading.frame for reading in readings if reading.frame is not None)
    timings: list[dict[str, float]] = []
    memory_at_300 = None
    began = time.perf_counter()
    for done, frame in enumerate(itertools.islice(frames, arguments.frames), start=1):
        timings.append(pipeline.process(frame).timings_ms)
        if done == 300:
            gc.collect()
            memory_at_300 = resident_mb()
    elapsed_s = time.perf_counter() - began
    gc.collect()

    table = Table("stage", "p50 ms", "p90 ms", "p99 ms", "max ms", title=f"{drive.info.name}, {len(timings)} frames")
    rows = {stage: [t[stage] for t in timings] for stage in timings[0] if stage != "total"}
    rows["not a network"] = [t["total"] - sum(t.get(name, 0.0) for name in NETWORK_STAGES) for t in timings]
    rows["total"] = [t["total"] for t in timings]
    for stage, values in rows.items():
        table.add_row(stage, *(f"{value:.2f}" for value in np.percentile(values, [50, 90, 99, 100])))
    Console().print(table)
    print(f"{arguments.frames / elapsed_s:.1f} frames/s, decoding included, sinks excluded")
    if memory_at_300 is not None:
        print(f"memory after frame 300: {memory_at_300:.0f} MB; growth to frame {len(timings)}: "
              f"{resident_mb() - memory_at_300:+.1f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
