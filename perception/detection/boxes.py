"""Boxes of a network made into detections of an image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.types import Detections

__all__ = ["within_image"]

_MIN_SIDE_PX = 1.0


def within_image(
    boxes_xyxy: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    class_ids: npt.NDArray[np.int64],
    image_size_hw: tuple[int, int],
    keypoints: npt.NDArray[np.float32] | None = None,
    embeddings: npt.NDArray[np.float32] | None = None,
    solid: npt.NDArray[np.float32] | None = None,
) -> Detections:
    """Clips boxes to the image and leaves out those of which less than a pixel's width or height is inside it.

    Rows that are not finite are left out too: a network with damaged numbers sees nothing.

    Args:
        boxes_xyxy: (N, 4) f32 px.
        scores: (N,) f32.
        class_ids: (N,) i64 into OBJECT_CLASSES.
        image_size_hw: height and width in pixels.
        keypoints: (N, K, 3) f32, kept as they are: a joint may lie outside the image.
        embeddings: (N, E) f32.
        solid: (N, 7) f32, kept as they are: a centre may lie outside the image.
    """
    height_px, width_px = image_size_hw
    clipped = np.clip(boxes_xyxy, 0, np.array([width_px, height_px, width_px, height_px], np.float32))
    # false for NaN
    inside = (clipped[:, 2:] - clipped[:, :2] >= _MIN_SIDE_PX).all(axis=1) & np.isfinite(scores)
    for extra in (embeddings, solid):
        if extra is not None:
            inside &= np.isfinite(extra).all(axis=1)
    return Detections(
        clipped[inside],
        scores[inside],
        class_ids[inside],
        None if keypoints is None else keypoints[inside],
        None if embeddings is None else embeddings[inside],
        None if solid is None else solid[inside],
    )
