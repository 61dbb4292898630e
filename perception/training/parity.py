"""Whether an exported network is still the trained one: head by head, and in the figures that people quote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor

from perception.errors import WeightsError
from perception.models.street_backbones import backbone_of
from perception.models.street_deploy import DeployedStreet
from perception.models.street_fold import folded_arrays
from perception.models.street_layout import EMBEDDING, IMAGENET_MEAN, IMAGENET_STD, SOLID_CUES

if TYPE_CHECKING:
    from perception.models.weights import WeightsManifest

__all__ = ["HeadParity", "OnnxStreet", "load_deployed", "parity"]

LARGEST_SHARE = 5e-3
"""Of a head's largest value: two right implementations in single precision differ by less."""


@dataclass(frozen=True, slots=True)
class HeadParity:
    """How far two networks' outputs of one head are apart.

    Attributes:
        head: its name.
        largest_difference: over all images and cells, in the head's own unit.
        largest_value: of the head, to compare with.
    """

    head: str
    largest_difference: float
    largest_value: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is what rounding makes."""
        return self.largest_difference <= LARGEST_SHARE * max(self.largest_value, 1e-6)


class OnnxStreet:
    """An exported network that answers as ``StreetNet`` does."""

    def __init__(self, file: Path, threads: int = 1):
        """Opens the file.

        Raises:
            WeightsError: the file is not a network that onnxruntime can run.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors share no public base class
            raise WeightsError(f"{file}: expected an ONNX model: {' '.join(str(error).split())}") from error

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1, 3, H, W) normalised image to boxes, semantic and dense, each with the axis of images."""
        boxes, semantic, dense = self._session.run(None, {"image": image.contiguous().numpy()})
        return torch.from_numpy(boxes)[None], torch.from_numpy(semantic)[None], torch.from_numpy(dense)[None]

    def eval(self) -> OnnxStreet:
        """Itself: it cannot be trained."""
        return self


def load_deployed(manifest: WeightsManifest) -> DeployedStreet:
    """The network of a manifest in torch, single precision.

    Raises:
        WeightsError: the weights do not fit the architecture.
    """
    from safetensors.numpy import load_file

    backbone = backbone_of(manifest.architecture, manifest.path)
    state = {name: np.asarray(value, np.float32) for name, value in load_file(manifest.path).items()}
    try:
        network = DeployedStreet.from_arrays(
            folded_arrays(state, backbone), len(manifest.object_classes), len(manifest.semantic_classes), backbone
        )
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{manifest.path}: found weights that do not fit {manifest.architecture}: {error}") from None
    return network.eval()


def parity(trained: DeployedStreet, exported: OnnxStreet, images: list[npt.NDArray[np.uint8]]) -> list[HeadParity]:
    """Largest difference per head over images.

    Args:
        trained: in torch.
        exported: in onnxruntime.
        images: (H, W, 3) u8 RGB, sides multiples of 32.
    """
    mean, deviation = torch.tensor(IMAGENET_MEAN) * 255, torch.tensor(IMAGENET_STD) * 255
    found: dict[str, tuple[float, float]] = {}
    for image in images:
        batch = ((torch.from_numpy(image).float() - mean) / deviation).permute(2, 0, 1)[None].contiguous()
        with torch.inference_mode():
            expected = _heads(*trained(batch))
        actual = _heads(*(part[0] for part in exported(batch)))
        for head, value in expected.items():
            difference = float((value - actual[head]).abs().max())
            before = found.get(head, (0.0, 0.0))
            # a NaN must not hide behind max()
            difference = difference if np.isfinite(difference) else float("inf")
            found[head] = (max(before[0], difference), max(before[1], float(value.abs().max())))
    return [HeadParity(head, *values) for head, values in found.items()]


def _heads(boxes: Tensor, semantic: Tensor, dense: Tensor) -> dict[str, Tensor]:
    solid = len(boxes) - EMBEDDING - len(SOLID_CUES)
    return {
        "box edges": boxes[:4],
        "box classes": boxes[4:solid],
        "objects in space": boxes[solid:-EMBEDDING],
        "embedding": boxes[-EMBEDDING:],
        "semantic": semantic,
        "box cues": dense[:4],
        "depth": dense[4:],
    }
