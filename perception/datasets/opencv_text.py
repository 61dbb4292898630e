"""Scalars and matrices of OpenCV's FileStorage, in YAML or XML, and of ROS's camera_info files, which look alike.

OpenCV's own reader is not used: on malformed YAML it can corrupt the memory of the process.
"""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from perception.errors import CalibrationError

__all__ = ["OpencvText", "read_opencv_text"]

Float64Array = npt.NDArray[np.float64]

_YAML_MATRIX = (
    r"^[ \t]*{key}[ \t]*:[ \t]*(?:!!opencv-matrix)?[ \t]*\r?\n"
    r"\s+rows[ \t]*:[ \t]*(?P<rows>\S+)\s+cols[ \t]*:[ \t]*(?P<cols>\S+)\s+(?:dt[ \t]*:[ \t]*\S+\s+)?"
    r"data[ \t]*:\s*\[(?P<data>[^\]]*)\]"
)


class OpencvText:
    """The entries of one file, looked up by key."""

    def __init__(self, path: Path, text: str, tree: ElementTree.Element | None) -> None:
        self._path = path
        self._text = text
        self._tree = tree

    def scalar(self, key: str) -> float | None:
        """A number, or None where the file has no such key.

        Raises:
            CalibrationError: it is no finite number.
        """
        if self._tree is not None:
            word = self._tree.findtext(key)
        else:
            match = re.search(rf"^[ \t]*{key}[ \t]*:[ \t]*(\S*)", self._text, re.MULTILINE)
            word = match and match[1]
        return None if word is None else float(self._numbers(key, [word.strip()])[0])

    def matrix(self, key: str) -> Float64Array | None:
        """(rows, cols) f64, or None where the file has no such key.

        Raises:
            CalibrationError: it is no matrix, or holds another number of values than it states, or one that is not
                finite.
        """
        if self._tree is not None:
            node = self._tree.find(key)
            if node is None:
                return None
            rows, cols, data = (node.findtext(name) for name in ("rows", "cols", "data"))
        else:
            if not re.search(rf"^[ \t]*{key}[ \t]*:", self._text, re.MULTILINE):
                return None
            match = re.search(_YAML_MATRIX.format(key=key), self._text, re.MULTILINE)
            rows, cols, data = match.group("rows", "cols", "data") if match else (None, None, None)
        if rows is None or cols is None or data is None:
            raise CalibrationError(f"{self._path}: {key} must be a matrix with rows, cols and data")
        shape = self._numbers(key, [rows.strip(), cols.strip()])
        values = self._numbers(key, data.replace(",", " ").split())
        if len(values) != shape.prod():
            raise CalibrationError(f"{self._path}: {key} must have {rows}x{cols} values but has {len(values)}")
        return values.reshape(int(shape[0]), int(shape[1]))

    def _numbers(self, key: str, words: list[str]) -> Float64Array:
        try:
            values = np.array([float(word) for word in words])
        except ValueError as error:
            raise CalibrationError(f"{self._path}: {key}: {error}") from None
        if not np.isfinite(values).all():
            raise CalibrationError(f"{self._path}: {key} must be finite but is {' '.join(words)}")
        return values


def read_opencv_text(path: Path) -> OpencvText:
    """Reads a ``.yml``, ``.yaml`` or ``.xml`` file.

    Raises:
        CalibrationError: it cannot be read as text, or not as XML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        tree = ElementTree.fromstring(text) if path.suffix.lower() == ".xml" else None
    except (OSError, UnicodeDecodeError, ElementTree.ParseError) as error:
        raise CalibrationError(f"{path}: cannot be read as OpenCV FileStorage: {error}") from None
    return OpencvText(path, text, tree)
