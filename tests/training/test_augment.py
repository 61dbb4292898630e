"""Views in which every label stays with its pixels: turned, put together, pasted into, and in bad weather."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from perception.classes import CAMVID_CLASSES, OBJECT_CLASSES, SEMANTIC_CLASSES, VOID_ID
from perception.errors import ConfigError
from perception.models.street_layout import DENSE_STRIDE, DEPTH_FOCAL_PX
from perception.training.augment import AugmentSettings, augment
from perception.training.compose import mosaic, paste
from perception.training.labels import LABEL_SETS, LabelledBoxes, Sample, sky_label
from perception.training.photometric import TorchvisionTransform, transformed
from perception.training.skies import reskied
from perception.training.view import View, ViewRange, view_of
from perception.training.weather import add_fog, add_rain, add_snow, weathered

CAR = OBJECT_CLASSES.index("car")
ROAD_PIXEL, CAR_PIXEL = CAMVID_CLASSES.index("road"), CAMVID_CLASSES.index("car")
SIZE_HW = (96, 160)
STILL = ViewRange(1.0, 1.0, 1.0, 0.0)


def block(left: int = 70, top: int = 40, distance_m: float = 20.0, bright: int = 215) -> Sample:
    """A bright block on dark ground, labelled as a car."""
    image = np.full((120, 200, 3), 40, np.uint8)
    semantic = np.full((120, 200), ROAD_PIXEL, np.uint8)
    image[top : top + 40, left : left + 60] = bright
    semantic[top : top + 40, left : left + 60] = CAR_PIXEL
    solid = np.array([[1.5, 1.7, 4.0, 0.4, distance_m, left + 30, top + 20]], np.float32)
    boxes = LabelledBoxes(
        np.array([[left, top, left + 60, top + 40]], np.float32), np.array([CAR]), np.array([False]), solid,
        np.array([left]),
    )  # fmt: skip
    v, u = np.nonzero(semantic == CAR_PIXEL)
    points = np.column_stack([u + 0.5, v + 0.5, np.full(len(u), distance_m)]).astype(np.float32)
    owners = (semantic == CAR_PIXEL).astype(np.uint16)
    known = np.ones(len(OBJECT_CLASSES), bool)
    return Sample(f"block/{left}", image, semantic, "camvid", boxes, known, 1.0, None, 240.0, points, owners)


def check_consistency(view: View) -> None:
    """Owners, semantic labels, depth and distances say the same of every object."""
    assert view.owners is not None
    np.testing.assert_array_equal(view.owners >= 0, view.semantic == CAR_PIXEL)
    middle = DENSE_STRIDE // 2
    owner_of_cell = view.owners[middle::DENSE_STRIDE, middle::DENSE_STRIDE]
    for row, box in enumerate(view.boxes.boxes_xyxy):
        v, u = np.nonzero(view.owners == row)
        if not len(v):
            continue
        assert u.min() >= box[0] - 1.01 and u.max() + 1 <= box[2] + 1.01
        assert v.min() >= box[1] - 1.01 and v.max() + 1 <= box[3] + 1.01
        inner = cv2.erode((owner_of_cell == row).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        np.testing.assert_allclose(view.depth_m[inner], view.boxes.solid[row, 4], rtol=1e-5)


def test_turned_boxes_enclose_turned_pixels() -> None:
    strays = ViewRange(0.8, 1.5, 1.2, 20.0)
    turned = 0
    for seed in range(40):
        view = view_of(block(), SIZE_HW, strays, np.random.default_rng(seed))
        check_consistency(view)
        v, u = np.nonzero(view.semantic == CAR_PIXEL)
        if len(view.boxes) and len(v):
            box = view.boxes.boxes_xyxy[0]
            pixels = np.array([u.min(), v.min(), u.max() + 1, v.max() + 1])
            assert ((pixels[:2] >= box[:2] - 1.01) & (pixels[2:] <= box[2:] + 1.01)).all()
            if (box > 0).all() and (box < (160, 96, 160, 96)).all():
                # the corners of the turned block lie on the edges of its box
                np.testing.assert_allclose(pixels, box, atol=2.0, err_msg=f"seed {seed}")
            filled = len(v) / max((box[2:] - box[:2]).prod(), 1)
            turned += filled < 0.9
            if u.min() > 0 and v.min() > 0 and u.max() < 159 and v.max() < 95:
                np.testing.assert_allclose(view.boxes.solid[0, 5:], [u.mean() + 0.5, v.mean() + 0.5], atol=1.0)
                assert abs(len(v) / (60 * 40) * (view.boxes.solid[0, 4] / 40) ** 2 - 1) < 0.25
    assert turned > 10


def test_a_mosaic_holds_four_images_with_their_labels() -> None:
    samples = [block(40), block(60, 30), block(80, 20), block(100, 50)]
    objects = set()
    for seed in range(20):
        view = mosaic(samples, SIZE_HW, ViewRange(0.7, 1.0, 1.0, 0.0), np.random.default_rng(seed))
        assert view.image_rgb.shape == (*SIZE_HW, 3)
        assert view.depth_m.shape == (SIZE_HW[0] // DENSE_STRIDE, SIZE_HW[1] // DENSE_STRIDE)
        check_consistency(view)
        bright = view.image_rgb[..., 0] > 190
        assert view.owners is not None
        assert (bright == (view.owners >= 0)).mean() > 0.93
        objects |= set(view.boxes.identities.tolist())
        seen = [row for row in range(len(view.boxes)) if (view.owners == row).any()]
        assert len(seen) == len(view.boxes)
    assert objects == {40, 60, 80, 100}


def test_a_mosaic_of_different_knowledge_is_refused() -> None:
    other = dataclasses.replace(block(60), label_set="full")
    with pytest.raises(ConfigError, match="a mosaic of block/40 and block/60: expected images that know the same"):
        mosaic([block(40), other, block(40), block(40)], SIZE_HW, STILL, np.random.default_rng(0))
    bare = dataclasses.replace(block(60), owners=None)
    assert mosaic([block(40), bare, bare, bare], SIZE_HW, STILL, np.random.default_rng(0)).owners is None


def plain_view(sample: Sample) -> View:
    """The sample as it is, cut at the top left."""
    for seed in range(400):
        view = view_of(sample, (120, 200), STILL, np.random.default_rng(seed))
        if len(view.boxes) and np.array_equal(view.boxes.boxes_xyxy[0], sample.boxes.boxes_xyxy[0]):
            return view
    raise AssertionError("no plain view")


def test_pasted_objects_hide_what_is_behind_them() -> None:
    view, donor = plain_view(block(20, 30, 40.0)), plain_view(block(60, 40, 10.0, bright=250))
    for seed in range(5):
        both = paste(view, donor, np.random.default_rng(seed))
        assert both.boxes.identities.tolist() == [20, 60]
        assert both.boxes.ignored.tolist() == [False, False]
        assert both.owners is not None
        assert (both.owners == 1).sum() == 60 * 40
        assert (both.owners == 0).sum() == 60 * 40 - 20 * 30
        assert (both.image_rgb[both.owners == 1] == 250).all()
        check_consistency(both)
        np.testing.assert_allclose(both.boxes.solid[:, 4], np.array([40, 10]) * DEPTH_FOCAL_PX / 240.0)
    # nearly all of the first is behind the second: it is no longer asked for
    hidden = paste(plain_view(block(60, 42)), donor, np.random.default_rng(0))
    assert hidden.boxes.ignored.tolist() == [True, False]
    # without outlines of the image itself its boxes' areas decide
    bare = dataclasses.replace(plain_view(block(60, 42)), owners=None)
    assert paste(bare, donor, np.random.default_rng(0)).boxes.ignored.tolist() == [True, False]
    assert paste(view, bare, np.random.default_rng(0)) is view


def test_objects_that_the_donor_cuts_off_are_not_pasted() -> None:
    view = plain_view(block(20, 30))
    donor = plain_view(block(60, 40))
    cut = dataclasses.replace(
        donor, boxes=dataclasses.replace(donor.boxes, boxes_xyxy=np.array([[60, 40, 200, 80]], np.float32))
    )
    assert paste(view, cut, np.random.default_rng(0)) is view


def test_all_of_it_is_a_function_of_the_seed() -> None:
    settings = AugmentSettings(
        height_px=96, width_px=160, least_scale=0.5, largest_scale=2.0, stretch=1.3, rotation_deg=5.0, mosaic=0.5,
        copy_paste=0.5, weather=0.5,
        torchvision=(TorchvisionTransform(name="ColorJitter", options={"hue": 0.2}, share=0.5),),
    )  # fmt: skip
    samples = [block(40), block(80), block(120)]
    differing = 0
    for seed in range(10):
        first, again, other = (
            augment(samples[0], settings, np.random.default_rng(s), samples) for s in (seed, seed, seed + 1)
        )
        np.testing.assert_array_equal(first.image_rgb, again.image_rgb)
        np.testing.assert_array_equal(first.boxes.boxes_xyxy, again.boxes.boxes_xyxy)
        check_consistency(first)
        differing += not np.array_equal(first.image_rgb, other.image_rgb)
    assert differing == 10


def street() -> tuple[np.ndarray, np.ndarray]:
    """Stripes everywhere, and their depth: near below, far above, the sky unknown."""
    image = np.tile(np.repeat(np.array([30, 220], np.uint8), 8), (128, 10))[..., None].repeat(3, axis=2)
    depth = np.zeros((32, 40), np.float32)
    depth[8:] = np.linspace(150, 5, 24)[:, None]
    return image, depth


def contrast(rows: np.ndarray) -> float:
    return float(rows[..., 0].astype(float).std())


@pytest.mark.parametrize("knows_depth", [True, False])
def test_fog_hides_the_far_and_not_the_near(knows_depth: bool) -> None:
    image, depth = street()
    if not knows_depth:
        depth = np.zeros_like(depth)
    thick, thin = (add_fog(image, depth, visibility, np.random.default_rng(1)) for visibility in (40.0, 400.0))
    assert contrast(thick[:20]) < 3
    assert contrast(thick[-8:]) > 0.4 * contrast(image)
    middle = slice(60, 75)
    assert contrast(thick[middle]) < contrast(thin[middle]) < contrast(image[middle])


@pytest.mark.parametrize("weather", [add_rain, add_snow])
def test_rain_and_snow_grow_with_their_amount(weather: object) -> None:
    assert callable(weather)
    image, _ = street()
    changes = [
        np.abs(weather(image, amount, np.random.default_rng(2)).astype(float) - image).mean()
        for amount in (0.1, 0.5, 1.0)
    ]
    assert 1 < changes[0] < changes[1] < changes[2] < 90
    # what is there can still be seen
    heavy = weather(image, 1.0, np.random.default_rng(2))[..., 0].astype(float)
    assert heavy[image[..., 0] > 128].mean() > heavy[image[..., 0] < 128].mean() + 40


def test_weather_takes_turns_and_moves_no_label() -> None:
    image, depth = street()
    kinds = {weathered(image, depth, np.random.default_rng(seed)).tobytes() for seed in range(6)}
    assert len(kinds) == 6
    settings = AugmentSettings(height_px=96, width_px=160, least_scale=1.0, largest_scale=1.0, weather=1.0)
    dry = settings.model_copy(update={"weather": 0.0})
    for seed in range(6):
        wet_view, dry_view = (augment(block(), each, np.random.default_rng(seed)) for each in (settings, dry))
        np.testing.assert_array_equal(wet_view.semantic, dry_view.semantic)
        np.testing.assert_array_equal(wet_view.boxes.boxes_xyxy, dry_view.boxes.boxes_xyxy)
        assert not np.array_equal(wet_view.image_rgb, dry_view.image_rgb)


def test_other_skies_end_where_the_sky_does() -> None:
    rng = np.random.default_rng(3)
    image = rng.integers(0, 255, (90, 150, 3)).astype(np.uint8)
    is_sky = np.zeros((90, 150), bool)
    is_sky[:40] = True
    is_sky[20:40, 50:90] = False
    image[is_sky] = (230, 235, 240)
    image[:40, 20] = 30  # a wire
    below = cv2.erode((~is_sky).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    tones = []
    for seed in range(30):
        painted = reskied(image, is_sky, np.random.default_rng(seed))
        np.testing.assert_array_equal(painted[below], image[below])
        np.testing.assert_array_equal(painted, reskied(image, is_sky, np.random.default_rng(seed)))
        tones.append(painted[2:16, 100:].mean(axis=(0, 1)))
        assert painted[5:15, 20].mean() < painted[5:15, [14, 26]].mean()
    spread = np.array(tones)
    assert spread.mean(axis=1).min() < 60 and spread.mean(axis=1).max() > 180  # dark skies and bright ones
    assert (spread[:, 2] - spread[:, 0]).max() > 40  # blue ones too
    assert reskied(image, np.zeros_like(is_sky), rng) is image


def test_only_drawn_skies_are_painted() -> None:
    for name in ("camvid", "cityscapes", "full"):
        assert LABEL_SETS[name][sky_label(name)] == (SEMANTIC_CLASSES.index("sky"),)
    sample = block()
    sample.semantic[:30] = sky_label("camvid")
    settings = AugmentSettings(height_px=96, width_px=160, least_scale=1.0, largest_scale=1.0, sky=1.0)
    for label_set, changes in (("camvid", True), ("boxes", False)):
        each = dataclasses.replace(sample, label_set=label_set)
        painted = augment(each, settings, np.random.default_rng(5))
        plain = augment(each, settings.model_copy(update={"sky": 0.0}), np.random.default_rng(5))
        np.testing.assert_array_equal(painted.semantic, plain.semantic)
        assert np.array_equal(painted.image_rgb, plain.image_rgb) is not changes


TRANSFORMS = [
    ("ColorJitter", {"brightness": 0.5}), ("GaussianBlur", {"kernel_size": 5}), ("GaussianNoise", {"sigma": 0.1}),
    ("RandomAdjustSharpness", {"sharpness_factor": 3, "p": 1.0}),
    ("RandomAutocontrast", {"p": 1.0}), ("RandomChannelPermutation", {}), ("RandomEqualize", {"p": 1.0}),
    ("RandomGrayscale", {"p": 1.0}), ("RandomInvert", {"p": 1.0}), ("RandomPhotometricDistort", {"p": 1.0}),
    ("RandomPosterize", {"bits": 2, "p": 1.0}), ("RandomSolarize", {"threshold": 100, "p": 1.0}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "options"), TRANSFORMS, ids=[name for name, _ in TRANSFORMS])
def test_transforms_of_torchvision_follow_the_seed(name: str, options: dict[str, object]) -> None:
    image = np.random.default_rng(0).integers(20, 200, (40, 60, 3)).astype(np.uint8)
    image[10:30, 20:40] = (200, 60, 20)
    chosen = (TorchvisionTransform.model_validate({"name": name, "options": options}),)
    results = [transformed(image, chosen, np.random.default_rng(seed)) for seed in (1, 1, 2, 3, 4, 5)]
    assert results[0].shape == image.shape and results[0].dtype == np.uint8
    np.testing.assert_array_equal(results[0], results[1])
    assert any(not np.array_equal(image, result) for result in results)
    never = (chosen[0].model_copy(update={"share": 0.0}),)
    assert transformed(image, never, np.random.default_rng(1)) is image


def test_transforms_that_move_pixels_or_refuse_their_options_are_named() -> None:
    with pytest.raises(ValidationError, match="'ColorJitter'"):
        TorchvisionTransform.model_validate({"name": "RandomPerspective"})
    wrong = TorchvisionTransform(name="ColorJitter", options={"brightnes": 1})
    with pytest.raises(ConfigError, match=r"augment\.torchvision: ColorJitter: .*brightnes"):
        transformed(np.zeros((8, 8, 3), np.uint8), (wrong,), np.random.default_rng(0))


def test_beside_a_turned_image_nothing_is_known() -> None:
    view = view_of(block(), (320, 448), ViewRange(1.0, 1.0, 1.0, 10.0), np.random.default_rng(3))
    assert (view.semantic == VOID_ID).sum() > 320 * 448 - 125 * 205
