"""The benchmark scripts, from result files and over real frames."""

import json
import os
import subprocess
import sys
import zipfile

import cv2
import numpy as np
import pytest
from eval_perturb import write_tracker


def run_tool(project, name, *args):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, str(project / "tools" / name), *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_tracking_from_result_files(project, real_data, tmp_path):
    data = real_data / "kitti_tracking"
    write_tracker(data / "training/label_02", tmp_path / "pred", 0, ["0000", "0003"])
    done = run_tool(project, "kitti_tracking_benchmark.py", "--data", data, "--pred", tmp_path / "pred", "--sequences",
                    "0000,0003", "--json", tmp_path / "m.json", "--submit", tmp_path / "up")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "HOTA" in done.stdout
    assert 0 < json.loads((tmp_path / "m.json").read_text())["metrics"]["car/HOTA"] < 100
    assert zipfile.ZipFile(tmp_path / "up/submission.zip").namelist() == ["0000.txt", "0003.txt"]


def test_tracker_on_detection_files(project, real_data, tmp_path):
    data = real_data / "kitti_tracking"
    source = ("--data", data, "--detections", data / "detections/pointrcnn", "--sequences", "0003")
    target = ("--out", tmp_path / "out", "--json", tmp_path / "m.json")
    done = run_tool(project, "kitti_tracking_benchmark.py", *source, *target)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "m.json").read_text())["metrics"]
    assert metrics["car/3d@0.25/sAMOTA"] > 50 and metrics["speed/tracking/seconds"] > 0


def test_detection_from_result_files(project, real_data, tmp_path):
    data = real_data / "kitti_object"
    (tmp_path / "pred").mkdir()
    for path in (data / "training/label_2").glob("*.txt"):
        rows = [f"{line} 0.9" for line in path.read_text().splitlines() if not line.startswith("DontCare")]
        (tmp_path / "pred" / path.name).write_text("".join(row + "\n" for row in rows))
    done = run_tool(project, "kitti_detection_benchmark.py", "--data", data, "--pred", tmp_path / "pred", "--json",
                    tmp_path / "m.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "m.json").read_text())["metrics"]
    # real labels as detections: everything is found, and few labels cap AP40
    assert metrics["Car/2d@0.7/R40/moderate"] == metrics["Car/3d@0.7/R40/hard"] == pytest.approx(100.0)
    assert metrics["Pedestrian/3d@0.5/AP40/moderate"] == pytest.approx(metrics["Pedestrian/3d@0.5/AP40_cap/moderate"])
    bad = run_tool(project, "kitti_detection_benchmark.py", "--data", data, "--pred", tmp_path)
    assert bad.returncode == 2 and "an empty folder of results" in bad.stderr and "Traceback" not in bad.stderr


def test_odometry_over_real_frames(project, real_data, tmp_path):
    data = real_data / "kitti_odometry"
    done = run_tool(project, "kitti_odometry_benchmark.py", "--data", data, "--frames", 8, "--out", tmp_path / "out",
                    "--json", tmp_path / "m.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "m.json").read_text())["metrics"]
    assert metrics["ATE_SE3_m"] < 1.0 and "need at least 100 m" in done.stdout
    assert len((tmp_path / "out/01.txt").read_text().splitlines()) == 8


def test_camvid_over_real_frames(project, real_data, tmp_path):
    data = real_data / "camvid"
    done = run_tool(project, "camvid_benchmark.py", "--data", data, "--split", "val", "--pred", tmp_path / "out",
                    "--frames", 2, "--threads", 1, "--json", tmp_path / "m.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    names = [path.stem for path in sorted((data / "val").iterdir())[:2]]
    for name in names:
        image = cv2.imread(str(tmp_path / "out" / f"{name}.png"), cv2.IMREAD_UNCHANGED)
        assert image.shape == (360, 480) and image.dtype == np.uint8 and image.max() <= 10
    metrics = json.loads((tmp_path / "m.json").read_text())["metrics"]
    assert metrics["mIoU"] > 20 and metrics["speed/frames"] == 2
    again = run_tool(project, "camvid_benchmark.py", "--data", data, "--split", "val", "--pred", tmp_path / "out",
                     "--frames", 2, "--evaluate-only", "--json", tmp_path / "n.json")  # fmt: skip
    assert json.loads((tmp_path / "n.json").read_text())["metrics"]["mIoU"] == metrics["mIoU"], again.stderr


def test_camvid_by_another_segmenter_is_not_asked_for_what_only_the_network_can(project, real_data, tmp_path):
    done = run_tool(project, "camvid_benchmark.py", "--data", real_data / "camvid", "--split", "val", "--pred",
                    tmp_path / "out", "--frames", 1, "--set", "segmentation.semantic=lraspp",
                    "--set", f"segmentation.semantic_weights={tmp_path / 'none.pth'}")  # fmt: skip
    assert done.returncode == 2
    assert "none.pth" in done.stderr and "segmentation.refined" not in done.stderr
