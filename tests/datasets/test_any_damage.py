"""Whatever bytes a drive's files hold: either one clear line when it is opened, or readings to the end."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from drive_makers import (
    make_object_folder,
    make_odometry_sequence,
    make_raw_drive,
    make_tracking_sequence,
    make_video,
)

from perception.datasets.calibration import read_calibration
from perception.datasets.factory import open_drive
from perception.errors import PerceptionError

OPENCV = """%YAML:1.0
---
image_width: 64
image_height: 48
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 50., 0., 32., 0., 50., 24., 0., 0., 1. ]
"""
OWN = "fx_px = 50.0\nfy_px = 50.0\ncx_px = 32.0\ncy_px = 24.0\nwidth_px = 64\nheight_px = 48\n"


def damaged(data: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(data)
    way = rng.choice(["cut", "flip", "remove", "insert"])
    place = rng.randrange(len(spoilt))
    if way == "cut":
        del spoilt[place:]
    elif way == "flip":
        for _ in range(rng.choice([1, 4, 20])):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
    elif way == "remove":
        del spoilt[place : place + rng.randrange(1, 200)]
    else:
        spoilt[place:place] = bytes(rng.choice(b"0123456789 .-\n:[]{}e") for _ in range(5))
    return bytes(spoilt)


@pytest.mark.parametrize("kind", ["raw", "tracking", "odometry", "object", "mp4", "avi"])
def test_damaged_drives_open_or_say_why_not(tmp_path: Path, kind: str) -> None:
    frames = 3
    drive = {
        "raw": lambda: make_raw_drive(tmp_path, frames, suffix=".jpg"),
        "tracking": lambda: make_tracking_sequence(tmp_path, frames),
        "odometry": lambda: make_odometry_sequence(tmp_path, frames),
        "object": lambda: make_object_folder(tmp_path),
        "mp4": lambda: make_video(tmp_path / "a.mp4", frames),
        "avi": lambda: make_video(tmp_path / "a.avi", frames),
    }[kind]()
    if kind == "odometry":
        (drive / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * frames)
    files = [file for file in sorted(tmp_path.rglob("*")) if file.is_file()]
    rng = random.Random(kind)
    outcomes = {"opened": 0, "refused": 0}
    for _ in range(40):
        file = rng.choice(files)
        whole = file.read_bytes()
        file.write_bytes(damaged(whole, rng))
        try:
            readings = list(open_drive(drive).readings())
            assert all(reading.frame is not None or reading.gaps for reading in readings)
            outcomes["opened"] += 1
        except PerceptionError as error:
            assert str(error)
            assert "\n" not in str(error)
            outcomes["refused"] += 1
        file.write_bytes(whole)
    assert min(outcomes.values()) > 0


@pytest.mark.parametrize(("name", "text"), [("a.yml", OPENCV), ("a.toml", OWN)])
def test_damaged_calibration_files_are_read_or_refused(tmp_path: Path, name: str, text: str) -> None:
    rng = random.Random(name)
    file = tmp_path / name
    file.write_text(text)
    read_calibration(file)
    for _ in range(200):
        file.write_bytes(damaged(text.encode(), rng))
        try:
            read_calibration(file)
        except PerceptionError as error:
            assert str(file) in str(error)
            assert "\n" not in str(error)
