"""Where camera, map and panel lie on the canvas of the video."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Layout", "Rect", "make_layout"]

# the text and margins below are for a canvas of this height
_DESIGN_HEIGHT_PX = 720

# wider cameras (KITTI: 3.3) leave room below themselves on a 16:9 canvas, others beside themselves
_WIDE_ASPECT = 2.2


@dataclass(frozen=True, slots=True)
class Rect:
    """A part of the canvas, in pixels from its upper left corner."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int

    @property
    def rows(self) -> slice:
        """The canvas rows that it covers."""
        return slice(self.y_px, self.y_px + self.height_px)

    @property
    def columns(self) -> slice:
        """The canvas columns that it covers."""
        return slice(self.x_px, self.x_px + self.width_px)

    def overlaps(self, other: Rect) -> bool:
        """Whether the two share a pixel."""
        return (
            self.x_px < other.x_px + other.width_px
            and other.x_px < self.x_px + self.width_px
            and self.y_px < other.y_px + other.height_px
            and other.y_px < self.y_px + self.height_px
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """The parts of the canvas.

    Attributes:
        width_px: canvas width, even; likewise ``height_px``. H.264 in yuv420p wants both even.
        scale: of text and margins, 1 at a height of 720.
        header: drive, frame, time.
        camera: the image, letterboxed where its shape differs from that of the first frame.
        bird_eye: the map.
        panel: counts and timings.
        map_heads_right: the vehicle's heading points right on the map and not up.
    """

    width_px: int
    height_px: int
    scale: float
    header: Rect
    camera: Rect
    bird_eye: Rect
    panel: Rect
    map_heads_right: bool


def make_layout(image_width_px: int, image_height_px: int, canvas_height_px: int) -> Layout:
    """A layout for images of the given size.

    >>> make_layout(1242, 375, 720).camera
    Rect(x_px=0, y_px=40, width_px=1280, height_px=386)
    >>> make_layout(1280, 720, 720).camera
    Rect(x_px=0, y_px=40, width_px=1209, height_px=680)
    """
    height = _even(canvas_height_px)
    scale = height / _DESIGN_HEIGHT_PX
    gap = max(1, round(8 * scale))
    top = max(8, round(40 * scale))
    aspect = image_width_px / image_height_px
    if aspect >= _WIDE_ASPECT:
        width = _even(round(height * 16 / 9))
        camera = Rect(0, top, width, max(1, min(round(width / aspect), height - top - 2 * gap - 1)))
        y = camera.y_px + camera.height_px + gap
        panel_width = round(330 * scale)
        below = height - gap - y
        bird_eye = Rect(gap, y, width - panel_width - 3 * gap, below)
        panel = Rect(width - panel_width - gap, y, panel_width, below)
    else:
        side = round(400 * scale)
        camera = Rect(0, top, max(1, round((height - top) * aspect)), height - top)
        width = _even(camera.width_px + side + 2 * gap)
        x = camera.width_px + gap
        panel_height = round(0.37 * camera.height_px)
        bird_eye = Rect(x, top + gap, width - gap - x, camera.height_px - panel_height - 3 * gap)
        panel = Rect(x, height - gap - panel_height, width - gap - x, panel_height)
    return Layout(width, height, scale, Rect(0, 0, width, top), camera, bird_eye, panel, aspect >= _WIDE_ASPECT)


def _even(length_px: int) -> int:
    return max(2, length_px + length_px % 2)
