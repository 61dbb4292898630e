"""Backbones of the street network by name."""

from __future__ import annotations

from perception.models.backbone import Backbone
from perception.models.lite import LITE_SCALES, Lite
from perception.models.street_backbones import backbone_named
from perception.models.torchvision_backbones import TorchvisionBackbone

__all__ = ["make_backbone"]


def make_backbone(name: str) -> Backbone:
    """The backbone of that name, with random weights.

    Raises:
        ConfigError: there is none; those that there are are listed.
    """
    known = backbone_named(name)
    return Lite(known) if known in LITE_SCALES else TorchvisionBackbone(known)
