"""Each refusal is one clear line and exit code 2, and leaves nothing that looks finished."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from perception.models.weights import shipped_folder


def assert_refused(ended: object, *told: str) -> None:
    assert ended.code == 2, ended.err
    lines = [line for line in ended.err.splitlines() if line.strip()]
    assert len(lines) == 1, ended.err
    for words in told:
        assert words in lines[0]


def test_missing_drive(perceive: Callable, tmp_path: Path) -> None:
    assert_refused(perceive("replay", tmp_path / "absent", "--out", tmp_path / "run"), "absent", "expected")
    assert not (tmp_path / "run").exists()


def test_video_without_frames(perceive: Callable, tmp_path: Path) -> None:
    video = tmp_path / "empty.mp4"
    video.write_bytes(b"\x00\x00\x00\x18ftypmp42" + bytes(64))
    assert_refused(perceive("--video", video, "--out", tmp_path / "run"), "empty.mp4")
    assert not (tmp_path / "run/run.json").exists()


def test_calibration_of_the_wrong_shape(perceive: Callable, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    calib = tmp_path / "calib.txt"
    calib.write_text("P2: 700 0 320 0 0 700 120 0 0 0 1\n")
    assert_refused(
        perceive("replay", tmp_path / "*.png", "--calib", calib, "--out", tmp_path / "run"), "calib.txt", "12"
    )


def test_output_that_cannot_be_written_is_told_before_models_load(
    perceive: Callable, small_drive: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    broken = ("--set", "network.weights=absent-weights")
    assert_refused(perceive("replay", small_drive, "--out", tmp_path / "file", *broken), "file", "expected a folder")
    assert_refused(perceive("replay", small_drive, "--out", tmp_path / "file/run", *broken), "cannot be written")


def test_folder_of_another_run_is_refused_unless_told(perceive: Callable, small_drive: Path, tmp_path: Path) -> None:
    run = ("replay", small_drive, "--out", tmp_path / "run", "--frames", 1, "--quiet", "--set", "video.enabled=false")
    assert perceive(*run).code == 0
    assert_refused(perceive(*run), "holds a run already", "--overwrite")
    record = (tmp_path / "run/run.json").read_bytes()
    assert perceive(*run, "--resume").code == 0
    assert (tmp_path / "run/run.json").read_bytes() == record
    (tmp_path / "run/notes.md").write_text("mine")
    assert perceive(*run[:4], "--frames", 2, "--overwrite", "--quiet").code == 0
    assert len(list((tmp_path / "run/kitti/detection").iterdir())) == 2
    assert (tmp_path / "run/notes.md").read_text() == "mine"
    (tmp_path / "other").mkdir()
    (tmp_path / "other/file").touch()
    assert_refused(perceive("replay", small_drive, "--out", tmp_path / "other"), "other files")


def test_corrupt_weights(perceive: Callable, small_drive: Path, tmp_path: Path) -> None:
    for file in shipped_folder().iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = tmp_path / "street.safetensors"
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    ended = perceive(
        "replay", small_drive, "--out", tmp_path / "run", "--set", f"network.weights={tmp_path / 'street.json'}"
    )
    assert_refused(ended, "street.safetensors", "SHA-256")
    assert not (tmp_path / "run/run.json").exists()


def test_unknown_setting(perceive: Callable, small_drive: Path, tmp_path: Path) -> None:
    ended = perceive("replay", small_drive, "--out", tmp_path / "run", "--set", "tracking.min_hit=3")
    assert_refused(ended, "tracking.min_hit", "did you mean tracking.min_hits")
    assert not (tmp_path / "run").exists()


def test_malformed_onnx(perceive: Callable, small_drive: Path, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"not a network at all")
    settings = ("--set", "detection.source=onnx", "--set", f"detection.weights={model}")
    assert_refused(perceive("replay", small_drive, "--out", tmp_path / "run", *settings), "model.onnx")
    assert not (tmp_path / "run/run.json").exists()


@pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="this machine has a GPU")
def test_absent_gpu(perceive: Callable, small_drive: Path, tmp_path: Path) -> None:
    assert_refused(perceive("replay", small_drive, "--out", tmp_path / "run", "--device", "cuda"), "cuda", "found no")
    assert_refused(
        perceive("replay", small_drive, "--out", tmp_path / "run", "--device", "tpu"), "tpu", "expected auto"
    )


def test_nothing_after_start(perceive: Callable, small_drive: Path, tmp_path: Path) -> None:
    ended = perceive("replay", small_drive, "--out", tmp_path / "run", "--start", 99, "--quiet")
    assert_refused(ended, "--start 99", "8 frames")
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "partial"


def test_damage_is_survived_and_counted(perceive: Callable, copied_drive: Path, tmp_path: Path) -> None:
    """One frame each: missing, truncated, of another size, without its scan, with impossible points."""
    images = copied_drive / "image_02/data"
    suffix = next(images.iterdir()).suffix
    name = lambda index: f"{index:010d}"  # noqa: E731
    (images / f"{name(1)}{suffix}").unlink()
    whole = (images / f"{name(2)}{suffix}").read_bytes()
    (images / f"{name(2)}{suffix}").write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(images / f"{name(3)}{suffix}"), np.zeros((100, 200, 3), np.uint8))
    scans = copied_drive / "velodyne_points/data"
    (scans / f"{name(4)}.bin").unlink()
    points = np.fromfile(scans / f"{name(5)}.bin", np.float32).reshape(-1, 4)
    points[::5, 1], points[1::5, 0] = np.nan, np.inf
    points.tofile(scans / f"{name(5)}.bin")

    ended = perceive("replay", copied_drive, "--out", tmp_path / "run", "--verbose")
    assert ended.code == 0
    assert "3 frames were skipped" in ended.err
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["status"] == "complete" and record["frames"] == 5
    assert [entry["name"] for entry in record["skipped"]] == [name(1), name(2), name(3)]
    assert all(entry["reasons"] for entry in record["skipped"])
    gaps = {(gap["frame"], gap["sensor"]) for gap in record["gaps"]}
    assert {(name(4), "lidar"), (name(5), "lidar")} <= gaps
    detections = sorted(file.name for file in (tmp_path / "run/kitti/detection").iterdir())
    assert detections == [f"{name(index)}.txt" for index in range(8)]
    assert (tmp_path / f"run/kitti/detection/{name(1)}.txt").read_text() == ""
    assert len((tmp_path / "run/poses.txt").read_text().splitlines()) in (5, 8)

    ended = perceive("replay", copied_drive, "--out", tmp_path / "strict", "--strict", "--quiet")
    assert ended.code == 1


def test_a_drive_of_nothing_but_damage_is_refused(perceive: Callable, tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index:06d}.jpg").write_bytes(b"\xff\xd8\xff\xe0 half a picture")
    ended = perceive("replay", tmp_path, "--out", tmp_path / "run", "--quiet")
    assert_refused(ended, "none of its 3 pictures can be read", "000000")


def test_black_pictures_hold_nothing(perceive: Callable, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"in/{index:06d}.png"), np.zeros((96, 320, 3), np.uint8))
    ended = perceive("replay", tmp_path / "in", "--out", tmp_path / "run", "--set", "detection.score_threshold=1.0")
    assert ended.code == 0
    assert "guess" in ended.err, "footage without calibration says that the focal length is a guess"
    files = list((tmp_path / "run/kitti/detection").iterdir())
    assert len(files) == 3 and not any(file.read_text() for file in files)
    assert next((tmp_path / "run/kitti/tracking").iterdir()).read_text() == ""


def test_an_interrupted_run_is_partial_and_its_video_plays(small_drive: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    # so many pictures that the run cannot be over before it hears of the interruption
    pictures = sorted((small_drive / "image_02" / "data").iterdir())
    many = tmp_path / "many"
    many.mkdir()
    for number in range(400):
        source = pictures[number % len(pictures)]
        (many / f"{number:010d}{source.suffix}").hardlink_to(source)
    program = [sys.executable, "-m", "perception", "replay", str(many), "--out", str(out), "--quiet"]
    # a shell that runs the tests in the background lets them ignore interruptions, and so their children
    listen = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(
        program, stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}, preexec_fn=listen
    )
    deadline = time.monotonic() + 60
    while not (out / "kitti/detection/0000000001.txt").exists() and time.monotonic() < deadline:
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    record = json.loads((out / "run.json").read_text())
    assert process.returncode == 130, err
    assert record["status"] == "partial"
    assert not (out / "report.html").exists()
    with av.open(str(out / "video.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) >= 1
