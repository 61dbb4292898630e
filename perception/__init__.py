"""Replay recorded drives through detection, segmentation, tracking and a fused map."""

__version__ = "0.1.0"
