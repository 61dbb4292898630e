"""The embedded multi-task network: one backbone, one pyramid, all heads from one forward pass.

    image ── backbone ── features at strides 2, 4, 8, 16, 32
                           │ top-down and bottom-up pyramid
                           ├ strides 8, 16, 32: at every cell (anchor-free) box edges, class scores, the object's size,
                           │   heading and distance, and an embedding by which it is known again
                           ├ stride 4: depth, and of the object under every cell the box it belongs to
                           └ stride 2: semantic classes

The "box cue" at stride 4 is what tells touching objects of one class apart: a cell belongs to the detection whose box
agrees best with the box that the cell itself predicts. Semantic classes are computed at stride 4, four places a cell:
poles and distant people are thinner than a cell.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from perception.models.backbones import make_backbone
from perception.models.frozen_norm import FrozenNormConv
from perception.models.street_backbones import DEFAULT_BACKBONE
from perception.models.street_layout import BOX_STRIDES, DENSE_STRIDE, EMBEDDING, SEMANTIC_STRIDE, SOLID_CUES

__all__ = ["ConvNorm", "StreetNet"]

_PRIOR_PROBABILITY = 0.01  # of an object at a cell, before training: Lin et al., "Focal loss", ICCV 2017, section 4.1


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless told otherwise, ReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, relu: bool = True):
        layers: list[nn.Module] = [
            nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        super().__init__(*layers, *([nn.ReLU(inplace=True)] if relu else []))

    @property
    def conv(self) -> nn.Conv2d:
        """The convolution."""
        return cast(nn.Conv2d, self[0])


class _DepthwiseConv(nn.Module):
    """Depthwise convolution; shares the function with the backbone's, and so its backward pass in training."""

    def __init__(self, channels: int, kernel: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, 1, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.padding = kernel // 2
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")

    def forward(self, features: Tensor) -> Tensor:
        return FrozenNormConv.depthwise(features, self.weight, self.bias, 1, self.padding)


class _SeparableConv(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int = 3):
        super().__init__(_DepthwiseConv(inputs, kernel), ConvNorm(inputs, outputs))


class _Context(nn.Module):
    """Widens the view at stride 32."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(_SeparableConv(channels, channels, 5), _SeparableConv(channels, channels, 5))

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = features + self.layers(features)
        return out


class _BoxHead(nn.Module):
    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.shared = _SeparableConv(channels, channels)
        self.class_branch = _SeparableConv(channels, channels)
        self.edge_branch = _SeparableConv(channels, channels)
        self.class_logits = nn.Conv2d(channels, classes, 1)
        self.log_edges = nn.Conv2d(channels, 4, 1)
        self.solid = nn.Conv2d(channels, len(SOLID_CUES), 1)
        self.embedding = nn.Conv2d(channels, EMBEDDING, 1)
        prior_logit = math.log(_PRIOR_PROBABILITY / (1 - _PRIOR_PROBABILITY))
        for layer, bias in ((self.class_logits, prior_logit), (self.log_edges, 1.0), (self.solid, 0.0)):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, bias)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, h, w) to (N, 4 + classes + solid cues + embedding, h * w)."""
        features = self.shared(features)
        edges, classes = self.edge_branch(features), self.class_branch(features)
        out = [self.log_edges(edges), self.class_logits(classes), self.solid(edges), self.embedding(classes)]
        return torch.cat(out, dim=1).flatten(2)


def _twice(features: Tensor) -> Tensor:
    return functional.interpolate(features, scale_factor=2.0, mode="nearest")


class StreetNet(nn.Module):
    """Everything the network says of a normalised image whose sides are multiples of 32.

    Args:
        object_classes: number of classes of the boxes.
        semantic_classes: number of classes of the pixels.
        channels: width of the pyramid.
        dense_channels: width of the stride 4 branch.
        backbone: one of ``BACKBONES``.

    Raises:
        ConfigError: there is no such backbone.
    """

    def __init__(
        self,
        object_classes: int,
        semantic_classes: int,
        channels: int = 96,
        dense_channels: int = 64,
        backbone: str = DEFAULT_BACKBONE,
    ):
        super().__init__()
        self.semantic_classes = semantic_classes
        self.backbone = make_backbone(backbone)
        c2, c4, c8, c16, c32 = self.backbone.channels
        self.detail = ConvNorm(c2, dense_channels, 2, stride=2, relu=False)
        self.lateral4 = ConvNorm(c4, dense_channels, relu=False)
        self.lateral8 = ConvNorm(c8, channels, relu=False)
        self.lateral16 = ConvNorm(c16, channels, relu=False)
        self.lateral32 = ConvNorm(c32, channels)
        self.context = _Context(channels)
        self.merge16 = ConvNorm(channels, channels, 3)
        self.merge8 = nn.Sequential(_SeparableConv(channels, channels, 5), _SeparableConv(channels, channels))
        self.down16 = ConvNorm(channels, channels, 3, stride=2)
        self.down32 = ConvNorm(channels, channels, 3, stride=2)
        self.box_heads = nn.ModuleList(_BoxHead(channels, object_classes) for _ in BOX_STRIDES)
        self.reduce8 = ConvNorm(channels, dense_channels, relu=False)
        self.dense = nn.Sequential(
            _SeparableConv(dense_channels, dense_channels, 5), _SeparableConv(dense_channels, dense_channels, 3)
        )
        self.finer = _SeparableConv(dense_channels, dense_channels, 3)
        self.semantic_out = nn.Conv2d(dense_channels, semantic_classes * (DENSE_STRIDE // SEMANTIC_STRIDE) ** 2, 1)
        self.dense_out = nn.Conv2d(dense_channels, 5, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One pass.

        Args:
            image: (N, 3, H, W) RGB, ImageNet mean and deviation taken out.

        Returns:
            boxes (N, 4 + object classes + ``SOLID_CUES`` + ``EMBEDDING``, A): logarithms of the distances left, top,
            right, bottom from the cell's centre in strides, then class logits and the rest; cells row by row, strides
            8, 16, 32 one after the other.
            semantic (N, semantic classes, H / 2, W / 2): class logits.
            dense (N, 5, H / 4, W / 4): the box cue left, top, right, bottom, then the logarithm of the depth in m as
            for a camera of ``DEPTH_FOCAL_PX``.
        """
        boxes, cells, dense = self.cells(image)
        return boxes, functional.pixel_shuffle(cells, DENSE_STRIDE // SEMANTIC_STRIDE), dense

    def cells(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As ``forward``, but semantic (N, 4 * semantic classes, H / 4, W / 4): four places of every cell, row by row.

        Moving the places to where they lie takes longer than computing them; who reads them can do without.
        """
        f2, f4, f8, f16, f32 = self.backbone(image)
        p32 = self.context(self.lateral32(f32))
        p16 = self.merge16(functional.relu(self.lateral16(f16) + _twice(p32)))
        p8 = self.merge8(functional.relu(self.lateral8(f8) + _twice(p16)))
        n16 = p16 + self.down16(p8)
        n32 = p32 + self.down32(n16)
        boxes = torch.cat([head(level) for head, level in zip(self.box_heads, (p8, n16, n32), strict=True)], dim=2)
        p4 = self.dense(functional.relu(self.detail(f2) + self.lateral4(f4) + _twice(self.reduce8(p8))))
        return boxes, self.semantic_out(p4 + self.finer(p4)), self.dense_out(p4)
