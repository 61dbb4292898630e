from __future__ import annotations

import cv2
import numpy as np
import pytest

from perception.classes import OBJECT_CLASSES
from perception.detection.onnx import Letterbox, OnnxDetector
from perception.errors import DeviceError, WeightsError
from perception.files import sha256_of
from perception.types import Frame

CAR, PEDESTRIAN = OBJECT_CLASSES.index("car"), OBJECT_CLASSES.index("pedestrian")
RED, BLUE = (255, 0, 0), (0, 0, 255)


def _frame(
    height: int = 64, width: int = 96, blocks: dict[tuple[int, int], tuple[int, int, int]] | None = None
) -> Frame:
    """A grey image with 16x16 blocks of colour, each given by its top left corner (u, v)."""
    image = np.full((height, width, 3), 114, np.uint8)
    for (u, v), colour in (blocks or {}).items():
        image[v : v + 16, u : u + 16] = colour
    return Frame(0, "0", 0, image)


def _detector(weights, settings, height=64, width=96, **changes) -> OnnxDetector:
    return OnnxDetector(
        weights, settings(source="onnx", input_height_px=height, input_width_px=width, **changes), threads=1
    )


def test_boxes_scores_classes_and_colour_order_are_exact(tiny_yolox, settings):
    detector = _detector(tiny_yolox(), settings)
    found = detector.detect(_frame(blocks={(32, 16): RED, (64, 32): BLUE}))
    by_class = dict(zip(found.class_ids.tolist(), found.boxes_xyxy.tolist(), strict=True))
    assert by_class == {CAR: [24, 8, 56, 40], PEDESTRIAN: [56, 24, 88, 56]}
    np.testing.assert_allclose(found.scores, 1, atol=1e-3)
    assert detector.notes == ()


def test_boxes_come_back_in_the_pixels_of_a_larger_image(tiny_yolox, settings):
    image = np.full((128, 192, 3), 114, np.uint8)
    image[32:64, 64:96] = RED
    found = _detector(tiny_yolox(), settings).detect(Frame(0, "0", 0, image))
    np.testing.assert_allclose(found.boxes_xyxy, [[48, 16, 112, 80]], atol=1e-3)


def test_boxes_are_clipped_to_the_image(tiny_yolox, settings):
    found = _detector(tiny_yolox(), settings).detect(_frame(blocks={(0, 0): RED, (80, 48): RED}))
    assert sorted(found.boxes_xyxy.tolist()) == [[0, 0, 24, 24], [72, 40, 96, 64]]


def test_boxes_in_the_padding_are_left_out(tiny_yolox, settings):
    """The image fills the top half of the input; a block at its lower edge gives a box that must end there."""
    found = _detector(tiny_yolox(), settings, height=96).detect(_frame(48, 96, {(32, 32): RED}))
    assert found.boxes_xyxy.tolist() == [[24, 24, 56, 48]]


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (7, 3), (375, 1242), (1080, 1920)])
def test_every_image_size_gives_boxes_inside_it(tiny_yolox, settings, size):
    rng = np.random.default_rng(0)
    frame = Frame(0, "0", 0, rng.integers(0, 256, (*size, 3), dtype=np.uint8))
    found = _detector(tiny_yolox(), settings, score_threshold=0.0).detect(frame)
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= [size[1], size[0], size[1], size[0]]).all()


def test_an_image_without_anything_is_empty(tiny_yolox, settings):
    found = _detector(tiny_yolox(), settings).detect(_frame())
    assert len(found) == 0
    assert found.boxes_xyxy.shape == (0, 4)


def test_the_best_of_too_many_stay(tiny_yolox, settings):
    blocks = {(u, v): (255 - u // 4, 0, 0) for u in range(0, 96, 32) for v in range(0, 64, 32)}
    every = _detector(tiny_yolox(), settings).detect(_frame(blocks=blocks))
    best = _detector(tiny_yolox(), settings, max_detections=2).detect(_frame(blocks=blocks))
    assert len(every) == 6
    assert best.scores.tolist() == sorted(every.scores.tolist(), reverse=True)[:2]


def test_suppression_is_within_a_class(tiny_yolox, settings):
    """Two neighbouring blocks overlap by a third: the same class suppresses, another does not."""
    same = {(32, 16): RED, (48, 16): RED}
    other = {(32, 16): RED, (48, 16): BLUE}
    strict = _detector(tiny_yolox(), settings, nms_iou=0.3)
    assert len(strict.detect(_frame(blocks=same))) == 1
    assert len(strict.detect(_frame(blocks=other))) == 2
    assert len(_detector(tiny_yolox(), settings, nms_iou=0.4).detect(_frame(blocks=same))) == 2


@pytest.mark.parametrize("declared", [(64, 96), ("height", "width"), (416, 416)])
def test_the_configured_size_is_used_where_the_graph_allows_it(tiny_yolox, settings, declared):
    detector = _detector(tiny_yolox(*declared), settings, height=128, width=160)
    assert (detector.height_px, detector.width_px) == (128, 160)
    assert detector.notes == ()
    found = detector.detect(_frame(128, 160, {(96, 96): RED}))
    assert found.boxes_xyxy.tolist() == [[88, 88, 120, 120]]


def test_a_graph_of_one_size_runs_at_that_size_and_says_so(tiny_yolox, settings):
    detector = _detector(tiny_yolox(frozen_reshape=True), settings, height=128, width=160)
    assert (detector.height_px, detector.width_px) == (64, 96)
    (note,) = detector.notes
    assert "runs at its own 96x64, not at the configured 160x128" in note
    assert detector.detect(_frame(blocks={(32, 16): RED})).boxes_xyxy.tolist() == [[24, 8, 56, 40]]


def test_weights_are_on_record(tiny_yolox, settings):
    path = tiny_yolox()
    (used,) = _detector(path, settings).weights
    assert (used.name, used.path, used.sha256) == ("tiny", str(path), sha256_of(path))


def test_other_class_lists_come_from_a_file_beside_the_model(tiny_yolox, settings):
    path = tiny_yolox(classes=3)
    path.with_suffix(".classes.txt").write_text("cyclist\n-\nvan\n")
    found = _detector(path, settings).detect(_frame(blocks={(32, 16): RED, (64, 32): BLUE}))
    assert sorted(OBJECT_CLASSES[i] for i in found.class_ids) == ["cyclist", "van"]


def test_other_class_lists_without_a_file_are_refused(tiny_yolox, settings):
    with pytest.raises(WeightsError, match=r"found 3 classes; expected COCO's 80, or a file tiny\.classes\.txt"):
        _detector(tiny_yolox(classes=3), settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [("car\nvan\n", "found 2 class names; the model has 3"), ("car\nlorry\nvan\n", "classes.txt:2: found 'lorry'")],
)
def test_wrong_class_files_are_refused(tiny_yolox, settings, text, message):
    path = tiny_yolox(classes=3)
    path.with_suffix(".classes.txt").write_text(text)
    with pytest.raises(WeightsError, match=message):
        _detector(path, settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"decoded": True}, "found boxes in pixels; expected offsets within grid cells"),
        ({"logits": True}, "expected probabilities from 0 to 1"),
    ],
)
def test_other_layouts_are_refused(tiny_yolox, settings, changes, message):
    with pytest.raises(WeightsError, match=message):
        _detector(tiny_yolox(**changes), settings)


def test_damaged_and_foreign_files_are_refused(tiny_yolox, settings, tmp_path):
    whole = tiny_yolox().read_bytes()
    cases = {
        "missing.onnx": None,
        "empty.onnx": b"",
        "half.onnx": whole[: len(whole) // 2],
        "text.onnx": b"this is no model at all, it is a sentence",
        "picture.onnx": cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes(),
    }
    for name, content in cases.items():
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(WeightsError) as error:
            _detector(path, settings)
        assert str(path) in str(error.value)
        assert "expected" in str(error.value)
        assert "\n" not in str(error.value)


def test_a_graph_that_onnxruntime_refuses_is_refused_in_one_line(tiny_yolox, settings):
    path = tiny_yolox()
    path.write_bytes(path.read_bytes().replace(b"Sigmoid", b"Sigmoix"))
    with pytest.raises(WeightsError, match="Sigmoix") as error:
        _detector(path, settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "cpu:1", ""])
def test_unknown_devices_are_refused(tiny_yolox, settings, device):
    with pytest.raises(DeviceError, match="expected auto, cpu, cuda or cuda:N"):
        OnnxDetector(tiny_yolox(), settings(), device=device)


def test_an_absent_gpu_is_refused_and_auto_does_without(tiny_yolox, settings, monkeypatch):
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(DeviceError, match="has only CPUExecutionProvider"):
        OnnxDetector(tiny_yolox(), settings(), device="cuda:0")
    assert OnnxDetector(tiny_yolox(), settings(), device="auto").notes == ()


def test_letterbox_keeps_the_aspect_and_pads_below_and_right():
    image = np.zeros((50, 100, 3), np.uint8)
    image[..., 0] = 200
    blob, scale_uv = Letterbox(64, 64).fit(image)
    assert (blob.shape, blob.dtype) == ((1, 3, 64, 64), np.float32)
    np.testing.assert_allclose(scale_uv, [0.64, 0.64])
    assert (blob[0, 2, :32] == 200).all()  # red is the last channel of BGR
    assert (blob[0, :2, :32] == 0).all()
    assert (blob[0, :, 32:] == 114).all()


def test_letterbox_pads_a_tall_image_at_its_right():
    image = np.full((100, 50, 3), 200, np.uint8)
    blob, scale_uv = Letterbox(64, 64).fit(image)
    np.testing.assert_allclose(scale_uv, [0.64, 0.64])
    assert (blob[0, :, :, :32] == 200).all()
    assert (blob[0, :, :, 32:] == 114).all()


def test_letterbox_forgets_the_image_before():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((64, 200), (200, 64), (30, 30), (64, 200))]
    kept = Letterbox(64, 96)
    for image in images:
        np.testing.assert_array_equal(kept.fit(image)[0], Letterbox(64, 96).fit(image)[0])


@pytest.mark.parametrize("factor", [3, 4, 8, 17])
def test_letterbox_averages_what_it_scales_down_a_lot(factor):
    """Stripes a pixel wide are grey from afar; sampling alone would give black and white."""
    image = np.zeros((64 * factor, 64 * factor, 3), np.uint8)
    image[:, ::2] = 255
    blob, _ = Letterbox(64, 64).fit(image)
    assert abs(blob[0, :, :, 2:-2] - 127.5).max() < 127.5 / 2


def test_published_yolox_finds_the_cars_of_real_frames(real_data, settings):
    """Of the fully visible cars at least 40 px high, nearly all are found with an IoU of at least 0.7."""
    weights = real_data / "weights" / "yolox_nano.onnx"
    detector = _detector(weights, settings, 256, 832)
    assert (detector.height_px, detector.width_px, detector.notes) == (256, 832, ())
    folder = real_data / "kitti_object" / "training"
    hits = cars = 0
    for path in sorted((folder / "image_2").iterdir()):
        found = detector.detect(Frame(0, path.stem, 0, cv2.imread(str(path))[..., ::-1].copy()))
        boxes = found.boxes_xyxy[found.class_ids == CAR]
        for line in (folder / "label_2" / f"{path.stem}.txt").read_text().splitlines():
            name, truncated, occluded, _, *corners = line.split()[:8]
            truth = np.array(corners, float)
            if name == "Car" and float(truncated) < 0.15 and occluded == "0" and truth[3] - truth[1] >= 40:
                cars += 1
                sides = np.maximum(np.minimum(boxes[:, 2:], truth[2:]) - np.maximum(boxes[:, :2], truth[:2]), 0)
                shared = sides.prod(axis=1)
                union = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) + (truth[2:] - truth[:2]).prod() - shared
                hits += bool((shared / union >= 0.7).any())
    assert cars >= 10
    assert hits / cars >= 0.85, f"{hits} of {cars}"
