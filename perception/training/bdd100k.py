"""The BDD100K layout: ``images/100k/SPLIT``, ``labels/det_20/det_SPLIT.json``, ``labels/sem_seg/masks/SPLIT``.

An image may have boxes, pixels or both. Yu et al., "BDD100K", CVPR 2020; pixels are Cityscapes' training ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from perception.classes import OBJECT_CLASSES, VOID_ID
from perception.errors import DriveError, InputFormatError
from perception.training.labelled_image import (
    FileImages,
    JsonNode,
    LabelledImage,
    known_objects,
    read_class_ids,
    read_json,
    read_rgb,
)
from perception.training.labels import LabelledBoxes
from perception.training.teacher import merge_riders

__all__ = ["bdd100k"]

_OBJECT_OF_CATEGORY = {
    "pedestrian": "pedestrian", "rider": "cyclist", "car": "car", "truck": "truck", "bus": "bus", "train": "tram",
    "motorcycle": "motorcycle", "bicycle": "bicycle", "traffic light": "traffic_light", "traffic sign": "traffic_sign",
    # names of the release of 2018
    "person": "pedestrian", "motor": "motorcycle", "bike": "bicycle",
}  # fmt: skip
_IGNORED_CATEGORIES = ("other vehicle", "other person", "trailer", "caravan")
_TRAINING_CLASSES = 19
_KNOWN = known_objects(
    "car", "truck", "bus", "tram", "motorcycle", "bicycle", "pedestrian", "cyclist", "traffic_light", "traffic_sign"
)


@dataclass(frozen=True, slots=True)
class _Item:
    image: Path
    frame: JsonNode | None
    mask: Path | None


def bdd100k(root: Path, split: str, images: str = "100k") -> FileImages[_Item]:
    """The labelled images of a split, in the order of their names.

    Args:
        root: folder that holds ``images`` and ``labels``.
        split: such as ``train``.
        images: ``100k``, or ``10k`` for the images of the segmentation task.

    Raises:
        DriveError: there are no images.
        InputFormatError: there are no labels, the list of boxes is malformed, or a labelled image is missing.
    """
    folder = root / "images" / images / split
    files = {file.name: file for file in sorted(folder.glob("*.jpg"))}
    if not files:
        raise DriveError(f"{folder}: expected images *.jpg, but found none")
    boxes_file = root / "labels" / "det_20" / f"det_{split}.json"
    masks = {f"{file.stem}.jpg": file for file in sorted((root / "labels" / "sem_seg" / "masks" / split).glob("*.png"))}
    frames: dict[str, JsonNode] = {}
    if boxes_file.is_file() or not masks:
        for frame in read_json(boxes_file).items():
            name = frame.get("name").text()
            frames[name] = frame
            _boxes(frame)
            if name not in files and images == "100k":
                raise InputFormatError(
                    f"{frame.file}: {frame.path}.name: expected an image {folder / name}, but it is missing"
                )
    names = [name for name in files if name in frames or name in masks]
    if not names:
        raise InputFormatError(f"{folder}: expected labels of its images in {boxes_file} or of sem_seg, but found none")
    bare = len(files) - len(names)
    notes = [f"{folder}: {bare} of {len(files)} images have no labels and are left out"] if bare else []
    return FileImages([_Item(files[name], frames.get(name), masks.get(name)) for name in names], _image, notes)


def _image(item: _Item) -> LabelledImage:
    image = read_rgb(item.image)
    semantic = None
    if item.mask is not None:
        ids = read_class_ids(item.mask, image.shape[:2])
        wrong = ids[(ids >= _TRAINING_CLASSES) & (ids != VOID_ID)]
        if wrong.size:
            raise InputFormatError(f"{item.mask}: expected training ids 0 ... 18 or 255 but found {int(wrong[0])}")
        semantic = ids.astype(np.uint8)
    boxes = LabelledBoxes.empty() if item.frame is None else _boxes(item.frame)
    known = _KNOWN if item.frame is not None else np.zeros(len(OBJECT_CLASSES), bool)
    return LabelledImage(f"bdd100k/{item.image.stem}", image, boxes, known, semantic)


def _boxes(frame: JsonNode) -> LabelledBoxes:
    labels = frame.optional("labels")
    corners, class_ids, ignored = [], [], []
    for label in labels.items() if labels is not None else []:
        box = label.optional("box2d")
        if box is None:
            continue  # lanes and drivable areas of the release of 2018
        category = label.get("category").text()
        if category not in _OBJECT_OF_CATEGORY and category not in _IGNORED_CATEGORIES:
            known = ", ".join((*_OBJECT_OF_CATEGORY, *_IGNORED_CATEGORIES))
            raise label.get("category").fail(f"one of {known}")
        x1, y1, x2, y2 = (box.get(key).number() for key in ("x1", "y1", "x2", "y2"))
        if x2 < x1 or y2 < y1:
            raise box.fail("x1 <= x2 and y1 <= y2")
        attributes = label.optional("attributes")
        crowd = attributes.optional("crowd") if attributes is not None else None
        corners.append((x1, y1, x2, y2))
        name = _OBJECT_OF_CATEGORY.get(category)
        class_ids.append(-1 if name is None else OBJECT_CLASSES.index(name))
        ignored.append(name is None or (crowd is not None and bool(crowd.value)))
    found = LabelledBoxes(
        np.array(corners, np.float32).reshape(-1, 4), np.array(class_ids, np.int64), np.array(ignored, bool)
    )
    return _with_whole_cyclists(found)


def _with_whole_cyclists(boxes: LabelledBoxes) -> LabelledBoxes:
    """Joins riders, which BDD100K boxes without what they ride, with it."""
    rider, person = OBJECT_CLASSES.index("cyclist"), OBJECT_CLASSES.index("pedestrian")
    ridden = [OBJECT_CLASSES.index(name) for name in ("bicycle", "motorcycle")]
    parts = np.isin(boxes.class_ids, [rider, *ridden]) & ~boxes.ignored
    as_people = np.where(boxes.class_ids == rider, person, boxes.class_ids)[parts]
    joined, _, class_ids = merge_riders(boxes.boxes_xyxy[parts], np.ones(int(parts.sum()), np.float32), as_people)
    class_ids = np.where(class_ids == person, rider, class_ids)
    return LabelledBoxes(
        np.concatenate([boxes.boxes_xyxy[~parts], joined]),
        np.concatenate([boxes.class_ids[~parts], class_ids]),
        np.concatenate([boxes.ignored[~parts], np.zeros(len(joined), bool)]),
    )
