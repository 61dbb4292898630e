"""Convolution and batch norm with frozen statistics: what every backbone is made of.

Batch norm is frozen: its statistics stay those of the published weights and are multiplied into the convolution's
weights on the fly. That gives the outputs of ``eval()`` mode, keeps the conditioning of normalised weights in training
however small the batch, and costs nothing per pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FrozenNormConv", "settle_statistics"]

ConvFunction = Callable[[Tensor, Tensor, Tensor, int, int], Tensor]


def _depthwise(image: Tensor, weight: Tensor, bias: Tensor, stride: int, padding: int) -> Tensor:
    return functional.conv2d(image, weight, bias, stride, padding, groups=weight.shape[0])


class FrozenNormConv(nn.Module):
    """Convolution and batch norm with frozen statistics, as one convolution.

    Args:
        inputs: channels.
        outputs: channels.
        kernel: odd side of the kernel.
        stride: 1 or 2.
        groups: 1, or ``inputs`` for a depthwise convolution.
        relu6: whether ReLU6 follows.
        eps: added to the variances.
        same_padding: where the stride is 2, pads as TensorFlow's "same" does for even inputs: ``kernel - 2`` split with
            the larger half behind. Otherwise half of the kernel on all sides, as torch's networks do.
    """

    depthwise: ConvFunction = staticmethod(_depthwise)
    """Replaced by training with a version whose backward pass is faster on a CPU."""

    mean: Tensor
    variance: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        relu6: bool = True,
        *,
        eps: float = 1e-3,
        same_padding: bool = True,
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs // groups, kernel, kernel))
        self.gamma = nn.Parameter(torch.ones(outputs))
        self.beta = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("variance", torch.ones(outputs))
        self.kernel, self.stride, self.groups, self.relu6, self.eps = kernel, stride, groups, relu6, eps
        self.same_padding = same_padding and stride == 2
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the one convolution that this is."""
        scale = self.gamma * torch.rsqrt(self.variance + self.eps)
        return self.weight * scale[:, None, None, None], self.beta - self.mean * scale

    def convolved(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride) with another weight and bias, before ReLU6."""
        padding = self.kernel // 2
        if self.same_padding:
            before = (self.kernel - 2) // 2
            after = self.kernel - 2 - before
            features, padding = functional.pad(features, (before, after, before, after)), 0
        if self.groups == 1:
            return functional.conv2d(features, weight, bias, self.stride, padding)
        return FrozenNormConv.depthwise(features, weight, bias, self.stride, padding)

    def forward(self, features: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        out = self.convolved(features, *self.folded())
        return functional.relu6(out, inplace=True) if self.relu6 else out


@torch.no_grad()
def settle_statistics(network: nn.Module, image: Tensor) -> None:
    """Gives every frozen batch norm the statistics of one batch, layer after layer.

    Random weights without statistics of their own double the variance with every residual block; frozen norms would
    never take that back.

    Args:
        network: changed in place.
        image: (N, 3, H, W) normalised; what it looks like matters little, that it varies does.
    """

    def settle(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        layer = module
        if isinstance(layer, FrozenNormConv):
            out = layer.convolved(inputs[0], layer.weight, torch.zeros_like(layer.beta))
            layer.mean.copy_(out.mean((0, 2, 3)))
            layer.variance.copy_(out.var((0, 2, 3)))

    hooks = [each.register_forward_pre_hook(settle) for each in network.modules() if isinstance(each, FrozenNormConv)]
    try:
        network(image)
    finally:
        for hook in hooks:
            hook.remove()
