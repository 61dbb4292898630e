"""Curves of the rates against torch's own schedulers, and who learns how fast."""

from __future__ import annotations

import math
import re

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from perception.errors import ConfigError
from perception.training.average import MovingAverage
from perception.training.optimizers import freeze, make_optimizer, rate_factors
from perception.training.schedules import BestSoFar, Progress, Schedule
from perception.training.settings import OptimizerSettings, RateRule, ScheduleSettings


def schedule(**settings: object) -> Schedule:
    base: dict[str, object] = {"unit": "steps", "length": 50, "checkpoint_every": 10}
    return Schedule(ScheduleSettings.model_validate(base | settings), steps_per_epoch=5)


def torch_rates(kind: str) -> list[float]:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    if kind == "cosine":
        curve: torch.optim.lr_scheduler.LRScheduler = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, 50, eta_min=0.1
        )
    else:
        curve = torch.optim.lr_scheduler.MultiStepLR(optimizer, [10, 35], gamma=0.3)
    rates = []
    for _ in range(50):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        curve.step()
    return rates


def test_curves_are_those_of_torch() -> None:
    found = {
        "cosine": schedule(kind="cosine", floor=0.1),
        "step": schedule(kind="step", milestones=(10, 35), gamma=0.3),
    }
    for kind, own in found.items():
        rates = [own.factor(Progress(step, 0.0)) for step in range(50)]
        torch.testing.assert_close(torch.tensor(rates), torch.tensor(torch_rates(kind)), rtol=1e-5, atol=1e-6)


def test_units_are_steps_epochs_and_minutes() -> None:
    moment = Progress(25, 7.0)
    assert schedule().position(moment) == 25
    assert schedule(unit="epochs").position(moment) == 5
    assert schedule(unit="minutes").position(moment) == 7
    by_clock = schedule(unit="minutes", length=14.0, kind="cosine")
    assert abs(by_clock.factor(moment) - 0.5) < 1e-12
    assert by_clock.is_over(Progress(3, 14.0))
    assert not by_clock.is_over(Progress(300, 13.9))


def test_something_is_due_once_per_interval() -> None:
    own = schedule(unit="minutes", length=100.0)
    due, last = [], Progress(0, 0.0)
    for step in range(1, 40):
        now = Progress(step, step * 0.7)
        if own.is_due(5.0, last, now):
            due.append(round(now.elapsed_minutes, 1))
            last = now
    assert due == [5.6, 10.5, 15.4, 20.3, 25.2]
    assert not own.is_due(0.0, Progress(0, 0.0), Progress(1000, 99.0))


def test_the_warm_up_multiplies_the_curve() -> None:
    own = schedule(kind="step", milestones=(3,), gamma=0.5, warmup_steps=4)
    assert [own.factor(Progress(step, 0.0)) for step in range(5)] == [0.25, 0.5, 0.75, 0.5, 0.5]


def test_nan_is_never_better() -> None:
    best = BestSoFar("max", patience=1)
    assert [best.observe(value) for value in (math.nan, 1.0, math.nan, math.nan, 2.0)] == [0, 1, 0, 0, 1]
    assert (best.drops, best.value) == (1, 2.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "step"}, "milestones are for kind = 'step'"),
        ({"milestones": (3,)}, "milestones are for kind = 'step'"),
        ({"kind": "step", "milestones": (5, 3)}, "milestones must rise"),
        ({"kind": "plateau"}, "needs validate_every"),
        ({"unit": "hours"}, "'steps', 'epochs' or 'minutes'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        schedule(**wrong)


class Staged(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.stem = nn.Linear(2, 2)
        self.backbone.stages = nn.ModuleList(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)) for _ in range(3))
        self.backbone2 = nn.Linear(2, 2)
        self.head = nn.Linear(2, 2)


def test_rates_fall_towards_the_start_of_a_part() -> None:
    rules = [RateRule(part="backbone.stages.1", factor=0.7), RateRule(part="backbone", factor=0.5, decay=0.1)]
    factors = rate_factors(Staged(), rules)
    found = {name.removesuffix(".weight"): round(value, 6) for name, value in factors.items() if "weight" in name}
    assert found == {
        "backbone.stem": 0.0005, "backbone.stages.0.0": 0.005, "backbone.stages.0.1": 0.005,
        "backbone.stages.1.0": 0.7, "backbone.stages.1.1": 0.7, "backbone.stages.2.0": 0.5,
        "backbone.stages.2.1": 0.5, "backbone2": 1.0, "head": 1.0,
    }  # fmt: skip


def test_groups_hold_every_parameter_once() -> None:
    network = Staged()
    frozen = freeze(network, ["backbone.stages.0", "head"])
    assert frozen == 4 + 2 + 2 + 2 + 4 + 2
    norms = [module.training for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    assert norms == [False, True, True]
    settings = OptimizerSettings(rate=0.2, weight_decay=0.3, rates=(RateRule(part="backbone", factor=0.5),))
    optimizer = make_optimizer(network, settings)
    seen = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    assert sorted(map(id, seen)) == sorted(map(id, learning))
    for group in optimizer.param_groups:
        assert {parameter.ndim > 1 for parameter in group["params"]} == {group["weight_decay"] == 0.3}
        assert group["lr"] in (0.1, 0.2)


def test_parts_that_are_not_there_are_named() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.frozen: 'backbone\.stage' .* did you mean 'backbone\.stages'"):
        freeze(Staged(), ["backbone.stage"])
    with pytest.raises(ConfigError, match=r"optimizer\.rates: 'neck' names no part of the network"):
        rate_factors(Staged(), [RateRule(part="neck", factor=1.0)])
    network = nn.Linear(1, 1)
    with pytest.raises(ConfigError, match="every parameter is frozen"):
        freeze(network, ["weight", "bias"])
        make_optimizer(network, OptimizerSettings(rate=0.1))


def test_the_average_follows_slowly() -> None:
    network = nn.Linear(1, 1)
    mean = MovingAverage(network, 0.9)
    with torch.no_grad():
        network.weight.fill_(10.0)
        mean.state["weight"].fill_(0.0)
    mean.update(network, 1000)
    assert abs(float(mean.state["weight"]) - 1.0) < 1e-5
