"""Settings: TOML over ``configs/default.toml``, read strictly.

``default.toml`` holds every default, so the models below hold none; a key that it lacks is an error of the project, a
key that the models lack is an error of the user and is answered with the nearest known one.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perception.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["Config", "load_config"]

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
PositiveInt = Annotated[int, Field(gt=0)]
Pixels32 = Annotated[int, Field(ge=32, le=4096, multiple_of=32)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ReplayConfig(_Section):
    """The drive loop."""

    deadline_ms: Annotated[float, Field(ge=0.0)]
    decode_ahead_frames: Annotated[int, Field(ge=1, le=256)]


class NetworkConfig(_Section):
    """The embedded multi-task network."""

    weights: str
    backend: Literal["auto", "onnxruntime", "torch"]
    precision: Literal["auto", "fp32", "int8", "bf16"]
    compiled: bool
    input_height_px: Pixels32
    input_width_px: Pixels32
    mirrored: bool
    zooms: Annotated[tuple[Annotated[float, Field(ge=0.25, le=4.0)], ...], Field(min_length=1)]
    threads: Annotated[int, Field(ge=0)]


class DetectionConfig(_Section):
    """Where boxes come from."""

    source: Literal["network", "onnx", "fasterrcnn", "maskrcnn", "retinanet", "ssdlite", "keypointrcnn"]
    weights: str
    score_threshold: Fraction
    nms_iou: Fraction
    max_detections: PositiveInt
    input_height_px: Pixels32
    input_width_px: Pixels32
    merge_riders: bool


class SegmentationConfig(_Section):
    """Where masks come from."""

    semantic: Literal["network", "deeplabv3", "lraspp"]
    semantic_weights: str
    instance: Literal["network", "maskrcnn"]
    instance_weights: str
    labels: Literal["cityscapes", "camvid"]
    refined: bool


class LiftingConfig(_Section):
    """How image detections get a place in 3D."""

    depth: Literal["auto", "lidar", "network", "none"]
    min_points: PositiveInt
    max_range_m: PositiveFloat


class EgoMotionConfig(_Section):
    """Where poses come from."""

    source: Literal["auto", "given", "lidar", "visual", "still"]
    lidar_voxel_m: PositiveFloat
    lidar_max_range_m: PositiveFloat
    visual_features: PositiveInt


class ImageTrackingConfig(_Section):
    """Parts of the image trackers; ``perception.tracking.image_settings`` says what each does."""

    camera_motion: Literal["auto", "poses", "images", "none"]
    motion_model: Literal["similarity", "affine", "homography"]
    appearance: Literal["auto", "embedding", "histogram", "none"]
    low_score: Fraction
    sure_score: NotNegative
    weak_iou: Fraction
    recover_iou: Fraction
    double_iou: Fraction
    direction_weight: NotNegative
    score_weight: NotNegative
    appearance_weight: NotNegative
    buffer: NotNegative
    re_update: bool
    show_coast_frames: Annotated[int, Field(ge=0)]
    tentative_frames: Annotated[int, Field(ge=0)]
    position_std: PositiveFloat
    acceleration_std: PositiveFloat
    size_std: PositiveFloat
    growth_std: PositiveFloat
    refind_s: NotNegative
    refind_reach: PositiveFloat
    refind_similarity: Annotated[float, Field(ge=-1.0, le=1.0)]
    class_gate: Literal["same", "group", "any"]
    max_gap_s: PositiveFloat
    max_objects: PositiveInt
    per_class: tuple[str, ...]


class TrackingConfig(_Section):
    """How objects are followed."""

    tracker: str
    min_score: Fraction
    min_iou: Fraction
    max_coast_frames: Annotated[int, Field(ge=0)]
    min_hits: PositiveInt
    image: ImageTrackingConfig


class MappingConfig(_Section):
    """The bird's-eye map."""

    cell_m: PositiveFloat
    max_range_m: PositiveFloat


class VideoConfig(_Section):
    """video.mp4."""

    enabled: bool
    height_px: Annotated[int, Field(ge=64, le=4320, multiple_of=2)]
    crf: Annotated[int, Field(ge=0, le=51)]


class ReportConfig(_Section):
    """report.html."""

    enabled: bool
    pictures: Annotated[int, Field(ge=0, le=100)]


class SaveConfig(_Section):
    """Per-frame pictures of a stage's output, and masks of tracks."""

    semantic: bool
    instance: bool
    depth: bool
    mots: bool


class Config(_Section):
    """All settings of one run."""

    replay: ReplayConfig
    network: NetworkConfig
    detection: DetectionConfig
    segmentation: SegmentationConfig
    lifting: LiftingConfig
    egomotion: EgoMotionConfig
    tracking: TrackingConfig
    mapping: MappingConfig
    video: VideoConfig
    report: ReportConfig
    save: SaveConfig


def config_folder() -> Path:
    """The folder of the shipped configurations: inside the package when installed, beside it in a checkout."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "configs"


def load_config(file: Path | None = None, overrides: Sequence[str] = ()) -> Config:
    """Reads the defaults, then ``file``, then ``key.path=value`` overrides (values in TOML, bare words as strings).

    Raises:
        ConfigError: a file cannot be read, a key is unknown (the nearest known one is named), or a value is of the
            wrong type or out of range.
    """
    default_file = config_folder() / "default.toml"
    settings = _read_toml(default_file)
    sources = {}
    if file is not None:
        if not file.is_file() and file.parent == Path() and (config_folder() / f"{file.name}.toml").is_file():
            file = config_folder() / f"{file.name}.toml"
        sources.update(_overlay(settings, _read_toml(file), str(file)))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--set {override!r}: expected key.path=value, for example --set detection.nms_iou=0.5")
        nested: dict[str, Any] = {}
        leaf = nested
        *parents, last = key.strip().split(".")
        for parent in parents:
            leaf = leaf.setdefault(parent, {})
        leaf[last] = _parse_value(text.strip())
        sources.update(_overlay(settings, nested, f"--set {override}"))
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        where = sources.get(key, str(default_file))
        raise ConfigError(f"{where}: {key} = {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}") from None


def _read_toml(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read as a configuration: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: expected TOML: {error}") from None
    return content


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _overlay(base: dict[str, Any], change: dict[str, Any], source: str, path: str = "") -> dict[str, str]:
    """Writes ``change`` into ``base`` in place; returns which source set each key."""
    sources: dict[str, str] = {}
    for key, value in change.items():
        full = f"{path}{key}"
        if key not in base:
            known = [f"{path}{name}" for name in base] + (_all_keys(base) if not path else [])
            near = difflib.get_close_matches(full, known, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(sorted(base))}"
            raise ConfigError(f"{source}: unknown key {full}{hint}")
        if isinstance(base[key], dict):
            if not isinstance(value, dict):
                raise ConfigError(f"{source}: {full} is a section with keys {', '.join(base[key])}, not a value")
            sources.update(_overlay(base[key], value, source, f"{full}."))
        else:
            base[key] = value
            sources[full] = source
    return sources


def _all_keys(tree: dict[str, Any], path: str = "") -> list[str]:
    keys: list[str] = []
    for key, value in tree.items():
        keys += _all_keys(value, f"{path}{key}.") if isinstance(value, dict) else [f"{path}{key}"]
    return keys
