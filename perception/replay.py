"""The drive loop: frames are decoded ahead, processed one by one, and handed to the sinks."""

from __future__ import annotations

import json
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from perception.config import Config
from perception.datasets.drive import Drive, DriveInfo, Gap, Reading
from perception.datasets.factory import open_drive
from perception.errors import DriveError, OutputError
from perception.mapping.output import write_map
from perception.pipeline import Pipeline, build_pipeline
from perception.sinks.factory import make_sinks
from perception.sinks.map_view import make_map_view
from perception.sinks.sink import RunContext, RunSummary

__all__ = ["ReplayOutcome", "ReplayRequest", "frames_to_come", "prepare_output", "readings_ahead", "replay"]

MAX_FRAME_PERIOD_S = 10.0
# gaps kept word for word; a drive that is broken all over must not fill the memory
MAX_GAPS_KEPT = 1000


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What to replay and where to.

    Attributes:
        drive: a path, glob, camera index or stream address that ``open_drive`` understands.
        out: the run folder, or None for ``runs/<drive>-<time>``.
        calib: calibration file for drives that bring none.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        threads: of the networks; 0 for the configured number.
        start: first frame.
        step: every ``step``-th frame from there.
        count: at most so many, or None for all.
        show: open a live window.
        overwrite: replace a run that the folder holds.
        resume: keep a complete run that the folder holds; begin a partial one again.
    """

    drive: str
    out: Path | None = None
    calib: Path | None = None
    device: str = "auto"
    threads: int = 0
    start: int = 0
    step: int = 1
    count: int | None = None
    show: bool = False
    overwrite: bool = False
    resume: bool = False


@dataclass(frozen=True, slots=True)
class ReplayOutcome:
    """How a replay ended.

    Attributes:
        out: the run folder.
        frames: frames processed.
        skipped: frames that could not be read.
        complete: the drive was read to its end and every file was written.
        notes: what a user should know.
        sink_errors: one line for every sink that failed.
        elapsed_s: wall time of the loop.
    """

    out: Path
    frames: int
    skipped: int
    complete: bool
    notes: tuple[str, ...]
    sink_errors: dict[str, str] = field(default_factory=dict)
    elapsed_s: float = 0.0


Progress = Callable[[int, int | None], None]


def replay(
    request: ReplayRequest,
    config: Config,
    progress: Progress = lambda done, total: None,
    started: Callable[[RunContext], None] = lambda context: None,
) -> ReplayOutcome:
    """Replays a drive and writes its run folder.

    Args:
        request: what and where to.
        config: all settings.
        progress: called with the frames done and the number expected (None for a live source).
        started: called once the drive is open and the models are loaded.

    Raises:
        PerceptionError: the drive, the output folder, the settings, the weights or the device will not do; nothing is
            left behind that looks like a finished run.
        KeyboardInterrupt: after the sinks have saved what they can and ``run.json`` says ``partial``.
    """
    with closing(open_drive(request.drive, request.calib)) as drive:
        out = prepare_output(request, drive.info)
        if request.resume and _holds_complete_run(out):
            return ReplayOutcome(out, 0, 0, True, ("the run in this folder is complete; nothing was done",))
        pipeline = build_pipeline(config, drive.info, request.device, request.threads)
        if drive.info.camera is not None:
            pipeline.warm_up(drive.info.camera)
        context = RunContext(
            out=out,
            drive=drive.info,
            config=config,
            deadline_ms=_deadline_ms(config, drive.info),
            pose_source=_pose_source(pipeline, drive.info),
            depth_source=getattr(pipeline.depth, "source", "estimated"),
            device=pipeline.device,
            weights=dict(pipeline.weights),
            map_view=make_map_view(pipeline.map_layer) if drive.info.is_sequence else None,
            start=request.start,
            step=request.step,
            count=request.count,
            show=request.show,
        )
        started(context)
        with _terminated_as_interrupt():
            return _run(drive, pipeline, context, progress)


def _run(drive: Drive, pipeline: Pipeline, context: RunContext, progress: Progress) -> ReplayOutcome:
    frames, skipped, gaps = 0, 0, list(drive.info.gaps)
    known_gaps, notes = frozenset(gaps), drive.info.notes + pipeline.notes
    expected = frames_to_come(context)
    with make_sinks(context) as sinks:
        began = time.perf_counter()
        ahead = context.config.replay.decode_ahead_frames
        for reading in readings_ahead(drive, ahead, context.start, context.step, context.count):
            gaps += [gap for gap in reading.gaps if gap not in known_gaps][: max(0, MAX_GAPS_KEPT - len(gaps))]
            if reading.frame is None:
                skipped += 1
                sinks.skip(reading)
            else:
                frames += 1
                sinks.write(pipeline.process(reading.frame))
            progress(frames + skipped, expected)
        elapsed_s = time.perf_counter() - began
        if frames == 0:
            sinks.abort(RunSummary(0, elapsed_s, complete=False, gaps=tuple(gaps)))
            raise DriveError(f"{drive.info.path}: {_why_nothing(skipped, gaps, context)}")
        write_map(pipeline.map_layer, context.out / "map", f"{drive.info.name}: {frames} frames")
        summary = RunSummary(
            frames=frames,
            elapsed_s=elapsed_s,
            gaps=tuple(gaps),
            notes=notes,
            map_picture=context.out / "map" / "bev.png",
        )
        errors = sinks.finish(summary)
    return ReplayOutcome(context.out, frames, skipped, sinks.status == "complete", notes, errors, elapsed_s)


def readings_ahead(
    drive: Drive, ahead: int, start: int = 0, step: int = 1, count: int | None = None
) -> Iterator[Reading]:
    """The drive's readings, decoded by a background thread up to ``ahead`` frames early.

    An exception of the drive is raised here, in its place. Leaving the loop early stops the thread.
    """
    ready: queue.Queue[Reading | BaseException | None] = queue.Queue(ahead)
    stop = threading.Event()

    def put(item: Reading | BaseException | None) -> None:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def decode() -> None:
        try:
            for reading in drive.readings(start, step, count):
                put(reading)
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:  # whatever ends the drive must end the loop that waits for it
            put(error)

    thread = threading.Thread(target=decode, name="decode", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join(timeout=5.0)


def frames_to_come(context: RunContext) -> int | None:
    """How many readings a run will take, or None for a live source without ``count``."""
    total = context.drive.frame_count
    if total is None:
        return context.count
    rest = max(0, -(-(total - context.start) // context.step))
    return rest if context.count is None else min(rest, context.count)


def prepare_output(request: ReplayRequest, drive: DriveInfo) -> Path:
    """Makes the run folder, or says before any model loads why it cannot serve.

    Raises:
        OutputError: it holds a run, holds other files, or cannot be written.
    """
    out = request.out
    if out is None:
        out = Path("runs") / f"{drive.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        if out.exists() and not out.is_dir():
            raise OutputError(f"{out}: expected a folder for the run but found a file")
        if (out / "run.json").exists():
            if not (request.overwrite or request.resume):
                raise OutputError(f"{out}: holds a run already; give --overwrite, --resume or another --out")
            if request.resume and _holds_complete_run(out):
                return out
            _remove_run(out)
        elif out.is_dir() and any(out.iterdir()) and not request.overwrite:
            raise OutputError(f"{out}: holds other files and no run.json; give --overwrite or another --out")
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}") from None
    return out


RUN_FILES = ("run.json", "video.mp4", "report.html", "latency.json", "tracks.parquet", "frames.parquet", "poses.txt")
RUN_FOLDERS = ("kitti/detection", "kitti/tracking", "kitti", "map", "semantic", "instance", "depth", "mots")


def _remove_run(out: Path) -> None:
    """Removes the files that a run writes, and nothing else that a user may keep beside them."""
    for name in RUN_FILES:
        (out / name).unlink(missing_ok=True)
    for leftover in out.glob(".*.tmp*"):
        leftover.unlink()
    for name in RUN_FOLDERS:
        folder = out / name
        if folder.is_dir():
            for file in folder.iterdir():
                if file.is_file():
                    file.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()


def _holds_complete_run(out: Path) -> bool:
    try:
        return bool(json.loads((out / "run.json").read_text(encoding="utf-8"))["status"] == "complete")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _deadline_ms(config: Config, drive: DriveInfo) -> float:
    if config.replay.deadline_ms > 0:
        return config.replay.deadline_ms
    return 1e3 / drive.rate_hz if drive.rate_hz and drive.rate_hz > 1 / MAX_FRAME_PERIOD_S else 0.0


def _pose_source(pipeline: Pipeline, drive: DriveInfo) -> str:
    source = pipeline.egomotion.source
    return f"given ({drive.pose_source})" if source == "given" else source


def _why_nothing(skipped: int, gaps: list[Gap], context: RunContext) -> str:
    if skipped:
        return f"none of its {skipped} frames could be read; the first: {gaps[0].frame_name}: {gaps[0].reason}"
    return f"no frame is left after --start {context.start} of {context.drive.frame_count} frames"


@contextmanager
def _terminated_as_interrupt() -> Iterator[None]:
    """Lets SIGTERM end a run as Ctrl-C does, so that the sinks save what they have."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
