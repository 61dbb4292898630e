"""The street network's training put together: batches, configuration, and a whole short run from the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from perception.classes import CAMVID_CLASSES, OBJECT_CLASSES
from perception.cli.app import main
from perception.config import load_config
from perception.errors import ConfigError
from perception.models.street_network import StreetNetwork
from perception.training.augment import AugmentSettings
from perception.training.batches import Batches, class_weights
from perception.training.depthwise import fast_depthwise
from perception.training.labels import LabelledBoxes, Sample
from perception.training.losses import Targets, box_losses, cue_loss, semantic_losses
from perception.training.settings import OptimizerSettings
from perception.training.sources import Source
from perception.training.street import make_network
from perception.training.street_config import load_training
from perception.types import Frame

CAR = OBJECT_CLASSES.index("car")
PLAIN = AugmentSettings(height_px=96, width_px=128, least_scale=1.0, largest_scale=1.0)


def sample(seed: int, label_set: str = "camvid") -> Sample:
    rng = np.random.default_rng(seed)
    image = rng.integers(60, 120, (96, 128, 3)).astype(np.uint8)
    semantic = np.full((96, 128), CAMVID_CLASSES.index("road"), np.uint8)
    u = int(rng.integers(10, 60))
    image[30:70, u : u + 50] = 240
    semantic[30:70, u : u + 50] = CAMVID_CLASSES.index("car")
    boxes = LabelledBoxes(np.array([[u, 30, u + 50, 70]], np.float32), np.array([CAR]), np.array([False]))
    return Sample(f"toy/{label_set}/{seed}", image, semantic, label_set, boxes, np.ones(len(OBJECT_CLASSES), bool), 1.0)


def source(name: str, share: float, samples: list[Sample], together: int = 1) -> Source:
    return Source(name, "toy", share, samples, together)


def toy_batches(batch: int = 2, settings: AugmentSettings = PLAIN) -> Batches:
    return Batches([source("toy", 1.0, [sample(1), sample(2)])], settings, batch, seed=0)


@pytest.mark.slow
def test_the_street_network_learns_two_images_by_heart() -> None:
    torch.manual_seed(0)
    network = make_network()
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    batch = toy_batches()(0)
    history = []
    with fast_depthwise():
        for _ in range(25):
            boxes, semantic, dense = network(batch.images)
            of_boxes = box_losses(boxes, batch.targets)
            losses = {
                "semantic": semantic_losses(semantic, batch.targets, {"camvid": torch.ones(len(CAMVID_CLASSES))})[0],
                "classes": of_boxes["classes"],
                "edges": of_boxes["edges"],
                "cue": cue_loss(dense[:, :4], batch.targets),
            }
            optimizer.zero_grad()
            torch.stack(list(losses.values())).sum().backward()
            optimizer.step()
            history.append({name: value.item() for name, value in losses.items()})
    first, last = history[0], history[-1]
    assert sum(last.values()) < 0.4 * sum(first.values())
    for name in ("semantic", "edges", "cue"):
        assert last[name] < 0.6 * first[name], name


def test_batches_are_functions_of_their_number() -> None:
    first, again = toy_batches()(5), toy_batches()(5)
    torch.testing.assert_close(first.images, again.images)
    assert not torch.equal(first.images, toy_batches()(6).images)


def test_a_view_depends_on_its_place_in_the_run_only() -> None:
    strays = PLAIN.model_copy(update={"largest_scale": 2.0, "mosaic": 0.5, "copy_paste": 0.5, "weather": 0.5})
    large, small = toy_batches(4, strays)(1), [toy_batches(2, strays)(number) for number in (2, 3)]
    np.testing.assert_array_equal(large.images_rgb, np.concatenate([batch.images_rgb for batch in small]))
    assert large.names == small[0].names + small[1].names


def test_batches_keep_the_shares_and_use_every_sample() -> None:
    tiny = AugmentSettings(height_px=32, width_px=32, least_scale=1.0, largest_scale=1.0)
    sources = [
        source("a", 3.0, [sample(index) for index in range(5)]),
        source("b", 1.0, [sample(index, "boxes") for index in range(3)]),
        source("c", 0.0, [sample(9)]),
    ]
    batches = Batches(sources, tiny, batch=8, seed=0)
    assert batches.images_per_epoch == 8
    names = [name for number in range(25) for name in batches(number).names]
    assert abs(np.mean(["camvid" in name for name in names]) - 0.75) < 0.02
    assert len(set(names)) == 8
    with pytest.raises(ConfigError, match="at least one with a share above 0"):
        Batches(sources[2:], tiny, batch=8, seed=0)


def test_neighbours_are_drawn_together_where_objects_are_known_again() -> None:
    batches = Batches([source("drive", 1.0, [sample(index) for index in range(6)], 2)], PLAIN, batch=2, seed=0)
    for number in range(9):
        first, second = (int(name.rsplit("/", 1)[1]) for name in batches(number).names)
        assert second == first + 1


def test_rare_classes_weigh_more() -> None:
    toy = [source("toy", 1.0, [sample(1), sample(3, "boxes")])]
    weights = class_weights(toy)
    assert weights.keys() == {"camvid"}
    road, car, sky = (CAMVID_CLASSES.index(name) for name in ("road", "car", "sky"))
    assert weights["camvid"][road] < weights["camvid"][car] < weights["camvid"][sky]
    share = (sample(1).semantic == road).mean()
    assert abs(float(weights["camvid"][road] * share + weights["camvid"][car] * (1 - share)) - 1) < 1e-4


def test_targets_hold_what_batches_say() -> None:
    batch = toy_batches()(0)
    assert batch.images.shape == (2, 3, 96, 128)
    assert isinstance(batch.targets, Targets)
    assert batch.targets.semantic.dtype == torch.uint8
    assert len(batch.targets.boxes_xyxy) == len(batch.targets.class_ids) == len(batch.targets.ignored) == 2


@pytest.mark.parametrize("name", ["train_street", "train_own_data"])
def test_the_shipped_training_configurations_are_valid(project: Path, name: str) -> None:
    settings = load_training(project / "configs" / f"{name}.toml")
    assert settings.augment.height_px % 32 == 0
    assert isinstance(settings.optimizer, OptimizerSettings)
    network = make_network()
    for part in settings.optimizer.frozen:
        assert any(name.startswith(f"{part}.") for name, _ in network.named_parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("batch = 8", "bach = 8"), r"wrong\.toml: run\.batch: Field required"),
        (("seed = 7", "seet = 7"), r"run\.seet: Extra inputs are not permitted; did you mean seed\?"),
        (("batch = 8", "batch = 0"), r"wrong\.toml: run\.batch: .*greater than or equal to 1"),
        (('layout = "drive"', 'layout = "driven"'), r"source\.2: .*'driven'.*'drive'"),
        (('name = "kitti_raw"', 'name = "camvid"'), r"every source needs a name of its own"),
        (("classes = 1.0", "classes = 1.0\ntaught = 1.0"), r"loss\.taught needs teacher\.segmenter"),
    ],
)
def test_a_wrong_training_configuration_is_refused(
    project: Path, tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    text = (project / "configs" / "train_street.toml").read_text(encoding="utf-8")
    file = tmp_path / "wrong.toml"
    assert change[0] in text
    file.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ConfigError, match=message):
        load_training(file)


def test_single_settings_go_over_the_file(project: Path, tmp_path: Path) -> None:
    file = project / "configs" / "train_street.toml"
    settings = load_training(file, ["run.batch=3", "source.1.share=0", 'optimizer.kind="sgd"', "run.precision=bf16"])
    assert (settings.run.batch, settings.source[1].share, settings.optimizer.kind) == (3, 0.0, "sgd")
    assert settings.run.precision == "bf16"
    with pytest.raises(ConfigError, match=r"--set 'run\.batch': expected key\.path=value"):
        load_training(file, ["run.batch"])
    with pytest.raises(ConfigError, match=r"source\.9\.share leads nowhere"):
        load_training(file, ["source.9.share=1"])
    broken = tmp_path / "broken.toml"
    broken.write_text("[run", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.toml: expected TOML"):
        load_training(broken)


CONFIG = """
[run]
batch = 2
threads = 1
precision = "fp32"
log_every = 1
[schedule]
unit = "steps"
length = 2
checkpoint_every = 1
[optimizer]
rate = 1e-3
average = 0.9
frozen = ["backbone"]
[validation]
metric = "mIoU"
[augment]
height_px = 64
width_px = 96
least_scale = 0.8
largest_scale = 1.2
[loss]
semantic = 1.0
lovasz = 0.5
derived = 0.1
classes = 1.0
edges = 1.0
cue = 0.3
depth = 1.0
solid = 0.2
identity = 0.2
[[source]]
name = "small"
layout = "camvid"
[[validate_on]]
name = "small"
layout = "camvid"
split = "val"
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """CamVid's layout with two images a split, and a configuration beside it."""
    for split in ("train", "val"):
        for seed in range(2):
            drawn = sample(seed)
            for folder, content in ((split, drawn.image_rgb), (f"{split}annot", drawn.semantic)):
                (tmp_path / "data" / folder).mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(tmp_path / "data" / folder / f"{seed}.png"), content)
    (tmp_path / "small.toml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


def perceive_train(root: Path, *more: str) -> int:
    command = ["train", str(root / "small.toml"), "--data", str(root / "data"), "--out", str(root / "run"), *more]
    with pytest.raises(SystemExit) as left:
        main(command)
    return int(left.value.code or 0)


def test_a_run_gives_weights_that_the_pipeline_takes(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert perceive_train(small, "--json", str(small / "metrics.json")) == 0
    said = capsys.readouterr()
    assert said.out.strip() == str(small / "run")
    assert "training: small 2" in said.err
    assert "validation step 2" in said.err
    manifest = json.loads((small / "run" / "best.json").read_text(encoding="utf-8"))
    metrics = json.loads((small / "metrics.json").read_text(encoding="utf-8"))["metrics"]
    assert manifest["metrics"] == metrics
    assert "mIoU" in metrics
    assert manifest["data"] == "small (camvid, 2 images)"
    assert manifest["config"]["schedule"]["length"] == 2.0
    assert manifest["command"] == "perceive train small.toml --data DATA --out OUT"
    config = load_config(None, [f'network.weights="{small / "run" / "best.safetensors"}"'])
    found = StreetNetwork(config.network, "cpu").infer(Frame(0, "0", 0, sample(1).image_rgb))
    assert np.isfinite(found.boxes).all()

    # a run is never overwritten by accident, goes on where it was, and begins anew if told to
    assert perceive_train(small) == 2
    assert "holds a run already (last.safetensors); give --resume" in capsys.readouterr().err
    assert perceive_train(small, "--resume", "--set", "schedule.length=3") == 0
    assert "going on from step 2" in capsys.readouterr().err
    assert perceive_train(small, "--overwrite", "--quiet", "--set", "schedule.length=1") == 0
    assert capsys.readouterr().err == ""
    last = json.loads((small / "run" / "last.json").read_text(encoding="utf-8"))
    assert last["step"] == 1

    # its weights begin another run; of other parts only the named ones are left out
    more = ["--overwrite", "--set", f"init.weights={small / 'run' / 'best.safetensors'}"]
    begun = small / "begun.safetensors"
    begun.write_bytes((small / "run" / "best.safetensors").read_bytes())
    more[-1] = f"init.weights={begun}"
    assert perceive_train(small, *more, "--set", "schedule.length=1", "--set", 'init.skip=["box_heads"]') == 0
    said_again = capsys.readouterr().err
    assert "skipped: box_heads.0." in said_again
    torch.save({"weight": torch.zeros(1)}, begun)
    assert perceive_train(small, *more) == 2
    assert "found a pickle, which can run code" in capsys.readouterr().err
    assert perceive_train(small, *more, "--allow-pickle") == 2
    assert "begun.safetensors: found weight; expected names such as backbone" in capsys.readouterr().err


def test_bad_input_is_one_line(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert perceive_train(small, "--resume") == 2
    assert "found no last.safetensors to go on from" in capsys.readouterr().err
    (small / "data" / "trainannot" / "1.png").unlink()
    assert perceive_train(small) == 2
    assert "trainannot/1.png: expected class ids of 128x96 pixels" in capsys.readouterr().err
    assert perceive_train(small, "--set", "optimizer.frozen=['backbne']") == 2
    assert perceive_train(small, "--set", "source.0.path=nowhere") == 2
    assert "nowhere/train: expected a folder of images" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupted_run_goes_on(small: Path, project: Path) -> None:
    command = [
        sys.executable, "-m", "perception", "train", str(small / "small.toml"), "--data", str(small / "data"),
        "--out", str(small / "run"), "--set", "schedule.length=100000",
    ]  # fmt: skip
    process = subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if "step 2 " in line:
            process.terminate()
            break
    rest = process.communicate(timeout=240)[1]
    assert process.returncode == 130, said
    assert "go on with --resume" in rest
    step = json.loads((small / "run" / "last.json").read_text(encoding="utf-8"))["step"]
    assert perceive_train(small, "--resume", "--quiet", "--set", f"schedule.length={step + 1}") == 0
    assert json.loads((small / "run" / "last.json").read_text(encoding="utf-8"))["step"] == step + 1


def test_a_run_with_another_backbone_gives_weights_and_their_graph(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    backbone = ["--set", "network.backbone=mobilenet_v3_small"]
    assert perceive_train(small, *backbone) == 2
    assert "network.backbone_weights is empty" in capsys.readouterr().err
    assert (
        perceive_train(small, *backbone, "--set", "network.backbone_weights=random", "--set", "init.imagenet=true") == 2
    )
    assert "contradicts init.imagenet" in capsys.readouterr().err
    assert perceive_train(small, *backbone, "--set", "network.backbone_weights=random", "--overwrite") == 0
    manifest = json.loads((small / "run" / "best.json").read_text(encoding="utf-8"))
    assert manifest["architecture"] == "street-mobilenet_v3_small-2"
    config = load_config(None, [f'network.weights="{small / "run" / "best.safetensors"}"'])
    found = StreetNetwork(config.network, "cpu").infer(Frame(0, "0", 0, sample(1).image_rgb))
    assert np.isfinite(found.boxes).all()
    # a run goes on with the backbone that it began with
    assert perceive_train(small, "--resume") == 2
    assert "found a checkpoint of architecture street-mobilenet_v3_small-2" in capsys.readouterr().err


def test_a_metric_that_nothing_is_judged_by_is_refused_before_training(
    small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert perceive_train(small, "--set", "validate_on=[]") == 2
    assert "validation.metric = 'mIoU' needs a [[validate_on]]" in capsys.readouterr().err
    assert not (small / "run").exists()
