"""The street network's graph in 8-bit integers, and the ranges of values that it needs.

Every tensor between the first convolution and the heads is bytes. Those compute in single precision: the first one
reads the image; edges of boxes, depths and logits are read off the heads, and their few cells cost little. Jacob et
al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR 2018. Bytes
that saturate at 0 and at the largest value are ReLU and ReLU6 at no cost, so those operators are gone from the graph.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import NodeProto, TensorProto, helper

from perception.errors import WeightsError
from perception.files import replaced_when_done, write_text_atomic
from perception.kernels.network_heads import image_planes
from perception.models.street_backbones import BackboneName, architecture_of, backbone_of
from perception.models.street_forward import load_arrays
from perception.models.street_int8 import INT8_SUFFIX
from perception.models.street_layout import IMAGENET_MEAN, IMAGENET_STD
from perception.models.street_network import input_size
from perception.models.weights import load_manifest, shipped_folder, verify
from perception.training.data import images_in, read_image
from perception.training.export import write_graph

__all__ = ["activation_ranges", "calibrate", "write_int8_graph"]

Float32Array = npt.NDArray[np.float32]

_FIRST = "backbone.stem"
_HEADS = ("box_heads", "semantic_out", "dense_out")
_CUT_SHARE = 1e-5  # of the values at either end: single outliers would make every byte coarser


def write_int8_graph(source: Path, folder: Path) -> Path:
    """Writes the graph in bytes, without weights.

    Args:
        source: graph in single precision, as ``perception.training.export.write_graph`` gives it.
        folder: for the file, which is called as ``source`` with ``INT8_SUFFIX``.
    """
    model = onnx.load(str(source), load_external_data=False)
    _drop_limits(model.graph)
    _insert_bytes(model.graph)
    file = folder / f"{source.stem}{INT8_SUFFIX}.onnx"
    with replaced_when_done(file) as aside:
        aside.write_bytes(model.SerializeToString())
    return file


def calibrate(weights: str, folders: Sequence[Path], limit: int) -> int:
    """Measures the ranges of weights on pictures and writes them into their manifest.

    The graph in bytes is written beside the weights unless it ships.

    Args:
        weights: a name or a file beside its manifest.
        folders: of pictures.
        limit: pictures of each, evenly spread.

    Returns:
        The number of layers.

    Raises:
        WeightsError: the weights are missing or damaged, or of a backbone that is no EfficientNet-Lite.
        DriveError: a folder holds no pictures.
    """
    manifest = load_manifest(weights)
    verify(manifest)
    backbone = backbone_of(manifest.architecture, manifest.path)
    if not backbone.startswith("lite"):
        # other backbones have layers between convolutions whose tensors would need bytes too
        raise WeightsError(
            f"{manifest.path}: found weights of {manifest.architecture}; expected a backbone of lite0 ... lite4: "
            "no other runs in bytes"
        )
    mean, deviation = np.array(IMAGENET_MEAN, np.float32) * 255, np.array(IMAGENET_STD, np.float32) * 255
    reference_hw = (manifest.input["height_px"], manifest.input["width_px"])
    planes = []
    for folder in folders:
        files = images_in(folder)
        for index in np.linspace(0, len(files) - 1, min(limit, len(files))).astype(int):
            image = read_image(files[int(index)])
            size_hw = input_size(image.shape[0], image.shape[1], reference_hw)
            resized = np.asarray(cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
            planes.append(image_planes(resized, mean, deviation))
    with TemporaryDirectory() as made:
        source = _graph(backbone, Path(made))
        ranges = activation_ranges(source, load_arrays(manifest), planes)
        if not (shipped_folder() / f"{source.stem}{INT8_SUFFIX}.onnx").is_file():
            write_int8_graph(source, manifest.path.parent)
    file = manifest.path.with_suffix(".json")
    content = json.loads(file.read_text(encoding="utf-8")) | {"activation_ranges": ranges}
    # a line for each layer, not for each number
    text = re.sub(
        r"\[\s+(-?[\d.e+, \n-]+?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", json.dumps(content, indent=2)
    )
    write_text_atomic(file, text + "\n")
    return len(ranges)


def _graph(backbone: BackboneName, folder: Path) -> Path:
    shipped = shipped_folder() / f"{architecture_of(backbone)}.onnx"
    return shipped if shipped.is_file() else write_graph(folder, backbone)


def activation_ranges(
    source: Path, arrays: Mapping[str, Float32Array], images: Sequence[Float32Array]
) -> dict[str, list[float]]:
    """The ranges that ``perception.models.street_int8.int8_arrays`` takes, from what a network does with images.

    Args:
        source: graph in single precision.
        arrays: its weights.
        images: (1, 3, H, W) f32 as the network takes them.
    """
    without_limits = onnx.load(str(source), load_external_data=False)
    _drop_limits(without_limits.graph)
    nodes = [node for node in without_limits.graph.node if _writes_bytes(node)]
    # a limit's output has kept its name, so that these are the tensors after the limits
    model = onnx.load(str(source), load_external_data=False)
    model.graph.output.extend(onnx.ValueInfoProto(name=node.output[0]) for node in nodes)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    options.add_external_initializers(list(values), list(values.values()))
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    ends: dict[str, tuple[float, float]] = {}
    for image in images:
        for tensor, value in zip(
            (node.output[0] for node in nodes),
            session.run([node.output[0] for node in nodes], {"image": image}),
            strict=True,
        ):
            low, high = np.quantile(value, [_CUT_SHARE, 1 - _CUT_SHARE])
            before = ends.get(tensor, (0.0, 0.0))
            ends[tensor] = min(before[0], float(low)), max(before[1], float(high))
    ranges = {}
    for node in nodes:
        read = ends[node.input[0]] if node.op_type == "Conv" and _name(node) != _FIRST else ()
        ranges[_name(node)] = [float(f"{end:.5g}") for end in (*read, *ends[node.output[0]])]
    return ranges


def _name(node: NodeProto) -> str:
    """What a tensor's scale is called by: the convolution, or the sum, that writes it."""
    if node.op_type == "Conv":
        return str(node.input[1]).removesuffix(".weight")
    return str(node.output[0])


def _writes_bytes(node: NodeProto) -> bool:
    if node.op_type == "Conv":
        return not _name(node).startswith(_HEADS)
    return bool(node.op_type == "Add")


def _drop_limits(graph: onnx.GraphProto) -> None:
    """Takes ReLU and ReLU6 out: what wrote their input writes their output."""
    writers = {node.output[0]: node for node in graph.node}
    for node in [node for node in graph.node if node.op_type in ("Clip", "Relu")]:
        if _writes_bytes(writers[node.input[0]]):
            writers[node.input[0]].output[0] = node.output[0]
            graph.node.remove(node)


def _insert_bytes(graph: onnx.GraphProto) -> None:
    """Lets convolutions and sums read and write bytes, in ONNX's way: as conversions to bytes and back around them."""
    known = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[NodeProto] = []

    def external(name: str, kind: int, shape: Sequence[int] = ()) -> str:
        tensor = TensorProto(name=name, data_type=kind, dims=shape, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="weights")
        known[name] = tensor
        return name

    scales: dict[str, list[str]] = {}  # by tensor
    for node in graph.node:
        name, written = _name(node), node.output[0]
        if node.op_type == "Conv" and _writes_bytes(node) and name != _FIRST:
            for given, kind in zip(node.input[1:3], (TensorProto.INT8, TensorProto.INT32), strict=True):
                shape = list(known.pop(given).dims)
                inputs = [
                    external(f"{given}.q", kind, shape),
                    external(f"{given}.scale", TensorProto.FLOAT, shape[:1]),
                    external(f"{given}.zero", kind, shape[:1]),
                ]
                nodes.append(helper.make_node("DequantizeLinear", inputs, [given], name=f"{given}/exact", axis=0))
        nodes.append(node)
        if _writes_bytes(node):
            scales[written] = [
                external(f"{name}.scale", TensorProto.FLOAT),
                external(f"{name}.zero", TensorProto.UINT8),
            ]
        elif node.op_type == "Resize" and node.input[0] in scales:
            scales[written] = scales[node.input[0]]
        else:
            continue
        node.output[0] = f"{written}.exact"
        quantize = helper.make_node(
            "QuantizeLinear", [node.output[0], *scales[written]], [f"{written}.q"], name=f"{written}/bytes"
        )
        back = helper.make_node(
            "DequantizeLinear", [f"{written}.q", *scales[written]], [written], name=f"{written}/exact"
        )
        nodes += [quantize, back]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(known.values())
