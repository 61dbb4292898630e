"""Checkpoints of a run: ``last`` goes on as if never stopped, ``best`` is what a user takes away.

Both are safetensors beside a JSON manifest. What ``last`` needs to go on is in the safetensors file's own header, so
that a kill between the two files harms nothing; each file is written aside and renamed, so that a full disk harms
nothing either.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from perception.errors import OutputError, WeightsError
from perception.files import replaced_when_done, sha256_of, write_text_atomic

__all__ = ["Checkpoints", "TrainingState"]

_FORMAT = "training checkpoint 2"


@dataclass(frozen=True, slots=True)
class TrainingState:
    """All that a run needs to go on.

    Attributes:
        network: its state by name; ``average`` likewise.
        average: moving average of it.
        optimizer: the optimiser's own tensors, by number of the parameter and name.
        progress: step, minutes, what validations were seen; plain numbers and texts.
    """

    network: Mapping[str, Tensor]
    average: Mapping[str, Tensor]
    optimizer: Mapping[int, Mapping[str, Tensor]]
    progress: dict[str, Any]

    def load_optimizer(self, optimizer: torch.optim.Optimizer) -> None:
        """Gives an optimiser of the same parameters its tensors back, in the memory layout of its parameters.

        The layout is that of the run before: sums over a tensor come out equal to the last bit.

        Raises:
            WeightsError: other parameters learnt then.
        """
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        for number, values in self.optimizer.items():
            parameter = parameters[number] if number < len(parameters) else torch.empty(0)
            restored: dict[str, Tensor] = {}
            for name, value in values.items():
                if value.dim() and value.shape != parameter.shape:
                    raise WeightsError(
                        f"found {name} {tuple(value.shape)} for parameter {number} of those that learn; expected "
                        f"{tuple(parameter.shape)}: with other optimizer.frozen begin a new run from its weights "
                        "(init.weights)"
                    )
                if value.shape == parameter.shape:
                    restored[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
                else:
                    restored[name] = value.clone()
            optimizer.state[parameter] = restored


@dataclass(frozen=True, slots=True)
class Checkpoints:
    """The checkpoints in a run's folder.

    Attributes:
        folder: of the run.
        architecture: of the network, as weights name it.
        fields: of the manifests: ``data``, ``licence``, ``command``, ``config``, and what else weights say of
            themselves.
    """

    folder: Path
    architecture: str
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> Path:
        """The file from which a run goes on."""
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path:
        """The averaged weights with the best metric so far."""
        return self.folder / "best.safetensors"

    def save_last(
        self,
        network: nn.Module,
        average: Mapping[str, Tensor],
        optimizer: torch.optim.Optimizer,
        progress: dict[str, Any],
    ) -> None:
        """Writes ``last`` and its manifest.

        Raises:
            OutputError: it cannot be written; the one before stays whole.
        """
        tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in average.items()}
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{name}": v for name, v in state.items() if isinstance(v, Tensor)}
        progress = progress | {"optimizer": type(optimizer).__name__}
        self._write(self.last, tensors, progress, {"step": progress["step"], "metrics": _finite(progress["metrics"])})

    def save_best(self, average: Mapping[str, Tensor], step: int, metrics: dict[str, float]) -> None:
        """Writes ``best`` and its manifest, which is one that ``perception.models.weights`` reads.

        Raises:
            OutputError: it cannot be written; the one before stays whole.
        """
        self._write(self.best, dict(average), {"step": step}, {"step": step, "metrics": _finite(metrics)})

    def _write(self, file: Path, tensors: dict[str, Tensor], progress: dict[str, Any], more: dict[str, Any]) -> None:
        header = {"format": _FORMAT, "architecture": self.architecture, "progress": json.dumps(progress)}
        try:
            with replaced_when_done(file) as aside:
                save_file({name: value.cpu().contiguous() for name, value in tensors.items()}, aside, metadata=header)
                aside.chmod(0o644)  # safetensors makes it private
                digest = sha256_of(aside)
            manifest = {"name": file.stem, "file": file.name, "sha256": digest, "architecture": self.architecture}
            write_text_atomic(file.with_suffix(".json"), json.dumps(manifest | self.fields | more, indent=2) + "\n")
        except (OSError, SafetensorError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(f"{file}: the checkpoint could not be written: {reason}") from error

    def load_last(self, optimizer_kind: str) -> TrainingState | None:
        """What ``save_last`` wrote, or None where there is no checkpoint yet.

        Raises:
            WeightsError: the file is damaged, of another architecture, no checkpoint of a run, or of another optimiser.
        """
        if not self.last.is_file():
            return None
        header, tensors = _read(self.last)
        if header.get("architecture") != self.architecture:
            raise WeightsError(
                f"{self.last}: found a checkpoint of architecture {header.get('architecture')}; expected "
                f"{self.architecture}"
            )
        try:
            progress = json.loads(header["progress"])
            int(progress["step"]), float(progress["elapsed_minutes"])
        except (KeyError, TypeError, ValueError):
            raise WeightsError(
                f"{self.last}: found no progress of a run in it; expected a training checkpoint"
            ) from None
        if progress.get("optimizer") != optimizer_kind:
            raise WeightsError(
                f"{self.last}: found the state of {progress.get('optimizer')}; expected {optimizer_kind}, with which "
                "this run would go on"
            )
        self._check_digest(progress["step"])
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}}
        of_optimizer: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            part, _, rest = name.partition(".")
            if part == "optimizer":
                number, _, key = rest.partition(".")
                of_optimizer.setdefault(int(number), {})[key] = value
            else:
                parts.setdefault(part, {})[rest] = value
        return TrainingState(parts["network"], parts["average"], of_optimizer, progress)

    def _check_digest(self, step: int) -> None:
        """Compares the file with its manifest, if that is of the same step: a kill can leave an older one."""
        try:
            manifest = json.loads(self.last.with_suffix(".json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if manifest.get("step") == step and manifest.get("sha256") != sha256_of(self.last):
            raise WeightsError(f"{self.last}: found another SHA-256 than its manifest has: the checkpoint is damaged")


def _finite(metrics: Mapping[str, float]) -> dict[str, float]:
    """What JSON can hold: a metric without anything to measure has no number."""
    return {name: value for name, value in metrics.items() if math.isfinite(value)}


def _read(file: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(file, framework="pt") as opened:
            return opened.metadata() or {}, {name: opened.get_tensor(name) for name in opened.keys()}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{file}: expected a safetensors checkpoint: {error}") from None
