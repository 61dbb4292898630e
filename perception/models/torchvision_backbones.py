"""ResNet and MobileNet of torchvision as feature extractors with frozen batch norms.

He et al., "Deep residual learning for image recognition", CVPR 2016; Sandler et al., "MobileNetV2", CVPR 2018; Howard
et al., "Searching for MobileNetV3", ICCV 2019. The layers are torchvision's own; every convolution with a batch norm
behind it becomes one ``FrozenNormConv``. What only classifies is dropped, MobileNet's last widening included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torchvision
from torch import Tensor, nn

from perception.models.backbone import Backbone
from perception.models.frozen_norm import FrozenNormConv
from perception.models.street_backbones import BackboneName

__all__ = ["TORCHVISION_BACKBONES", "TorchvisionBackbone"]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a network is cut.

    Attributes:
        channels: of the features at strides 2, 4, 8, 16 and 32.
        ends: MobileNet's number of layers of ``features`` up to the end of the stem and of every stage; ResNet's
            stages are torchvision's ``layer1`` ... ``layer4``.
    """

    channels: tuple[int, int, int, int, int]
    ends: tuple[int, ...] = ()


TORCHVISION_BACKBONES: dict[BackboneName, _Layout] = {
    "resnet18": _Layout((64, 64, 128, 256, 512)),
    "resnet34": _Layout((64, 64, 128, 256, 512)),
    "resnet50": _Layout((64, 256, 512, 1024, 2048)),
    "mobilenet_v2": _Layout((16, 24, 32, 96, 320), (1, 2, 4, 7, 14, 18)),
    "mobilenet_v3_large": _Layout((16, 24, 40, 112, 160), (1, 2, 4, 7, 13, 16)),
    "mobilenet_v3_small": _Layout((16, 16, 24, 48, 96), (1, 2, 4, 9, 12)),
}
"""By torchvision's own names of the networks."""

_NORM_NAMES = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}


class TorchvisionBackbone(Backbone):
    """A stem and one stage for every stride; MobileNetV2 and V3-large have a stage at the stem's stride too."""

    def __init__(self, name: BackboneName) -> None:
        """A network with random weights.

        Args:
            name: of ``TORCHVISION_BACKBONES``.
        """
        layout = TORCHVISION_BACKBONES[name]
        with torch.device("meta"):
            network = torchvision.models.get_model(name, weights=None)
        sources = _made_anew(network)
        if layout.ends:
            layers = list(network.features)
            stem, *stages = (
                nn.Sequential(*layers[start:end]) for start, end in zip((0, *layout.ends), layout.ends, strict=False)
            )
        else:
            stem = nn.Sequential(network.conv1, network.relu)
            stages = [nn.Sequential(network.maxpool, *network.layer1), network.layer2, network.layer3, network.layer4]
        # five features, of the last parts
        super().__init__(stem, stages, range(len(stages) - 4, len(stages) + 1), layout.channels)
        self._published = {
            f"{layer}.{own}": source
            for layer, module in self.named_modules()
            for own, source in sources.get(module, {}).items()
        }

    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Copies torchvision's weights by their names.

        Args:
            state: such as that of ``torchvision.models.resnet18(weights="DEFAULT")``.

        Raises:
            ValueError: tensors are missing or of other shapes.
        """
        own = self.state_dict()
        for name, source in self._published.items():
            if source not in state:
                raise ValueError(f"ImageNet weights hold no {source}")
            if state[source].shape != own[name].shape:
                raise ValueError(
                    f"ImageNet weight {source} has shape {tuple(state[source].shape)} but layer {name} expects "
                    f"{tuple(own[name].shape)}"
                )
        with torch.no_grad():
            for name, source in self._published.items():
                own[name].copy_(state[source])


def _made_anew(network: nn.Module) -> dict[nn.Module, dict[str, str]]:
    """Replaces every convolution of a network without memory; with the batch norm behind it, if there is one.

    Returns:
        for every convolution, by the names of its tensors, what torchvision calls them.
    """
    sources: dict[nn.Module, dict[str, str]] = {}
    for path, parent in list(network.named_modules()):
        prefix = f"{path}." if path else ""
        children = list(parent.named_children())
        for index, (name, conv) in enumerate(children):
            if not isinstance(conv, nn.Conv2d):
                continue
            norm_name, norm = children[index + 1] if index + 1 < len(children) else ("", None)
            inputs, outputs, kernel, stride = conv.in_channels, conv.out_channels, conv.kernel_size[0], conv.stride[0]
            layer: nn.Module
            if isinstance(norm, nn.BatchNorm2d):
                layer = FrozenNormConv(
                    inputs, outputs, kernel, stride, conv.groups, relu6=False, eps=norm.eps, same_padding=False
                )
                setattr(parent, norm_name, nn.Identity())
                sources[layer] = {"weight": f"{prefix}{name}.weight"} | {
                    own: f"{prefix}{norm_name}.{theirs}" for own, theirs in _NORM_NAMES.items()
                }
            else:
                layer = nn.Conv2d(inputs, outputs, kernel, stride)
                sources[layer] = {own: f"{prefix}{name}.{own}" for own in ("weight", "bias")}
            setattr(parent, name, layer)
    return sources
