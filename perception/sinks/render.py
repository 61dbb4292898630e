"""The picture of a frame: camera with overlays, the map around the vehicle, counts and timings."""

from __future__ import annotations

import threading
from collections import deque

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES
from perception.datasets.drive import Reading
from perception.sinks.layout import Layout, Rect, make_layout
from perception.sinks.overlays import class_colour, draw_overlays
from perception.sinks.sink import MapDrawing, MapView, map_scale
from perception.sinks.text import Colour, put_text
from perception.types import FrameResult

__all__ = ["Painter", "render_frame"]

Image = npt.NDArray[np.uint8]

_BACKGROUND: Colour = (17, 20, 26)
_SURFACE: Colour = (27, 31, 39)
_INK: Colour = (236, 239, 244)
_FAINT: Colour = (142, 150, 164)
_BAR: Colour = (88, 148, 236)
_GOOD: Colour = (102, 187, 106)
_BAD: Colour = (239, 83, 80)

_TRAIL_FRAMES = 20

# maps that wait for their frame: more than the results that can be under way
_MAPS_KEPT = 16


class Painter:
    """Paints frames onto canvases of one size, which the first frame decides.

    It remembers where tracks have been, and the last canvas, which several sinks may ask for.

    Args:
        title: shown in the header, such as the drive's name.
        height_px: canvas height.
        deadline_ms: time that a frame may take, 0 for none.
        frame_count: how many frames the drive has, or None.
        map_view: shows the map around a frame's vehicle, or None.
    """

    def __init__(
        self,
        title: str,
        height_px: int,
        deadline_ms: float = 0.0,
        frame_count: int | None = None,
        map_view: MapView | None = None,
    ) -> None:
        self._title = title
        self._height_px = height_px
        self._deadline_ms = deadline_ms
        self._frame_count = frame_count
        self._map_view = map_view
        self._layout: Layout | None = None
        self._maps: dict[int, MapDrawing] = {}
        self._lock = threading.Lock()
        self._trails: dict[int, deque[tuple[float, float]]] = {}
        self._followed: FrameResult | None = None
        self._first_timestamp_ns: int | None = None
        self._painted: FrameResult | None = None
        self._canvas: Image | None = None
        self._background: Image | None = None

    @property
    def canvas_size(self) -> tuple[int, int] | None:
        """Width and height in pixels, or None before the first frame."""
        return None if self._layout is None else (self._layout.width_px, self._layout.height_px)

    def capture(self, result: FrameResult) -> None:
        """Takes the map as it stands now; to be called in the thread that changes the map."""
        if self._map_view is None:
            return
        drawing = self._map_view(result)
        with self._lock:
            self._maps[result.frame.index] = drawing
            while len(self._maps) > _MAPS_KEPT:
                self._maps.pop(next(iter(self._maps)))

    def follow(self, result: FrameResult) -> None:
        """Takes note of a frame, painted or not, so that trails have no holes; a second call changes nothing."""
        if result is self._followed:
            return
        self._followed = result
        if self._first_timestamp_ns is None:
            self._first_timestamp_ns = result.frame.timestamp_ns
        tracks = result.tracks
        trails = {}
        rows = zip(tracks.track_ids.tolist(), tracks.boxes_xyxy.tolist(), tracks.ages.tolist(), strict=True)
        for track_id, (x1, _, x2, y2), age in rows:
            # ids begin anew where nothing is carried from one picture to the next
            before = self._trails.get(track_id) if age > 1 else None
            trails[track_id] = deque(maxlen=_TRAIL_FRAMES) if before is None else before
            trails[track_id].append(((x1 + x2) / 2, y2))
        self._trails = trails

    def paint(self, result: FrameResult) -> Image:
        """(H, W, 3) u8 RGB, the same size for every frame of a run. Not to be written to."""
        if result is self._painted and self._canvas is not None:
            return self._canvas
        self.follow(result)
        layout = self._layout_for(result)
        canvas: Image = self._blank(layout).copy()
        self._paint_camera(canvas, result, layout)
        self._paint_map(canvas, result, layout)
        self._paint_panel(canvas, result, layout)
        self._paint_header(canvas, result, layout)
        self._painted, self._canvas = result, canvas
        return canvas

    def paint_skipped(self, reading: Reading) -> Image | None:
        """The last canvas, darkened, with the news that a frame was skipped; None before the first frame."""
        layout = self._layout
        if layout is None:
            return None
        canvas: Image = self._blank(layout).copy()
        if self._canvas is not None:
            np.right_shift(self._canvas, 1, out=canvas)
        text = f"frame {reading.name} skipped"
        reason = "; ".join(gap.reason for gap in reading.gaps)
        height = 24 * layout.scale
        x, y = layout.camera.x_px + round(24 * layout.scale), layout.camera.y_px + round(60 * layout.scale)
        put_text(canvas, text, x, y, height, _BAD, bold=True)
        put_text(canvas, reason[:110], x, y + round(1.4 * height), 0.7 * height, _INK)
        return canvas

    def _layout_for(self, result: FrameResult) -> Layout:
        if self._layout is None:
            height, width = result.frame.image_rgb.shape[:2]
            self._layout = make_layout(width, height, self._height_px)
        return self._layout

    def _blank(self, layout: Layout) -> Image:
        if self._background is None:
            self._background = np.full((layout.height_px, layout.width_px, 3), _BACKGROUND, np.uint8)
        return self._background

    def _paint_camera(self, canvas: Image, result: FrameResult, layout: Layout) -> None:
        area = layout.camera
        height, width = result.frame.image_rgb.shape[:2]
        fit = min(area.width_px / width, area.height_px / height)
        # a rounding error of one pixel is no reason for a black edge
        wide = area.width_px if abs(width * fit - area.width_px) <= 1 else max(1, round(width * fit))
        high = area.height_px if abs(height * fit - area.height_px) <= 1 else max(1, round(height * fit))
        picture = draw_overlays(result, wide, high, self._trails, layout.scale)
        x, y = area.x_px + (area.width_px - wide) // 2, area.y_px + (area.height_px - high) // 2
        canvas[area.rows, area.columns] = 0
        canvas[y : y + high, x : x + wide] = picture

    def _paint_map(self, canvas: Image, result: FrameResult, layout: Layout) -> None:
        area = layout.bird_eye
        with self._lock:
            drawing = self._maps.pop(result.frame.index, None)
        if drawing is None:
            canvas[area.rows, area.columns] = _SURFACE
            put_text(canvas, "no map", area.x_px + 12, area.y_px + 28, 15 * layout.scale, _FAINT)
            return
        if layout.map_heads_right:
            picture = np.rot90(drawing(area.height_px, area.width_px), -1)
        else:
            picture = drawing(area.width_px, area.height_px)
        canvas[area.rows, area.columns] = picture
        _draw_scale(canvas, area, layout.scale)

    def _paint_header(self, canvas: Image, result: FrameResult, layout: Layout) -> None:
        size, baseline = 16 * layout.scale, round(26 * layout.scale)
        gap = round(22 * layout.scale)
        x = round(12 * layout.scale)
        x += put_text(canvas, self._title, x, baseline, size, _INK, bold=True) + gap
        of = "" if self._frame_count is None else f" / {self._frame_count}"
        x += put_text(canvas, f"frame {result.frame.name}", x, baseline, size, _FAINT) + gap
        x += put_text(canvas, f"{result.frame.index + 1}{of}", x, baseline, size, _FAINT) + gap
        seconds = (result.frame.timestamp_ns - (self._first_timestamp_ns or 0)) / 1e9
        put_text(canvas, f"{seconds:.1f} s", x, baseline, size, _FAINT)
        total_ms = result.timings_ms.get("total")
        if total_ms is not None:
            late = 0 < self._deadline_ms < total_ms
            right = layout.width_px - round(12 * layout.scale)
            text = f"{total_ms:.0f} ms"
            put_text(canvas, text, right, baseline, size, _BAD if late else _GOOD, bold=True, align="right")

    def _paint_panel(self, canvas: Image, result: FrameResult, layout: Layout) -> None:
        area, size = layout.panel, 13 * layout.scale
        canvas[area.rows, area.columns] = _SURFACE
        pad, line = round(14 * layout.scale), round(21 * layout.scale)
        left, top, bottom = area.x_px + pad, area.y_px + pad, area.y_px + area.height_px - pad
        half = (area.width_px - 3 * pad) // 2
        self._paint_counts(canvas, result, Rect(left, top, half, bottom - top), line, size)
        self._paint_timings(canvas, result, Rect(left + half + pad, top, half, bottom - top), line, size)

    def _paint_counts(self, canvas: Image, result: FrameResult, area: Rect, line: int, size: float) -> None:
        counts = np.bincount(result.tracks.class_ids, minlength=len(OBJECT_CLASSES))
        y = area.y_px + round(0.6 * line)
        put_text(canvas, "Tracks", area.x_px, y, size, _INK, bold=True)
        right = area.x_px + area.width_px
        put_text(canvas, str(len(result.tracks)), right, y, size, _INK, bold=True, align="right")
        chip = round(0.5 * line)
        for class_id in np.flatnonzero(counts).tolist():
            y += line
            if y > area.y_px + area.height_px:
                break
            cv2.rectangle(canvas, (area.x_px, y - chip), (area.x_px + chip, y), class_colour(class_id), -1)
            name = OBJECT_CLASSES[class_id].replace("_", " ")
            put_text(canvas, name, area.x_px + 2 * chip, y, size, _FAINT)
            put_text(canvas, str(counts[class_id]), right, y, size, _INK, align="right")

    def _paint_timings(self, canvas: Image, result: FrameResult, area: Rect, line: int, size: float) -> None:
        y = area.y_px + round(0.6 * line)
        put_text(canvas, "Stages", area.x_px, y, size, _INK, bold=True)
        right = area.x_px + area.width_px
        put_text(canvas, "ms", right, y, size, _FAINT, align="right")
        stages = {stage: ms for stage, ms in result.timings_ms.items() if stage != "total"}
        longest = max([*stages.values(), 1.0])
        bar = max(1, round(0.14 * line))
        for stage, duration_ms in stages.items():
            y += line
            if y > area.y_px + area.height_px:
                break
            put_text(canvas, stage.replace("_", " "), area.x_px, y, size, _FAINT)
            number = f"{duration_ms:.1f}"
            put_text(canvas, number, right, y, size, _INK, align="right")
            # the bar lies under the words
            length = round(area.width_px * min(1.0, duration_ms / longest))
            y_bar = y + round(0.18 * line)
            cv2.rectangle(canvas, (area.x_px, y_bar), (area.x_px + length, y_bar + bar - 1), _BAR, -1)


def _draw_scale(canvas: Image, area: Rect, scale: float) -> None:
    """A bar of ten metres in the map's lower left corner."""
    length = round(10 * map_scale(area.width_px, area.height_px))
    x, y = area.x_px + round(14 * scale), area.y_px + area.height_px - round(14 * scale)
    tick = max(2, round(4 * scale))
    for start, end in (((x, y), (x + length, y)), ((x, y - tick), (x, y)), ((x + length, y - tick), (x + length, y))):
        cv2.line(canvas, start, end, _INK, max(1, round(scale)))
    put_text(canvas, "10 m", x + tick, y - round(1.5 * tick), 13 * scale, _INK)


def render_frame(result: FrameResult, height_px: int = 720, title: str = "", map_view: MapView | None = None) -> Image:
    """The picture of a single frame, without what earlier frames would add.

    Args:
        result: one frame; left as it is.
        height_px: canvas height; the width follows from the image.
        title: shown in the header.
        map_view: shows the map around the vehicle, or None.

    Returns:
        (H, W, 3) u8 RGB.
    """
    painter = Painter(title, height_px, map_view=map_view)
    painter.capture(result)
    return painter.paint(result)
