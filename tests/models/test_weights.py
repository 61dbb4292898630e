"""Manifests: what ships is whole, what is damaged is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from perception.errors import WeightsError
from perception.models.street_layout import ARCHITECTURE
from perception.models.weights import list_weights, load_manifest, shipped_folder, verify


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The shipped weights in a folder of their own; gives the manifest."""
    for suffix in (".json", ".safetensors"):
        shutil.copy(shipped_folder() / f"street{suffix}", tmp_path)
    return tmp_path / "street.json"


def changed(manifest: Path, **fields: Any) -> Path:
    content = json.loads(manifest.read_text(encoding="utf-8")) | fields
    manifest.write_text(json.dumps(content), encoding="utf-8")
    return manifest


def test_all_shipped_weights_are_whole_and_described() -> None:
    manifests = list_weights()
    assert "street" in [manifest.name for manifest in manifests]
    for manifest in manifests:
        verify(manifest)
        assert manifest.path.with_suffix(".md").is_file(), "a model card belongs to every set of weights"
        assert set(manifest.object_classes) <= set(OBJECT_CLASSES)
        assert set(manifest.semantic_classes) <= set(SEMANTIC_CLASSES)
    assert sum(file.stat().st_size for file in shipped_folder().iterdir()) <= 20e6


def test_a_name_and_a_path_find_the_same_weights(copy: Path) -> None:
    shipped = load_manifest("street")
    for path in (copy, copy.with_suffix(".safetensors")):
        given = load_manifest(str(path))
        verify(given, ARCHITECTURE)
        assert given.sha256 == shipped.sha256
        assert given.path == copy.with_suffix(".safetensors")
    assert json.loads(copy.read_text(encoding="utf-8")) == shipped.as_dict()


def test_a_flipped_bit_is_found(copy: Path) -> None:
    weights = copy.with_suffix(".safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    manifest = load_manifest(str(copy))
    with pytest.raises(WeightsError, match=rf"{weights}: found SHA-256 [0-9a-f]{{64}}; expected {manifest.sha256}"):
        verify(manifest)


def test_missing_weights_are_named(copy: Path) -> None:
    copy.with_suffix(".safetensors").unlink()
    with pytest.raises(WeightsError, match=r"street\.safetensors: found no such file"):
        verify(load_manifest(str(copy)))


def test_another_architecture_is_refused(copy: Path) -> None:
    manifest = load_manifest(str(changed(copy, architecture="avenue-9")))
    with pytest.raises(WeightsError, match=rf"found weights of architecture avenue-9; expected {ARCHITECTURE}"):
        verify(manifest, ARCHITECTURE)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(WeightsError, match=r"weights 'stret': expected one of .*street.*; did you mean street\?"):
        load_manifest("stret")


@pytest.mark.parametrize("path", ["nowhere/street.safetensors", "../street"])
def test_a_path_without_a_manifest_is_refused(path: str) -> None:
    with pytest.raises(WeightsError, match="street"):
        load_manifest(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"sha256": 5}, r"sha256 is 5; expected text"),
        ({"object_classes": "car"}, r"object_classes is 'car'; expected a list"),
        ({"metrics": []}, r"metrics is \[\]; expected an object"),
        ({"file": "../other.safetensors"}, r"expected the name of a file beside the manifest"),
    ],
)
def test_a_malformed_manifest_is_refused(copy: Path, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load_manifest(str(changed(copy, **fields)))


def test_a_manifest_that_is_no_json_is_refused(copy: Path) -> None:
    copy.write_text("{", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"street\.json: expected a JSON manifest"):
        load_manifest(str(copy))
