from __future__ import annotations

import json
import threading

import pytest
from made_results import made_context, made_result, made_skip

from perception.errors import OutputError
from perception.sinks.guard import GuardedSinks
from perception.sinks.run_record import RunRecord
from perception.sinks.sink import RunSummary, Sink

DONE = RunSummary(frames=3, elapsed_s=1.0)


class Recorder:
    """Remembers its calls; raises on the one that it is told to."""

    def __init__(self, name, fails_on=None):
        self.name, self.fails_on = name, fails_on
        self.calls, self.threads = [], set()

    def _call(self, *call):
        self.calls.append(call)
        self.threads.add(threading.current_thread().name)
        if call == self.fails_on:
            raise OSError(28, f"No space left for\n {self.name}")

    def write(self, result):
        self._call("write", result.frame.index)

    def skip(self, reading):
        self._call("skip", reading.index)

    def finish(self, summary):
        self._call("finish")

    def abort(self):
        self._call("abort")


def guarded(tmp_path, *sinks, **more):
    return GuardedSinks(
        {sink.name: lambda sink=sink: sink for sink in sinks}, RunRecord(made_context(tmp_path)), **more
    )


def record_of(tmp_path):
    return json.loads((tmp_path / "run.json").read_text())


def test_results_come_in_order_in_one_thread_and_none_is_dropped(tmp_path):
    first, second = Recorder("first"), Recorder("second")
    assert isinstance(first, Sink)
    sinks = guarded(tmp_path, first, second)
    for index in range(20):
        if index == 5:
            sinks.skip(made_skip(index))
        else:
            sinks.write(made_result(index, objects=0))
    assert sinks.finish(DONE) == {}
    expected = [("skip" if i == 5 else "write", i) for i in range(20)] + [("finish",)]
    assert first.calls == second.calls == expected
    assert first.threads == second.threads == {"sinks"}
    assert record_of(tmp_path)["status"] == "complete"


@pytest.mark.parametrize("fails_on", [("write", 1), ("skip", 2), ("finish",)])
def test_a_sink_that_raises_is_aborted_and_the_others_go_on(tmp_path, fails_on):
    bad, good = Recorder("bad", fails_on), Recorder("good")
    sinks = guarded(tmp_path, bad, good)
    sinks.write(made_result(0, objects=0))
    sinks.write(made_result(1, objects=0))
    sinks.skip(made_skip(2))
    errors = sinks.finish(DONE)
    assert errors == {"bad": "OSError: [Errno 28] No space left for bad"}
    assert bad.calls[-2:] == [fails_on, ("abort",)]
    assert good.calls == [("write", 0), ("write", 1), ("skip", 2), ("finish",)]
    record = record_of(tmp_path)
    assert record["sink_errors"] == errors
    # a file is missing
    assert record["status"] == sinks.status == "partial"


def test_a_viewer_that_dies_leaves_the_run_complete(tmp_path):
    sinks = guarded(tmp_path, Recorder("viewer", ("write", 0)), Recorder("good"))
    sinks.write(made_result(0, objects=0))
    assert list(sinks.finish(DONE)) == ["viewer"]
    assert record_of(tmp_path)["status"] == sinks.status == "complete"


def test_a_sink_that_cannot_begin_is_left_out(tmp_path):
    def make():
        raise RuntimeError("no display")

    good = Recorder("good")
    sinks = GuardedSinks({"viewer": make, "good": lambda: good}, RunRecord(made_context(tmp_path)))
    sinks.write(made_result(0, objects=0))
    assert sinks.finish(DONE) == {"viewer": "RuntimeError: no display"}
    assert good.calls == [("write", 0), ("finish",)]


def test_a_map_view_that_raises_costs_the_map_and_not_the_run(tmp_path):
    calls = []

    def capture(result):
        calls.append(result.frame.index)
        raise ValueError("no map here")

    good = Recorder("good")
    sinks = guarded(tmp_path, good, before_write=capture)
    for index in range(3):
        sinks.write(made_result(index, objects=0))
    assert sinks.finish(DONE) == {"map view": "ValueError: no map here"}
    assert calls == [0]
    assert len(good.calls) == 4


def test_leaving_the_block_without_finishing_aborts(tmp_path):
    sink = Recorder("sink")
    with pytest.raises(KeyboardInterrupt), guarded(tmp_path, sink) as sinks:
        sinks.write(made_result(0, objects=0))
        raise KeyboardInterrupt
    assert sink.calls == [("write", 0), ("abort",)]
    assert record_of(tmp_path)["status"] == "partial"
    assert record_of(tmp_path)["frames"] == 1
    with pytest.raises(RuntimeError, match="already"):
        sinks.write(made_result(1, objects=0))


def test_run_json_says_partial_until_the_end_and_counts_what_was_skipped(tmp_path):
    sinks = guarded(tmp_path)
    assert record_of(tmp_path)["status"] == "partial"
    sinks.write(made_result(0, objects=0))
    sinks.skip(made_skip(1, "found 3 bytes"))
    gaps = made_skip(1, "found 3 bytes").gaps
    sinks.finish(RunSummary(1, 2.0, gaps=gaps, notes=("a guess",), extra={"map": {"cells": 7}}))
    record = record_of(tmp_path)
    assert record["status"] == "complete"
    assert record["frames"] == 1
    assert record["skipped"] == [{"index": 1, "name": "0000000001", "reasons": ["found 3 bytes"]}]
    assert record["gaps"] == [{"frame": "0000000001", "sensor": "camera", "reason": "found 3 bytes"}]
    assert record["notes"] == ["a guess"]
    assert record["map"] == {"cells": 7}
    assert record["config"]["video"]["height_px"] == 180
    assert record["versions"]["numpy"]


def test_a_drive_that_was_not_read_to_its_end_is_partial(tmp_path):
    sinks = guarded(tmp_path)
    sinks.finish(RunSummary(1, 1.0, complete=False))
    assert record_of(tmp_path)["status"] == "partial"


def test_a_stream_is_written_down_without_its_password(tmp_path):
    context = made_context(tmp_path)
    object.__setattr__(context.drive, "path", "rtsp://me:secret@camera.local/1")
    RunRecord(context).begin()
    assert "secret" not in (tmp_path / "run.json").read_text()
    assert record_of(tmp_path)["drive"]["path"] == "rtsp://camera.local/1"


def test_an_output_folder_that_vanished_is_named(tmp_path):
    context = made_context(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(OutputError, match=r"run\.json: cannot be written"):
        GuardedSinks({}, RunRecord(context))
