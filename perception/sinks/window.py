"""Shows the pictures that come in on standard input: ``python -m perception.sinks.window TITLE``.

Each picture is its height and width, then its RGB bytes. The program ends with its input, or when Escape or Q is
pressed or the window is closed.
"""

from __future__ import annotations

import struct
import sys
from typing import BinaryIO

__all__ = ["HEADER", "main"]

HEADER = "<II"

_ESCAPE = 27


def main(title: str, source: BinaryIO) -> int:
    """Shows pictures until the input ends or the user has had enough; returns the exit code."""
    # only this process needs a graphical toolkit
    import cv2
    import numpy as np

    while len(header := source.read(struct.calcsize(HEADER))) == struct.calcsize(HEADER):
        height, width = struct.unpack(HEADER, header)
        data = source.read(height * width * 3)
        if len(data) < height * width * 3:
            break
        picture = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        try:
            cv2.imshow(title, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
            key = cv2.waitKey(1) & 0xFF
            if key in (_ESCAPE, ord("q")) or cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1:
                break
        except cv2.error as error:
            print(f"OpenCV cannot show a window: {error.err or error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "perception", sys.stdin.buffer))
