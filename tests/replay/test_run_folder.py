"""A drive goes in, a finished run comes out."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from perception.classes import KITTI_NAME_OF_OBJECT

FRAMES = 8
STAGES = {
    "egomotion",
    "network",
    "detection",
    "semantic",
    "instance",
    "depth",
    "lifting",
    "tracking",
    "mapping",
    "total",
}
CHROMIUM_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --virtual-time-budget=3000"
).split()


@pytest.fixture(scope="module")
def run_folder(small_drive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from perception.cli import main

    out = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(SystemExit) as end:
        main(["replay", str(small_drive), "--out", str(out), "--save", "semantic,instance,depth", "--quiet"])
    assert end.value.code == 0
    return out


def test_run_record(run_folder: Path) -> None:
    record = json.loads((run_folder / "run.json").read_text())
    assert record["status"] == "complete" and record["skipped"] == [] and record["sink_errors"] == {}
    assert record["frames"] == FRAMES
    assert record["pose_source"].startswith("given")
    assert record["depth_source"].startswith("lidar")
    (weights,) = record["weights"].values()
    assert len(weights["sha256"]) == 64
    assert record["config"]["tracking"]["tracker"]
    assert not list(run_folder.rglob("*.tmp*"))


def test_latency(run_folder: Path) -> None:
    latency = json.loads((run_folder / "latency.json").read_text())
    assert set(latency["stages"]) == STAGES
    assert latency["frames"] == FRAMES and latency["deadline_ms"] == pytest.approx(100.0, rel=0.01)
    for times in latency["stages"].values():
        assert 0 <= times["p50"] <= times["p90"] <= times["p99"] <= times["max"]


def test_kitti_files_are_what_the_devkits_accept(run_folder: Path) -> None:
    files = sorted((run_folder / "kitti/detection").iterdir())
    assert [file.name for file in files] == [f"{index:010d}.txt" for index in range(FRAMES)]
    names = set(KITTI_NAME_OF_OBJECT.values())
    rows = [line.split() for file in files for line in file.read_text().splitlines()]
    assert rows
    for row in rows:
        assert len(row) == 16 and row[0] in names
        left, top, right, bottom = (float(value) for value in row[4:8])
        assert 0 <= left < right <= 1242 and 0 <= top < bottom <= 375
        assert 0 <= float(row[15]) <= 1
    (tracking,) = (run_folder / "kitti/tracking").iterdir()
    rows = [line.split() for line in tracking.read_text().splitlines()]
    assert rows and all(len(row) == 18 and row[2] in names for row in rows)
    ids_by_frame = [(row[0], row[1]) for row in rows]
    assert len(set(ids_by_frame)) == len(ids_by_frame)


def test_tables(run_folder: Path) -> None:
    frames = pq.read_table(run_folder / "frames.parquet")
    assert frames.num_rows == FRAMES
    tracks = pq.read_table(run_folder / "tracks.parquet")
    text_rows = next((run_folder / "kitti/tracking").iterdir()).read_text().splitlines()
    assert tracks.num_rows == len(text_rows)


def test_poses_are_the_true_ones(run_folder: Path, small_drive: Path) -> None:
    written = np.loadtxt(run_folder / "poses.txt").reshape(-1, 3, 4)
    true = np.loadtxt(small_drive / "truth/poses.txt").reshape(-1, 3, 4)
    assert np.allclose(written[0], np.eye(3, 4), atol=1e-9)
    assert np.abs(written[:, :, 3] - true[:, :, 3]).max() < 0.25  # the simulated GPS and IMU are noisy


def test_map(run_folder: Path) -> None:
    data = np.load(run_folder / "map/bev.npz")
    assert (data["class_ids"] == 0).sum() > 1000, "a street has road"
    assert data["path_xyz_m"].shape == (FRAMES, 3)
    assert cv2.imread(str(run_folder / "map/bev.png")) is not None
    assert (run_folder / "map/points.ply").stat().st_size > 10_000


def test_the_map_agrees_with_the_true_one(run_folder: Path, small_drive: Path) -> None:
    """Cells that the map calls road or pavement are what the simulator's street has there, most of the time."""
    semantic = [cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in sorted((run_folder / "semantic").iterdir())]
    truth = [
        cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        for file in sorted((small_drive / "truth/semantic").glob("**/*.png"))
    ]
    assert len(semantic) == len(truth) == FRAMES
    ground = np.isin(np.stack(truth), [0, 1, 19])
    called_ground = np.isin(np.stack(semantic), [0, 1, 19])
    agreement = (ground & called_ground).sum() / (ground | called_ground).sum()
    assert agreement > 0.6


def test_pictures_per_frame(run_folder: Path) -> None:
    for name, dtype in [("semantic", np.uint8), ("instance", np.uint16), ("depth", np.uint16)]:
        files = sorted((run_folder / name).iterdir())
        assert len(files) == FRAMES
        picture = cv2.imread(str(files[0]), cv2.IMREAD_UNCHANGED)
        assert picture.shape == (375, 1242) and picture.dtype == dtype


def test_video_plays(run_folder: Path) -> None:
    with av.open(str(run_folder / "video.mp4")) as video:
        stream = video.streams.video[0]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(stream)]
    assert len(pictures) == FRAMES
    assert pictures[0].std() > 20


def test_report_opens_in_a_browser(run_folder: Path, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium on this machine")
    page = run_folder / "report.html"
    assert "http://" not in page.read_text().replace("http://www.w3.org", "")
    result = subprocess.run(
        [chromium, *CHROMIUM_FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    for part in ("summary", "pictures", "map", "latency", "counts", "tracks", "skipped", "config"):
        assert f'id="{part}"' in result.stdout, part
    assert result.stdout.count("<img") >= 3


def test_two_replays_give_the_same_bytes(
    run_folder: Path, small_drive: Path, tmp_path: Path, perceive: Callable[..., object]
) -> None:
    perceive("replay", small_drive, "--out", tmp_path / "again", "--quiet", "--set", "video.enabled=false")
    compared = 0
    for file in sorted(run_folder.rglob("*")):
        other = tmp_path / "again" / file.relative_to(run_folder)
        text_or_table = file.suffix in {".txt", ".npz", ".ply", ".parquet"}
        if not file.is_file() or not text_or_table:
            continue
        if file.name == "frames.parquet":
            first, second = pq.read_table(file), pq.read_table(other)
            untimed = [name for name in first.column_names if not name.startswith("ms_")]
            assert untimed != first.column_names
            assert first.select(untimed).equals(second.select(untimed))
        else:
            assert file.read_bytes() == other.read_bytes(), file.name
        compared += 1
    assert compared > FRAMES + 4


def test_nothing_compiles_during_a_replay(
    run_folder: Path, small_drive: Path, tmp_path: Path, perceive: Callable[..., object]
) -> None:
    import sys

    from numba.core.dispatcher import Dispatcher

    def signatures() -> int:
        kernels = [module for name, module in sys.modules.items() if name.startswith("perception.kernels")]
        found = {
            id(value): value for module in kernels for value in vars(module).values() if isinstance(value, Dispatcher)
        }
        return sum(len(kernel.signatures) for kernel in found.values())

    before = signatures()
    assert before > 20
    perceive("replay", small_drive, "--out", tmp_path / "run", "--quiet", "--frames", 3)
    assert signatures() == before
