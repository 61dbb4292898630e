"""The loop: it learns, it stops at nonsense, it goes on where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from perception.classes import CAMVID_CLASSES, OBJECT_CLASSES
from perception.errors import ConfigError, WeightsError
from perception.training.augment import AugmentSettings
from perception.training.data import Sample
from perception.training.depthwise import fast_depthwise
from perception.training.losses import Targets, box_losses, cue_loss, semantic_losses
from perception.training.street import Batches, class_weights, load_training, make_network
from perception.training.teacher import LabelledBoxes
from perception.training.trainer import MovingAverage, Schedule, TrainingDivergedError, train

CAR = OBJECT_CLASSES.index("car")


def sample(seed: int, drawn: bool = True) -> Sample:
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 120, (96, 128, 3)).astype(np.uint8)
    semantic = np.full((96, 128), CAMVID_CLASSES.index("road"), np.uint8)
    u = int(rng.integers(10, 60))
    image[30:70, u : u + 50] = 240
    semantic[30:70, u : u + 50] = CAMVID_CLASSES.index("car")
    boxes = LabelledBoxes(np.array([[u, 30, u + 50, 70]], np.float32), np.array([CAR]), np.array([False]))
    return Sample(f"toy/{seed}", image, semantic, drawn, boxes, np.ones(len(OBJECT_CLASSES), bool), 1.0)


def toy_batches() -> Batches:
    settings = AugmentSettings(height_px=96, width_px=128, least_scale=1.0, largest_scale=1.0, stretch=1.0)
    return Batches({"toy": [sample(1), sample(2)]}, {"toy": 1.0}, settings, batch=2, seed=0)


@pytest.mark.slow
def test_the_street_network_learns_two_images_by_heart() -> None:
    torch.manual_seed(0)
    network = make_network(None)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    images, targets = toy_batches()(0)
    history = []
    with fast_depthwise():
        for _ in range(25):
            boxes, dense = network(images)
            classes = network.semantic_classes
            losses = torch.stack(
                [
                    *semantic_losses(dense[:, :classes], targets, torch.ones(classes)),
                    *box_losses(boxes, targets),
                    cue_loss(dense[:, classes:], targets),
                ]
            )
            optimizer.zero_grad()
            losses.sum().backward()
            optimizer.step()
            history.append(losses.detach())
    first, last = history[0], history[-1]
    assert last.sum() < 0.35 * first.sum()
    # cross entropy, edges and cues each on their own
    for index in (0, 4, 5):
        assert last[index] < 0.6 * first[index]


def test_batches_are_functions_of_their_number() -> None:
    first, again = toy_batches()(5), toy_batches()(5)
    torch.testing.assert_close(first[0], again[0])
    assert not torch.equal(first[0], toy_batches()(6)[0])


def test_batches_keep_the_shares_and_use_every_sample() -> None:
    settings = AugmentSettings(height_px=32, width_px=32, least_scale=1.0, largest_scale=1.0, stretch=1.0)
    sources = {"a": [sample(index) for index in range(5)], "b": [sample(index, False) for index in range(3)], "c": []}
    batches = Batches(sources, {"a": 3.0, "b": 1.0, "c": 0.0}, settings, batch=8, seed=0)
    drawn = torch.cat([batches(number)[1].semantic_is_drawn for number in range(25)])
    assert abs(drawn.float().mean() - 0.75) < 0.02
    seen = {batches._sample(number).source for number in range(60)}
    assert len(seen) == 5  # both lists hold toy/0 ... toy/2


def test_rare_classes_weigh_more() -> None:
    weights = class_weights([sample(1)])
    road, car, sky = (CAMVID_CLASSES.index(name) for name in ("road", "car", "sky"))
    assert weights[road] < weights[car] < weights[sky]
    share = (sample(1).semantic == road).mean()
    assert abs(float(weights[road] * share + weights[car] * (1 - share)) - 1) < 1e-4


class Line(nn.Module):
    def __init__(self, inputs: int = 1) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, 1)


class Clock:
    """Stands in for ``time``: every look at it is one step of so many minutes."""

    def __init__(self, minutes: float) -> None:
        self.now, self.step = 0.0, minutes * 60

    def monotonic(self) -> float:
        self.now += self.step
        return self.now


def fit(folder: Path, network: Line, minutes: float, log: list[str], spoil_at: int | None = None) -> dict[str, Tensor]:
    def batch_at(step: int) -> tuple[int, Tensor]:
        return step, torch.randn(8, 1, generator=torch.Generator().manual_seed(step))

    def loss_of(batch: tuple[int, Tensor]) -> dict[str, Tensor]:
        step, values = batch
        error = (network.layer(values) - 3 * values - 1).pow(2).mean()
        return {"error": error * float("nan") if step == spoil_at else error}

    return train(
        network,
        [{"params": list(network.parameters()), "lr": 0.1}],
        batch_at,
        loss_of,
        Schedule(minutes, 5),
        folder,
        weight_decay=0.0,
        clip_norm=10.0,
        average=0.9,
        checkpoint_minutes=10.0,
        validate_minutes=1000.0,
        validate=lambda state: {"weight": float(state["layer.weight"])},
        log=log.append,
    )


def test_it_learns_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.training.trainer.time", Clock(1.0))
    torch.manual_seed(1)
    log: list[str] = []
    state = fit(tmp_path, Line(), 100.0, log)
    assert abs(float(state["layer.weight"]) - 3) < 0.1
    assert abs(float(state["layer.bias"]) - 1) < 0.1
    assert any(line.startswith("step 25 ") for line in log)
    assert log[-1].startswith("validation step 100 ")


def test_a_resumed_run_ends_as_one_that_was_never_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for stops in ([100.0], [40.0, 100.0]):
        folder = tmp_path / f"{len(stops)}"
        folder.mkdir()
        log: list[str] = []
        for minutes in stops:
            # a stop is a killed process: the schedule's end stays, the loop is left after a checkpoint
            torch.manual_seed(2)
            monkeypatch.setattr("perception.training.trainer.time", Clock(1.0))
            monkeypatch.setattr(
                Schedule, "factor", lambda self, step, elapsed: min(1.0, step / 5) * (1 - min(1.0, elapsed / 100))
            )
            state = fit(folder, Line(), minutes, log)
        results.append(state)
    assert log[[line.startswith("going on from step 40") for line in log].index(True)]
    for name, value in results[0].items():
        torch.testing.assert_close(results[1][name], value, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_no_number_stops_it_and_keeps_the_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.training.trainer.time", Clock(1.0))
    with pytest.raises(TrainingDivergedError, match=r"step 26: expected a finite loss but got \{'error': nan\}"):
        fit(tmp_path, Line(), 100.0, [], spoil_at=25)
    assert (tmp_path / "last.safetensors").is_file()
    assert not list(tmp_path.glob(".*tmp*"))


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.training.trainer.time", Clock(1.0))
    fit(tmp_path, Line(), 12.0, [])
    with pytest.raises(WeightsError, match=r"last\.safetensors: the checkpoint is of another network"):
        fit(tmp_path, Line(inputs=2), 20.0, [])


def test_the_average_follows_slowly() -> None:
    network = Line()
    mean = MovingAverage(network, 0.9)
    with torch.no_grad():
        network.layer.weight.fill_(10.0)
        mean.state["layer.weight"].fill_(0.0)
    mean.update(network, 1000)
    assert abs(float(mean.state["layer.weight"]) - 1.0) < 1e-5


def test_the_shipped_training_configuration_is_valid(project: Path) -> None:
    settings = load_training(project / "configs" / "train_street.toml")
    assert settings.augment.height_px % 32 == 0


def test_a_wrong_training_configuration_is_refused(project: Path, tmp_path: Path) -> None:
    text = (project / "configs" / "train_street.toml").read_text(encoding="utf-8")
    file = tmp_path / "wrong.toml"
    for change, message in (
        (text.replace("batch = 8", "bach = 8"), r"wrong\.toml: run\.batch: Field required"),
        (text.replace("batch = 8", "batch = 0"), r"wrong\.toml: run\.batch: .*greater than or equal to 1"),
        ("[run", r"wrong\.toml: expected TOML"),
    ):
        file.write_text(change, encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            load_training(file)


def test_targets_hold_what_batches_say() -> None:
    images, targets = toy_batches()(0)
    assert images.shape == (2, 3, 96, 128)
    assert isinstance(targets, Targets)
    assert targets.semantic.dtype == torch.uint8
    assert len(targets.boxes_xyxy) == len(targets.class_ids) == len(targets.ignored) == 2
