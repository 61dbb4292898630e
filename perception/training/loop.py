"""The training loop: steps, validations and checkpoints, from which a run goes on as if it had never stopped."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from perception.errors import ConfigError, OutputError, WeightsError
from perception.training.average import MovingAverage
from perception.training.checkpoints import Checkpoints
from perception.training.distributed import World
from perception.training.interruption import StopRequest, stop_on_signals
from perception.training.logs import TrainingLog
from perception.training.optimizers import make_optimizer
from perception.training.prefetch import Prefetch
from perception.training.schedules import BestSoFar, Progress, Schedule
from perception.training.task import LoopSettings, Task, TrainingDivergedError, TrainingInterruptedError

__all__ = ["train"]

_Batch = TypeVar("_Batch")
_SEED_STEP = 1_000_003
_NEVER = 1 << 62


def train(
    task: Task[_Batch], settings: LoopSettings, checkpoints: Checkpoints, world: World, show: Callable[[str], None]
) -> dict[str, Tensor]:
    """Trains until the schedule is over, going on from the folder's checkpoint if there is one.

    Args:
        task: its network is on the world's device, in training mode, with frozen parts frozen; changed in place.
        settings: of the run.
        checkpoints: of the run's folder.
        world: the processes.
        show: takes a line for the terminal.

    Returns:
        The averaged state.

    Raises:
        TrainingDivergedError: a loss, gradient or weight is not finite.
        TrainingInterruptedError: SIGINT or SIGTERM came; the checkpoint is written.
        WeightsError: the checkpoint is damaged, of another architecture or optimiser.
        OutputError: the last checkpoint cannot be written.
        ConfigError: a setting does not fit the network or the metrics.
    """
    loop = _Loop(task, settings, checkpoints, world, show)
    try:
        with stop_on_signals() as request:
            loop.run(request)
    finally:
        loop.close()
    return loop.mean.state


class _Loop:
    def __init__(
        self,
        task: Task[Any],
        settings: LoopSettings,
        checkpoints: Checkpoints,
        world: World,
        show: Callable[[str], None],
    ):
        self.task, self.settings, self.checkpoints, self.world = task, settings, checkpoints, world
        self.network = task.network
        self.optimizer = make_optimizer(self.network, settings.optimizer)
        self.rates = [float(group["lr"]) for group in self.optimizer.param_groups]
        self.mean = MovingAverage(self.network, settings.optimizer.average)
        judged = settings.validation
        self.best = BestSoFar(judged.mode, _NEVER)
        self.plateau = BestSoFar(judged.mode, settings.schedule.patience)
        self.stop = BestSoFar(
            judged.mode, judged.stop.patience - 1 if judged.stop.patience else _NEVER, judged.stop.least_gain
        )
        if settings.schedule.kind == "plateau" and not judged.metric:
            raise ConfigError("schedule.kind = 'plateau': validation.metric is empty; expected the metric to follow")
        images_per_step = settings.run.batch * settings.run.accumulate * world.size
        self.schedule = Schedule(settings.schedule, task.images_per_epoch / images_per_step)
        self.step, self.before_minutes = 0, 0.0
        self.validated = self.saved = Progress(0, 0.0)
        self.metrics: dict[str, float] = {}
        notes = self._resume()
        self.log = TrainingLog(
            checkpoints.folder if world.is_first else None,
            show,
            tensorboard=settings.run.tensorboard,
            resumed_at=self.step,
        )
        for note in notes:
            self.log.line(note)
        self.wrapped = world.wrap(self.network)
        self.batches = Prefetch(task.batch, world.size, settings.run.workers)
        self.outputs: list[Tensor] = []
        self.sums: dict[str, Tensor] = {}
        self.counted = 0
        self.began = time.monotonic()

    def run(self, request: StopRequest) -> None:
        while True:
            elapsed = self.before_minutes + (time.monotonic() - self.began) / 60
            elapsed, told = self.world.largest([elapsed, float(request.signal)])
            now = Progress(self.step, elapsed)
            is_over = self.schedule.is_over(now)
            due = self.schedule.is_due(self.settings.schedule.validate_every, self.validated, now)
            # a run that is told to stop has little time; what is due comes first when it goes on
            if (due or is_over) and not told and self.validated.step < self.step:
                self._validate(now)
            has_ended = (is_over and not told) or self.stop.drops > 0
            if has_ended or told or self.schedule.is_due(self.settings.schedule.checkpoint_every, self.saved, now):
                self._save(now, needed=bool(has_ended or told))
            if has_ended:
                self.world.largest([0.0])  # the others wait until the first process has written
                return
            if told:
                raise TrainingInterruptedError(self.step)
            self._take_step(now)

    def close(self) -> None:
        self.batches.close()
        self.log.close()

    def _forward(self, images: Tensor) -> Any:
        device = self.world.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.settings.run.precision == "bf16"):
            out = self.wrapped(images.to(device, non_blocking=True))
        self.outputs = [out] if isinstance(out, Tensor) else list(out)
        return out

    def _take_step(self, now: Progress) -> None:
        settings = self.settings
        factor = self.schedule.factor(now)
        if settings.schedule.kind == "plateau":
            factor *= settings.schedule.gamma**self.plateau.drops
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimizer.zero_grad(set_to_none=True)
        names: list[str] = []
        passes = settings.run.accumulate
        for index in range(passes):
            number = (self.step * passes + index) * self.world.size + self.world.rank
            torch.manual_seed(settings.run.seed * _SEED_STEP + number)
            batch = self.batches(number)
            names += self.task.names(batch)
            if index < passes - 1:
                with self.world.without_exchange(self.wrapped):
                    self._descend(batch, names)
            else:
                self._descend(batch, names)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), settings.optimizer.clip_norm or math.inf)
        if not math.isfinite(norm.item()):
            raise TrainingDivergedError(self._diverged(f"finite gradients but their norm is {norm.item()}", names))
        self.optimizer.step()
        self.step += 1
        self.mean.update(self.network, self.step)
        self.counted += 1
        if self.step % settings.run.log_every == 0:
            self._report(now, factor, norm.item())

    def _descend(self, batch: Any, names: list[str]) -> None:
        passes = self.settings.run.accumulate
        losses = self.task.losses(self._forward, batch)
        total = torch.stack(list(losses.values())).sum()
        is_bad = not math.isfinite(total.item())
        if self.world.largest([float(is_bad)])[0]:
            found = {name: value.item() for name, value in losses.items()}
            where = "" if is_bad else " here, and another process has one that is not"
            raise TrainingDivergedError(self._diverged(f"a finite loss but got {found}{where}", names))
        if self.world.size > 1:
            # heads without labels in this batch belong to the pass too: every process must exchange every gradient
            total = total + sum(out.sum() for out in self.outputs) * 0.0
        (total / passes).backward()  # type: ignore[no-untyped-call]
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, torch.zeros_like(value)) + value.detach() / passes

    def _diverged(self, what: str, names: Sequence[str]) -> str:
        kept = f"the checkpoint of step {self.saved.step} is kept" if self.saved.step else "no checkpoint was due yet"
        return f"step {self.step + 1}: expected {what}; the step saw {', '.join(names)}; {kept}"

    def _report(self, now: Progress, factor: float, norm: float) -> None:
        means = {name: value.item() / self.counted for name, value in self.sums.items()}
        text = " ".join(f"{name} {value:.3f}" for name, value in means.items())
        self.log.line(f"step {self.step} min {now.elapsed_minutes:.1f} rate {factor:.3f} {text}")
        self.log.values("train", self.step, now.elapsed_minutes, means | {"rate": factor, "gradient norm": norm})
        self.sums, self.counted = {}, 0

    def _validate(self, now: Progress) -> None:
        found = self.task.validate(self.mean.state) if self.world.is_first else {}
        self.metrics = self.world.from_first(found)
        self.validated = now
        self.log.line(f"validation step {self.step} {json.dumps({n: round(v, 2) for n, v in self.metrics.items()})}")
        self.log.values("validation", self.step, now.elapsed_minutes, self.metrics)
        metric = self.settings.validation.metric
        if not metric:
            return
        if metric not in self.metrics:
            raise ConfigError(
                f"validation.metric = {metric!r}: the validation gave {', '.join(self.metrics) or 'nothing'}; expected "
                "one of them"
            )
        value = self.metrics[metric]
        if math.isnan(value):
            self.log.line(f"{metric} is not a number: these weights cannot be the best ones")
        drops = self.plateau.drops
        self.plateau.observe(value)
        if self.settings.schedule.kind == "plateau" and self.plateau.drops > drops:
            self.log.line(f"{metric} is on a plateau: the rates fall by {self.settings.schedule.gamma}")
        self.stop.observe(value)
        if self.stop.drops:
            self.log.line(
                f"{metric} has not been better for {self.settings.validation.stop.patience} validations: stop"
            )
        if self.best.observe(value) and self.world.is_first:
            self._try(lambda: self.checkpoints.save_best(self.mean.state, self.step, self.metrics))

    def _save(self, now: Progress, needed: bool) -> None:
        self.saved = now
        if not self.world.is_first:
            return
        bad = [name for name, value in self.network.state_dict().items() if not torch.isfinite(value).all()]
        if bad:
            raise TrainingDivergedError(f"step {self.step}: expected finite weights but {bad[0]} is not")
        progress = {
            "step": self.step,
            "elapsed_minutes": now.elapsed_minutes,
            "validated": [self.validated.step, self.validated.elapsed_minutes],
            "metrics": self.metrics,
            "best": self.best.state(),
            "plateau": self.plateau.state(),
            "stop": self.stop.state(),
            "settings": self.settings.as_dict(),
            "processes": self.world.size,
        }

        def write() -> None:
            self.checkpoints.save_last(self.network, self.mean.state, self.optimizer, progress)

        if needed:
            write()
        else:
            self._try(write)

    def _try(self, write: Callable[[], None]) -> None:
        """A disk that is full now may have room at the next checkpoint; the one before stays whole meanwhile."""
        try:
            write()
        except OutputError as error:
            self.log.line(f"{error}; the one before is kept, the run goes on")

    def _resume(self) -> list[str]:
        state = self.checkpoints.load_last(type(self.optimizer).__name__)
        if state is None:
            return []
        try:
            self.network.load_state_dict(dict(state.network))
            state.load_optimizer(self.optimizer)
        except WeightsError as error:
            raise WeightsError(f"{self.checkpoints.last}: {error}") from None
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise WeightsError(f"{self.checkpoints.last}: the checkpoint is of another network: {reason}") from None
        device = self.world.device
        self.mean.state = {name: value.to(device) for name, value in state.average.items()}
        progress = state.progress
        self.step, self.before_minutes = int(progress["step"]), float(progress["elapsed_minutes"])
        self.validated = Progress(*progress["validated"])
        self.saved = Progress(self.step, self.before_minutes)
        self.metrics = progress["metrics"]
        for name, follower in (("best", self.best), ("plateau", self.plateau), ("stop", self.stop)):
            follower.restore(progress[name])
        notes = [f"going on from step {self.step}, {self.before_minutes:.1f} min"]
        now = self.settings.as_dict() | {"processes": self.world.size}
        before = progress["settings"] | {"processes": progress["processes"]}
        for key in sorted(now.keys() | before.keys()):
            if now.get(key) != before.get(key):
                notes.append(f"{key} was {before.get(key)} and is {now.get(key)}: this is no longer the run it was")
        return notes
