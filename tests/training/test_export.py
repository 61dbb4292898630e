"""What ships is what was trained, shifted as asked."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import load_file

from perception.classes import SEMANTIC_CLASSES
from perception.models.street_layout import ARCHITECTURE
from perception.models.weights import load_manifest, shipped_folder, verify
from perception.training.export import semantic_weights, write_graph, write_weights
from perception.training.street import make_network

FIELDS: dict[str, object] = {"data": "none", "licence": "none", "command": "none", "metrics": {}}


def test_written_weights_are_the_state_in_half_precision(tmp_path: Path) -> None:
    torch.manual_seed(5)
    state = make_network().state_dict()
    file = write_weights(state, "toy", FIELDS, tmp_path)
    manifest = load_manifest(str(file))
    verify(manifest, ARCHITECTURE)
    assert json.loads((tmp_path / "toy.json").read_text(encoding="utf-8")) == manifest.as_dict()
    assert file.stat().st_size < 8e6
    written = load_file(file)
    for name, value in written.items():
        torch.testing.assert_close(value.float(), state[name], rtol=1e-3, atol=1e-6)
    assert {name for name in state if name not in written} == {n for n in state if n.endswith("num_batches_tracked")}


def test_shifts_move_only_what_they_should(tmp_path: Path) -> None:
    state = make_network().state_dict()
    weights = [float(index + 1) for index in range(20)]
    written = load_file(write_weights(state, "toy", FIELDS, tmp_path, score_shift=1.5, class_weights=weights))
    for index in range(3):
        name = f"box_heads.{index}.class_logits.bias"
        torch.testing.assert_close(written[name], state[name] + 1.5)
    moved = state["semantic_out.bias"] - written["semantic_out.bias"]
    np.testing.assert_allclose(moved.numpy(), np.repeat(0.5 * np.log(weights), 4), atol=1e-6)
    torch.testing.assert_close(written["dense_out.bias"], state["dense_out.bias"])


def test_classes_are_weighed_as_their_labels_were() -> None:
    weights = semantic_weights({"camvid": [float(k) for k in range(11)], "full": [9.0] * 20})
    assert weights[SEMANTIC_CLASSES.index("road")] == weights[SEMANTIC_CLASSES.index("lane marking")] == 3.0
    assert weights[SEMANTIC_CLASSES.index("sky")] == 0.0
    assert semantic_weights({"full": [float(k) for k in range(20)]}) == [float(k) for k in range(20)]


def test_the_shipped_graph_is_the_networks(tmp_path: Path) -> None:
    written = onnx.load(str(write_graph(tmp_path)), load_external_data=False).graph
    shipped = onnx.load(str(shipped_folder() / f"{ARCHITECTURE}.onnx"), load_external_data=False).graph
    # names and shape arithmetic differ between exporters; what is computed does not
    computing = {"Conv", "Clip", "Relu", "Add", "Resize", "DepthToSpace"}
    found, expected = (Counter(node.op_type for node in graph.node) for graph in (written, shipped))
    assert {op: found[op] for op in computing} == {op: expected[op] for op in computing}
    assert {tensor.name for tensor in written.initializer} >= {"dense_out.weight", "backbone.stem.weight"}
    assert not [node for node in written.node if node.op_type == "Pad"]
    assert (tmp_path / f"{ARCHITECTURE}.onnx").stat().st_size < 200_000
