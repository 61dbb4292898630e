"""Random weights under which every layer shows in the features."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn

from perception.models.frozen_norm import FrozenNormConv

Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def filled(make: Callable[[], Network]) -> Network:
    """A network with weights that keep the scale and batch norms as if trained, in ``eval`` mode.

    Its own first weights are never drawn: that takes longer than what the tests are about.
    """
    with torch.device("meta"):
        network = make()
    network.to_empty(device="cpu")
    for parameter in network.parameters():
        reach = math.sqrt(6 / parameter[0].numel()) if parameter.ndim > 1 else 0.3
        parameter.uniform_(-reach, reach)
    return random_norms(network)


@torch.no_grad()
def random_norms(network: Network) -> Network:
    """Batch norms as if trained, and the network in ``eval`` mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            parts = (module.weight, module.bias, module.running_mean, module.running_var)
        elif isinstance(module, FrozenNormConv):
            parts = (module.gamma, module.beta, module.mean, module.variance)
        else:
            continue
        gamma, beta, mean, variance = parts
        assert mean is not None
        assert variance is not None
        gamma.uniform_(0.5, 1.2)
        beta.normal_(0, 0.3)
        mean.normal_(0, 0.3)
        variance.uniform_(0.3, 2.0)
    return network.eval()
