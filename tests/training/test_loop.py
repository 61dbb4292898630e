"""The loop: it learns, goes on as if never stopped, and stops at nonsense with the last good checkpoint kept."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_task import ToyTask, fit, settings

from perception.errors import ConfigError, OutputError, WeightsError
from perception.training import checkpoints as checkpoints_module
from perception.training.checkpoints import Checkpoints
from perception.training.task import TrainingDivergedError, TrainingInterruptedError

OPTIMIZERS: list[dict[str, Any]] = [
    {"kind": "sgd", "nesterov": True, "rate": 0.1},
    {"kind": "sgd", "momentum": 0.0, "rate": 0.1},
    {"kind": "adam"},
    {"kind": "adamw", "betas": (0.8, 0.95)},
    {"kind": "rmsprop", "rate": 0.01},
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: "-".join(map(str, each.values())))
def test_each_optimizer_learns(tmp_path: Path, optimizer: dict[str, Any]) -> None:
    chosen = settings(optimizer=optimizer, schedule={"length": 60, "checkpoint_every": 60}, run={"log_every": 1})
    fit(tmp_path, ToyTask(batch=8), chosen)
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        errors = [float(row["value"]) for row in csv.DictReader(file) if row["name"] == "error"]
    assert len(errors) == 60
    assert sum(errors[-5:]) < 0.3 * sum(errors[:5])


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda each: "-".join(map(str, each.values())))
@pytest.mark.parametrize("schedule", ["cosine", "plateau"])
def test_six_steps_are_three_and_three(tmp_path: Path, optimizer: dict[str, Any], schedule: str) -> None:
    chosen = settings(
        optimizer=optimizer,
        schedule={"kind": schedule, "validate_every": 1, "patience": 0},
        validation={"metric": "score"},
        run={"accumulate": 2},
    )
    whole, parts = ToyTask(), ToyTask()
    whole.metrics = parts.metrics = [2.0, 1.0, 0.5, 3.0, 2.0]
    at_once = fit(tmp_path / "whole", whole, chosen)
    parts.stop_after = 5  # the second pass of the third step
    with pytest.raises(TrainingInterruptedError) as stopped:
        fit(tmp_path / "parts", parts, chosen)
    assert stopped.value.step == 3
    parts.stop_after = None
    again = ToyTask(seed=99)
    again.metrics, again.validations = parts.metrics, parts.validations
    lines: list[str] = []
    resumed = fit(tmp_path / "parts", again, chosen, lines)
    assert "going on from step 3" in lines[0]
    assert not any("no longer" in line for line in lines)
    assert at_once.keys() == resumed.keys()
    for name, value in at_once.items():
        assert torch.equal(value, resumed[name]), name
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name
    if schedule == "plateau":
        tables = [
            (tmp_path / run / "metrics.csv").read_text(encoding="utf-8").splitlines() for run in ("whole", "parts")
        ]
        scores = [[line.split(",")[0] + line.split(",")[-1] for line in table if "score" in line] for table in tables]
        assert scores[0] == scores[1]


def test_accumulated_passes_are_one_large_one(tmp_path: Path) -> None:
    large = fit(tmp_path / "large", ToyTask(batch=4), settings())
    small = fit(tmp_path / "small", ToyTask(batch=2), settings(run={"batch": 2, "accumulate": 2}))
    for name, value in large.items():
        torch.testing.assert_close(small[name], value, rtol=1e-4, atol=1e-5)


def test_half_precision_stays_near(tmp_path: Path) -> None:
    full = fit(tmp_path / "full", ToyTask(), settings())
    half = fit(tmp_path / "half", ToyTask(), settings(run={"precision": "bf16"}))
    differences = [float((half[name] - value).abs().max()) for name, value in full.items()]
    assert 0 < max(differences) < 0.15


def test_batches_made_ahead_are_the_same(tmp_path: Path) -> None:
    plain = fit(tmp_path / "plain", ToyTask(), settings())
    ahead = fit(tmp_path / "ahead", ToyTask(), settings(run={"workers": 2}))
    assert all(torch.equal(value, ahead[name]) for name, value in plain.items())


@pytest.mark.parametrize("spoil", ["loss", "gradient"])
def test_what_is_no_number_stops_it_and_keeps_the_checkpoint(tmp_path: Path, spoil: str) -> None:
    task = ToyTask()
    task.spoil, task.spoil_at = spoil, 4
    with pytest.raises(TrainingDivergedError) as caught:
        fit(tmp_path, task)
    assert str(caught.value).startswith("step 5: expected")
    assert "the step saw toy/16, toy/17, toy/18, toy/19; the checkpoint of step 4 is kept" in str(caught.value)
    state = Checkpoints(tmp_path, "toy-1").load_last("AdamW")
    assert state is not None
    assert state.progress["step"] == 4
    assert all(torch.isfinite(value).all() for value in state.network.values())
    assert not list(tmp_path.glob(".*tmp*"))


def test_a_full_disk_keeps_the_last_checkpoint_and_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoints_module.save_file
    written = []

    def full(tensors: Any, file: Path, metadata: dict[str, str]) -> None:
        step = json.loads(metadata["progress"])["step"]
        if step == 4:
            file.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        written.append(step)
        real(tensors, file, metadata=metadata)

    monkeypatch.setattr(checkpoints_module, "save_file", full)
    lines: list[str] = []
    task = ToyTask()
    task.spoil, task.spoil_at = "loss", 5
    with pytest.raises(TrainingDivergedError):
        fit(tmp_path, task, lines=lines)
    assert any("could not be written: No space left on device; the one before is kept" in line for line in lines)
    state = Checkpoints(tmp_path, "toy-1").load_last("AdamW")
    assert state is not None
    assert state.progress["step"] == 2
    assert not list(tmp_path.glob(".*tmp*"))
    fit(tmp_path, ToyTask(), settings(schedule={"checkpoint_every": 3}))
    assert written == [2, 3, 6]


def test_a_write_that_the_system_cuts_short_keeps_the_one_before(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    task = ToyTask()
    fit(tmp_path, task)
    before = (tmp_path / "last.safetensors").read_bytes()
    store = Checkpoints(tmp_path, "toy-1")
    average = {name: value.clone() for name, value in task.network.state_dict().items()}
    progress = {"step": 7, "elapsed_minutes": 1.0, "metrics": {}}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(
            OutputError, match=r"last\.safetensors: the checkpoint could not be written: .*File too large"
        ):
            store.save_last(task.network, average, torch.optim.SGD(task.network.parameters()), progress)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert not list(tmp_path.glob(".*tmp*"))


def test_a_run_whose_end_cannot_be_written_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: Any, file: Path, metadata: dict[str, str]) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints_module, "save_file", full)
    with pytest.raises(OutputError, match=r"last\.safetensors: the checkpoint could not be written: No space left"):
        fit(tmp_path, ToyTask())


def test_early_stopping_ends_a_run_and_keeps_the_best(tmp_path: Path) -> None:
    chosen = settings(
        schedule={"length": 60, "validate_every": 2, "checkpoint_every": 10},
        validation={"metric": "score", "mode": "min", "stop": {"patience": 2, "least_gain": 0.1}},
    )
    task = ToyTask()
    task.metrics = [3.0, 2.0, 1.95, 2.5, 1.0]
    lines: list[str] = []
    fit(tmp_path, task, chosen, lines)
    assert task.validations == 4
    assert "score has not been better for 2 validations: stop" in lines[-1]
    best = json.loads((tmp_path / "best.json").read_text(encoding="utf-8"))
    assert (best["step"], best["metrics"]) == (6, {"score": 1.95})
    assert best["data"] == "toy"
    # asked to go on it does nothing
    again = ToyTask()
    fit(tmp_path, again, chosen)
    assert again.validations == 0


def test_a_plateau_lowers_the_rates(tmp_path: Path) -> None:
    chosen = settings(
        schedule={"kind": "plateau", "length": 8, "validate_every": 1, "patience": 1, "gamma": 0.5, "warmup_steps": 0},
        validation={"metric": "score"},
        run={"log_every": 1},
    )
    task = ToyTask()
    task.metrics = [2.0, 1.0, 1.5, 3.0, 1.0, 1.0, 1.0, 1.0]
    fit(tmp_path, task, chosen)
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        rates = [float(row["value"]) for row in csv.DictReader(file) if row["name"] == "rate"]
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_a_metric_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"validation\.metric = 'mIoU': the validation gave score"):
        fit(tmp_path, ToyTask(), settings(validation={"metric": "mIoU"}))


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    fit(tmp_path, ToyTask())
    with pytest.raises(WeightsError, match=r"found the state of AdamW; expected SGD"):
        fit(tmp_path, ToyTask(), settings(optimizer={"kind": "sgd"}))
    with pytest.raises(WeightsError, match=r"last\.safetensors: the checkpoint is of another network: .*backbone"):
        fit(tmp_path, ToyTask(inputs=3))
    with pytest.raises(WeightsError, match=r"found a checkpoint of architecture toy-1; expected street-lite0-1"):
        Checkpoints(tmp_path, "street-lite0-1").load_last("AdamW")
    file = tmp_path / "last.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(WeightsError, match="the checkpoint is damaged"):
        fit(tmp_path, ToyTask())
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match="expected a safetensors checkpoint"):
        fit(tmp_path, ToyTask())


def test_a_checkpoint_with_other_frozen_layers_is_refused(tmp_path: Path) -> None:
    task = ToyTask()
    fit(tmp_path, task)
    state = Checkpoints(tmp_path, "toy-1").load_last("AdamW")
    assert state is not None
    learning = list(task.network.parameters())
    assert len(learning) > 2
    for fewer in (learning[1:], learning[:1]):
        with pytest.raises(WeightsError, match=r"of those that learn; expected .*optimizer\.frozen"):
            state.load_optimizer(torch.optim.AdamW(fewer))


def test_a_run_that_goes_on_with_other_settings_says_so(tmp_path: Path) -> None:
    fit(tmp_path, ToyTask())
    lines: list[str] = []
    fit(tmp_path, ToyTask(), settings(schedule={"length": 8}), lines)
    assert any("schedule.length was 6.0 and is 8.0: this is no longer the run it was" in line for line in lines)


def test_rows_of_steps_that_are_done_again_are_dropped(tmp_path: Path) -> None:
    task = ToyTask()
    task.spoil, task.spoil_at = "loss", 3
    one = settings(run={"log_every": 1})
    with pytest.raises(TrainingDivergedError):
        fit(tmp_path, task, one)
    fit(tmp_path, ToyTask(), one)
    with (tmp_path / "metrics.csv").open(encoding="utf-8") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["name"] == "error"]
    assert steps == [1, 2, 3, 4, 5, 6]


def test_tensorboard_is_asked_for_by_name_when_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(ConfigError, match=r"pip install 'drive-perception\[train\]'"):
        fit(tmp_path, ToyTask(), settings(run={"tensorboard": True}))


def test_tensorboard_reads_what_was_logged(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(tmp_path, ToyTask(), settings(run={"tensorboard": True}))
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("train/error")] == [2, 4, 6]
