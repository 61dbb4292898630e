"""Simulated drives with exact ground truth.

``generate`` writes a drive in the KITTI raw layout; ``stream`` yields frames with their truth in memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim_data.drives import generate
    from sim_data.rigs import load_rig, rig_names
    from sim_data.scenario import list_scenarios
    from sim_data.simulation import SimFrame, stream

__all__ = ["SimFrame", "generate", "list_scenarios", "load_rig", "rig_names", "stream"]

_HOMES = {
    "generate": "sim_data.drives", "load_rig": "sim_data.rigs", "rig_names": "sim_data.rigs",
    "list_scenarios": "sim_data.scenario",
    "SimFrame": "sim_data.simulation", "stream": "sim_data.simulation",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Imports a part on first use: compiling the kernels takes a moment that nobody else should wait for."""
    if name not in _HOMES:
        raise AttributeError(f"module 'sim_data' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
