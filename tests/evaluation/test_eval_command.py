"""perceive eval: exit codes, files, and one clear line for every kind of bad input."""

import json
import re

import cv2
import numpy as np
import pytest
from eval_perturb import write_detections, write_tracker

from perception.cli.app import main
from perception.evaluation.compare import compare_results, direction
from perception.evaluation.results import EvaluationResult, read_result, write_result

GT_ROW = "0 1 Car 0 0 0.1 100 100 200 200 1.5 1.6 4 0 1.7 20 0.1"
PRED_ROW = f"{GT_ROW} 0.9"


def run(capsys, *args):
    """Exit code, standard output and standard error."""
    with pytest.raises(SystemExit) as stop:
        main(["eval", *map(str, args)])
    captured = capsys.readouterr()
    return int(stop.value.code or 0), captured.out, captured.err


@pytest.fixture
def tracking(tmp_path):
    for side, rows in (("gt", [GT_ROW, GT_ROW.replace("0 1", "2 1", 1)]), ("pred", [PRED_ROW])):
        (tmp_path / side).mkdir()
        (tmp_path / side / "0000.txt").write_text("\n".join(rows) + "\n")
    return tmp_path


def track(capsys, folder, *more):
    return run(capsys, "tracking", "--gt", folder / "gt", "--pred", folder / "pred", *more)


def test_tracking_writes_flat_metrics_and_a_page(capsys, tracking):
    code, out, err = track(capsys, tracking, "--json", tracking / "m.json", "--html", tracking / "m.html")
    assert (code, err) == (0, "")
    assert "HOTA" in out and "car/3d@0.25" in out
    content = json.loads((tracking / "m.json").read_text())
    assert content["metrics"]["car/recall"] == pytest.approx(50.0)
    assert all(isinstance(value, float) for value in content["metrics"].values())
    assert content["meta"]["task"] == "tracking" and content["meta"]["left_out"] == {}
    page = (tracking / "m.html").read_text()
    assert page.count("<svg") >= 2 and "HOTA over alpha" in page
    assert not re.search(r"(src|href)=\"https?:", page)


BAD_TRACKING = {
    "short row": ("0 1 Car 0 0 0.1 100 100", r"0000.txt:1: a KITTI tracking row has 17 to 18 columns .* has 8"),
    "word for a number": (PRED_ROW.replace("20 0.1", "2O 0.1"), r"0000.txt:1: column 16 \(z\) .* '2O'"),
    "NaN": (
        PRED_ROW.replace("100 100", "nan 100"),
        r"0000.txt:1: column 7 \(x1\) must be a finite number but is 'nan'",
    ),
    "infinite": (PRED_ROW.replace("0.9", "inf"), r"0000.txt:1: column 18 \(score\) must be a finite number"),
    "unknown class": (PRED_ROW.replace("Car", "Carr"), r"0000.txt:1: unknown class 'Carr' \(did you mean Car\?\)"),
    "inverted box": (PRED_ROW.replace("100 100 200", "300 100 200"), r"0000.txt:1: a box needs x1 <= x2"),
    "frame beyond": (PRED_ROW.replace("0 1", "9 1", 1), r"0000.txt: frame 9 .* ends with frame 2"),
    "negative frame": (PRED_ROW.replace("0 1", "-1 1", 1), r"0000.txt:1: the frame must be a whole number"),
    "negative id": (PRED_ROW.replace("0 1", "0 -1", 1), r"0000.txt:1: the track id must be a whole number from 0"),
    "half a frame": (PRED_ROW.replace("0 1", "0.5 1", 1), r"0000.txt:1: the frame must be a whole number"),
    "duplicated id": (
        f"{PRED_ROW}\n{PRED_ROW}",
        r"sequence 0000, frame 0: the prediction has track id 1 more than once",
    ),
}


@pytest.mark.parametrize("rows, message", BAD_TRACKING.values(), ids=BAD_TRACKING.keys())
def test_bad_tracking_rows_are_refused_or_counted(capsys, tracking, rows, message):
    (tracking / "pred/0000.txt").write_text(rows + "\n")
    code, out, err = track(capsys, tracking, "--json", tracking / "m.json")
    assert code == 2 and out == "" and re.search(message, err) and err.count("\n") == 1
    assert not (tracking / "m.json").exists()
    code, out, err = track(capsys, tracking, "--lenient", "--json", tracking / "m.json")
    assert code == 0 and "left out: 1" in err
    assert sum(json.loads((tracking / "m.json").read_text())["meta"]["left_out"].values()) == 1


def test_duplicates_in_the_ground_truth_are_refused(capsys, tracking):
    (tracking / "gt/0000.txt").write_text(f"{GT_ROW}\n{GT_ROW}\n")
    code, _, err = track(capsys, tracking)
    assert code == 2 and "sequence 0000, frame 0: the ground truth has track id 1" in err


def test_blank_lines_double_spaces_and_windows_line_ends_are_harmless(capsys, tracking):
    (tracking / "pred/0000.txt").write_bytes(b"\r\n" + PRED_ROW.replace(" ", "  ").encode() + b" \r\n\r\n")
    code, _, err = track(capsys, tracking, "--json", tracking / "m.json")
    assert code == 0 and err == ""
    assert json.loads((tracking / "m.json").read_text())["metrics"]["car/TP"] == 1


def test_files_that_do_not_pair(capsys, tracking):
    (tracking / "pred/0000.txt").rename(tracking / "pred/0007.txt")
    code, _, err = track(capsys, tracking)
    assert code == 2 and re.search(r"0007.txt: the ground truth .* has no sequence 0007", err)
    code, _, err = track(capsys, tracking, "--lenient")
    assert code == 0 and "missing prediction file" in err and "prediction file without ground truth" in err
    (tracking / "pred/0007.txt").unlink()
    code, _, err = track(capsys, tracking)
    assert code == 2 and "an empty folder of predictions" in err
    code, _, err = run(capsys, "tracking", "--gt", tracking / "nowhere", "--pred", tracking / "pred")
    assert code == 2 and "no such folder of ground truth" in err


def test_single_files_go_together_whatever_their_names(capsys, tracking):
    (tracking / "pred/0000.txt").rename(tracking / "pred/drive.txt")
    code, _, err = run(capsys, "tracking", "--gt", tracking / "gt/0000.txt", "--pred", tracking / "pred", "--quiet")
    assert (code, err) == (0, "")
    code, _, err = run(
        capsys, "tracking", "--gt", tracking / "gt/0000.txt", "--pred", tracking / "pred/drive.txt", "--quiet"
    )
    assert (code, err) == (0, "")


def test_unknown_class_option_and_binary_file(capsys, tracking):
    code, _, err = track(capsys, tracking, "--classes", "Car,Pedestrain")
    assert code == 2 and "unknown class 'Pedestrain' (did you mean Pedestrian?)" in err
    (tracking / "pred/0000.txt").write_bytes(b"\xff\xfe\x00")
    code, _, err = track(capsys, tracking)
    assert code == 2 and "not a text file" in err


@pytest.mark.parametrize(
    "words",
    [
        ("--classes", "car,cyclist", "--classes", "Pedestrian"),
        ("--classes", "Car", "Cyclist", "Pedestrian", "--quiet"),
        ("--quiet", "--classes", "Car", "cyclist,pedestrian"),
    ],
)
def test_classes_may_be_given_in_several_ways(capsys, tracking, words):
    assert track(capsys, tracking, "--json", tracking / "m.json", *words)[0] == 0
    names = {name.split("/")[0] for name in json.loads((tracking / "m.json").read_text())["metrics"]}
    assert names == {"car", "cyclist", "pedestrian"}


@pytest.fixture
def detection(real_data, tmp_path):
    labels = sorted((real_data / "kitti_object/training/label_2").glob("*.txt"))[:12]
    write_detections(labels, tmp_path / "gt", tmp_path / "pred", seed=1)
    return tmp_path


def detect(capsys, folder, *more):
    return run(capsys, "detection", "--gt", folder / "gt", "--pred", folder / "pred", *more)


def test_detection_table_metrics_and_page(capsys, detection, real_data):
    images = real_data / "kitti_object/training/image_2"
    code, out, err = detect(
        capsys, detection, "--json", detection / "m.json", "--html", detection / "m.html", "--images", images
    )
    assert code == 0 and "has no easy label" in err
    assert "Car/3d@0.7" in out and "few labels cap AP40" in out and "R40" in out
    metrics = json.loads((detection / "m.json").read_text())["metrics"]
    for name in (
        "Car/2d@0.7/AP40/moderate",
        "Car/bev@0.5/R40/hard",
        "Car/aos@0.7/AP11/easy",
        "Cyclist/3d@0.25/AP40_cap/easy",
    ):
        assert 0 <= metrics[name] <= 100
    page = (detection / "m.html").read_text()
    assert page.count("data:image/jpeg") >= 3 and 'href="file://' in page and "missed" in page


BAD_DETECTION = {
    "no score": (
        "Car 0 0 0.1 1 1 9 9 1 1 1 1 1 9 0",
        r"000000.txt:1: a KITTI object result row .* 16 columns .* has 15",
    ),
    "inverted": ("Car 0 0 0.1 1 9 9 1 1 1 1 1 1 9 0 0.5", r"000000.txt:1: a box needs x1 <= x2 and y1 <= y2"),
    "unknown class": ("Auto 0 0 0.1 1 1 9 9 1 1 1 1 1 9 0 0.5", r"000000.txt:1: unknown class 'Auto'"),
    "NaN": ("Car 0 0 0.1 1 1 9 9 1 1 1 1 1 9 0 NaN", r"000000.txt:1: column 16 \(score\) must be a finite number"),
}


@pytest.mark.parametrize("row, message", BAD_DETECTION.values(), ids=BAD_DETECTION.keys())
def test_bad_detection_rows(capsys, detection, row, message):
    (detection / "pred/000000.txt").write_text(row + "\n")
    code, _, err = detect(capsys, detection)
    assert code == 2 and re.search(message, err)
    code, _, err = detect(capsys, detection, "--lenient")
    assert code == 0 and "left out: 1" in err


def test_detection_frames_must_pair(capsys, detection):
    (detection / "pred/000003.txt").unlink()
    code, _, err = detect(capsys, detection)
    assert code == 2 and re.search(r"000003.txt: no such file, but the ground truth has frame 000003", err)
    code, _, err = detect(capsys, detection, "--lenient")
    assert code == 0 and "missing result file (counted as empty)" in err
    (detection / "pred/000003.txt").write_text("")
    (detection / "pred/000099.txt").write_text("")
    code, _, err = detect(capsys, detection)
    assert code == 2 and "has no frame 000099" in err
    assert detect(capsys, detection, "--only", "000000,000003")[0] == 0


def test_nothing_detected_scores_zero(capsys, detection):
    for path in (detection / "pred").iterdir():
        path.write_text("")
    code, _, _ = detect(capsys, detection, "--json", detection / "m.json")
    metrics = json.loads((detection / "m.json").read_text())["metrics"]
    assert code == 0 and metrics["Car/2d@0.7/AP40/moderate"] == metrics["Car/3d@0.7/R40/hard"] == 0.0


def test_coco_agrees_with_pycocotools(capsys, tmp_path):
    pytest.importorskip("pycocotools")
    import contextlib
    import io

    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(0)
    annotations, results = [], []
    for image in range(6):
        for k in range(5):
            x, y, w, h = (float(v) for v in (*rng.uniform(0, 300, 2), *rng.uniform(10, 120, 2)))
            outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
            category = 1 + k % 2
            annotations.append({"id": len(annotations) + 1, "image_id": image, "category_id": category, "iscrowd": 0,
                                "bbox": [x, y, w, h], "area": w * h, "segmentation": outline})  # fmt: skip
            dx, dy = rng.normal(0, 6, 2)
            moved = [[v + (dx if i % 2 == 0 else dy) for i, v in enumerate(outline[0])]]
            results.append({"image_id": image, "category_id": category, "score": float(rng.random()),
                            "bbox": [x + dx, y + dy, w, h], "segmentation": moved})  # fmt: skip
    truth = {"images": [{"id": k, "width": 500, "height": 500} for k in range(6)], "annotations": annotations,
             "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "person"}]}  # fmt: skip
    for result in results:
        from pycocotools import mask

        rle = mask.merge(mask.frPyObjects(result["segmentation"], 500, 500))
        result["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "pred.json").write_text(json.dumps(results))
    args = ("detection", "--format", "coco", "--gt", tmp_path / "gt.json", "--pred", tmp_path / "pred.json", "--masks")
    code, _, _ = run(capsys, *args, "--json", tmp_path / "m.json")
    metrics = json.loads((tmp_path / "m.json").read_text())["metrics"]
    assert code == 0
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "gt.json"))
        for kind in ("bbox", "segm"):
            evaluation = COCOeval(coco, coco.loadRes(str(tmp_path / "pred.json")), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            assert metrics[f"{kind}/AP"] == pytest.approx(100 * evaluation.stats[0], abs=1e-9)
            assert metrics[f"{kind}/AP50"] == pytest.approx(100 * evaluation.stats[1], abs=1e-9)
    results[3]["category_id"] = 9
    (tmp_path / "pred.json").write_text(json.dumps(results))
    code, _, err = run(capsys, *args)
    assert code == 2 and "result 3: unknown category 9" in err


def test_segmentation_panoptic_depth_odometry_map_latency_run(capsys, tmp_path):
    for side in ("gt", "pred"):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "a.png"), np.tile(np.arange(8, dtype=np.uint8), (8, 1)))
        (tmp_path / f"{side}16").mkdir()
        cv2.imwrite(str(tmp_path / f"{side}16" / "a.png"), np.full((8, 8), 13001, np.uint16))
    assert (
        run(
            capsys, "segmentation", "--gt", tmp_path / "gt", "--pred", tmp_path / "pred", "--html", tmp_path / "s.html"
        )[0]
        == 0
    )
    assert "truth" in (tmp_path / "s.html").read_text()
    for verb in ("panoptic", "depth"):
        code, out, _ = run(
            capsys, verb, "--gt", tmp_path / "gt16", "--pred", tmp_path / "pred16", "--json", tmp_path / "m.json"
        )
        assert code == 0 and out
        assert json.loads((tmp_path / "m.json").read_text())["metrics"]
    run_dir = tmp_path / "run"
    (run_dir / "map").mkdir(parents=True)
    (run_dir / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n" * 3)
    np.savez(run_dir / "map/bev.npz", class_ids=np.zeros((4, 4), np.uint8), corner_m=np.zeros(2), cell_m=0.2)
    stages = {"total": {"p50": 1.0, "p90": 2.0, "p99": 3.0, "max": 4.0}}
    latency = {"frames": 3, "fps": 9.0, "deadline_ms": 100.0, "deadline_misses": 0, "stages": stages}
    (run_dir / "latency.json").write_text(json.dumps(latency))
    for verb in ("odometry", "map"):
        code, out, _ = run(capsys, verb, "--gt", run_dir, "--pred", run_dir, "--html", tmp_path / "p.html")
        assert code == 0 and out
    code, out, err = run(capsys, "latency", "--gt", run_dir, "--pred", run_dir)
    assert code == 0 and "p99_ms" in out and "no ground truth" in err
    code, out, _ = run(capsys, "map", "--gt", run_dir, "--pred", run_dir, "--quiet")
    assert (code, out) == (0, "")


def test_compare_is_a_gate(capsys, real_data, tmp_path):
    labels = real_data / "kitti_tracking/training/label_02"
    names = ["0000", "0003", "0004"]
    write_tracker(labels, tmp_path / "a", 0, names)
    write_tracker(labels, tmp_path / "b", 0, names)
    # one sequence loses half of its rows
    lines = (tmp_path / "b/0004.txt").read_text().splitlines()
    (tmp_path / "b/0004.txt").write_text("\n".join(lines[::2]) + "\n")
    for name in "ab":
        args = ("--gt", labels, "--pred", tmp_path / name, "--only", ",".join(names), "--quiet")
        assert run(capsys, "tracking", *args, "--json", tmp_path / f"{name}.json")[0] == 0
    code, out, err = run(capsys, "compare", tmp_path / "a.json", tmp_path / "a.json", "--fail-if-worse")
    assert code == 0 and "0 worse" in out
    code, out, err = run(
        capsys, "compare", tmp_path / "a.json", tmp_path / "b.json", "--fail-if-worse", "--resamples", 50
    )
    assert code == 1 and "car/HOTA" in out and "metrics got worse" in err
    assert run(capsys, "compare", tmp_path / "a.json", tmp_path / "b.json", "--resamples", 50)[0] == 0
    args = (
        "compare",
        tmp_path / "b.json",
        tmp_path / "a.json",
        "--fail-if-worse",
        "--metrics",
        "*/HOTA",
        "--resamples",
        50,
    )
    code, out, _ = run(capsys, *args, "--json", tmp_path / "c.json")
    change = json.loads((tmp_path / "c.json").read_text())["changes"]["car/HOTA"]
    assert code == 0 and change["verdict"] == "better" and change["interval"][0] <= change["after"] - change["before"]
    code, _, err = run(capsys, "compare", tmp_path / "a.json", tmp_path / "nowhere.json")
    assert code == 2 and "no such file" in err
    (tmp_path / "odd.json").write_text('{"metrics": {"a": "b"}}')
    code, _, err = run(capsys, "compare", tmp_path / "a.json", tmp_path / "odd.json")
    assert code == 2 and "metric a must be a number" in err


def result(task, samples, metrics):
    return EvaluationResult(task, metrics, {}, samples)


def test_all_weights_one_give_the_reported_numbers(capsys, detection, real_data, tmp_path):
    from perception.evaluation.samples import resampler

    out = detection / "m.json"
    assert detect(capsys, detection, "--json", out, "--quiet")[0] == 0
    camvid = real_data / "camvid/valannot"
    two = ",".join(path.stem for path in sorted(camvid.glob("*.png"))[:2])
    seg = tmp_path / "s.json"
    assert (
        run(capsys, "segmentation", "--gt", camvid, "--pred", camvid, "--only", two, "--json", seg, "--quiet")[0] == 0
    )
    for path in (out, seg):
        read = read_result(path)
        again = resampler(read.samples)(np.ones(len(read.samples["names"])))
        assert again and all(value == pytest.approx(read.metrics[name], abs=1e-9) for name, value in again.items())


def test_verdicts_of_compare():
    def means(values):
        samples = {"kind": "means", "unit": "frame", "names": list(range(len(values))), "values": {"rmse": values}}
        return result("depth", samples, {"rmse": float(np.mean(values))})

    base = means([1.0, 2.0, 3.0, 4.0])
    assert compare_results(base, means([1.5, 2.5, 3.5, 4.5])).changes[0].verdict == "worse"
    assert compare_results(base, means([0.5, 2.0, 3.0, 4.0])).changes[0].verdict == "better"
    assert compare_results(base, means([9.0, 0.5, 1.0, 0.1])).changes[0].verdict == "unclear"
    assert compare_results(base, means([1.1, 2.1, 3.1, 4.1]), tolerance=0.2).changes[0].verdict == "same"
    other = compare_results(base, means([1.0, 2.0]))
    assert other.changes[0].interval is None and "not of the same frames" in other.notes[0]
    assert direction("total/p99_ms") == -1 and direction("mIoU") == 1 and direction("deadline_ms") == 0


def test_metric_files_round_trip(tmp_path):
    write_result(result("depth", {"kind": "means"}, {"a": 1.5}), tmp_path / "deep/m.json")
    read = read_result(tmp_path / "deep/m.json")
    assert read.metrics == {"a": 1.5} and read.task == "depth" and read.samples == {"kind": "means"}
