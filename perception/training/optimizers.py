"""Optimisers, and which parameter learns at which rate."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

import torch
from torch import nn

from perception.errors import ConfigError
from perception.training.settings import OptimizerSettings, RateRule

__all__ = ["freeze", "is_in_part", "make_optimizer", "rate_factors"]


def is_in_part(name: str, part: str) -> bool:
    """Whether a parameter belongs to a part, by whole words.

    >>> is_in_part("backbone.stages.1.0.weight", "backbone.stages.1"), is_in_part("backbone2.weight", "backbone")
    (True, False)
    """
    return name == part or name.startswith(f"{part}.")


def freeze(network: nn.Module, parts: Iterable[str]) -> int:
    """Keeps parts of a network as they are, their batch norms' statistics included.

    Returns:
        number of frozen values.

    Raises:
        ConfigError: a part has no parameter.
    """
    count = 0
    for part in parts:
        _require_parameters(network, part, "optimizer.frozen")
        for name, parameter in network.named_parameters():
            if is_in_part(name, part) and parameter.requires_grad:
                parameter.requires_grad_(False)
                count += parameter.numel()
        for name, module in network.named_modules():
            if is_in_part(name, part) and isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
    return count


def rate_factors(network: nn.Module, rules: Iterable[RateRule]) -> dict[str, float]:
    """What the rate of every parameter that learns is multiplied by, by its name.

    Raises:
        ConfigError: a rule's part has no parameter.
    """
    rules = sorted(rules, key=lambda rule: len(rule.part))
    factors = {name: 1.0 for name, parameter in network.named_parameters() if parameter.requires_grad}
    for rule in rules:
        _require_parameters(network, rule.part, "optimizer.rates")
        inside = [name for name, _ in network.named_parameters() if is_in_part(name, rule.part)]
        depths = {name: _numbered_layer(name, rule.part) for name in inside}
        deepest = max(depths.values())
        for name in inside:
            if name in factors:
                factors[name] = rule.factor * rule.decay ** (deepest - depths[name])
    return factors


def _numbered_layer(name: str, part: str) -> int:
    """The first number in a name after its part, or -1 for a layer before the numbered ones."""
    found = re.search(r"\.(\d+)(?=\.|$)", name.removeprefix(part))
    return int(found.group(1)) if found else -1


def _require_parameters(network: nn.Module, part: str, key: str) -> None:
    names = [name for name, _ in network.named_parameters()]
    if any(is_in_part(name, part) for name in names):
        return
    parts = {name[: dot.start()] for name in names for dot in re.finditer(r"\.", name)}
    near = difflib.get_close_matches(part, parts, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{key}: {part!r} names no part of the network{hint}")


def make_optimizer(network: nn.Module, settings: OptimizerSettings) -> torch.optim.Optimizer:
    """The optimiser of all parameters that learn, in groups of one rate and one decay each.

    Raises:
        ConfigError: a part of ``settings`` is not there, or nothing is left to learn.
    """
    factors = rate_factors(network, settings.rates)
    if not factors:
        raise ConfigError("optimizer.frozen: every parameter is frozen; expected some that learn")
    grouped: dict[tuple[float, float], list[nn.Parameter]] = {}
    parameters = dict(network.named_parameters())
    for name, factor in factors.items():
        decay = settings.weight_decay if parameters[name].ndim > 1 else 0.0
        grouped.setdefault((settings.rate * factor, decay), []).append(parameters[name])
    groups = [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in grouped.items()]
    if settings.kind == "sgd":
        return torch.optim.SGD(groups, momentum=settings.momentum, nesterov=settings.nesterov)
    if settings.kind == "rmsprop":
        return torch.optim.RMSprop(groups, alpha=settings.smoothing, momentum=settings.momentum)
    kind = torch.optim.Adam if settings.kind == "adam" else torch.optim.AdamW
    return kind(groups, betas=settings.betas)
