"""A small simulated drive, made once for all workers, and the program run in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

from perception.cli import main
from sim_data import generate

FRAMES = 8


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def small_drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """KITTI raw layout, 8 frames with lidar, poses and truth; read only."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    folder = shared / "small_drive"
    with FileLock(shared / "small_drive.lock"):
        if not folder.exists():
            aside = shared / "small_drive.partial"
            generate("city", 3, FRAMES, "kitti", aside)
            aside.rename(folder)
    (drive,) = folder.glob("*/*_sync")
    return drive


@pytest.fixture
def copied_drive(small_drive: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(small_drive.parent, tmp_path / "day", ignore=shutil.ignore_patterns("truth"))
    return tmp_path / "day" / small_drive.name


@pytest.fixture
def perceive(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    def run(*arguments: object) -> Ended:
        capfd.readouterr()
        code = 0
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return run
