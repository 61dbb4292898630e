"""``perceive export``: one file that computes what was trained, or none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from perception.cli import main
from perception.errors import WeightsError
from perception.models.weights import WeightsManifest
from perception.training import model_file
from perception.training.model_file import export_model


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def test_the_file_stands_alone_and_agrees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "there" / "street.onnx"
    assert run("export", "--out", str(file), "--json", str(tmp_path / "report.json")) == 0
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert {head["head"] for head in report["heads"]} >= {"box edges", "semantic", "depth", "embedding"}
    assert all(head["largest_difference"] < 1e-3 * head["largest_value"] for head in report["heads"])
    assert "parity" in capsys.readouterr().out
    meaning = {entry.key: entry.value for entry in onnx.load(str(file)).metadata_props}
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    boxes, semantic, dense = session.run(None, {"image": np.zeros((1, 3, 64, 96), np.float32)})
    assert len(semantic) == len(json.loads(meaning["semantic_classes"]))
    classes, cues = len(json.loads(meaning["object_classes"])), len(json.loads(meaning["solid_cues"]))
    assert len(boxes) == 4 + classes + cues + int(meaning["embedding"])
    assert dense.shape == (5, 16, 24)
    before = file.read_bytes()
    assert run("export", "--out", str(file)) == 2
    assert "exists already" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_a_file_that_disagrees_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = model_file.write_model

    def damaged(manifest: WeightsManifest, file: Path) -> None:
        write(manifest, file)
        model = onnx.load(str(file))
        bias = next(tensor for tensor in model.graph.initializer if tensor.name == "semantic_out.bias")
        values = onnx.numpy_helper.to_array(bias) + np.float32(0.5)
        bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
        file.write_bytes(model.SerializeToString())

    monkeypatch.setattr(model_file, "write_model", damaged)
    with pytest.raises(WeightsError, match=r"disagrees with .*semantic by 0\.5"):
        export_model("street", tmp_path / "street.onnx", None, None, 3)
    assert not list(tmp_path.iterdir())


def test_unknown_weights_and_empty_folders_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", "--weights", "strete", "--out", str(tmp_path / "a.onnx")) == 2
    assert "street" in capsys.readouterr().err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run("export", "--images", str(empty), "--out", str(tmp_path / "a.onnx")) == 2
    assert "expected a folder of images" in capsys.readouterr().err
    assert run("export", "--data", str(empty), "--out", str(tmp_path / "a.onnx")) == 2
    assert "expected camvid/val or kitti_object/training" in capsys.readouterr().err
    assert not (tmp_path / "a.onnx").exists()
