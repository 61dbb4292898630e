from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.models.onnx_input import MalformedModelError, image_input, with_input_size


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]


def _without_shapes(model: bytes) -> bytes:
    """The model as onnx itself serialises it, with all that an edit of the input size may change taken out."""
    parsed = onnx.load_from_string(model)
    del parsed.graph.value_info[:]
    for value in parsed.graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in parsed.graph.input:
        if value.name == "images":
            value.type.tensor_type.ClearField("shape")
    return parsed.SerializeToString(deterministic=True)


@pytest.mark.parametrize("ir_version", [3, 8])
@pytest.mark.parametrize("size", [(32, 32), (256, 832), (4096, 16384)])
def test_edit_changes_the_input_and_nothing_else(tiny_yolox, ir_version, size):
    original = tiny_yolox(ir_version=ir_version).read_bytes()
    edited = with_input_size(original, *size)
    parsed = onnx.load_from_string(edited)
    onnx.checker.check_model(parsed)
    images = next(value for value in parsed.graph.input if value.name == "images")
    assert _dims(images) == [1, 3, *size]
    assert images.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert not parsed.graph.value_info
    assert _dims(parsed.graph.output[0]) == ["", "", ""]
    assert _without_shapes(edited) == _without_shapes(original)
    assert image_input(edited).shape == (1, 3, *size)


def test_free_dimensions_are_none(tiny_yolox):
    found = image_input(tiny_yolox("height", "width").read_bytes())
    assert found.name == "images"
    assert found.shape == (1, 3, None, None)


def test_published_yolox_runs_at_another_size(real_data: Path):
    original = (real_data / "weights" / "yolox_nano.onnx").read_bytes()
    assert image_input(original).shape == (1, 3, 416, 416)
    edited = with_input_size(original, 256, 832)
    assert _without_shapes(edited) == _without_shapes(original)
    # onnx's own shape inference derives the rows from the edited input: 32*104 + 16*52 + 8*26
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(edited), strict_mode=True)
    assert _dims(inferred.graph.output[0]) == [1, 4368, 85]
    session = onnxruntime.InferenceSession(edited, providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == [1, 3, 256, 832]


def test_truncated_models_are_refused_wherever_they_end(tiny_yolox):
    model = tiny_yolox().read_bytes()
    graph_end = max(at for at in range(len(model)) if _parses(model[:at])) if _parses(model[:-1]) else len(model)
    for end in [*range(0, 200), *range(200, graph_end - 20, 997)]:
        with pytest.raises(MalformedModelError):
            image_input(model[:end])


def _parses(data: bytes) -> bool:
    try:
        image_input(data)
    except MalformedModelError:
        return False
    return True


@given(st.binary(max_size=200))
def test_any_bytes_end_in_one_kind_of_error(data: bytes):
    with pytest.raises(MalformedModelError):
        image_input(data)


@given(st.integers(0, 4000), st.integers(0, 255))
def test_a_changed_byte_never_escapes(data_at: int, value: int):
    model = bytearray(_SMALL)
    model[data_at % len(model)] = value
    try:
        with_input_size(bytes(model), 64, 64)
    except MalformedModelError as error:
        assert str(error)


def _small_model() -> bytes:
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Relu", ["images"], ["output"])],
        "small",
        [helper.make_tensor_value_info("images", float32, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("output", float32, [1, 3, 32, 32])],
    )
    return helper.make_model(graph).SerializeToString()


_SMALL = _small_model()


@pytest.mark.parametrize(
    ("elem_type", "dims", "message"),
    [
        (onnx.TensorProto.UINT8, [1, 3, 32, 32], "element type"),
        (onnx.TensorProto.FLOAT, [1, 1, 32, 32], r"shape \[1, 1, 32, 32\]"),
        (onnx.TensorProto.FLOAT, [8, 3, 32, 32], r"expected \(1, 3, height, width\)"),
        (onnx.TensorProto.FLOAT, [1, 3, 32], "shape"),
    ],
)
def test_other_inputs_are_named(elem_type, dims, message):
    helper = onnx.helper
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["output"])],
        "other",
        [helper.make_tensor_value_info("images", elem_type, dims)],
        [helper.make_tensor_value_info("output", elem_type, dims)],
    )
    with pytest.raises(MalformedModelError, match=message):
        image_input(helper.make_model(graph).SerializeToString())


def test_two_inputs_are_named():
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    values = [helper.make_tensor_value_info(name, float32, [1, 3, 32, 32]) for name in ("left", "right")]
    graph = helper.make_graph(
        [helper.make_node("Add", ["left", "right"], ["output"])],
        "two",
        values,
        [helper.make_tensor_value_info("output", float32, [1, 3, 32, 32])],
    )
    with pytest.raises(MalformedModelError, match=r"\['left', 'right'\]"):
        image_input(helper.make_model(graph).SerializeToString())
