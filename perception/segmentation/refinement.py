"""Classes and masks that follow the colours of the image: slower, for figures and offline work.

A network's maps are smooth: heads, arms, legs and mirrors are thinner than what it tells apart. Where its answers are
unsure, and near the edges of things, a pixel asks its neighbours of the same colour.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from perception.kernels.conv_crf import conv_crf

__all__ = ["NO_GROUP", "likeliest_classes", "refined_groups"]

NO_GROUP = 255

_UNSURE = 0.9  # probability below which a pixel asks its neighbours
_EDGE_PX = 6  # a thing's outline moves by no more
_AROUND_BOX_PX = 3
# What a map's label is worth before anybody is asked, as a difference of logarithms. A network is just as sure of the
# gap between two legs as of the legs, so that its own probabilities would decide too much.
_WORTH = 1.0


def likeliest_classes(
    logits: npt.NDArray[np.float32],
    label_of_class: npt.NDArray[np.int64],
    image_rgb: npt.NDArray[np.uint8],
    *,
    refined: bool,
) -> npt.NDArray[np.int64]:
    """The likeliest label of every pixel, and of that label's classes the likeliest.

    Args:
        logits: (S, h, w) f32, of a map of the whole image at any size.
        label_of_class: (S,) i64 labels 0 … L - 1; classes of one label are counted together.
        image_rgb: (H, W, 3) u8.
        refined: whether labels follow the image's colours.

    Returns:
        (H, W) i64 rows of ``logits``.
    """
    height, width = image_rgb.shape[:2]
    enlarged = np.stack([np.asarray(cv2.resize(plane, (width, height)), np.float32) for plane in logits])
    labels = range(int(label_of_class.max()) + 1)
    members = [enlarged[label_of_class == label] for label in labels]
    scores = np.stack([of[0] if len(of) == 1 else np.logaddexp.reduce(of, axis=0) for of in members], axis=-1)
    if refined:
        scores -= scores.max(axis=2, keepdims=True)
        scores -= np.log(np.exp(scores).sum(axis=2, keepdims=True))
        scores = conv_crf(
            scores, image_rgb, scores.max(axis=2) < np.log(_UNSURE),
            radius_px=4, colour_deviation=8.0, place_deviation_px=3.0, coupling=2.0, rounds=3,
        )  # fmt: skip
    best = scores.argmax(axis=2)
    if len(labels) == len(logits):  # a label for every class
        rows: npt.NDArray[np.int64] = np.argsort(label_of_class)[best]
        return rows
    rows = np.where(label_of_class[:, None, None] == best, enlarged, -np.inf).argmax(axis=0)
    return rows


def refined_groups(
    groups: npt.NDArray[np.int64], count: int, image_rgb: npt.NDArray[np.uint8], boxes_xyxy: npt.NDArray[np.float32]
) -> npt.NDArray[np.uint8]:
    """Moves the outlines of things, within their boxes, to where the image's colours change.

    Args:
        groups: (H, W) i64 kinds of things 0 … count - 1, -1 for what is no thing.
        count: of the kinds.
        image_rgb: (H, W, 3) u8.
        boxes_xyxy: (N, 4) f32 px of the things.

    Returns:
        (H, W) u8 kinds, ``NO_GROUP`` for what is no thing.
    """
    height, width = groups.shape
    labels = np.asarray(groups + 1, np.uint8)
    inside = np.zeros((height, width), bool)
    low = np.floor(boxes_xyxy[:, :2]).astype(int) - _AROUND_BOX_PX
    high = np.ceil(boxes_xyxy[:, 2:]).astype(int) + _AROUND_BOX_PX
    for (x1, y1), (x2, y2) in zip(low.clip(0), high.clip(0), strict=True):
        inside[y1:y2, x1:x2] = True
    window = np.ones((2 * _EDGE_PX + 1, 2 * _EDGE_PX + 1), np.uint8)
    at_edge = np.asarray(cv2.dilate(labels, window)) != np.asarray(cv2.erode(labels, window))
    scores = np.where(labels[..., None] == np.arange(count + 1), 0.0, -_WORTH).astype(np.float32)
    chances = conv_crf(
        scores, image_rgb, inside & at_edge,
        radius_px=6, colour_deviation=12.0, place_deviation_px=4.0, coupling=4.0, rounds=5,
    )  # fmt: skip
    # 0 - 1 is NO_GROUP in bytes
    return np.asarray(chances.argmax(axis=2) - 1).astype(np.uint8)
