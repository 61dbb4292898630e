"""Makes detectors by the name that a configuration gives. A new one needs a file and a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from perception.config import DetectionConfig
from perception.errors import ConfigError
from perception.roles import Detector

if TYPE_CHECKING:
    from perception.models.street_network import StreetNetwork

__all__ = ["DETECTORS", "make_detector"]

_Maker = Callable[[DetectionConfig, "StreetNetwork | None", str, int], Detector]


# The imports are inside, since torch takes seconds to load and the ONNX detector does without it.
def _network(settings: DetectionConfig, network: StreetNetwork | None, device: str, threads: int) -> Detector:
    if network is None:
        raise ConfigError('detection.source = "network": found no network loaded; expected the embedded one')
    from perception.detection.network import NetworkDetector

    return NetworkDetector(network, settings)


def _onnx(settings: DetectionConfig, network: StreetNetwork | None, device: str, threads: int) -> Detector:
    from perception.detection.onnx import OnnxDetector

    if not settings.weights:
        raise ConfigError('detection.source = "onnx": found detection.weights empty; expected an ONNX file')
    return OnnxDetector(Path(settings.weights), settings, threads, device)


def _torchvision(settings: DetectionConfig, network: StreetNetwork | None, device: str, threads: int) -> Detector:
    from perception.detection.torchvision import TorchvisionDetector

    return TorchvisionDetector(settings, device, threads)


DETECTORS: dict[str, _Maker] = {
    "network": _network,
    "onnx": _onnx,
    "fasterrcnn": _torchvision,
    "maskrcnn": _torchvision,
    "retinanet": _torchvision,
    "ssdlite": _torchvision,
    "keypointrcnn": _torchvision,
}


def make_detector(
    settings: DetectionConfig, network: StreetNetwork | None = None, device: str = "auto", threads: int = 0
) -> Detector:
    """The detector that ``settings.source`` names.

    Args:
        settings: of detection.
        network: the embedded network, needed for the source ``network`` only.
        device: as the user gave it. ``auto`` lets each library take a GPU where it can use one; a GPU asked for by
            name must be there.
        threads: of one forward pass; 0 takes every core.

    Raises:
        ConfigError: the source lacks what it needs.
        WeightsError: the weights are missing, damaged or of another architecture.
        DeviceError: a GPU was asked for that is not there.
    """
    return DETECTORS[settings.source](settings, network, device, threads)
