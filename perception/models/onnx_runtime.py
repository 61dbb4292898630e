"""Opens ONNX models with onnxruntime, at the input size that was asked for where the graph allows it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as onnxruntime_errors

from perception.errors import DeviceError, WeightsError
from perception.models.onnx_input import MalformedModelError, image_input, with_input_size

__all__ = ["ImageModel", "open_image_model"]

Float32Array = npt.NDArray[np.float32]

# onnxruntime's errors share no base class of their own
_ONNXRUNTIME_ERRORS: tuple[type[Exception], ...] = tuple(
    error for error in vars(onnxruntime_errors).values() if isinstance(error, type) and issubclass(error, Exception)
)

_FATAL_ONLY = 4


class ImageModel:
    """An image network that takes (1, 3, height_px, width_px) float32 and gives one array.

    Attributes:
        height_px: of the input.
        width_px: of the input.
        output_shape: of the array it gives.
        note: why it does not run at the size that was asked for; empty where it does.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        input_name: str,
        height_px: int,
        width_px: int,
        output_shape: tuple[int, ...],
    ) -> None:
        self._session = session
        self._input_name = input_name
        self.height_px = height_px
        self.width_px = width_px
        self.output_shape = output_shape
        self.note = ""

    def run(self, blob: Float32Array) -> Float32Array:
        """One forward pass."""
        output: Float32Array = self._session.run(None, {self._input_name: blob})[0]
        return output


def open_image_model(
    weights: Path,
    height_px: int,
    width_px: int,
    fault_of: Callable[[list[npt.NDArray[Any]], int, int], str],
    *,
    device: str = "cpu",
    threads: int = 0,
) -> ImageModel:
    """Opens a model at the given input size, or at its own fixed size when it cannot run at that one.

    Each size is tried with a grey image. onnxruntime's threads sleep while they wait: spinning would take a core from
    the stages that run beside the network.

    Args:
        weights: the model's file.
        height_px: wanted input height.
        width_px: wanted input width.
        fault_of: says what is wrong with the outputs at an input height and width; empty when they are as expected.
        device: ``auto``, ``cpu`` or ``cuda[:N]``; auto is a GPU where this onnxruntime can use one.
        threads: of one forward pass; 0 takes every core this process may use.

    Raises:
        WeightsError: the file is missing, no ONNX model, or one of another layout.
        DeviceError: a GPU was asked for that onnxruntime cannot use.
    """
    providers = _providers(device)
    try:
        model = weights.read_bytes()
    except OSError as error:
        raise WeightsError(f"{weights}: found no readable file ({error.strerror}); expected an ONNX model") from None
    try:
        declared = image_input(model)
    except MalformedModelError as error:
        raise WeightsError(f"{weights}: {error}; expected an ONNX model of an image network") from None
    own_height_px, own_width_px = declared.shape[2:]

    def opened(content: bytes, height: int, width: int) -> ImageModel | str:
        try:
            session = _session(content, weights.parent, providers, threads)
            grey = np.full((1, 3, height, width), 114.0, np.float32)
            outputs = session.run(None, {declared.name: grey})
        except _ONNXRUNTIME_ERRORS as error:
            return " ".join(str(error).split())
        _check_device(session, device)
        return fault_of(outputs, height, width) or ImageModel(session, declared.name, height, width, outputs[0].shape)

    fits = own_height_px in (None, height_px) and own_width_px in (None, width_px)
    first = opened(model if fits else with_input_size(model, height_px, width_px), height_px, width_px)
    if isinstance(first, ImageModel):
        return first
    if fits or own_height_px is None or own_width_px is None:
        raise WeightsError(f"{weights}: {first}")
    second = opened(model, own_height_px, own_width_px)
    if isinstance(second, str):
        raise WeightsError(f"{weights}: {second}")
    second.note = (
        f"{weights}: runs at its own {own_width_px}x{own_height_px}, not at the configured "
        f"{width_px}x{height_px}: {first}"
    )
    return second


def _session(model: bytes, folder: Path, providers: list[Any], threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY  # failures are raised and reported in one line by the caller
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # the model comes as bytes, so weights kept in files beside it must be told where that is
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
    return onnxruntime.InferenceSession(model, options, providers=providers)


def _providers(device: str) -> list[Any]:
    name, _, index = device.partition(":")
    if name not in ("auto", "cpu", "cuda") or (index and not (name == "cuda" and index.isdecimal())):
        raise DeviceError(f"device {device!r}: expected auto, cpu, cuda or cuda:N")
    available = onnxruntime.get_available_providers()
    if name == "cpu" or (name == "auto" and "CUDAExecutionProvider" not in available):
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in available:
        raise DeviceError(
            f"device {device!r}: this onnxruntime has only {', '.join(available)}; expected CUDAExecutionProvider "
            "(pip install onnxruntime-gpu), or --device cpu"
        )
    return [("CUDAExecutionProvider", {"device_id": int(index or 0)}), "CPUExecutionProvider"]


def _check_device(session: onnxruntime.InferenceSession, device: str) -> None:
    """A GPU that cannot be used makes onnxruntime fall back to the CPU without a word."""
    if device.startswith("cuda") and session.get_providers()[0] != "CUDAExecutionProvider":
        raise DeviceError(f"device {device!r}: onnxruntime found no GPU it can use; expected one, or --device cpu")
