"""Writes simulated drives to disk: checks first, then frames by one or several processes, then what sums them up."""

from __future__ import annotations

import hashlib
import itertools
import json
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from perception.errors import ConfigError, OutputError
from perception.files import write_text_atomic
from sim_data.kitti_writer import KittiWriter, drive_folder
from sim_data.optics import Optics
from sim_data.rigs import load_rig
from sim_data.scenario import load_scenario
from sim_data.simulation import Simulation
from sim_data.truth_map import write_map
from sim_data.world import World

__all__ = ["generate"]


def generate(
    scenario: str | Path,
    seed: int,
    frames: int,
    rig: str | Path,
    out: Path,
    *,
    jobs: int = 1,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Path:
    """Writes a simulated drive in the KITTI raw layout, with its truth.

    Args:
        scenario: name of a scenario or path of its TOML file.
        seed: everything random comes from it; the same seed gives the same bytes, whatever ``jobs``.
        frames: how many.
        rig: name of a preset, or path of a TOML file.
        out: folder that gets ``DATE/DATE_drive_NNNN_sync``.
        jobs: processes.
        resume: go on with a partial drive of the same settings.
        overwrite: replace a drive of other settings.
        progress: called with the number of frames each time some are done.

    Returns:
        The drive's folder.

    Raises:
        ConfigError: an unknown scenario or rig or an impossible number, before anything is written.
        OutputError: the folder holds another drive, or cannot be written.
    """
    loaded, placed = load_scenario(scenario), load_rig(rig)
    for name, value, least in (("frames", frames, 1), ("jobs", jobs, 1), ("seed", seed, 0)):
        if value < least:
            raise ConfigError(f"{name} must be at least {least} but got {value}")
    placed = placed.drawn(seed)
    for camera in placed.cameras:
        Optics(camera, placed.lens, loaded.weather.rain, seed)
    # files can change under the same name
    contents = hashlib.sha256(repr((loaded, placed)).encode()).hexdigest()[:16]
    settings = {"scenario": str(scenario), "seed": seed, "frames": frames, "rig": str(rig), "contents": contents}
    folder = drive_folder(out, seed)
    writer = KittiWriter(folder, placed)
    _check_day(writer)
    _check_output(folder, settings, resume, overwrite)
    try:
        writer.prepare()
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from None
    _write_status(folder, settings, "partial")
    missing = [k for k in range(frames) if not writer.has(k)]
    if progress is not None and len(missing) < frames:
        progress(frames - len(missing))
    if jobs == 1 or len(missing) < 2 * jobs:
        _write_frames(scenario, seed, rig, folder, missing, 2, progress)
    else:
        _write_parallel(scenario, seed, rig, folder, missing, jobs, progress)
    poses = writer.finish(frames, seed)
    write_map(folder / "truth" / "map", World.build(load_scenario(scenario), seed), poses)
    writer.clean(frames)
    _write_status(folder, settings, "complete")
    return folder


def _check_day(writer: KittiWriter) -> None:
    """KITTI keeps one calibration for all drives of a day, so they must share it."""
    day = writer.folder.parent
    others = [path.name for path in sorted(day.glob("*_sync")) if path != writer.folder]
    for name, text in writer.calibration().items():
        if others and (day / name).is_file() and (day / name).read_text(encoding="utf-8") != text:
            raise OutputError(
                f"{day / name}: is the calibration of {others[0]}, from another rig; expected an output folder of its "
                f"own for rig {writer.rig.name!r}"
            )


def _check_output(folder: Path, settings: dict[str, Any], resume: bool, overwrite: bool) -> None:
    status_file = folder / "sim.json"
    if not folder.exists():
        return
    found: dict[str, Any] = {}
    if status_file.exists():
        try:
            found = json.loads(status_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OutputError(f"{status_file}: cannot be read as the status of a drive: {error}") from None
    elif not any(folder.iterdir()):
        return
    same = {key: found.get(key) for key in settings} == settings
    if resume and found and not same:
        raise OutputError(
            f"{folder}: holds a drive of other settings ({_brief(found)}); cannot resume with {_brief(settings)}"
        )
    if resume and found.get("status") == "partial":
        return
    if overwrite:
        import shutil

        shutil.rmtree(folder)
        return
    what = f"a {found.get('status', 'foreign')} drive ({_brief(found)})" if found else "files of another drive"
    raise OutputError(f"{folder}: holds {what}; expected an empty folder, --resume for a partial drive, or --overwrite")


def _brief(settings: dict[str, Any]) -> str:
    return ", ".join(f"{key} {settings.get(key)}" for key in ("scenario", "seed", "frames", "rig"))


def _write_status(folder: Path, settings: dict[str, Any], status: str) -> None:
    write_text_atomic(folder / "sim.json", json.dumps({"status": status, **settings}, indent=2) + "\n")


def _write_frames(
    scenario: str | Path, seed: int, rig: str | Path, folder: Path, indices: list[int], threads: int,
    progress: Callable[[int], None] | None,
) -> int:  # fmt: skip
    """Renders and writes the given frames (ascending) of a drive."""
    if not indices:
        return 0
    loaded = load_rig(rig).drawn(seed)
    simulation = Simulation(load_scenario(scenario), seed, loaded, threads)
    writer = KittiWriter(folder, loaded)
    try:
        position = 0
        for first, count in _runs(indices):
            simulation.skip(first - position)
            for frame in simulation.frames(count):
                writer.write(frame, seed)
                if progress is not None:
                    progress(1)
            position = first + count
    finally:
        simulation.close()
    return len(indices)


def _runs(indices: list[int]) -> list[tuple[int, int]]:
    """First index and length of each stretch without a gap."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and index == sum(runs[-1]):
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        else:
            runs.append((index, 1))
    return runs


def _write_parallel(
    scenario: str | Path, seed: int, rig: str | Path, folder: Path, missing: list[int], jobs: int,
    progress: Callable[[int], None] | None,
) -> None:  # fmt: skip
    edges = [round(k * len(missing) / jobs) for k in range(jobs + 1)]
    parts = [missing[a:b] for a, b in itertools.pairwise(edges) if b > a]
    # spawned, since a fork would copy the threads' locks
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [pool.submit(_write_frames, scenario, seed, rig, folder, part, 1, None) for part in parts]
        for future in as_completed(waiting):
            count = future.result()
            if progress is not None:
                progress(count)
