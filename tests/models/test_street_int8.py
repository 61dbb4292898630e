"""The network in bytes beside the same network in single precision."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from perception.cli.app import main
from perception.config import NetworkConfig, load_config
from perception.errors import ConfigError, DriveError, WeightsError
from perception.models.street_int8 import int8_arrays, multiplies_bytes
from perception.models.street_network import StreetNetwork
from perception.models.weights import load_manifest, shipped_folder
from perception.training.quantize import calibrate, write_int8_graph
from perception.training.sim_source import sim_samples
from perception.types import Frame

CONFIG = load_config().network.model_copy(update={"threads": 1})


def settings(**changes: object) -> NetworkConfig:
    return CONFIG.model_copy(update=changes)


@pytest.fixture(scope="module")
def frame() -> Frame:
    (sample,) = sim_samples(["city"], [5], 1, 0.5, 192, 384)
    return Frame(0, "sim", 0, sample.image_rgb)


@pytest.fixture()
def own(tmp_path: Path) -> Path:
    """Weights of one's own that nobody calibrated."""
    manifest = load_manifest("sim")
    file = shutil.copy(manifest.path, tmp_path)
    content = json.loads(manifest.path.with_suffix(".json").read_text(encoding="utf-8"))
    content.pop("activation_ranges")
    (tmp_path / "sim.json").write_text(json.dumps(content), encoding="utf-8")
    return Path(file)


def test_numbers_come_back_to_half_a_step() -> None:
    rng = np.random.default_rng(3)
    weight = (
        rng.normal(0, 1, (6, 4, 3, 3)).astype(np.float32) * np.float32([1e-4, 0.1, 1, 10, 100, 0])[:, None, None, None]
    )
    bias = rng.normal(0, 5, 6).astype(np.float32)
    given = {"a.weight": weight, "a.bias": bias, "b.weight": weight, "b.bias": bias}
    found = int8_arrays(given, {"a": [0.0, 6.0, -3.0, 5.0]})
    assert found["b.weight"] is weight and found["b.bias"] is bias
    assert "a.weight" not in found and found["a.weight.q"].dtype == np.int8
    scale = found["a.weight.scale"]
    again = found["a.weight.q"] * scale[:, None, None, None]
    assert (np.abs(again - weight) <= scale[:, None, None, None] * 0.501).all()
    np.testing.assert_array_equal(np.abs(found["a.weight.q"]).reshape(6, -1).max(axis=1), [127] * 5 + [0])
    np.testing.assert_allclose(found["a.bias.scale"], scale * np.float32(6 / 255), rtol=1e-6)
    exact = found["a.bias.q"][:5] * found["a.bias.scale"][:5].astype(np.float64)
    np.testing.assert_allclose(exact, bias[:5], atol=0.51 * found["a.bias.scale"].max())
    # 0 is a byte of its own, since padding is 0
    assert found["a.zero"] == round(3.0 / (8.0 / 255)) and found["a.scale"] == np.float32(8.0 / 255)


def test_a_range_on_one_side_of_0_is_widened_to_it() -> None:
    found = int8_arrays({}, {"sum": [2.0, 4.0], "other": [-4.0, -2.0], "nothing": [0.0, 0.0]})
    assert (found["sum.zero"], found["sum.scale"]) == (0, np.float32(4 / 255))
    assert (found["other.zero"], found["other.scale"]) == (255, np.float32(4 / 255))
    assert found["nothing.scale"] > 0


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_vnni", True),
        ("flags\t\t: fpu avx2 avx_vnni", True),
        ("flags\t\t: fpu avx2 avx512f", False),
        ("Features\t: fp asimd asimddp", True),
        ("model name\t: avx512_vnni", False),
        ("", False),
    ],
)
def test_the_processor_is_asked(tmp_path: Path, line: str, expected: bool) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\n{line}\n\n", encoding="utf-8")
    assert multiplies_bytes(file) == expected
    assert not multiplies_bytes(tmp_path / "missing")


@pytest.mark.skipif(not multiplies_bytes(), reason="sums of products of bytes saturate on this processor")
@pytest.mark.parametrize("weights", ["street", "sim"])
def test_bytes_say_what_single_precision_says(frame: Frame, weights: str) -> None:
    exact, rounded = (
        StreetNetwork(settings(weights=weights, precision=each), "cpu").infer(frame) for each in ("fp32", "int8")
    )
    assert rounded.semantic_cells.shape == exact.semantic_cells.shape
    same = rounded.semantic_logits.argmax(axis=0) == exact.semantic_logits.argmax(axis=0)
    assert same.mean() > 0.95
    for head, spread in (("log_depth", 0.15), ("box_cues", 0.15), ("semantic_cells", 0.1)):
        one, other = getattr(rounded, head), getattr(exact, head)
        assert np.abs(one - other).mean() < spread * other.std(), head
    # bytes are not single precision by another name
    assert np.abs(rounded.log_depth - exact.log_depth).max() > 0


def test_auto_takes_bytes_where_they_pay(own: Path) -> None:
    expected = "int8" if multiplies_bytes() else "fp32"
    network = StreetNetwork(settings(precision="auto"), "cpu")
    assert network.precision == expected and network.weights[0].precision == expected
    assert StreetNetwork(settings(weights=str(own), precision="auto"), "cpu").precision == "fp32"
    assert StreetNetwork(settings(backend="torch", precision="auto"), "cpu").precision == "fp32"


def test_bytes_are_refused_where_they_cannot_be_had(own: Path) -> None:
    with pytest.raises(WeightsError, match=r"found no activation_ranges.*perceive weights calibrate"):
        StreetNetwork(settings(weights=str(own), precision="int8"), "cpu")
    with pytest.raises(ConfigError, match="torch runs fp32 or bf16"):
        StreetNetwork(settings(backend="torch", precision="int8"), "cpu")


@pytest.mark.parametrize(
    "ranges", [[], {"backbone.stem": [1.0]}, {"backbone.stem": [0.0, "6"]}, {"a": [0.0, float("nan")]}]
)
def test_malformed_ranges_are_refused(own: Path, ranges: object) -> None:
    manifest = own.with_suffix(".json")
    content = json.loads(manifest.read_text(encoding="utf-8")) | {"activation_ranges": ranges}
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(WeightsError, match="activation_ranges are malformed"):
        load_manifest(str(own))


def test_ranges_of_other_layers_are_refused(own: Path) -> None:
    manifest = own.with_suffix(".json")
    content = json.loads(manifest.read_text(encoding="utf-8")) | {
        "activation_ranges": {"no_layer": [0.0, 1.0, 0.0, 1.0]}
    }
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(WeightsError, match="found activation_ranges of 'no_layer"):
        StreetNetwork(settings(weights=str(own), precision="int8"), "cpu")


def test_weights_of_ones_own_are_calibrated(own: Path, tmp_path: Path, frame: Frame) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    with pytest.raises(DriveError, match="expected a folder of images"):
        calibrate(str(own), [pictures], 2)
    cv2.imwrite(str(pictures / "0.png"), frame.image_rgb[:, :, ::-1])
    layers = calibrate(str(own), [pictures], 2)
    ranges = load_manifest(str(own)).activation_ranges
    assert len(ranges) == layers == len(load_manifest("street").activation_ranges)
    assert ranges["backbone.stem"][0] == 0 and ranges["backbone.stem"][1] <= 6
    assert StreetNetwork(settings(weights=str(own), precision="int8"), "cpu").precision == "int8"


def test_backbones_that_do_not_run_in_bytes_are_refused(own: Path) -> None:
    manifest = own.with_suffix(".json")
    content = json.loads(manifest.read_text(encoding="utf-8")) | {"architecture": "street-resnet18-2"}
    manifest.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"found weights of street-resnet18-2; expected a backbone of lite0"):
        calibrate(str(own), [own.parent], 1)


def test_the_graph_that_ships_is_made_of_the_other_one(tmp_path: Path) -> None:
    source = shipped_folder() / "street-lite0-2.onnx"
    made = write_int8_graph(source, tmp_path)
    assert made.read_bytes() == (shipped_folder() / made.name).read_bytes()


def test_the_verb_calibrates_and_shows(own: Path, frame: Frame, capsys: pytest.CaptureFixture[str]) -> None:
    cv2.imwrite(str(own.parent / "0.png"), frame.image_rgb[:, :, ::-1])
    assert run(["weights", "calibrate", str(own), "--images", str(own.parent)]) == 0
    assert "88 layers are calibrated" in capsys.readouterr().out
    assert run(["weights", "show", str(own)]) == 0
    assert "of 88 layers" in capsys.readouterr().out
    assert run(["weights", "calibrate", str(own), "--images", str(own.parent / "nowhere")]) == 2


def run(args: list[str]) -> int:
    with pytest.raises(SystemExit) as stop:
        main(args)
    return int(stop.value.code or 0)
