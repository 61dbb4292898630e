"""The embedded network as it runs: backends agree, roles keep their contracts, real frames show what they show."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from torchvision.ops import box_iou

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES, semantic_to_camvid
from perception.config import NetworkConfig, load_config
from perception.detection.network import NetworkDetector
from perception.errors import ConfigError, DeviceError, WeightsError
from perception.files import sha256_of
from perception.models.device import resolve_device
from perception.models.street import StreetNet
from perception.models.street_deploy import DeployedStreet
from perception.models.street_fold import folded_arrays
from perception.models.street_layout import IMAGENET_MEAN, IMAGENET_STD
from perception.models.street_network import StreetNetwork, input_size
from perception.models.weights import load_manifest
from perception.roles import Detector, InstanceSegmenter, SemanticSegmenter
from perception.segmentation.network import NetworkInstances, NetworkSemantic
from perception.training.sim_source import sim_samples
from perception.types import Detections, Frame, SemanticMap

CONFIG = load_config(overrides=["network.precision=fp32"])


@pytest.fixture(scope="module")
def network() -> StreetNetwork:
    return StreetNetwork(CONFIG.network, "cpu")


@pytest.fixture(scope="module")
def kitti_frame(real_data: Path) -> Frame:
    image = cv2.imread(str(real_data / "kitti_object" / "training" / "image_2" / "000010.jpg"))
    return Frame(0, "000010", 0, np.ascontiguousarray(image[:, :, ::-1]))


def noise_frame(height: int, width: int) -> Frame:
    rng = np.random.default_rng(height)
    small = rng.integers(0, 255, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    return Frame(0, "noise", 0, np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8))


def normalised(image: np.ndarray) -> torch.Tensor:
    values = (torch.from_numpy(image).float() / 255 - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    return values.permute(2, 0, 1)[None]


def shipped_state() -> dict[str, np.ndarray]:
    return {name: value.astype(np.float32) for name, value in load_file(load_manifest("street").path).items()}


def test_onnxruntime_and_torch_agree(network: StreetNetwork) -> None:
    frame = noise_frame(256, 832)
    output = network.infer(frame)
    deployed = DeployedStreet.from_arrays(
        folded_arrays(shipped_state()), len(network.object_ids), len(network.semantic_ids)
    ).eval()
    with torch.inference_mode():
        theirs = [part.numpy() for part in deployed(normalised(frame.image_rgb))]
    ours = [
        np.concatenate([output.boxes, output.solid, output.embedding]),
        output.semantic_logits,
        np.concatenate([output.box_cues, output.log_depth[None]]),
    ]
    assert [part.shape for part in ours] == [(55, 4368), (20, 128, 416), (5, 64, 208)]
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3 * np.abs(other).max())


def test_the_folded_network_is_the_trained_one() -> None:
    state = shipped_state()
    trained = StreetNet(len(OBJECT_CLASSES), len(SEMANTIC_CLASSES)).eval()
    missing, unexpected = trained.load_state_dict({n: torch.from_numpy(v) for n, v in state.items()}, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    image = normalised(noise_frame(64, 96).image_rgb)
    deployed = DeployedStreet.from_arrays(folded_arrays(state), len(OBJECT_CLASSES), len(SEMANTIC_CLASSES)).eval()
    with torch.inference_mode():
        expected = trained(image)
        found = deployed(image)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs[0], rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


@pytest.mark.parametrize(("precision", "share"), [("fp32", 2e-3), ("bf16", 0.04)])
def test_torch_runs_the_same_network(network: StreetNetwork, precision: str, share: float) -> None:
    settings = CONFIG.network.model_copy(update={"backend": "torch", "precision": precision})
    # a street: in pictures of noise, rounding to eight bits adds up to much more than in those of use
    (sample,) = sim_samples(["city"], [3], 1, 0.5, 128, 416)
    frame = Frame(0, "street", 0, sample.image_rgb)
    ours, theirs = network.infer(frame), StreetNetwork(settings, "cpu").infer(frame)
    for head in ("boxes", "semantic_logits", "log_depth", "embedding"):
        expected = getattr(ours, head)
        np.testing.assert_allclose(getattr(theirs, head), expected, atol=share * np.abs(expected).max())


@pytest.mark.parametrize("change", [{"precision": "bf16"}, {"compiled": True}])
def test_onnxruntime_refuses_what_only_torch_can(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"expected network\.backend"):
        StreetNetwork(CONFIG.network.model_copy(update=change), "cpu")


def test_one_frame_costs_one_pass(network: StreetNetwork) -> None:
    frame = noise_frame(96, 128)
    first = network.infer(frame)
    assert network.infer(frame) is first
    # equal content is not the same frame
    assert network.infer(noise_frame(96, 128)) is not first


@pytest.mark.parametrize("size", [(375, 1242), (360, 480), (900, 1600), (37, 41), (1, 1), (800, 600)])
def test_every_image_size_is_taken(network: StreetNetwork, size: tuple[int, int]) -> None:
    frame = noise_frame(*size)
    detections = NetworkDetector(network, CONFIG.detection).detect(frame)
    semantic = NetworkSemantic(network).segment(frame)
    instances = NetworkInstances(network).segment(frame, detections, semantic)
    assert semantic.class_ids.shape == size
    assert instances.detection_rows.shape == size
    assert instances.detection_rows.max() < max(len(detections), 1)
    if len(detections):
        assert (detections.boxes_xyxy >= 0).all()
        assert (detections.boxes_xyxy <= [size[1], size[0], size[1], size[0]]).all()


@given(st.integers(60, 3000), st.floats(0.3, 5.0))
@settings(max_examples=60, deadline=None)
def test_input_sizes_keep_shape_and_cost(height: int, aspect: float) -> None:
    width = max(32, round(height * aspect))
    found = input_size(height, width, (256, 832))
    assert found[0] % 32 == found[1] % 32 == 0
    assert abs(np.log(found[1] / found[0] * height / width)) < 0.1
    assert 0.7 < found[0] * found[1] / (256 * 832) < 1.4


def test_the_roles_are_what_they_say(network: StreetNetwork) -> None:
    assert isinstance(NetworkDetector(network, CONFIG.detection), Detector)
    assert isinstance(NetworkSemantic(network), SemanticSegmenter)
    assert isinstance(NetworkInstances(network), InstanceSegmenter)


def test_cars_of_a_kitti_frame_are_found(network: StreetNetwork, kitti_frame: Frame, real_data: Path) -> None:
    detections = NetworkDetector(network, CONFIG.detection).detect(kitti_frame)
    assert (np.diff(detections.scores) <= 0).all()
    assert (detections.scores >= CONFIG.detection.score_threshold).all()
    cars = detections.boxes_xyxy[detections.class_ids == OBJECT_CLASSES.index("car")]
    # the nearest whole car of the label file
    truth = np.array([354.43, 185.52, 549.52, 294.49])
    overlap = np.clip(np.minimum(cars[:, 2:], truth[2:]) - np.maximum(cars[:, :2], truth[:2]), 0, None).prod(axis=1)
    areas = (cars[:, 2:] - cars[:, :2]).prod(axis=1) + (truth[2:] - truth[:2]).prod()
    assert (overlap / (areas - overlap)).max() > 0.7


def test_one_object_has_one_class(network: StreetNetwork, kitti_frame: Frame) -> None:
    loose = CONFIG.detection.model_copy(update={"score_threshold": 0.001})
    detections = NetworkDetector(network, loose).detect(kitti_frame)
    names = ("car", "van", "truck", "bus", "tram")
    vehicles = np.isin(detections.class_ids, [OBJECT_CLASSES.index(name) for name in names])
    assert len(set(detections.class_ids[vehicles])) > 1, "the frame shows more than cars at this threshold"
    boxes = torch.from_numpy(detections.boxes_xyxy[vehicles])
    overlaps = box_iou(boxes, boxes).fill_diagonal_(0)
    # boxes are clipped to the image after suppression, which may bring two closer
    assert float(overlaps.max()) < CONFIG.detection.nms_iou + 0.15


def test_classes_lie_where_they_belong(network: StreetNetwork, kitti_frame: Frame) -> None:
    semantic = NetworkSemantic(network).segment(kitti_frame).class_ids
    road, car, tree = (SEMANTIC_CLASSES.index(name) for name in ("road", "car", "vegetation"))
    assert (semantic[310:370, 560:900] == road).mean() > 0.9
    assert (semantic[220:280, 390:520] == car).mean() > 0.8
    assert (semantic[20:140, 300:700] == tree).mean() > 0.6


def test_slower_maps_agree_with_the_fast_one(network: StreetNetwork, kitti_frame: Frame) -> None:
    fast = NetworkSemantic(network).segment(kitti_frame).class_ids
    by_label = NetworkSemantic(network, labels="camvid").segment(kitti_frame).class_ids
    refined = NetworkSemantic(network, refined=True).segment(kitti_frame).class_ids
    for slow in (by_label, refined):
        changed = (semantic_to_camvid(slow) != semantic_to_camvid(fast)).mean()
        assert 0 < changed < 0.05


def test_a_refined_mask_is_still_the_cars(network: StreetNetwork, kitti_frame: Frame) -> None:
    detections = NetworkDetector(network, CONFIG.detection).detect(kitti_frame)
    semantic = NetworkSemantic(network).segment(kitti_frame)
    plain, refined = (
        NetworkInstances(network, refined=is_refined).segment(kitti_frame, detections, semantic).detection_rows
        for is_refined in (False, True)
    )
    best = int(np.argmax(detections.scores))
    both = ((plain == best) & (refined == best)).sum()
    assert 0.8 < both / ((plain == best) | (refined == best)).sum() < 1


def test_a_car_gets_its_own_pixels(network: StreetNetwork, kitti_frame: Frame) -> None:
    detections = NetworkDetector(network, CONFIG.detection).detect(kitti_frame)
    semantic = NetworkSemantic(network).segment(kitti_frame)
    rows = NetworkInstances(network).segment(kitti_frame, detections, semantic).detection_rows
    middle = rows[225:265, 400:500]
    row = np.bincount(middle[middle >= 0]).argmax()
    assert OBJECT_CLASSES[detections.class_ids[row]] == "car"
    assert (middle == row).mean() > 0.8
    v, u = np.nonzero(rows == row)
    x1, y1, x2, y2 = detections.boxes_xyxy[row]
    assert u.min() + 0.5 >= x1
    assert u.max() + 0.5 <= x2
    assert v.min() + 0.5 >= y1
    assert v.max() + 0.5 <= y2


def test_foreign_detections_get_pixels_too(network: StreetNetwork, kitti_frame: Frame) -> None:
    given_boxes = Detections(
        np.array([[354, 185, 550, 295], [0, 0, 200, 60]], np.float32),
        np.array([0.9, 0.8], np.float32),
        np.array([OBJECT_CLASSES.index("van"), OBJECT_CLASSES.index("pedestrian")]),
    )
    semantic = NetworkSemantic(network).segment(kitti_frame)
    rows = NetworkInstances(network).segment(kitti_frame, given_boxes, semantic).detection_rows
    assert (rows == 0).sum() > 0.5 * 196 * 110
    assert (rows[:60, :200] == -1).all()


def test_nothing_detected_is_nothing_segmented(network: StreetNetwork, kitti_frame: Frame) -> None:
    semantic = NetworkSemantic(network).segment(kitti_frame)
    rows = NetworkInstances(network).segment(kitti_frame, Detections.empty(), semantic).detection_rows
    assert (rows == -1).all()


def test_a_semantic_map_of_another_size_is_refused(network: StreetNetwork, kitti_frame: Frame) -> None:
    with pytest.raises(ValueError, match=r"semantic must be \(375, 1242\)"):
        NetworkInstances(network).segment(kitti_frame, Detections.empty(), SemanticMap(np.zeros((8, 8), np.uint8)))


def test_an_absent_gpu_is_refused_before_anything_loads() -> None:
    try:
        resolve_device("cuda")
    except DeviceError as error:
        expected = error
    else:
        pytest.skip("a GPU is present")
    with pytest.raises(DeviceError, match="cuda") as found:
        StreetNetwork(CONFIG.network, "cuda")
    assert str(found.value) == str(expected)


def rewritten(folder: Path, state: dict[str, np.ndarray] | bytes, **fields: object) -> NetworkConfig:
    """Weights with a manifest that describes them truly; gives settings that name them."""
    weights = folder / "other.safetensors"
    if isinstance(state, bytes):
        weights.write_bytes(state)
    else:
        save_file(state, weights)
    manifest = load_manifest("street").as_dict() | {"file": weights.name, "sha256": sha256_of(weights)} | fields
    weights.with_suffix(".json").write_text(json.dumps(manifest), encoding="utf-8")
    return CONFIG.network.model_copy(update={"weights": str(weights)})


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"other\.safetensors: expected a safetensors file"):
        StreetNetwork(rewritten(tmp_path, b"\x80\x04pickle"), "cpu")


@pytest.mark.parametrize("damage", ["missing layer", "missing norm", "another shape"])
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, damage: str) -> None:
    state = shipped_state()
    if damage == "missing layer":
        state = {name: value for name, value in state.items() if not name.startswith("dense_out")}
    elif damage == "missing norm":
        del state["backbone.stem.beta"]
    else:
        state["dense_out.weight"] = state["dense_out.weight"][:, :10].copy()
    with pytest.raises(WeightsError, match=r"other\.safetensors"):
        StreetNetwork(rewritten(tmp_path, state), "cpu")


def test_unknown_classes_of_a_manifest_are_refused(tmp_path: Path) -> None:
    wrong = rewritten(tmp_path, shipped_state(), semantic_classes=["road", "lava"])
    with pytest.raises(WeightsError, match="found classes lava; expected some of road"):
        StreetNetwork(wrong, "cpu")
