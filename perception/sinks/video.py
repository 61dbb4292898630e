"""video.mp4: H.264 that a browser plays, and that is playable at every moment while it is written."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt
from av.video.reformatter import ColorRange, Colorspace

from perception.datasets.drive import Reading
from perception.files import replaced_when_done
from perception.sinks.render import Painter
from perception.sinks.sink import RunContext, RunSummary
from perception.types import FrameResult

__all__ = ["VideoSink", "VideoWriter"]

_DEFAULT_RATE_HZ = 10.0

# every fragment ends up in the file at once, and begins with a picture of its own
_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1"}

# FFmpeg's number for the primaries and the transfer curve of ITU-R BT.709, which are sRGB's
_BT709 = 1


class VideoWriter:
    """Writes pictures of one size as fragmented MP4, which a kill leaves playable up to about a second before it.

    Args:
        path: the file, written in place.
        width_px: even; likewise ``height_px``.
        height_px: even.
        rate_hz: pictures per second.
        crf: quality of x264, lower is better.
    """

    def __init__(self, path: Path, width_px: int, height_px: int, rate_hz: float, crf: int) -> None:
        self._path = path
        self._container = av.open(str(path), "w", format="mp4", options=_FRAGMENTED)
        rate = Fraction(rate_hz).limit_denominator(1001)
        stream = self._container.add_stream("libx264", rate=rate)
        stream.width, stream.height, stream.pix_fmt = width_px, height_px, "yuv420p"
        # zerolatency keeps no frames back, so that a kill loses none; one thread leaves the others to the pipeline
        stream.options = {"preset": "superfast", "tune": "zerolatency", "crf": str(crf)}
        codec = stream.codec_context
        codec.thread_count = 1
        codec.gop_size = max(1, round(rate_hz))
        # as OpenCV converts; a player that is not told takes BT.709 for a picture of this size
        codec.colorspace, codec.color_range = Colorspace.ITU601, ColorRange.MPEG
        codec.color_primaries = codec.color_trc = _BT709
        self._stream = stream

    def write(self, picture_rgb: npt.NDArray[np.uint8]) -> None:
        """Appends an (H, W, 3) picture."""
        # OpenCV converts ten times as fast as libswscale does
        planes = np.asarray(cv2.cvtColor(picture_rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))

    def close(self) -> None:
        """Completes the last fragment."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


class VideoSink:
    """Writes one picture for every frame of the drive; a skipped frame shows the picture before and the reason.

    While the run lasts the file is fragmented; at the end it is rewritten with its index in front, so that players
    know its length and can seek.

    Args:
        context: the run.
        painter: paints the pictures.
    """

    name = "video"

    def __init__(self, context: RunContext, painter: Painter) -> None:
        self._path = context.out / "video.mp4"
        self._rate_hz = (context.drive.rate_hz or _DEFAULT_RATE_HZ) / context.step
        self._crf = context.config.video.crf
        self._painter = painter
        self._writer: VideoWriter | None = None
        self._skipped_first: list[Reading] = []

    def write(self, result: FrameResult) -> None:
        """Appends one picture."""
        picture = self._painter.paint(result)
        if self._writer is None:
            height, width = picture.shape[:2]
            self._writer = VideoWriter(self._path, width, height, self._rate_hz, self._crf)
            for reading in self._skipped_first:
                self._append_skipped(reading)
            self._skipped_first.clear()
        self._writer.write(picture)

    def skip(self, reading: Reading) -> None:
        """Appends the picture before, darkened; the size is not known before the first frame, which goes first."""
        if self._writer is None:
            self._skipped_first.append(reading)
        else:
            self._append_skipped(reading)

    def finish(self, summary: RunSummary) -> None:
        """Moves the index to the front. A drive without any good frame has no video."""
        if self._writer is not None:
            self._writer.close()
            _move_index_to_front(self._path)

    def abort(self) -> None:
        """Leaves the fragments, which play as they are."""
        if self._writer is not None:
            self._writer.close()

    def _append_skipped(self, reading: Reading) -> None:
        picture = self._painter.paint_skipped(reading)
        if picture is not None and self._writer is not None:
            self._writer.write(picture)


def _move_index_to_front(path: Path) -> None:
    """Copies the encoded pictures from fragments into a plain MP4."""
    with replaced_when_done(path) as aside:
        with (
            av.open(str(path)) as source,
            av.open(str(aside), "w", format="mp4", options={"movflags": "faststart"}) as target,
        ):
            stream = source.streams.video[0]
            copy = target.add_stream_from_template(stream)
            for packet in source.demux(stream):
                if packet.dts is not None:
                    packet.stream = copy
                    target.mux(packet)
