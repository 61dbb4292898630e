"""Settings of the image trackers, and their table for the kernel with one row for each class."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES
from perception.errors import ConfigError
from perception.kernels import image_tracks

__all__ = ["ImageTrackerSettings"]

# classes that detectors take for one another
_CLASS_GROUPS = (
    ("car", "van", "truck", "bus", "tram"), ("motorcycle", "bicycle", "cyclist"), ("pedestrian",), ("traffic_light",),
    ("traffic_sign",),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageTrackerSettings:
    """What distinguishes the image trackers.

    Attributes:
        high_score: detections from here on pair in the first stage.
        low_score: detections from here on pair in the second stage; from ``high_score`` on there is none.
        birth_score: unpaired detections from here on start a track.
        sure_score: one detection from here on confirms a track at once; over 1 none does.
        min_iou: least overlap in the first stage.
        weak_iou: least overlap in the second stage.
        recover_iou: least overlap with the last seen box in the third stage; 1 switches it off.
        double_iou: an unpaired detection that overlaps a paired one of its group by more starts no track; 1 switches
            it off.
        direction_weight: weight of OC-SORT's direction term in the first stage.
        score_weight: weight of the detection's score in every stage.
        appearance_weight: weight of 1 - the cosine of two appearances in every stage.
        buffer: share of their size by which boxes grow on each side before they are compared (C-BIoU).
        re_update: replay a gap along a straight line when a track is found again (OC-SORT).
        max_coast_frames: frames that an unseen track takes part in the first three stages.
        show_coast_frames: frames that an unseen track is shown at its predicted place.
        tentative_frames: frames that a track may be unseen before it is confirmed.
        min_hits: observations that confirm a track; in the first frames of a drive all are shown.
        position_std: standard deviation of a detection's centre, in box heights.
        acceleration_std: of the centre's acceleration, in box heights per second squared.
        size_std: of a detection's width and height, in box heights.
        growth_std: of the acceleration of width and height, in box heights per second squared.
        refind_s: time that a lost track can be found again by the fourth stage, its last coasting included; 0
            switches it off.
        refind_reach: how far from its predicted place a track may be found, in box heights per second since it was
            seen, plus half of it; without appearance half as far.
        refind_similarity: least cosine of appearances there.
        class_gate: ``same`` classes pair, or those of a ``group`` that detectors confuse (cars, vans, trucks, buses
            and trams; two-wheelers), or ``any``; a track has the class that most of its scores speak for.
        max_gap_s: a longer step in time ends all tracks.
        max_objects: most detections used in a frame.
        per_class: differences for a class, such as ``pedestrian.min_iou=0.1``.
    """

    high_score: float = 0.5
    low_score: float = 0.1
    birth_score: float = 0.6
    sure_score: float = 1.1
    min_iou: float = 0.2
    weak_iou: float = 0.4
    recover_iou: float = 0.3
    double_iou: float = 1.0
    direction_weight: float = 0.2
    score_weight: float = 0.0
    appearance_weight: float = 0.0
    buffer: float = 0.0
    re_update: bool = True
    max_coast_frames: int = 10
    show_coast_frames: int = 0
    tentative_frames: int = 0
    min_hits: int = 3
    position_std: float = 0.05
    acceleration_std: float = 2.0
    size_std: float = 0.05
    growth_std: float = 2.0
    refind_s: float = 0.0
    refind_reach: float = 1.0
    refind_similarity: float = 0.6
    class_gate: Literal["same", "group", "any"] = "same"
    max_gap_s: float = 3.0
    max_objects: int = 1000
    per_class: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("min_iou", "weak_iou", "recover_iou", "double_iou", "low_score", "high_score"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must be 0 ... 1 but got {getattr(self, name)}")
        for name in (
            "position_std", "acceleration_std", "size_std", "growth_std", "refind_reach", "max_gap_s", "max_objects",
            "min_hits",
        ):  # fmt: skip
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive but got {getattr(self, name)}")
        for name in (
            "birth_score", "sure_score", "direction_weight", "score_weight", "appearance_weight", "buffer",
            "max_coast_frames", "show_coast_frames", "tentative_frames", "refind_s",
        ):  # fmt: skip
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative but got {getattr(self, name)}")
        if self.low_score > self.high_score:
            raise ValueError(f"low_score {self.low_score} must not exceed high_score {self.high_score}")

    def of_class(self, class_name: str) -> ImageTrackerSettings:
        """The settings with the differences of that class.

        Raises:
            ConfigError: a difference names no class or no setting, or is out of range.
        """
        known = {field.name: field for field in fields(self) if field.name in image_tracks.PARAMETERS}
        changes: dict[str, float] = {}
        for difference in self.per_class:
            key, _, text = difference.partition("=")
            owner, _, name = key.strip().partition(".")
            if owner not in OBJECT_CLASSES or name not in known:
                near = difflib.get_close_matches(name if owner in OBJECT_CLASSES else owner, (*OBJECT_CLASSES, *known))
                hint = f"; did you mean {near[0]}?" if near else ""
                raise ConfigError(f"per_class {difference!r}: expected CLASS.SETTING=NUMBER{hint}")
            try:
                value = float(text)
            except ValueError:
                raise ConfigError(f"per_class {difference!r}: expected a number but got {text.strip()!r}") from None
            if owner == class_name:
                changes[name] = value
        try:
            return replace(self, per_class=(), **changes)  # type: ignore[arg-type]
        except ValueError as error:
            raise ConfigError(f"per_class of {class_name}: {error}") from None

    def parameters(self) -> npt.NDArray[np.float64]:
        """(len(``OBJECT_CLASSES``), len(``PARAMETERS``)) for the kernel.

        Raises:
            ConfigError: as ``of_class``.
        """
        table = np.zeros((len(OBJECT_CLASSES), len(image_tracks.PARAMETERS)))
        for class_id, class_name in enumerate(OBJECT_CLASSES):
            own = self.of_class(class_name)
            table[class_id] = [
                0.0 if name == "group" else float(getattr(own, name)) for name in image_tracks.PARAMETERS
            ]
            group = next(number for number, names in enumerate(_CLASS_GROUPS) if class_name in names)
            table[class_id, -1] = {"same": class_id, "group": group, "any": 0}[self.class_gate]
        return table
