from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
from made_results import made_context, made_result, made_skip

from perception.sinks.render import Painter
from perception.sinks.sink import RunSummary
from perception.sinks.video import VideoSink, VideoWriter

DONE = RunSummary(frames=1, elapsed_s=1.0)


def frames_of(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def sink_for(tmp_path, **more):
    return VideoSink(made_context(tmp_path, **more), Painter("title", 180))


def test_a_video_has_a_picture_for_every_frame_and_plays_in_a_browser(tmp_path):
    sink, painter = sink_for(tmp_path), Painter("title", 180)
    pictures = []
    for index in range(25):
        result = made_result(index)
        sink.write(result)
        pictures.append(painter.paint(result))
    sink.finish(DONE)
    assert [path.name for path in tmp_path.iterdir()] == ["video.mp4"]
    with av.open(str(tmp_path / "video.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.codec_context.width, stream.codec_context.height) == (320, 180)
        assert (stream.frames, float(stream.average_rate)) == (25, 10.0)
        assert abs(float(stream.duration * stream.time_base) - 2.5) < 1e-6
    # the index comes first, so that a browser can begin before it has all
    data = (tmp_path / "video.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    decoded = frames_of(tmp_path / "video.mp4")
    assert len(decoded) == 25
    # the lower part is smooth, and its colours must survive the conversions
    lower = np.s_[120:, :, :]
    assert np.abs(decoded[12][lower].astype(int) - pictures[12][lower].astype(int)).mean() < 6


def test_skipped_frames_and_frames_of_another_size_keep_their_time(tmp_path):
    sink = sink_for(tmp_path)
    sink.skip(made_skip(0))
    sink.skip(made_skip(1))
    sink.write(made_result(2))
    sink.skip(made_skip(3))
    sink.write(made_result(4, width=64, height=64))
    sink.write(made_result(5, objects=0))
    sink.finish(DONE)
    decoded = frames_of(tmp_path / "video.mp4")
    assert len(decoded) == 6
    assert {frame.shape for frame in decoded} == {(180, 320, 3)}
    assert decoded[3].mean() < 0.7 * decoded[2].mean()


def test_every_second_frame_plays_at_half_the_rate(tmp_path):
    sink = sink_for(tmp_path, step=2)
    for index in range(0, 8, 2):
        sink.write(made_result(index))
    sink.finish(DONE)
    with av.open(str(tmp_path / "video.mp4")) as container:
        assert float(container.streams.video[0].average_rate) == 5.0


def test_a_drive_without_any_good_frame_has_no_video(tmp_path):
    sink = sink_for(tmp_path)
    sink.skip(made_skip(0))
    sink.finish(DONE)
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_plays_before_the_end_and_after_an_abort(tmp_path):
    sink = sink_for(tmp_path)
    for index in range(25):
        sink.write(made_result(index))
    assert len(frames_of(tmp_path / "video.mp4")) >= 10
    sink.abort()
    assert len(frames_of(tmp_path / "video.mp4")) == 25


def test_odd_rates_and_one_picture(tmp_path):
    writer = VideoWriter(tmp_path / "v.mp4", 64, 48, 29.97, 20)
    writer.write(np.full((48, 64, 3), 100, np.uint8))
    writer.close()
    assert len(frames_of(tmp_path / "v.mp4")) == 1


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from made_results import made_context, made_result
from perception.sinks.factory import make_sinks
sinks = make_sinks(made_context(Path(sys.argv[1])))
for index in range(40):
    sinks.write(made_result(index))
while sinks._jobs.qsize():
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_says_partial_and_leaves_a_video_that_plays(tmp_path):
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run([sys.executable, "-c", KILLED_RUN, str(out)], env=environment, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL
    assert json.loads((out / "run.json").read_text())["status"] == "partial"
    assert len(frames_of(out / "video.mp4")) >= 20
    left = {path.name for path in out.iterdir() if not path.name.startswith(".")}
    assert left == {"run.json", "video.mp4", "kitti"}
    assert not list((out / "kitti" / "tracking").glob("[!.]*"))
    for path in (out / "kitti" / "detection").glob("[!.]*"):
        assert all(len(line.split()) == 16 for line in path.read_text().splitlines())
