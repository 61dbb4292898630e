"""The data sets that a configuration names, as training images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, overload

import cv2
import numpy as np
from pydantic import Field

from perception.classes import OBJECT_CLASSES, VOID_ID
from perception.errors import ConfigError
from perception.training.bdd100k import bdd100k
from perception.training.cityscapes import cityscapes
from perception.training.coco import coco
from perception.training.data import (
    camvid_samples,
    drive_samples,
    kitti_object_samples,
    semantic_from_boxes,
    unlabelled_samples,
)
from perception.training.labelled_image import FileImages, LabelledImage
from perception.training.labels import Sample
from perception.training.settings import NonNegative, Positive, Section
from perception.training.teacher import BoxTeacher

__all__ = ["LabelledSamples", "Source", "SourceSettings", "read_source", "to_sample"]

Count = Annotated[int, Field(ge=1)]
_THINGS = ("car", "pedestrian", "cyclist")
_BYTES_PER_GB = 1 << 30


class _Source(Section):
    """What every data set has.

    Attributes:
        name: by which logs and metrics call it.
        share: of the images of a batch, in proportion to the other sources' shares.
        path: of the data set, from the folder given by ``--data``.
    """

    name: Annotated[str, Field(min_length=1)]
    share: NonNegative = 1.0
    path: str = ""


class CamvidSource(_Source):
    """CamVid as published with SegNet; ``teacher`` adds boxes."""

    layout: Literal["camvid"]
    split: str = "train"
    teacher: bool = False


class KittiObjectSource(_Source):
    """KITTI object; of every ``hold_out_every`` frames one is kept apart, and ``held_out`` takes only those."""

    layout: Literal["kitti_object"]
    teacher: bool = False
    hold_out_every: Annotated[int, Field(ge=0)] = 0
    held_out: bool = False


class DriveSource(_Source):
    """Recorded drives without labels; ``path`` may be a pattern. A teacher finds the boxes."""

    layout: Literal["drive"]
    network_width_px: Count = 832


class ImagesSource(_Source):
    """A folder of images without labels, reduced to ``width_px``. A teacher finds the boxes."""

    layout: Literal["images"]
    width_px: Count = 960
    network_width_px: Count = 608
    every: Count = 1


class _Labelled(_Source):
    """A data set that is read while training, since it may be larger than memory.

    Attributes:
        width_px: images are reduced to it when they are read; 0 keeps them as they are.
        network_width_px: at which the network will see these images.
        memory_gb: for images that stay decoded.
    """

    width_px: Annotated[int, Field(ge=0)] = 0
    network_width_px: Count = 832
    memory_gb: NonNegative = 2.0


class CityscapesSource(_Labelled):
    """The Cityscapes layout."""

    layout: Literal["cityscapes"]
    split: str = "train"


class Bdd100kSource(_Labelled):
    """The BDD100K layout."""

    layout: Literal["bdd100k"]
    split: str = "train"
    images: Literal["100k", "10k"] = "100k"


class CocoSource(_Labelled):
    """COCO's JSON; ``path`` is the folder of the images, ``classes`` says which category is which object."""

    layout: Literal["coco"]
    annotations: str
    classes: dict[str, str]


class SimSource(_Source):
    """Simulated drives, drawn into memory before training starts, and kept in the run's folder for the next start."""

    layout: Literal["sim"]
    scenarios: Annotated[tuple[str, ...], Field(min_length=1)]
    drives: Count
    first_seed: Annotated[int, Field(ge=0)]
    frames: Count
    seconds_apart: Positive
    height_px: Annotated[int, Field(ge=32)]
    width_px: Annotated[int, Field(ge=32)]


SourceSettings = Annotated[
    CamvidSource
    | KittiObjectSource
    | DriveSource
    | ImagesSource
    | CityscapesSource
    | Bdd100kSource
    | CocoSource
    | SimSource,
    Field(discriminator="layout"),
]


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A data set in use.

    Attributes:
        name: of the source.
        layout: of its files.
        share: of the images of a batch.
        samples: the images.
        together: how many neighbours are drawn one after the other; 2 where objects are known again.
        notes: what a user should know of it.
    """

    name: str
    layout: str
    share: float
    samples: Sequence[Sample]
    together: int = 1
    notes: tuple[str, ...] = ()


class LabelledSamples(Sequence[Sample]):
    """Samples of labelled files, read when they are asked for; some stay in memory.

    Which images come next is random, so that keeping the first ones serves as well as any other choice.
    """

    def __init__(self, images: FileImages, settings: _Labelled):  # type: ignore[type-arg]
        self._images, self._settings = images, settings
        self._kept: dict[int, Sample] = {}
        self._room = int(settings.memory_gb * _BYTES_PER_GB)

    def __len__(self) -> int:
        return len(self._images)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | Sequence[Sample]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if index in self._kept:
            return self._kept[index]
        sample = to_sample(self._images[index], self._settings.width_px, self._settings.network_width_px)
        size = sample.image_rgb.nbytes + sample.semantic.nbytes
        size += sample.owners.nbytes if sample.owners is not None else 0
        if size <= self._room:
            self._room -= size
            self._kept[index] = sample
        return sample


def to_sample(labelled: LabelledImage, width_px: int, network_width_px: int) -> Sample:
    """A training image of a labelled one.

    Args:
        labelled: the image.
        width_px: it is reduced to, if wider; 0 keeps it.
        network_width_px: at which the network will see it.
    """
    image, boxes = labelled.image_rgb, labelled.boxes
    semantic, instances = labelled.semantic, labelled.instances
    factor = width_px / image.shape[1] if width_px else 1.0
    if factor < 1:
        size = (width_px, max(1, round(image.shape[0] * factor)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        boxes = boxes.scaled(factor)
        if semantic is not None:
            semantic = np.asarray(cv2.resize(semantic, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        if instances is not None:
            instances = np.asarray(cv2.resize(instances, size, interpolation=cv2.INTER_NEAREST), np.int32)
    label_set = "cityscapes"
    if semantic is None:
        label_set = "boxes"
        knows_things = all(labelled.known_objects[OBJECT_CLASSES.index(name)] for name in _THINGS)
        semantic = semantic_from_boxes(image, boxes) if knows_things else np.full(image.shape[:2], VOID_ID, np.uint8)
    return Sample(
        labelled.source, image, semantic, label_set, boxes, labelled.known_objects, network_width_px / image.shape[1],
        owners=None if instances is None else (instances + 1).astype(np.uint16),
    )  # fmt: skip


def read_source(
    settings: SourceSettings, data: Path, teacher: Callable[[], BoxTeacher], cache: Path | None = None
) -> Source:
    """Opens a data set.

    Args:
        settings: of the source.
        data: folder that paths start from.
        teacher: gives the detector that labels images; asked only where one is needed.
        cache: folder in which simulated drives are kept from run to run, or None.

    Raises:
        DriveError: images are missing or cannot be read.
        InputFormatError: labels are missing or malformed; file and line or JSON path are named.
        ConfigError: a scenario, class or path of the configuration is not there.
    """
    path = data / settings.path
    notes: tuple[str, ...] = ()
    samples: Sequence[Sample]
    if isinstance(settings, CamvidSource):
        samples = list(camvid_samples(path, settings.split, teacher() if settings.teacher else None))
    elif isinstance(settings, KittiObjectSource):
        every = settings.hold_out_every
        samples = list(kitti_object_samples(path, teacher() if settings.teacher else None, every, settings.held_out))
    elif isinstance(settings, DriveSource):
        drives = sorted(data.glob(settings.path))
        if not drives:
            raise ConfigError(f"source {settings.name}: {path}: expected at least one drive, but found none")
        width = settings.network_width_px
        samples = [each for drive in drives for each in drive_samples(drive, settings.name, teacher(), width)]
    elif isinstance(settings, ImagesSource):
        widths = (settings.width_px, settings.network_width_px)
        samples = list(unlabelled_samples(path, settings.name, teacher(), *widths, settings.every))
    elif isinstance(settings, SimSource):
        from perception.training.sim_source import (
            sim_samples,
        )  # the simulator and its kernels, only where they are used

        seeds = range(settings.first_seed, settings.first_seed + settings.drives)
        size = (settings.height_px, settings.width_px)
        samples = list(sim_samples(settings.scenarios, seeds, settings.frames, settings.seconds_apart, *size, cache))
    else:
        images: FileImages  # type: ignore[type-arg]
        if isinstance(settings, CityscapesSource):
            images = cityscapes(path, settings.split)
        elif isinstance(settings, Bdd100kSource):
            images = bdd100k(path, settings.split, settings.images)
        else:
            images = coco(path, data / settings.annotations, settings.classes)
        samples, notes = LabelledSamples(images, settings), images.notes
    known_again = isinstance(samples, list) and any((sample.boxes.identities >= 0).any() for sample in samples)
    return Source(settings.name, settings.layout, settings.share, samples, 2 if known_again else 1, notes)
