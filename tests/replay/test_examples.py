"""Every example runs."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np


def test_every_example_is_tested(project: Path) -> None:
    assert {file.name for file in (project / "examples").glob("*.py")} == {"own_detector.py", "map_without_video.py"}


def test_own_detector(project: Path, small_drive: Path) -> None:
    example = runpy.run_path(str(project / "examples/own_detector.py"))
    assert example["main"](str(small_drive), frames=3) == 3


def test_map_without_video(project: Path, small_drive: Path, tmp_path: Path) -> None:
    example = runpy.run_path(str(project / "examples/map_without_video.py"))
    example["main"](str(small_drive), tmp_path, frames=3)
    assert float(np.load(tmp_path / "bev.npz")["cell_m"]) == 0.1
