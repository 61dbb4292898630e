"""What the training loop works on, and how it can end other than well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from torch import Tensor, nn

from perception.errors import PerceptionError
from perception.training.settings import OptimizerSettings, RunSettings, ScheduleSettings, ValidationSettings

__all__ = ["Forward", "LoopSettings", "Task", "TrainingDivergedError", "TrainingInterruptedError"]

_Batch = TypeVar("_Batch")

Forward = Callable[[Tensor], Any]
"""Calls the network in the run's precision, over all its processes."""


class TrainingDivergedError(PerceptionError):
    """A loss, a gradient or a weight is no longer a number; the last checkpoint is from before."""


class TrainingInterruptedError(Exception):
    """The run was told to stop, wrote a checkpoint and can go on.

    Attributes:
        step: of the checkpoint.
    """

    def __init__(self, step: int):
        super().__init__(f"stopped after step {step}")
        self.step = step


class Task(Protocol[_Batch]):
    """What is learnt: a network, its batches, its losses and how it is judged."""

    @property
    def network(self) -> nn.Module:
        """What learns."""

    @property
    def images_per_epoch(self) -> int:
        """Images of all data sets together."""

    def batch(self, number: int) -> _Batch:
        """Batch ``number``, a function of the number alone."""

    def names(self, batch: _Batch) -> Sequence[str]:
        """What the batch was made of, for errors."""

    def losses(self, forward: Forward, batch: _Batch) -> dict[str, Tensor]:
        """Named and weighted losses; their sum is descended."""

    def validate(self, state: dict[str, Tensor]) -> dict[str, float]:
        """Metrics of a network of this state."""


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """The parts of a configuration that the loop reads."""

    run: RunSettings
    optimizer: OptimizerSettings
    schedule: ScheduleSettings
    validation: ValidationSettings

    def as_dict(self) -> dict[str, Any]:
        """Every setting by its dotted name."""
        sections = {name: getattr(self, name).model_dump(mode="json") for name in self.__slots__}
        return {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}
