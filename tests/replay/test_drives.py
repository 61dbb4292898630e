"""Every kind of drive goes through the whole pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest


def replayed(perceive: Callable, drive: object, out: Path, *options: object) -> dict:
    ended = perceive("replay", drive, "--out", out, "--quiet", "--set", "report.enabled=false", *options)
    assert ended.code == 0, ended.err
    record = json.loads((out / "run.json").read_text())
    assert record["status"] == "complete" and not record["sink_errors"]
    return record


@pytest.fixture(scope="module")
def dashcam(small_drive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drive's pictures as a video without any calibration."""
    file = tmp_path_factory.mktemp("dashcam") / "drive.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("h264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 192, "yuv420p"
        for picture in sorted((small_drive / "image_02/data").iterdir()):
            image = cv2.cvtColor(cv2.resize(cv2.imread(str(picture)), (640, 192)), cv2.COLOR_BGR2RGB)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return file


def test_video(perceive: Callable, dashcam: Path, tmp_path: Path) -> None:
    ended = perceive("--video", dashcam, "--out", tmp_path / "run", "--every", 2)
    assert ended.code == 0 and "guess" in ended.err
    record = json.loads((tmp_path / "run/run.json").read_text())
    assert record["frames"] == 4 and record["depth_source"] == "network"
    assert "camera" in record["pose_source"]
    assert (np.load(tmp_path / "run/map/bev.npz")["class_ids"] != 255).any()
    assert not (tmp_path / "run/map/points.ply").exists()


def test_video_with_calibration(perceive: Callable, dashcam: Path, tmp_path: Path) -> None:
    calib = tmp_path / "camera.toml"
    calib.write_text("fx_px=372\nfy_px=372\ncx_px=314\ncy_px=88\nwidth_px=640\nheight_px=192\nheight_m=1.65\n")
    ended = perceive("--video", dashcam, "--calib", calib, "--out", tmp_path / "run", "--frames", 2)
    assert ended.code == 0 and "guess" not in ended.err and "camera.toml" in ended.err


def test_kitti_raw(perceive: Callable, real_data: Path, tmp_path: Path) -> None:
    drive = real_data / "kitti_raw/2011_09_26/2011_09_26_drive_0900_sync"
    record = replayed(perceive, drive, tmp_path / "run", "--frames", 6)
    assert "lidar" in record["pose_source"] and record["frames"] == 6
    rows = (tmp_path / "run/kitti/detection/0000000000.txt").read_text().splitlines()
    assert sum(row.startswith(("Car", "Van", "Truck")) for row in rows) >= 3


def test_kitti_raw_with_onnx_detector(perceive: Callable, real_data: Path, tmp_path: Path) -> None:
    drive = real_data / "kitti_raw/2011_09_26/2011_09_26_drive_0900_sync"
    weights = real_data / "weights/yolox_nano.onnx"
    settings = ("--set", "detection.source=onnx", "--set", f"detection.weights={weights}")
    record = replayed(perceive, drive, tmp_path / "run", "--frames", 5, *settings)
    assert {entry["name"] for entry in record["weights"].values()} == {"street", "yolox_nano"}
    rows = (tmp_path / "run/kitti/tracking").iterdir().__next__().read_text().splitlines()
    assert len({row.split()[1] for row in rows}) >= 3


def test_kitti_object(perceive: Callable, real_data: Path, tmp_path: Path) -> None:
    record = replayed(perceive, real_data / "kitti_object", tmp_path / "run", "--frames", 4)
    assert "still" in record["pose_source"]
    names = sorted(file.stem for file in (tmp_path / "run/kitti/detection").iterdir())
    assert names == ["000000", "000002", "000004", "000006"]


def test_kitti_odometry(perceive: Callable, real_data: Path, tmp_path: Path) -> None:
    record = replayed(perceive, real_data / "kitti_odometry/sequences/01", tmp_path / "run", "--frames", 5)
    assert record["pose_source"].startswith("given")
    written = np.loadtxt(tmp_path / "run/poses.txt")
    given = np.loadtxt(real_data / "kitti_odometry/sequences/01/poses.txt")[:5]
    assert np.allclose(written, given, atol=2e-4)


def test_image_folder_and_glob(perceive: Callable, real_data: Path, tmp_path: Path) -> None:
    record = replayed(perceive, real_data / "street_frames/a_00000[0-2].jpg", tmp_path / "run")
    assert record["frames"] == 3
    record = replayed(
        perceive, real_data / "street_frames", tmp_path / "folder", "--start", 2, "--every", 3, "--frames", 2
    )
    names = sorted(file.stem for file in (tmp_path / "folder/kitti/detection").iterdir())
    assert names == ["a_000002", "a_000005"]
