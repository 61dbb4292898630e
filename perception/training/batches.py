"""Augmented batches of several data sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from perception.errors import ConfigError
from perception.models.street_layout import IMAGENET_MEAN, IMAGENET_STD
from perception.training.augment import AugmentSettings, augment
from perception.training.labels import LABEL_SETS, Sample
from perception.training.losses import Targets
from perception.training.sources import Source

__all__ = ["Batch", "Batches", "class_weights", "normalised"]

_GOLDEN_RATIO = 0.6180339887498949
_LEAST_SHARE = 1e-3  # rarer classes count no more than these
_COUNTED = 400  # images of a source that its classes are counted in


def normalised(images: npt.NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) u8 to the network's input, channels last."""
    mean = torch.tensor(IMAGENET_MEAN) * 255
    deviation = torch.tensor(IMAGENET_STD) * 255
    return ((torch.from_numpy(images).float() - mean) / deviation).permute(0, 3, 1, 2)


def class_weights(sources: Sequence[Source]) -> dict[str, Tensor]:
    """By label set, weights that let rare classes count: falling with the square root of their share, mean 1."""
    counts: dict[str, npt.NDArray[np.int64]] = {}
    for source in sources:
        for index in np.linspace(0, len(source.samples) - 1, min(_COUNTED, len(source.samples))).astype(int):
            sample = source.samples[int(index)]
            if sample.semantic_is_drawn:
                found = np.bincount(sample.semantic.ravel(), minlength=256)
                counts[sample.label_set] = counts.get(sample.label_set, np.zeros(256, np.int64)) + found
    weights = {}
    for label_set in sorted(counts):
        of_label = counts[label_set][: len(LABEL_SETS[label_set])]
        share = of_label / max(1, of_label.sum())
        weight = np.maximum(share, _LEAST_SHARE) ** -0.5
        weights[label_set] = torch.from_numpy(weight / max((weight * share).sum(), 1e-12)).float()
    return weights


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one pass sees.

    Attributes:
        images_rgb: (N, H, W, 3) u8; ``images`` are the same as the network takes them.
        images: (N, 3, H, W) f32.
        targets: the labels.
        names: data set and frame of every image.
    """

    images_rgb: npt.NDArray[np.uint8]
    images: Tensor
    targets: Targets
    names: tuple[str, ...]


def on_device(targets: Targets, device: torch.device) -> Targets:
    """The labels with every tensor on a device."""

    def moved(value: object) -> object:
        if isinstance(value, Tensor):
            return value.to(device, non_blocking=True)
        return [moved(each) for each in value] if isinstance(value, list) else value

    fields = {field.name: moved(getattr(targets, field.name)) for field in dataclasses.fields(Targets)}
    return Targets(**fields)  # type: ignore[arg-type]


class Batches:
    """Batches that are functions of their number alone, so that a resumed run sees what it would have seen.

    Data sets take turns by their shares; each is shuffled anew when it is used up. An image and its view depend on its
    place in the run only, whatever the size of a batch.

    Raises:
        ConfigError: no source has a share.
    """

    def __init__(self, sources: Sequence[Source], settings: AugmentSettings, batch: int, seed: int):
        self._sources = [source for source in sources if source.share > 0]
        if not self._sources:
            raise ConfigError("source: expected at least one with a share above 0")
        self._settings, self._batch, self._seed = settings, batch, seed
        shares = np.array([source.share for source in self._sources])
        self._shares = shares / shares.sum()

    @property
    def images_per_epoch(self) -> int:
        """Images of all sources together."""
        return sum(len(source.samples) for source in self._sources)

    def __call__(self, number: int) -> Batch:
        """Batch ``number``, counted from 0."""
        samples, views = [], []
        for place in range(number * self._batch, (number + 1) * self._batch):
            source, sample = self._sample(place)
            rng = np.random.default_rng((self._seed, place))
            samples.append(sample)
            views.append(augment(sample, self._settings, rng, source.samples))
        boxes = [view.boxes for view in views]
        images = np.stack([view.image_rgb for view in views])
        targets = Targets(
            torch.from_numpy(np.stack([view.semantic for view in views])),
            [sample.label_set for sample in samples],
            [torch.from_numpy(part.boxes_xyxy) for part in boxes],
            [torch.from_numpy(part.class_ids) for part in boxes],
            [torch.from_numpy(part.ignored) for part in boxes],
            torch.from_numpy(np.stack([sample.known_classes for sample in samples])),
            [torch.from_numpy(part.solid) for part in boxes],
            [torch.from_numpy(part.identities) for part in boxes],
            [torch.from_numpy(part.whole) for part in boxes],
            torch.from_numpy(np.stack([view.depth_m for view in views])),
            [None if view.owners is None else torch.from_numpy(view.owners) for view in views],
        )
        return Batch(images, normalised(images), targets, tuple(sample.source for sample in samples))

    def _sample(self, place: int) -> tuple[Source, Sample]:
        # steps of the golden ratio fall into every share evenly, without any state
        cumulative = np.cumsum(self._shares)
        position = (place * _GOLDEN_RATIO + 0.5) % 1.0
        which = min(int(np.searchsorted(cumulative, position, side="right")), len(cumulative) - 1)
        source = self._sources[which]
        count, together = len(source.samples), source.together
        turn = int(place * self._shares[which])
        # where objects are known again, frames that follow each other are drawn together: embeddings learn from pairs
        groups = -(-count // together)
        epoch, at = divmod(turn, together * groups)
        order = np.random.default_rng((self._seed, which, epoch)).permutation(groups)
        return source, source.samples[min(together * int(order[at // together]) + at % together, count - 1)]
