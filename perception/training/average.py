"""The moving average of a network's weights: what is validated and kept."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["MovingAverage"]


class MovingAverage:
    """Exponential moving average of a network's parameters and buffers.

    Attributes:
        state: by the names of the network's ``state_dict``.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Takes one step in; the first steps count more, so that the start is forgotten soon."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            if value.dtype.is_floating_point:
                self.state[name].lerp_(value, 1 - decay)
            else:
                self.state[name].copy_(value)
