"""Trees, bushes and hedges: trunks and branches under a crown of leaf cards cut out by a mask.

Cards carry normals that point away from the crown's middle, so that the crown is lit as one volume, and darken inwards.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sim_data.mesh import Mesh, MeshBuilder
from sim_data.textures import MASK_LAYERS

__all__ = ["TREE_KINDS", "build_bush", "build_tree"]

Array = npt.NDArray[np.float64]
TREE_KINDS = ("round", "tall", "wide", "conifer")


def _cards(
    builder: MeshBuilder,
    rng: np.random.Generator,
    centres: Array,
    middle: Array,
    reach: Array,
    size_m: float,
    layer: int,
) -> None:
    count = len(centres)
    outward = (centres - middle) / reach
    depth = np.clip(np.linalg.norm(outward, axis=1), 0.0, 1.0)
    normals = outward / np.maximum(np.linalg.norm(outward, axis=1, keepdims=True), 1e-6)
    normals = normals + np.array([0.0, 0.0, 0.25])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    right = rng.standard_normal((count, 3))
    right[:, 2] *= 0.4
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    up = np.cross(normals + 0.6 * rng.standard_normal((count, 3)), right)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    half = 0.5 * size_m * rng.uniform(0.75, 1.3, (count, 1))
    quads = np.stack(
        [centres - right * half - up * half, centres + right * half - up * half, centres + right * half + up * half,
         centres - right * half + up * half], axis=1,
    )  # fmt: skip
    uvs = np.tile([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]], (count, 1, 1))
    spread = np.repeat(normals[:, None], 4, axis=1)
    shade = 0.45 + 0.55 * depth**1.5 + 0.12 * normals[:, 2]
    for low in np.arange(0.3, 1.3, 0.1):
        chosen = (shade >= low) & (shade < low + 0.1)
        if chosen.any():
            builder.add_quads(
                quads[chosen], "leaves", uvs[chosen], spread[chosen], (float(low + 0.05), 0.0), True, layer
            )


def _ball(rng: np.random.Generator, count: int, inner: float) -> Array:
    directions = rng.standard_normal((count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions * rng.uniform(inner, 1.0, (count, 1)) ** (1 / 2)


def build_tree(rng: np.random.Generator, kind: str, detail: int) -> Mesh:
    """A tree about 9 m tall: ``detail`` 3 is for close up, 2 for the distance, 1 and 0 for where it is small."""
    builder = MeshBuilder()
    # fewer cards are larger ones
    cards, size, sides = ((15, 3.9, 3), (26, 3.4, 3), (75, 2.1, 5), (300, 1.25, 8))[detail]
    if kind == "conifer":
        builder.add_tube((0, 0, 0), (0, 0, 8.5), 0.16, 0.04, "bark", (3, 3, 4, 6)[detail])
        heights = rng.uniform(0.0, 1.0, cards) ** 1.3
        radius = (1.0 - heights) * 2.1 * rng.uniform(0.55, 1.0, cards) + 0.1
        angle = rng.uniform(0, 2 * np.pi, cards)
        centres = np.stack([radius * np.cos(angle), radius * np.sin(angle), 1.2 + 8.0 * heights], axis=1)
        middle = np.stack([np.zeros(cards), np.zeros(cards), centres[:, 2] - 0.4], axis=1)
        reach = np.stack([(1 - heights) * 2.1 + 0.3] * 2 + [np.full(cards, 3.0)], axis=1)
        _cards(builder, rng, centres, middle, reach, size, MASK_LAYERS["needles"])
        return builder.finish()
    middle_m, reach_m, trunk = {
        "round": ((0.0, 0.0, 6.1), (3.0, 3.0, 2.9), 3.4),
        "tall": ((0.0, 0.0, 6.6), (2.1, 2.1, 3.8), 3.0),
        "wide": ((0.0, 0.0, 6.2), (4.2, 4.0, 2.7), 3.6),
    }[kind]
    crown, reach = np.array(middle_m), np.array(reach_m)
    lean = rng.normal(0, 0.15, 2)
    top = np.array([lean[0], lean[1], trunk + 0.6])
    builder.add_tube((0, 0, -0.1), top * [0.4, 0.4, 0.5], 0.24, 0.17, "bark", sides)
    builder.add_tube(top * [0.4, 0.4, 0.5], top, 0.17, 0.14, "bark", sides)
    blobs = crown + _ball(rng, 9, 0.2) * reach * 0.62
    for blob in blobs[: (0, 0, 4, 9)[detail]]:
        builder.add_tube(top, blob, 0.10, 0.03, "bark", 4)
    # leaves gather in lumps at the branches' ends, which gives the crown its uneven outline
    which = rng.integers(0, len(blobs), cards)
    centres = blobs[which] + _ball(rng, cards, 0.3) * reach * 0.48
    _cards(builder, rng, centres, crown, reach, size, MASK_LAYERS["leaves"])
    return builder.finish()


def build_bush(rng: np.random.Generator, detail: int) -> Mesh:
    """A bush of about 1.4 m: ``detail`` 2 is for close up, 1 for the distance, 0 for where it is small."""
    builder = MeshBuilder()
    cards, size_m = ((8, 1.35), (26, 0.95), (70, 0.62))[detail]
    centres = np.array([0.0, 0.0, 0.65]) + _ball(rng, cards, 0.3) * [0.85, 0.85, 0.6]
    _cards(builder, rng, centres, np.array([0.0, 0.0, 0.45]), np.array([1.0, 1.0, 0.9]), size_m, MASK_LAYERS["leaves"])
    return builder.finish()
