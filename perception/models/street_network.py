"""Runs the embedded network: one forward pass a frame, shared by every role that it serves."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from perception.config import NetworkConfig
from perception.errors import WeightsError
from perception.kernels.network_heads import image_planes
from perception.models.device import resolve_device
from perception.models.street_backbones import architecture_of, backbone_of
from perception.models.street_forward import make_forward, precision_of
from perception.models.street_layout import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SOLID_CUES,
)
from perception.models.street_output import StreetOutput
from perception.models.street_views import turned_back
from perception.models.weights import WeightsManifest, load_manifest, verify
from perception.models.weights_used import WeightsUsed
from perception.types import Frame

__all__ = ["StreetNetwork", "input_size"]

Float32Array = npt.NDArray[np.float32]

_SIZE_STEP_PX = 32
_SAME_ASPECT = 0.05
_MEAN, _DEVIATION = np.array(IMAGENET_MEAN, np.float32) * 255, np.array(IMAGENET_STD, np.float32) * 255


class StreetNetwork:
    """The embedded multi-task network.

    On a CPU it runs in onnxruntime, on a GPU in torch; the weights are the same.

    Attributes:
        device: ``cpu`` or ``cuda:N``.
        manifest: of the weights.
        precision: ``fp32``, ``int8`` or ``bf16``.
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
        verify(self.manifest, architecture_of(backbone_of(self.manifest.architecture, self.manifest.path)))
        self.precision = precision_of(settings, self.manifest, self.device)
        path = str(self.manifest.path)
        self.weights = (WeightsUsed(self.manifest.name, path, self.manifest.sha256, self.precision),)
        self.semantic_ids = _ids(self.manifest, self.manifest.semantic_classes, SEMANTIC_CLASSES).astype(np.uint8)
        self.object_ids = _ids(self.manifest, self.manifest.object_classes, OBJECT_CLASSES)
        self._references_hw = [
            (_whole_steps(zoom * settings.input_height_px), _whole_steps(zoom * settings.input_width_px))
            for zoom in settings.zooms
        ]
        self._forward = make_forward(settings, self.manifest, self.device, self.precision)
        self._mirrored = settings.mirrored
        self._last: tuple[Frame, tuple[StreetOutput, ...]] | None = None

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
        return self.views(frame)[0]

    def views(self, frame: Frame) -> tuple[StreetOutput, ...]:
        """The frame's output at every zoom and, where the settings ask for it, of the mirrored frame, turned back."""
        if self._last is not None and self._last[0] is frame:
            return self._last[1]
        outputs = []
        height, width = frame.image_rgb.shape[:2]
        for reference_hw in self._references_hw:
            input_hw = input_size(height, width, reference_hw)
            outputs.append(self._pass(frame.image_rgb, input_hw))
            if self._mirrored:
                outputs.append(turned_back(self._pass(np.ascontiguousarray(frame.image_rgb[:, ::-1]), input_hw)))
        self._last = (frame, tuple(outputs))
        return self._last[1]

    def _pass(self, image: npt.NDArray[np.uint8], input_hw: tuple[int, int]) -> StreetOutput:
        height, width = image.shape[:2]
        if input_hw != (height, width):
            image = np.asarray(cv2.resize(image, input_hw[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
        cells, semantic, dense = self._forward(image_planes(image, _MEAN, _DEVIATION))
        boxes = 4 + len(self.object_ids)
        solid = boxes + len(SOLID_CUES)
        places = semantic.reshape(len(self.semantic_ids), -1, *semantic.shape[1:])
        return StreetOutput(
            cells[:boxes], cells[boxes:solid], cells[solid:], places, dense[:4], dense[4], input_hw, (height, width)
        )


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


def _whole_steps(side_px: float) -> int:
    return max(1, round(side_px / _SIZE_STEP_PX)) * _SIZE_STEP_PX


def _ids(manifest: WeightsManifest, names: tuple[str, ...], known: tuple[str, ...]) -> npt.NDArray[np.int64]:
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise WeightsError(
            f"{manifest.path.with_suffix('.json')}: found classes {', '.join(unknown) or 'none'}; expected some of "
            f"{', '.join(known)}"
        )
    return np.array([known.index(name) for name in names], np.int64)
