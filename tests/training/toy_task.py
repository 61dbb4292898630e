"""A small task for the loop: fit a line, or whatever a test makes of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perception.training.checkpoints import Checkpoints
from perception.training.distributed import World
from perception.training.loop import train
from perception.training.settings import (
    OptimizerSettings,
    RunSettings,
    ScheduleSettings,
    StopSettings,
    ValidationSettings,
)
from perception.training.task import Forward, LoopSettings

FIELDS = {
    "data": "toy", "licence": "none", "command": "pytest", "object_classes": [], "semantic_classes": [], "input": {},
}  # fmt: skip
ALONE = World(0, 1, torch.device("cpu"))


class Net(nn.Module):
    """Two layers with a convolution in channels-last memory, whose order of sums a resumed run must keep."""

    def __init__(self, inputs: int = 4) -> None:
        super().__init__()
        self.backbone = nn.Conv2d(inputs, 6, 3, padding=1)
        self.head = nn.Linear(6, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        features = self.backbone(images).relu()
        return self.head(features.mean(dim=(2, 3))), features


class ToyTask:
    """Regresses the images' mean; images ``number * batch + index`` are the same however they are batched."""

    images_per_epoch = 40

    def __init__(self, batch: int = 4, seed: int = 5, inputs: int = 4) -> None:
        torch.manual_seed(seed)
        self.network: nn.Module = Net(inputs).to(memory_format=torch.channels_last)
        self.size, self.inputs = batch, inputs
        self.stop_after: int | None = None
        self.spoil: str | None = None
        self.spoil_at = -1
        self.metrics: list[float] = []
        self.validations = 0

    def batch(self, number: int) -> tuple[int, Tensor]:
        images = [
            torch.randn(self.inputs, 6, 5, generator=torch.Generator().manual_seed(number * self.size + index))
            for index in range(self.size)
        ]
        return number, torch.stack(images).contiguous(memory_format=torch.channels_last)

    def names(self, batch: tuple[int, Tensor]) -> list[str]:
        return [f"toy/{batch[0] * self.size + index}" for index in range(self.size)]

    def losses(self, forward: Forward, batch: tuple[int, Tensor]) -> dict[str, Tensor]:
        number, images = batch
        if self.stop_after is not None and number == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
        found, features = forward(images)
        wanted = images.mean(dim=(1, 2, 3))[:, None] * 5 + 1
        error = (found - wanted).pow(2).mean()
        if number == self.spoil_at:
            if self.spoil == "loss":
                error = error * float("nan")
            else:
                # a finite loss with an infinite gradient
                error = error + (features * 0).abs().pow(0.5).sum()
        return {"error": error, "size": 0.01 * features.pow(2).mean()}

    def validate(self, state: dict[str, Tensor]) -> dict[str, float]:
        self.validations += 1
        value = self.metrics[min(self.validations, len(self.metrics)) - 1] if self.metrics else float(self.validations)
        return {"score": value}


def settings(**changes: Any) -> LoopSettings:
    """Six steps of AdamW, a checkpoint every two; a section's dictionary replaces single keys of it."""
    sections: dict[str, dict[str, Any]] = {
        "run": {"batch": 4, "precision": "fp32", "log_every": 2},
        "optimizer": {"rate": 0.05, "clip_norm": 1.0, "average": 0.9, "weight_decay": 0.01},
        "schedule": {"unit": "steps", "length": 6, "warmup_steps": 2, "checkpoint_every": 2},
        "validation": {},
    }
    for name, change in changes.items():
        sections[name] = sections[name] | change
    validation = dict(sections["validation"])
    if "stop" in validation:
        validation["stop"] = StopSettings(**validation["stop"])
    return LoopSettings(
        RunSettings(**sections["run"]),
        OptimizerSettings(**sections["optimizer"]),
        ScheduleSettings(**sections["schedule"]),
        ValidationSettings(**validation),
    )


def fit(
    folder: Path,
    task: ToyTask,
    chosen: LoopSettings | None = None,
    lines: list[str] | None = None,
    world: World = ALONE,
) -> dict[str, Tensor]:
    """Runs the loop in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    said = lines if lines is not None else []
    return train(task, chosen or settings(), Checkpoints(folder, "toy-1", FIELDS), world, said.append)
