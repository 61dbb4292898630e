"""Segmentation, panoptic, instances and depth: naive second writings and hand-worked cases."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from perception.errors import InputFormatError
from perception.evaluation.depth import depth_metrics, evaluate_depth_folder
from perception.evaluation.instances import InstancePrediction, evaluate_instances_folder, instance_ap, match_instances
from perception.evaluation.intake import Intake
from perception.evaluation.label_classes import label_classes
from perception.evaluation.panoptic import evaluate_panoptic_folder, panoptic_counts, panoptic_metrics, segments
from perception.evaluation.readers_images import read_image
from perception.evaluation.segmentation import (
    boundary_f,
    confusion,
    evaluate_segmentation_folder,
    iou_of_classes,
    segmentation_metrics,
)
from perception.kernels.label_maps import boundary_hits, label_pairs

CAMVID = label_classes("camvid")


def write(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 40))
def test_iou_agrees_with_counting_by_class(seed, height, width):
    rng = np.random.default_rng(seed)
    gt = rng.integers(0, 12, (height, width)).astype(np.uint8)
    pred = np.where(rng.random(gt.shape) < 0.6, gt, rng.integers(0, 12, gt.shape)).astype(np.uint8)
    iou = iou_of_classes(confusion(gt, pred, CAMVID))
    labelled = gt != 11
    for k in range(11):
        inter = (labelled & (gt == k) & (pred == k)).sum()
        union = (labelled & ((gt == k) | (pred == k))).sum()
        assert iou[k] == pytest.approx(inter / union) if union else np.isnan(iou[k])


def test_real_masks_against_themselves_and_moved(real_data, tmp_path):
    names = sorted((real_data / "camvid/valannot").glob("*.png"))[:4]
    expected = np.zeros((11, 12), np.int64)
    for path in names:
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        moved = np.roll(image, 3, axis=1)
        write(tmp_path / "gt" / path.name, image)
        write(tmp_path / "pred" / path.name, moved)
        for t in range(11):
            for p in range(12):
                expected[t, p] += ((image == t) & (moved == p)).sum()
    report = evaluate_segmentation_folder(tmp_path / "gt", tmp_path / "pred", "camvid", boundary=True)
    assert (report.frame_confusions.sum(axis=0) == expected).all()
    assert 30 < report.metrics["mIoU"] < 99 and 30 < report.metrics["boundary_F"] <= 100
    weights = expected.sum(axis=1) / expected.sum()
    iou = [report.metrics.get(f"{name}/IoU", 0.0) for name in CAMVID.names]
    assert report.metrics["fwIoU"] == pytest.approx(float(np.dot(weights, iou)))
    perfect = evaluate_segmentation_folder(tmp_path / "gt", tmp_path / "gt", "camvid", boundary=True)
    assert perfect.metrics["mIoU"] == perfect.metrics["boundary_F"] == pytest.approx(100.0)


def test_segmentation_by_hand():
    found = segmentation_metrics(np.array([[6, 2, 0], [0, 2, 2]]), ["a", "b"])
    assert found["a/IoU"] == pytest.approx(75.0) and found["b/IoU"] == pytest.approx(100 * 2 / 6)
    assert found["pixel_accuracy"] == pytest.approx(100 * 8 / 12)
    assert found["mean_accuracy"] == pytest.approx(100 * (0.75 + 0.5) / 2)
    assert found["fwIoU"] == pytest.approx(100 * (8 * 0.75 + 4 / 3) / 12)


def test_boundaries_agree_with_a_distance_transform():
    rng = np.random.default_rng(0)
    gt = cv2.resize(rng.integers(0, 4, (6, 8)).astype(np.uint8), (80, 60), interpolation=cv2.INTER_NEAREST)
    pred = cv2.resize(rng.integers(0, 4, (6, 8)).astype(np.uint8), (80, 60), interpolation=cv2.INTER_NEAREST)
    pred[:, :50] = np.roll(gt, 2, axis=0)[:, :50]
    gt[20:30, 20:40] = 255
    for tolerance in (1.0, 2.5, 5.0):
        of_gt, of_pred = boundary_hits(gt, pred, tolerance, 255)
        seen = np.where(gt == 255, 255, pred)

        def edges(labels, k):
            padded = np.pad(labels, 1, constant_values=255)
            out = np.zeros(labels.shape, bool)
            for dy, dx in ((0, 1), (2, 1), (1, 0), (1, 2)):
                near = padded[dy : dy + 60, dx : dx + 80]
                out |= (labels == k) & (near != k) & (near != 255)
            return out

        for k in range(4):
            edge_gt, edge_pred = edges(gt, k), edges(seen, k)
            for one, other, counts in ((edge_gt, edge_pred, of_gt), (edge_pred, edge_gt, of_pred)):
                assert counts[k, 0] == one.sum()
                near = distance_transform_edt(~other) <= tolerance if other.any() else np.zeros(other.shape, bool)
                assert counts[k, 1] == (one & near).sum()
    # tolerance is 0.75 % of the diagonal: two pixels here
    assert np.nanmax(boundary_f(gt, gt, label_classes("cityscapes"))) == pytest.approx(1.0)


def test_label_pairs_of_odd_and_empty_images():
    assert label_pairs(np.zeros((0, 3)), np.zeros((0, 3))).sum() == 0
    table = label_pairs([[255, 0, 3]], [[255, 0, 4]])
    assert table[255, 255] == table[0, 0] == table[3, 4] == 1 and table.sum() == 3
    with pytest.raises(ValueError, match="pred must be"):
        label_pairs(np.zeros((2, 2)), np.zeros((2, 3)))


CITY = label_classes("cityscapes")


def slow_panoptic(gt, pred, classes):
    out = np.zeros((len(classes.names), 4))

    def split(value):
        label = value // 1000 if value >= 1000 else value
        return classes.class_of_label[label] if label < 256 else -1

    gt_ids = [v for v in np.unique(gt) if split(v) >= 0]
    pred_ids = [v for v in np.unique(pred) if split(v) >= 0]
    void = np.isin(gt, [v for v in np.unique(gt) if split(v) < 0])
    crowd = [v for v in gt_ids if v < 1000 and classes.names[split(v)] in classes.things]
    matched_gt, matched_pred = set(), set()
    for g in gt_ids:
        for p in pred_ids:
            if g in crowd or split(g) != split(p):
                continue
            inter = ((gt == g) & (pred == p)).sum()
            union = (gt == g).sum() + (pred == p).sum() - inter - (void & (pred == p)).sum()
            if inter / union > 0.5:
                out[split(g), 0] += inter / union
                out[split(g), 1] += 1
                matched_gt.add(g)
                matched_pred.add(p)
    for g in gt_ids:
        out[split(g), 3] += g not in matched_gt and g not in crowd
    for p in pred_ids:
        mask = pred == p
        excused = (void & mask).sum() + sum(((gt == c) & mask).sum() for c in crowd if split(c) == split(p))
        out[split(p), 2] += p not in matched_pred and excused / mask.sum() <= 0.5
    return out


@pytest.mark.parametrize("seed", range(6))
def test_panoptic_agrees_with_a_slow_second_writing(seed):
    rng = np.random.default_rng(seed)
    values = np.array([0, 1, 2, 10, 13, 13001, 13002, 11001, 11, 65535, 255])
    gt = cv2.resize(rng.choice(values, (6, 8)).astype(np.uint16), (64, 48), interpolation=cv2.INTER_NEAREST)
    pred = np.where(rng.random((48, 64)) < 0.1, 13002, np.roll(gt, int(rng.integers(0, 4)), 1)).astype(np.uint16)
    pred[pred == 13001] = 13007
    pred[:10][pred[:10] == 2] = 11005
    found = panoptic_counts(segments(gt, CITY), segments(pred, CITY), len(CITY.names))
    assert found == pytest.approx(slow_panoptic(gt, pred, CITY))
    perfect = panoptic_counts(segments(gt, CITY), segments(gt, CITY), len(CITY.names))
    assert panoptic_metrics(perfect, CITY.names, CITY.things)["PQ"] == pytest.approx(100.0)


def test_panoptic_folder_and_its_errors(tmp_path):
    image = np.full((20, 30), 13001, np.uint16)
    image[:, 15:] = 0
    write(tmp_path / "gt/a_gtFine_instanceIds.png", image)
    write(tmp_path / "pred/a.png", image)
    found = evaluate_panoptic_folder(tmp_path / "gt", tmp_path / "pred").metrics
    assert found["PQ"] == found["things/SQ"] == found["car/RQ"] == pytest.approx(100.0)
    write(tmp_path / "pred/a.png", np.full((20, 30), 40000, np.uint16))
    with pytest.raises(InputFormatError, match=r"frame a .*class 40"):
        evaluate_panoptic_folder(tmp_path / "gt", tmp_path / "pred")


def test_instances_by_hand(tmp_path):
    gt = np.zeros((100, 100), np.uint16)
    gt[:40, :40] = 26001
    gt[:40, 50:90] = 26002
    gt[50:55, :5] = 26003  # under 100 pixels: neither missed nor false
    gt[60:, :] = 26  # a crowd
    known = label_classes("cityscapes-ids")
    car = known.names.index("car")

    def mask(rows, columns):
        out = np.zeros((100, 100), bool)
        out[rows, columns] = True
        return out

    predictions = [
        InstancePrediction(mask(slice(0, 40), slice(0, 40)), car, 0.9),
        InstancePrediction(mask(slice(0, 40), slice(0, 30)), car, 0.8),  # a second one on the first car: false
        InstancePrediction(mask(slice(50, 55), slice(0, 5)), car, 0.95),
        InstancePrediction(mask(slice(70, 90), slice(20, 60)), car, 0.99),  # in the crowd
    ]
    frame = match_instances(segments(gt, known), predictions)
    ap = instance_ap([frame], car)
    # at 0.5: one right at 0.9, a false one below it, one missed. The curve runs from recall 0 to 1/2 at precision 1
    # before the false one comes, which lowers precision but adds no recall
    assert ap[0] == pytest.approx(0.5)
    # at 0.95 the second no longer matches (it covers 3/4) and is false all the same
    assert ap[-1] == pytest.approx(ap[0])
    assert np.isnan(instance_ap([frame], known.names.index("bus"))).all()

    write(tmp_path / "gt/a_gtFine_instanceIds.png", gt)
    rows = []
    for k, prediction in enumerate(predictions):
        write(tmp_path / f"pred/m{k}.png", prediction.mask.astype(np.uint8) * 255)
        rows.append(f"m{k}.png 26 {prediction.confidence}")
    (tmp_path / "pred/a_pred.txt").write_text("\n".join(rows) + "\n")
    report = evaluate_instances_folder(tmp_path / "gt", tmp_path / "pred")
    assert report.metrics["car/AP50"] == pytest.approx(100 * ap[0])
    (tmp_path / "pred/a_pred.txt").write_text("m0.png 26\n")
    with pytest.raises(InputFormatError, match=r"a_pred.txt:1: a row has a mask file"):
        evaluate_instances_folder(tmp_path / "gt", tmp_path / "pred")


def test_depth_by_hand_and_from_files(tmp_path):
    gt = np.array([[10.0, 20.0, 0.0, 100.0]])
    pred = np.array([[12.0, 10.0, 5.0, 50.0]])
    found = depth_metrics(gt, pred)
    assert found["abs_rel"] == pytest.approx((0.2 + 0.5) / 2)
    assert found["rmse"] == pytest.approx(np.sqrt((4 + 100) / 2))
    assert found["delta1"] == pytest.approx(0.5) and found["coverage"] == pytest.approx(100.0)
    logs = np.log([12 / 10, 10 / 20])
    assert found["SILog"] == pytest.approx(100 * np.std(logs))
    assert depth_metrics(gt, np.full(gt.shape, np.nan)) == {}
    write(tmp_path / "gt/0.png", (gt * 256).astype(np.uint16))
    write(tmp_path / "pred/0.png", (pred * 256).astype(np.uint16))
    report = evaluate_depth_folder(tmp_path / "gt", tmp_path / "pred")
    assert report.metrics == pytest.approx(found)
    scaled = evaluate_depth_folder(tmp_path / "gt", tmp_path / "gt", median_scaling=True)
    assert scaled.metrics["abs_rel"] == 0.0 and scaled.metrics["delta1"] == 1.0


def test_image_errors_name_the_file(tmp_path):
    whole = np.zeros((20, 30), np.uint8)
    write(tmp_path / "gt/a.png", whole)
    write(tmp_path / "gt/b.png", whole)
    write(tmp_path / "pred/a.png", np.zeros((20, 31), np.uint8))
    with pytest.raises(InputFormatError, match="no prediction for frame b"):
        evaluate_segmentation_folder(tmp_path / "gt", tmp_path / "pred")
    write(tmp_path / "pred/b.png", whole)
    with pytest.raises(InputFormatError, match=r"a.png: 31x20 pixels, but the ground truth a.png has 30x20"):
        evaluate_segmentation_folder(tmp_path / "gt", tmp_path / "pred")
    intake = Intake(lenient=True)
    report = evaluate_segmentation_folder(tmp_path / "gt", tmp_path / "pred", intake=intake)
    assert report.frame_names == ["b"] and intake.left_out == {"frame that cannot be compared": 1}
    assert "31x20" in report.notes[0]
    write(tmp_path / "pred/a.png", np.full((20, 30), 12, np.uint8))
    with pytest.raises(InputFormatError, match="the prediction has label 12 in 600 pixels"):
        evaluate_segmentation_folder(tmp_path / "gt", tmp_path / "pred")
    write(tmp_path / "pred/a.png", np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(InputFormatError, match=r"single channel of uint8, but it is uint8 of shape \(20, 30, 3\)"):
        evaluate_segmentation_folder(tmp_path / "gt", tmp_path / "pred")
    data = (tmp_path / "gt/b.png").read_bytes()
    (tmp_path / "pred/a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputFormatError, match="no whole PNG"):
        evaluate_segmentation_folder(tmp_path / "gt", tmp_path / "pred")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputFormatError, match="an empty folder of predictions"):
        evaluate_segmentation_folder(tmp_path / "gt", tmp_path / "empty")
    with pytest.raises(InputFormatError, match="did you mean camvid"):
        evaluate_segmentation_folder(tmp_path / "gt", tmp_path / "pred", "camvit")


def test_palette_images_give_their_indices(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    image = pillow.fromarray(np.array([[0, 3, 11]], np.uint8), mode="P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9] * 4)
    image.save(tmp_path / "p.png")
    assert read_image(tmp_path / "p.png", [np.uint8], "ids").tolist() == [[0, 3, 11]]


def test_class_lists_from_files(tmp_path):
    (tmp_path / "names.txt").write_text("# two\nroad\ncar\n")
    assert label_classes(str(tmp_path / "names.txt")).names == ("road", "car")
    (tmp_path / "names.json").write_text('{"classes": ["road", "car"], "things": ["car"], "void": 9}')
    known = label_classes(str(tmp_path / "names.json"))
    assert known.things == ("car",) and known.class_of_label[9] == -1 and known.class_of_label[5] == -2
    (tmp_path / "names.json").write_text('{"classes": ["road"], "things": ["cat"]}')
    with pytest.raises(InputFormatError, match="thing 'cat' is no class"):
        label_classes(str(tmp_path / "names.json"))
    assert label_classes("cityscapes-ids").class_of_label[26] == 13
