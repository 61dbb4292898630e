"""Weights from elsewhere: whole, in part, and never by running what a pickle holds."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from toy_task import Net, ToyTask, fit, settings

from perception.errors import WeightsError
from perception.models.weights import load_manifest
from perception.training.transfer import load_into, read_weights


def test_weights_of_a_run_are_its_average(tmp_path: Path) -> None:
    average = fit(tmp_path, ToyTask(), settings(validation={"metric": "score"}))
    for name in ("last", "best"):
        network = Net()
        report = load_into(network, read_weights(str(tmp_path / f"{name}.safetensors")), name)
        assert report.is_whole
        assert all(torch.equal(value, average[key]) for key, value in network.state_dict().items())


def test_shipped_weights_are_found_by_name() -> None:
    tensors = read_weights("street", architecture=load_manifest("street").architecture)
    assert "backbone.stem.weight" in tensors
    with pytest.raises(WeightsError, match="expected something-else"):
        read_weights("street", architecture="something-else")


def test_what_fits_in_part_is_told_by_name() -> None:
    given = Net(inputs=3).state_dict() | {"extra.weight": torch.zeros(1)}
    del given["head.bias"]
    network = Net()
    with pytest.raises(WeightsError, match=r"init\.partial = true takes what fits.*1 missing: head\.bias; 1 reshaped"):
        load_into(network, given, "x.safetensors")
    report = load_into(network, given, "x.safetensors", partial=True)
    assert report.loaded == ("backbone.bias", "head.weight")
    assert report.missing == ("head.bias",)
    assert report.reshaped == ("backbone.weight",)
    assert report.unknown == ("extra.weight",)
    assert torch.equal(network.head.weight, given["head.weight"])
    with pytest.raises(WeightsError, match=r"x: found other; expected names such as backbone\.bias"):
        load_into(network, {"other": torch.zeros(1)}, "x", partial=True)


def test_skipped_parts_keep_their_start() -> None:
    network, given = Net(), Net().state_dict()
    before = network.head.weight.clone()
    report = load_into(network, given, "x", skip=["head"])
    assert report.skipped == ("head.bias", "head.weight")
    assert torch.equal(network.head.weight, before)
    assert torch.equal(network.backbone.weight, given["backbone.weight"])


def test_counters_of_batch_norm_may_be_missing() -> None:
    network = nn.BatchNorm2d(3)
    given = {name: value.half() for name, value in network.state_dict().items() if value.dtype.is_floating_point}
    assert load_into(network, given, "x").is_whole


def test_a_pickle_is_read_only_if_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "weights.safetensors"
    state = Net().state_dict()
    for content in (state, {"state_dict": state, "epoch": 3}):
        torch.save(content, file)
        with pytest.raises(WeightsError, match=r"found a pickle.*expected safetensors \(--allow-pickle"):
            read_weights(str(file))
        found = read_weights(str(file), allow_pickle=True)
        assert all(torch.equal(value, state[name]) for name, value in found.items())
    torch.save(state, file, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match="found a pickle"):
        read_weights(str(file))
    assert read_weights(str(file), allow_pickle=True).keys() == state.keys()
    torch.save({"epoch": 3}, file)
    with pytest.raises(WeightsError, match="found no tensors by name"):
        read_weights(str(file), allow_pickle=True)


class Burst:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("burst"),)


def test_a_pickle_never_runs_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "weights.pt"
    torch.save({"weight": Burst()}, file)
    with pytest.raises(WeightsError, match="expected tensors and nothing else in the pickle"):
        read_weights(str(file), allow_pickle=True)
    file.write_bytes(pickle.dumps(Burst(), protocol=2))
    with pytest.raises(WeightsError, match="expected tensors and nothing else in the pickle"):
        read_weights(str(file), allow_pickle=True)
    assert not (tmp_path / "burst").exists()


def test_what_is_damaged_or_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "net.safetensors"
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(WeightsError, match=r"net\.safetensors: expected a safetensors file"):
        read_weights(str(file))
    save_file(Net().state_dict(), file, metadata={"architecture": "toy-1"})
    assert read_weights(str(file), architecture="toy-1")
    with pytest.raises(WeightsError, match="found weights of architecture toy-1; expected toy-2"):
        read_weights(str(file), architecture="toy-2")
    texts = {key: "x" for key in ("name", "data", "licence", "command")}
    manifest = texts | {
        "file": file.name, "sha256": "0" * 64, "architecture": "toy-1", "object_classes": [], "semantic_classes": [],
        "input": {}, "metrics": {},
    }  # fmt: skip
    file.with_suffix(".json").write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(WeightsError, match="the file is damaged"):
        read_weights(str(file))
    with pytest.raises(WeightsError, match="found no manifest"):
        read_weights(str(tmp_path / "absent.safetensors"))
