from __future__ import annotations

import subprocess
import sys

import pytest

from perception.errors import DeviceError
from perception.models import device
from perception.models.device import resolve_device


@pytest.fixture
def gpus(monkeypatch):
    """Pretends that the driver and torch see so many GPUs."""

    def pretend(driver: int, torch: int) -> None:
        monkeypatch.setattr(device, "_driver_gpu_count", lambda: driver)
        monkeypatch.setattr(device, "_torch_gpu_count", lambda: torch)

    return pretend


@pytest.mark.parametrize(
    ("driver", "torch", "name", "resolved"),
    [
        (0, 0, "cpu", "cpu"),
        (2, 2, "cpu", "cpu"),
        (0, 0, "auto", "cpu"),
        (1, 0, "auto", "cpu"),
        (2, 2, "auto", "cuda:0"),
        (1, 1, "cuda", "cuda:0"),
        (2, 2, "cuda:1", "cuda:1"),
    ],
)
def test_names_resolve_to_what_is_there(gpus, driver, torch, name, resolved):
    gpus(driver, torch)
    assert resolve_device(name) == resolved


@pytest.mark.parametrize(
    ("driver", "torch", "name", "message"),
    [
        (0, 0, "cuda", "found no CUDA driver with a GPU"),
        (1, 0, "cuda", "this build of torch cannot use the GPU"),
        (2, 2, "cuda:2", r"found 2 GPU\(s\); expected cuda:0 to cuda:1"),
        (1, 1, "gpu", "'gpu': expected auto, cpu, cuda or cuda:N"),
        (1, 1, "cuda:", "expected auto"),
        (1, 1, "", "expected auto"),
    ],
)
def test_what_is_not_there_is_refused(gpus, driver, torch, name, message):
    gpus(driver, torch)
    with pytest.raises(DeviceError, match=message):
        resolve_device(name)


def test_the_cpu_needs_no_torch():
    """Without a GPU neither cpu nor auto nor the ONNX detector loads torch, which takes seconds."""
    script = (
        "import sys\n"
        "from perception.models import device\n"
        "device._driver_gpu_count = lambda: 0\n"
        "import perception.detection.onnx, perception.detection.factory, perception.segmentation.factory\n"
        "assert device.resolve_device('cpu') == device.resolve_device('auto') == 'cpu'\n"
        "sys.exit('torch' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
