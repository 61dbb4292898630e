"""Writes the street network's ONNX graph, and weights with their manifest.

    python -m perception.training.export graph --backbone lite0
    python -m perception.training.export weights CHECKPOINT MANIFEST_FIELDS.json --name street

The graph holds no weights: they come from the safetensors file when a session is opened, so that nothing is stored
twice and every set of weights of one architecture uses the same graph. That of the default backbone ships; those of
others lie beside their weights.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path

import onnx
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from perception.files import replaced_when_done, sha256_of, write_text_atomic
from perception.models.street import StreetNet
from perception.models.street_backbones import (
    BACKBONES,
    DEFAULT_BACKBONE,
    BackboneName,
    architecture_of,
    backbone_of,
)
from perception.models.street_deploy import DeployedStreet
from perception.models.weights import shipped_folder
from perception.training.labels import LABEL_SETS

__all__ = ["semantic_weights", "write_graph", "write_weights"]

_OPSET = 17
_PREFIX = "deployed.network."
_WEIGHTS_TAKEN_BACK = 0.5  # best of steps of 0.25 on CamVid's training images, by 1.8 mIoU


class _Cells(nn.Module):
    """A module, since only modules can be exported."""

    def __init__(self, deployed: DeployedStreet):
        super().__init__()
        self.deployed = deployed

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.deployed.cells(image)


def write_graph(folder: Path, backbone: BackboneName = DEFAULT_BACKBONE) -> Path:
    """Writes ``street-BACKBONE-VERSION.onnx``: the network without weights, of free input size.

    Its outputs are those of ``StreetNet.cells`` for one image.
    """
    deployed = _Cells(DeployedStreet(len(OBJECT_CLASSES), len(SEMANTIC_CLASSES), backbone)).eval()
    for parameter in deployed.parameters():
        # equal tensors would be written once, under one of their names
        nn.init.uniform_(parameter)
    file = folder / f"{architecture_of(backbone)}.onnx"
    with replaced_when_done(file) as aside, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            deployed,
            (torch.zeros(1, 3, 256, 832),),
            str(aside),
            input_names=["image"],
            output_names=["boxes", "semantic", "dense"],
            dynamic_axes={
                "image": {2: "height", 3: "width"},
                "boxes": {2: "cells"},
                "semantic": {2: "rows", 3: "columns"},
                "dense": {2: "rows", 3: "columns"},
            },
            opset_version=_OPSET,
            dynamo=False,
        )
        model = onnx.load(str(aside))
        for tensor in model.graph.initializer:
            if tensor.name.startswith(_PREFIX):
                tensor.name = tensor.name.removeprefix(_PREFIX)
                tensor.ClearField("raw_data")
                tensor.data_location = onnx.TensorProto.EXTERNAL
                tensor.external_data.add(key="location", value="weights")
        for node in model.graph.node:
            node.ClearField("doc_string")
            for index, name in enumerate(node.input):
                node.input[index] = name.removeprefix(_PREFIX)
        _pad_in_convolutions(model.graph)
        del model.graph.value_info[:]
        aside.write_bytes(model.SerializeToString())
    return file


def _pad_in_convolutions(graph: onnx.GraphProto) -> None:
    """Lets every convolution pad its own input: separate padding breaks onnxruntime's blocked memory layout."""
    pads = {node.output[0]: node for node in graph.node if node.op_type == "Pad"}
    for node in graph.node:
        if node.op_type == "Conv" and node.input[0] in pads:
            attributes = {attribute.name: attribute for attribute in node.attribute}
            before = (attributes["kernel_shape"].ints[0] - 2) // 2
            after = attributes["kernel_shape"].ints[0] - 2 - before
            attributes["pads"].ints[:] = [before, before, after, after]
            node.input[0] = pads[node.input[0]].input[0]
    # what nobody reads any more: the paddings and the arithmetic of their sizes
    while True:
        read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        unread = [node for node in graph.node if not any(name in read for name in node.output)]
        if not unread:
            return
        for node in unread:
            graph.node.remove(node)


def write_weights(
    state: dict[str, Tensor],
    name: str,
    fields: dict[str, object],
    folder: Path,
    score_shift: float = 0.0,
    class_weights: list[float] | None = None,
    backbone: BackboneName = DEFAULT_BACKBONE,
) -> Path:
    """Writes ``NAME.safetensors`` (weights in half precision, vectors in single) and ``NAME.json``.

    Beside them goes the graph, unless it ships.

    Args:
        state: of a ``StreetNet``.
        name: of the weights.
        fields: ``data``, ``licence``, ``command`` and ``metrics`` of the manifest.
        folder: where both go.
        score_shift: added to the class logits of boxes; the validation's figure of that name.
        class_weights: of ``SEMANTIC_CLASSES`` in training. Weighted training finds rare classes too often for the
            best IoU; half of the weights' logarithms is taken back from the logits.
        backbone: of the ``StreetNet``.
    """
    architecture = architecture_of(backbone)
    network = StreetNet(len(OBJECT_CLASSES), len(SEMANTIC_CLASSES), backbone=backbone)
    shifted = {key: value.clone() for key, value in state.items()}
    for key, value in shifted.items():
        if key.endswith("class_logits.bias"):
            value += score_shift
    if class_weights is not None:
        places = len(shifted["semantic_out.bias"]) // len(class_weights)
        taken_back = _WEIGHTS_TAKEN_BACK * torch.tensor(class_weights).log()
        shifted["semantic_out.bias"] -= taken_back.repeat_interleave(places)
    network.load_state_dict(shifted)
    file = folder / f"{name}.safetensors"
    kept = {
        key: value.half().contiguous() if value.ndim == 4 else value.contiguous()
        for key, value in network.state_dict().items()
        if value.dtype.is_floating_point
    }
    with replaced_when_done(file) as aside:
        save_file(kept, aside, metadata={"architecture": architecture})
        aside.chmod(0o644)  # safetensors makes it private
    manifest = {
        "name": name,
        "file": file.name,
        "sha256": sha256_of(file),
        "architecture": architecture,
        "object_classes": list(OBJECT_CLASSES),
        "semantic_classes": list(SEMANTIC_CLASSES),
        "input": {"height_px": 256, "width_px": 832},
    } | fields
    if not (shipped_folder() / f"{architecture}.onnx").is_file():
        write_graph(folder, backbone)
    write_text_atomic(folder / f"{name}.json", json.dumps(manifest, indent=2) + "\n")
    return file


def semantic_weights(by_label_set: dict[str, list[float]]) -> list[float]:
    """What each of ``SEMANTIC_CLASSES`` counted in training: as in CamVid where people drew, else as simulated."""
    label_set = "camvid" if "camvid" in by_label_set else "full"
    weights = [1.0] * len(SEMANTIC_CLASSES)
    for weight, classes in zip(by_label_set[label_set], LABEL_SETS[label_set], strict=True):
        for semantic in classes:
            weights[semantic] = weight
    return weights


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    graph = commands.add_parser("graph", help="write the ONNX graphs, in single precision and in bytes")
    weights = commands.add_parser("weights", help="write weights and manifest")
    weights.add_argument("checkpoint", type=Path, help="last.safetensors of a training run")
    weights.add_argument("fields", type=Path, help="JSON with data, licence, command and metrics")
    weights.add_argument("--name", default="street")
    weights.add_argument("--score-shift", type=float, default=0.0, help="as the last validation gave it")
    weights.add_argument("--class-weights", type=Path, default=None, help="class_weights.json of the training run")
    graph.add_argument("--backbone", choices=BACKBONES, default=DEFAULT_BACKBONE)
    for command in (graph, weights):
        command.add_argument("--folder", type=Path, default=shipped_folder())
    arguments = parser.parse_args()
    if arguments.command == "graph":
        from perception.training.quantize import write_int8_graph  # which needs this module

        file = write_graph(arguments.folder, arguments.backbone)
        print(file)
        print(write_int8_graph(file, arguments.folder))
        return
    tensors = load_file(arguments.checkpoint)
    with safe_open(arguments.checkpoint, framework="pt") as opened:
        named = (opened.metadata() or {}).get("architecture", architecture_of(DEFAULT_BACKBONE))
    state = {name.removeprefix("average."): value for name, value in tensors.items() if name.startswith("average.")}
    fields = json.loads(arguments.fields.read_text(encoding="utf-8"))
    class_weights = None
    if arguments.class_weights is not None:
        class_weights = semantic_weights(json.loads(arguments.class_weights.read_text(encoding="utf-8")))
    backbone = backbone_of(named, arguments.checkpoint)
    shift, folder = arguments.score_shift, arguments.folder
    print(write_weights(state, arguments.name, fields, folder, shift, class_weights, backbone))


if __name__ == "__main__":
    main()
