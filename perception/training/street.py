"""Trains the network of this project by a configuration such as ``configs/train_street.toml``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from perception.errors import ConfigError
from perception.files import write_text_atomic
from perception.models.device import resolve_device
from perception.models.street import StreetNet
from perception.models.street_backbones import DEFAULT_BACKBONE, BackboneName, architecture_of
from perception.models.weights import shipped_folder
from perception.training.backbone_start import start_backbone
from perception.training.batches import Batch, Batches, class_weights, on_device
from perception.training.checkpoints import Checkpoints
from perception.training.depthwise import fast_depthwise
from perception.training.distill import SoftTeacher, soft_loss
from perception.training.distributed import World, joined
from perception.training.labels import Sample
from perception.training.loop import train
from perception.training.losses import box_losses, cue_loss, depth_loss, semantic_losses
from perception.training.optimizers import freeze
from perception.training.sources import Source, read_source
from perception.training.street_config import StreetTraining
from perception.training.task import Forward, LoopSettings
from perception.training.teacher import BoxTeacher
from perception.training.teachers import make_box_teacher, make_soft_teacher
from perception.training.transfer import load_into, read_weights
from perception.training.validation import figures, validate

__all__ = ["StreetTask", "make_network", "run_training"]

_INPUT = {"height_px": 256, "width_px": 832}
_CUES = 4


def make_network(backbone: BackboneName = DEFAULT_BACKBONE) -> StreetNet:
    """A network to train, with random weights."""
    return StreetNet(len(OBJECT_CLASSES), len(SEMANTIC_CLASSES), backbone=backbone)


class StreetTask:
    """The street network, its batches and its losses, for ``perception.training.loop``.

    Args:
        settings: of the run.
        network: on its device.
        sources: to train on.
        validation: to judge on.
        weights: of the semantic classes, by label set.
        soft_teacher: of the pixels, or None.
        device: of the network.
    """

    def __init__(
        self,
        settings: StreetTraining,
        network: StreetNet,
        sources: Sequence[Source],
        validation: Sequence[Source],
        weights: dict[str, Tensor],
        soft_teacher: SoftTeacher | None,
        device: torch.device,
    ):
        self.network = network
        self._settings, self._soft_teacher, self._device = settings, soft_teacher, device
        self._batches = Batches(sources, settings.augment, settings.run.batch, settings.run.seed)
        self.images_per_epoch = self._batches.images_per_epoch
        self._weights = {name: value.to(device) for name, value in weights.items()}
        self._validation = validation

    def batch(self, number: int) -> tuple[Batch, Tensor | None]:
        """A batch and what the soft teacher says of it."""
        batch = self._batches(number)
        if self._soft_teacher is None:
            return batch, None
        taught = [torch.from_numpy(self._soft_teacher.probabilities(image)) for image in batch.images_rgb]
        return batch, torch.stack(taught)

    def names(self, batch: tuple[Batch, Tensor | None]) -> Sequence[str]:
        """Data set and frame of every image."""
        return batch[0].names

    def losses(self, forward: Forward, batch: tuple[Batch, Tensor | None]) -> dict[str, Tensor]:
        """All losses, each over what is labelled for it."""
        weight = self._settings.loss
        with self._device:  # what the losses make anew is made there
            boxes, semantic, dense = forward(batch[0].images.contiguous(memory_format=torch.channels_last))
            targets = on_device(batch[0].targets, self._device)
            cross_entropy, lovasz, derived = semantic_losses(semantic, targets, self._weights)
            of_boxes = box_losses(boxes, targets)
            losses = {
                "semantic": weight.semantic * cross_entropy,
                "lovasz": weight.lovasz * lovasz,
                "derived": weight.derived * derived,
                "classes": weight.classes * of_boxes["classes"],
                "edges": weight.edges * of_boxes["edges"],
                "solid": weight.solid * of_boxes["solid"],
                "identity": weight.identity * of_boxes["identity"],
                "cue": weight.cue * cue_loss(dense[:, :_CUES], targets),
                "depth": weight.depth * depth_loss(dense[:, _CUES], targets),
            }
            if batch[1] is not None:
                taught = batch[1].to(self._device)
                losses["taught"] = weight.taught * soft_loss(semantic, taught, self._settings.teacher.temperature)
        return losses

    def validate(self, state: dict[str, Tensor]) -> dict[str, float]:
        """The figures of ``perception.training.validation``, on the CPU."""
        judged = make_network(self._settings.network.backbone)
        judged.load_state_dict({name: value.cpu() for name, value in state.items()})
        by_layout: dict[str, list[Sample]] = {"camvid": [], "kitti_object": []}
        metrics: dict[str, float] = {}
        for source in self._validation:
            if source.layout in by_layout:
                by_layout[source.layout] += source.samples
            else:
                found = figures(judged, source.samples)
                metrics |= {f"{source.name}/{name}": value for name, value in found.items()}
        return validate(judged, by_layout["camvid"], by_layout["kitti_object"]) | metrics


def run_training(
    settings: StreetTraining,
    data: Path,
    out: Path,
    *,
    device: str = "auto",
    allow_pickle: bool = False,
    command: str = "",
    show: Callable[[str], None] = print,
) -> dict[str, float]:
    """One training run; goes on where ``out`` holds a checkpoint.

    Args:
        settings: of the run.
        data: folder that the sources' paths start from.
        out: folder for checkpoints, logs, the class weights and the teacher's labels.
        device: ``auto``, ``cpu`` or ``cuda[:N]``.
        allow_pickle: whether ``init.weights`` may be a pickle.
        command: that a user gave, for the manifest.
        show: takes a line for the terminal.

    Returns:
        The best validation's metrics, or the last one's where no metric is followed.

    Raises:
        PerceptionError: bad input of any kind; see ``perception.training.loop.train``.
    """
    out.mkdir(parents=True, exist_ok=True)
    if settings.run.threads:
        torch.set_num_threads(settings.run.threads)
    with joined(resolve_device(device)) as world:
        say = show if world.is_first else _silent
        sources, validation = _read_sources(settings, data, out, say)
        weights = class_weights([source for source in sources if source.share > 0])
        if world.is_first:
            kept = {name: [round(weight, 5) for weight in values.tolist()] for name, values in weights.items()}
            write_text_atomic(out / "class_weights.json", json.dumps(kept) + "\n")
        network = _started_network(settings, data, allow_pickle, world, say)
        soft_teacher = make_soft_teacher(settings.teacher, data, settings.run.threads)
        task = StreetTask(settings, network, sources, validation, weights, soft_teacher, world.device)
        if world.is_first:
            _write_graph(out, settings.network.backbone)
        architecture = architecture_of(settings.network.backbone)
        checkpoints = Checkpoints(out, architecture, _manifest_fields(settings, sources, command))
        loop = LoopSettings(settings.run, settings.optimizer, settings.schedule, settings.validation)
        with fast_depthwise() if world.device.type == "cpu" else nullcontext():
            train(task, loop, checkpoints, world, show)
    manifest = checkpoints.best if checkpoints.best.is_file() else checkpoints.last
    metrics: dict[str, float] = json.loads(manifest.with_suffix(".json").read_text(encoding="utf-8"))["metrics"]
    return metrics


def _silent(line: str) -> None:
    """Takes what only the first process says."""


def _read_sources(
    settings: StreetTraining, data: Path, out: Path, say: Callable[[str], None]
) -> tuple[list[Source], list[Source]]:
    made: list[BoxTeacher] = []

    def teacher() -> BoxTeacher:
        if not made:
            made.append(make_box_teacher(settings.teacher, data, out / "labels", settings.run.threads))
        return made[0]

    found = [
        [read_source(each, data, teacher, out / "simulated") for each in chosen if each.share > 0]
        for chosen in (settings.source, settings.validate_on)
    ]
    for title, sources in zip(("training", "validation"), found, strict=True):
        say(f"{title}: {', '.join(f'{source.name} {len(source.samples)}' for source in sources) or 'nothing'}")
        for note in (note for source in sources for note in source.notes):
            say(note)
    return found[0], found[1]


def _started_network(
    settings: StreetTraining, data: Path, allow_pickle: bool, world: World, say: Callable[[str], None]
) -> StreetNet:
    torch.manual_seed(settings.run.seed)
    network = make_network(settings.network.backbone)
    start_backbone(network.backbone, settings.network, settings.init, data, allow_pickle)
    if settings.init.weights:
        name = settings.init.weights
        name = str(data / name) if (data / name).is_file() else name
        # weights of another architecture share what has the same names and shapes
        architecture = None if settings.init.partial else architecture_of(settings.network.backbone)
        tensors = read_weights(name, architecture=architecture, allow_pickle=allow_pickle)
        report = load_into(network, tensors, name, skip=settings.init.skip, partial=settings.init.partial)
        for line in report.lines():
            say(f"{name}: {line}")
    network.to(device=world.device).to(memory_format=torch.channels_last)
    network.train()
    frozen = freeze(network, settings.optimizer.frozen)
    say(f"{sum(parameter.numel() for parameter in network.parameters()) - frozen} values learn, {frozen} are frozen")
    return network


def _write_graph(out: Path, backbone: BackboneName) -> None:
    """Puts the graph beside the checkpoints, so that they run in onnxruntime as they are."""
    file = f"{architecture_of(backbone)}.onnx"
    if (shipped_folder() / file).is_file() or (out / file).is_file():
        return
    try:
        from perception.training.export import write_graph
    except ImportError as error:
        raise ConfigError(
            f"network.backbone = {backbone!r}: its graph needs {error.name}; expected "
            "pip install 'drive-perception[train]'"
        ) from None
    write_graph(out, backbone)


def _manifest_fields(settings: StreetTraining, sources: Sequence[Source], command: str) -> dict[str, Any]:
    listed = ", ".join(f"{source.name} ({source.layout}, {len(source.samples)} images)" for source in sources)
    return {
        "object_classes": list(OBJECT_CLASSES),
        "semantic_classes": list(SEMANTIC_CLASSES),
        "input": _INPUT,
        "data": settings.card.data or listed,
        "licence": settings.card.licence or "that of its data",
        "command": command or "perception.training.street.run_training",
        "config": settings.model_dump(mode="json"),
    }
