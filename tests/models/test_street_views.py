"""Several looks at one picture: mirrored and turned back, and at several sizes."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from perception.classes import SEMANTIC_CLASSES
from perception.config import load_config
from perception.detection.network import NetworkDetector, decode_solid
from perception.geometry import guess_camera
from perception.kernels.network_heads import decode_cells
from perception.lifting.network_depth import NetworkDepth
from perception.models.street_layout import BOX_STRIDES, EMBEDDING, SOLID_CUES
from perception.models.street_network import StreetNetwork
from perception.models.street_output import StreetOutput
from perception.models.street_views import depth_of_views, finest, semantic_of_views, turned_back
from perception.segmentation.network import NetworkSemantic
from perception.training.sim_source import sim_samples
from perception.types import Frame

HEIGHT, WIDTH = 64, 96


def made_up(seed: int, height: int = HEIGHT, width: int = WIDTH) -> StreetOutput:
    rng = np.random.default_rng(seed)

    def noise(*shape: int) -> np.ndarray:
        return rng.normal(0, 1, shape).astype(np.float32)

    rows, columns = height // 4, width // 4
    cells = sum(height // stride * (width // stride) for stride in BOX_STRIDES)
    return StreetOutput(
        noise(4 + 3, cells), noise(len(SOLID_CUES), cells), noise(EMBEDDING, cells), noise(5, 4, rows, columns),
        noise(4, rows, columns), noise(rows, columns), (height, width), (HEIGHT, WIDTH),
    )  # fmt: skip


def test_turning_twice_changes_nothing() -> None:
    output = made_up(1)
    again = turned_back(turned_back(output))
    for field in dataclasses.fields(StreetOutput):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(output, field.name))


def test_boxes_and_objects_lie_on_the_other_side() -> None:
    output = made_up(2)
    there, here = (decode_cells(each.boxes, HEIGHT, WIDTH, BOX_STRIDES, 0.5) for each in (output, turned_back(output)))
    mirrored = there[0][:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + np.float32([WIDTH, 0, WIDTH, 0])
    order, other = (np.lexsort(boxes.round(2).T) for boxes in (here[0], mirrored))
    np.testing.assert_allclose(here[0][order], mirrored[other], rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(here[1][order], there[1][other], rtol=1e-5)
    solid = decode_solid(turned_back(output).solid[:, here[3]], here[3], (HEIGHT, WIDTH), 100.0)[order]
    expected = decode_solid(output.solid[:, there[3]], there[3], (HEIGHT, WIDTH), 100.0)[other]
    np.testing.assert_allclose(solid[:, [0, 1, 2, 4, 6]], expected[:, [0, 1, 2, 4, 6]], rtol=1e-4)
    np.testing.assert_allclose(solid[:, 5], WIDTH - expected[:, 5], rtol=1e-3, atol=1e-2)
    turn = (solid[:, 3] - (np.pi - expected[:, 3]) + np.pi) % (2 * np.pi) - np.pi
    np.testing.assert_allclose(turn, 0, atol=1e-4)


def test_pixels_lie_on_the_other_side() -> None:
    output, back = made_up(3), turned_back(made_up(3))
    np.testing.assert_array_equal(back.semantic_logits, output.semantic_logits[:, :, ::-1])
    np.testing.assert_array_equal(back.log_depth, output.log_depth[:, ::-1])
    np.testing.assert_array_equal(back.box_cues[0], output.box_cues[2, :, ::-1])


def test_with_both_views_a_mirrored_picture_gives_mirrored_results() -> None:
    (sample,) = sim_samples(["city"], [5], 1, 0.5, 192, 384)
    size = ["network.input_height_px=192", "network.input_width_px=384"]
    config = load_config(overrides=["network.mirrored=true", "network.precision=fp32", "network.threads=1", *size])
    network = StreetNetwork(config.network, "cpu")
    camera = guess_camera(384, 192)
    frames = [
        Frame(0, name, 0, np.ascontiguousarray(image), camera)
        for name, image in (("given", sample.image_rgb), ("mirrored", sample.image_rgb[:, ::-1]))
    ]
    semantic = [NetworkSemantic(network).segment(frame).class_ids for frame in frames]
    assert (semantic[0] == semantic[1][:, ::-1]).mean() > 0.999
    depths = [NetworkDepth(network).estimate(frame) for frame in frames]
    assert depths[0] is not None and depths[1] is not None
    np.testing.assert_allclose(depths[0].depth_m, depths[1].depth_m[:, ::-1], rtol=1e-2)
    found, other = (NetworkDetector(network, config.detection).detect(frame) for frame in frames)
    assert len(found) == len(other) >= 2
    turned = other.boxes_xyxy[:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + np.float32([384, 0, 384, 0])
    for box, score in zip(found.boxes_xyxy, found.scores, strict=True):
        row = int(np.abs(turned - box).sum(axis=1).argmin())
        np.testing.assert_allclose(turned[row], box, atol=0.1)
        assert abs(other.scores[row] - score) < 0.01
    assert len(np.unique(semantic[0])) > 3 and semantic[0].max() < len(SEMANTIC_CLASSES)


def test_views_of_two_sizes_meet_in_the_cells_of_the_finer() -> None:
    coarse, fine = made_up(4), made_up(5, 2 * HEIGHT, 2 * WIDTH)
    views = [coarse, turned_back(coarse), fine]
    assert finest(views) is fine
    mean = dataclasses.replace(fine, semantic_cells=semantic_of_views(views)).semantic_logits
    # the middle of four of the finer view's cells is the middle of one of the coarser view's
    coarser = (coarse.semantic_logits + turned_back(coarse).semantic_logits) / 3
    blurred = [cv2.resize(plane, (WIDTH, HEIGHT)) for plane in coarser]
    np.testing.assert_allclose(
        mean - fine.semantic_logits / 3, [cv2.resize(plane, (WIDTH, HEIGHT)) for plane in blurred], atol=1e-5
    )
    np.testing.assert_allclose(depth_of_views(views), (coarse.log_depth + coarse.log_depth[:, ::-1]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(semantic_of_views([coarse]), coarse.semantic_cells)


def test_one_object_is_found_once_however_often_it_is_looked_at() -> None:
    (sample,) = sim_samples(["city"], [5], 1, 0.5, 192, 384)
    size = ["network.input_height_px=192", "network.input_width_px=384"]
    frame = Frame(0, "given", 0, sample.image_rgb, guess_camera(384, 192))
    found = {}
    for zooms in ("[1.0]", "[1.4]", "[1.0, 1.4]"):
        config = load_config(overrides=[f"network.zooms={zooms}", "network.precision=fp32", "network.threads=1", *size])
        network = StreetNetwork(config.network, "cpu")
        detector = NetworkDetector(network, config.detection)
        found[zooms] = detector.detect(frame)
    apart, both = [found["[1.0]"], found["[1.4]"]], found["[1.0, 1.4]"]
    assert max(len(each) for each in apart) <= len(both) <= sum(len(each) for each in apart) - 2
    assert both.solid is not None
    for row, box in enumerate(both.boxes_xyxy):
        # a box comes with what the view that saw it best says of the object
        sources = [each for each in apart if each.solid is not None and (each.scores == both.scores[row]).any()]
        assert any(
            np.allclose(each.solid[np.flatnonzero(each.scores == both.scores[row])[0]], both.solid[row], rtol=1e-4)
            for each in sources
        ), box
