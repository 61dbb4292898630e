"""Turns ``auto | cpu | cuda | cuda:N`` into a device that is there, without loading torch where none is."""

from __future__ import annotations

import ctypes
import re

from perception.errors import DeviceError

__all__ = ["resolve_device"]


def resolve_device(name: str) -> str:
    """The torch device for a user's ``--device``.

    ``auto`` is the first GPU that torch can use, or ``cpu``. torch takes seconds to load, so it is asked only where
    the CUDA driver itself reports a GPU.

    Returns:
        ``cpu`` or ``cuda:N``.

    Raises:
        DeviceError: the name is unknown, or a GPU was asked for and is absent.
    """
    if name == "cpu":
        return "cpu"
    if name == "auto":
        return "cuda:0" if _driver_gpu_count() > 0 and _torch_gpu_count() > 0 else "cpu"
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise DeviceError(f"device {name!r}: expected auto, cpu, cuda or cuda:N")
    index = int(match.group(1) or 0)
    if _driver_gpu_count() == 0:
        raise DeviceError(f"device {name!r}: found no CUDA driver with a GPU; expected one, or --device cpu")
    count = _torch_gpu_count()
    if count == 0:
        raise DeviceError(f"device {name!r}: this build of torch cannot use the GPU; expected a CUDA build of torch")
    if index >= count:
        raise DeviceError(f"device {name!r}: found {count} GPU(s); expected cuda:0 to cuda:{count - 1}")
    return f"cuda:{index}"


def _driver_gpu_count() -> int:
    """Number of GPUs by the CUDA driver (cuInit, cuDeviceGetCount); 0 without a driver."""
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(library)
        except OSError:
            continue
        count = ctypes.c_int(0)
        if driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
            return count.value
    return 0


def _torch_gpu_count() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0
