"""Views of several images: mosaics of four, and objects cut out of one and pasted into another.

Both take images of one source, since only those know the same classes and draw the same labels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError
from perception.models.street_layout import DENSE_STRIDE
from perception.training.labels import LabelledBoxes, Sample
from perception.training.view import View, ViewRange, view_of

__all__ = ["mosaic", "paste"]

_NEAR_MIDDLE = (0.35, 0.65)  # share of the sides where the four parts meet
_MOST_PASTED = 3
_LEAST_PASTED_PX = 64
_LEAST_VISIBLE = 0.3  # of an object behind a pasted one; less than that is ignored


def mosaic(samples: Sequence[Sample], size_hw: tuple[int, int], strays: ViewRange, rng: np.random.Generator) -> View:
    """A view of four samples side by side. Bochkovskiy et al., "YOLOv4", 2020, section 3.3.

    Args:
        samples: four of one source.
        size_hw: of the view, multiples of ``DENSE_STRIDE``.
        strays: how far each part may stray.
        rng: everything random comes from it.

    Raises:
        ConfigError: the samples are of sources that know different things.
    """
    first = samples[0]
    for other in samples[1:]:
        if other.label_set != first.label_set or (other.known_classes != first.known_classes).any():
            raise ConfigError(
                f"a mosaic of {first.source} and {other.source}: expected images that know the same classes"
            )
    height, width = size_hw
    v, u = (DENSE_STRIDE * int(side * rng.uniform(*_NEAR_MIDDLE) // DENSE_STRIDE) for side in (height, width))
    image = np.empty((height, width, 3), np.uint8)
    semantic = np.empty((height, width), np.uint8)
    depth = np.zeros((height // DENSE_STRIDE, width // DENSE_STRIDE), np.float32)
    owners = np.full((height, width), -1, np.int64)
    parts: list[LabelledBoxes] = []
    are_drawn, count = True, 0
    for sample, (top, bottom, left, right) in zip(
        samples, ((0, v, 0, u), (0, v, u, width), (v, height, 0, u), (v, height, u, width)), strict=True
    ):
        view = view_of(sample, (bottom - top, right - left), strays, rng)
        place = np.s_[top:bottom, left:right]
        image[place], semantic[place] = view.image_rgb, view.semantic
        cells = np.s_[top // DENSE_STRIDE : bottom // DENSE_STRIDE, left // DENSE_STRIDE : right // DENSE_STRIDE]
        depth[cells] = view.depth_m
        if view.owners is None:
            are_drawn = False
        else:
            owners[place] = np.where(view.owners >= 0, view.owners + count, -1)
        boxes, solid = view.boxes.boxes_xyxy + np.array([left, top] * 2, np.float32), view.boxes.solid.copy()
        solid[:, 5:] += np.array([left, top], np.float32)
        parts.append(dataclasses.replace(view.boxes, boxes_xyxy=boxes, solid=solid))
        count += len(boxes)
    return View(image, semantic, LabelledBoxes.joined(*parts), depth, owners if are_drawn else None)


def paste(view: View, donor: View, rng: np.random.Generator) -> View:
    """Puts up to three objects of a donor where they are in it. Ghiasi et al., "Simple copy-paste", CVPR 2021.

    A donor without outlines gives nothing. What a pasted object hides more than 70 % of is ignored.
    """
    if donor.owners is None:
        return view
    height, width = view.semantic.shape
    edges = donor.boxes.boxes_xyxy
    is_whole = (edges[:, :2] > 0).all(axis=1) & (edges[:, 2] < width) & (edges[:, 3] < height)
    pixels = np.bincount(donor.owners[donor.owners >= 0], minlength=len(edges))
    fit = np.flatnonzero(is_whole & ~donor.boxes.ignored & (pixels >= _LEAST_PASTED_PX))
    if not len(fit):
        return view
    rows = rng.permutation(fit)[: int(rng.integers(1, _MOST_PASTED + 1))]
    mask = np.isin(donor.owners, rows)
    hidden = _hidden_share(view, mask) > 1 - _LEAST_VISIBLE
    image, semantic = view.image_rgb.copy(), view.semantic.copy()
    image[mask], semantic[mask] = donor.image_rgb[mask], donor.semantic[mask]
    middle = DENSE_STRIDE // 2
    depth = np.where(mask[middle::DENSE_STRIDE, middle::DENSE_STRIDE], donor.depth_m, view.depth_m)
    old = view.boxes
    boxes = LabelledBoxes.joined(
        dataclasses.replace(old, ignored=old.ignored | hidden),
        donor.boxes.rows(rows),
    )
    owners = None
    if view.owners is not None:
        row_of_donor = np.full(len(donor.boxes), -1, np.int64)
        row_of_donor[rows] = len(old) + np.arange(len(rows))
        owners = np.where(mask, row_of_donor[donor.owners], view.owners)
    return View(image, semantic, boxes, depth, owners)


def _hidden_share(view: View, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(N,) share of every box's own pixels, or of its area where those are unknown, that the mask covers."""
    count = len(view.boxes)
    if view.owners is not None:
        own = view.owners >= 0
        all_pixels = np.bincount(view.owners[own], minlength=count)
        covered = np.bincount(view.owners[own & mask], minlength=count)
        return np.asarray(covered / np.maximum(all_pixels, 1))
    limits = view.boxes.boxes_xyxy.round().astype(int)
    shares = [float(part.mean()) if (part := mask[y1:y2, x1:x2]).size else 0.0 for x1, y1, x2, y2 in limits]
    return np.array(shares, np.float64)
