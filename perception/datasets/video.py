"""Video files and streams, decoded packet by packet, so that a broken packet costs its own frame and no more."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import av
import numpy as np
import numpy.typing as npt

from perception.datasets.drive import DamagedError, Drive, DriveInfo, Gap, Reading
from perception.datasets.footage import footage_camera
from perception.datasets.recorded import CameraSource, selected
from perception.errors import DriveError
from perception.types import Frame

__all__ = ["VIDEO_SUFFIXES", "VideoDrive", "open_stream", "open_video", "recognises_stream", "recognises_video"]

VIDEO_SUFFIXES = (
    ".mp4", ".mov", ".m4v", ".mkv", ".webm", ".avi", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv",
    ".3gp", ".mjpeg", ".mjpg", ".h264", ".264", ".hevc", ".h265", ".265", ".y4m",
)  # fmt: skip
_STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt")

# seconds to open a stream, and to wait for its next packet
_STREAM_TIMEOUT_S = (10.0, 10.0)
# a file of at most this size is read once at opening to count its frames exactly; larger ones are believed
_MAX_COUNTED_BYTES = 256 << 20
# a file that ends this much earlier than it states has lost its end; the statement may be off by rounding
_MAX_EARLY_FRAMES, _MAX_EARLY_FRACTION = 2, 0.02


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    """A decoded frame, or the reason why there is none; with its time in seconds where the file gives one."""

    time_s: float | None
    frame: av.VideoFrame | None
    reason: str = ""


class VideoDrive:
    """Reads the frames of a video in the order in which they are shown."""

    def __init__(self, source: str, info: DriveInfo, camera_of: CameraSource, end: Gap | None) -> None:
        self.info = info
        self._source = source
        self._camera_of = camera_of
        self._end = end

    def readings(self, start: int = 0, step: int = 1, count: int | None = None) -> Iterator[Reading]:
        """Every ``step``-th frame from ``start``, at most ``count``; frames in between are decoded, not converted.

        Raises:
            ValueError: a number is out of range.
            DriveError: the video cannot be opened again.
        """
        # a number that no video reaches stands for a length that only decoding tells
        wanted = selected(sys.maxsize, start, step, count)
        clock = _Clock(self.info.rate_hz)
        last = wanted[-1] if wanted else -1
        for index, picture in enumerate(self._pictures() if wanted else ()):
            timestamp_ns = clock.time_of(picture.time_s)
            if index in wanted:
                yield self._reading(index, timestamp_ns, picture)
            if index == last:
                return

    def close(self) -> None:
        """Holds nothing open between readings."""

    def _pictures(self) -> Iterator[_Picture]:
        with _opened(self._source) as container:
            yield from _decode(container, self._source)
        if self._end is not None:
            yield _Picture(None, None, self._end.reason)

    def _reading(self, index: int, timestamp_ns: int, picture: _Picture) -> Reading:
        name = _name(index)
        if picture.frame is None:
            return Reading(index, name, None, (Gap(name, "camera", picture.reason),))
        try:
            image = _upright(picture.frame)
            camera = self._camera_of(name, image.shape[1], image.shape[0])
        except DamagedError as damage:
            return Reading(index, name, None, (Gap(name, "camera", str(damage)),))
        return Reading(index, name, Frame(index, name, timestamp_ns, image, camera))


class _Clock:
    """Strictly increasing times from a video's own; where those are missing or step back, one period on."""

    def __init__(self, rate_hz: float | None) -> None:
        self._period_ns = round(1e9 / (rate_hz or 30.0))
        self._first_s: float | None = None
        self._last_ns = -self._period_ns

    def time_of(self, time_s: float | None) -> int:
        next_ns = self._last_ns + self._period_ns
        if time_s is not None:
            if self._first_s is None:
                self._first_s = time_s - next_ns / 1e9
            next_ns = max(round((time_s - self._first_s) * 1e9), self._last_ns + 1)
        self._last_ns = next_ns
        return next_ns


def recognises_video(path: str) -> bool:
    """Whether the path is a file with a video's suffix, or with none."""
    file = Path(path)
    return file.is_file() and file.suffix.lower() in (*VIDEO_SUFFIXES, "")


def open_video(path: str, calib: Path | None) -> Drive:
    """Opens a video file.

    Raises:
        DriveError: it cannot be read, has no video stream, or not one frame of it can be decoded.
        CalibrationError: the calibration is malformed or for another aspect ratio.
    """
    return _open(path, "video", calib)


def recognises_stream(path: str) -> bool:
    """Whether the path is the address of a stream, such as ``rtsp://camera/front``."""
    return urlsplit(path).scheme.lower() in _STREAM_SCHEMES and "://" in path


def open_stream(path: str, calib: Path | None) -> Drive:
    """Opens a stream or a video on a server.

    Raises:
        DriveError: it does not answer, has no video, or not one frame of it can be decoded.
        CalibrationError: the calibration is malformed or for another aspect ratio.
    """
    return _open(path, "stream", calib)


def _open(source: str, kind: str, calib: Path | None) -> VideoDrive:
    with _opened(source) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate or stream.base_rate
        rate_hz = float(rate) if rate else None
        stated = stream.frames or _stated_frames(container, rate_hz)
        first = next((picture.frame for picture in _decode(container, source) if picture.frame is not None), None)
        if first is None:
            raise DriveError(f"{source}: expected a video but none of its frames can be decoded")
        image = _upright(first)
        codec = stream.codec_context.name
    frame_count = stated or None
    end: Gap | None = None
    if kind == "video" and Path(source).stat().st_size <= _MAX_COUNTED_BYTES:
        frame_count = _count_packets(source)
        if stated - frame_count > max(_MAX_EARLY_FRAMES, _MAX_EARLY_FRACTION * stated):
            reason = f"{source}: the file ends after {frame_count} of about {stated} frames"
            end = Gap(_name(frame_count), "camera", reason)
            frame_count += 1

    height_px, width_px = image.shape[:2]
    footage = footage_camera(calib, width_px, height_px)
    info = DriveInfo(
        name=_short_name(source),
        kind=kind,
        path=source,
        frame_count=frame_count,
        rate_hz=rate_hz,
        camera=footage.camera,
        calibration_source=footage.source,
        pose_source=None,
        sensors=(f"camera ({codec})",),
        gaps=() if end is None else (end,),
        notes=footage.notes,
        duration_s=None if frame_count is None or rate_hz is None else (frame_count - 1) / rate_hz,
    )
    return VideoDrive(source, info, footage.camera_of, end)


def _opened(source: str) -> av.container.InputContainer:
    """Opens a container that has a video stream."""
    streamed = recognises_stream(source)
    options = {"rtsp_transport": "tcp"} if source.lower().startswith("rtsp") else {}
    try:
        container = av.open(source, options=options, timeout=_STREAM_TIMEOUT_S if streamed else None)
    except (av.FFmpegError, OSError, ValueError) as error:
        what = "cannot be opened as a stream" if streamed else "expected a video but it cannot be read as one"
        raise DriveError(f"{source}: {what}: {_ffmpeg_reason(error)}") from None
    if not container.streams.video:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        container.close()
        raise DriveError(f"{source}: expected a video stream but it holds {kinds}")
    return container


def _decode(container: av.container.InputContainer, source: str) -> Iterator[_Picture]:
    """Frames in the order in which they are shown; each packet that gives none takes the place that it had."""
    stream = container.streams.video[0]
    seconds_per_tick = float(stream.time_base or 0)
    lost: list[tuple[float, str]] = []
    for packet in _packets(container, source):
        if isinstance(packet, str):
            lost.append((float("inf"), packet))
            break
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if not packet.size:
                continue
            reason = f"{source}: broken packet: {_ffmpeg_reason(error)}"
            if packet.pts is None:
                yield _Picture(None, None, reason)
            else:
                heapq.heappush(lost, (packet.pts * seconds_per_tick, reason))
            continue
        for frame in frames:
            while lost and frame.time is not None and lost[0][0] < frame.time:
                time_s, reason = heapq.heappop(lost)
                yield _Picture(time_s, None, reason)
            if frame.is_corrupt:
                yield _Picture(frame.time, None, f"{source}: the frame's data are damaged")
            else:
                yield _Picture(frame.time, frame)
    for time_s, reason in sorted(lost):
        yield _Picture(time_s if np.isfinite(time_s) else None, None, reason)


def _packets(container: av.container.InputContainer, source: str) -> Iterator[av.Packet[av.VideoStream] | str]:
    """Packets, and where the container itself breaks off, the reason."""
    packets = container.demux(container.streams.video[0])
    while True:
        try:
            yield next(packets)
        except StopIteration:
            return
        except (av.FFmpegError, OSError) as error:
            yield f"{source}: breaks off: {_ffmpeg_reason(error)}"
            return


def _upright(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    """(H, W, 3) u8 RGB, turned as the file says that it is to be shown."""
    try:
        image = frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, ValueError) as error:
        raise DamagedError(f"cannot be converted to RGB: {_ffmpeg_reason(error)}") from None
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns) if quarter_turns else image, dtype=np.uint8)


def _count_packets(source: str) -> int:
    with _opened(source) as container:
        return sum(1 for packet in _packets(container, source) if not isinstance(packet, str) and packet.size)


def _stated_frames(container: av.container.InputContainer, rate_hz: float | None) -> int:
    if container.duration is None or rate_hz is None:
        return 0
    return round(container.duration / av.time_base * rate_hz)


def _short_name(source: str) -> str:
    if not recognises_stream(source):
        return Path(source).absolute().stem
    address = urlsplit(source)
    # no user name and password: the name ends up in folder names and reports
    return "_".join([address.hostname or "stream", *Path(address.path).with_suffix("").parts[1:]])


def _name(index: int) -> str:
    return f"{index:06d}"


def _ffmpeg_reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
