"""Every detector of the factory keeps the contract of the role; torchvision's have random weights from a file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import get_model, get_model_weights

from perception.classes import COCO_TO_OBJECT, OBJECT_CLASSES
from perception.config import DetectionConfig, load_config
from perception.detection.factory import DETECTORS, make_detector
from perception.detection.torchvision import TorchvisionDetector
from perception.errors import ConfigError, DeviceError, WeightsError
from perception.files import sha256_of
from perception.models import torchvision_detection
from perception.models.street_network import StreetNetwork
from perception.models.torchvision_detection import DETECTION_FAMILIES
from perception.roles import Detector
from perception.types import Frame

# the fastest of each family; wide images stay small where networks scale the shorter side up
FASTEST = {
    "fasterrcnn": "fasterrcnn_mobilenet_v3_large_320_fpn",
    "maskrcnn": "maskrcnn_resnet50_fpn",
    "retinanet": "retinanet_resnet50_fpn",
    "ssdlite": "ssdlite320_mobilenet_v3_large",
    "keypointrcnn": "keypointrcnn_resnet50_fpn",
}
PERSON_LABEL, CAR_LABEL = 1, 3


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Iterator[dict[str, Path]]:
    """A file of random weights for every family; the two-stage networks see a car or a person in every proposal."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    files = {}
    for family, name in FASTEST.items():
        state = get_model(name, weights=None, weights_backbone=None).state_dict()
        if family.endswith("rcnn"):
            for layer in ("cls_score", "bbox_pred"):
                state[f"roi_heads.box_predictor.{layer}.weight"].zero_()
            state["roi_heads.box_predictor.cls_score.bias"][PERSON_LABEL if "keypoint" in family else CAR_LABEL] += 6
        files[family] = folder / f"{name}-random.safetensors"
        save_file(state, files[family])
    yield files
    shutil.rmtree(folder)  # hundreds of megabytes, which pytest would keep for three runs


def _frame(height: int, width: int, seed: int = 0) -> Frame:
    image = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Frame(0, "0", 0, image)


def test_factory_and_configuration_know_the_same_names():
    assert set(DETECTORS) == set(get_args(DetectionConfig.model_fields["source"].annotation))
    assert set(DETECTION_FAMILIES) == set(DETECTORS) - {"network", "onnx"}


@pytest.mark.parametrize("source", [name for name in DETECTORS if name != "network"])
def test_contract(source, settings, weights, tiny_yolox):
    file = tiny_yolox() if source == "onnx" else weights[source]
    chosen = settings(
        source=source,
        weights=str(file),
        score_threshold=0.02,
        max_detections=5,
        input_height_px=64,
        input_width_px=96,
    )
    detector = make_detector(chosen, device="cpu")
    assert isinstance(detector, Detector)
    assert [(used.path, used.sha256) for used in detector.weights] == [(str(file), sha256_of(file))]
    kinds = set()
    slow = source in ("maskrcnn", "retinanet", "keypointrcnn")
    for height, width in ((12, 200),) if slow else ((24, 400), (9, 150), (1, 1)):
        frame = _frame(height, width)
        image = frame.image_rgb.copy()
        found = detector.detect(frame)
        assert len(found) <= 5
        assert (found.boxes_xyxy >= 0).all()
        assert (found.boxes_xyxy <= [width, height, width, height]).all()
        assert ((found.scores >= 0.02) & (found.scores <= 1)).all()
        assert set(found.class_ids) <= set(range(len(OBJECT_CLASSES)))
        np.testing.assert_array_equal(frame.image_rgb, image)
        kinds |= {OBJECT_CLASSES[i] for i in found.class_ids}
    if source in ("fasterrcnn", "maskrcnn"):
        assert kinds == {"car"}
    if source == "keypointrcnn":
        assert kinds == {"pedestrian"}
        assert found.keypoints is not None
        assert found.keypoints.shape == (len(found), 17, 3)
        assert ((found.keypoints[..., 2] >= 0) & (found.keypoints[..., 2] <= 1)).all()


@pytest.mark.parametrize("size", [(24, 400), (9, 150), (1, 1)])
def test_contract_of_the_embedded_network(settings, size):
    detector = make_detector(settings(source="network"), StreetNetwork(load_config().network, "cpu"))
    assert isinstance(detector, Detector)
    found = detector.detect(_frame(*size))
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= [size[1], size[0], size[1], size[0]]).all()
    assert set(found.class_ids) <= set(range(len(OBJECT_CLASSES)))


@pytest.mark.parametrize("source", ["onnx", "fasterrcnn", "ssdlite"])
def test_nothing_seen_is_empty_and_runs_repeat(source, settings, weights, tiny_yolox):
    file = str(tiny_yolox() if source == "onnx" else weights[source])
    assert len(make_detector(settings(source=source, weights=file, score_threshold=1.0)).detect(_frame(9, 150))) == 0
    detector = make_detector(settings(source=source, weights=file, score_threshold=0.0))
    first, again = (detector.detect(_frame(9, 150)) for _ in range(2))
    np.testing.assert_array_equal(first.boxes_xyxy, again.boxes_xyxy)
    np.testing.assert_array_equal(first.scores, again.scores)


def test_boxes_are_those_of_torchvision_itself(settings, weights):
    frame = _frame(24, 400)
    chosen = settings(source="fasterrcnn", weights=str(weights["fasterrcnn"]), max_detections=20)
    found = make_detector(chosen, device="cpu").detect(frame)
    network = get_model(
        FASTEST["fasterrcnn"],
        weights=None,
        weights_backbone=None,
        box_score_thresh=chosen.score_threshold,
        box_nms_thresh=chosen.nms_iou,
        box_detections_per_img=20,
    ).eval()
    network.load_state_dict(load_file(weights["fasterrcnn"]))
    with torch.inference_mode():
        (want,) = network([torch.from_numpy(frame.image_rgb).permute(2, 0, 1) / 255])
    assert len(found)
    np.testing.assert_allclose(found.boxes_xyxy, want["boxes"].numpy(), atol=1e-3)
    np.testing.assert_allclose(found.scores, want["scores"].numpy(), atol=1e-6)


def test_published_first_weights_run_without_epsilon(settings, weights):
    """torchvision sets it to 0 for the weights whose variances already hold it."""
    detector = TorchvisionDetector(settings(source="maskrcnn", weights=str(weights["maskrcnn"])))
    norms = [m for m in detector.model._network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert norms
    assert {norm.eps for norm in norms} == {0.0}


@pytest.mark.parametrize("family", DETECTION_FAMILIES)
def test_torchvision_labels_mean_what_coco_ids_mean(family):
    """The contiguous ids of COCO_TO_OBJECT and the names of torchvision's labels give the same objects."""
    for variant in DETECTION_FAMILIES[family]:
        categories = get_model_weights(variant.name).DEFAULT.meta["categories"]
        names = [name for name in categories if name not in ("__background__", "N/A", "no person")]
        by_name = {
            names.index(name): kind
            for name, kind in torchvision_detection._OBJECT_OF_COCO_NAME.items()
            if name in names
        }
        wanted = COCO_TO_OBJECT if family != "keypointrcnn" else {0: "pedestrian"}
        assert by_name == wanted


def test_one_forward_pass_serves_a_frame(settings, weights, monkeypatch):
    detector = TorchvisionDetector(settings(source="fasterrcnn", weights=str(weights["fasterrcnn"])))
    passes = []
    forward = detector.model._forward
    monkeypatch.setattr(detector.model, "_forward", lambda image: passes.append(1) or forward(image))
    first, second = _frame(24, 400), _frame(24, 400, seed=1)
    for frame in (first, first, second, second, first):
        detector.detect(frame)
    assert len(passes) == 3


def test_a_state_dict_of_torch_is_read_too(settings, weights, tmp_path):
    state = load_file(weights["ssdlite"])
    for content in (state, {"model": state, "epoch": 3}):
        path = tmp_path / "ssdlite.pth"
        torch.save(content, path)
        detector = make_detector(settings(source="ssdlite", weights=str(path)), device="cpu")
        assert detector.weights[0].name == "ssdlite320_mobilenet_v3_large"


class _Trap:
    """Would run on loading if pickles were trusted."""

    def __reduce__(self):
        return (print, ("loaded",))


def test_files_that_are_no_weights_are_refused(settings, tmp_path, capsys):
    for name in ("missing.pth", "text.safetensors", "text.pth", "trap.pth", "list.pth", "numbers.pth"):
        path = tmp_path / name
        if name.startswith("text"):
            path.write_bytes(b"no weights")
        elif name == "trap.pth":
            torch.save({"weight": _Trap()}, path)
        elif name == "list.pth":
            torch.save([torch.zeros(1)], path)
        elif name == "numbers.pth":
            torch.save({"weight": 3.0}, path)
        with pytest.raises(WeightsError) as error:
            make_detector(settings(source="ssdlite", weights=str(path)), device="cpu")
        assert str(path) in str(error.value)
        assert "state dict" in str(error.value)
        assert "\n" not in str(error.value)
    assert capsys.readouterr().out == ""


def test_truncated_weights_are_refused(settings, weights, tmp_path):
    whole = weights["ssdlite"].read_bytes()
    path = tmp_path / "half.safetensors"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        make_detector(settings(source="ssdlite", weights=str(path)), device="cpu")


def test_weights_of_another_architecture_are_refused(settings, weights):
    with pytest.raises(WeightsError, match=r"406 tensors of another model than fasterrcnn; fasterrcnn_\w+ differs in"):
        make_detector(settings(source="fasterrcnn", weights=str(weights["ssdlite"])), device="cpu")


def test_weights_of_other_classes_say_which_tensor_differs(settings, tmp_path):
    path = tmp_path / "two.safetensors"
    save_file(get_model(FASTEST["ssdlite"], weights=None, weights_backbone=None, num_classes=2).state_dict(), path)
    with pytest.raises(WeightsError, match=r"head\.classification_head\S+: found \(12,\), expected \(546,\)"):
        make_detector(settings(source="ssdlite", weights=str(path)), device="cpu")


def test_a_failed_download_names_the_address_the_file_and_the_setting(settings, tmp_path, monkeypatch):
    def unreachable(*_args: object, **_options: object) -> None:
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError) as error:
        make_detector(settings(source="ssdlite", weights=""), device="cpu")
    file = "ssdlite320_mobilenet_v3_large_coco-a79551df.pth"
    assert f"https://download.pytorch.org/models/{file}" in str(error.value)
    assert str(tmp_path / "hub" / "checkpoints" / file) in str(error.value)
    assert "detection.weights" in str(error.value)
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []


def test_a_download_in_torchs_own_cache_is_used(settings, weights, tmp_path, monkeypatch):
    cached = tmp_path / "hub" / "checkpoints" / "ssdlite320_mobilenet_v3_large_coco-a79551df.pth"
    cached.parent.mkdir(parents=True)
    torch.save(load_file(weights["ssdlite"]), cached)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    detector = make_detector(settings(source="ssdlite", weights=""), device="cpu")
    assert [used.path for used in detector.weights] == [str(cached)]


@pytest.mark.parametrize(("source", "message"), [("network", "no network loaded"), ("onnx", "detection.weights empty")])
def test_sources_without_what_they_need_are_refused(settings, source, message):
    with pytest.raises(ConfigError, match=message):
        make_detector(settings(source=source, weights=""), network=None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is there")
def test_a_gpu_that_is_absent_is_refused(settings, weights, tiny_yolox):
    for source, file in (("ssdlite", weights["ssdlite"]), ("onnx", tiny_yolox())):
        with pytest.raises(DeviceError, match="cuda"):
            make_detector(settings(source=source, weights=str(file)), device="cuda")
