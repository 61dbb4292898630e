"""All sinks together."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pyarrow.parquet as pq
from made_results import made_context, made_result, made_skip

from perception.sinks.factory import make_sinks
from perception.sinks.sink import RunSummary

EVERYTHING = ("save.semantic=true", "save.instance=true", "save.depth=true")


def run(out, frames=12, elapsed_s=1.0, slower=0.0):
    picture = out / "map" / "bev.png"
    with make_sinks(made_context(out, *EVERYTHING)) as sinks:
        for index in range(frames):
            if index == 4:
                sinks.skip(made_skip(index))
            else:
                result = made_result(index, objects=index % 5)
                for stage in result.timings_ms:
                    result.timings_ms[stage] += slower
                sinks.write(result)
        picture.parent.mkdir()
        cv2.imwrite(str(picture), np.zeros((9, 9, 3), np.uint8))
        assert sinks.finish(RunSummary(frames - 1, elapsed_s, map_picture=picture)) == {}
    return out


def test_a_run_folder_holds_what_the_contract_names(tmp_path):
    out = run(tmp_path / "out")
    files = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    per_frame = {f"{folder}/{i:010d}.png" for folder in ("semantic", "instance", "depth") for i in range(12) if i != 4}
    assert files == per_frame | {f"kitti/detection/{i:010d}.txt" for i in range(12)} | {
        "run.json", "video.mp4", "report.html", "latency.json", "tracks.parquet", "frames.parquet", "poses.txt",
        "kitti/tracking/made_drive.txt", "map/bev.png",
    }  # fmt: skip
    assert json.loads((out / "run.json").read_text())["status"] == "complete"
    assert pq.read_table(out / "frames.parquet").num_rows == 12
    assert len((out / "poses.txt").read_text().splitlines()) == 12


def test_two_runs_give_the_same_bytes_timings_aside(tmp_path):
    first, second = run(tmp_path / "a"), run(tmp_path / "b", elapsed_s=2.0, slower=3.0)
    timed = {"latency.json", "report.html", "run.json", "frames.parquet", "video.mp4"}
    for path in sorted(first.rglob("*")):
        name = str(path.relative_to(first))
        if path.is_file() and name not in timed:
            assert path.read_bytes() == (second / name).read_bytes(), name
    records = [json.loads((out / "run.json").read_text()) for out in (first, second)]
    for record in records:
        del record["timings"]
    assert records[0] == records[1]
    tables = [pq.read_table(out / "frames.parquet") for out in (first, second)]
    timings = [name for name in tables[0].column_names if name.startswith("ms_")]
    assert tables[0].drop_columns(timings) == tables[1].drop_columns(timings)
    assert tables[0] != tables[1]


def test_two_runs_with_the_same_timings_give_the_same_bytes(tmp_path):
    digests = []
    for out in (run(tmp_path / "a"), run(tmp_path / "b")):
        digests.append(
            {
                str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in out.rglob("*")
                if path.is_file() and path.name != "run.json"
            }
        )
    assert digests[0] == digests[1]


def test_an_interrupted_run_leaves_nothing_that_looks_finished(tmp_path):
    sinks = make_sinks(made_context(tmp_path / "out"))
    for index in range(15):
        sinks.write(made_result(index))
    assert sinks.abort() == {}
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {
        "run.json", "video.mp4", "kitti", "tracks.partial.parquet", "frames.partial.parquet", "poses.partial.txt",
    }  # fmt: skip
    record = json.loads((out / "run.json").read_text())
    assert (record["status"], record["frames"]) == ("partial", 15)


def test_video_and_report_can_be_left_out(tmp_path):
    sinks = make_sinks(made_context(tmp_path, "video.enabled=false", "report.enabled=false"))
    sinks.write(made_result(0))
    sinks.finish(RunSummary(1, 1.0))
    assert not (tmp_path / "video.mp4").exists()
    assert not (tmp_path / "report.html").exists()
    assert (tmp_path / "tracks.parquet").exists()
