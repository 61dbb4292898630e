"""What detections look like, for trackers: the network's embeddings where there are any, else colour histograms."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from perception.kernels.appearance import colour_histograms
from perception.types import Detections, Frame

__all__ = ["Appearance"]


class Appearance:
    """Describes detections.

    Args:
        source: ``embedding`` for those that the detector gives, ``histogram`` for colours of the image, ``auto`` for
            embeddings where the detector gives them and histograms elsewhere.
    """

    def __init__(self, source: Literal["auto", "embedding", "histogram"]) -> None:
        self._source = source

    def of_detections(self, frame: Frame, detections: Detections) -> npt.NDArray[np.float32] | None:
        """(N, E) f32 rows of length 1, or None where nothing is known."""
        if self._source != "histogram" and detections.embeddings is not None:
            return detections.embeddings
        if self._source == "embedding":
            return None
        return colour_histograms(frame.image_rgb, detections.boxes_xyxy)
