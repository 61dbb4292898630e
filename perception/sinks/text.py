"""Text on pictures, laid out by its measured size, since OpenCV 4 and 5 draw with different fonts."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Colour", "put_text", "text_size"]

Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BOLD = cv2.FONT_HERSHEY_DUPLEX

# OpenCV's fonts are about this many pixels tall at scale 1
_PIXELS_AT_SCALE_1 = 27.0


def text_size(text: str, height_px: float, bold: bool = False) -> tuple[int, int]:
    """Width and height in pixels of a line whose digits are about half of ``height_px`` wide."""
    (width, height), _ = cv2.getTextSize(_drawable(text), _BOLD if bold else _FONT, height_px / _PIXELS_AT_SCALE_1, 1)
    return int(width), int(height)


def put_text(
    canvas: npt.NDArray[np.uint8],
    text: str,
    x_px: int,
    baseline_px: int,
    height_px: float,
    colour: Colour,
    bold: bool = False,
    align: Literal["left", "right"] = "left",
) -> int:
    """Draws a line of text and returns its width in pixels."""
    width, _ = text_size(text, height_px, bold)
    x = x_px - width if align == "right" else x_px
    face, scale = (_BOLD if bold else _FONT), height_px / _PIXELS_AT_SCALE_1
    cv2.putText(canvas, _drawable(text), (x, baseline_px), face, scale, colour, 1, cv2.LINE_AA)
    return width


def _drawable(text: str) -> str:
    """The text in ASCII, which is all that OpenCV 4 can draw."""
    return text.encode("ascii", "replace").decode("ascii")
