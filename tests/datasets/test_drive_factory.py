"""What holds for every kind of drive in the factory, and how a path is recognised."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
from drive_makers import (
    make_image_folder,
    make_object_folder,
    make_odometry_sequence,
    make_raw_drive,
    make_tracking_sequence,
    make_video,
    picture,
    write_picture,
)

from perception.datasets import live_camera
from perception.datasets.drive import Drive
from perception.datasets.factory import OPENERS, open_drive
from perception.errors import DriveError


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Says nothing."""


class FakeCapture:
    """A camera of five frames."""

    def __init__(self, index: int) -> None:
        self.number = -1

    def isOpened(self) -> bool:
        return True

    def grab(self) -> bool:
        self.number += 1
        return self.number < 6

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, cv2.cvtColor(picture(self.number), cv2.COLOR_RGB2BGR)

    def read(self) -> tuple[bool, np.ndarray]:
        self.grab()
        return self.retrieve()

    def get(self, key: int) -> float:
        return 30.0

    def release(self) -> None:
        self.number = 1000


@pytest.fixture
def make_drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    servers: list[ThreadingHTTPServer] = []

    def stream() -> str:
        make_video(tmp_path / "served.mp4", 5)
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(tmp_path)))
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}/served.mp4"

    def camera() -> str:
        monkeypatch.setattr(live_camera.cv2, "VideoCapture", FakeCapture)
        monkeypatch.setattr(live_camera.sys, "platform", "test")
        return "0"

    makers: dict[str, Callable[[], object]] = {
        "stream": stream,
        "camera": camera,
        "kitti_raw": lambda: make_raw_drive(tmp_path, 5),
        "kitti_tracking": lambda: make_tracking_sequence(tmp_path),
        "kitti_odometry": lambda: make_odometry_sequence(tmp_path),
        "kitti_object": lambda: make_object_folder(tmp_path, ("000000", "000001", "000002", "000003", "000004")),
        "video": lambda: make_video(tmp_path / "drive.mp4", 5),
        "images": lambda: make_image_folder(tmp_path / "walk"),
        "glob": lambda: make_image_folder(tmp_path / "walk") / "*.png",
    }
    yield lambda kind: str(makers[kind]())
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("kind", OPENERS)
def test_every_kind_keeps_the_contract(kind: str, make_drive: Callable[[str], str]) -> None:
    path = make_drive(kind)
    recognised = next(name for name, opener in OPENERS.items() if opener.recognises(path))
    assert recognised == kind
    drive = open_drive(path)
    assert isinstance(drive, Drive)
    info = drive.info
    assert info.kind == ("images" if kind == "glob" else kind)
    assert info.name
    assert "/" not in info.name
    assert info.frame_count == (None if kind == "camera" else 5)
    assert info.calibration_source
    assert info.sensors
    readings = list(drive.readings(count=5))
    assert [reading.index for reading in readings] == [0, 1, 2, 3, 4]
    assert len({reading.name for reading in readings}) == 5
    frames = [reading.frame for reading in readings]
    for reading, frame in zip(readings, frames, strict=True):
        assert frame is not None
        assert (frame.index, frame.name) == (reading.index, reading.name)
        assert frame.camera is not None
        assert frame.image_rgb.shape == (frame.camera.height_px, frame.camera.width_px, 3)
        assert frame.camera.ego_SE3_cam.rotation[0] @ [0, 0, 1] > 0.9  # looks ahead
    stamps = [frame.timestamp_ns for frame in frames if frame is not None]
    assert (np.diff(stamps) > 0).all()
    if info.rate_hz is not None and info.frame_count is not None:
        np.testing.assert_allclose(np.diff(stamps), 1e9 / info.rate_hz, rtol=1e-6)
        assert info.duration_s == pytest.approx(4 / info.rate_hz)
    brightness = [frame.image_rgb[:10].mean() for frame in frames if frame is not None]
    assert (np.diff(brightness) > 5).all()  # in order, none shifted
    drive.close()


@pytest.mark.parametrize("kind", [kind for kind in OPENERS if kind != "camera"])
def test_parts_of_a_drive_are_the_same_as_in_the_whole(kind: str, make_drive: Callable[[str], str]) -> None:
    drive = open_drive(make_drive(kind))
    whole = list(drive.readings())
    for start, step, count in [(0, 1, None), (1, 2, None), (2, 1, 2), (0, 3, 1), (4, 1, 9), (5, 1, None), (0, 1, 0)]:
        part = list(drive.readings(start, step, count))
        expected = whole[start::step][:count]
        assert [reading.name for reading in part] == [reading.name for reading in expected]
        for got, want in zip(part, expected, strict=True):
            assert got.frame is not None
            assert want.frame is not None
            assert got.index == want.index
            assert got.frame.timestamp_ns == want.frame.timestamp_ns
            np.testing.assert_array_equal(got.frame.image_rgb, want.frame.image_rgb)
    for wrong in [{"start": -1}, {"step": 0}, {"count": -1}]:
        with pytest.raises(ValueError, match="start and count must not be negative"):
            list(drive.readings(**wrong))


def test_folders_above_a_single_drive_open_it(tmp_path: Path) -> None:
    raw = make_raw_drive(tmp_path / "raw" / "2011_09_26")
    for above in (tmp_path / "raw", tmp_path / "raw" / "2011_09_26"):
        assert open_drive(above).info.path == raw
    tracking = make_tracking_sequence(tmp_path / "tracking")
    for way in ("", "training", "training/0003", "training/image_02/0003"):
        assert open_drive(tmp_path / "tracking" / way).info.path == tracking
    odometry = make_odometry_sequence(tmp_path / "odometry")
    for way in ("", "sequences", "sequences/04"):
        assert open_drive(tmp_path / "odometry" / way).info.path == odometry
    training = make_object_folder(tmp_path / "object")
    for way in ("", "training"):
        assert open_drive(tmp_path / "object" / way).info.path == training


def test_relative_paths_and_the_present_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = make_raw_drive(tmp_path)
    tracking = make_tracking_sequence(tmp_path / "t")
    for folder, kind in [(raw, "kitti_raw"), (tracking, "kitti_tracking")]:
        monkeypatch.chdir(folder)
        info = open_drive(".").info
        assert (info.kind, info.name) == (kind, folder.name)
        monkeypatch.chdir(folder.parent)
        info = open_drive(folder.name).info
        assert (info.kind, info.name) == (kind, folder.name)


def test_a_linked_drive_finds_its_calibration(tmp_path: Path) -> None:
    raw = make_raw_drive(tmp_path / "day")
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / raw.name
    link.symlink_to(raw)
    assert open_drive(link).info.frame_count == 6


def test_several_drives_are_named(tmp_path: Path) -> None:
    for number in (1, 2):
        make_raw_drive(tmp_path / "2011_09_26", 1, f"2011_09_26_drive_000{number}_sync")
        make_tracking_sequence(tmp_path / "t", 1, f"000{number}")
        make_odometry_sequence(tmp_path / "o", 1, f"0{number}")
    for folder, names in [
        ("2011_09_26", "2011_09_26_drive_0001_sync, 2011_09_26_drive_0002_sync"),
        ("t/training", "image_02/0001, image_02/0002"),
        ("o", "sequences/01, sequences/02"),
    ]:
        with pytest.raises(DriveError, match=f"found 2: {names}; name one of them"):
            open_drive(tmp_path / folder)


def test_the_second_camera_of_a_tracking_sequence_can_be_named(tmp_path: Path) -> None:
    second = make_tracking_sequence(tmp_path)
    third = second.parent.parent / "image_03" / second.name
    shutil.copytree(second, third)
    with (tmp_path / "training" / "calib" / "0003.txt").open("a") as file:
        file.write("P3: 50 0 32 -24 0 50 24 0 0 0 1 0\n")
    camera = open_drive(third).info.camera
    assert camera is not None
    assert camera.name == "image_03"
    np.testing.assert_allclose(camera.ego_SE3_cam.translation[1], -24 / 50)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "path is empty"),
        ("nowhere", "nowhere: no such file or folder; expected a stream"),
        ("text.txt", "found a file of unknown kind '.txt'"),
        ("empty", "found a folder with an empty folder|found an empty folder"),
        ("others", "found a folder with a.csv, b/"),
        ("none/*.png", r"none/\*\.png: expected pictures .* but 0 files match"),
        ("others/*", r"expected pictures .* but 2 files match and none is one"),
        ("97", "camera 97: there is no /dev/video97"),
        ("broken.mp4", r"broken\.mp4: expected a video but it cannot be read as one"),
        ("sound.wav.mp4", "expected a video stream but it holds audio"),
        ("rtsp://127.0.0.1:1/front", "cannot be opened as a stream: Connection refused"),
        ("x\0y", "no drive can have this path|no such file"),
        ("a" * 5000, "cannot be read: File name too long"),
        ("extract/2011_09_26_drive_0001_extract", "expected rectified, synchronised images"),
        ("labels/training", "expected pictures in image_02/SEQUENCE but found calib/, label_02/"),
        ("labels/training/0004", "expected pictures in image_02/0004 but found calib/, label_02/"),
    ],
)
def test_what_is_no_drive_gets_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    import av

    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("a text")
    Path("empty").mkdir()
    Path("others/b").mkdir(parents=True)
    Path("others/a.csv").write_text("1")
    Path("broken.mp4").write_bytes(bytes(range(256)) * 4)
    with av.open("sound.wav.mp4", "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    Path("extract/2011_09_26_drive_0001_extract/image_02/data").mkdir(parents=True)
    for folder in ("calib", "label_02"):
        Path("labels/training", folder).mkdir(parents=True)
    with pytest.raises(DriveError, match=message) as error:
        open_drive(path)
    assert "\n" not in str(error.value)


def test_pictures_of_one_name_in_several_folders_keep_apart(tmp_path: Path) -> None:
    for number, folder in enumerate("ab"):
        write_picture(tmp_path / folder / "same.png", number)
    readings = list(open_drive(f"{tmp_path}/*/same.png").readings())
    assert [reading.name for reading in readings] == ["000000_same", "000001_same"]


def test_unnumbered_pictures_come_in_natural_order(tmp_path: Path) -> None:
    for number, name in enumerate(("2 south", "10 north", "10 west")):
        write_picture(tmp_path / f"{name}.png", number)
    assert [reading.name for reading in open_drive(tmp_path).readings()] == ["2 south", "10 north", "10 west"]


def test_a_single_picture_and_odd_folder_names(tmp_path: Path) -> None:
    write_picture(tmp_path / "[night] drive*" / "one.png", 2)
    write_picture(tmp_path / "[night] drive*" / ".hidden.png", 3)
    for path in (tmp_path / "[night] drive*", tmp_path / "[night] drive*" / "one.png"):
        drive = open_drive(path)
        assert drive.info.frame_count == 1
        assert [reading.name for reading in drive.readings()] == ["one"]


def test_real_drives_open_as_what_they_are(real_data: Path) -> None:
    found = {
        name: (open_drive(real_data / name).info.kind, open_drive(real_data / name).info.frame_count)
        for name in ("kitti_raw", "kitti_object", "kitti_odometry", "street_frames", "camvid/train")
    }
    assert found == {
        "kitti_raw": ("kitti_raw", 78),
        "kitti_object": ("kitti_object", 51),
        "kitti_odometry": ("kitti_odometry", 51),
        "street_frames": ("images", 199),
        "camvid/train": ("images", 367),
    }
    with pytest.raises(DriveError, match="expected pictures in image_02"):
        open_drive(real_data / "kitti_tracking")
