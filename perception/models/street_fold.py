"""The street network for use: every batch norm folded into its convolution, input as bytes.

Folding is arithmetic on a dictionary of arrays, so that a run in onnxruntime needs no torch, which takes a
second to load.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.models.street_backbones import DEFAULT_BACKBONE, BackboneName, batch_norm_eps

__all__ = ["folded_arrays"]

Float32Array = npt.NDArray[np.float32]

_TORCH_EPS = 1e-5


def folded_arrays(state: dict[str, Float32Array], backbone: BackboneName = DEFAULT_BACKBONE) -> dict[str, Float32Array]:
    """Weight and bias of every convolution, by the convolution's name.

    Args:
        state: the network's state. A layer ``P`` is one of ``P.weight, P.gamma, P.beta, P.mean, P.variance`` (frozen
            batch norm), ``P.0.weight`` with ``P.1.weight, P.1.bias, P.1.running_mean, P.1.running_var`` (batch
            norm of its own), or ``P.weight, P.bias``.
        backbone: of the network.

    Returns:
        ``P.weight`` (O, I, k, k) and ``P.bias`` (O,), f32.
    """
    folded: dict[str, Float32Array] = {}
    for name, weight in state.items():
        layer, _, last = name.rpartition(".")
        if last != "weight" or weight.ndim != 4:
            continue
        if f"{layer}.gamma" in state:
            gamma, beta, mean, variance = (state[f"{layer}.{part}"] for part in ("gamma", "beta", "mean", "variance"))
            eps = batch_norm_eps(backbone)
        elif layer.endswith(".0") and f"{layer[:-1]}1.running_mean" in state:
            layer = layer[:-2]
            parts = ("weight", "bias", "running_mean", "running_var")
            gamma, beta, mean, variance = (state[f"{layer}.1.{part}"] for part in parts)
            eps = _TORCH_EPS
        else:
            folded[f"{layer}.weight"], folded[f"{layer}.bias"] = weight, state[f"{layer}.bias"]
            continue
        scale = gamma / np.sqrt(variance + np.float32(eps))
        folded[f"{layer}.weight"] = weight * scale[:, None, None, None]
        folded[f"{layer}.bias"] = beta - mean * scale
    return folded
