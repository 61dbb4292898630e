"""Training images with the labels that each data set has; what it lacks is marked as unknown, never as absent.

Everything is decoded and reduced once and kept in memory as bytes, since decoding again would slow every step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import CAMVID_CLASSES, OBJECT_CLASSES, OBJECT_OF_KITTI_NAME, VOID_ID
from perception.errors import DriveError, InputFormatError
from perception.training.teacher import LabelledBoxes, YoloxTeacher

__all__ = ["NOT_A_THING", "Sample", "camvid_samples", "kitti_object_samples", "unlabelled_samples"]

NOT_A_THING = 254
"""Semantic label of a pixel known to show no road user, and nothing else known of it."""

_THING_OF_OBJECT = {
    "car": "car", "van": "car", "truck": "car", "bus": "car", "pedestrian": "pedestrian", "cyclist": "bicyclist",
}  # fmt: skip
_MODERATE_OCCLUSION = 1
_MODERATE_TRUNCATION = 0.3
_MIN_SIGN_AREA_PX = 40
_MIN_CYCLIST_AREA_PX = 120


@dataclass(frozen=True, slots=True)
class Sample:
    """One training image.

    Attributes:
        source: data set and frame.
        image_rgb: (H, W, 3) u8.
        semantic: (H, W) u8 CamVid class ids, ``NOT_A_THING``, or 255 where unknown.
        semantic_is_drawn: whether people drew it, rather than it being derived from boxes.
        boxes: objects and ignored regions.
        known_classes: (C,) bool: for which object classes a place without a box is background.
        scale: of ``image_rgb`` at which the network will see this camera.
        hard: (N,) bool: boxes occluded or truncated beyond KITTI's moderate level, or None where unknown.
    """

    source: str
    image_rgb: npt.NDArray[np.uint8]
    semantic: npt.NDArray[np.uint8]
    semantic_is_drawn: bool
    boxes: LabelledBoxes
    known_classes: npt.NDArray[np.bool_]
    scale: float
    hard: npt.NDArray[np.bool_] | None = None


def read_image(file: Path) -> npt.NDArray[np.uint8]:
    """(H, W, 3) RGB.

    Raises:
        DriveError: the file holds no readable image.
    """
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise DriveError(f"{file}: expected an image, but it cannot be decoded")
    return np.ascontiguousarray(image[:, :, ::-1])


def camvid_samples(root: Path, split: str, teacher: YoloxTeacher | None) -> Iterator[Sample]:
    """CamVid in the form published with SegNet: ``<split>/NAME.jpg`` and ``<split>annot/NAME.png``.

    Signs and cyclists come from the drawn pixels, everything else from the teacher.
    """
    known = np.array([name != "van" for name in OBJECT_CLASSES])
    for file in _images(root / split):
        annotation = root / f"{split}annot" / f"{file.stem}.png"
        drawn = cv2.imread(str(annotation), cv2.IMREAD_GRAYSCALE)
        image = read_image(file)
        if drawn is None or drawn.shape != image.shape[:2]:
            raise InputFormatError(f"{annotation}: expected class ids of {image.shape[1]}x{image.shape[0]} pixels")
        if drawn.max() > len(CAMVID_CLASSES):
            raise InputFormatError(f"{annotation}: expected class ids 0 ... 11 but found {drawn.max()}")
        semantic = np.where(drawn == len(CAMVID_CLASSES), VOID_ID, drawn).astype(np.uint8)
        boxes = _empty_boxes()
        if teacher is not None:
            boxes = teacher.label(image, (image.shape[1], image.shape[1] * 2), tiles=0)
            boxes = _boxes_from_pixels(boxes, semantic)
        yield Sample(f"camvid/{file.stem}", image, semantic, True, boxes, known, 1.1)


def kitti_object_samples(
    root: Path, teacher: YoloxTeacher | None, hold_out_every: int, held_out: bool
) -> Iterator[Sample]:
    """KITTI object frames with their labels; classes that KITTI does not label come from the teacher.

    Args:
        root: the folder that holds ``image_2`` and ``label_2``.
        teacher: detector for the other classes, or None.
        hold_out_every: every so many frames is kept apart; 0 keeps none.
        held_out: gives the frames kept apart instead of the others.
    """
    labelled = {OBJECT_CLASSES.index(name) for name in OBJECT_OF_KITTI_NAME.values()}
    known = np.array([name != "traffic_sign" for name in OBJECT_CLASSES])
    for index, file in enumerate(_images(root / "image_2")):
        if (hold_out_every > 0 and index % hold_out_every == hold_out_every - 1) != held_out:
            continue
        image = read_image(file)
        boxes, hard = _kitti_boxes(root / "label_2" / f"{file.stem}.txt")
        if teacher is not None:
            taught = teacher.label(image, (832, image.shape[1]), tiles=3)
            others = ~np.isin(taught.class_ids, list(labelled))
            boxes = _joined(boxes, _rows(taught, others))
        yield Sample(
            f"kitti_object/{file.stem}",
            image,
            _semantic_from_boxes(image, boxes),
            False,
            boxes,
            known,
            832 / 1242,
            np.pad(hard, (0, len(boxes.ignored) - len(hard))),
        )


def unlabelled_samples(
    folder: Path, name: str, teacher: YoloxTeacher, width_px: int, network_width_px: int, every: int = 1
) -> Iterator[Sample]:
    """Images without any label, reduced to ``width_px`` wide; boxes come from the teacher."""
    known = np.array([name not in ("traffic_sign", "van") for name in OBJECT_CLASSES])
    for file in _images(folder)[::every]:
        image = read_image(file)
        boxes = teacher.label(image, (832, 1248), tiles=3)
        scale = width_px / image.shape[1]
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            boxes = LabelledBoxes(boxes.boxes_xyxy * np.float32(scale), boxes.class_ids, boxes.ignored)
        semantic = _semantic_from_boxes(image, boxes)
        yield Sample(f"{name}/{file.stem}", image, semantic, False, boxes, known, network_width_px / image.shape[1])


def _images(folder: Path) -> list[Path]:
    files = sorted(file for file in folder.glob("*") if re.fullmatch(r"\.(jpe?g|png)", file.suffix.lower()))
    if not files:
        raise DriveError(f"{folder}: expected a folder of images, but found none")
    return files


def _kitti_boxes(file: Path) -> tuple[LabelledBoxes, npt.NDArray[np.bool_]]:
    boxes, class_ids, ignored, hard = [], [], [], []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        try:
            truncation, occlusion, _, *box = (float(value) for value in fields[1:8])
        except ValueError:
            box = []
        if len(box) != 4:
            raise InputFormatError(f"{file}:{number}: expected a KITTI label row of 15 columns but found {line!r}")
        name = OBJECT_OF_KITTI_NAME.get(fields[0])
        boxes.append(box)
        class_ids.append(-1 if name is None else OBJECT_CLASSES.index(name))
        ignored.append(name is None)
        hard.append(truncation > _MODERATE_TRUNCATION or occlusion > _MODERATE_OCCLUSION)
    found = LabelledBoxes(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(class_ids, np.int64), np.array(ignored, bool)
    )
    return found, np.array(hard, bool)


def _semantic_from_boxes(image: npt.NDArray[np.uint8], boxes: LabelledBoxes) -> npt.NDArray[np.uint8]:
    """What boxes say of pixels: no thing outside all of them, the thing itself in the core of a box nobody overlaps."""
    semantic = np.full(image.shape[:2], NOT_A_THING, np.uint8)
    order = np.argsort(boxes.boxes_xyxy[:, 3], kind="stable")
    limits = boxes.boxes_xyxy.round().astype(int).clip(0)
    margin = 3
    for x1, y1, x2, y2 in limits:
        semantic[max(0, y1 - margin) : y2 + margin, max(0, x1 - margin) : x2 + margin] = VOID_ID
    for row in order:
        x1, y1, x2, y2 = limits[row]
        # a nearer object reaches lower in the image and hides what is behind it
        semantic[y1:y2, x1:x2] = VOID_ID
        thing = None if boxes.ignored[row] else _THING_OF_OBJECT.get(OBJECT_CLASSES[boxes.class_ids[row]])
        if thing is None:
            continue
        side, above, below = (0.22, 0.3, 0.25) if thing == "car" else (0.38, 0.15, 0.35)
        width, height = x2 - x1, y2 - y1
        core = np.s_[
            int(y1 + above * height) : int(y2 - below * height), int(x1 + side * width) : int(x2 - side * width)
        ]
        semantic[core] = CAMVID_CLASSES.index(thing)
    return semantic


def _boxes_from_pixels(taught: LabelledBoxes, semantic: npt.NDArray[np.uint8]) -> LabelledBoxes:
    """Adds signs and cyclists as connected regions of their pixels, and drops what the teacher calls them."""
    riders = semantic == CAMVID_CLASSES.index("bicyclist")
    keep = np.ones(len(taught.boxes_xyxy), bool)
    for row, (x1, y1, x2, y2) in enumerate(taught.boxes_xyxy.round().astype(int)):
        if OBJECT_CLASSES[taught.class_ids[row]] in ("pedestrian", "cyclist", "bicycle", "motorcycle"):
            inside = riders[max(0, y1) : y2, max(0, x1) : x2]
            keep[row] = inside.size > 0 and inside.mean() < 0.15
    parts = [_rows(taught, keep)]
    for name, camvid, least_px in (
        ("traffic_sign", "sign", _MIN_SIGN_AREA_PX),
        ("cyclist", "bicyclist", _MIN_CYCLIST_AREA_PX),
    ):
        count, _, stats, _ = cv2.connectedComponentsWithStats(
            (semantic == CAMVID_CLASSES.index(camvid)).astype(np.uint8)
        )
        if count > 1:
            stats = stats[1:]
            boxes = np.stack(
                [stats[:, 0], stats[:, 1], stats[:, 0] + stats[:, 2], stats[:, 1] + stats[:, 3]], axis=1
            ).astype(np.float32)
            small = stats[:, 4] < least_px
            parts.append(LabelledBoxes(boxes, np.full(len(boxes), OBJECT_CLASSES.index(name), np.int64), small))
    # the published form has one class for signs and lights: a light may have been drawn as a sign
    lights = OBJECT_CLASSES.index("traffic_light")
    signs = parts[1] if len(parts) > 1 else _empty_boxes()
    as_lights = LabelledBoxes(
        signs.boxes_xyxy, np.full(len(signs.class_ids), lights), np.ones(len(signs.ignored), bool)
    )
    return _joined(*parts, as_lights)


def _empty_boxes() -> LabelledBoxes:
    return LabelledBoxes(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))


def _rows(boxes: LabelledBoxes, rows: npt.NDArray[np.bool_]) -> LabelledBoxes:
    return LabelledBoxes(boxes.boxes_xyxy[rows], boxes.class_ids[rows], boxes.ignored[rows])


def _joined(*parts: LabelledBoxes) -> LabelledBoxes:
    return LabelledBoxes(
        np.concatenate([part.boxes_xyxy for part in parts]),
        np.concatenate([part.class_ids for part in parts]),
        np.concatenate([part.ignored for part in parts]),
    )
