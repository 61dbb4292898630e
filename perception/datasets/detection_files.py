"""Detections that someone else made, from files alone: PointRCNN's, KITTI's, MOTChallenge's and COCO's layouts.

Each layout becomes ``DetectionSequence``s: rows in the order of their frames, image boxes, scores as the file has them
and, where the file tells, upright 3D boxes. Those are given in a level frame at the camera: x forward, y left, z up.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.classes import COCO_TO_OBJECT, OBJECT_CLASSES, OBJECT_OF_KITTI_NAME
from perception.datasets.kitti_detections import level_boxes
from perception.errors import InputFormatError

__all__ = ["DETECTION_FORMATS", "DetectionSequence", "read_detections"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

# x1 y1 x2 y2 score, then h w l x y z rotation_y in KITTI's camera frame or seven NaN
_Row = tuple[int, int, list[float]]
_NO_BOX = [math.nan] * 7
# COCO's published ids have gaps that its 80 contiguous ones lack; these are the ones that matter on a road
_CONTIGUOUS_OF_COCO = {1: 0, 2: 1, 3: 2, 4: 3, 6: 5, 7: 6, 8: 7, 10: 9, 13: 11}


@dataclass(frozen=True, slots=True, eq=False)
class DetectionSequence:
    """All detections of one sequence, frame by frame.

    Attributes:
        name: for result files.
        frame_starts: (F + 1,) i64, where each frame begins in the other arrays.
        class_ids: (N,) i64 into ``OBJECT_CLASSES``.
        boxes_xyxy: (N, 4) f64 px.
        scores: (N,) f64, as in the file.
        boxes_level: (N, 7) f64 x, y, z, yaw, length, width, height, or None where any row lacks its box.
    """

    name: str
    frame_starts: Int64Array
    class_ids: Int64Array
    boxes_xyxy: Float64Array
    scores: Float64Array
    boxes_level: Float64Array | None

    @property
    def frame_count(self) -> int:
        """Frames from 0 to the last with a detection."""
        return len(self.frame_starts) - 1


def read_detections(path: Path, layout: str, classes: Sequence[str] = ()) -> list[DetectionSequence]:
    """Reads every sequence under ``path``.

    Args:
        path: folder or file, as the layout has it.
        layout: a key of ``DETECTION_FORMATS``.
        classes: names from ``OBJECT_CLASSES`` to keep; none keeps all.

    Raises:
        InputFormatError: nothing is there, or a row is malformed (named by file and line).
    """
    if layout not in DETECTION_FORMATS:
        raise InputFormatError(f"--format {layout!r}: expected one of {', '.join(DETECTION_FORMATS)}")
    for name in classes:
        if name not in OBJECT_CLASSES:
            raise InputFormatError(f"--classes {name!r}: expected names from {', '.join(OBJECT_CLASSES)}")
    if not path.exists():
        raise InputFormatError(f"{path}: no such file or folder of detections")
    wanted = {OBJECT_CLASSES.index(name) for name in classes} if classes else set(range(len(OBJECT_CLASSES)))
    sequences = [
        _sequence(name, [row for row in rows if row[1] in wanted]) for name, rows in DETECTION_FORMATS[layout](path)
    ]
    if not sequences:
        raise InputFormatError(f"{path}: no detections in the layout of --format {layout}")
    return sequences


def _sequence(name: str, rows: list[_Row]) -> DetectionSequence:
    rows.sort(key=lambda row: row[0])
    frames = np.array([row[0] for row in rows], dtype=np.int64)
    values = np.array([row[2] for row in rows], dtype=np.float64).reshape(-1, 12)
    boxes = values[:, 5:]
    return DetectionSequence(
        name,
        np.searchsorted(frames, np.arange(int(frames[-1]) + 2 if len(frames) else 1)).astype(np.int64),
        np.array([row[1] for row in rows], dtype=np.int64),
        values[:, :4],
        values[:, 4],
        None if np.isnan(boxes).any() else level_boxes(boxes),
    )


def _pointrcnn(path: Path) -> Iterator[tuple[str, list[_Row]]]:
    """``{Car,Pedestrian,Cyclist}/NNNN.txt``: frame, type, x1 y1 x2 y2, score, h w l, x y z, rotation_y, alpha."""
    kinds = {1: "Pedestrian", 2: "Car", 3: "Cyclist"}
    folders = [path / kind for kind in kinds.values() if (path / kind).is_dir()] or [path]
    for name in sorted({file.stem for folder in folders for file in folder.glob("*.txt")}):
        rows: list[_Row] = []
        for folder in folders:
            file = folder / f"{name}.txt"
            for where, fields in _lines(file, ",") if file.is_file() else ():
                numbers = _numbers(where, fields, (15,))
                if int(numbers[1]) not in kinds:
                    raise InputFormatError(f"{where}: type {fields[1]}: expected 1 pedestrian, 2 car or 3 cyclist")
                class_id = OBJECT_CLASSES.index(OBJECT_OF_KITTI_NAME[kinds[int(numbers[1])]])
                rows.append((_frame(where, numbers[0]), class_id, _checked(where, numbers[2:14])))
        yield name, rows


def _kitti(path: Path) -> Iterator[tuple[str, list[_Row]]]:
    """KITTI object results: one file a frame with 16 columns, a sequence a folder."""
    folders = [path] if any(path.glob("*.txt")) else sorted(folder for folder in path.iterdir() if folder.is_dir())
    for folder in folders:
        rows: list[_Row] = []
        for file in sorted(folder.glob("*.txt")):
            if not file.stem.isdigit():
                raise InputFormatError(f"{file}: expected a frame number as the file's name")
            for where, fields in _lines(file, None):
                rows += _kitti_row(where, int(file.stem), fields, (16,))
        yield folder.name, rows


def _kitti_tracking(path: Path) -> Iterator[tuple[str, list[_Row]]]:
    """KITTI tracking rows, whose ids are not used: frame, id, then an object row with score (18 columns)."""
    for file in [path] if path.is_file() else sorted(path.glob("*.txt")):
        rows: list[_Row] = []
        for where, fields in _lines(file, None):
            if len(fields) < 3:
                raise InputFormatError(f"{where}: expected 18 columns but got {len(fields)}")
            rows += _kitti_row(where, _frame(where, _number(where, fields[0])), fields[2:], (16,))
        yield file.stem, rows


def _kitti_row(where: str, frame: int, fields: list[str], counts: tuple[int, ...]) -> list[_Row]:
    if fields[0] in ("DontCare", "Misc"):
        return []
    if fields[0] not in OBJECT_OF_KITTI_NAME:
        raise InputFormatError(f"{where}: class {fields[0]!r}: expected one of {', '.join(OBJECT_OF_KITTI_NAME)}")
    numbers = _numbers(where, ["0", *fields[1:]], counts)
    has_box = min(numbers[8:11]) > 0.0 and numbers[13] > -1000.0
    values = [*numbers[4:8], numbers[15], *(numbers[8:15] if has_box else _NO_BOX)]
    return [(frame, OBJECT_CLASSES.index(OBJECT_OF_KITTI_NAME[fields[0]]), _checked(where, values, has_box))]


def _mot(path: Path) -> Iterator[tuple[str, list[_Row]]]:
    """MOTChallenge detections: frame, id, left, top, width, height, score; all of them people."""
    pedestrian = OBJECT_CLASSES.index("pedestrian")
    for file in [path] if path.is_file() else sorted(path.glob("*.txt")):
        rows: list[_Row] = []
        for where, fields in _lines(file, ","):
            numbers = _numbers(where, fields, (7, 8, 9, 10))
            left, top, width, height, score = numbers[2:7]
            values = [left, top, left + width, top + height, score, *_NO_BOX]
            rows.append((_frame(where, numbers[0]), pedestrian, _checked(where, values, False)))
        yield file.stem, rows


def _coco(path: Path) -> Iterator[tuple[str, list[_Row]]]:
    """COCO results: a JSON list of image_id, category_id, bbox (left, top, width, height) and score."""
    for file in [path] if path.is_file() else sorted(path.glob("*.json")):
        try:
            entries = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputFormatError(f"{file}: expected a JSON list of results: {error}") from None
        if not isinstance(entries, list):
            raise InputFormatError(f"{file}: expected a JSON list of results but got {type(entries).__name__}")
        rows: list[_Row] = []
        for number, entry in enumerate(entries):
            where = f"{file}: entry {number}"
            try:
                left, top, width, height = (float(value) for value in entry["bbox"])
                category, score, frame = int(entry["category_id"]), float(entry["score"]), float(entry["image_id"])
            except (KeyError, TypeError, ValueError):
                raise InputFormatError(
                    f"{where}: expected image_id, category_id, bbox of four numbers and score but got {entry!r:.200}"
                ) from None
            if _CONTIGUOUS_OF_COCO.get(category) in COCO_TO_OBJECT:
                class_id = OBJECT_CLASSES.index(COCO_TO_OBJECT[_CONTIGUOUS_OF_COCO[category]])
                values = [left, top, left + width, top + height, score, *_NO_BOX]
                rows.append((_frame(where, frame), class_id, _checked(where, values, False)))
        yield file.stem, rows


DETECTION_FORMATS: dict[str, Callable[[Path], Iterator[tuple[str, list[_Row]]]]] = {
    "pointrcnn": _pointrcnn,
    "kitti": _kitti,
    "kitti-tracking": _kitti_tracking,
    "mot": _mot,
    "coco": _coco,
}


def _lines(file: Path, separator: str | None) -> Iterator[tuple[str, list[str]]]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputFormatError(f"{file}: cannot be read as text: {error}") from None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{file}:{number}", line.strip().split(separator)


def _number(where: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputFormatError(f"{where}: expected a number but got {text!r}") from None


def _numbers(where: str, fields: list[str], counts: tuple[int, ...]) -> list[float]:
    if len(fields) not in counts:
        expected = " or ".join(str(count) for count in counts)
        raise InputFormatError(f"{where}: expected {expected} columns but got {len(fields)}")
    return [_number(where, field) for field in fields]


def _frame(where: str, value: float) -> int:
    if not (value >= 0 and value == int(value) and value < 1 << 31):
        raise InputFormatError(f"{where}: frame {value!r}: expected a whole number from 0")
    return int(value)


def _checked(where: str, values: list[float], has_box: bool = True) -> list[float]:
    """Corners in order, finite score, and with a 3D box positive sides."""
    if not all(math.isfinite(value) for value in (values if has_box else values[:5])):
        raise InputFormatError(f"{where}: expected finite numbers but got {values}")
    if values[2] < values[0] or values[3] < values[1]:
        raise InputFormatError(f"{where}: expected x1 <= x2 and y1 <= y2 but got {values[:4]}")
    if has_box and min(values[5:8]) <= 0.0:
        raise InputFormatError(f"{where}: expected positive height, width and length but got {values[5:8]}")
    return values
