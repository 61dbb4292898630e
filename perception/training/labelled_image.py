"""An image with the labels that a data set has for it, in the project's classes; what readers of layouts share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, overload

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES
from perception.errors import DriveError, InputFormatError
from perception.training.labels import LabelledBoxes

__all__ = [
    "FileImages",
    "JsonNode",
    "LabelledImage",
    "box_of_pixels",
    "known_objects",
    "read_class_ids",
    "read_json",
    "read_rgb",
]

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """One image of a data set.

    Attributes:
        source: data set and frame.
        image_rgb: (H, W, 3) u8.
        boxes: objects and ignored regions.
        known_objects: (C,) bool over ``OBJECT_CLASSES``: a place without a box of the class is background to it.
        semantic: (H, W) u8 into ``SEMANTIC_CLASSES``, 255 where unknown; None where nobody drew pixels.
        instances: (H, W) i32 rows of ``boxes``, -1 for none; None where nobody drew instances.
    """

    source: str
    image_rgb: npt.NDArray[np.uint8]
    boxes: LabelledBoxes
    known_objects: npt.NDArray[np.bool_]
    semantic: npt.NDArray[np.uint8] | None = None
    instances: npt.NDArray[np.int32] | None = None


class FileImages(Sequence[LabelledImage], Generic[_Item]):
    """Labelled images that are read when they are asked for.

    Attributes:
        notes: what a user should know of the data set, such as images without labels.
    """

    def __init__(self, items: Sequence[_Item], read: Callable[[_Item], LabelledImage], notes: Sequence[str] = ()):
        self._items, self._read = items, read
        self.notes = tuple(notes)

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> LabelledImage: ...

    @overload
    def __getitem__(self, index: slice) -> FileImages[_Item]: ...

    def __getitem__(self, index: int | slice) -> LabelledImage | FileImages[_Item]:
        if isinstance(index, slice):
            return FileImages(self._items[index], self._read, self.notes)
        return self._read(self._items[index])

    def __iter__(self) -> Iterator[LabelledImage]:
        return (self._read(item) for item in self._items)


def read_rgb(file: Path) -> npt.NDArray[np.uint8]:
    """(H, W, 3) u8.

    Raises:
        DriveError: the file holds no readable image.
    """
    image = cv2.imread(str(file), cv2.IMREAD_COLOR) if file.is_file() else None
    if image is None:
        raise DriveError(f"{file}: expected an image, but it {'cannot be decoded' if file.is_file() else 'is missing'}")
    return np.ascontiguousarray(image[:, :, ::-1])


def read_class_ids(file: Path, size_hw: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """(H, W) ids of an 8 or 16 bit grey image.

    Raises:
        InputFormatError: it is missing, of another size, or in colour.
    """
    ids = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) if file.is_file() else None
    wanted = f"{size_hw[1]}x{size_hw[0]} pixels of ids in one channel"
    if ids is None:
        raise InputFormatError(
            f"{file}: expected {wanted}, but it {'cannot be decoded' if file.is_file() else 'is missing'}"
        )
    if ids.shape != size_hw or ids.dtype not in (np.uint8, np.uint16):
        raise InputFormatError(f"{file}: expected {wanted} but found {ids.dtype} of shape {ids.shape}")
    return np.asarray(ids, np.uint16)


def known_objects(*names: str) -> npt.NDArray[np.bool_]:
    """(C,) bool over ``OBJECT_CLASSES``."""
    return np.array([name in names for name in OBJECT_CLASSES])


def box_of_pixels(mask: npt.NDArray[np.bool_]) -> tuple[float, float, float, float] | None:
    """x1, y1, x2, y2 px around the pixels of a mask, outer edges; None for an empty one.

    >>> box_of_pixels(np.array([[0, 0, 0], [0, 1, 1]], bool))
    (1.0, 1.0, 3.0, 2.0)
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def read_json(file: Path) -> JsonNode:
    """The content of a JSON file.

    Raises:
        InputFormatError: it is missing or no JSON; the line is named.
    """
    try:
        return JsonNode(file, "", json.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputFormatError(f"{file}: expected a JSON file of labels: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise InputFormatError(f"{file}:{error.lineno}: expected JSON: {error.msg} (column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise InputFormatError(f"{file}: expected JSON in UTF-8: {error.reason} at byte {error.start}") from None


@dataclass(frozen=True, slots=True)
class JsonNode:
    """A value in a JSON file that knows where it stands, so that errors can say it: ``file: [3].labels[0].box2d``."""

    file: Path
    path: str
    value: Any

    def fail(self, expected: str) -> InputFormatError:
        """The error to raise where the value is not as it should be."""
        found = json.dumps(self.value)
        shown = found if len(found) <= 60 else f"{found[:57]}..."
        return InputFormatError(
            f"{self.file}: {self.path.lstrip('.') or 'the file'}: expected {expected} but found {shown}"
        )

    def get(self, key: str) -> JsonNode:
        """A member of an object.

        Raises:
            InputFormatError: this is no object or lacks the key.
        """
        if not isinstance(self.value, dict) or key not in self.value:
            raise self.fail(f"an object with {key!r}")
        return JsonNode(self.file, f"{self.path}.{key}", self.value[key])

    def optional(self, key: str) -> JsonNode | None:
        """A member of an object, or None where it is absent or null."""
        if not isinstance(self.value, dict):
            raise self.fail("an object")
        return self.get(key) if self.value.get(key) is not None else None

    def items(self) -> list[JsonNode]:
        """The members of a list."""
        if not isinstance(self.value, list):
            raise self.fail("a list")
        return [JsonNode(self.file, f"{self.path}[{index}]", value) for index, value in enumerate(self.value)]

    def text(self) -> str:
        """The value as a text."""
        if not isinstance(self.value, str):
            raise self.fail("a text")
        return self.value

    def whole(self) -> int:
        """The value as a whole number."""
        if not isinstance(self.value, int) or isinstance(self.value, bool):
            raise self.fail("a whole number")
        return self.value

    def number(self) -> float:
        """The value as a finite number."""
        if not isinstance(self.value, (int, float)) or isinstance(self.value, bool) or not np.isfinite(self.value):
            raise self.fail("a number")
        return float(self.value)

    def numbers(self, count: int | None = None) -> npt.NDArray[np.float64]:
        """The value as a list of ``count`` numbers; None takes any number of them."""
        found = np.array([item.number() for item in self.items()], np.float64)
        if count is not None and len(found) != count:
            raise self.fail(f"{count} numbers")
        return found
