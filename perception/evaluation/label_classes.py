"""Class lists of label images: by name (camvid, cityscapes, cityscapes-ids, semantic) or from a file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.classes import CAMVID_CLASSES, SEMANTIC_CLASSES, VOID_ID
from perception.errors import InputFormatError
from perception.evaluation.readers_text import nearest, read_lines

__all__ = ["LabelClasses", "label_classes"]

_CITYSCAPES = SEMANTIC_CLASSES[:19]
_CITYSCAPES_THINGS = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
# labelIds of the 19 training classes, from the Cityscapes label table
_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
_NAMED = ("camvid", "cityscapes", "cityscapes-ids", "semantic")


@dataclass(frozen=True, slots=True, eq=False)
class LabelClasses:
    """What the values of a label image mean.

    Attributes:
        names: of the classes, in order.
        things: which of them have countable instances.
        class_of_label: (256,) i64 class of each label value; -1 void, -2 a value that may not occur.
        void: a label value that means void.
    """

    names: tuple[str, ...]
    things: tuple[str, ...]
    class_of_label: npt.NDArray[np.int64]
    void: int


def _consecutive(names: tuple[str, ...], things: tuple[str, ...], void: int) -> LabelClasses:
    table = np.full(256, -2, np.int64)
    table[: len(names)] = np.arange(len(names))
    table[void] = -1
    return LabelClasses(names, things, table, void)


def label_classes(name: str) -> LabelClasses:
    """A class list by name, or from a file: one class name a line, or ``{"classes": […], "things": […], "void": 255}``.

    ``cityscapes`` means training ids 0 … 18, ``cityscapes-ids`` the label ids that the published PNG files hold, whose
    other values are void; ``semantic`` is this project's own list.

    Raises:
        InputFormatError: neither a known name nor a readable file.

    >>> label_classes("camvid").names[3]
    'road'
    """
    if name == "camvid":
        return _consecutive(CAMVID_CLASSES, ("car", "pedestrian", "bicyclist"), len(CAMVID_CLASSES))
    if name == "cityscapes":
        return _consecutive(_CITYSCAPES, _CITYSCAPES_THINGS, VOID_ID)
    if name == "semantic":
        return _consecutive(SEMANTIC_CLASSES, _CITYSCAPES_THINGS, VOID_ID)
    if name == "cityscapes-ids":
        table = np.full(256, -2, np.int64)
        table[:34] = -1
        table[list(_CITYSCAPES_IDS)] = np.arange(len(_CITYSCAPES))
        table[VOID_ID] = -1
        return LabelClasses(_CITYSCAPES, _CITYSCAPES_THINGS, table, VOID_ID)
    path = Path(name)
    if not path.is_file():
        raise InputFormatError(
            f"unknown class list {name!r}{nearest(name, _NAMED)}; known are {', '.join(_NAMED)}, or give a file"
        )
    return _from_file(path)


def _from_file(path: Path) -> LabelClasses:
    lines = read_lines(path)
    if path.suffix != ".json":
        names = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
        things: tuple[str, ...] = ()
        void = VOID_ID
    else:
        try:
            content = json.loads("\n".join(lines))
            names = tuple(str(entry) for entry in content["classes"])
            things = tuple(str(entry) for entry in content.get("things", ()))
            void = int(content.get("void", VOID_ID))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputFormatError(
                f'{path}: {{"classes": [names], "things": [names], "void": 255}} expected ({error})'
            ) from None
    unknown = [thing for thing in things if thing not in names]
    if unknown:
        raise InputFormatError(f"{path}: thing {unknown[0]!r} is no class{nearest(unknown[0], names)}")
    if not names or len(set(names)) != len(names) or len(names) > 255 or not len(names) <= void <= 255:
        raise InputFormatError(
            f"{path}: 1 to 255 different class names and a void value after them expected, "
            f"found {len(names)} names and void {void}"
        )
    return _consecutive(names, things, void)
