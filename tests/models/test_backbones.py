"""Every backbone of the street network: its features, its folding, its graph."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from backbone_weights import filled

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from perception.config import NetworkConfig, load_config
from perception.errors import ConfigError, WeightsError
from perception.models.backbones import make_backbone
from perception.models.frozen_norm import FrozenNormConv
from perception.models.street import StreetNet
from perception.models.street_backbones import BACKBONES, architecture_of, batch_norm_eps
from perception.models.street_deploy import DeployedStreet
from perception.models.street_fold import folded_arrays
from perception.models.street_network import StreetNetwork
from perception.models.torchvision_backbones import TORCHVISION_BACKBONES, TorchvisionBackbone
from perception.training.export import write_graph, write_weights
from perception.training.model_file import export_model
from perception.types import Frame

FIELDS: dict[str, object] = {"data": "none", "licence": "none", "command": "none", "metrics": {}}


def noise(height: int, width: int) -> torch.Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(5))


def street(backbone: str) -> StreetNet:
    torch.manual_seed(11)
    return filled(lambda: StreetNet(len(OBJECT_CLASSES), len(SEMANTIC_CLASSES), backbone=backbone))


def settings(weights: Path, **change: object) -> NetworkConfig:
    given = {"weights": str(weights), "input_height_px": 64, "input_width_px": 96, "threads": 1}
    return load_config().network.model_copy(update=given | change)


@pytest.mark.parametrize("name", BACKBONES)
def test_features_have_their_strides_and_channels(name: str) -> None:
    with torch.device("meta"):  # shapes only
        backbone = make_backbone(name).eval()
        features = backbone(torch.empty(1, 3, 32, 96))
    assert [tuple(feature.shape[2:]) for feature in features] == [(16, 48), (8, 24), (4, 12), (2, 6), (1, 3)]
    assert tuple(feature.shape[1] for feature in features) == backbone.channels
    # parts that a training configuration freezes or gives rates of their own
    assert any(parameter.requires_grad for parameter in backbone.stem.parameters())
    assert all(list(stage.parameters()) for stage in backbone.stages)
    norms = [module for module in backbone.modules() if isinstance(module, FrozenNormConv)]
    assert {module.eps for module in norms} == {batch_norm_eps(name)}
    assert not [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]


@pytest.mark.parametrize("name", TORCHVISION_BACKBONES)
def test_features_equal_those_of_torchvision(name: str) -> None:
    torch.manual_seed(3)
    theirs = filled(lambda: torchvision.models.get_model(name, weights=None))
    backbone = filled(lambda: TorchvisionBackbone(name))
    backbone.load_published(theirs.state_dict())
    image = noise(32, 96)
    outputs = [image]
    with torch.no_grad():
        if name.startswith("resnet"):
            outputs.append(theirs.relu(theirs.bn1(theirs.conv1(image))))
            layers = (torch.nn.Sequential(theirs.maxpool, theirs.layer1), theirs.layer2, theirs.layer3, theirs.layer4)
        else:
            layers = tuple(theirs.features[:-1])
        for layer in layers:
            # some layers work in place
            outputs.append(layer(outputs[-1].clone()))
        for stride, ours in zip((2, 4, 8, 16, 32), backbone(image), strict=True):
            last = next(out for out in reversed(outputs) if out.shape[3] * stride == image.shape[3])
            torch.testing.assert_close(ours, last, rtol=1e-4, atol=1e-5 * float(last.abs().max()))


def test_weights_of_another_network_are_refused() -> None:
    small = torchvision.models.resnet18(weights=None).state_dict()
    with pytest.raises(ValueError, match=r"hold no layer1\.2\.conv1\.weight"):
        TorchvisionBackbone("resnet34").load_published(small)
    backbone = TorchvisionBackbone("resnet18")
    before = backbone.state_dict()["stem.0.weight"].clone()
    wrong = small | {"layer4.0.bn1.running_var": torch.zeros(3)}
    with pytest.raises(ValueError, match=r"layer4\.0\.bn1\.running_var has shape \(3,\) but layer stages\.3\.0\.conv1"):
        backbone.load_published(wrong)
    assert torch.equal(backbone.state_dict()["stem.0.weight"], before)


def test_an_unknown_backbone_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(
        ConfigError, match=r"backbone 'resnet19': expected one of lite0, .*small; did you mean resnet18"
    ):
        StreetNet(3, 4, backbone="resnet19")


@pytest.mark.parametrize("name", BACKBONES)
def test_the_folded_network_is_the_trained_one(name: str) -> None:
    network = street(name)
    state = {key: value.numpy() for key, value in network.state_dict().items()}
    deployed = DeployedStreet.from_arrays(
        folded_arrays(state, name), len(OBJECT_CLASSES), len(SEMANTIC_CLASSES), name
    ).eval()
    assert not [module for module in deployed.modules() if isinstance(module, FrozenNormConv | torch.nn.BatchNorm2d)]
    with torch.inference_mode():
        for ours, theirs in zip(deployed(noise(32, 96)), network(noise(32, 96)), strict=True):
            torch.testing.assert_close(ours, theirs[0], rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", ["lite1", "resnet18", "mobilenet_v3_small"])
def test_onnxruntime_agrees_with_torch(name: str, tmp_path: Path) -> None:
    file = write_weights(street(name).state_dict(), "toy", FIELDS, tmp_path, backbone=name)
    assert (tmp_path / f"{architecture_of(name)}.onnx").stat().st_size < 300_000
    image = np.random.default_rng(3).integers(0, 255, (64, 96, 3), np.uint8)
    frame = Frame(0, "noise", 0, image)
    ours = StreetNetwork(settings(file), "cpu").infer(frame)
    theirs = StreetNetwork(settings(file, backend="torch"), "cpu").infer(frame)
    for head in ("boxes", "solid", "embedding", "semantic_logits", "box_cues", "log_depth"):
        expected = getattr(theirs, head)
        np.testing.assert_allclose(getattr(ours, head), expected, atol=2e-3 * np.abs(expected).max())


def test_a_missing_graph_is_told_with_the_command_that_writes_it(tmp_path: Path) -> None:
    file = write_weights(
        street("mobilenet_v3_small").state_dict(), "toy", FIELDS, tmp_path, backbone="mobilenet_v3_small"
    )
    graph = tmp_path / "street-mobilenet_v3_small-2.onnx"
    graph.unlink()
    command = f"python -m perception.training.export graph --backbone mobilenet_v3_small --folder {tmp_path}"
    with pytest.raises(WeightsError, match=rf"{graph}: found no graph to run toy.safetensors .*{re.escape(command)}$"):
        StreetNetwork(settings(file), "cpu")
    # torch needs none, nor does an export that stands alone
    assert StreetNetwork(settings(file, backend="torch"), "cpu").weights_name == "toy"
    report = export_model(str(file), tmp_path / "whole.onnx", None, None, 1)
    assert report.heads
    assert write_graph(tmp_path, "mobilenet_v3_small") == graph
    assert StreetNetwork(settings(file), "cpu").weights_name == "toy"


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    file = write_weights(
        street("mobilenet_v3_small").state_dict(), "toy", FIELDS, tmp_path, backbone="mobilenet_v3_small"
    )
    manifest = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    for architecture, message in (
        ("street-lite0-2", r"toy\.safetensors: found weights that do not fit street-lite0-2\.onnx"),
        ("street-lite0-1", r"found weights of architecture street-lite0-1; expected one of street-lite0-2, "),
    ):
        wrong = manifest | {"architecture": architecture}
        file.with_suffix(".json").write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(WeightsError, match=message):
            StreetNetwork(settings(file), "cpu")
