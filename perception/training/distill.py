"""Soft labels of pixels from a segmenter that is trained already. Hinton et al., "Distilling the knowledge", 2015."""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from perception.classes import SEMANTIC_CLASSES, VOID_ID
from perception.models.street_layout import DENSE_STRIDE
from perception.models.street_network import StreetNetwork
from perception.roles import SemanticSegmenter
from perception.types import Frame

__all__ = ["NetworkSoftTeacher", "RoleSoftTeacher", "SoftTeacher", "soft_loss"]

_CLASSES = len(SEMANTIC_CLASSES)
_ASSUMED_CONFIDENCE = 0.9  # of a segmenter that names none
_LEAST_PROBABILITY = 1e-6


class SoftTeacher(Protocol):
    """Says how likely every class is."""

    def probabilities(self, image_rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(C, H / 4, W / 4) over ``SEMANTIC_CLASSES``; all 0 where the teacher knows nothing."""


class RoleSoftTeacher:
    """Any ``SemanticSegmenter`` of the pipeline: what its confidence leaves is spread over the other classes."""

    def __init__(self, segmenter: SemanticSegmenter):
        self._segmenter = segmenter

    def probabilities(self, image_rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(C, H / 4, W / 4); all 0 where the segmenter says void."""
        found = self._segmenter.segment(Frame(0, "teacher", 0, np.ascontiguousarray(image_rgb)))
        # the middle of every cell
        cells = np.s_[DENSE_STRIDE // 2 :: DENSE_STRIDE, DENSE_STRIDE // 2 :: DENSE_STRIDE]
        ids = found.class_ids[cells]
        sure = np.full(ids.shape, _ASSUMED_CONFIDENCE, np.float32)
        if found.confidence is not None:
            sure = found.confidence[cells]
        out = np.repeat(((1 - sure) / (_CLASSES - 1))[None], _CLASSES, axis=0)
        is_known = ids != VOID_ID
        v, u = np.nonzero(is_known)
        out[ids[is_known], v, u] = sure[is_known]
        return np.where(is_known, out, 0.0).astype(np.float32)


class NetworkSoftTeacher:
    """The project's own network, whose logits are at hand."""

    def __init__(self, network: StreetNetwork):
        self._network = network

    def probabilities(self, image_rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(C, H / 4, W / 4)."""
        found = self._network.infer(Frame(0, "teacher", 0, np.ascontiguousarray(image_rgb)))
        height, width = (side // DENSE_STRIDE for side in image_rgb.shape[:2])
        logits = np.stack([cv2.resize(plane, (width, height)) for plane in found.semantic_logits])
        powers = np.exp(logits - logits.max(axis=0))
        out = np.zeros((_CLASSES, height, width), np.float32)
        np.add.at(out, self._network.semantic_ids, powers / powers.sum(axis=0))
        return out


def soft_loss(logits: Tensor, taught: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of the network from its teacher, both softened, times the temperature squared.

    Args:
        logits: (N, C, H', W') of the network, at any stride.
        taught: (N, C, h, w) probabilities; pixels where they are all 0 do not count.
        temperature: both distributions are raised to its inverse.
    """
    logits = functional.interpolate(logits.float(), taught.shape[2:], mode="bilinear", align_corners=False)
    own = (logits / temperature).log_softmax(dim=1)
    is_known = taught.sum(dim=1) > 0
    if not is_known.any():
        return logits.sum() * 0.0
    wanted = (taught.clamp(min=_LEAST_PROBABILITY).log() / temperature).softmax(dim=1)
    divergence = (wanted * (wanted.log() - own)).sum(dim=1)
    return torch.where(is_known, divergence, 0.0).sum() / is_known.sum() * temperature**2
