"""Small drives of every kind, written anew for each test."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

WIDTH, HEIGHT = 64, 48

# 0.27 m ahead of the velodyne and 0.08 m below it, looking along its x axis
VELO_ROTATION = "0 -1 0 0 0 -1 1 0 0"
VELO_TRANSLATION = "0 -0.08 -0.27"
PROJECTION_0 = "50 0 32 0 0 50 24 0 0 0 1 0"
# 0.06 m to the left of camera 0
PROJECTION_2 = "50 0 32 3 0 50 24 0 0 0 1 0"


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> npt.NDArray[np.uint8]:
    """A textured picture whose mean grows with its number, so that a shift by one frame shows."""
    rng = np.random.default_rng(number)
    image = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
    image[: height // 2] += np.uint8(8 * number)
    return image


def write_picture(path: Path, number: int, width: int = WIDTH, height: int = HEIGHT) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), cv2.cvtColor(picture(number, width, height), cv2.COLOR_RGB2BGR))


def scan(number: int, points: int = 20) -> npt.NDArray[np.float32]:
    values = np.random.default_rng(number).uniform(1, 30, (points, 4)).astype(np.float32)
    values[:, 3] = number / 100
    return values


def write_scan(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scan(number).tofile(path)


def make_raw_drive(day: Path, frames: int = 6, name: str = "2011_09_26_drive_0001_sync", suffix: str = ".png") -> Path:
    drive = day / name
    for number in range(frames):
        write_picture(drive / "image_02" / "data" / f"{number:010d}{suffix}", number)
        write_scan(drive / "velodyne_points" / "data" / f"{number:010d}.bin", number)
    stamps = [f"2011-09-26 13:02:2{5 + (number + 5) // 10}.{(number + 5) % 10}64389445" for number in range(frames)]
    (drive / "image_02" / "timestamps.txt").write_text("\n".join(stamps) + "\n")
    (day / "calib_cam_to_cam.txt").write_text(
        f"calib_time: 09-Jan-2012 13:57:47\nS_rect_02: {WIDTH}.0 {HEIGHT}.0\nR_rect_00: 1 0 0 0 1 0 0 0 1\n"
        f"P_rect_00: {PROJECTION_0}\nP_rect_02: {PROJECTION_2}\n"
    )
    (day / "calib_velo_to_cam.txt").write_text(
        f"calib_time: 15-Mar-2012 11:37:16\nR: {VELO_ROTATION}\nT: {VELO_TRANSLATION}\n"
    )
    return drive


def benchmark_calibration() -> str:
    rotation, translation = VELO_ROTATION.split(), VELO_TRANSLATION.split()
    rows = [[*rotation[3 * row : 3 * row + 3], translation[row]] for row in range(3)]
    velo = " ".join(word for row in rows for word in row)
    return f"P0: {PROJECTION_0}\nP2: {PROJECTION_2}\nR0_rect: 1 0 0 0 1 0 0 0 1\nTr_velo_to_cam: {velo}\n\n"


def make_tracking_sequence(root: Path, frames: int = 5, sequence: str = "0003") -> Path:
    training = root / "training"
    for number in range(frames):
        write_picture(training / "image_02" / sequence / f"{number:06d}.png", number)
        write_scan(training / "velodyne" / sequence / f"{number:06d}.bin", number)
    (training / "calib").mkdir(exist_ok=True)
    # the tracking benchmark leaves out two of the colons and names the transform differently
    text = benchmark_calibration().replace("R0_rect:", "R_rect").replace("Tr_velo_to_cam:", "Tr_velo_cam")
    (training / "calib" / f"{sequence}.txt").write_text(text)
    return training / "image_02" / sequence


def make_object_folder(root: Path, names: tuple[str, ...] = ("000000", "000002", "000007")) -> Path:
    training = root / "training"
    for number, name in enumerate(names):
        write_picture(training / "image_2" / f"{name}.png", number, WIDTH + 2 * number)
        write_scan(training / "velodyne" / f"{name}.bin", number)
        (training / "calib").mkdir(exist_ok=True)
        (training / "calib" / f"{name}.txt").write_text(benchmark_calibration())
    return training


def make_odometry_sequence(root: Path, frames: int = 5, sequence: str = "04") -> Path:
    folder = root / "sequences" / sequence
    for number in range(frames):
        write_picture(folder / "image_2" / f"{number:06d}.png", number)
    (folder / "calib.txt").write_text(f"P0: {PROJECTION_0}\nP2: {PROJECTION_2}\n")
    (folder / "times.txt").write_text("".join(f"{0.1 * number:e}\n" for number in range(frames)))
    return folder


def make_image_folder(folder: Path, frames: int = 5) -> Path:
    for number in range(frames):
        write_picture(folder / f"view_{number + 8}.png", number)
    return folder


def make_video(path: Path, frames: int = 12, codec: str = "mpeg4", rate: int = 10) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(frames):
            shade = np.full((HEIGHT, WIDTH, 3), 15 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shade, format="rgb24")))
        container.mux(stream.encode())
    return path


def packet_places(path: Path) -> list[tuple[int, int]]:
    """Byte position and size of every video packet, in the order of the file."""
    with av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
