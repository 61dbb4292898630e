"""KITTI label and result rows, object and tracking, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake
from perception.evaluation.readers_text import TextTable, nearest, read_table, read_tables

__all__ = ["KITTI_CLASSES", "NEIGHBOURS", "KittiRows", "kitti_class_id", "read_object_files", "read_tracking_file"]

Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

KITTI_CLASSES = ("Car", "Van", "Truck", "Pedestrian", "Person_sitting", "Cyclist", "Tram", "Misc", "DontCare")

# objects too like a class to count a detection of them as false
NEIGHBOURS: dict[str, tuple[str, ...]] = {"Car": ("Van",), "Pedestrian": ("Person_sitting",)}

# the devkits compare without case, and the tracking labels shorten Person_sitting
_ID_OF_NAME = {name.lower(): k for k, name in enumerate(KITTI_CLASSES)} | {
    "person": KITTI_CLASSES.index("Person_sitting")
}

_OBJECT_COLUMNS = (
    "type", "truncated", "occluded", "alpha", "x1", "y1", "x2", "y2", "height", "width", "length", "x", "y", "z",
    "rotation_y", "score",
)  # fmt: skip
_TRACKING_COLUMNS = ("frame", "track id", *_OBJECT_COLUMNS)


@dataclass(frozen=True, slots=True, eq=False)
class KittiRows:
    """Rows of one or many files, by frame, in KITTI's own conventions.

    Attributes:
        frames: (N,) i64, not falling.
        track_ids: (N,) i64; -1 for object rows and DontCare.
        class_ids: (N,) i64 into ``KITTI_CLASSES``.
        truncations: (N,) f64.
        occlusions: (N,) i64.
        alphas: (N,) f64 rad.
        boxes_xyxy: (N, 4) f64 px.
        sizes_hwl: (N, 3) f64 m.
        locations_cam: (N, 3) f64 m, bottom centre in the camera frame.
        rotations_y: (N,) f64 rad.
        scores: (N,) f64; NaN where the row has none.
    """

    frames: Int64Array
    track_ids: Int64Array
    class_ids: Int64Array
    truncations: Float64Array
    occlusions: Int64Array
    alphas: Float64Array
    boxes_xyxy: Float64Array
    sizes_hwl: Float64Array
    locations_cam: Float64Array
    rotations_y: Float64Array
    scores: Float64Array

    def __len__(self) -> int:
        return len(self.frames)

    def select(self, rows: BoolArray | Int64Array) -> KittiRows:
        """The given rows, by mask or index."""
        return KittiRows(*(getattr(self, field.name)[rows] for field in fields(self)))

    def with_frames(self, frames: Int64Array) -> KittiRows:
        """The same rows under other frame numbers, which must not fall."""
        return replace(self, frames=frames)

    def starts(self, frame_count: int) -> Int64Array:
        """(F + 1) where each frame begins."""
        return np.searchsorted(self.frames, np.arange(frame_count + 1))

    @property
    def has_3d(self) -> BoolArray:
        """(N,) whether a row carries a 3D box: KITTI writes -1000 for an unknown location and -1 for a size."""
        return np.asarray((self.locations_cam[:, 0] != -1000) & (self.sizes_hwl > 0).all(axis=1))

    @property
    def boxes3d(self) -> Float64Array:
        """(N, 7) x, y, z, length, width, height, yaw with z up, for the overlap kernels.

        The camera's x and z become x and y of the ground and -y is up, so a rotation about y turns the other way.
        """
        x, y, z = self.locations_cam.T
        height, width, length = self.sizes_hwl.T
        return np.stack([x, z, 0.5 * height - y, length, width, height, -self.rotations_y], axis=1)

    @classmethod
    def concatenate(cls, parts: Sequence[KittiRows]) -> KittiRows:
        """The rows of several parts, one after the other."""
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))

    @classmethod
    def empty(cls) -> KittiRows:
        """No row."""
        none = np.zeros(0, np.int64)
        return _rows(np.zeros((0, len(_OBJECT_COLUMNS) - 1)), none, none, none)


def kitti_class_id(name: str) -> int:
    """Index of a class name in ``KITTI_CLASSES``, in any case.

    Raises:
        InputFormatError: no such class.
    """
    class_id = _ID_OF_NAME.get(name.lower())
    if class_id is None:
        raise InputFormatError(
            f"unknown class {name!r}{nearest(name, KITTI_CLASSES)}; KITTI has {', '.join(KITTI_CLASSES)}"
        )
    return class_id


def _rows(numbers: Float64Array, frames: Int64Array, track_ids: Int64Array, class_ids: Int64Array) -> KittiRows:
    return KittiRows(
        frames,
        track_ids,
        class_ids,
        numbers[:, 0],
        numbers[:, 1].astype(np.int64),
        numbers[:, 2],
        numbers[:, 3:7],
        numbers[:, 7:10],
        numbers[:, 10:13],
        numbers[:, 13],
        numbers[:, 14],
    )


def _checked(table: TextTable, numbers: Float64Array, intake: Intake) -> tuple[Int64Array, BoolArray]:
    """Class ids, and which rows break a rule of both formats."""
    known = np.array([_ID_OF_NAME.get(word.lower(), -1) for word in table.vocabulary] or [-1], np.int64)
    class_ids = known[table.word_ids]
    bad = class_ids < 0
    for row in np.flatnonzero(bad):
        word = table.word(int(row))
        intake.refuse(
            "row of unknown class",
            f"{table.where(int(row))}: unknown class {word!r}{nearest(word, KITTI_CLASSES)}; "
            f"KITTI has {', '.join(KITTI_CLASSES)}",
        )
    inverted = ~bad & ((numbers[:, 5] < numbers[:, 3]) | (numbers[:, 6] < numbers[:, 4]))
    for row in np.flatnonzero(inverted):
        intake.refuse(
            "inverted box",
            f"{table.where(int(row))}: a box needs x1 <= x2 and y1 <= y2 but is {numbers[row, 3:7].tolist()}",
        )
    return class_ids, bad | inverted


def read_object_files(paths: Sequence[Path], intake: Intake, *, scored: bool) -> KittiRows:
    """Rows of KITTI object label files (15 columns) or result files (16 with the score).

    Args:
        paths: ``label_2/000000.txt`` and so on; a row's frame is the place of its file.
        intake: what to do with rows that break the rules.
        scored: result files, whose score is not optional. A score in a label file is passed over.

    Raises:
        InputFormatError: see ``Intake``.
    """
    table = read_tables(
        paths,
        _OBJECT_COLUMNS,
        intake,
        word_column=0,
        optional=0 if scored else 1,
        what="KITTI object result row (with score)" if scored else "KITTI object label row",
    )
    class_ids, bad = _checked(table, table.numbers, intake)
    keep = ~bad
    return _rows(table.numbers[keep], table.file_ids[keep], np.full(int(keep.sum()), -1), class_ids[keep])


def read_tracking_file(path: Path, intake: Intake) -> KittiRows:
    """Rows of a KITTI tracking label (17 columns) or result file (17, or 18 with a score), sorted by frame.

    Raises:
        InputFormatError: see ``Intake``.
    """
    table = read_table(path, _TRACKING_COLUMNS, intake, word_column=2, optional=1, what="KITTI tracking row")
    numbers = table.numbers[:, 2:]
    class_ids, bad = _checked(table, numbers, intake)
    dont_care = class_ids == KITTI_CLASSES.index("DontCare")
    for column, name, least in ((0, "frame", np.zeros(len(table))), (1, "track id", np.where(dont_care, -1, 0))):
        values = table.numbers[:, column]
        wrong = ~bad & ((values != np.floor(values)) | (values < least))
        for row in np.flatnonzero(wrong):
            intake.refuse(
                f"row with a bad {name}",
                f"{table.where(int(row))}: the {name} must be a whole number from {int(least[row])} "
                f"but is {values[row]:g}",
            )
        bad = bad | wrong
    keep = ~bad
    frames = table.numbers[keep, 0].astype(np.int64)
    rows = _rows(numbers[keep], frames, table.numbers[keep, 1].astype(np.int64), class_ids[keep])
    return rows if (np.diff(frames) >= 0).all() else rows.select(np.argsort(frames, kind="stable"))
