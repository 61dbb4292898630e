from itertools import product

import eval_devkit as devkit
import numpy as np
import pytest
from eval_perturb import write_detections
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.evaluation.detection import DIFFICULTIES, evaluate_detection_folder
from perception.evaluation.detection_curve import ap40_cap

LEVELS = [d.name for d in DIFFICULTIES]


@pytest.fixture(scope="module")
def real_case(real_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detection")
    labels = sorted((real_data / "kitti_object/training/label_2").glob("*.txt"))
    write_detections(labels, folder / "gt", folder / "pred", seed=3)
    names = sorted(path.name for path in (folder / "gt").iterdir())
    frames = [(devkit.read(folder / "gt" / name), devkit.read(folder / "pred" / name)) for name in names]
    return evaluate_detection_folder(folder / "gt", folder / "pred"), frames


@pytest.mark.parametrize(("space", "level"), list(product(("2d", "bev", "3d"), range(3))))
def test_agrees_with_the_devkits_rules_on_real_labels(real_case, space, level):
    report, frames = real_case
    for kind, ious in (("Car", (0.7, 0.5)), ("Pedestrian", (0.5,)), ("Cyclist", (0.25,))):
        for iou in ious:
            oracle = devkit.Evaluation(frames, kind, level, space, iou)
            precisions = oracle.precisions()
            key, name = f"{kind}/{space}@{iou:g}", LEVELS[level]
            assert report.metrics[f"{key}/AP11/{name}"] == pytest.approx(100 * np.mean(precisions[::4]), abs=1e-9)
            assert report.metrics[f"{key}/AP40/{name}"] == pytest.approx(100 * np.mean(precisions[1:]), abs=1e-9)
            assert report.metrics[f"{kind}/labels/{name}"] == oracle.n_gt


def test_orientation_and_r40_agree(real_case):
    report, frames = real_case
    for kind, iou in (("Car", 0.7), ("Pedestrian", 0.5)):
        oracle = devkit.Evaluation(frames, kind, 1, "2d", iou)
        similarity = oracle.precisions(orientation=True)
        assert report.metrics[f"{kind}/aos@{iou:g}/AP40/moderate"] == pytest.approx(
            100 * np.mean(similarity[1:]), abs=1e-9
        )
        assert report.metrics[f"{kind}/aos@{iou:g}/AP11/moderate"] == pytest.approx(
            100 * np.mean(similarity[::4]), abs=1e-9
        )
        assert report.metrics[f"{kind}/2d@{iou:g}/R40/moderate"] == pytest.approx(oracle.r40(), abs=1e-9)


def row(kind, x1, y1, x2, y2, score=None, occlusion=0, truncation=0.0, alpha=0.0, solid="1.5 1.6 4 0 1.7 20 0"):
    tail = "" if score is None else f" {score}"
    return f"{kind} {truncation} {occlusion} {alpha} {x1} {y1} {x2} {y2} {solid}{tail}"


def evaluate(tmp_path, frames, **options):
    for side in ("gt", "pred"):
        (tmp_path / side).mkdir(parents=True, exist_ok=True)
    for k, (gt, pred) in enumerate(frames):
        (tmp_path / "gt" / f"{k:06d}.txt").write_text("".join(line + "\n" for line in gt))
        (tmp_path / "pred" / f"{k:06d}.txt").write_text("".join(line + "\n" for line in pred))
    return evaluate_detection_folder(tmp_path / "gt", tmp_path / "pred", **options).metrics


def test_perfect_scores_reach_the_cap_and_r40_reaches_100(tmp_path):
    car = row("Car", 100, 100, 200, 200)
    frames = [([car], [f"{car} {0.5 + k / 100}"]) for k in range(11)]
    metrics = evaluate(tmp_path, frames, classes=["Car"])
    # eleven labels give eleven thresholds, ten of them above recall 0
    assert metrics["Car/2d@0.7/AP40/easy"] == pytest.approx(25.0)
    assert metrics["Car/2d@0.7/AP40_cap/easy"] == ap40_cap(11) == pytest.approx(25.0)
    assert metrics["Car/2d@0.7/AP11/easy"] == pytest.approx(100 * 3 / 11)
    for space in ("2d@0.7", "bev@0.7", "3d@0.7", "aos@0.7"):
        assert metrics[f"Car/{space}/R40/easy"] == pytest.approx(100.0)


def test_half_precision_by_hand(tmp_path):
    car, other = row("Car", 100, 100, 200, 200), row("Car", 400, 100, 500, 200, solid="1.5 1.6 4 30 1.7 20 0")
    frames = [([car], [f"{car} 0.9", f"{other} 0.9"])] * 40
    metrics = evaluate(tmp_path, frames, classes=["Car"])
    assert metrics["Car/2d@0.7/R40/easy"] == pytest.approx(50.0)
    # all scores are equal, so 40 thresholds: 39 above recall 0, each of precision 1/2
    assert metrics["Car/2d@0.7/AP40/easy"] == pytest.approx(50.0 * 39 / 40)


@pytest.mark.parametrize(
    ("label", "counted"),
    [
        (row("Car", 100, 100, 200, 139.9), ("moderate", "hard")),
        (row("Car", 100, 100, 200, 140), ("easy", "moderate", "hard")),
        (row("Car", 100, 100, 200, 124), ()),
        (row("Car", 100, 100, 200, 200, occlusion=1), ("moderate", "hard")),
        (row("Car", 100, 100, 200, 200, occlusion=2), ("hard",)),
        (row("Car", 100, 100, 200, 200, occlusion=3), ()),
        (row("Car", 100, 100, 200, 200, truncation=0.15), ("easy", "moderate", "hard")),
        (row("Car", 100, 100, 200, 200, truncation=0.31), ("hard",)),
        (row("Van", 100, 100, 200, 200), ()),
    ],
)
def test_what_counts_at_each_difficulty(tmp_path, label, counted):
    metrics = evaluate(tmp_path, [([label], [])], classes=["Car"])
    assert tuple(level for level in LEVELS if metrics[f"Car/labels/{level}"]) == counted


def test_hits_on_vans_sitting_people_and_dontcare_are_not_false(tmp_path):
    car = row("Car", 100, 100, 200, 200)
    van = row("Van", 300, 100, 400, 200, solid="1.5 1.6 4 10 1.7 20 0")
    region = row("DontCare", 500, 100, 700, 300, truncation=-1, occlusion=-1, solid="-1 -1 -1 -1000 -1000 -1000 -10")
    on_van = row("Car", 300, 100, 400, 200, 0.9, solid="1.5 1.6 4 10 1.7 20 0")
    in_region = row("Car", 510, 110, 600, 200, 0.9, solid="1.5 1.6 4 30 1.7 20 0")
    predicted = [f"{car} 0.5", on_van, in_region]
    frames = [([car, van, region], predicted)] * 41
    metrics = evaluate(tmp_path, frames, classes=["Car"])
    assert metrics["Car/2d@0.7/AP40/easy"] == pytest.approx(100.0)
    # the region has no 3D box: there the same detection is false
    assert metrics["Car/3d@0.7/R40/easy"] < 100.0
    person, sitting = row("Pedestrian", 100, 100, 150, 200), row("Person_sitting", 300, 100, 350, 200)
    frames = [([person, sitting], [f"{person} 0.5", row("Pedestrian", 300, 100, 350, 200, 0.9)])] * 41
    assert evaluate(tmp_path / "2", frames, classes=["Pedestrian"])["Pedestrian/2d@0.5/AP40/easy"] == pytest.approx(
        100.0
    )


def test_results_without_3d_or_orientation_are_said_not_scored(tmp_path):
    car = row("Car", 100, 100, 200, 200)
    flat = row("Car", 100, 100, 200, 200, 0.9, alpha=-10, solid="-1 -1 -1 -1000 -1000 -1000 -10")
    (tmp_path / "gt").mkdir()
    (tmp_path / "pred").mkdir()
    (tmp_path / "gt/000000.txt").write_text(car + "\n")
    (tmp_path / "pred/000000.txt").write_text(flat + "\n")
    report = evaluate_detection_folder(tmp_path / "gt", tmp_path / "pred", ["Car"])
    assert not [name for name in report.metrics if "/3d@" in name or "/bev@" in name or "/aos@" in name]
    assert any("3D box" in note for note in report.notes) and any("AOS" in note for note in report.notes)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([np.exp, np.tanh, lambda s: 3 * s - 7]))
def test_only_the_order_of_scores_matters(tmp_path_factory, seed, transform):
    rng = np.random.default_rng(seed)
    frames, changed = [], []
    for _ in range(6):
        boxes = [(x, 100, x + 80, 190) for x in rng.integers(0, 1000, 4).tolist()]
        scores = rng.random(len(boxes))
        frames.append(([row("Car", *box) for box in boxes[:3]],
                       [row("Car", *box, score) for box, score in zip(boxes, scores, strict=True)]))  # fmt: skip
        changed.append((frames[-1][0], [row("Car", *box, s) for box, s in zip(boxes, transform(scores), strict=True)]))
    folder = tmp_path_factory.mktemp("order")
    first = evaluate(folder / "a", frames, classes=["Car"])
    second = evaluate(folder / "b", changed, classes=["Car"])
    assert first == pytest.approx(second, abs=1e-12)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1))
def test_a_false_positive_never_helps(tmp_path_factory, seed, score):
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(5):
        boxes = [(x, 100, x + 80, 190) for x in (100, 300, 500)]
        found = [row("Car", *box, s) for box, s in zip(boxes, rng.random(3), strict=True) if rng.random() < 0.8]
        frames.append(([row("Car", *box) for box in boxes], found))
    folder = tmp_path_factory.mktemp("false")
    before = evaluate(folder / "a", frames, classes=["Car"])
    frames[0][1].append(row("Car", 900, 100, 980, 190, score, solid="1.5 1.6 4 50 1.7 20 0"))
    after = evaluate(folder / "b", frames, classes=["Car"])
    assert all(after[name] <= before[name] + 1e-9 for name in before if "/2d@" in name)
