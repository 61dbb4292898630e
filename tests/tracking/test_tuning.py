"""The search of tools/tune_tracker.py on a bench whose best settings are known."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

import tune_tracker
from perception.evaluation.kitti_rows import KittiRows
from perception.tracking.settings import load_box_settings
from tuning.search import Knob, Point, Validation, cross_validate, evolve

KNOBS = (Knob("first", 0.5), Knob("second", 1.0, factor=False))


@dataclass(frozen=True)
class Worth:
    worth: float


class Bench:
    """Every sequence is happiest where its own noise has it; ``shared`` is how far from the start all agree on."""

    class_names, knobs, names = ("car",), KNOBS, ("a", "b", "c", "d")

    def __init__(self, shared: float, own: float) -> None:
        rng = np.random.default_rng(0)
        away = rng.normal(0.0, 1.0, (4, 2))
        away -= away.mean(axis=0)
        self.best = dict(zip(self.names, shared + own * away, strict=True))

    def run(self, points: Mapping[str, Point], names: Sequence[str]) -> Mapping[str, KittiRows]:
        return {name: -float(((points["car"] - self.best[name]) ** 2).sum()) for name in names}  # type: ignore[misc]

    def least(self, rows: Mapping[str, KittiRows], class_name: str) -> float:
        return 0.0

    def outcome(
        self, rows: Mapping[str, KittiRows], class_name: str, least: Mapping[str, float] | None = None
    ) -> Worth:
        return Worth(float(np.mean(list(rows.values()))))  # type: ignore[arg-type]


def test_what_all_sequences_agree_on_is_found() -> None:
    pytest.importorskip("cma")
    bench = Bench(shared=1.5, own=0.2)
    found = cross_validate(bench, 2, 15)["car"]
    assert found.generation > 0
    assert found.found.worth > 0.5 * found.start.worth
    trail = evolve(bench, bench.names, found.generation)
    assert np.abs(trail[-1]["car"] - 1.5).max() < 0.5
    again = evolve(bench, bench.names, found.generation)
    np.testing.assert_array_equal(trail[-1]["car"], again[-1]["car"])


def test_what_each_sequence_wants_for_itself_leaves_the_start() -> None:
    pytest.importorskip("cma")
    found = cross_validate(Bench(shared=0.0, own=2.0), 4, 9)["car"]
    assert found.generation == 0
    assert found.found == found.start


def test_knobs_stay_in_bounds() -> None:
    assert Knob("share", 0.2, factor=False, high=1.0).moved(0.9, 3.0) == 1.0
    assert Knob("share", 0.2, factor=False).moved(0.1, -3.0) == 0.0
    assert Knob("scale", 0.5).moved(2.0, 2.0) == pytest.approx(2.0 * np.e, rel=1e-3)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    settings = load_box_settings("pointrcnn")
    kept = Validation(Worth(1.0), Worth(1.0), 0)
    text = tune_tracker.head("Found by", "a command", tune_tracker.told({"car": kept}), ["car: well"])
    assert "the search found nothing better" in " ".join(text.replace("#", "").split())
    file = tmp_path / "found.toml"
    file.write_text(text + tune_tracker.as_toml(settings))
    assert load_box_settings(file) == settings
    image = tune_tracker.as_image_toml("pointrcnn_image", ("car.min_iou=0.3",))
    assert 'per_class = [\n    "car.min_iou=0.3",\n]' in image and not image.startswith("#")
