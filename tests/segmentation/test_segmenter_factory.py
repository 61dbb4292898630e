"""Every segmenter of the factories keeps the contract of its role; torchvision's have random weights from a file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import get_model, get_model_weights

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES, VOID_ID
from perception.config import DetectionConfig, SegmentationConfig, load_config
from perception.detection.factory import make_detector
from perception.errors import ConfigError, WeightsError
from perception.files import sha256_of
from perception.models.street_network import StreetNetwork
from perception.models.torchvision_detection import FoundObjects
from perception.roles import InstanceSegmenter, SemanticSegmenter
from perception.segmentation import torchvision as adapters
from perception.segmentation.factory import INSTANCE_SEGMENTERS, SEMANTIC_SEGMENTERS, make_instance, make_semantic
from perception.segmentation.torchvision import SEGMENTATION_FAMILIES, MaskRcnnInstances
from perception.types import Detections, Frame, SemanticMap

FASTEST = {
    "deeplabv3": "deeplabv3_mobilenet_v3_large",
    "lraspp": "lraspp_mobilenet_v3_large",
    "maskrcnn": "maskrcnn_resnet50_fpn",
}
CAR_LABEL = 3


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Iterator[dict[str, Path]]:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    files = {}
    for family, name in FASTEST.items():
        state = get_model(name, weights=None, weights_backbone=None).state_dict()
        if family == "maskrcnn":
            for layer in ("cls_score", "bbox_pred"):
                state[f"roi_heads.box_predictor.{layer}.weight"].zero_()
            state["roi_heads.box_predictor.cls_score.bias"][CAR_LABEL] += 6
        files[family] = folder / f"{name}.safetensors"
        save_file(state, files[family])
    yield files
    shutil.rmtree(folder)  # hundreds of megabytes, which pytest would keep for three runs


def _settings(**changes: str) -> SegmentationConfig:
    return SegmentationConfig.model_validate({**load_config().segmentation.model_dump(), **changes})


def _frame(height: int, width: int) -> Frame:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Frame(0, "0", 0, image)


def _void(frame: Frame) -> SemanticMap:
    return SemanticMap(np.full(frame.image_rgb.shape[:2], VOID_ID, np.uint8))


def test_factories_and_configuration_know_the_same_names():
    fields = SegmentationConfig.model_fields
    assert set(SEMANTIC_SEGMENTERS) == set(get_args(fields["semantic"].annotation))
    assert set(INSTANCE_SEGMENTERS) == set(get_args(fields["instance"].annotation))
    assert set(SEGMENTATION_FAMILIES) == set(SEMANTIC_SEGMENTERS) - {"network"}


@pytest.mark.parametrize("name", [name for name in SEMANTIC_SEGMENTERS if name != "network"])
def test_semantic_contract(name, weights):
    segmenter = make_semantic(_settings(semantic=name, semantic_weights=str(weights[name])), device="cpu")
    assert isinstance(segmenter, SemanticSegmenter)
    assert [(used.path, used.sha256) for used in segmenter.weights] == [(str(weights[name]), sha256_of(weights[name]))]
    for height, width in ((40, 64), (33, 17), (1, 1)):
        frame = _frame(height, width)
        found = segmenter.segment(frame)
        assert found.class_ids.shape == found.confidence.shape == (height, width)
        wanted = {SEMANTIC_CLASSES.index(n) for n in ("person", "car", "bus", "train", "motorcycle", "bicycle")}
        assert set(np.unique(found.class_ids)) <= wanted | {VOID_ID}
        assert ((found.confidence > 0) & (found.confidence <= 1)).all()


@pytest.mark.parametrize("changes", [{}, {"refined": True}, {"labels": "camvid"}])
@pytest.mark.parametrize("size", [(40, 64), (9, 150), (1, 1)])
def test_contract_of_the_embedded_network(size, changes):
    network, frame = StreetNetwork(load_config().network, "cpu"), _frame(*size)
    semantic = make_semantic(_settings(**changes), network).segment(frame)
    assert semantic.class_ids.shape == size
    assert set(np.unique(semantic.class_ids)) <= {*range(len(SEMANTIC_CLASSES)), VOID_ID}
    box = np.array([[0, 0, size[1], size[0]]], np.float32)
    for found in (Detections.empty(), Detections(box, np.ones(1, np.float32), np.zeros(1, np.int64))):
        rows = make_instance(_settings(**changes), network).segment(frame, found, semantic).detection_rows
        assert rows.shape == size
        assert set(np.unique(rows)) <= set(range(-1, len(found)))


def test_each_voc_class_becomes_its_own_and_the_rest_void(weights):
    """The last layer's bias decides every pixel, so one class after the other fills the image."""
    name = FASTEST["lraspp"]
    segmenter = make_semantic(_settings(semantic="lraspp", semantic_weights=str(weights["lraspp"])), device="cpu")
    categories = get_model_weights(name).DEFAULT.meta["categories"]
    bias = segmenter._network.classifier.low_classifier.bias
    wanted = {"person": "person", "car": "car", "bus": "bus", "train": "train", "motorbike": "motorcycle"}
    wanted["bicycle"] = "bicycle"
    for label, category in enumerate(categories):
        with torch.no_grad():
            bias.zero_()
            bias[label] = 1000
        found = segmenter.segment(_frame(16, 16))
        expected = SEMANTIC_CLASSES.index(wanted[category]) if category in wanted else VOID_ID
        assert set(np.unique(found.class_ids)) == {expected}, category


def test_large_images_are_scaled_down_to_the_trained_side_only():
    assert adapters._scaled_down(np.zeros((520, 900, 3), np.uint8)).shape == (520, 900, 3)
    assert adapters._scaled_down(np.zeros((1040, 2000, 3), np.uint8)).shape == (520, 1000, 3)


def test_instances_of_the_detectors_own_network_cost_one_forward_pass(weights, monkeypatch):
    detection = load_config().detection.model_dump()
    detection |= {"source": "maskrcnn", "weights": str(weights["maskrcnn"]), "max_detections": 5}
    detector = make_detector(DetectionConfig.model_validate(detection), device="cpu")
    passes = []
    forward = detector.model._forward
    monkeypatch.setattr(detector.model, "_forward", lambda image: passes.append(1) or forward(image))
    for given_weights in ("", str(weights["maskrcnn"])):
        settings = _settings(instance="maskrcnn", instance_weights=given_weights)
        segmenter = make_instance(settings, device="cpu", detector=detector)
        assert isinstance(segmenter, InstanceSegmenter)
        assert segmenter.weights == ()
        passes.clear()
        frame = _frame(12, 200)
        found = detector.detect(frame)
        instances = segmenter.segment(frame, found, _void(frame))
        assert len(passes) == 1
        assert instances.detection_rows.shape == (12, 200)
        assert len(found)
        assert set(np.unique(instances.detection_rows)) <= set(range(-1, len(found)))


def test_instances_of_another_detector_load_their_own_network(weights):
    segmenter = make_instance(
        _settings(instance="maskrcnn", instance_weights=str(weights["maskrcnn"])), device="cpu", detector=None
    )
    assert [used.path for used in segmenter.weights] == [str(weights["maskrcnn"])]
    frame = _frame(24, 400)
    assert (segmenter.segment(frame, Detections.empty(), _void(frame)).detection_rows == -1).all()


class _Known:
    """Stands in for the network: what it finds is given."""

    def __init__(self, found: FoundObjects):
        self.find = lambda frame: found


def _instances(masks: list[tuple[str, tuple[int, int, int, int], float]], *detections) -> np.ndarray:
    """Instances of rectangular masks over a 20x30 image, given as class, box and score, for such detections."""
    filled = np.zeros((len(masks), 20, 30), bool)
    for mask, (_, (x1, y1, x2, y2), _) in zip(filled, masks, strict=True):
        mask[y1:y2, x1:x2] = True

    def columns(rows):
        return (
            np.array([box for _, box, _ in rows], np.float32).reshape(-1, 4),
            np.array([score for *_, score in rows], np.float32),
            np.array([OBJECT_CLASSES.index(name) for name, *_ in rows], np.int64),
        )

    found = FoundObjects(*columns(masks), filled, None)
    frame = _frame(20, 30)
    segmenter = MaskRcnnInstances(shared=_Known(found))
    return segmenter.segment(frame, Detections(*columns(detections)), _void(frame)).detection_rows


def test_masks_go_to_the_detection_of_their_class_that_fits_best():
    rows = _instances(
        [("car", (0, 0, 10, 10), 0.9)],
        ("truck", (0, 0, 10, 10), 0.9),
        ("car", (0, 0, 10, 12), 0.5),
        ("car", (0, 0, 10, 11), 0.4),
    )
    assert (rows[:10, :10] == 2).all()
    assert (rows == 2).sum() == 100
    assert (rows >= 0).sum() == 100


def test_masks_without_a_detection_are_left_out():
    assert (_instances([("car", (0, 0, 10, 10), 0.9)], ("car", (8, 8, 20, 20), 0.9)) == -1).all()
    assert (_instances([], ("car", (8, 8, 20, 20), 0.9)) == -1).all()


def test_the_surer_mask_lies_on_top():
    masks = [("car", (0, 0, 10, 10), 0.9), ("car", (5, 0, 15, 10), 0.6)]
    rows = _instances(masks, ("car", (5, 0, 15, 10), 0.6), ("car", (0, 0, 10, 10), 0.9))
    assert (rows[:10, :10] == 1).all()
    assert (rows[:10, 10:15] == 0).all()


def test_a_cyclist_gets_the_masks_of_rider_and_bicycle():
    masks = [
        ("pedestrian", (4, 2, 8, 10), 0.9),
        ("bicycle", (2, 8, 10, 14), 0.8),
        ("pedestrian", (20, 2, 24, 14), 0.9),
        ("car", (3, 3, 9, 13), 0.1),
    ]
    rows = _instances(masks, ("cyclist", (2, 2, 10, 14), 0.9))
    assert (rows[2:10, 4:8] == 0).all()
    assert (rows[8:14, 2:10] == 0).all()
    assert (rows == 0).sum() == 4 * 8 + 8 * 6 - 2 * 4


@pytest.mark.parametrize(
    ("make", "changes"),
    [(make_semantic, {"semantic": "network"}), (make_instance, {"instance": "network"})],
)
def test_the_network_must_be_there_where_it_is_named(make, changes):
    with pytest.raises(ConfigError, match="no network loaded"):
        make(_settings(**changes), network=None)


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (make_semantic, {"semantic": "deeplabv3", "refined": True}),
        (make_semantic, {"semantic": "lraspp", "labels": "camvid"}),
        (make_instance, {"instance": "maskrcnn", "refined": True}),
    ],
)
def test_what_only_the_network_can_is_refused_of_others(make, changes):
    with pytest.raises(ConfigError, match=r"expected .* with segmentation"):
        make(_settings(**changes))


def test_weights_of_another_family_are_refused(weights):
    with pytest.raises(WeightsError, match="of another model than deeplabv3"):
        make_semantic(_settings(semantic="deeplabv3", semantic_weights=str(weights["lraspp"])), device="cpu")
