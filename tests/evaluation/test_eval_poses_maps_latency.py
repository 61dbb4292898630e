import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake
from perception.evaluation.latency import evaluate_latency
from perception.evaluation.map_layers import MapLayers, evaluate_map, evaluate_map_files
from perception.evaluation.odometry import align, evaluate_odometry, evaluate_odometry_files, read_poses, segment_errors


def turn(yaw):
    c, s = np.cos(yaw), np.sin(yaw)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def drive(count, step_m=1.0, yaw_step=0.002, scale=1.0, drift=0.0):
    poses = np.tile(np.eye(4), (count, 1, 1))
    for k in range(1, count):
        move = np.eye(4)
        move[:3, :3] = turn(yaw_step + drift)
        move[:3, 3] = [0, 0, step_m * scale]
        poses[k] = poses[k - 1] @ move
    return poses


def write_poses(path, poses):
    path.write_text("".join(" ".join(f"{v:.12g}" for v in pose[:3].reshape(-1)) + "\n" for pose in poses))


def slow_segments(gt, pred):
    """The devkit's loops."""
    driven = [0.0]
    for a, b in pairwise(gt):
        driven.append(driven[-1] + np.linalg.norm(b[:3, 3] - a[:3, 3]))
    rows = []
    for first in range(0, len(gt), 10):
        for length in range(100, 900, 100):
            last = next((i for i in range(first, len(gt)) if driven[i] > driven[first] + length), -1)
            if last == -1:
                continue
            delta_gt = np.linalg.inv(gt[first]) @ gt[last]
            delta_pred = np.linalg.inv(pred[first]) @ pred[last]
            error = np.linalg.inv(delta_pred) @ delta_gt
            angle = np.arccos(np.clip((np.trace(error[:3, :3]) - 1) / 2, -1, 1))
            rows.append((first, length, angle / length, np.linalg.norm(error[:3, 3]) / length))
    return np.array(rows)


def test_segments_agree_with_the_devkits_loops():
    gt, pred = drive(430), drive(430, scale=1.01, drift=1e-5)
    found = segment_errors(gt, pred)
    assert found == pytest.approx(slow_segments(gt, pred), abs=1e-12)
    assert len(found) > 50


def test_a_drive_of_wrong_scale_by_hand():
    gt, pred = drive(300, yaw_step=0.0), drive(300, yaw_step=0.0, scale=1.02)
    metrics, _, _ = evaluate_odometry(gt, pred)
    # 2 % too long over 101 steps of a metre each, the first frame past 100 m
    assert metrics["t_err_percent/100m"] == pytest.approx(2.02)
    assert metrics["r_err_deg_per_100m"] == pytest.approx(0.0, abs=1e-6)
    assert metrics["ATE_Sim3_m"] == pytest.approx(0.0, abs=1e-9)
    assert metrics["scale"] == pytest.approx(1 / 1.02)
    assert metrics["RPE_m"] == pytest.approx(0.02)
    assert metrics["ATE_none_m"] > metrics["ATE_SE3_m"] > 0.5


def test_alignment_finds_the_transform():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3))
    rotation, translation = turn(0.7), np.array([1.0, -2.0, 3.0])
    found = align(points, 1.7 * points @ rotation.T + translation, with_scale=True)
    assert found[0] == pytest.approx(rotation) and found[1] == pytest.approx(translation)
    assert found[2] == pytest.approx(1.7)


def test_real_poses_and_their_errors(real_data, tmp_path):
    path = real_data / "kitti_odometry/sequences/01/poses.txt"
    report = evaluate_odometry_files(path, path)
    assert report.metrics["ATE_SE3_m"] == pytest.approx(0.0, abs=1e-9)
    assert any("need at least 100 m" in note for note in report.notes)
    poses = read_poses(path, Intake())
    write_poses(tmp_path / "poses.txt", poses[:-2])
    with pytest.raises(InputFormatError, match=f"{len(poses) - 2} poses, but the ground truth"):
        evaluate_odometry_files(path, tmp_path)
    intake = Intake(lenient=True)
    assert evaluate_odometry_files(path, tmp_path, intake=intake).metrics["ATE_none_m"] < 1e-9
    assert intake.left_out["frame that only one side has"] == 2
    lines = path.read_text().splitlines()
    (tmp_path / "poses.txt").write_text("\n".join([*lines[:3], "1 2 3", *lines[4:]]))
    with pytest.raises(InputFormatError, match=r"poses.txt:4: a pose row has 12 columns but this one has 3"):
        read_poses(tmp_path / "poses.txt", Intake())
    (tmp_path / "poses.txt").write_text("2 0 0 0 0 1 0 0 0 0 1 0\n")
    with pytest.raises(InputFormatError, match=r"poses.txt:1: .* no rotation"):
        read_poses(tmp_path / "poses.txt", Intake())


def test_sequences_are_paired_by_name(tmp_path):
    for side, scale in (("gt", 1.0), ("pred", 1.01)):
        (tmp_path / side).mkdir()
        for name, count in (("00", 150), ("05", 260)):
            write_poses(tmp_path / side / f"{name}.txt", drive(count, scale=scale))
    report = evaluate_odometry_files(tmp_path / "gt", tmp_path / "pred")
    # every segment of every sequence counts once
    every = np.concatenate([report.segments["00"], report.segments["05"]])
    assert report.metrics["t_err_percent"] == pytest.approx(100 * every[:, 3].mean())
    assert set(report.sequence_metrics) == {"00", "05"}
    (tmp_path / "pred/05.txt").unlink()
    with pytest.raises(InputFormatError, match="no poses for sequence 05"):
        evaluate_odometry_files(tmp_path / "gt", tmp_path / "pred")


NAMES = ("road", "sidewalk", "building")


def test_maps_of_other_cells_and_corners():
    truth = np.full((40, 60), 255, np.uint8)
    truth[10:30, 10:50] = 0
    truth[10:20, 10:50] = 1
    gt = MapLayers(truth, np.array([5.0, -3.0]), 0.5, NAMES, np.where(truth == 255, np.nan, 1.0))
    fine = np.kron(truth, np.ones((2, 2), np.uint8)).astype(np.uint8)
    shifted = np.full((100, 150), 255, np.uint8)
    shifted[8:88, 4:124] = fine
    same = MapLayers(shifted, gt.corner_m - [1.0, 2.0], 0.25, NAMES, np.where(shifted == 255, np.nan, 1.5))
    metrics = evaluate_map(gt, same).metrics
    assert metrics["mIoU"] == metrics["coverage"] == metrics["cell_accuracy"] == pytest.approx(100.0)
    assert metrics["height_rmse_m"] == pytest.approx(0.5) and metrics["area_m2"] == pytest.approx(200.0)
    half = truth.copy()
    half[:, 30:] = 255
    metrics = evaluate_map(gt, MapLayers(half, gt.corner_m, 0.5, NAMES)).metrics
    assert metrics["coverage"] == pytest.approx(50.0) and metrics["mIoU"] == pytest.approx(100.0)
    assert metrics["full_mIoU"] == pytest.approx(50.0)
    wrong = np.where(truth == 1, 0, truth).astype(np.uint8)
    metrics = evaluate_map(gt, MapLayers(wrong, gt.corner_m, 0.5, NAMES)).metrics
    assert metrics["road/IoU"] == pytest.approx(50.0) and metrics["sidewalk/IoU"] == 0.0


def test_map_files_and_their_errors(tmp_path):
    arrays = {"class_ids": np.zeros((4, 4), np.uint8), "corner_m": np.zeros(2), "cell_m": np.float64(0.2)}
    (tmp_path / "run/map").mkdir(parents=True)
    np.savez(tmp_path / "run/map/bev.npz", **arrays)
    assert evaluate_map_files(tmp_path / "run", tmp_path / "run").metrics["mIoU"] == pytest.approx(100.0)
    np.savez(tmp_path / "bad.npz", class_ids=arrays["class_ids"])
    with pytest.raises(InputFormatError, match="array corner_m is missing"):
        evaluate_map_files(tmp_path / "run", tmp_path / "bad.npz")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(InputFormatError, match="not readable as a NumPy archive"):
        evaluate_map_files(tmp_path / "run", tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", **arrays | {"class_ids": np.full((4, 4), 99, np.uint8)})
    with pytest.raises(InputFormatError, match="class 99 is unknown"):
        evaluate_map_files(tmp_path / "run", tmp_path / "bad.npz")


def test_latency_from_frames_and_from_percentiles(tmp_path):
    total = np.arange(1.0, 101.0)
    pq.write_table(
        pa.table({"frame": range(100), "detection_ms": total / 2, "total_ms": total}), tmp_path / "frames.parquet"
    )
    report = evaluate_latency(tmp_path, deadline_ms=90.0)
    assert report.metrics["total/p50_ms"] == pytest.approx(50.5) and report.metrics["detection/max_ms"] == 50.0
    assert report.metrics["deadline_misses"] == 10 and report.metrics["deadline_misses_percent"] == pytest.approx(10.0)
    recorded = {"frames": 100, "fps": 19.8, "deadline_ms": 100.0, "deadline_misses": 2,
                "stages": {"total": {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 120.0}}}  # fmt: skip
    (tmp_path / "frames.parquet").unlink()
    (tmp_path / "latency.json").write_text(json.dumps(recorded))
    metrics = evaluate_latency(tmp_path).metrics
    assert metrics["total/p99_ms"] == 99.0 and metrics["deadline_misses_percent"] == pytest.approx(2.0)
    (tmp_path / "latency.json").write_text("{}")
    with pytest.raises(InputFormatError, match="an object with frames, fps"):
        evaluate_latency(tmp_path)
    (tmp_path / "latency.json").unlink()
    with pytest.raises(InputFormatError, match=r"neither frames\.parquet nor latency.json"):
        evaluate_latency(tmp_path)
