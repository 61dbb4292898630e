"""Kinds of surface: their names, the order in which they are shaded, and what textures they are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["BOTH_SIDES", "MATERIALS", "RANKS", "ROUND", "TEXTURES", "TINTED", "Layer", "Tint", "rank_of"]

MATERIALS = (
    "plain", "road", "slabs", "kerb", "grass", "facade", "roof", "car", "wheel", "leaves", "bark", "paint", "sign",
    "lamp", "hedge", "cloth", "glass", "concrete", "fence", "soil",
)  # fmt: skip
# the sky has rank 0; matt kinds come first, those matt when dry next, those that mirror or shine last
_ORDER = (
    "leaves", "hedge", "grass", "soil", "kerb", "concrete", "roof", "bark", "paint", "cloth", "road", "slabs",
    "facade", "car", "wheel", "sign", "glass", "plain", "fence", "lamp",
)  # fmt: skip
_RANK_OF = {name: place + 1 for place, name in enumerate(_ORDER)}
TEXTURES = (
    "stains", "grain", "leaves", "grass", "plaster", "brick", "slabs", "cobbles", "tiles", "bark", "clouds",
)  # fmt: skip


def rank_of(name: str) -> int:
    """Place of a kind of surface in the order of shading."""
    return _RANK_OF[name]


RANKS = np.array([rank_of(name) for name in MATERIALS], np.uint8)
# kinds whose triangles on one object count as one surface even where they bend
ROUND = np.array([name in ("car", "leaves", "cloth", "bark") for name in MATERIALS], np.uint8)
# kinds so thin that both sides look alike
BOTH_SIDES = np.array([name in ("fence", "sign") for name in MATERIALS], np.uint8)


@dataclass(frozen=True, slots=True)
class Layer:
    """One texture of a tinted surface: its part of the tone is ``constant + gain * texture``.

    Attributes:
        texture: from ``TEXTURES``.
        constant: tone where the texture is 0.
        gain: tone added where it is 1.
        repeats: of the texture per metre.
        on_ground: looked up by the place in the world, not on the surface.
    """

    texture: str
    constant: float
    gain: float
    repeats: float
    on_ground: bool = False


@dataclass(frozen=True, slots=True)
class Tint:
    """A surface that is a colour times up to three textures.

    Attributes:
        layers: the textures.
        colour: 0 for the object's first colour, 1 for its second, or one that all objects share.
        joint: how much darker the first 2 cm of each metre are.
    """

    layers: tuple[Layer, ...]
    colour: int | tuple[float, float, float] = 0
    joint: float = 0.0


_CONCRETE = Tint((Layer("plaster", 0.8, 0.35, 0.7), Layer("stains", 0.8, 0.3, 0.15, True)), joint=0.35)
_SMOOTH = Tint((Layer("plaster", 0.85, 0.3, 0.5),))
TINTED = {
    "hedge": Tint((Layer("leaves", 0.25, 1.1, 0.9), Layer("stains", 0.75, 0.5, 0.2))),
    "kerb": _CONCRETE,
    "concrete": _CONCRETE,
    "roof": Tint((Layer("tiles", 0.55, 0.65, 0.4), Layer("stains", 0.75, 0.5, 0.08)), colour=1),
    "bark": Tint((Layer("bark", 0.4, 1.0, 1.0),), colour=(0.085, 0.070, 0.055)),
    "paint": Tint((Layer("grain", 0.75, 0.3, 0.6),)),
    "slabs": Tint(
        (Layer("slabs", 0.62, 0.5, 0.55), Layer("stains", 0.8, 0.35, 0.06, True), Layer("grain", 0.9, 0.2, 0.6))
    ),
    "plain": _SMOOTH,
    "fence": _SMOOTH,
}
