"""Data sets by their names in a configuration, and what becomes of their labels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import TypeAdapter

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES, VOID_ID
from perception.errors import ConfigError
from perception.training.augment import AugmentSettings
from perception.training.batches import Batches
from perception.training.labelled_image import LabelledImage
from perception.training.labels import NOT_A_THING, LabelledBoxes
from perception.training.sources import LabelledSamples, Source, SourceSettings, read_source, to_sample
from perception.training.teacher import BoxTeacher

CAR = OBJECT_CLASSES.index("car")


def settings(**values: object) -> SourceSettings:
    chosen: SourceSettings = TypeAdapter(SourceSettings).validate_python({"name": "it"} | values)
    return chosen


def no_teacher() -> BoxTeacher:
    raise AssertionError("no teacher is needed")


def labelled(**changes: object) -> LabelledImage:
    image = np.full((60, 100, 3), 90, np.uint8)
    instances = np.full((60, 100), -1, np.int32)
    instances[20:40, 10:30] = 0
    semantic = np.where(instances == 0, SEMANTIC_CLASSES.index("car"), SEMANTIC_CLASSES.index("road")).astype(np.uint8)
    boxes = LabelledBoxes(np.array([[10, 20, 30, 40]], np.float32), np.array([CAR]), np.array([False]))
    fields: dict[str, object] = {"semantic": semantic, "instances": instances} | changes
    return LabelledImage("x/1", image, boxes, np.ones(len(OBJECT_CLASSES), bool), **fields)  # type: ignore[arg-type]


def test_labels_shrink_with_the_image() -> None:
    sample = to_sample(labelled(), 50, 25)
    assert sample.image_rgb.shape == (30, 50, 3)
    assert sample.scale == 0.5
    assert sample.label_set == "cityscapes"
    assert sample.boxes.boxes_xyxy.tolist() == [[5, 10, 15, 20]]
    assert sample.owners is not None
    v, u = np.nonzero(sample.owners == 1)
    assert [u.min(), v.min(), u.max() + 1, v.max() + 1] == [5, 10, 15, 20]
    assert (sample.semantic[sample.owners == 1] == SEMANTIC_CLASSES.index("car")).all()
    assert to_sample(labelled(), 0, 100).image_rgb.shape == (60, 100, 3)


def test_boxes_speak_of_pixels_only_where_all_road_users_are_boxed() -> None:
    sample = to_sample(labelled(semantic=None, instances=None), 0, 100)
    assert sample.label_set == "boxes"
    assert sample.semantic[5, 5] == NOT_A_THING
    assert sample.owners is None
    cars_only = np.array([name == "car" for name in OBJECT_CLASSES])
    partly = labelled(semantic=None, instances=None)
    partly = LabelledImage(partly.source, partly.image_rgb, partly.boxes, cars_only)
    assert (to_sample(partly, 0, 100).semantic == VOID_ID).all()


@pytest.fixture
def coco_root(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.full((60, 100, 3), 90, np.uint8))
    content = {
        "images": [{"id": k, "file_name": f"{n}.png", "height": 60, "width": 100} for k, n in enumerate("ab")],
        "categories": [{"id": 1, "name": "auto"}],
        "annotations": [
            {"image_id": 0, "category_id": 1, "bbox": [10, 20, 20, 20],
             "segmentation": [[10, 20, 30, 20, 30, 40, 10, 40]]},
        ],
    }  # fmt: skip
    (tmp_path / "labels.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


def test_a_layout_trains(coco_root: Path) -> None:
    chosen = settings(layout="coco", path="images", annotations="labels.json", classes={"auto": "car"}, share=2.0)
    source = read_source(chosen, coco_root, no_teacher)
    assert (source.name, source.share, source.together, len(source.samples)) == ("it", 2.0, 1, 2)
    view = AugmentSettings(height_px=32, width_px=64, least_scale=0.05, largest_scale=0.2)
    batches = Batches([source], view, batch=4, seed=0)
    batch = batches(0)
    assert set(batch.names) == {"coco/a", "coco/b"}
    with_car = [row for row, name in enumerate(batch.names) if name == "coco/a"]
    assert any((batch.targets.class_ids[row] == CAR).any() for row in with_car)
    known = batch.targets.known_classes[0]
    assert known.sum() == 1 and known[CAR]


def test_files_are_read_when_asked_for_and_kept_while_there_is_room(coco_root: Path) -> None:
    one_image_gb = 60 * 100 * (3 + 1) / (1 << 30)
    for room, kept in ((0.0, 0), (one_image_gb * 1.6, 1), (1.0, 2)):
        chosen = settings(
            layout="coco", path="images", annotations="labels.json", classes={"auto": "car"}, memory_gb=room
        )
        source = read_source(chosen, coco_root, no_teacher)
        assert isinstance(source.samples, LabelledSamples)
        first = [source.samples[index] for index in range(2)]
        again = [source.samples[index] for index in range(2)]
        assert sum(a is b for a, b in zip(first, again, strict=True)) == kept
        np.testing.assert_array_equal(first[0].image_rgb, again[0].image_rgb)
    assert [each.source for each in source.samples[:2]] == ["coco/a", "coco/b"]


def test_simulated_drives_need_no_files(tmp_path: Path) -> None:
    chosen = settings(
        layout="sim",
        scenarios=["city"],
        drives=1,
        first_seed=3,
        frames=2,
        seconds_apart=0.5,
        height_px=64,
        width_px=128,
    )
    source: Source = read_source(chosen, tmp_path, no_teacher)
    assert len(source.samples) == 2
    assert source.together == 2
    assert source.samples[0].label_set == "full"


def test_missing_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"source it: .*raw/\*: expected at least one drive"):
        read_source(settings(layout="drive", path="raw/*"), tmp_path, no_teacher)
