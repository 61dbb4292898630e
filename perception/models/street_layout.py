"""What the street network's outputs mean: shared by its torch definition and its onnxruntime runner, free of torch."""

from __future__ import annotations

from perception.models.street_backbones import DEFAULT_BACKBONE, architecture_of

__all__ = [
    "ARCHITECTURE",
    "BOX_STRIDES",
    "CUE_SCALE_PX",
    "DENSE_STRIDE",
    "DEPTH_FOCAL_PX",
    "EMBEDDING",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "SEMANTIC_STRIDE",
    "SOLID_CUES",
]

ARCHITECTURE = architecture_of(DEFAULT_BACKBONE)
"""Of the weights that ship; changes whenever weights of before would no longer fit."""

BOX_STRIDES = (8, 16, 32)
"""Input pixels per cell of the three grids of boxes, in the order of the output."""

SOLID_CUES = ("log_height", "log_width", "log_length", "sin_alpha", "cos_alpha", "log_distance", "centre_u", "centre_v")
"""What every cell of boxes says of its object in space: sides in m, KITTI's observation angle, distance of its centre
along the camera's axis as for a camera of ``DEPTH_FOCAL_PX``, and where that centre lies in the image, from the cell's
centre in strides."""

EMBEDDING = 32
"""Numbers of every cell of boxes that are alike for one object and unlike for others."""

DENSE_STRIDE = 4
"""Input pixels per cell of the box cues and the depth."""

SEMANTIC_STRIDE = 2
"""Input pixels per cell of the semantic logits."""

CUE_SCALE_PX = 8.0
"""A cue of c stands for ``CUE_SCALE_PX * (exp(c) - 1)`` input pixels from the cell's centre to a box edge."""

DEPTH_FOCAL_PX = 480.0
"""Depth is learnt as for a camera of this focal length: one image shows nothing but size over distance. What the
network gives, times the focal length in input pixels over this one, is metres."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of the channels red, green, blue in 0 ... 1; the network takes images with both taken out."""
