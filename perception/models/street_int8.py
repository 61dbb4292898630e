"""The street network in 8-bit integers: what its graph needs besides itself, and which processors it pays on.

A layer's bytes ``q`` stand for ``(q - zero) * scale``. Weights are signed and symmetric, one scale for every output
channel; what a layer reads and writes is unsigned, one scale and one zero for the whole tensor.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["INT8_SUFFIX", "int8_arrays", "multiplies_bytes"]

Float32Array = npt.NDArray[np.float32]

INT8_SUFFIX = "-int8"
"""Of the graph's name."""

_LEVELS = 255
_LARGEST_WEIGHT = 127
_LEAST_SCALE = 1e-8
_LARGEST_BIAS = 2**31 - 1
# dot products of bytes in one instruction: x86 VNNI and AMX, Arm's dotprod
_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"}


@functools.cache
def multiplies_bytes(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor has instructions for products of bytes.

    Without them bytes are no faster, and on x86 sums of two products saturate at 16 bits, which spoils the result.
    """
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    lines = (line for line in text.splitlines() if line.startswith(("flags", "Features")))
    return bool(_FLAGS & set(next(lines, "").split()))


def _scale_and_zero(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Of a tensor's bytes; 0 is among the values, since padding needs it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32(max((high - low) / _LEVELS, _LEAST_SCALE))
    return scale, np.uint8(np.clip(round(-low / float(scale)), 0, _LEVELS))


def int8_arrays(
    arrays: Mapping[str, Float32Array], ranges: Mapping[str, Sequence[float]]
) -> dict[str, npt.NDArray[Any]]:
    """What the graph in bytes is given, by the graph's names.

    Args:
        arrays: ``P.weight`` (O, I, k, k) and ``P.bias`` (O,) of every convolution ``P``.
        ranges: by tensor the least and largest value that bytes should express. Those of a convolution's input come
            first where the convolution itself computes in bytes: ``(input low, input high, low, high)``.

    Returns:
        ``P.weight`` and ``P.bias`` of what computes in single precision; of the rest ``P.weight.q`` i8 and ``P.bias.q``
        i32 with their ``.scale`` (O,) f32 and ``.zero``; ``T.scale`` and ``T.zero`` of every tensor ``T`` in bytes.

    Raises:
        KeyError: a range belongs to a convolution that is not there.
    """
    found: dict[str, npt.NDArray[Any]] = dict(arrays)
    for name, values in ranges.items():
        scale, zero = _scale_and_zero(values[-2], values[-1])
        found[f"{name}.scale"], found[f"{name}.zero"] = np.array(scale), np.array(zero)
        if len(values) == 2:
            continue
        weight, bias = found.pop(f"{name}.weight"), found.pop(f"{name}.bias")
        input_scale, _ = _scale_and_zero(values[0], values[1])
        largest = np.abs(weight).max(axis=(1, 2, 3))
        weight_scale = np.maximum(largest / _LARGEST_WEIGHT, _LEAST_SCALE).astype(np.float32)
        bias_scale = (weight_scale * input_scale).astype(np.float32)
        whole = np.rint(bias.astype(np.float64) / bias_scale).clip(-_LARGEST_BIAS, _LARGEST_BIAS)
        found[f"{name}.weight.q"] = np.rint(weight / weight_scale[:, None, None, None]).astype(np.int8)
        found[f"{name}.weight.scale"] = weight_scale
        found[f"{name}.weight.zero"] = np.zeros(len(bias), np.int8)
        found[f"{name}.bias.q"] = whole.astype(np.int32)
        found[f"{name}.bias.scale"] = bias_scale
        found[f"{name}.bias.zero"] = np.zeros(len(bias), np.int32)
    return found
