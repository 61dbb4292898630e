"""The Cityscapes layout: ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`` and ``gtFine/SPLIT/CITY/*_gtFine_*``.

``labelIds.png`` is needed. Instances come from ``instanceIds.png`` or, where that is absent, from ``polygons.json``.
Label ids are those of the published cityscapesScripts; Cordts et al., "The Cityscapes dataset", CVPR 2016.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES, VOID_ID
from perception.errors import DriveError, InputFormatError
from perception.training.labelled_image import (
    FileImages,
    LabelledImage,
    box_of_pixels,
    known_objects,
    read_class_ids,
    read_json,
    read_rgb,
)
from perception.training.labels import LabelledBoxes

__all__ = ["cityscapes", "cityscapes_image"]

_IMAGE_END = "_leftImg8bit"
_SEMANTIC_OF_ID = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light",
    20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck",
    28: "bus", 31: "train", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
_OBJECT_OF_ID = {
    24: "pedestrian", 25: "cyclist", 26: "car", 27: "truck", 28: "bus", 31: "tram", 32: "motorcycle", 33: "bicycle",
}  # fmt: skip
_IGNORED_IDS = (29, 30)  # caravan, trailer
_ID_OF_NAME = {name: label for label, name in _SEMANTIC_OF_ID.items()} | {"caravan": 29, "trailer": 30}
_RIDER_ID, _WHEEL_IDS = 25, (32, 33)
_RIDER_REACH_PX = 5  # between the pixels of a rider and of what is ridden
_SMALL_AREA_PX = 40  # of a light or sign; smaller ones are ignored
_KNOWN = known_objects(
    "car", "truck", "bus", "tram", "motorcycle", "bicycle", "pedestrian", "cyclist", "traffic_light", "traffic_sign"
)


def cityscapes(root: Path, split: str) -> FileImages[Path]:
    """The images of a split, in the order of their names.

    Args:
        root: folder that holds ``leftImg8bit`` and ``gtFine``.
        split: such as ``train``.

    Raises:
        DriveError: there are no images.
    """
    folder = root / "leftImg8bit" / split
    files = sorted(file for file in folder.glob(f"*/*{_IMAGE_END}.*") if file.suffix in (".png", ".jpg"))
    if not files:
        raise DriveError(f"{folder}: expected images CITY/*{_IMAGE_END}.png, but found none")
    return FileImages(files, lambda file: cityscapes_image(root, file))


def cityscapes_image(root: Path, file: Path) -> LabelledImage:
    """One image with its labels.

    Raises:
        InputFormatError: a label file is missing or malformed.
    """
    image = read_rgb(file)
    size_hw = image.shape[:2]
    stem = file.stem.removesuffix(_IMAGE_END)
    labels = root / "gtFine" / file.parent.parent.name / file.parent.name
    ids = read_class_ids(labels / f"{stem}_gtFine_labelIds.png", size_hw)
    table = np.full(1 << 16, VOID_ID, np.uint8)
    for label, name in _SEMANTIC_OF_ID.items():
        table[label] = SEMANTIC_CLASSES.index(name)
    semantic = table[ids]
    instance_file = labels / f"{stem}_gtFine_instanceIds.png"
    polygon_file = labels / f"{stem}_gtFine_polygons.json"
    if instance_file.is_file() or not polygon_file.is_file():
        instance_ids = read_class_ids(instance_file, size_hw)
    else:
        instance_ids = _from_polygons(polygon_file, size_hw)
    boxes, instances = _objects(instance_ids)
    boxes, instances = _with_signs(boxes, instances, semantic)
    return LabelledImage(f"cityscapes/{stem}", image, boxes, _KNOWN, semantic, instances)


def _from_polygons(file: Path, size_hw: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Instance ids as in ``instanceIds.png``: the label's id * 1000 + a number, or the id alone for a group."""
    content = read_json(file)
    height, width = (content.get(key).whole() for key in ("imgHeight", "imgWidth"))
    if (height, width) != size_hw:
        raise InputFormatError(f"{file}: expected labels of {size_hw[1]}x{size_hw[0]} but found {width}x{height}")
    ids = np.zeros(size_hw, np.uint16)
    counts: dict[int, int] = {}
    for thing in content.get("objects").items():
        name = thing.get("label").text()
        corners = [point.numbers(2) for point in thing.get("polygon").items()]
        if not corners:
            raise thing.get("polygon").fail("at least one corner")
        label = _ID_OF_NAME.get(name.removesuffix("group"), 0)
        value = label
        if label in _OBJECT_OF_ID or label in _IGNORED_IDS:
            counts[label] = counts.get(label, -1) + 1
            value = label if name.endswith("group") else label * 1000 + counts[label]
        # what is drawn later lies in front
        cv2.fillPoly(ids, [np.round(corners).astype(np.int32)], value)
    return ids


def _objects(instance_ids: npt.NDArray[np.uint16]) -> tuple[LabelledBoxes, npt.NDArray[np.int32]]:
    """Boxes and rows of the things; a rider takes over the pixels of what is ridden."""
    wheels = [int(value) for value in np.unique(instance_ids) if value // 1000 in _WHEEL_IDS]
    ids = instance_ids.copy()
    for rider in (int(value) for value in np.unique(instance_ids) if value // 1000 == _RIDER_ID):
        near = cv2.dilate((ids == rider).astype(np.uint8), np.ones((2 * _RIDER_REACH_PX + 1,) * 2, np.uint8))
        touched = [int(((ids == wheel) & (near > 0)).sum()) for wheel in wheels]
        if touched and max(touched) > 0:
            ids[ids == wheels.pop(int(np.argmax(touched)))] = rider
    boxes: list[tuple[float, float, float, float]] = []
    class_ids: list[int] = []
    ignored: list[bool] = []
    rows = np.full(ids.shape, -1, np.int32)
    for value in np.unique(ids):
        label = int(value // 1000 if value >= 1000 else value)
        if label not in _OBJECT_OF_ID and label not in _IGNORED_IDS:
            continue
        mask = ids == value
        box = box_of_pixels(mask)
        if box is None:
            continue
        is_group = value < 1000 or label in _IGNORED_IDS
        rows[mask] = len(boxes)
        boxes.append(box)
        # who is in a group is not told apart; a caravan is no class of ours, but no background either
        class_ids.append(OBJECT_CLASSES.index(_OBJECT_OF_ID[label]) if label in _OBJECT_OF_ID else -1)
        ignored.append(is_group)
    found = LabelledBoxes(
        np.array(boxes, np.float32).reshape(-1, 4), np.array(class_ids, np.int64), np.array(ignored, bool)
    )
    return found, rows


def _with_signs(
    boxes: LabelledBoxes, instances: npt.NDArray[np.int32], semantic: npt.NDArray[np.uint8]
) -> tuple[LabelledBoxes, npt.NDArray[np.int32]]:
    """Adds lights and signs, of which Cityscapes draws pixels only, as connected regions."""
    corners, class_ids, ignored = [boxes.boxes_xyxy], [boxes.class_ids], [boxes.ignored]
    rows, count = instances.copy(), len(boxes.class_ids)
    for thing, name in (("traffic_light", "traffic light"), ("traffic_sign", "traffic sign")):
        mask = (semantic == SEMANTIC_CLASSES.index(name)).astype(np.uint8)
        regions, region_of_pixel, stats, _ = cv2.connectedComponentsWithStats(mask)
        left, top, width, height, area = stats[1:].T
        corners.append(np.stack([left, top, left + width, top + height], axis=1).astype(np.float32))
        class_ids.append(np.full(regions - 1, OBJECT_CLASSES.index(thing), np.int64))
        ignored.append(area < _SMALL_AREA_PX)
        rows[mask > 0] = count + region_of_pixel[mask > 0] - 1
        count += regions - 1
    return LabelledBoxes(np.concatenate(corners), np.concatenate(class_ids), np.concatenate(ignored)), rows
