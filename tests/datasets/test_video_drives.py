from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
from drive_makers import HEIGHT, WIDTH, make_video, packet_places

from perception.datasets.drive import Reading
from perception.datasets.factory import open_drive
from perception.datasets.video import VideoDrive, _short_name
from perception.errors import DriveError


def overwrite_packet(path: Path, number: int, content: str) -> None:
    position, size = packet_places(path)[number]
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(7).integers(0, 255, size, dtype=np.uint8).tobytes()
    data[position : position + size] = bytes(size) if content == "zeros" else noise
    path.write_bytes(bytes(data))


def shades(readings: list[Reading]) -> list[int | None]:
    """The number that each frame's shade encodes."""
    return [None if r.frame is None else round(float(r.frame.image_rgb.mean()) / 15) for r in readings]


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mp4", "mpeg4"), ("a.avi", "mpeg4"), ("a.mkv", "libx264"), ("a.mp4", "libx264"), ("a.ts", "libx264")],
)
def test_frames_come_in_order_with_their_times(tmp_path: Path, name: str, codec: str) -> None:
    drive = open_drive(make_video(tmp_path / name, codec=codec))
    assert (drive.info.frame_count, drive.info.rate_hz) == (12, 10.0)
    assert drive.info.gaps == ()
    assert drive.info.calibration_source.startswith("guessed")
    readings = list(drive.readings())
    assert shades(readings) == list(range(12))
    assert [r.frame.timestamp_ns for r in readings if r.frame] == [n * 100_000_000 for n in range(12)]
    assert [r.name for r in readings[:2]] == ["000000", "000001"]
    # reading again gives the same
    assert shades(list(drive.readings(3, 4))) == [3, 7, 11]


@pytest.mark.parametrize("content", ["zeros", "noise"])
@pytest.mark.parametrize("broken", [1, 5, 11])
def test_a_broken_packet_costs_its_own_frame(tmp_path: Path, broken: int, content: str) -> None:
    path = make_video(tmp_path / "a.avi", codec="mpeg4")
    overwrite_packet(path, broken, content)
    readings = list(open_drive(path).readings())
    expected: list[int | None] = list(range(12))
    expected[broken] = None
    # after a lost packet the decoder predicts from an older picture, so shades lag; places and times do not
    assert [None if shade is None else n for n, shade in enumerate(shades(readings))] == expected
    assert shades(readings)[:broken] == expected[:broken]
    assert "broken packet" in readings[broken].gaps[0].reason
    assert str(path) in readings[broken].gaps[0].reason
    assert [r.frame.timestamp_ns for r in readings if r.frame] == [n * 100_000_000 for n in range(12) if n != broken]


def test_a_broken_packet_among_reordered_frames_takes_its_own_place(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", codec="libx264")
    with av.open(str(path)) as container:
        stamps = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert stamps != sorted(stamps)  # the encoder did reorder
    overwrite_packet(path, 6, "zeros")
    place = sorted(stamps).index(stamps[6])
    readings = list(open_drive(path).readings())
    assert [r.index for r in readings if r.frame is None] == [place]
    assert [r.index for r in readings] == list(range(12))
    assert [r.frame.timestamp_ns for r in readings if r.frame] == [n * 100_000_000 for n in range(12) if n != place]


def test_a_file_cut_short_says_where(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", 16)
    position, _ = packet_places(path)[9]
    path.write_bytes(path.read_bytes()[:position])
    drive = open_drive(path)
    readings = list(drive.readings())
    assert drive.info.frame_count == len(readings)
    assert "ends after 9 of about 16 frames" in drive.info.gaps[0].reason
    assert readings[-1].frame is None
    assert readings[-1].gaps == drive.info.gaps
    assert shades(readings)[:-1] == list(range(9))


def test_a_video_without_a_decodable_frame_is_refused(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi", 4)
    for number in range(4):
        overwrite_packet(path, number, "zeros")
    with pytest.raises(DriveError, match=r"a\.avi: expected a video but none of its frames can be decoded"):
        open_drive(path)
    (tmp_path / "b.mp4").write_bytes(b"")
    with pytest.raises(DriveError, match=r"b\.mp4: expected a video but it cannot be read as one"):
        open_drive(tmp_path / "b.mp4")


def test_a_file_that_vanishes_after_opening_is_an_error(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi")
    drive = open_drive(path)
    path.unlink()
    with pytest.raises(DriveError, match="cannot be read as one: No such file"):
        list(drive.readings())


def test_colours_are_rgb(tmp_path: Path) -> None:
    path = tmp_path / "red.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        red[:, :, 0] = 200
        container.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        container.mux(stream.encode())
    frame = next(iter(open_drive(path).readings())).frame
    assert frame is not None
    np.testing.assert_allclose(frame.image_rgb.mean(axis=(0, 1)), [200, 0, 0], atol=6)


@pytest.mark.parametrize(("matrix", "turns"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_a_phone_held_sideways_is_turned_upright(tmp_path: Path, matrix: tuple[int, ...], turns: int) -> None:
    path = tmp_path / "phone.mp4"
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[: HEIGHT // 2, : WIDTH // 2] = 250
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    # the track header's display matrix: a b u, c d v, x y w in 16.16 fixed point, after 40 bytes of other fields
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value << 16 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(bytes(data))
    drive = open_drive(path)
    frame = next(iter(drive.readings())).frame
    assert frame is not None
    assert frame.image_rgb.shape == np.rot90(image, turns).shape
    np.testing.assert_allclose(frame.image_rgb, np.rot90(image, turns), atol=12)
    assert drive.info.camera is not None
    assert drive.info.camera.width_px == frame.image_rgb.shape[1]


def test_a_password_stays_out_of_the_name() -> None:
    assert _short_name("rtsp://user:secret@camera.local:554/front/main.sdp") == "camera.local_front_main"


def test_frames_between_steps_are_not_converted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from perception.datasets import video

    drive = open_drive(make_video(tmp_path / "a.mp4"))
    assert isinstance(drive, VideoDrive)
    converted = []
    upright = video._upright
    monkeypatch.setattr(video, "_upright", lambda frame: (converted.append(frame.time), upright(frame))[1])
    assert len(list(drive.readings(2, 5))) == 2
    assert converted == pytest.approx([0.2, 0.7])
