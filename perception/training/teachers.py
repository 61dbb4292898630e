"""Makes the teachers that a configuration names."""

from __future__ import annotations

from pathlib import Path

from perception.config import load_config
from perception.detection.factory import make_detector
from perception.errors import ConfigError, WeightsError
from perception.models.street_network import StreetNetwork
from perception.segmentation.factory import make_semantic
from perception.training.distill import NetworkSoftTeacher, RoleSoftTeacher, SoftTeacher
from perception.training.settings import TeacherSettings
from perception.training.teacher import BoxTeacher, Finder, RoleFinder, YoloxFinder

__all__ = ["make_box_teacher", "make_soft_teacher"]

_MOST_BOXES = 300


def make_box_teacher(settings: TeacherSettings, data: Path, cache: Path | None, threads: int) -> BoxTeacher:
    """The detector that labels images.

    Args:
        settings: of the teachers.
        data: folder that paths of weights start from.
        cache: folder for labels, kept from run to run.
        threads: of one pass; 0 takes every core.

    Raises:
        ConfigError: no weights are named where they are needed.
        WeightsError: the weights are missing or damaged.
    """
    find: Finder
    weights = _file_or_name(settings.weights, data)
    if settings.detector == "yolox":
        if not settings.weights:
            raise ConfigError('teacher.detector = "yolox": teacher.weights is empty; expected an ONNX file')
        if not Path(weights).is_file():
            raise WeightsError(f"{weights}: found no such file; expected a YOLOX network for teacher.weights")
        find = YoloxFinder(Path(weights), threads)
    else:
        overrides = [
            f'detection.source="{settings.detector}"',
            f"detection.score_threshold={settings.doubtful}",
            f"detection.max_detections={_MOST_BOXES}",
        ]
        key = "network.weights" if settings.detector == "network" else "detection.weights"
        config = load_config(None, [*overrides, *([f'{key}="{weights}"'] if weights else [])])
        network = StreetNetwork(config.network, "auto") if settings.detector == "network" else None
        name = f"{settings.detector} {network.weights_sha256 if network else weights}"
        find = RoleFinder(make_detector(config.detection, network, "auto", threads), name)
    return BoxTeacher(find, cache, sure=settings.sure, doubtful=settings.doubtful)


def make_soft_teacher(settings: TeacherSettings, data: Path, threads: int) -> SoftTeacher | None:
    """The segmenter that softly labels pixels, or None where none is named.

    Raises:
        WeightsError: the weights are missing or damaged.
    """
    if not settings.segmenter:
        return None
    weights = _file_or_name(settings.segmenter_weights, data)
    if settings.segmenter == "network":
        config = load_config(None, [f'network.weights="{weights}"'] if weights else [])
        return NetworkSoftTeacher(StreetNetwork(config.network, "auto"))
    config = load_config(
        None, [f'segmentation.semantic="{settings.segmenter}"', f'segmentation.semantic_weights="{weights}"']
    )
    return RoleSoftTeacher(make_semantic(config.segmentation, None, "auto", threads))


def _file_or_name(weights: str, data: Path) -> str:
    return str(data / weights) if weights and (data / weights).is_file() else weights
