"""The street network for use, in torch: batch norms folded into their convolutions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.models.frozen_norm import FrozenNormConv
from perception.models.street import ConvNorm, StreetNet
from perception.models.street_backbones import DEFAULT_BACKBONE

__all__ = ["DeployedStreet"]


class _FoldedConv(nn.Module):
    """A convolution with bias; ``weight`` and ``bias`` carry the names that ``folded_arrays`` gives."""

    def __init__(self, layer: FrozenNormConv | ConvNorm):
        super().__init__()
        if isinstance(layer, FrozenNormConv):
            shape, kernel = layer.weight.shape, layer.kernel
            self.stride, self.groups = layer.stride, layer.groups
            self.same_padding, self.limit = layer.same_padding, 6.0 if layer.relu6 else None
            self.relu = False
        else:
            conv = layer.conv
            shape, kernel, self.stride, self.groups = conv.weight.shape, conv.kernel_size[0], conv.stride[0], 1
            self.same_padding, self.limit, self.relu = False, None, len(layer) == 3
        self.kernel = kernel
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(shape[0]))

    def forward(self, features: Tensor) -> Tensor:
        padding = (self.kernel - 1) // 2
        if self.same_padding:
            before = (self.kernel - 2) // 2
            after = self.kernel - 2 - before
            features, padding = functional.pad(features, (before, after, before, after)), 0
        out = functional.conv2d(features, self.weight, self.bias, self.stride, padding, groups=self.groups)
        if self.relu:
            return functional.relu(out)
        return out if self.limit is None else functional.hardtanh(out, 0.0, self.limit)


def _fold(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, FrozenNormConv | ConvNorm):
            setattr(module, name, _FoldedConv(child))
        else:
            _fold(child)


class DeployedStreet(nn.Module):
    """The network with folded batch norms, for one image at a time."""

    def __init__(self, object_classes: int, semantic_classes: int, backbone: str = DEFAULT_BACKBONE):
        super().__init__()
        self.network = StreetNet(object_classes, semantic_classes, backbone=backbone)
        _fold(self.network)

    @classmethod
    def from_arrays(
        cls,
        arrays: dict[str, npt.NDArray[np.float32]],
        object_classes: int,
        semantic_classes: int,
        backbone: str = DEFAULT_BACKBONE,
    ) -> DeployedStreet:
        """A network with the arrays that ``folded_arrays`` gave.

        Raises:
            ValueError: arrays are missing, too many or of other shapes.
        """
        with torch.device("meta"):  # random weights would take longer than all else
            deployed = cls(object_classes, semantic_classes, backbone)
        state = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
        try:
            deployed.network.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise ValueError(f"arrays do not fit the street network: {error}") from None
        return deployed

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1, 3, H, W) normalised image to the outputs of ``StreetNet`` without their first axis."""
        boxes, semantic, dense = self.network(image)
        return boxes[0], semantic[0], dense[0]

    def cells(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 3, H, W) normalised images to what ``StreetNet.cells`` gives."""
        boxes, semantic, dense = self.network.cells(image)
        return boxes, semantic, dense
