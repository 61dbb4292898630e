"""Other light and another camera: colour, blur and noise, none of which moves a pixel."""

from __future__ import annotations

import functools
import json
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor
from torchvision.transforms import v2

from perception.errors import ConfigError
from perception.training.settings import Fraction, Section

__all__ = ["TorchvisionTransform", "relit", "transformed"]

# torchvision draws from torch's generator, of which a process has one
_GENERATOR = threading.Lock()


class TorchvisionTransform(Section):
    """A transform of torchvision.

    Attributes:
        name: of the class in ``torchvision.transforms.v2``.
        options: its arguments.
        share: of the views that it is applied to.
    """

    name: Literal[
        "ColorJitter", "GaussianBlur", "GaussianNoise", "RandomAdjustSharpness", "RandomAutocontrast",
        "RandomChannelPermutation", "RandomEqualize", "RandomGrayscale", "RandomInvert", "RandomPhotometricDistort",
        "RandomPosterize", "RandomSolarize",
    ]  # fmt: skip
    options: dict[str, Any] = Field(default_factory=dict)
    share: Fraction = 1.0


@functools.lru_cache(maxsize=64)
def _made(name: str, options: str) -> Callable[[Tensor], Tensor]:
    arguments = {key: tuple(v) if isinstance(v, list) else v for key, v in json.loads(options).items()}
    kind = getattr(v2, name, None)
    if kind is None:
        raise ConfigError(f"augment.torchvision: this torchvision has no {name}; expected a newer one")
    try:
        made: Callable[[Tensor], Tensor] = kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"augment.torchvision: {name}: {error}") from None
    return made


def transformed(
    image: npt.NDArray[np.uint8], transforms: Sequence[TorchvisionTransform], rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """(H, W, 3) after transforms of torchvision, as a function of ``rng`` alone.

    Raises:
        ConfigError: a transform refuses its options, or this torchvision lacks it.
    """
    for transform in transforms:
        if rng.random() >= transform.share:
            continue
        apply = _made(transform.name, json.dumps(transform.options, sort_keys=True))
        planes = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        with _GENERATOR, torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(1 << 62)))
            if transform.name == "GaussianNoise":
                planes = (apply(planes.float() / 255) * 255).round().clamp(0, 255).to(torch.uint8)
            else:
                planes = apply(planes)
        image = np.ascontiguousarray(planes.numpy().transpose(1, 2, 0))
    return image


def relit(image: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Other light, other camera."""
    if rng.random() < 0.9:
        level = np.arange(256, dtype=np.float32) / 255
        gamma = np.exp(rng.uniform(-0.5, 0.5))
        contrast, brightness = np.exp(rng.uniform(-0.4, 0.4)), rng.uniform(-0.15, 0.15)
        cast = np.exp(rng.uniform(-0.12, 0.12, 3))
        curve = ((level**gamma - 0.4) * contrast + 0.4 + brightness)[:, None] * cast
        table = (curve.clip(0, 1) * 255).astype(np.uint8)[None]
        image = np.asarray(cv2.LUT(image, table), np.uint8)
    if rng.random() < 0.6:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        amount = 0.0 if rng.random() < 0.15 else float(rng.uniform(0.3, 1.6))
        image = np.asarray(cv2.addWeighted(image, amount, grey, 1 - amount, 0), np.uint8)
    if rng.random() < 0.15:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.3)), np.uint8)
    if rng.random() < 0.15:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(3, 12))
        image = (image + noise).clip(0, 255).astype(np.uint8)
    return image
