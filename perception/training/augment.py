"""Random views of a sample: crop, scale, stretch, turn, flip, mosaic, pasted objects, light, colour, blur, weather."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from perception.training.compose import mosaic, paste
from perception.training.labels import Sample, sky_label
from perception.training.photometric import TorchvisionTransform, relit, transformed
from perception.training.settings import Fraction, Positive, Section
from perception.training.skies import reskied
from perception.training.view import View, ViewRange, view_of
from perception.training.weather import weathered

__all__ = ["AugmentSettings", "View", "augment"]


class AugmentSettings(Section):
    """How far views stray from the original.

    Attributes:
        height_px: of the crop.
        width_px: of the crop.
        least_scale: smallest zoom relative to what the network sees in use.
        largest_scale: largest zoom, likewise.
        stretch: largest change of the aspect ratio, as a factor.
        rotation_deg: largest turn of the image to either side. Boxes then enclose the turned box, and so are a little
            larger than the object.
        mosaic: share of views made of four images of the same source.
        copy_paste: share of views that get objects of another image of the same source, where that has outlines.
        sky: share of views that get another sky, where the sky is drawn.
        weather: share of views with fog, rain or snow.
        torchvision: transforms of ``torchvision.transforms.v2`` that follow, of those that move no pixel.
    """

    height_px: Annotated[int, Field(ge=32, multiple_of=32)]
    width_px: Annotated[int, Field(ge=32, multiple_of=32)]
    least_scale: Positive
    largest_scale: Positive
    stretch: Annotated[float, Field(ge=1)] = 1.0
    rotation_deg: Annotated[float, Field(ge=0, le=45)] = 0.0
    mosaic: Fraction = 0.0
    copy_paste: Fraction = 0.0
    sky: Fraction = 0.0
    weather: Fraction = 0.0
    torchvision: tuple[TorchvisionTransform, ...] = ()


def augment(sample: Sample, settings: AugmentSettings, rng: np.random.Generator, others: Sequence[Sample] = ()) -> View:
    """One view.

    Args:
        sample: the image.
        settings: how far to go.
        rng: everything random comes from it.
        others: images of the same source, for mosaics and pasted objects.
    """
    strays = ViewRange(settings.least_scale, settings.largest_scale, settings.stretch, settings.rotation_deg)
    size_hw = (settings.height_px, settings.width_px)
    if len(others) and rng.random() < settings.mosaic:
        three = [others[int(index)] for index in rng.integers(len(others), size=3)]
        view = mosaic([sample, *three], size_hw, strays, rng)
    else:
        view = view_of(sample, size_hw, strays, rng)
    if len(others) and rng.random() < settings.copy_paste:
        view = paste(view, view_of(others[int(rng.integers(len(others)))], size_hw, strays, rng), rng)
    image = view.image_rgb
    # asked of the setting first, so that runs without it draw the same numbers as ever
    if settings.sky and sample.semantic_is_drawn and rng.random() < settings.sky:
        image = reskied(image, view.semantic == sky_label(sample.label_set), rng)
    image = relit(image, rng)
    if rng.random() < settings.weather:
        image = weathered(image, view.depth_m, rng)
    return dataclasses.replace(view, image_rgb=transformed(image, settings.torchvision, rng))
