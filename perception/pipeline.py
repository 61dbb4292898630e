"""The whole perception of one frame, on one screen: each line one stage, each stage an object of a typed role."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numpy as np

from perception.config import Config
from perception.datasets.drive import DriveInfo
from perception.detection.factory import make_detector
from perception.egomotion.factory import make_egomotion
from perception.egomotion.simple import StandingStill
from perception.geometry import PinholeCamera
from perception.lifting.factory import make_depth, make_lifter
from perception.mapping.birdseye import BirdsEyeMap
from perception.mapping.factory import make_map
from perception.models.weights_used import WeightsUsed
from perception.roles import (
    DepthEstimator,
    Detector,
    EgoMotion,
    InstanceSegmenter,
    Lifter,
    SemanticSegmenter,
    Tracker,
)
from perception.segmentation.factory import make_instance, make_semantic
from perception.tracking.factory import make_tracker
from perception.types import Frame, FrameResult

if TYPE_CHECKING:
    from perception.models.street_network import StreetNetwork

__all__ = ["Pipeline", "build_pipeline"]

Inputs = ParamSpec("Inputs")
Output = TypeVar("Output")


class _StageClock:
    """Runs stages and notes the milliseconds that each took."""

    def __init__(self) -> None:
        self.timings_ms: dict[str, float] = {}
        self._began = time.perf_counter()

    def run(self, stage: str, call: Callable[Inputs, Output], *args: Inputs.args, **kwargs: Inputs.kwargs) -> Output:
        began = time.perf_counter()
        output = call(*args, **kwargs)
        self.timings_ms[stage] = (time.perf_counter() - began) * 1e3
        return output

    def stop(self) -> dict[str, float]:
        self.timings_ms["total"] = (time.perf_counter() - self._began) * 1e3
        return self.timings_ms


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages of one run, in the order of their work.

    Attributes:
        network: the embedded network, whose one forward pass serves several roles; None where no role uses it.
        weights: what the networks' numbers came from, by role.
        device: where the networks run.
        is_sequence: False for unrelated pictures: nothing is carried from one to the next.
        notes: what a user should know of the networks, such as an input size that a model refused.
    """

    egomotion: EgoMotion
    network: StreetNetwork | None
    detector: Detector
    semantic: SemanticSegmenter
    instance: InstanceSegmenter
    depth: DepthEstimator
    lifter: Lifter
    tracker: Tracker
    map_layer: BirdsEyeMap
    weights: Mapping[str, WeightsUsed] = field(default_factory=dict)
    device: str = "cpu"
    is_sequence: bool = True
    notes: tuple[str, ...] = ()

    def process(self, frame: Frame) -> FrameResult:
        """Everything that is perceived in one frame."""
        if not self.is_sequence:
            self.reset()
        clock = _StageClock()
        world_SE3_ego = clock.run("egomotion", self.egomotion.estimate, frame)
        if self.network is not None:
            clock.run("network", self.network.infer, frame)
        detections = clock.run("detection", self.detector.detect, frame)
        semantic = clock.run("semantic", self.semantic.segment, frame)
        instances = clock.run("instance", self.instance.segment, frame, detections, semantic)
        depth = clock.run("depth", self.depth.estimate, frame)
        boxes3d = clock.run("lifting", self.lifter.lift, frame, detections, instances, depth)
        tracks = clock.run("tracking", self.tracker.update, frame, detections, boxes3d, world_SE3_ego)
        clock.run("mapping", self.map_layer.integrate, frame, semantic, depth, tracks, world_SE3_ego)
        timings_ms = clock.stop()
        return FrameResult(frame, detections, semantic, instances, depth, boxes3d, tracks, world_SE3_ego, timings_ms)

    def warm_up(self, camera: PinholeCamera) -> None:
        """Runs once on a blank picture, so that the first frame of a drive does not pay for buffers and tables."""
        blank = np.zeros((camera.height_px, camera.width_px, 3), dtype=np.uint8)
        self.process(Frame(0, "", 0, blank, camera))
        self.reset()

    def reset(self) -> None:
        """Forgets the drive: poses, tracks and map."""
        self.egomotion.reset()
        self.tracker.reset()
        self.map_layer.reset()


def build_pipeline(config: Config, drive: DriveInfo, device: str = "auto", threads: int = 0) -> Pipeline:
    """The pipeline that the settings describe and that the drive can feed.

    Args:
        config: all settings.
        drive: what it will be run on; says whether there are poses and lidar.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, where networks run.
        threads: of one forward pass; 0 takes ``network.threads``, and 0 there every core.

    Raises:
        ConfigError: a stage lacks what it needs.
        DeviceError: a GPU was asked for and is absent.
        WeightsError: weights are missing, damaged or of another architecture.
    """
    has_lidar = any(sensor.startswith("lidar") for sensor in drive.sensors)
    threads = threads or config.network.threads
    network = None
    sources = (config.detection.source, config.segmentation.semantic, config.segmentation.instance)
    if "network" in (*sources, config.lifting.depth):
        from perception.models.street_network import StreetNetwork

        network = StreetNetwork(config.network.model_copy(update={"threads": threads}), device)
    detector = make_detector(config.detection, network, device, threads)
    semantic = make_semantic(config.segmentation, network, device, threads)
    instance = make_instance(config.segmentation, network, device, threads, detector=detector)
    roles = {"network": network, "detection": detector, "semantic": semantic, "instance": instance}
    weights: dict[str, WeightsUsed] = {}
    notes: list[str] = []
    for role, stage in roles.items():
        notes += [note for note in getattr(stage, "notes", ()) if note not in notes]
        for used in getattr(stage, "weights", ()):
            if used not in weights.values():
                weights[role] = used
    egomotion = make_egomotion(
        config.egomotion,
        has_poses=drive.pose_source is not None,
        has_lidar=has_lidar,
        is_sequence=drive.is_sequence,
    )
    return Pipeline(
        egomotion=egomotion,
        network=network,
        detector=detector,
        semantic=semantic,
        instance=instance,
        depth=make_depth(config.lifting, network, has_lidar=has_lidar),
        lifter=make_lifter(config.lifting),
        tracker=make_tracker(config.tracking, has_motion=not isinstance(egomotion, StandingStill)),
        map_layer=make_map(config.mapping),
        weights=weights,
        device=network.device if network is not None else str(getattr(detector, "device", device)),
        is_sequence=drive.is_sequence,
        notes=tuple(notes),
    )
