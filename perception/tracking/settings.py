"""Settings of the 3D tracker: one row a class, read strictly from TOML (``configs/trackers/*.toml``)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perception.classes import OBJECT_CLASSES
from perception.config import config_folder
from perception.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["BoxClassSettings", "BoxTrackerSettings", "EgoSettings", "load_box_settings"]

Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class BoxClassSettings(_Section):
    """How objects of one class are seen and how they move; the order is that of the kernel's parameter columns.

    Attributes:
        position_std_m: standard deviation of a detection's position in the plane at range 0.
        position_std_per_m: and its growth with range.
        trust: share of that deviation used when the state is corrected. Errors of one detector on one object hardly
            change from frame to frame, so averaging them gains less than the plain filter believes.
        acceleration_std: m/s^2.
        birth_speed_std: m/s, of a new track.
        newcomer_log_density: log of how many new or false objects appear per m^2: a pair less likely is no pair.
        tail_degrees: degrees of freedom of the residuals' Student-t distribution.
        overlap: a new detection overlapping a track seen in this frame by more (IoU) is its double.
        reach_m: pairs further apart are not considered.
        yaw_std: rad, of a detection.
        yaw_rate_std: rad/sqrt(s), random walk.
        size_std_m: of a detection's sides.
        height_std_m: of a detection's centre above ground.
        climb_std: m/sqrt(s), random walk of height, the vehicle's own pitching included.
        score_scale: log-odds of being right per unit of detection score.
        score_per_m2: log-odds per square metre of range.
        score_offset: log-odds at score 0 and range 0.
        miss_evidence: evidence that a frame without detection takes.
        max_evidence: evidence beyond this is not kept.
        death_evidence: tracks end below this.
        max_coast_frames: frames that an unseen track is kept at most.
        show_evidence: an unseen track is shown from this evidence on,
        show_coast_frames: for so many frames,
        show_visible_share: while so much of its image box lies in the image.
        length_bonus: score for each doubling of a track's detections.
        width_share: width of the object's image outline as a share of its projected box.
        coast_penalty: score that each frame without detection takes, so that a threshold ends gaps before tracks.
        min_giou: pairs whose footprints have a lower generalised IoU are not considered.
        show_overlap: an unseen track that overlaps a seen one by more (IoU) is not shown: solid things do not.
        show_measured: share of the way from the state to the detection at which a seen track's box is shown.
        fill_frames: the longest gap that ``--offline`` fills; the kernels pass over it.
        bonus_doublings: doublings of a track's detections beyond which ``length_bonus`` adds nothing.
        show_length: share of the estimated length at which boxes are shown; labels may be smaller than what a detector
            learnt to say.
        show_width: the same of the width.
    """

    position_std_m: Positive
    position_std_per_m: NotNegative
    trust: Positive
    acceleration_std: Positive
    birth_speed_std: Positive
    newcomer_log_density: float
    tail_degrees: Positive
    overlap: Share
    reach_m: Positive
    yaw_std: Positive
    yaw_rate_std: NotNegative
    size_std_m: Positive
    height_std_m: Positive
    climb_std: NotNegative
    score_scale: Positive
    score_per_m2: float
    score_offset: float
    miss_evidence: NotNegative
    max_evidence: Positive
    death_evidence: float
    max_coast_frames: NotNegative
    show_evidence: float
    show_coast_frames: NotNegative
    show_visible_share: Share
    length_bonus: NotNegative
    width_share: Annotated[float, Field(gt=0.0, le=1.0)]
    coast_penalty: NotNegative
    min_giou: Annotated[float, Field(ge=-1.0, le=1.0)]
    show_overlap: Share
    show_measured: Share
    fill_frames: NotNegative
    bonus_doublings: NotNegative
    show_length: Positive
    show_width: Positive


class EgoSettings(_Section):
    """How the vehicle itself moves, where no poses are given and its motion is estimated from the detections.

    Attributes:
        speed_std: m/s, of the unknown speed at the start; likewise ``side_speed_std`` across and ``yaw_rate_std``
            (rad/s).
        acceleration_std: m/s^2 along; likewise across and ``yaw_acceleration_std`` (rad/s^2).
        tail_degrees: degrees of freedom of the residuals' Student-t distribution.
        straightening: 1/s, rate at which the yaw rate decays where nothing tells of it. Objects that all move alike
            say nothing of the vehicle's own turning, and what little they seem to say would add up.
    """

    speed_std: Positive
    side_speed_std: Positive
    yaw_rate_std: Positive
    acceleration_std: Positive
    side_acceleration_std: Positive
    yaw_acceleration_std: Positive
    tail_degrees: Positive
    straightening: NotNegative


class BoxTrackerSettings(_Section):
    """Everything that the 3D tracker needs.

    Attributes:
        score_unit: what detection scores are: ``logit`` (any number) or ``probability``, which is turned into log-odds.
        max_gap_s: a longer step in time ends all tracks.
        max_objects: most detections used in a frame.
        ego: motion of the vehicle.
        classes: by name from ``OBJECT_CLASSES``.
        min_score: track score per class for ``perceive track --min-score auto``.
        offline_min_score: the same after ``--offline``.
        offline_drawn_out_frames: frames by which ``--offline`` draws out both ends of a trajectory.
    """

    score_unit: Literal["logit", "probability"]
    max_gap_s: Positive
    max_objects: Annotated[int, Field(gt=0)]
    ego: EgoSettings
    classes: dict[str, BoxClassSettings]
    min_score: dict[str, float]
    offline_min_score: dict[str, float]
    offline_drawn_out_frames: Annotated[int, Field(ge=0)]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Order of the parameter rows."""
        return tuple(self.classes)

    def parameters(self) -> npt.NDArray[np.float64]:
        """(classes, columns) for the kernels."""
        return np.array([list(row.model_dump().values()) for row in self.classes.values()], dtype=np.float64)


def load_box_settings(name_or_file: str | Path = "pointrcnn") -> BoxTrackerSettings:
    """Reads a tracker's settings: a name from ``configs/trackers`` or a TOML file.

    Raises:
        ConfigError: the file cannot be read, or a key is missing, unknown or out of range.
    """
    file = Path(name_or_file)
    if not file.suffix:
        file = config_folder() / "trackers" / f"{name_or_file}.toml"
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(sorted(path.stem for path in (config_folder() / "trackers").glob("*.toml")))
        raise ConfigError(f"{file}: cannot be read as tracker settings: {error.strerror}; shipped: {known}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: expected TOML: {error}") from None
    try:
        settings = BoxTrackerSettings.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"][0].lower() + first["msg"][1:]
        raise ConfigError(f"{file}: {key} = {first['input']!r}: {message}") from None
    for name in (*settings.classes, *settings.min_score, *settings.offline_min_score):
        if name not in OBJECT_CLASSES:
            raise ConfigError(f"{file}: classes.{name}: expected one of {', '.join(OBJECT_CLASSES)}")
    return settings
