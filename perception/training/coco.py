"""COCO's JSON: detection boxes, and instances as polygons or run lengths. Lin et al., "Microsoft COCO", ECCV 2014."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES, SEMANTIC_OF_OBJECT, VOID_ID
from perception.errors import ConfigError, InputFormatError
from perception.kernels.masks import rle_decode
from perception.training.labelled_image import FileImages, JsonNode, LabelledImage, read_json, read_rgb
from perception.training.labels import LabelledBoxes

__all__ = ["IGNORED", "coco", "run_lengths_of_text"]

IGNORED = "ignored"
"""In place of a class: objects of the category are neither objects nor background."""


@dataclass(frozen=True, slots=True)
class _Object:
    node: JsonNode
    box_xywh: npt.NDArray[np.float64]
    class_id: int
    ignored: bool


@dataclass(frozen=True, slots=True)
class _Item:
    file: Path
    size_hw: tuple[int, int]
    objects: tuple[_Object, ...]
    known: npt.NDArray[np.bool_]


def coco(images: Path, annotations: Path, classes: Mapping[str, str]) -> FileImages[_Item]:
    """The images that a COCO file lists, in its order.

    Args:
        images: folder of the images.
        annotations: the JSON file.
        classes: name in ``OBJECT_CLASSES``, or ``ignored``, of each category that counts; other categories are
            background.

    Raises:
        ConfigError: a class is unknown, or a category is not in the file.
        InputFormatError: the file is malformed, or an image is missing.
    """
    content = read_json(annotations)
    class_of_category = _categories(content, classes)
    mapped = set(classes.values()) - {IGNORED}
    known = np.array([name in mapped for name in OBJECT_CLASSES])
    objects: dict[int, list[_Object]] = {}
    listed = content.get("images").items()
    for image in listed:
        objects[image.get("id").whole()] = []
    for node in content.get("annotations").items():
        category = node.get("category_id").whole()
        if category not in class_of_category:
            raise node.get("category_id").fail("the id of a category in the file")
        owner = node.get("image_id").whole()
        if owner not in objects:
            raise node.get("image_id").fail("the id of an image in the file")
        name = class_of_category[category]
        box = node.get("bbox").numbers(4)
        if (box[2:] < 0).any():
            raise node.get("bbox").fail("x, y, width and height, neither negative")
        if name is None:
            continue
        crowd = node.optional("iscrowd")
        ignored = name == IGNORED or (crowd is not None and crowd.whole() == 1)
        class_id = -1 if name == IGNORED else OBJECT_CLASSES.index(name)
        objects[owner].append(_Object(node, box, class_id, ignored))
    items = []
    for image in listed:
        file = images / image.get("file_name").text()
        if not file.is_file():
            raise InputFormatError(f"{annotations}: {image.path[1:]}: expected an image {file}, but it is missing")
        size_hw = (image.get("height").whole(), image.get("width").whole())
        items.append(_Item(file, size_hw, tuple(objects[image.get("id").whole()]), known))
    if not items:
        raise content.get("images").fail("at least one image")
    return FileImages(items, _image)


def _categories(content: JsonNode, classes: Mapping[str, str]) -> dict[int, str | None]:
    for category, name in classes.items():
        if name != IGNORED and name not in OBJECT_CLASSES:
            raise ConfigError(
                f"classes.{category} = {name!r}: expected {IGNORED!r} or one of {', '.join(OBJECT_CLASSES)}"
            )
    found = {node.get("id").whole(): node.get("name").text() for node in content.get("categories").items()}
    absent = set(classes) - set(found.values())
    if absent:
        raise ConfigError(
            f"classes.{min(absent)}: {content.file} has no such category; it has {', '.join(found.values())}"
        )
    return {category: classes.get(name) for category, name in found.items()}


def _image(item: _Item) -> LabelledImage:
    image = read_rgb(item.file)
    if image.shape[:2] != item.size_hw:
        raise InputFormatError(
            f"{item.file}: expected {item.size_hw[1]}x{item.size_hw[0]} as its annotations say but found "
            f"{image.shape[1]}x{image.shape[0]}"
        )
    corners = [(*each.box_xywh[:2], *(each.box_xywh[:2] + each.box_xywh[2:])) for each in item.objects]
    boxes = LabelledBoxes(
        np.array(corners, np.float32).reshape(-1, 4),
        np.array([each.class_id for each in item.objects], np.int64),
        np.array([each.ignored for each in item.objects], bool),
    )
    source = f"coco/{item.file.stem}"
    masks = [_mask(each.node, item.size_hw) for each in item.objects]
    if not item.objects or any(mask is None for mask in masks):
        return LabelledImage(source, image, boxes, item.known)
    instances = np.full(item.size_hw, -1, np.int32)
    semantic = np.full(item.size_hw, VOID_ID, np.uint8)
    # small objects lie on top of large ones
    areas = [0 if mask is None else int(mask.sum()) for mask in masks]
    for row in np.argsort(areas, kind="stable")[::-1]:
        mask, each = masks[row], item.objects[row]
        if mask is None:
            continue
        instances[mask] = row
        is_thing = each.class_id >= 0 and not each.ignored
        name = SEMANTIC_OF_OBJECT[OBJECT_CLASSES[each.class_id]] if is_thing else None
        semantic[mask] = VOID_ID if name is None else SEMANTIC_CLASSES.index(name)
    return LabelledImage(source, image, boxes, item.known, semantic, instances)


def _mask(node: JsonNode, size_hw: tuple[int, int]) -> npt.NDArray[np.bool_] | None:
    """(H, W) pixels of an object, or None where only its box is known."""
    segmentation = node.optional("segmentation")
    if segmentation is None or segmentation.value == []:
        return None
    if isinstance(segmentation.value, list):
        mask = np.zeros(size_hw, np.uint8)
        for polygon in segmentation.items():
            values = polygon.numbers()
            if len(values) < 6 or len(values) % 2:
                raise polygon.fail("x and y of at least three corners")
            # corners are in continuous coordinates: the first pixel's centre is at 0.5
            cv2.fillPoly(mask, [np.round(values.reshape(-1, 2) - 0.5).astype(np.int32)], 1)
        return mask.astype(bool)
    size = segmentation.get("size").numbers(2)
    if tuple(size) != size_hw:
        raise segmentation.get("size").fail(f"[{size_hw[0]}, {size_hw[1]}] as the image")
    counts = segmentation.get("counts")
    if isinstance(counts.value, str):
        lengths = run_lengths_of_text(counts)
    else:
        lengths = counts.numbers().astype(np.int64)
    if (lengths < 0).any() or lengths.sum() != size_hw[0] * size_hw[1]:
        raise counts.fail(f"run lengths of {size_hw[0] * size_hw[1]} pixels together")
    return rle_decode(lengths, *size_hw).astype(bool)


def run_lengths_of_text(node: JsonNode) -> npt.NDArray[np.int64]:
    """Run lengths of COCO's compressed text.

    Each number is a series of characters: five bits from the lowest up, bit 6 says that more follow, 48 is added. From
    the third on a number is the difference to the one before the last.
    """
    lengths: list[int] = []
    value, shift = 0, 0
    for character in node.text():
        code = ord(character) - 48
        if not 0 <= code < 64:
            raise node.fail("compressed run lengths")
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise node.fail("compressed run lengths, but the last is not complete")
    return np.array(lengths, np.int64)
