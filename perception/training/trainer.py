"""The training loop: schedule by the clock, moving average, checkpoints from which a run goes on."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from perception.errors import WeightsError
from perception.files import replaced_when_done, write_text_atomic

__all__ = ["MovingAverage", "Schedule", "TrainingDivergedError", "train"]


_Batch = TypeVar("_Batch")


class TrainingDivergedError(RuntimeError):
    """The loss is no longer a number; the last checkpoint is from before."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Linear warm-up over steps, then a half cosine over the time that is left."""

    minutes: float
    warmup_steps: int

    def factor(self, step: int, elapsed_minutes: float) -> float:
        """What the learning rates are multiplied by.

        >>> Schedule(60.0, 100).factor(50, 0.0)
        0.5
        """
        progress = min(1.0, elapsed_minutes / self.minutes)
        return min(1.0, step / self.warmup_steps) * (0.5 + 0.5 * math.cos(math.pi * progress))


class MovingAverage:
    """Exponential moving average of a network's parameters and buffers."""

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


def train(
    network: nn.Module,
    groups: list[dict[str, object]],
    batch_at: Callable[[int], _Batch],
    loss_of: Callable[[_Batch], dict[str, Tensor]],
    schedule: Schedule,
    folder: Path,
    *,
    weight_decay: float,
    clip_norm: float,
    average: float,
    checkpoint_minutes: float,
    validate_minutes: float,
    validate: Callable[[dict[str, Tensor]], dict[str, float]],
    log: Callable[[str], None],
) -> dict[str, Tensor]:
    """Trains until the schedule's time is up, going on from ``folder``'s checkpoint if there is one.

    Args:
        network: in training mode where it should be; changed in place.
        groups: AdamW parameter groups, each with ``params`` and ``lr``.
        batch_at: gives the batch of a step, counted from 0.
        loss_of: named, weighted losses of a batch; their sum is descended.
        schedule: of the rates.
        folder: checkpoints go here.
        weight_decay: of weights with more than one axis.
        clip_norm: largest gradient norm.
        average: decay of the moving average.
        checkpoint_minutes: time between checkpoints.
        validate_minutes: time between validations.
        validate: metrics of averaged weights.
        log: takes a line.

    Returns:
        The averaged state.

    Raises:
        TrainingDivergedError: a loss is not finite.
        WeightsError: the checkpoint is of another network.
    """
    optimizer = torch.optim.AdamW(groups, weight_decay=weight_decay)
    initial_rates = [float(group["lr"]) for group in optimizer.param_groups]
    mean = MovingAverage(network, average)
    step, elapsed = _resume(folder, network, optimizer, mean)
    if step:
        log(f"going on from step {step}, {elapsed:.1f} min")
    began = time.monotonic() - elapsed * 60
    saved = validated = elapsed
    sums: dict[str, float] = {}
    counted = 0
    while elapsed < schedule.minutes:
        factor = schedule.factor(step + 1, elapsed)
        for group, rate in zip(optimizer.param_groups, initial_rates, strict=True):
            group["lr"] = rate * factor
        torch.manual_seed(step)
        losses = loss_of(batch_at(step))
        total = torch.stack(list(losses.values())).sum()
        if not math.isfinite(total.item()):
            found = {name: value.item() for name, value in losses.items()}
            raise TrainingDivergedError(f"step {step + 1}: expected a finite loss but got {found}")
        optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(network.parameters(), clip_norm)
        optimizer.step()
        step += 1
        mean.update(network, step)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0.0) + value.item()
        counted += 1
        elapsed = (time.monotonic() - began) / 60
        if counted == 25:
            means = " ".join(f"{name} {value / counted:.3f}" for name, value in sums.items())
            log(f"step {step} min {elapsed:.1f} rate {factor:.3f} {means}")
            sums, counted = {}, 0
        if elapsed - saved >= checkpoint_minutes or elapsed >= schedule.minutes:
            _save(folder, network, optimizer, mean, step, elapsed)
            saved = elapsed
        if elapsed - validated >= validate_minutes or elapsed >= schedule.minutes:
            metrics = validate(mean.state)
            log(f"validation step {step} " + json.dumps({name: round(value, 2) for name, value in metrics.items()}))
            validated = elapsed
    return mean.state


def _save(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, mean: MovingAverage, step: int, elapsed: float
) -> None:
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in mean.state.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    with replaced_when_done(folder / "last.safetensors") as aside:
        save_file({name: value.contiguous() for name, value in tensors.items()}, aside)
    write_text_atomic(folder / "last.json", json.dumps({"step": step, "elapsed_minutes": elapsed}))


def _resume(
    folder: Path, network: nn.Module, optimizer: torch.optim.Optimizer, mean: MovingAverage
) -> tuple[int, float]:
    file = folder / "last.safetensors"
    if not file.is_file():
        return 0, 0.0
    tensors = load_file(file)
    try:
        network.load_state_dict({n.removeprefix("network."): v for n, v in tensors.items() if n.startswith("network.")})
    except RuntimeError as error:
        raise WeightsError(
            f"{file}: the checkpoint is of another network: {str(error).splitlines()[-1].strip()}"
        ) from None
    mean.state = {n.removeprefix("average."): v for n, v in tensors.items() if n.startswith("average.")}
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimizer."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    progress = json.loads((folder / "last.json").read_text(encoding="utf-8"))
    return int(progress["step"]), float(progress["elapsed_minutes"])
