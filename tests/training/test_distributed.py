"""Two processes with half of the images each take the steps that one process takes with all of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_task import ToyTask, fit, settings

from perception.errors import ConfigError
from perception.training.distributed import joined

PROGRAM = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from toy_task import ToyTask, fit, settings
from perception.training.distributed import joined
with joined("cpu") as world:
    fit(Path(sys.argv[1]), ToyTask(batch=2), settings(run={"batch": 2}, validation={"metric": "score"},
        schedule={"validate_every": 3}), world=world)
    again = ToyTask(batch=2)
    again.spoil, again.spoil_at = "loss", 13
    try:
        fit(Path(sys.argv[1]), again, settings(run={"batch": 2}, schedule={"length": 8}), world=world)
    except Exception as error:
        Path(sys.argv[1], f"error{world.rank}.txt").write_text(f"{type(error).__name__}: {error}")
"""


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


def run_two(folder: Path, project: Path) -> None:
    port = str(free_port())
    processes = []
    for rank in range(2):
        environment = os.environ | {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port, "PYTHONPATH": os.pathsep.join([str(project), str(Path(__file__).parent)]),
        }  # fmt: skip
        processes.append(
            subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], env=environment, stderr=subprocess.PIPE)
        )
    for process in processes:
        _, said = process.communicate(timeout=120)
        assert process.returncode == 0, said.decode()


def test_two_processes_are_one(tmp_path: Path, project: Path) -> None:
    alone = fit(tmp_path / "alone", ToyTask(batch=4), settings())
    run_two(tmp_path / "two", project)
    together = load_file(tmp_path / "two" / "last.safetensors")
    for name, value in alone.items():
        torch.testing.assert_close(together[f"average.{name}"], value, rtol=1e-5, atol=1e-6)
    one, two = ((tmp_path / run / "metrics.csv").read_text(encoding="utf-8") for run in ("alone", "two"))
    assert len([line for line in two.splitlines() if "error" in line]) == len(
        [line for line in one.splitlines() if "error" in line]
    )
    # batch 13 is the second process's half of step 7: both stop, and say whose it was
    errors = [(tmp_path / "two" / f"error{rank}.txt").read_text(encoding="utf-8") for rank in range(2)]
    assert "another process has one that is not" in errors[0]
    assert errors[1].startswith("TrainingDivergedError: step 7: expected a finite loss but got {'error': nan")
    assert "toy/26, toy/27" in errors[1]


def test_a_part_of_an_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match="WORLD_SIZE is 2 but RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT not set"):
        with joined("cpu"):
            pass
