"""The street network's backbones by name: what weights of each are called, free of torch."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal, get_args

from perception.errors import ConfigError, WeightsError

__all__ = [
    "BACKBONES",
    "DEFAULT_BACKBONE",
    "BackboneName",
    "architecture_of",
    "backbone_named",
    "backbone_of",
    "batch_norm_eps",
]

BackboneName = Literal[
    "lite0",
    "lite1",
    "lite2",
    "lite3",
    "lite4",
    "resnet18",
    "resnet34",
    "resnet50",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
]

BACKBONES: tuple[BackboneName, ...] = get_args(BackboneName)
"""EfficientNet-Lite, and torchvision's ResNet and MobileNet."""

DEFAULT_BACKBONE: BackboneName = "lite0"
"""The one whose graph and weights ship."""

_VERSION = 2  # of everything around the backbone; changes whenever weights of before would no longer fit
_TORCH_EPS = 1e-5
_TENSORFLOW_EPS = 1e-3


def backbone_named(name: str) -> BackboneName:
    """The backbone of that name.

    Raises:
        ConfigError: there is none; those that there are are listed.
    """
    if name not in BACKBONES:
        near = difflib.get_close_matches(name, BACKBONES, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(f"backbone {name!r}: expected one of {', '.join(BACKBONES)}{hint}")
    return name


def architecture_of(backbone: BackboneName) -> str:
    """What weights of a network with this backbone name as their architecture.

    >>> architecture_of("resnet18")
    'street-resnet18-2'
    """
    return f"street-{backbone}-{_VERSION}"


def backbone_of(architecture: str, file: Path) -> BackboneName:
    """The backbone that weights are for.

    Args:
        architecture: that they name.
        file: that holds them, for errors.

    Raises:
        WeightsError: it is no architecture that is known.
    """
    for backbone in BACKBONES:
        if architecture_of(backbone) == architecture:
            return backbone
    raise WeightsError(
        f"{file}: found weights of architecture {architecture}; expected one of "
        f"{', '.join(architecture_of(backbone) for backbone in BACKBONES)}"
    )


def batch_norm_eps(backbone: BackboneName) -> float:
    """What is added to the variances of the backbone's own, frozen batch norms: TensorFlow's value or torch's.

    MobileNetV3 was trained with TensorFlow's: Howard et al., "Searching for MobileNetV3", ICCV 2019.
    """
    return _TENSORFLOW_EPS if backbone.startswith(("lite", "mobilenet_v3")) else _TORCH_EPS
