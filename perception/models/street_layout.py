"""What the street network's outputs mean: shared by its torch definition and its onnxruntime runner, free of torch."""

from __future__ import annotations

__all__ = ["ARCHITECTURE", "BOX_STRIDES", "CUE_SCALE_PX", "DENSE_STRIDE", "IMAGENET_MEAN", "IMAGENET_STD"]

ARCHITECTURE = "street-lite0-1"
"""Changes whenever weights of before would no longer fit."""

BOX_STRIDES = (8, 16, 32)
"""Input pixels per cell of the three grids of boxes, in the order of the output."""

DENSE_STRIDE = 4
"""Input pixels per cell of the semantic logits and box cues."""

CUE_SCALE_PX = 8.0
"""A cue of c stands for ``CUE_SCALE_PX * (exp(c) - 1)`` input pixels from the cell's centre to a box edge."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of the channels red, green, blue in 0 ... 1; the network takes images with both taken out."""
