"""Makes segmenters by the names that a configuration gives. A new one needs a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from perception.config import SegmentationConfig
from perception.errors import ConfigError
from perception.roles import Detector, InstanceSegmenter, SemanticSegmenter

if TYPE_CHECKING:
    from perception.models.street_network import StreetNetwork

__all__ = ["INSTANCE_SEGMENTERS", "SEMANTIC_SEGMENTERS", "make_instance", "make_semantic"]

_SemanticMaker = Callable[[SegmentationConfig, "StreetNetwork | None", str, int], SemanticSegmenter]
_InstanceMaker = Callable[[SegmentationConfig, "StreetNetwork | None", str, int, "Detector | None"], InstanceSegmenter]


# The imports are inside: a run loads only the libraries that its own choice needs.
def _network_semantic(
    settings: SegmentationConfig, network: StreetNetwork | None, device: str, threads: int
) -> SemanticSegmenter:
    if network is None:
        raise ConfigError('segmentation.semantic = "network": found no network loaded; expected the embedded one')
    from perception.segmentation.network import NetworkSemantic

    return NetworkSemantic(network, labels=settings.labels, refined=settings.refined)


def _expect_plain(settings: SegmentationConfig, chosen: str) -> None:
    if settings.refined:
        raise ConfigError(f"segmentation.refined = true: refines the network alone; expected false with {chosen}")


def _torchvision_semantic(
    settings: SegmentationConfig, network: StreetNetwork | None, device: str, threads: int
) -> SemanticSegmenter:
    chosen = f'segmentation.semantic = "{settings.semantic}"'
    _expect_plain(settings, chosen)
    if settings.labels != "cityscapes":
        raise ConfigError(f'segmentation.labels = "{settings.labels}": expected "cityscapes" with {chosen}')
    from perception.segmentation.torchvision import TorchvisionSemantic

    return TorchvisionSemantic(settings.semantic, settings.semantic_weights, device, threads)


def _network_instances(
    settings: SegmentationConfig,
    network: StreetNetwork | None,
    device: str,
    threads: int,
    detector: Detector | None,
) -> InstanceSegmenter:
    if network is None:
        raise ConfigError('segmentation.instance = "network": found no network loaded; expected the embedded one')
    from perception.segmentation.network import NetworkInstances

    return NetworkInstances(network, refined=settings.refined)


def _maskrcnn(
    settings: SegmentationConfig,
    network: StreetNetwork | None,
    device: str,
    threads: int,
    detector: Detector | None,
) -> InstanceSegmenter:
    _expect_plain(settings, 'segmentation.instance = "maskrcnn"')
    from perception.models.torchvision_detection import TorchvisionDetectionModel
    from perception.segmentation.torchvision import MaskRcnnInstances

    # layers keep this package from knowing the detectors; what matters is the network that one may hold
    model = getattr(detector, "model", None)
    shares = (
        isinstance(model, TorchvisionDetectionModel)
        and model.family == "maskrcnn"
        and settings.instance_weights in ("", model.weights.path)
    )
    return MaskRcnnInstances(settings.instance_weights, device, threads, shared=model if shares else None)


SEMANTIC_SEGMENTERS: dict[str, _SemanticMaker] = {
    "network": _network_semantic,
    "deeplabv3": _torchvision_semantic,
    "lraspp": _torchvision_semantic,
}

INSTANCE_SEGMENTERS: dict[str, _InstanceMaker] = {
    "network": _network_instances,
    "maskrcnn": _maskrcnn,
}


def make_semantic(
    settings: SegmentationConfig, network: StreetNetwork | None = None, device: str = "auto", threads: int = 0
) -> SemanticSegmenter:
    """The semantic segmenter that ``settings.semantic`` names.

    Args:
        settings: of segmentation.
        network: the embedded network, needed for ``network`` only.
        device: as the user gave it: ``auto``, ``cpu`` or ``cuda[:N]``.
        threads: of one forward pass; 0 takes every core.

    Raises:
        ConfigError: the network is needed and missing.
        WeightsError: the weights are missing, damaged or of another architecture.
        DeviceError: a GPU was asked for that is not there.
    """
    return SEMANTIC_SEGMENTERS[settings.semantic](settings, network, device, threads)


def make_instance(
    settings: SegmentationConfig,
    network: StreetNetwork | None = None,
    device: str = "auto",
    threads: int = 0,
    detector: Detector | None = None,
) -> InstanceSegmenter:
    """The instance segmenter that ``settings.instance`` names.

    Args:
        settings: of segmentation.
        network: the embedded network, needed for ``network`` only.
        device: as the user gave it: ``auto``, ``cpu`` or ``cuda[:N]``.
        threads: of one forward pass; 0 takes every core.
        detector: the run's detector; a Mask R-CNN of the same weights then serves both roles with one forward pass.

    Raises:
        ConfigError: the network is needed and missing.
        WeightsError: the weights are missing, damaged or of another architecture.
        DeviceError: a GPU was asked for that is not there.
    """
    return INSTANCE_SEGMENTERS[settings.instance](settings, network, device, threads, detector)
