"""Reading pictures, and noticing the damaged ones: OpenCV fills what is missing of a truncated file with grey."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from perception.datasets.drive import DamagedError
from perception.errors import DriveError

__all__ = ["IMAGE_SUFFIXES", "probe_size", "read_image"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm")

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PROBES = 5


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Reads a picture of any depth and number of channels.

    Returns:
        (H, W, 3) u8 RGB; grey pictures have three equal channels.

    Raises:
        DamagedError: the file is missing, truncated, fails its checksum or is no picture.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path}: cannot be read: {error.strerror}") from None
    reason = _damage(data)
    if reason is not None:
        raise DamagedError(f"{path}: {reason}")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise DamagedError(f"{path}: cannot be decoded: {error.err}") from None
    if image is None:
        raise DamagedError(f"{path}: expected a picture ({' '.join(IMAGE_SUFFIXES)}) but its content is none")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), dtype=np.uint8)


def probe_size(paths: Sequence[Path], what: str) -> Counter[tuple[int, int]]:
    """Sizes of a few pictures spread over a drive, or of the first readable one where those are all damaged.

    Args:
        paths: pictures in order.
        what: the drive, for the error.

    Returns:
        How often each (width, height) occurs, the first seen first among equals.

    Raises:
        DriveError: no picture can be read.
    """
    positions = sorted({round(x) for x in np.linspace(0, len(paths) - 1, min(_PROBES, len(paths)))})
    spread = [paths[position] for position in positions]
    rest = [path for position, path in enumerate(paths) if position not in positions]
    sizes: Counter[tuple[int, int]] = Counter()
    first_reason = ""
    for count, path in enumerate(spread + rest):
        if sizes and count >= len(spread):
            break
        try:
            height, width = read_image(path).shape[:2]
            sizes[width, height] += 1
        except DamagedError as damage:
            first_reason = first_reason or str(damage)
    if not sizes:
        raise DriveError(f"{what}: none of its {len(paths)} pictures can be read; the first: {first_reason}")
    return sizes


def _damage(data: bytes) -> str | None:
    """What is wrong with an encoded picture, or None; formats that it does not know pass."""
    if not data:
        return "expected a picture but the file is empty"
    if data.startswith(b"\xff\xd8"):
        return _jpeg_damage(data)
    if data.startswith(_PNG_SIGNATURE):
        return _png_damage(data)
    if data.startswith(b"BM") and len(data) >= 6:
        return _short_file("BMP", int.from_bytes(data[2:6], "little"), len(data))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _short_file("WebP", int.from_bytes(data[4:8], "little") + 8, len(data))
    return None


def _jpeg_damage(data: bytes) -> str | None:
    # segments before the compressed data may hold a thumbnail with markers of its own: they are stepped over
    position = 2
    while data[position : position + 1] == b"\xff" and data[position + 1 : position + 2] != b"\xda":
        fill = data[position + 1 : position + 2] == b"\xff"
        position += 1 if fill else 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    # inside compressed data 0xff is followed by 0, so what follows there is unmistakably the end
    if data[position : position + 2] != b"\xff\xda" or data.find(b"\xff\xd9", position) < 0:
        return f"truncated JPEG: no end-of-image marker in its {len(data)} bytes"
    return None


def _png_damage(data: bytes) -> str | None:
    position = len(_PNG_SIGNATURE)
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        end = position + 12 + length
        if end > len(data):
            break
        checksum = int.from_bytes(data[end - 4 : end], "big")
        if zlib.crc32(memoryview(data)[position + 4 : end - 4]) != checksum:
            return f"damaged PNG: chunk {kind.decode('ascii', 'replace')} at byte {position} fails its checksum"
        if kind == b"IEND":
            return None
        position = end
    return f"truncated PNG: no end chunk in its {len(data)} bytes"


def _short_file(kind: str, expected: int, found: int) -> str | None:
    return f"truncated {kind}: {found} of {expected} bytes" if found < expected else None
