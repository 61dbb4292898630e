"""Runs the embedded network: one forward pass a frame, shared by every role that it serves."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
from safetensors import SafetensorError
from safetensors.numpy import load_file

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from perception.config import NetworkConfig
from perception.errors import ConfigError, WeightsError
from perception.kernels.network_heads import image_planes
from perception.models.device import resolve_device
from perception.models.street_backbones import BackboneName, architecture_of, backbone_of
from perception.models.street_fold import folded_arrays
from perception.models.street_layout import (
    DENSE_STRIDE,
    IMAGENET_MEAN,
    IMAGENET_STD,
    SEMANTIC_STRIDE,
    SOLID_CUES,
)
from perception.models.weights import WeightsManifest, load_manifest, shipped_folder, verify
from perception.models.weights_used import WeightsUsed
from perception.types import Frame

__all__ = ["StreetNetwork", "StreetOutput", "input_size", "open_session"]

Float32Array = npt.NDArray[np.float32]

_SIZE_STEP_PX = 32
_SAME_ASPECT = 0.05
_MEAN, _DEVIATION = np.array(IMAGENET_MEAN, np.float32) * 255, np.array(IMAGENET_STD, np.float32) * 255
_FATAL_ONLY = 4

_Forward = Callable[[Float32Array], tuple[Float32Array, Float32Array, Float32Array]]


@dataclass(frozen=True, slots=True, eq=False)
class StreetOutput:
    """What the network gave for one frame, as it came.

    Attributes:
        boxes: (4 + C, A) f32: logarithms of edge distances in strides, then class logits, for every cell.
        solid: (8, A) f32 ``SOLID_CUES`` of every cell.
        embedding: (``EMBEDDING``, A) f32 of every cell.
        semantic_cells: (S, 4, h, w) f32: logits of four places, row by row, of every cell of ``DENSE_STRIDE``.
        box_cues: (4, h, w) f32 at ``DENSE_STRIDE`` input pixels per cell: log1p of the distances, in ``CUE_SCALE_PX``,
            to the edges of the cell's box.
        log_depth: (h, w) f32 at ``DENSE_STRIDE``: logarithm of the depth in m as for a camera of ``DEPTH_FOCAL_PX``.
        input_hw: height and width of the network's input.
        image_hw: height and width of the frame's image.
    """

    boxes: Float32Array
    solid: Float32Array
    embedding: Float32Array
    semantic_cells: Float32Array
    box_cues: Float32Array
    log_depth: Float32Array
    input_hw: tuple[int, int]
    image_hw: tuple[int, int]

    @property
    def semantic_logits(self) -> Float32Array:
        """(S, h, w) f32 at ``SEMANTIC_STRIDE`` input pixels per cell: a copy with every place where it lies."""
        classes, _, rows, columns = self.semantic_cells.shape
        side = DENSE_STRIDE // SEMANTIC_STRIDE
        places = self.semantic_cells.reshape(classes, side, side, rows, columns).transpose(0, 3, 1, 4, 2)
        return np.ascontiguousarray(places.reshape(classes, side * rows, side * columns))


class StreetNetwork:
    """The embedded multi-task network.

    On a CPU it runs in onnxruntime, on a GPU in torch; the weights are the same.

    Attributes:
        device: ``cpu`` or ``cuda:N``.
        manifest: of the weights.
        weights: for a run's record.
        semantic_ids: (S,) u8 id in ``SEMANTIC_CLASSES`` of each semantic logit.
        object_ids: (C,) i64 id in ``OBJECT_CLASSES`` of each box logit.
    """

    def __init__(self, settings: NetworkConfig, device: str = "auto"):
        """Loads the weights.

        Args:
            settings: name or file of the weights, input size, threads (0: every core).
            device: ``auto``, ``cpu`` or ``cuda[:N]``.

        Raises:
            ConfigError: the backend cannot do what is asked of it.
            DeviceError: a GPU was asked for that is not there.
            WeightsError: the weights are missing, damaged or of an unknown architecture, or their graph is missing.
        """
        self.device = resolve_device(device)
        self.manifest = load_manifest(settings.weights)
        verify(self.manifest, architecture_of(_backbone(self.manifest)))
        self.weights = (WeightsUsed(self.manifest.name, str(self.manifest.path), self.manifest.sha256),)
        self.semantic_ids = _ids(self.manifest, self.manifest.semantic_classes, SEMANTIC_CLASSES).astype(np.uint8)
        self.object_ids = _ids(self.manifest, self.manifest.object_classes, OBJECT_CLASSES)
        self._reference_hw = (settings.input_height_px, settings.input_width_px)
        arrays = _arrays(self.manifest)
        self._forward = _forward(settings, self.manifest, arrays, self.device)
        self._last: tuple[Frame, StreetOutput] | None = None

    @property
    def weights_name(self) -> str:
        """The name of the weights."""
        return self.manifest.name

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weights' file."""
        return self.manifest.sha256

    def infer(self, frame: Frame) -> StreetOutput:
        """One forward pass; asking again for the same frame costs nothing."""
        if self._last is not None and self._last[0] is frame:
            return self._last[1]
        height, width = frame.image_rgb.shape[:2]
        input_hw = input_size(height, width, self._reference_hw)
        image = frame.image_rgb
        if input_hw != (height, width):
            image = np.asarray(cv2.resize(image, input_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
        cells, semantic, dense = self._forward(image_planes(image, _MEAN, _DEVIATION))
        boxes = 4 + len(self.object_ids)
        solid = boxes + len(SOLID_CUES)
        places = semantic.reshape(len(self.semantic_ids), -1, *semantic.shape[1:])
        output = StreetOutput(
            cells[:boxes], cells[boxes:solid], cells[solid:], places, dense[:4], dense[4], input_hw, (height, width)
        )
        self._last = (frame, output)
        return output


def input_size(image_height_px: int, image_width_px: int, reference_hw: tuple[int, int]) -> tuple[int, int]:
    """The network's input for an image: of nearly its aspect ratio and nearly the reference's number of pixels.

    Both sides are multiples of 32, so the image is stretched a little rather than padded.

    >>> input_size(375, 1242, (256, 832))
    (256, 832)
    >>> input_size(360, 480, (256, 832))
    (384, 512)
    """
    aspect = image_width_px / image_height_px
    if abs(np.log(aspect * reference_hw[0] / reference_hw[1])) < _SAME_ASPECT:
        return reference_hw
    pixels = reference_hw[0] * reference_hw[1]
    best, least = reference_hw, np.inf
    for height in range(_SIZE_STEP_PX, 4 * int(pixels**0.5) + 1, _SIZE_STEP_PX):
        for width in {
            max(_SIZE_STEP_PX, int(height * aspect / _SIZE_STEP_PX + step) * _SIZE_STEP_PX) for step in (0, 1)
        }:
            stretch = abs(np.log(width / height / aspect))
            # a stretch harms more than a few pixels more or fewer
            cost = 3 * stretch + abs(np.log(height * width / pixels))
            if cost < least:
                best, least = (height, width), cost
    return best


def _ids(manifest: WeightsManifest, names: tuple[str, ...], known: tuple[str, ...]) -> npt.NDArray[np.int64]:
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise WeightsError(
            f"{manifest.path.with_suffix('.json')}: found classes {', '.join(unknown) or 'none'}; expected some of "
            f"{', '.join(known)}"
        )
    return np.array([known.index(name) for name in names], np.int64)


def _backbone(manifest: WeightsManifest) -> BackboneName:
    return backbone_of(manifest.architecture, manifest.path)


def _arrays(manifest: WeightsManifest) -> dict[str, Float32Array]:
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


def _forward(
    settings: NetworkConfig, manifest: WeightsManifest, arrays: dict[str, Float32Array], device: str
) -> _Forward:
    if settings.backend == "torch" or (settings.backend == "auto" and device != "cpu"):
        return _torch_forward(settings, manifest, arrays, device)
    for wanted, name in ((settings.precision == "bf16", 'precision = "bf16"'), (settings.compiled, "compiled = true")):
        if wanted:
            raise ConfigError(f'network.{name}: onnxruntime runs fp32 as it is; expected network.backend = "torch"')
    if device != "cpu":
        raise ConfigError(f'network.backend = "onnxruntime" runs on the CPU; expected --device cpu but got {device}')
    return _onnx_forward(manifest, arrays, settings.threads)


def _onnx_forward(manifest: WeightsManifest, arrays: dict[str, Float32Array], threads: int) -> _Forward:
    session = _session(manifest, arrays, threads, spins=False)

    def forward(image: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array]:
        boxes, semantic, dense = session.run(None, {"image": image})
        return boxes[0], semantic[0], dense[0]

    return forward


def open_session(manifest: WeightsManifest, threads: int, *, spins: bool) -> onnxruntime.InferenceSession:
    """The network in onnxruntime, for measurements: ``image`` (1, 3, H, W) f32 to ``boxes``, ``semantic``, ``dense``.

    Args:
        manifest: of the weights.
        threads: of one forward pass; 0 takes every core.
        spins: whether threads keep their core while they wait.

    Raises:
        WeightsError: the weights do not fit.
    """
    return _session(manifest, _arrays(manifest), threads, spins=spins)


def _session(
    manifest: WeightsManifest, arrays: dict[str, Float32Array], threads: int, *, spins: bool
) -> onnxruntime.InferenceSession:
    """The graph of the architecture with these weights in it.

    In use threads do not spin: as soon as another process takes a core, spinning ones slow the network several times
    over.
    """
    graph = _graph(manifest)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spins)))
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(a)) for name, a in arrays.items()}
    options.add_external_initializers(list(values), list(values.values()))
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
        # weights of a wrong shape may show only when they are used
        session.run(None, {"image": np.zeros((1, 3, _SIZE_STEP_PX, _SIZE_STEP_PX), np.float32)})
    except Exception as error:  # onnxruntime's errors share no public base class
        reason = " ".join(str(error).split())
        raise WeightsError(f"{manifest.path}: found weights that do not fit {graph.name}: {reason}") from error
    return session


def _graph(manifest: WeightsManifest) -> Path:
    shipped, beside = (folder / f"{manifest.architecture}.onnx" for folder in (shipped_folder(), manifest.path.parent))
    if shipped.is_file():
        return shipped
    if not beside.is_file():
        raise WeightsError(
            f"{beside}: found no graph to run {manifest.path.name} in onnxruntime; expected that of: python -m "
            f"perception.training.export graph --backbone {_backbone(manifest)} --folder {beside.parent}"
        )
    return beside


def _torch_forward(
    settings: NetworkConfig, manifest: WeightsManifest, arrays: dict[str, Float32Array], device: str
) -> _Forward:
    import torch

    from perception.models.street_deploy import DeployedStreet

    network = DeployedStreet.from_arrays(
        arrays, len(manifest.object_classes), len(manifest.semantic_classes), _backbone(manifest)
    )
    network = network.eval().to(device).to(memory_format=torch.channels_last)
    run = torch.compile(network.cells, dynamic=False) if settings.compiled else network.cells
    half = settings.precision == "bf16"
    if device == "cpu" and settings.threads > 0:
        torch.set_num_threads(settings.threads)

    def forward(image: Float32Array) -> tuple[Float32Array, Float32Array, Float32Array]:
        with torch.inference_mode(), torch.autocast(device.split(":")[0], torch.bfloat16, enabled=half):
            planes = torch.from_numpy(image).to(device).contiguous(memory_format=torch.channels_last)
            boxes, semantic, dense = (part[0].float().cpu().numpy() for part in run(planes))
        return boxes, semantic, dense

    return forward
