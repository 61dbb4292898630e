"""Other people's data sets, written small: their labels arrive in the project's classes, and faults are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES, VOID_ID
from perception.errors import ConfigError, DriveError, InputFormatError
from perception.training.bdd100k import bdd100k
from perception.training.cityscapes import cityscapes
from perception.training.coco import coco
from perception.training.labelled_image import LabelledImage

SIZE_HW = (60, 100)


def names_of(image: LabelledImage) -> list[str]:
    return [OBJECT_CLASSES[class_id] if class_id >= 0 else "-" for class_id in image.boxes.class_ids]


def write_image(file: Path, content: np.ndarray | None = None) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(file), np.full((*SIZE_HW, 3), 90, np.uint8) if content is None else content)


def semantic_at(image: LabelledImage, v: int, u: int) -> str:
    assert image.semantic is not None
    class_id = int(image.semantic[v, u])
    return "void" if class_id == VOID_ID else SEMANTIC_CLASSES[class_id]


@pytest.fixture
def city(tmp_path: Path) -> Path:
    """A street: a car, a group of people, a cyclist on a bicycle, a parked bicycle, a sign and a speck of one."""
    stem = "aachen_000000_000019"
    write_image(tmp_path / "leftImg8bit" / "train" / "aachen" / f"{stem}_leftImg8bit.png")
    instances = np.full(SIZE_HW, 7, np.uint16)
    instances[:10] = 23
    instances[20:40, 10:30] = 26000
    instances[20:40, 40:50] = 24
    instances[20:40, 60:66] = 25003
    instances[38:50, 58:70] = 33001
    instances[38:50, 80:92] = 33000
    instances[12:19, 94:100] = 20
    instances[5, 5] = 20
    labels = np.where(instances >= 1000, instances // 1000, instances)
    labels[55:] = 0
    folder = tmp_path / "gtFine" / "train" / "aachen"
    write_image(folder / f"{stem}_gtFine_labelIds.png", labels.astype(np.uint8))
    write_image(folder / f"{stem}_gtFine_instanceIds.png", instances)
    return tmp_path


def test_cityscapes_instances_and_pixels(city: Path) -> None:
    (image,) = cityscapes(city, "train")
    assert image.source == "cityscapes/aachen_000000_000019"
    found = dict(zip(map(tuple, image.boxes.boxes_xyxy.astype(int).tolist()), names_of(image), strict=True))
    assert found == {
        (10, 20, 30, 40): "car",
        (40, 20, 50, 40): "pedestrian",
        (58, 20, 70, 50): "cyclist",
        (80, 38, 92, 50): "bicycle",
        (94, 12, 100, 19): "traffic_sign",
        (5, 5, 6, 6): "traffic_sign",
    }
    # a group and a speck are neither objects nor background
    assert [found[tuple(box)] for box in image.boxes.boxes_xyxy[image.boxes.ignored].astype(int).tolist()] == [
        "pedestrian", "traffic_sign",
    ]  # fmt: skip
    assert [semantic_at(image, *place) for place in ((30, 20), (45, 60), (2, 50), (57, 3), (52, 3))] == [
        "car", "bicycle", "sky", "void", "road",
    ]  # fmt: skip
    assert image.instances is not None
    for row, box in enumerate(image.boxes.boxes_xyxy.astype(int)):
        rows, columns = np.nonzero(image.instances == row)
        assert [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] == box.tolist()
    assert image.instances[50, 50] == -1
    assert not image.known_objects[OBJECT_CLASSES.index("van")]


def test_cityscapes_polygons_stand_in_for_instances(city: Path) -> None:
    folder = city / "gtFine" / "train" / "aachen"
    (folder / "aachen_000000_000019_gtFine_instanceIds.png").unlink()
    polygons = folder / "aachen_000000_000019_gtFine_polygons.json"
    things = [
        {"label": "road", "polygon": [[0, 0], [99, 0], [99, 59], [0, 59]]},
        {"label": "car", "polygon": [[10, 20], [29, 20], [29, 39], [10, 39]]},
        {"label": "cargroup", "polygon": [[40, 20], [49, 20], [49, 39], [40, 39]]},
        {"label": "car", "polygon": [[20, 30], [39, 30], [39, 39], [20, 39]]},
    ]
    polygons.write_text(json.dumps({"imgHeight": 60, "imgWidth": 100, "objects": things}), encoding="utf-8")
    (image,) = cityscapes(city, "train")
    cars = [row for row, name in enumerate(names_of(image)) if name == "car"]
    assert image.boxes.boxes_xyxy[cars].astype(int).tolist() == [[40, 20, 50, 40], [10, 20, 30, 40], [20, 30, 40, 40]]
    assert image.boxes.ignored[cars].tolist() == [True, False, False]
    things[1]["polygon"] = [[10, 20], [29, "x"]]
    polygons.write_text(json.dumps({"imgHeight": 60, "imgWidth": 100, "objects": things}), encoding="utf-8")
    with pytest.raises(
        InputFormatError, match=r'polygons\.json: objects\[1\]\.polygon\[1\]\[1\]: expected a number but .*"x"'
    ):
        list(cityscapes(city, "train"))
    polygons.write_text('{\n"imgHeight": 60,\n"imgWidth" 100}', encoding="utf-8")
    with pytest.raises(InputFormatError, match=r"polygons\.json:3: expected JSON: Expecting ':' delimiter"):
        list(cityscapes(city, "train"))


def test_cityscapes_without_labels_is_refused(city: Path) -> None:
    folder = city / "gtFine" / "train" / "aachen"
    labels = folder / "aachen_000000_000019_gtFine_labelIds.png"
    write_image(labels, np.zeros((30, 100), np.uint8))
    with pytest.raises(InputFormatError, match=r"labelIds\.png: expected 100x60 pixels of ids .* shape \(30, 100\)"):
        list(cityscapes(city, "train"))
    labels.unlink()
    with pytest.raises(InputFormatError, match=r"labelIds\.png: .* is missing"):
        list(cityscapes(city, "train"))
    with pytest.raises(DriveError, match="expected images CITY"):
        cityscapes(city, "val")


def bdd_frame(name: str, *labels: tuple[str, list[float]], **attributes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "labels": [
            {
                "category": category,
                "box2d": dict(zip(("x1", "y1", "x2", "y2"), box, strict=True)),
                "attributes": attributes,
            }
            for category, box in labels
        ],
    }


@pytest.fixture
def bdd(tmp_path: Path) -> Path:
    for name in ("a", "b", "c", "d"):
        write_image(tmp_path / "images" / "100k" / "train" / f"{name}.jpg")
    frames = [
        bdd_frame("a.jpg", ("car", [10, 20, 30, 40]), ("rider", [50, 10, 56, 30]), ("bicycle", [48, 22, 60, 36])),
        bdd_frame("b.jpg", ("trailer", [1, 2, 3, 4]), ("pedestrian", [5, 5, 9, 20]), crowd=True),
        {"name": "c.jpg", "labels": None},
    ]
    write_frames(tmp_path, frames)
    mask = np.full(SIZE_HW, 255, np.uint8)
    mask[20:40, 10:30] = 13
    write_image(tmp_path / "labels" / "sem_seg" / "masks" / "train" / "a.png", mask)
    return tmp_path


def write_frames(root: Path, frames: Any) -> None:
    file = root / "labels" / "det_20" / "det_train.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(frames), encoding="utf-8")


def test_bdd100k_boxes_and_pixels(bdd: Path) -> None:
    images = bdd100k(bdd, "train")
    first, second, third = images
    assert names_of(first) == ["car", "cyclist"]
    assert first.boxes.boxes_xyxy.tolist() == [[10, 20, 30, 40], [48, 10, 60, 36]]
    assert (semantic_at(first, 30, 20), semantic_at(first, 5, 5)) == ("car", "void")
    assert names_of(second) == ["-", "pedestrian"]
    assert second.boxes.ignored.all()
    assert second.semantic is None
    assert len(third.boxes.class_ids) == 0
    assert third.known_objects[OBJECT_CLASSES.index("car")]
    assert images.notes == (f"{bdd / 'images' / '100k' / 'train'}: 1 of 4 images have no labels and are left out",)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ({"frames": []}, r"det_train\.json: the file: expected a list"),
        (
            [bdd_frame("a.jpg", ("cow", [1, 2, 3, 4]))],
            r"\[0\]\.labels\[0\]\.category: expected one of pedestrian, .*cow",
        ),
        ([bdd_frame("a.jpg", ("car", [9, 2, 3, 4]))], r"\[0\]\.labels\[0\]\.box2d: expected x1 <= x2"),
        (
            [{"name": "a.jpg", "labels": [{"category": "car", "box2d": {"x1": 1}}]}],
            r"box2d: expected an object with 'y1'",
        ),
        ([bdd_frame("z.jpg")], r"\[0\]\.name: expected an image .*z\.jpg, but it is missing"),
        ([{"labels": []}], r"\[0\]: expected an object with 'name'"),
    ],
)
def test_bdd100k_faults_are_named(bdd: Path, frames: Any, message: str) -> None:
    write_frames(bdd, frames)
    with pytest.raises(InputFormatError, match=message):
        list(bdd100k(bdd, "train"))


def test_bdd100k_without_any_labels_is_refused(bdd: Path) -> None:
    (bdd / "labels" / "det_20" / "det_train.json").unlink()
    assert len(bdd100k(bdd, "train")) == 1
    mask = bdd / "labels" / "sem_seg" / "masks" / "train" / "a.png"
    write_image(mask, np.full(SIZE_HW, 19, np.uint8))
    with pytest.raises(InputFormatError, match=r"a\.png: expected training ids 0 \.\.\. 18 or 255 but found 19"):
        list(bdd100k(bdd, "train"))
    mask.unlink()
    with pytest.raises(InputFormatError, match=r"det_train\.json: expected a JSON file of labels: No such file"):
        bdd100k(bdd, "train")


CLASSES = {"person": "pedestrian", "car": "car", "bus": "ignored"}


def coco_content() -> dict[str, Any]:
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "height": 60, "width": 100},
            {"id": 9, "file_name": "b.png", "height": 60, "width": 100},
        ],
        "categories": [
            {"id": index, "name": name} for index, name in ((1, "person"), (3, "car"), (6, "bus"), (8, "dog"))
        ],
        "annotations": [
            {"image_id": 7, "category_id": 3, "bbox": [10, 20, 30, 10], "iscrowd": 0,
             "segmentation": [[10, 20, 40, 20, 40, 30, 10, 30]]},
            {"image_id": 7, "category_id": 1, "bbox": [20, 22, 4, 6], "iscrowd": 0,
             "segmentation": [[20, 22, 24, 22, 24, 28, 20, 28]]},
            {"image_id": 7, "category_id": 8, "bbox": [1, 2, 3, 4]},
            {"image_id": 9, "category_id": 6, "bbox": [0, 0, 10, 10]},
        ],
    }  # fmt: skip


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    for name in ("a", "b"):
        write_image(tmp_path / "images" / f"{name}.png")
    (tmp_path / "labels.json").write_text(json.dumps(coco_content()), encoding="utf-8")
    return tmp_path


def test_coco_boxes_and_instances(coco_root: Path) -> None:
    first, second = coco(coco_root / "images", coco_root / "labels.json", CLASSES)
    assert names_of(first) == ["car", "pedestrian"]
    assert first.boxes.boxes_xyxy.tolist() == [[10, 20, 40, 30], [20, 22, 24, 28]]
    assert first.instances is not None
    assert (first.instances[25, 12], first.instances[25, 22], first.instances[5, 5]) == (0, 1, -1)
    assert (semantic_at(first, 25, 12), semantic_at(first, 25, 22), semantic_at(first, 5, 5)) == (
        "car",
        "person",
        "void",
    )
    assert second.boxes.ignored.tolist() == [True]
    assert second.instances is None
    assert OBJECT_CLASSES[int(np.flatnonzero(first.known_objects)[0])] == "car"
    assert first.known_objects.sum() == 2


def test_coco_masks_are_those_of_its_own_tools(coco_root: Path) -> None:
    tools = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(3)
    drawn = cv2.GaussianBlur(rng.random(SIZE_HW).astype(np.float32), (0, 0), 4) > 0.5
    encoded = tools.encode(np.asfortranarray(drawn.astype(np.uint8)))
    plain = [int(value) for value in np.diff(np.flatnonzero(np.diff(np.r_[2, drawn.ravel(order="F"), 2])))]
    if drawn.ravel(order="F")[0]:
        plain = [0, *plain]
    polygon = [[12.3, 8.2, 70.9, 15.5, 55.1, 50.7, 20.0, 44.4]]
    (outline,) = tools.decode(tools.frPyObjects(polygon, *SIZE_HW)).transpose(2, 0, 1)
    content = coco_content()
    for counts in (encoded["counts"].decode(), plain):
        content["annotations"] = [
            {
                "image_id": 7,
                "category_id": 1,
                "bbox": [0, 0, 9, 9],
                "segmentation": {"size": [60, 100], "counts": counts},
            },
            {"image_id": 9, "category_id": 1, "bbox": [0, 0, 9, 9], "segmentation": polygon},
        ]
        (coco_root / "labels.json").write_text(json.dumps(content), encoding="utf-8")
        first, second = coco(coco_root / "images", coco_root / "labels.json", CLASSES)
        assert first.instances is not None and second.instances is not None
        np.testing.assert_array_equal(first.instances == 0, drawn)
        found = second.instances == 0
        assert (found & (outline > 0)).sum() / (found | (outline > 0)).sum() > 0.96


def change(content: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split("/")
    for key in parents:
        content = content[int(key) if key.isdigit() else key]
    content[int(last) if last.isdigit() else last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("annotations/1/bbox", [1, 2, 3], r"annotations\[1\]\.bbox: expected 4 numbers but found \[1, 2, 3\]"),
        ("annotations/1/bbox", [1, 2, -3, 4], r"annotations\[1\]\.bbox: .*neither negative"),
        ("annotations/0/category_id", 99, r"annotations\[0\]\.category_id: expected the id of a category"),
        ("annotations/0/image_id", 99, r"annotations\[0\]\.image_id: expected the id of an image"),
        (
            "annotations/0/segmentation",
            [[1, 2, 3]],
            r"annotations\[0\]\.segmentation\[0\]: expected x and y of at least",
        ),
        ("annotations/0/segmentation", {"size": [6, 1], "counts": [6]}, r"segmentation\.size: expected \[60, 100\]"),
        ("annotations/0/segmentation", {"size": [60, 100], "counts": [7]}, r"counts: expected run lengths of 6000"),
        ("annotations/0/segmentation", {"size": [60, 100], "counts": "\x1f"}, r"counts: expected compressed run"),
        ("images/0/file_name", "z.png", r"images\[0\]: expected an image .*z\.png, but it is missing"),
        ("images/0/height", 61, r"a\.png: expected 100x61 as its annotations say but found 100x60"),
        ("images", [], r"images: expected at least one image but found \[\]"),
    ],
)
def test_coco_faults_are_named(coco_root: Path, path: str, value: Any, message: str) -> None:
    content = coco_content()
    if path == "images":
        content["annotations"] = []
    change(content, path, value)
    (coco_root / "labels.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputFormatError, match=message):
        list(coco(coco_root / "images", coco_root / "labels.json", CLASSES))


def test_coco_categories_are_named_by_the_configuration(coco_root: Path) -> None:
    with pytest.raises(ConfigError, match=r"classes\.car = 'Car': expected 'ignored' or one of car, van"):
        coco(coco_root / "images", coco_root / "labels.json", {"car": "Car"})
    with pytest.raises(
        ConfigError, match=r"classes\.tank: .*labels\.json has no such category; it has person, car, bus"
    ):
        coco(coco_root / "images", coco_root / "labels.json", {"tank": "car"})
