"""Runs all sinks in one background thread, so that none of them fails the run."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from types import TracebackType

from perception.datasets.drive import Reading
from perception.sinks.run_record import RunRecord
from perception.sinks.sink import RunSummary, Sink
from perception.types import FrameResult

__all__ = ["GuardedSinks"]

# results in flight: enough to ride out a slow frame of video, and a few tens of MB
_QUEUE_LENGTH = 4


class GuardedSinks:
    """Hands results to sinks through a bounded queue; when it is full, ``write`` waits, and nothing is dropped.

    A sink that raises is aborted and disabled, its reason is kept in ``errors``, and the others go on. Used as a
    context manager it aborts when the block is left without ``finish``.

    Attributes:
        errors: one line for every sink that failed, by name.
        status: ``partial``, or ``complete`` once ``finish`` has found nothing missing; as in run.json.

    Args:
        makers: make the sinks, by name; they are called in this order for every frame. A sink that cannot be made is
            left out, with its reason in ``errors``.
        record: run.json; finished last, with the errors of all others.
        before_write: called in the caller's thread with every result, to capture what the next frame will change.
    """

    def __init__(
        self,
        makers: Mapping[str, Callable[[], Sink]],
        record: RunRecord,
        before_write: Callable[[FrameResult], None] | None = None,
    ) -> None:
        self.errors: dict[str, str] = {}
        self.status = "partial"
        self._active: list[Sink] = []
        self._record = record
        self._before_write = before_write
        self._jobs: queue.Queue[Callable[[Sink], None] | None] = queue.Queue(_QUEUE_LENGTH)
        self._ended = False
        record.begin()
        for name, make in makers.items():
            try:
                self._active.append(make())
            except Exception as error:  # a sink that cannot begin is no more a reason to stop than one that fails later
                self.errors[name] = _one_line(error)
        self._thread = threading.Thread(target=self._work, name="sinks", daemon=True)
        self._thread.start()

    def __enter__(self) -> GuardedSinks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._ended:
            self.abort()

    def write(self, result: FrameResult) -> None:
        """Queues one frame for every sink."""
        if self._before_write is not None:
            try:
                self._before_write(result)
            except Exception as error:  # whatever a map view raises costs the pictures, not the run
                self.errors["map view"] = _one_line(error)
                self._before_write = None
        self._record.write(result)
        self._put(lambda sink: sink.write(result))

    def skip(self, reading: Reading) -> None:
        """Queues the news of a frame that could not be processed."""
        self._record.skip(reading)
        self._put(lambda sink: sink.skip(reading))

    def finish(self, summary: RunSummary) -> dict[str, str]:
        """Waits for the sinks, completes their files, then ``run.json``.

        Returns:
            One line for every sink that failed.

        Raises:
            OutputError: run.json cannot be written.
        """
        self._end(lambda sink: sink.finish(summary))
        self.status = self._record.finish(summary, self.errors)
        return self.errors

    def abort(self, summary: RunSummary | None = None) -> dict[str, str]:
        """Ends an interrupted run: frames that are queued are still written, ``run.json`` says ``partial``."""
        self._end(lambda sink: sink.abort())
        self._record.abort(summary, self.errors)
        return self.errors

    def _put(self, job: Callable[[Sink], None]) -> None:
        if self._ended:
            raise RuntimeError("the sinks of this run have already been finished or aborted")
        self._jobs.put(job)

    def _end(self, job: Callable[[Sink], None]) -> None:
        self._put(job)
        self._ended = True
        self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            for sink in tuple(self._active):
                try:
                    job(sink)
                except Exception as error:  # a sink may fail in any way (disk, codec, window) and must not end the run
                    self._disable(sink, error)

    def _disable(self, sink: Sink, error: Exception) -> None:
        self._active.remove(sink)
        self.errors[sink.name] = _one_line(error)
        try:
            sink.abort()
        except Exception as second:  # the sink is given up already; its first error is the one that tells why
            self.errors[sink.name] += f"; then on aborting: {_one_line(second)}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
