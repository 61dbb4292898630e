"""``perceive track`` end to end, on files made here and on the real detections."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from perception.cli.app import build_app, main
from perception.datasets.detection_files import read_detections
from perception.datasets.kitti_detections import fit_projection, level_boxes
from perception.errors import InputFormatError
from perception.geometry import EGO_R_CAM, box_corners
from perception.tracking.settings import load_box_settings


def run(*arguments: object) -> None:
    build_app()([str(argument) for argument in arguments], standalone_mode=False)


def pointrcnn_folder(root: Path, frames: int = 12) -> Path:
    """One car that drives ahead and a pedestrian beside the road, seen by a camera with f = 700 px."""
    for kind, number in (("Car", 2), ("Pedestrian", 1)):
        rows = []
        for t in range(frames):
            h, w, l_, x, y, z, ry = (
                (1.5, 1.7, 4.0, -2, 1.6, 12 + t, -1.57) if number == 2 else (1.8, 0.6, 0.8, 4, 1.6, 10, 0.3)
            )
            level = level_boxes(np.array([[h, w, l_, x, y, z, ry]]))
            corners = box_corners(level[:, :3], level[:, 4:], level[:, 3])[0] @ EGO_R_CAM
            uv = corners[:, :2] / corners[:, 2:] * 700 + [600, 170]
            box = [*uv.min(axis=0), *uv.max(axis=0)]
            rows.append(",".join(f"{v:.4f}" for v in (t, number, *box, 5.0, h, w, l_, x, y, z, ry, 0.0)))
        (root / kind).mkdir(parents=True)
        (root / kind / "0007.txt").write_text("\n".join(rows) + "\n")
    return root


def rows_of(file: Path) -> list[list[str]]:
    return [line.split() for line in file.read_text().splitlines()]


def test_pointrcnn_files_become_kitti_rows(tmp_path: Path) -> None:
    run("track", pointrcnn_folder(tmp_path / "in"), "--format", "pointrcnn", "--out", tmp_path / "out", "--quiet")
    rows = rows_of(tmp_path / "out" / "0007.txt")
    assert all(len(row) == 18 for row in rows)
    assert len(rows) == 24
    assert {(row[1], row[2]) for row in rows} == {("1", "Car"), ("2", "Pedestrian")} or len(
        {row[1] for row in rows}
    ) == 2
    last = next(row for row in rows if row[0] == "11" and row[2] == "Car")
    np.testing.assert_allclose([float(v) for v in last[10:16]], [1.5, 1.7, 4.0, -2, 1.6, 23], atol=0.15)
    corners = np.array([float(v) for v in last[6:10]])
    truth = (np.array([-2 - 0.85, 1.6]) / (23 - 2)) * 700 + [600, 170]
    np.testing.assert_allclose(corners[[0, 3]], truth, atol=4)


def test_scores_rise_and_filter(tmp_path: Path) -> None:
    folder = pointrcnn_folder(tmp_path / "in")
    run("track", folder, "--format", "pointrcnn", "--out", tmp_path / "all", "--quiet")
    cars = [float(row[17]) for row in rows_of(tmp_path / "all" / "0007.txt") if row[2] == "Car"]
    assert cars[-1] > cars[0]
    run("track", folder, "--format", "pointrcnn", "--out", tmp_path / "some", "--quiet", "--min-score", cars[5])
    kept = [float(row[17]) for row in rows_of(tmp_path / "some" / "0007.txt")]
    assert kept and min(kept) >= cars[5] - 1e-4


def test_classes_and_offline(tmp_path: Path) -> None:
    folder = pointrcnn_folder(tmp_path / "in")
    run("track", folder, "--format", "pointrcnn", "--classes", "car", "--offline", "--out", tmp_path / "o", "--quiet")
    rows = rows_of(tmp_path / "o" / "0007.txt")
    assert {row[2] for row in rows} == {"Car"}
    assert len({row[17] for row in rows}) == 1 and len({row[12] for row in rows}) == 1


def test_mot_and_coco_files_are_tracked_in_the_image(tmp_path: Path) -> None:
    lines = [f"{t},-1,{100 + 4 * t},50,30,80,0.9" for t in range(10)]
    (tmp_path / "walk.txt").write_text("\n".join(lines))
    run("track", tmp_path / "walk.txt", "--format", "mot", "--out", tmp_path / "a", "--quiet")
    rows = rows_of(tmp_path / "a" / "walk.txt")
    assert {row[1] for row in rows} == {"1"} and rows[0][10:17] == ["-1", "-1", "-1", "-1000", "-1000", "-1000", "-10"]
    entries = [{"image_id": t, "category_id": 3, "bbox": [10 + t, 20, 60, 40], "score": 0.8} for t in range(10)]
    (tmp_path / "cars.json").write_text(json.dumps(entries))
    run("track", tmp_path / "cars.json", "--format", "coco", "--out", tmp_path / "b", "--quiet", "--tracker", "sort")
    assert {row[2] for row in rows_of(tmp_path / "b" / "cars.txt")} == {"Car"}


def test_kitti_results_are_read_back(tmp_path: Path) -> None:
    folder = pointrcnn_folder(tmp_path / "in")
    run("track", folder, "--format", "pointrcnn", "--out", tmp_path / "once", "--quiet")
    sequence = read_detections(tmp_path / "once", "kitti-tracking")[0]
    assert sequence.boxes_level is not None and sequence.frame_count == 12
    shares = [load_box_settings("pointrcnn").classes[name].show_length for name in ("pedestrian", "car")]
    lengths = np.array([0.8, 4.0]) * shares
    np.testing.assert_allclose(np.sort(sequence.boxes_level[:2, 4], axis=0), lengths, atol=1e-3)


def test_poses_are_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pointrcnn_folder(tmp_path / "in")
    (tmp_path / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 12)
    run("track", folder, "--format", "pointrcnn", "--poses", tmp_path / "poses.txt", "--out", tmp_path / "o", "--quiet")
    (tmp_path / "few.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 3)
    with pytest.raises(InputFormatError, match="12 frames but got 3"):
        run(
            "track",
            folder,
            "--format",
            "pointrcnn",
            "--poses",
            tmp_path / "few.txt",
            "--out",
            tmp_path / "p",
            "--quiet",
        )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0,2,1,2,3,4,5,1,1,1,0,0,9,0", r"0007\.txt:1: expected 15 columns but got 14"),
        ("0,2,x,2,3,4,5,1,1,1,0,0,9,0,0", r":1: expected a number but got 'x'"),
        ("0,2,5,2,3,4,5,1,1,1,0,0,9,0,0", r":1: expected x1 <= x2"),
        ("0,2,1,2,3,4,nan,1,1,1,0,0,9,0,0", r":1: expected finite"),
        ("0,2,1,2,3,4,5,1,0,1,0,0,9,0,0", r":1: expected positive height"),
        ("-1,2,1,2,3,4,5,1,1,1,0,0,9,0,0", r":1: frame"),
        ("0,9,1,2,3,4,5,1,1,1,0,0,9,0,0", r":1: type 9"),
    ],
)
def test_malformed_rows_name_file_and_line(
    tmp_path: Path, line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "Car").mkdir()
    (tmp_path / "Car" / "0007.txt").write_text(line + "\n")
    with pytest.raises(SystemExit) as stop:
        main(["track", str(tmp_path), "--format", "pointrcnn", "--out", str(tmp_path / "out"), "--quiet"])
    assert stop.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert not list(tmp_path.glob("out/*.txt"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--settings", "general"), r"probabilities 0 \.\.\. 1 .* but one is 5\.0; --settings pointrcnn takes logits"),
        (("--classes", "car,unicorn"), "unicorn"),
        (("--sequences", "0007,0099"), "0099: not among 0007"),
        (("--min-score", "much"), "'much': expected auto, all or a number"),
    ],
)
def test_what_does_not_fit_the_files_is_named(
    tmp_path: Path, arguments: tuple[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = pointrcnn_folder(tmp_path / "in"), tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        main(["track", str(folder), "--format", "pointrcnn", "--out", str(out), "--quiet", *arguments])
    assert stop.value.code == 2
    assert re.search(message, " ".join(capsys.readouterr().err.split()))
    assert not list(out.glob("*.txt"))


def test_results_are_not_overwritten_unasked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = pointrcnn_folder(tmp_path / "in")
    arguments = ["track", str(folder), "--format", "pointrcnn", "--out", str(tmp_path / "out"), "--quiet"]
    run(*arguments)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2 and "0007.txt already" in capsys.readouterr().err
    run(*arguments, "--overwrite")


def test_the_camera_is_found_from_real_detections(real_data: Path) -> None:
    root = real_data / "kitti_tracking"
    for sequence in read_detections(root / "detections" / "pointrcnn", "pointrcnn")[:3]:
        lines = (root / "training" / "calib" / f"{sequence.name}.txt").read_text().splitlines()
        given = np.array([float(v) for v in next(line for line in lines if line.startswith("P2")).split()[1:]]).reshape(
            3, 4
        )
        assert sequence.boxes_level is not None
        found = fit_projection(sequence.boxes_level, sequence.boxes_xyxy)
        points = np.concatenate([sequence.boxes_level[:, :3], np.ones((len(sequence.scores), 1))], axis=1)
        points = points[points[:, 0] > 5]
        camera = np.concatenate([points[:, :3] @ EGO_R_CAM, points[:, 3:]], axis=1)
        expected, fitted = camera @ given.T, points @ found.T
        off = expected[:, :2] / expected[:, 2:] - fitted[:, :2] / fitted[:, 2:]
        assert np.abs(off).max() < 1.0


def test_real_tracks_score_as_pinned(real_data: Path, tmp_path: Path) -> None:
    """One sequence, scored by the project's own evaluation; floors leave room for retuning, not for breaking."""
    from perception.evaluation.tracking import evaluate_tracking_folder

    root = real_data / "kitti_tracking"
    run(
        "track", root / "detections" / "pointrcnn", "--format", "pointrcnn", "--out", tmp_path / "t",
        "--sequences", "0003", "--min-score", "auto", "--quiet",
    )  # fmt: skip
    report = evaluate_tracking_folder(root / "training" / "label_02", tmp_path / "t", sequences=("0003",))
    metrics = report.metrics
    assert metrics["car/HOTA"] > 70
    assert metrics["car/IDSW"] <= 3
