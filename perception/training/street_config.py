"""The configuration of a training run, as a whole."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from perception.errors import ConfigError
from perception.training.augment import AugmentSettings
from perception.training.backbone_start import RANDOM
from perception.training.settings import (
    InitSettings,
    NetworkSettings,
    NonNegative,
    OptimizerSettings,
    RunSettings,
    ScheduleSettings,
    Section,
    TeacherSettings,
    ValidationSettings,
)
from perception.training.sources import SourceSettings

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["CardSettings", "LossSettings", "StreetTraining", "load_training"]


class LossSettings(Section):
    """How much each loss counts."""

    semantic: NonNegative
    lovasz: NonNegative
    derived: NonNegative
    classes: NonNegative
    edges: NonNegative
    cue: NonNegative
    depth: NonNegative
    solid: NonNegative
    identity: NonNegative
    taught: NonNegative = 0.0


class CardSettings(Section):
    """What the manifest says of the weights; empty texts are filled in from the sources."""

    data: str = ""
    licence: str = ""


class StreetTraining(Section):
    """Settings of a training run."""

    run: RunSettings
    schedule: ScheduleSettings
    optimizer: OptimizerSettings
    network: NetworkSettings = NetworkSettings()
    init: InitSettings = InitSettings()
    augment: AugmentSettings
    loss: LossSettings
    teacher: TeacherSettings = TeacherSettings()
    validation: ValidationSettings = ValidationSettings()
    card: CardSettings = CardSettings()
    source: Annotated[tuple[SourceSettings, ...], Field(min_length=1)]
    validate_on: tuple[SourceSettings, ...] = ()

    @model_validator(mode="after")
    def _names_differ(self) -> StreetTraining:
        for sources in (self.source, self.validate_on):
            names = [source.name for source in sources]
            if len(set(names)) != len(names):
                raise ValueError(f"every source needs a name of its own but they are {', '.join(names)}")
        if self.loss.taught and not self.teacher.segmenter:
            raise ValueError("loss.taught needs teacher.segmenter")
        if self.validation.metric and not self.validate_on:
            # found out at the first validation, it would cost the time until then
            raise ValueError(f"validation.metric = {self.validation.metric!r} needs a [[validate_on]]")
        if self.init.imagenet and self.network.backbone_weights == RANDOM:
            raise ValueError(f"network.backbone_weights = {RANDOM!r} contradicts init.imagenet = true")
        return self


def load_training(file: Path, overrides: Sequence[str] = ()) -> StreetTraining:
    """Reads a training configuration, then ``key.path=value`` overrides (TOML values; ``source.0.share=2``).

    Raises:
        ConfigError: the file cannot be read, lacks a key, or holds an unknown one (the nearest known is named) or a
            value out of range.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read as a configuration: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: expected TOML: {error}") from None
    for override in overrides:
        _override(content, override)
    try:
        return StreetTraining.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][-1]) if first["loc"] else ""
        hint = ""
        if first["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, sorted(_known_keys(Section)), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}{hint}") from None


def _known_keys(section: type[Section]) -> set[str]:
    keys = set(section.model_fields)
    for below in section.__subclasses__():
        keys |= _known_keys(below)
    return keys


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override!r}: expected key.path=value, for example --set run.batch=4")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    place: Any = content
    *parents, last = key.strip().split(".")
    try:
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place.setdefault(parent, {})
        place[int(last) if isinstance(place, list) else last] = value
    except (ValueError, IndexError, AttributeError, TypeError):
        raise ConfigError(f"--set {override!r}: {key.strip()} leads nowhere in the configuration") from None
