"""Reads and edits the image input of an ONNX model in protobuf's wire format.

An exported detector often declares a fixed input although its graph would run at any size. Changing two dimensions of
``graph.input`` needs a few fields of the ONNX schema, so the ``onnx`` package is no dependency for it. Field numbers:
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto; wire format: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["ImageInput", "MalformedModelError", "image_input", "with_input_size"]

# field numbers in onnx.proto, <message>_<field>
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_VALUE_INFO = 5, 11, 12, 13
_TENSOR_NAME = 8
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR = 1
_TENSOR_TYPE_ELEM, _TENSOR_TYPE_SHAPE = 1, 2
_SHAPE_DIM = 1
_DIM_VALUE = 1

_FLOAT = 1

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

_Edit = Callable[[memoryview], bytes]


class MalformedModelError(ValueError):
    """Bytes that are no ONNX model, or a model without an image input; says what was found and expected."""


@dataclass(frozen=True, slots=True)
class ImageInput:
    """The one input of an image network.

    Attributes:
        name: of the input.
        shape: batch, channels, height, width; None where the model leaves it free.
    """

    name: str
    shape: tuple[int | None, int | None, int | None, int | None]


def image_input(model: bytes) -> ImageInput:
    """Finds the input that is no initializer, and checks that it takes one float32 RGB or BGR image as (1, 3, H, W).

    Raises:
        MalformedModelError: the bytes are no ONNX model, or its input is another.
    """
    graph = _only(memoryview(model), _MODEL_GRAPH, "an ONNX model's graph")
    initializers = {
        _text(_only(tensor, _TENSOR_NAME, "an initializer's name")) for tensor in _all(graph, _GRAPH_INITIALIZER)
    }
    inputs = {_text(_only(value, _VALUE_NAME, "an input's name")): value for value in _all(graph, _GRAPH_INPUT)}
    # files of IR version 3 and older list their initializers among the inputs
    names = [name for name in inputs if name not in initializers]
    if len(names) != 1:
        raise MalformedModelError(f"found inputs {names}; expected one image input")
    tensor = _only(_only(inputs[names[0]], _VALUE_TYPE, "an input's type"), _TYPE_TENSOR, "a tensor input")
    elem_types = [value for number, value in _fields(tensor) if number == _TENSOR_TYPE_ELEM]
    if elem_types != [_FLOAT]:
        raise MalformedModelError(f"input {names[0]} has element type {elem_types}; expected float32 (1)")
    dims = [_dim(dim) for dim in _all(_only(tensor, _TENSOR_TYPE_SHAPE, "an input's shape"), _SHAPE_DIM)]
    if len(dims) != 4 or dims[0] not in (1, None) or dims[1] not in (3, None):
        raise MalformedModelError(f"input {names[0]} has shape {dims}; expected (1, 3, height, width)")
    return ImageInput(names[0], (dims[0], dims[1], dims[2], dims[3]))


def with_input_size(model: bytes, height_px: int, width_px: int) -> bytes:
    """The model with its image input declared as (1, 3, height_px, width_px).

    Sizes declared for outputs become free and those of intermediate values are dropped, since they follow from the
    input's. Whether the graph runs at that size shows only when it is run: reshapes may hold fixed numbers.

    Raises:
        MalformedModelError: as ``image_input``.
    """
    name = image_input(model).name
    shape = b"".join(
        _length_delimited(_SHAPE_DIM, _key(_DIM_VALUE, _VARINT) + _varint(size)) for size in (1, 3, height_px, width_px)
    )

    def reshaped(value: memoryview) -> bytes:
        if _text(_only(value, _VALUE_NAME, "an input's name")) != name:
            return bytes(value)
        return _edited(value, {_VALUE_TYPE: _inside({_TYPE_TENSOR: _inside({_TENSOR_TYPE_SHAPE: lambda _: shape})})})

    free = _inside({_SHAPE_DIM: lambda _: b""})
    with_free_shape = _inside({_VALUE_TYPE: _inside({_TYPE_TENSOR: _inside({_TENSOR_TYPE_SHAPE: free})})})
    graph_edits: dict[int, _Edit | None] = {
        _GRAPH_INPUT: reshaped,
        _GRAPH_OUTPUT: with_free_shape,
        _GRAPH_VALUE_INFO: None,
    }
    return _edited(memoryview(model), {_MODEL_GRAPH: _inside(graph_edits)})


def _inside(edits: Mapping[int, _Edit | None]) -> _Edit:
    return lambda message: _edited(message, edits)


def _edited(message: memoryview, edits: Mapping[int, _Edit | None]) -> bytes:
    """Copies a message; length-delimited fields named in ``edits`` are replaced, or dropped where the edit is None."""
    parts: list[bytes | memoryview] = []
    for number, wire_type, start, value_start, end in _spans(message):
        if wire_type != _BYTES or number not in edits:
            parts.append(message[start:end])
        elif (edit := edits[number]) is not None:
            parts.append(_length_delimited(number, edit(message[value_start:end])))
    return b"".join(parts)


def _dim(dim: memoryview) -> int | None:
    for number, value in _fields(dim):
        if number == _DIM_VALUE and isinstance(value, int):
            # an exporter that writes 0 or a negative number means a free dimension
            return value if 0 < value < 1 << 31 else None
    return None


def _only(message: memoryview, number: int, what: str) -> memoryview:
    found = _all(message, number)
    if len(found) != 1:
        raise MalformedModelError(f"found {len(found)} field(s) {number} where {what} was expected")
    return found[0]


def _all(message: memoryview, number: int) -> list[memoryview]:
    return [value for found, value in _fields(message) if found == number and isinstance(value, memoryview)]


def _text(value: memoryview) -> str:
    return bytes(value).decode("utf-8", errors="replace")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Field numbers with their values: integers for varints, bytes for everything else."""
    for number, wire_type, _, value_start, end in _spans(message):
        yield number, _read_varint(message, value_start)[0] if wire_type == _VARINT else message[value_start:end]


def _spans(message: memoryview) -> Iterator[tuple[int, int, int, int, int]]:
    """Field number, wire type, start of the field, start of its value, and end, for every field in turn."""
    position = 0
    while position < len(message):
        start = position
        key, position = _read_varint(message, position)
        number, wire_type = key >> 3, key & 7
        if number == 0 or wire_type not in (_VARINT, _FIXED64, _BYTES, _FIXED32):
            raise MalformedModelError(f"byte {start} starts no protobuf field (number {number}, wire type {wire_type})")
        if wire_type == _VARINT:
            value_start, (_, end) = position, _read_varint(message, position)
        elif wire_type == _BYTES:
            length, value_start = _read_varint(message, position)
            end = value_start + length
        else:
            value_start, end = position, position + (8 if wire_type == _FIXED64 else 4)
        if end > len(message):
            raise MalformedModelError(
                f"field {number} at byte {start} needs {end - value_start} bytes; found {len(message) - value_start}"
            )
        yield number, wire_type, start, value_start, end
        position = end


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            raise MalformedModelError(f"the data ends inside a number at byte {position}")
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise MalformedModelError(f"a number of more than 10 bytes ends at byte {position}")


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _length_delimited(number: int, value: bytes) -> bytes:
    return _key(number, _BYTES) + _varint(len(value)) + value
