"""What detections look like, for trackers: the network's embeddings where there are any, else colour histograms."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES
from perception.kernels.appearance import colour_histograms
from perception.types import Detections, Frame

__all__ = ["Appearance"]

Float32Array = npt.NDArray[np.float32]

# of what all objects of a class have in common this share is taken away: without it the embeddings of two cars have a
# cosine of 0.9 or more; all of it gone, nothing but noise would be left of a single object
_COMMON_SHARE = 0.8
# until so many detections of a class were seen, what all classes have in common counts as well
_FEW_DETECTIONS = 20


class Appearance:
    """Describes detections.

    Args:
        source: ``embedding`` for those that the detector gives, ``histogram`` for colours of the image, ``auto`` for
            embeddings where the detector gives them and histograms elsewhere.
    """

    def __init__(self, source: Literal["auto", "embedding", "histogram"]) -> None:
        self._source = source
        self.reset()

    def reset(self) -> None:
        """Forgets what objects have in common."""
        self._sums = np.zeros((len(OBJECT_CLASSES), 0))
        self._counts = np.zeros(len(OBJECT_CLASSES))

    def of_detections(self, frame: Frame, detections: Detections) -> Float32Array | None:
        """(N, E) f32 rows of length 1 (0 where nothing is known), or None where nothing is known of any.

        Embeddings of the detector are told apart better by what distinguishes them from others of their class, so most
        of their mean over the frames so far is taken away.
        """
        if self._source != "histogram" and detections.embeddings is not None:
            return self._distinguishing(detections.embeddings, detections.class_ids)
        if self._source == "embedding":
            return None
        return colour_histograms(frame.image_rgb, detections.boxes_xyxy)

    def _distinguishing(self, embeddings: Float32Array, class_ids: npt.NDArray[np.int64]) -> Float32Array:
        if not len(embeddings):
            return embeddings
        if self._sums.shape[1] != embeddings.shape[1]:
            self._sums = np.zeros((len(OBJECT_CLASSES), embeddings.shape[1]))
            self._counts[:] = 0.0
        np.add.at(self._sums, class_ids, embeddings)
        self._counts += np.bincount(class_ids, minlength=len(OBJECT_CLASSES))
        common = _FEW_DETECTIONS * self._sums.sum(axis=0) / self._counts.sum()
        means = (self._sums + common) / (self._counts + _FEW_DETECTIONS)[:, None]
        apart = embeddings - _COMMON_SHARE * means[class_ids]
        lengths = np.linalg.norm(apart, axis=1, keepdims=True)
        return np.where(lengths > 1e-6, apart / np.maximum(lengths, 1e-6), 0.0).astype(np.float32)
