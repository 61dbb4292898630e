"""Scenario files: what kind of world, traffic, light and weather a drive is made of."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perception.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Scenario", "list_scenarios", "load_scenario"]

_FOLDER = Path(__file__).parent / "scenarios"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Roads(_Strict):
    """Shape of the network."""

    layout: Literal["grid", "curves", "motorway", "roundabout"] = "grid"
    block_m: float = Field(default=110.0, ge=60, le=300)
    lanes: int = Field(default=1, ge=1, le=3)
    parking: bool = True
    pavement_m: float = Field(default=2.8, ge=0, le=8)
    speed_mps: float = Field(default=11.0, gt=1, le=45)
    signals: float = Field(default=0.5, ge=0, le=1)


class Sides(_Strict):
    """What stands beside the roads."""

    buildings: Literal["city", "suburb", "none"] = "city"
    trees: float = Field(default=0.6, ge=0, le=1)
    hedges: float = Field(default=0.2, ge=0, le=1)


class Actors(_Strict):
    """How much traffic there is; ``heavy`` is the share of vans, lorries and buses, by default that of the road."""

    vehicles: int = Field(default=28, ge=0, le=200)
    heavy: float | None = Field(default=None, ge=0, le=1)
    cyclists: int = Field(default=4, ge=0, le=50)
    motorcycles: int = Field(default=2, ge=0, le=50)
    pedestrians: int = Field(default=24, ge=0, le=300)
    parked: float = Field(default=0.6, ge=0, le=1)


class Weather(_Strict):
    """Light and air. Angles in degrees, ranges are drawn from per seed."""

    time: Literal["day", "dusk", "night"] = "day"
    sun_elevation_deg: tuple[float, float] = (25.0, 60.0)
    clouds: tuple[float, float] = (0.25, 0.6)
    overcast: float = Field(default=0.0, ge=0, le=1)
    rain: float = Field(default=0.0, ge=0, le=1)
    fog_visibility_m: float = Field(default=2500.0, ge=20)


class Scenario(_Strict):
    """A scenario file."""

    title: str
    roads: Roads = Roads()
    sides: Sides = Sides()
    actors: Actors = Actors()
    weather: Weather = Weather()


def list_scenarios() -> dict[str, str]:
    """Name and title of every scenario that comes with the package."""
    return {
        path.stem: tomllib.loads(path.read_text(encoding="utf-8"))["title"] for path in sorted(_FOLDER.glob("*.toml"))
    }


def load_scenario(name: str | Path) -> Scenario:
    """Reads a scenario by name, or from a TOML file.

    Raises:
        ConfigError: no such scenario, or a key or value that is not allowed.
    """
    path = Path(name)
    if path.suffix != ".toml":
        path = _FOLDER / f"{name}.toml"
        if not path.is_file():
            known = ", ".join(list_scenarios())
            raise ConfigError(f"unknown scenario {str(name)!r}: expected one of {known}, or a .toml file")
    try:
        return Scenario.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the scenario: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {key}: {first['msg']}, got {first.get('input')!r}") from error
