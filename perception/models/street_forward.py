"""The embedded network's forward pass: in onnxruntime, single precision or bytes, or in torch.

The graphs hold no weights; those are folded, and for bytes rounded, when a session is opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
from safetensors import SafetensorError
from safetensors.numpy import load_file

from perception.config import NetworkConfig
from perception.errors import ConfigError, WeightsError
from perception.models.street_backbones import BackboneName, backbone_of
from perception.models.street_fold import folded_arrays
from perception.models.street_int8 import INT8_SUFFIX, int8_arrays, multiplies_bytes
from perception.models.street_layout import DENSE_STRIDE, SEMANTIC_STRIDE
from perception.models.weights import WeightsManifest, shipped_folder

__all__ = ["Forward", "load_arrays", "make_forward", "open_session", "precision_of"]

Float32Array = npt.NDArray[np.float32]
Forward = Callable[[Float32Array], tuple[Float32Array, Float32Array, Float32Array]]
"""(1, 3, H, W) image to boxes, semantic and dense as ``StreetNet.cells`` gives them, without the axis of images."""

_SIZE_STEP_PX = 32
_FATAL_ONLY = 4


def make_forward(settings: NetworkConfig, manifest: WeightsManifest, device: str, precision: str) -> Forward:
    """Loads the weights into the backend.

    Args:
        settings: backend, threads, whether to compile.
        manifest: of the weights.
        device: ``cpu`` or ``cuda:N``.
        precision: as ``precision_of`` gives it.

    Raises:
        WeightsError: weights or graph are missing or do not fit.
    """
    arrays = load_arrays(manifest)
    if _runs_in_torch(settings, device):
        return _torch_forward(settings, manifest, arrays, device, precision)
    return _onnx_forward(manifest, arrays, settings.threads, precision)


def _runs_in_torch(settings: NetworkConfig, device: str) -> bool:
    return settings.backend == "torch" or (settings.backend == "auto" and device != "cpu")


def precision_of(settings: NetworkConfig, manifest: WeightsManifest, device: str) -> str:
    """What the network computes in.

    Raises:
        ConfigError: the backend cannot do what is asked of it.
        WeightsError: bytes are asked for, but the weights do not say how.
    """
    wanted = settings.precision
    if _runs_in_torch(settings, device):
        if wanted == "int8":
            raise ConfigError('network.precision = "int8": torch runs fp32 or bf16; expected backend = "onnxruntime"')
        return "fp32" if wanted == "auto" else wanted
    for is_wanted, name in ((wanted == "bf16", 'precision = "bf16"'), (settings.compiled, "compiled = true")):
        if is_wanted:
            raise ConfigError(f'network.{name}: onnxruntime runs fp32 or int8; expected network.backend = "torch"')
    if device != "cpu":
        raise ConfigError(f'network.backend = "onnxruntime" runs on the CPU; expected --device cpu but got {device}')
    if wanted == "int8" and not manifest.activation_ranges:
        raise WeightsError(
            f'{manifest.path.with_suffix(".json")}: found no activation_ranges for network.precision = "int8"; '
            f"expected those of: perceive weights calibrate {manifest.path} --images FOLDER"
        )
    if wanted == "auto":
        return "int8" if manifest.activation_ranges and multiplies_bytes() else "fp32"
    return wanted


def _backbone(manifest: WeightsManifest) -> BackboneName:
    return backbone_of(manifest.architecture, manifest.path)


def load_arrays(manifest: WeightsManifest) -> dict[str, Float32Array]:
    """Weight and bias of every convolution, batch norms folded.

    Raises:
        WeightsError: the file is no safetensors file, or does not fit its architecture or manifest.
    """
    try:
        state = load_file(manifest.path)
    except SafetensorError as error:
        raise WeightsError(f"{manifest.path}: expected a safetensors file: {error}") from None
    try:
        single = {name: np.asarray(value, np.float32) for name, value in state.items()}
        arrays = folded_arrays(single, _backbone(manifest))
    except KeyError as error:
        raise WeightsError(f"{manifest.path}: found no {error}; expected weights of {manifest.architecture}") from None
    for name, logits in (
        ("semantic_out", len(manifest.semantic_classes) * (DENSE_STRIDE // SEMANTIC_STRIDE) ** 2),
        ("box_heads.0.class_logits", len(manifest.object_classes)),
    ):
        found = len(arrays.get(f"{name}.bias", ()))
        if found != logits:
            raise WeightsError(f"{manifest.path}: found {found} outputs of {name}; expected {logits} by the manifest")
    return arrays


def _onnx_forward(manifest: WeightsManifest, arrays: dict[str, Float32Array], threads: int, precision: str) -> Forward:
    session = _session(manifest, arrays, threads, precision, spins=False)

    def forward(image: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array]:
        boxes, semantic, dense = session.run(None, {"image": image})
        return boxes[0], semantic[0], dense[0]

    return forward


def open_session(
    manifest: WeightsManifest, threads: int, *, spins: bool, precision: str = "fp32"
) -> onnxruntime.InferenceSession:
    """The network in onnxruntime, for measurements: ``image`` (1, 3, H, W) f32 to what ``StreetNet.cells`` gives.

    Args:
        manifest: of the weights.
        threads: of one forward pass; 0 takes every core.
        precision: ``fp32`` or ``int8``.
        spins: whether threads keep their core while they wait.

    Raises:
        WeightsError: the weights do not fit.
    """
    return _session(manifest, load_arrays(manifest), threads, precision, spins=spins)


def _session(
    manifest: WeightsManifest, arrays: dict[str, Float32Array], threads: int, precision: str, *, spins: bool
) -> onnxruntime.InferenceSession:
    """The graph of the architecture with these weights in it.

    In use threads do not spin: as soon as another process takes a core, spinning ones slow the network several times
    over.
    """
    graph = _graph(manifest, INT8_SUFFIX if precision == "int8" else "")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    try:
        given = int8_arrays(arrays, manifest.activation_ranges) if precision == "int8" else arrays
    except KeyError as error:
        file = manifest.path.with_suffix(".json")
        raise WeightsError(f"{file}: found activation_ranges of {error}; expected those of its own layers") from None
    contiguous = {name: np.require(array, requirements="C") for name, array in given.items()}
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in contiguous.items()}
    options.add_external_initializers(list(values), list(values.values()))
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        # weights of a wrong shape may show only when they are used
        session.run(None, {"image": np.zeros((1, 3, _SIZE_STEP_PX, _SIZE_STEP_PX), np.float32)})
    except Exception as error:  # onnxruntime's errors share no public base class
        reason = " ".join(str(error).split())
        raise WeightsError(f"{manifest.path}: found weights that do not fit {graph.name}: {reason}") from error
    return session


def _graph(manifest: WeightsManifest, suffix: str) -> Path:
    file = f"{manifest.architecture}{suffix}.onnx"
    shipped, beside = (folder / file for folder in (shipped_folder(), manifest.path.parent))
    if shipped.is_file():
        return shipped
    if not beside.is_file():
        raise WeightsError(
            f"{beside}: found no graph to run {manifest.path.name} in onnxruntime; expected that of: python -m "
            f"perception.training.export graph --backbone {_backbone(manifest)} --folder {beside.parent}"
        )
    return beside


def _torch_forward(
    settings: NetworkConfig, manifest: WeightsManifest, arrays: dict[str, Float32Array], device: str, precision: str
) -> Forward:
    import torch

    from perception.models.street_deploy import DeployedStreet

    network = DeployedStreet.from_arrays(
        arrays, len(manifest.object_classes), len(manifest.semantic_classes), _backbone(manifest)
    )
    network = network.eval().to(device).to(memory_format=torch.channels_last)
    run = torch.compile(network.cells, dynamic=False) if settings.compiled else network.cells
    half = precision == "bf16"
    if device == "cpu" and settings.threads > 0:
        torch.set_num_threads(settings.threads)

    def forward(image: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array]:
        with torch.inference_mode(), torch.autocast(device.split(":")[0], torch.bfloat16, enabled=half):
            planes = torch.from_numpy(image).to(device).contiguous(memory_format=torch.channels_last)
            boxes, semantic, dense = (part[0].float().cpu().numpy() for part in run(planes))
        return boxes, semantic, dense

    return forward
