"""Agreement with trackeval 1.3.0 on real labels with known mistakes, to 1e-9."""

import contextlib
import io

import numpy as np
import pytest
from eval_perturb import write_tracker
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.evaluation.tracking import evaluate_tracking_folder, score_sequences
from perception.evaluation.tracking_data import TrackingSequence
from perception.evaluation.tracking_motchallenge import evaluate_motchallenge_folder, read_mot_file, write_mot_file
from perception.evaluation.tracking_mots import evaluate_mots_folder

trackeval = pytest.importorskip("trackeval")

PERCENT = {
    "HOTA": ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA", "OWTA", "HOTA(0)", "LocA(0)"),
    "CLEAR": {
        "MOTA": "MOTA", "MOTP": "MOTP", "MODA": "MODA", "sMOTA": "sMOTA", "MOTAL": "MOTAL", "CLR_Re": "recall",
        "CLR_Pr": "precision", "CLR_F1": "F1", "MTR": "MT", "PTR": "PT", "MLR": "ML",
    },
    "Identity": ("IDF1", "IDR", "IDP"),
}  # fmt: skip
COUNTS = {
    "CLEAR": {"IDSW": "IDSW", "Frag": "Frag", "CLR_TP": "TP", "CLR_FN": "FN", "CLR_FP": "FP"},
    "Identity": ("IDTP", "IDFN", "IDFP"),
}


def run_trackeval(dataset_class, config, classes):
    quiet = {name: False for name in (
        "USE_PARALLEL", "PRINT_RESULTS", "PRINT_CONFIG", "TIME_PROGRESS", "OUTPUT_SUMMARY", "OUTPUT_DETAILED",
        "PLOT_CURVES", "OUTPUT_EMPTY_CLASSES", "LOG_ON_ERROR",
    )}  # fmt: skip
    quiet["BREAK_ON_ERROR"] = True
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = dataset_class({"TRACKERS_TO_EVAL": ["me"], "PRINT_CONFIG": False} | config)
        metrics = [
            trackeval.metrics.HOTA(),
            trackeval.metrics.CLEAR({"PRINT_CONFIG": False}),
            trackeval.metrics.Identity({"PRINT_CONFIG": False}),
        ]
        results, _ = trackeval.Evaluator(quiet).evaluate([dataset], metrics)
    tracker = results[dataset.get_name()]["me"]
    return {name: per_class for name, per_class in tracker.items() if set(classes) <= set(per_class)}


def flat(result):
    out = {}
    for factor, table in ((100.0, PERCENT), (1.0, COUNTS)):
        for family, names in table.items():
            pairs = names.items() if isinstance(names, dict) else [(name, name) for name in names]
            out |= {ours: factor * float(np.mean(result[family][theirs])) for theirs, ours in pairs}
    return out


def assert_same(report, theirs, classes):
    for name in classes:
        expected = flat(theirs["COMBINED_SEQ"][name])
        for metric, value in expected.items():
            assert report.metrics[f"{name}/{metric}"] == pytest.approx(value, abs=1e-9), (name, metric)
        for sequence, scores in report.sequences[name].items():
            found = scores.metrics()
            for metric, value in flat(theirs[sequence][name]).items():
                # trackeval leaves the ratios of empty sequences at what it began with
                if scores.clear.tp + scores.clear.fn and scores.clear.tp + scores.clear.fp:
                    assert found[metric] == pytest.approx(value, abs=1e-9), (sequence, name, metric)


@pytest.mark.parametrize("seed", [0, 1])
def test_kitti_boxes(real_data, tmp_path, seed):
    labels = real_data / "kitti_tracking/training/label_02"
    names = ["0000", "0004", "0007", "0017"] if seed else ["0002", "0003", "0011"]
    write_tracker(labels, tmp_path / "trackers/me/data", seed, names)
    gt = tmp_path / "gt"
    (gt / "label_02").mkdir(parents=True)
    rows = []
    for name in names:
        text = (labels / f"{name}.txt").read_text()
        (gt / "label_02" / f"{name}.txt").write_text(text)
        rows.append(f"{name} empty 000000 {int(text.splitlines()[-1].split()[0]) + 1:06d}\n")
    (gt / "evaluate_tracking.seqmap.training").write_text("".join(rows))
    theirs = run_trackeval(
        trackeval.datasets.Kitti2DBox,
        {"GT_FOLDER": str(gt), "TRACKERS_FOLDER": str(tmp_path / "trackers")},
        ("car", "pedestrian"),
    )
    ours = evaluate_tracking_folder(gt / "label_02", tmp_path / "trackers/me/data", spaces=("2d",))
    assert 20 < ours.metrics["car/HOTA"] < 90
    assert_same(ours, theirs, ("car", "pedestrian"))


def test_real_detections_as_tracks(real_data, tmp_path):
    """PointRCNN's boxes with ids by rank: long frames, many false positives, few true ids."""
    labels, detections = (
        real_data / "kitti_tracking/training/label_02",
        real_data / "kitti_tracking/detections/pointrcnn",
    )
    names = ["0000", "0003"]
    out = tmp_path / "trackers/me/data"
    out.mkdir(parents=True)
    gt = tmp_path / "gt/label_02"
    gt.mkdir(parents=True)
    seqmap = ""
    for name in names:
        text = (labels / f"{name}.txt").read_text()
        (gt / f"{name}.txt").write_text(text)
        seqmap += f"{name} empty 000000 {int(text.splitlines()[-1].split()[0]) + 1:06d}\n"
        rows = []
        for kind in ("Car", "Pedestrian"):
            rank: dict[str, int] = {}
            for line in (detections / kind / f"{name}.txt").read_text().splitlines():
                frame, _, x1, y1, x2, y2, score, h, w, length, x, y, z, ry, alpha = line.split(",")
                rank[frame] = rank.get(frame, 0) + 1
                track = rank[frame] + (1000 if kind == "Car" else 0)
                rows.append(
                    f"{frame} {track} {kind} 0 0 {alpha} {x1} {y1} {x2} {y2} {h} {w} {length} {x} {y} {z} {ry} {score}"
                )
        (out / f"{name}.txt").write_text("\n".join(rows) + "\n")
    (tmp_path / "gt/evaluate_tracking.seqmap.training").write_text(seqmap)
    theirs = run_trackeval(
        trackeval.datasets.Kitti2DBox,
        {"GT_FOLDER": str(tmp_path / "gt"), "TRACKERS_FOLDER": str(tmp_path / "trackers")},
        ("car", "pedestrian"),
    )
    report = evaluate_tracking_folder(gt, out)
    assert_same(report, theirs, ("car", "pedestrian"))
    assert report.metrics["car/3d@0.25/sAMOTA"] > report.metrics["car/3d@0.7/sAMOTA"] > 0


@pytest.mark.parametrize("benchmark", ["MOT15", "MOT17", "MOT20"])
def test_motchallenge(real_data, tmp_path, benchmark):
    """KITTI's people and vehicles written as MOTChallenge pedestrians, distractors and other classes."""
    label_file = real_data / "kitti_tracking/training/label_02/0017.txt"
    rng = np.random.default_rng(5)
    class_of = {"Pedestrian": 1, "Cyclist": 2, "Car": 7, "Van": 3, "Misc": 8, "Person": 12, "Truck": 6}
    gt_rows, frames, ids, boxes, scores = [], [], [], [], []
    last = 0
    for line in label_file.read_text().splitlines():
        fields = line.split()
        if fields[2] not in class_of:
            continue
        box = np.array(fields[6:10], float)
        last = max(last, int(fields[0]))
        flag = int(rng.random() < 0.9)
        size = box[2:] - box[:2]
        place = f"{int(fields[0]) + 1},{int(fields[1]) + 1},{box[0]},{box[1]},{size[0]},{size[1]}"
        gt_rows.append(f"{place},{flag},{class_of[fields[2]]},1")
        if rng.random() < 0.85:
            frames.append(int(fields[0]))
            ids.append(int(fields[1]) + 1 + 100 * int(rng.random() < 0.05))
            boxes.append(box + rng.normal(0, 4, 4))
            scores.append(rng.random())
    sequence = tmp_path / "gt/SEQ"
    (sequence / "gt").mkdir(parents=True)
    (sequence / "gt/gt.txt").write_text("\n".join(gt_rows) + "\n")
    (sequence / "seqinfo.ini").write_text(f"[Sequence]\nname=SEQ\nseqLength={last + 3}\n")
    out = tmp_path / "trackers/me/data"
    out.mkdir(parents=True)
    boxes = np.sort(np.array(boxes).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
    write_mot_file(out / "SEQ.txt", frames, ids, boxes, scores)
    theirs = run_trackeval(
        trackeval.datasets.MotChallenge2DBox,
        {
            "GT_FOLDER": str(tmp_path / "gt"), "TRACKERS_FOLDER": str(tmp_path / "trackers"), "BENCHMARK": benchmark,
            "SKIP_SPLIT_FOL": True, "SEQ_INFO": {"SEQ": last + 3}, "DO_PREPROC": True,
        },
        ("pedestrian",),
    )  # fmt: skip
    ours = evaluate_motchallenge_folder(tmp_path / "gt", out, benchmark=benchmark)
    assert 0 < ours.metrics["pedestrian/HOTA"] < 100
    assert_same(ours, theirs, ("pedestrian",))


def test_motchallenge_files_survive_the_round_trip(tmp_path):
    from perception.evaluation.intake import Intake

    boxes = np.array([[1.5, 2.25, 10.5, 20.125], [0, 0, 3, 4]])
    write_mot_file(tmp_path / "a.txt", [4, 0], [7, 2], boxes, [0.5, 1.0])
    rows = read_mot_file(tmp_path / "a.txt", Intake())
    assert rows.frames.tolist() == [0, 4] and rows.track_ids.tolist() == [2, 7]
    assert rows.boxes_xyxy == pytest.approx(boxes[::-1])
    assert rows.confidences.tolist() == [1.0, 0.5]


def test_mots(tmp_path):
    mask_tools = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(8)
    height, width, frames = 60, 100, 12

    def encode(mask):
        return mask_tools.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()

    sides = {"gt": [], "pred": []}
    for frame in range(frames):
        for side, rows in sides.items():
            free = np.ones((height, width), bool)
            jitter = rng.integers(-3, 4, (8, 2)) if side == "pred" else np.zeros((8, 2), int)
            for k in range(6):
                y, x = 4 + (k % 3) * 18 + jitter[k, 0], 5 + (k // 3) * 45 + frame + jitter[k, 1]
                mask = np.zeros((height, width), bool)
                mask[max(0, y) : y + 14, max(0, x) : x + 25] = True
                mask &= free
                free &= ~mask
                if side == "pred" and rng.random() < 0.15:
                    continue
                class_id = 1 if k % 2 else 2
                track = class_id * 1000 + k + (50 if side == "pred" and frame > 7 and k == 3 else 0)
                rows.append(f"{frame} {track} {class_id} {height} {width} {encode(mask)}")
            region = np.zeros((height, width), bool)
            region[56:, 60:] = True
            region &= free
            if side == "gt":
                rows.append(f"{frame} 10000 10 {height} {width} {encode(region)}")
            elif rng.random() < 0.6:
                rows.append(f"{frame} 1900 1 {height} {width} {encode(region)}")
    for side, folder in (("gt", tmp_path / "gt/label_02"), ("pred", tmp_path / "trackers/me/data")):
        folder.mkdir(parents=True)
        (folder / "0000.txt").write_text("\n".join(sides[side]) + "\n")
    theirs = run_trackeval(
        trackeval.datasets.KittiMOTS,
        {
            "GT_FOLDER": str(tmp_path / "gt"),
            "TRACKERS_FOLDER": str(tmp_path / "trackers"),
            "SEQ_INFO": {"0000": frames},
        },
        ("car", "pedestrian"),
    )
    ours = evaluate_mots_folder(tmp_path / "gt", tmp_path / "trackers/me/data")
    assert 10 < ours.metrics["car/HOTA"] < 100
    assert_same(ours, theirs, ("car", "pedestrian"))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([1, 2, 12]), st.booleans())
def test_any_ids_and_similarities(seed, decimals, dense):
    """Also where many pairs tie (one decimal), at the thresholds exactly, and with empty frames."""
    rng = np.random.default_rng(seed)
    gt_ids, pred_ids, similarity = [], [], []
    for _ in range(12):
        gt = rng.permutation(6)[: rng.integers(0, 6)]
        pred = rng.permutation(8)[: rng.integers(0, 7)]
        block = np.round(rng.random((len(gt), len(pred))), decimals)
        gt_ids.append(gt)
        pred_ids.append(pred)
        similarity.append(block if dense else block * (rng.random(block.shape) < 0.4))
    sequence = TrackingSequence.from_frames(gt_ids, pred_ids, similarity)
    data = {
        "num_timesteps": 12,
        "num_gt_ids": sequence.gt_id_count,
        "num_tracker_ids": sequence.pred_id_count,
        "num_gt_dets": len(sequence.gt_ids),
        "num_tracker_dets": len(sequence.pred_ids),
        "gt_ids": np.split(sequence.gt_ids, sequence.gt_starts[1:-1]),
        "tracker_ids": np.split(sequence.pred_ids, sequence.pred_starts[1:-1]),
        "similarity_scores": similarity,
    }
    if not data["num_gt_dets"] or not data["num_tracker_dets"]:
        return
    quiet = {"PRINT_CONFIG": False}
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = {
            "HOTA": trackeval.metrics.HOTA().eval_sequence(data),
            "CLEAR": trackeval.metrics.CLEAR(quiet).eval_sequence(data),
            "Identity": trackeval.metrics.Identity(quiet).eval_sequence(data),
        }
    ours = score_sequences([sequence])["sequence"].metrics()
    for metric, value in flat(theirs).items():
        assert ours[metric] == pytest.approx(value, abs=1e-9), metric
