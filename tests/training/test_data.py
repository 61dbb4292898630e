"""Labels as training sees them, and views in which they stay where they belong."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.classes import CAMVID_CLASSES, OBJECT_CLASSES, VOID_ID
from perception.errors import DriveError, InputFormatError
from perception.training.augment import AugmentSettings, augment
from perception.training.data import camvid_samples, kitti_object_samples
from perception.training.labels import NOT_A_THING, LabelledBoxes, Sample
from perception.training.teacher import may_be_hidden, merge_riders

SETTINGS = AugmentSettings(height_px=96, width_px=160, least_scale=0.5, largest_scale=2.0, stretch=1.3)
CAR = OBJECT_CLASSES.index("car")
CAR_PIXEL = CAMVID_CLASSES.index("car")


def block_sample() -> Sample:
    """A bright block on dark ground, labelled as a car."""
    image = np.full((120, 200, 3), 40, np.uint8)
    semantic = np.full((120, 200), CAMVID_CLASSES.index("road"), np.uint8)
    image[40:80, 70:130] = 215
    semantic[40:80, 70:130] = CAR_PIXEL
    solid = np.array([[1.5, 1.7, 4.0, 0.4, 20.0, 100.0, 60.0]], np.float32)
    boxes = LabelledBoxes(np.array([[70, 40, 130, 80]], np.float32), np.array([CAR]), np.array([False]), solid)
    v, u = np.nonzero(semantic == CAR_PIXEL)
    points = np.column_stack([u + 0.5, v + 0.5, np.full(len(u), 20.0)]).astype(np.float32)
    owners = (semantic == CAR_PIXEL).astype(np.uint16)
    known = np.ones(len(OBJECT_CLASSES), bool)
    return Sample("block", image, semantic, "camvid", boxes, known, 1.0, None, 240.0, points, owners)


def test_boxes_and_labels_follow_the_pixels() -> None:
    seen = 0
    for seed in range(60):
        view = augment(block_sample(), SETTINGS, np.random.default_rng(seed))
        image, semantic, boxes = view.image_rgb, view.semantic, view.boxes
        assert image.shape == (96, 160, 3)
        assert semantic.shape == (96, 160)
        v, u = np.nonzero(semantic == CAR_PIXEL)
        if not len(boxes.boxes_xyxy):
            assert len(v) < 200
            continue
        seen += 1
        np.testing.assert_allclose(
            boxes.boxes_xyxy[0], [u.min(), v.min(), u.max() + 1, v.max() + 1], atol=1.01, err_msg=f"seed {seed}"
        )
        inside, road = semantic == CAR_PIXEL, semantic == CAMVID_CLASSES.index("road")
        assert view.owners is not None
        np.testing.assert_array_equal(view.owners == 0, inside)
        measured = cv2.resize((view.depth_m > 0).astype(np.uint8), (160, 96), interpolation=cv2.INTER_NEAREST) > 0
        assert (measured == inside).mean() > 0.94
        # the distance is that of a camera of the focal length which depth is learnt for, at every zoom
        depths = view.depth_m[view.depth_m > 0]
        np.testing.assert_allclose(depths, boxes.solid[0, 4], rtol=1e-5)
        zoom_v = 480.0 * 20.0 / boxes.solid[0, 4] / 240.0
        if not boxes.ignored[0] and v.min() > 0 and v.max() < 95:
            assert abs((v.max() + 1 - v.min()) / 40 - zoom_v) < 0.06
            middle = (boxes.boxes_xyxy[0, :2] + boxes.boxes_xyxy[0, 2:]) / 2
            if u.min() > 0 and u.max() < 159:
                np.testing.assert_allclose(boxes.solid[0, 5:], middle, atol=1.0)
        if road.any():
            assert image[inside].mean() > image[road].mean() + 30
    assert seen > 40


def test_what_the_crop_leaves_too_little_of_is_ignored() -> None:
    settings = AugmentSettings(height_px=32, width_px=32, least_scale=1.0, largest_scale=1.0, stretch=1.0)
    shares = []
    for seed in range(80):
        boxes = augment(block_sample(), settings, np.random.default_rng(seed)).boxes
        for box, ignored in zip(boxes.boxes_xyxy, boxes.ignored, strict=True):
            share = (box[2:] - box[:2]).prod() / (60 * 40)
            assert ignored == (share < 0.3)
            shares.append(share)
    assert min(shares) < 0.3 < max(shares)


def test_beside_a_small_image_nothing_is_known() -> None:
    settings = AugmentSettings(height_px=320, width_px=448, least_scale=1.0, largest_scale=1.0, stretch=1.0)
    semantic = augment(block_sample(), settings, np.random.default_rng(1)).semantic
    assert (semantic == VOID_ID).sum() > 320 * 448 - 125 * 205


def test_views_are_a_function_of_the_seed() -> None:
    first, second = (augment(block_sample(), SETTINGS, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(first.image_rgb, second.image_rgb)
    np.testing.assert_array_equal(first.boxes.boxes_xyxy, second.boxes.boxes_xyxy)


def test_a_mirrored_car_heads_the_other_way() -> None:
    angles = {
        round(float(view.boxes.solid[0, 3]), 4)
        for view in (augment(block_sample(), SETTINGS, np.random.default_rng(seed)) for seed in range(20))
        if len(view.boxes)
    }
    assert angles == {0.4, round(np.pi - 0.4, 4)}


CALIBRATION = (
    "".join(f"P{number}: 100 0 100 0 0 100 30 0 0 0 1 0\n" for number in range(4))
    + "R0_rect: 1 0 0 0 1 0 0 0 1\n"
    + "Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0\n"
)


@pytest.fixture
def kitti(tmp_path: Path) -> Path:
    (tmp_path / "image_2").mkdir()
    (tmp_path / "label_2").mkdir()
    (tmp_path / "calib").mkdir()
    for index in range(4):
        (tmp_path / "calib" / f"{index:06d}.txt").write_text(CALIBRATION, encoding="utf-8")
        cv2.imwrite(str(tmp_path / "image_2" / f"{index:06d}.png"), np.full((60, 200, 3), 90, np.uint8))
        (tmp_path / "label_2" / f"{index:06d}.txt").write_text(
            "Car 0.00 0 1.95 20 10 80 50 1.43 1.70 3.95 -2.39 1.66 11.80 1.76\n"
            "Car 0.50 2 1.95 70 20 99 40 1.43 1.70 3.95 -2.39 1.66 11.80 1.76\n"
            "DontCare -1 -1 -10 150 10 190 30 -1 -1 -1 -1000 -1000 -1000 -10\n",
            encoding="utf-8",
        )
    return tmp_path


def test_kitti_labels_become_boxes_and_what_they_say_of_pixels(kitti: Path) -> None:
    samples = list(kitti_object_samples(kitti, None, hold_out_every=4, held_out=False))
    assert [sample.source for sample in samples] == [f"kitti_object/00000{index}" for index in range(3)]
    sample = samples[0]
    assert sample.boxes.class_ids.tolist() == [CAR, CAR, -1]
    assert sample.boxes.ignored.tolist() == [False, False, True]
    assert sample.hard is not None
    assert sample.hard[:2].tolist() == [False, True]
    assert not sample.semantic_is_drawn
    # 1.43 1.70 3.95 -2.39 1.66 11.80: the centre is half a height above the middle of the lower face
    centre = [100 + 100 * -2.39 / 11.8, 30 + 100 * (1.66 - 0.715) / 11.8]
    np.testing.assert_allclose(sample.boxes.solid[0], [1.43, 1.70, 3.95, 1.95, 11.80, *centre], rtol=1e-5)
    assert np.isnan(sample.boxes.solid[2]).all()
    assert sample.focal_px == 100
    assert sample.semantic[30, 50] == CAR_PIXEL
    assert sample.semantic[5, 5] == NOT_A_THING
    # the border of a box and a region nobody labelled say nothing
    assert sample.semantic[11, 22] == VOID_ID
    assert sample.semantic[20, 170] == VOID_ID
    assert not sample.known_classes[OBJECT_CLASSES.index("traffic_sign")]


def test_held_out_frames_are_the_others(kitti: Path) -> None:
    held_out = list(kitti_object_samples(kitti, None, hold_out_every=4, held_out=True))
    assert [sample.source for sample in held_out] == ["kitti_object/000003"]


def test_a_malformed_label_is_named_by_line(kitti: Path) -> None:
    label = kitti / "label_2" / "000001.txt"
    label.write_text(label.read_text(encoding="utf-8") + "Car 0.00 0 1.95 20 ten 80 50\n", encoding="utf-8")
    with pytest.raises(InputFormatError, match=r"000001\.txt:4: expected a KITTI label row"):
        list(kitti_object_samples(kitti, None, hold_out_every=0, held_out=False))


def test_a_frame_without_labels_is_named(kitti: Path) -> None:
    (kitti / "label_2" / "000002.txt").unlink()
    with pytest.raises(InputFormatError, match=r"label_2/000002\.txt: expected KITTI labels .* the file is missing"):
        list(kitti_object_samples(kitti, None, hold_out_every=0, held_out=False))


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DriveError, match="expected a"):
        list(kitti_object_samples(tmp_path, None, hold_out_every=0, held_out=False))


def test_camvid_annotations_must_match_their_images(tmp_path: Path) -> None:
    for name in ("train", "trainannot"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "train" / "a.png"), np.zeros((20, 30, 3), np.uint8))
    annotation = tmp_path / "trainannot" / "a.png"
    with pytest.raises(InputFormatError, match=r"expected class ids of 30x20 pixels"):
        list(camvid_samples(tmp_path, "train", None))
    cv2.imwrite(str(annotation), np.full((20, 30), 12, np.uint8))
    with pytest.raises(InputFormatError, match=r"expected class ids 0 ... 11 but found 12"):
        list(camvid_samples(tmp_path, "train", None))
    cv2.imwrite(str(annotation), np.full((20, 30), 11, np.uint8))
    (sample,) = camvid_samples(tmp_path, "train", None)
    assert (sample.semantic == VOID_ID).all()
    assert sample.semantic_is_drawn


def test_what_touches_something_nearer_may_be_hidden() -> None:
    boxes = {
        "behind the next in the row": [100, 50, 180, 110],
        "the next in the row": [182, 45, 300, 130],
        "far ahead, free": [400, 60, 430, 80],
        "twice the same, a little larger": [399, 59, 431, 83],
        "above another, far off": [150, 0, 190, 30],
        "beside, but no nearer": [303, 50, 380, 128],
    }
    hidden = may_be_hidden(np.array(list(boxes.values()), np.float32))
    assert [name for name, is_hidden in zip(boxes, hidden, strict=True) if is_hidden] == ["behind the next in the row"]
    assert may_be_hidden(np.zeros((0, 4), np.float32)).shape == (0,)


def test_a_person_on_a_bicycle_is_one_cyclist() -> None:
    person, bicycle, cyclist = (OBJECT_CLASSES.index(name) for name in ("pedestrian", "bicycle", "cyclist"))
    boxes = np.array([[10, 0, 30, 50], [5, 25, 36, 60], [100, 0, 120, 60]], np.float32)
    merged, scores, class_ids = merge_riders(
        boxes, np.array([0.8, 0.7, 0.9], np.float32), np.array([person, bicycle, person])
    )
    assert class_ids.tolist() == [cyclist, person]
    assert merged[0].tolist() == [5, 0, 36, 60]
    assert merged[1].tolist() == boxes[2].tolist()
    assert len(scores) == 2


def test_crops_are_laid_around_every_class_as_often() -> None:
    """Twenty cars at one end of a wide picture, one pedestrian at the other."""
    cars = [[1600 + 15 * k, 50, 1612 + 15 * k, 60] for k in range(20)]
    boxes = np.array([*cars, [100, 45, 110, 70]], np.float32)
    pedestrian = OBJECT_CLASSES.index("pedestrian")
    labelled = LabelledBoxes(boxes, np.array([CAR] * 20 + [pedestrian]), np.zeros(21, bool))
    image = np.full((120, 2000, 3), 90, np.uint8)
    known = np.ones(len(OBJECT_CLASSES), bool)
    sample = Sample("wide", image, np.zeros((120, 2000), np.uint8), "camvid", labelled, known, 1.0)
    settings = SETTINGS.model_copy(update={"least_scale": 1.0, "largest_scale": 1.0})
    views = [augment(sample, settings, np.random.default_rng(seed)) for seed in range(200)]
    shown = {name: np.mean([(view.boxes.class_ids == name).any() for view in views]) for name in (CAR, pedestrian)}
    assert shown[pedestrian] > 0.2
    assert shown[CAR] > 0.2
