"""Weights for torchvision's models: from a file, or from torchvision's own download."""

from __future__ import annotations

import pickle
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torchvision.models import get_model, get_model_weights

from perception.errors import WeightsError
from perception.models.weights_used import WeightsUsed

__all__ = ["LoadedModel", "Variant", "load_model"]

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Variant:
    """One of torchvision's builders.

    Attributes:
        name: as ``torchvision.models.get_model`` knows it.
        norm_eps: of the batch normalisation layers where it is not torch's default: torchvision runs the first
            published R-CNN and RetinaNet weights, whose variances already hold it, with 0.
    """

    name: str
    norm_eps: float | None = None


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A network ready to run.

    Attributes:
        network: in evaluation mode, on its device.
        categories: names of its outputs' classes, in order.
        weights: where its numbers came from.
    """

    network: torch.nn.Module
    categories: tuple[str, ...]
    weights: WeightsUsed


def load_model(
    family: str, variants: Sequence[Variant], weights: str, device: str, options: Mapping[str, Any] | None = None
) -> LoadedModel:
    """Builds the variant that a weights file belongs to; without a file, the first variant as torchvision publishes it.

    Args:
        family: what a user calls these models, such as ``fasterrcnn``.
        variants: those that may be built, the preferred one first.
        weights: a safetensors file, or a state dict saved by torch; empty for torchvision's own download.
        device: torch's name of it.
        options: for the builder.

    Raises:
        WeightsError: the file is missing, damaged or of another architecture, or the download failed.
    """
    file = Path(weights) if weights else _downloaded(family, variants[0])
    state = _read_state(file)
    variant = _matching_variant(file, state, family, variants)
    network = _build(variant, options or {})
    network.load_state_dict(state, strict=False)  # names and shapes are compared above
    if variant.norm_eps is not None:
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eps = variant.norm_eps
    categories = tuple(get_model_weights(variant.name).DEFAULT.meta["categories"])
    return LoadedModel(network.eval().to(device), categories, WeightsUsed.of_file(file, variant.name))


def _downloaded(family: str, variant: Variant) -> Path:
    """The file in torch's own cache, fetched if it is not there yet."""
    url = str(get_model_weights(variant.name).DEFAULT.url)
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]
    if file.is_file():
        return file
    digest = re.search(r"-([0-9a-f]{8,})\.", file.name)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(
            url, str(file), digest.group(1) if digest else None, progress=sys.stderr.isatty()
        )
    # OSError is also a failed connection, RuntimeError a wrong digest
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"{family}: no weights file given, and {url} cannot be fetched ({error}); expected a connection, that file "
            f"at {file}, or its path in the setting of the weights (detection.weights, segmentation.*_weights)"
        ) from None
    return file


def _read_state(file: Path) -> State:
    if not file.is_file():
        raise WeightsError(f"{file}: found no such file; expected safetensors, or a state dict saved by torch")
    try:
        if file.suffix == ".safetensors":
            content: Any = load_file(file)
        else:
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, LookupError) as error:
        reason = str(error).strip().splitlines()
        raise WeightsError(
            f"{file}: cannot be read as weights ({reason[0] if reason else type(error).__name__}); "
            "expected safetensors, or a state dict saved by torch"
        ) from None
    if isinstance(content, dict) and isinstance(content.get("model"), dict):
        content = content["model"]  # as torchvision's own training scripts save it
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise WeightsError(
            f"{file}: found a {type(content).__name__} that is no state dict; expected names and tensors"
        )
    # the auxiliary head only serves training
    return {name: value for name, value in content.items() if not name.startswith("aux_classifier.")}


def _matching_variant(file: Path, state: State, family: str, variants: Sequence[Variant]) -> Variant:
    # torchvision names its files by the builder; that tells apart variants whose tensors are the same
    by_name = sorted(variants, key=lambda variant: not file.name.startswith(f"{variant.name}-"))
    found = _shapes(state)
    differences: list[tuple[int, str]] = []
    for variant in by_name:
        with torch.device("meta"):
            expected = _shapes(_build(variant, {}).state_dict())
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        if not wrong:
            return variant
        differences.append(
            (
                len(wrong),
                f"{variant.name} differs in {len(wrong)} tensors, such as {wrong[0]}: found "
                f"{found.get(wrong[0], 'none')}, expected {expected.get(wrong[0], 'none')}",
            )
        )
    raise WeightsError(f"{file}: found {len(found)} tensors of another model than {family}; {min(differences)[1]}")


def _shapes(state: State) -> dict[str, tuple[int, ...]]:
    # step counters of batch normalisation are absent from frozen layers and serve only training
    return {name: tuple(value.shape) for name, value in state.items() if not name.endswith("num_batches_tracked")}


def _build(variant: Variant, options: Mapping[str, Any]) -> torch.nn.Module:
    network: torch.nn.Module = get_model(variant.name, weights=None, weights_backbone=None, **options)
    return network
