"""What the street network asks of a backbone: features at strides 2, 4, 8, 16 and 32."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

__all__ = ["Backbone"]


class Backbone(nn.Module):
    """A stem and stages, each the input of the next; parts of a training configuration are named by them.

    Attributes:
        channels: of the features at strides 2, 4, 8, 16 and 32.
        stem: first layers.
        stages: the others, as a list.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        taps: Sequence[int],
        channels: tuple[int, int, int, int, int],
    ):
        """Puts the parts together.

        Args:
            stem: at stride 2.
            stages: in their order.
            taps: after which part each of the five features is taken: 0 for the stem, k for stage ``k - 1``.
            channels: of the five features.
        """
        super().__init__()
        self.stem = stem
        self.stages = nn.ModuleList(stages)
        self.channels = channels
        self._taps = tuple(taps)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Normalised image (N, 3, H, W), sides multiples of 32, to features of ``channels`` channels."""
        parts = [self.stem(image)]
        for stage in self.stages:
            parts.append(stage(parts[-1]))
        f2, f4, f8, f16, f32 = (parts[tap] for tap in self._taps)
        return f2, f4, f8, f16, f32

    @abstractmethod
    def load_published(self, state: Mapping[str, Tensor]) -> None:
        """Copies weights as they were published, classifier and all; what the backbone has no use for is left.

        Raises:
            ValueError: tensors are missing or of other shapes.
        """
