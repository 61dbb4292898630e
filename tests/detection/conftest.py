"""A YOLOX small enough to know by heart: red blocks are cars, blue blocks are people."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from perception.config import DetectionConfig, load_config

MakeModel = Callable[..., Path]


@pytest.fixture
def settings() -> Callable[..., DetectionConfig]:
    def make(**changes: object) -> DetectionConfig:
        defaults = load_config().detection
        return DetectionConfig.model_validate({**defaults.model_dump(), **changes})

    return make


@pytest.fixture
def tiny_yolox(tmp_path: Path) -> MakeModel:
    """Makes an ONNX file whose stride-16 cells see a mean colour: R + B - 2G is objectness, R is car, B is person.

    A full red cell gives a box of 32x32 input pixels about the cell's centre with a score of nearly 1.
    """

    def make(
        height: int | str = 64,
        width: int | str = 96,
        classes: int = 80,
        *,
        frozen_reshape: bool = False,
        decoded: bool = False,
        logits: bool = False,
        ir_version: int = 8,
        name: str = "tiny.onnx",
    ) -> Path:
        columns = 5 + classes
        initializers, nodes, flat = [], [], []
        for stride in (8, 16, 32):
            kernel = np.zeros((columns, 3, stride, stride), np.float32)
            bias = np.full(columns, -20.0, np.float32)
            bias[:4] = 0.5, 0.5, np.log(2), np.log(2)
            bias[4:7] = -10.0 if stride == 16 else -100.0
            per_pixel = 20 / 255 / stride**2
            kernel[4, 0], kernel[4, 1], kernel[4, 2] = per_pixel, -2 * per_pixel, per_pixel
            if classes > 2:
                kernel[5, 0] = per_pixel  # person is B, the first channel of BGR
                kernel[7, 2], bias[7] = per_pixel, -10.0
            initializers += [
                numpy_helper.from_array(kernel, f"kernel{stride}"),
                numpy_helper.from_array(bias, f"bias{stride}"),
            ]
            cells = (int(height) // stride) * (int(width) // stride) if frozen_reshape else -1
            initializers.append(numpy_helper.from_array(np.array([1, columns, cells]), f"shape{stride}"))
            nodes += [
                helper.make_node(
                    "Conv",
                    ["images", f"kernel{stride}", f"bias{stride}"],
                    [f"map{stride}"],
                    kernel_shape=[stride, stride],
                    strides=[stride, stride],
                ),
                helper.make_node("Reshape", [f"map{stride}", f"shape{stride}"], [f"flat{stride}"]),
            ]
            flat.append(f"flat{stride}")
        initializers.append(numpy_helper.from_array(np.array([4, classes + 1]), "parts"))
        initializers.append(numpy_helper.from_array(np.array(100.0 if decoded else 1.0, np.float32), "scale"))
        nodes += [
            helper.make_node("Concat", flat, ["cells"], axis=2),
            helper.make_node("Split", ["cells", "parts"], ["geometry", "raw_probabilities"], axis=1),
            helper.make_node("Mul", ["geometry", "scale"], ["scaled"]),
            helper.make_node("Identity" if logits else "Sigmoid", ["raw_probabilities"], ["probabilities"]),
            helper.make_node("Concat", ["scaled", "probabilities"], ["joined"], axis=1),
            helper.make_node("Transpose", ["joined"], ["output"], perm=[0, 2, 1]),
        ]
        rows = None
        if not isinstance(height, str):
            rows = sum((height // stride) * (int(width) // stride) for stride in (8, 16, 32))
        image = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, height, width])
        inputs = [image]
        if ir_version < 4:
            inputs = [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in initializers] + inputs
        graph = helper.make_graph(
            nodes,
            "tiny",
            inputs,
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, rows, columns])],
            initializers,
            value_info=[helper.make_tensor_value_info("cells", TensorProto.FLOAT, [1, columns, rows])],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=ir_version)
        onnx.checker.check_model(model)
        path = tmp_path / name
        onnx.save(model, str(path))
        return path

    return make
