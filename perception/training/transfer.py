"""Begins a network with weights from elsewhere: whole, or only the parts that fit."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from perception.errors import WeightsError
from perception.models.weights import load_manifest, verify
from perception.training.optimizers import is_in_part

__all__ = ["LoadReport", "load_into", "read_weights"]

_AVERAGE = "average."
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")
_SHOWN = 4


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of weights, by the names of the network's tensors.

    Attributes:
        loaded: tensors that were taken over.
        skipped: that the configuration keeps at their start.
        missing: of the network, not in the file.
        reshaped: in both, with different shapes.
        unknown: of the file, not in the network.
    """

    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    missing: tuple[str, ...]
    reshaped: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every tensor of the network that was not skipped was loaded, and the file held no other."""
        return not (self.missing or self.reshaped or self.unknown)

    def lines(self) -> list[str]:
        """The report for people, a line per kind."""
        found = [f"{len(self.loaded)} tensors loaded"]
        for kind in ("skipped", "missing", "reshaped", "unknown"):
            names = getattr(self, kind)
            if names:
                found.append(f"{len(names)} {kind}: {', '.join(names)}")
        return found


def read_weights(
    name_or_path: str, *, architecture: str | None = None, allow_pickle: bool = False
) -> dict[str, Tensor]:
    """Tensors of shipped weights by their name, or of a file.

    Of a checkpoint of this project's training it is the moving average. A manifest beside the file is checked.

    Args:
        name_or_path: of the weights.
        architecture: that the manifest or header must name, where there is one; None takes any.
        allow_pickle: whether torch's pickled files are read too, as weights only.

    Raises:
        WeightsError: nothing is there, it is damaged, of another architecture, or a pickle that was not asked for.
    """
    path = Path(name_or_path)
    if not path.is_file():
        manifest = load_manifest(name_or_path)
        verify(manifest, architecture)
        path = manifest.path
    elif path.suffix == ".safetensors" and path.with_suffix(".json").is_file():
        verify(load_manifest(name_or_path), architecture)
    with path.open("rb") as file:
        start = file.read(9)
    # safetensors begin with the length of their header, whose first byte can be any; the header is a JSON object
    if start.startswith(_PICKLE_STARTS) and start[8:] != b"{":
        if not allow_pickle:
            raise WeightsError(
                f"{path}: found a pickle, which can run code when it is read; expected safetensors "
                "(--allow-pickle reads it as weights only)"
            )
        return _unpickled(path)
    try:
        with safe_open(path, framework="pt") as opened:
            header: dict[str, str] = opened.metadata() or {}
            tensors: dict[str, Tensor] = {name: opened.get_tensor(name) for name in opened.keys()}
    except SafetensorError as error:
        raise WeightsError(f"{path}: expected a safetensors file: {error}") from None
    found = header.get("architecture")
    if architecture is not None and found is not None and found != architecture:
        raise WeightsError(f"{path}: found weights of architecture {found}; expected {architecture}")
    averaged = {name.removeprefix(_AVERAGE): v for name, v in tensors.items() if name.startswith(_AVERAGE)}
    return averaged or tensors


def _unpickled(path: Path) -> dict[str, Tensor]:
    try:
        # as an open file: by its name torch would take it for safetensors
        with path.open("rb") as file:
            content: Any = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(
            f"{path}: expected tensors and nothing else in the pickle: {str(error).splitlines()[0]}"
        ) from None
    for key in ("state_dict", "model", "network"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = {n: v for n, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not tensors:
        raise WeightsError(f"{path}: found no tensors by name in the pickle; expected a state dict")
    return tensors


def load_into(
    network: nn.Module,
    tensors: Mapping[str, Tensor],
    source: str,
    *,
    skip: Iterable[str] = (),
    partial: bool = False,
) -> LoadReport:
    """Copies tensors into a network by name.

    Counters of batch norm that the tensors lack are no matter.

    Args:
        network: changed in place.
        tensors: by name.
        source: where they are from, for errors.
        skip: parts that stay as they are.
        partial: whether weights that fit only a part are taken.

    Raises:
        WeightsError: nothing fits, or not everything does and ``partial`` is false.
    """
    skip = tuple(skip)
    own = network.state_dict()
    skipped = {name for name in own if any(is_in_part(name, part) for part in skip)}
    wanted = {name: value for name, value in own.items() if name not in skipped}
    fits = {name for name, value in wanted.items() if name in tensors and tensors[name].shape == value.shape}
    report = LoadReport(
        loaded=tuple(sorted(fits)),
        skipped=tuple(sorted(skipped)),
        missing=tuple(sorted(n for n, v in wanted.items() if n not in tensors and v.dtype.is_floating_point)),
        reshaped=tuple(sorted(name for name in wanted if name in tensors and name not in fits)),
        unknown=tuple(sorted(tensors.keys() - own.keys())),
    )
    if not fits:
        names = ", ".join(sorted(tensors)[:_SHOWN])
        raise WeightsError(
            f"{source}: found {names or 'no tensors'}; expected names such as {', '.join(sorted(own)[:_SHOWN])}"
        )
    if not partial and not report.is_whole:
        raise WeightsError(
            f"{source}: the weights are of another network (init.partial = true takes what fits): "
            + "; ".join(report.lines())
        )
    with torch.no_grad():
        for name in fits:
            own[name].copy_(tensors[name])
    return report
