"""Weights that ship with the project, or lie beside a manifest: found, described and checked before they are used.

A set of weights is two files: ``NAME.json``, the manifest, and the safetensors file that it names. A model card
``NAME.md`` says the same in prose.
"""

from __future__ import annotations

import difflib
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perception.errors import WeightsError
from perception.files import sha256_of

__all__ = ["WeightsManifest", "list_weights", "load_manifest", "shipped_folder", "verify"]

_TEXTS = ("name", "file", "sha256", "architecture", "data", "licence", "command")


@dataclass(frozen=True, slots=True)
class WeightsManifest:
    """What a set of weights is.

    Attributes:
        name: what a user calls it.
        path: the safetensors file.
        sha256: of that file, 64 hex digits.
        architecture: the network that it fits, such as ``street-lite0-2``.
        object_classes: of the boxes, in the order of the logits; names of ``OBJECT_CLASSES``.
        semantic_classes: of the pixels, likewise; names of ``SEMANTIC_CLASSES``.
        input: of the network: ``height_px`` and ``width_px`` of the reference size.
        data: what it was trained on.
        licence: of that data and so of the weights.
        command: that made it.
        metrics: figures by name, percentages.
        activation_ranges: what ``int8_arrays`` of ``perception.models.street_int8`` takes; empty where nobody measured
            them.
    """

    name: str
    path: Path
    sha256: str
    architecture: str
    object_classes: tuple[str, ...]
    semantic_classes: tuple[str, ...]
    input: dict[str, int]
    data: str
    licence: str
    command: str
    metrics: dict[str, float]
    activation_ranges: dict[str, list[float]] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The manifest's own JSON content."""
        return {
            "name": self.name,
            "file": self.path.name,
            "sha256": self.sha256,
            "architecture": self.architecture,
            "object_classes": list(self.object_classes),
            "semantic_classes": list(self.semantic_classes),
            "input": self.input,
            "data": self.data,
            "licence": self.licence,
            "command": self.command,
            "metrics": self.metrics,
        } | ({"activation_ranges": self.activation_ranges} if self.activation_ranges else {})


def shipped_folder() -> Path:
    """Where the project's own weights lie."""
    return Path(__file__).parent / "weights"


def list_weights() -> list[WeightsManifest]:
    """The manifests of all weights that ship with the project, by name."""
    return [_read(file) for file in sorted(shipped_folder().glob("*.json"))]


def load_manifest(name_or_path: str) -> WeightsManifest:
    """The manifest of shipped weights by their name, or of a file by its path (the manifest's or the weights').

    Raises:
        WeightsError: there is no such manifest, or it is malformed.
    """
    path = Path(name_or_path)
    if path.suffix in (".json", ".safetensors"):
        manifest = path.with_suffix(".json")
        if not manifest.is_file():
            raise WeightsError(f"{manifest}: found no manifest; expected one beside the weights")
        return _read(manifest)
    manifest = shipped_folder() / f"{name_or_path}.json"
    if path.name != name_or_path or not manifest.is_file():
        known = [file.stem for file in sorted(shipped_folder().glob("*.json"))]
        near = difflib.get_close_matches(name_or_path, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise WeightsError(
            f"weights {name_or_path!r}: expected one of {', '.join(known) or 'none shipped'}, or a .safetensors file "
            f"beside its manifest{hint}"
        )
    return _read(manifest)


def verify(manifest: WeightsManifest, architecture: str | None = None) -> None:
    """Checks that the file is there and is the one that the manifest describes.

    Args:
        manifest: of the weights.
        architecture: that is needed; None takes any.

    Raises:
        WeightsError: the file is missing, its SHA-256 differs, or it is of another architecture.
    """
    if architecture is not None and manifest.architecture != architecture:
        raise WeightsError(
            f"{manifest.path}: found weights of architecture {manifest.architecture}; expected {architecture}"
        )
    if not manifest.path.is_file():
        raise WeightsError(f"{manifest.path}: found no such file; expected the weights of {manifest.name}")
    found = sha256_of(manifest.path)
    if found != manifest.sha256:
        raise WeightsError(f"{manifest.path}: found SHA-256 {found}; expected {manifest.sha256}: the file is damaged")


def _read(file: Path) -> WeightsManifest:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{file}: found no readable manifest: {error.strerror}") from None
    except ValueError as error:
        raise WeightsError(f"{file}: expected a JSON manifest: {error}") from None
    if not isinstance(content, dict):
        raise WeightsError(f"{file}: expected a JSON object but found {type(content).__name__}")
    for key in _TEXTS:
        if not isinstance(content.get(key), str) or not content[key]:
            raise WeightsError(f"{file}: {key} is {content.get(key)!r}; expected text")
    for key in ("object_classes", "semantic_classes"):
        if not isinstance(content.get(key), list) or not all(isinstance(name, str) for name in content[key]):
            raise WeightsError(f"{file}: {key} is {content.get(key)!r}; expected a list of class names")
    for key in ("input", "metrics"):
        if not isinstance(content.get(key), dict):
            raise WeightsError(f"{file}: {key} is {content.get(key)!r}; expected an object")
    ranges = content.get("activation_ranges", {})
    if not isinstance(ranges, dict) or not all(_is_range(ends) for ends in ranges.values()):
        raise WeightsError(
            f"{file}: activation_ranges are malformed; expected two or four finite numbers for each layer"
        )
    if Path(content["file"]).name != content["file"]:
        raise WeightsError(f"{file}: file is {content['file']!r}; expected the name of a file beside the manifest")
    return WeightsManifest(
        name=content["name"],
        path=file.parent / content["file"],
        sha256=content["sha256"],
        architecture=content["architecture"],
        object_classes=tuple(content["object_classes"]),
        semantic_classes=tuple(content["semantic_classes"]),
        input=content["input"],
        data=content["data"],
        licence=content["licence"],
        command=content["command"],
        metrics=content["metrics"],
        activation_ranges=ranges,
    )


def _is_range(ends: object) -> bool:
    return (
        isinstance(ends, list)
        and len(ends) in (2, 4)
        and all(isinstance(end, int | float) and math.isfinite(end) for end in ends)
    )
