"""Teachers of any role: what they are sure of, what they doubt, and soft labels of pixels."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES, VOID_ID
from perception.config import load_config
from perception.errors import ConfigError, WeightsError
from perception.models.street_network import StreetNetwork
from perception.segmentation.network import NetworkSemantic
from perception.training.distill import NetworkSoftTeacher, RoleSoftTeacher, soft_loss
from perception.training.settings import TeacherSettings
from perception.training.teacher import BoxTeacher, RoleFinder, YoloxFinder
from perception.training.teachers import make_box_teacher, make_soft_teacher
from perception.types import Detections, Frame, SemanticMap

CAR, PERSON = OBJECT_CLASSES.index("car"), OBJECT_CLASSES.index("pedestrian")


class StubDetector:
    """Finds bright blocks: the brighter, the surer."""

    def __init__(self) -> None:
        self.widths: list[int] = []

    def detect(self, frame: Frame) -> Detections:
        self.widths.append(frame.image_rgb.shape[1])
        boxes, scores = [], []
        for value in np.unique(frame.image_rgb[..., 0]):
            if value > 0:
                v, u = np.nonzero(frame.image_rgb[..., 0] == value)
                boxes.append([u.min(), v.min(), u.max() + 1, v.max() + 1])
                scores.append(value / 255)
        count = len(boxes)
        return Detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), np.full(count, CAR))


def blocks() -> np.ndarray:
    image = np.zeros((60, 200, 3), np.uint8)
    for left, bright in ((20, 230), (80, 60), (140, 20)):
        image[20:40, left : left + 30] = bright
    return image


def test_any_detector_teaches(tmp_path: Path) -> None:
    detector = StubDetector()
    teacher = BoxTeacher(RoleFinder(detector, "stub"), tmp_path / "labels", sure=0.8, doubtful=0.15)
    found = teacher.label(blocks(), (100, 400), tiles=0)
    assert found.boxes_xyxy.tolist() == [[20, 20, 50, 40], [80, 20, 110, 40]]
    assert found.ignored.tolist() == [False, True]
    assert (found.class_ids == CAR).all()
    # it scales every image itself: other widths would show it nothing new
    assert detector.widths == [200]
    again = teacher.label(blocks(), (100, 400), tiles=0)
    assert len(detector.widths) == 1
    np.testing.assert_array_equal(again.boxes_xyxy, found.boxes_xyxy)
    # another teacher in the same folder, or other thresholds, are not confused with it
    stricter = BoxTeacher(RoleFinder(detector, "stub"), tmp_path / "labels", sure=0.95, doubtful=0.15)
    assert stricter.label(blocks(), (100, 400), tiles=0).ignored.tolist() == [True, True]
    BoxTeacher(RoleFinder(detector, "other"), tmp_path / "labels").label(blocks(), (100, 400), tiles=0)
    assert len(detector.widths) == 3


def test_tiles_see_what_they_hold_whole() -> None:
    detector = StubDetector()
    image = blocks()
    image[20:40, 95:125] = 250  # lies across the middle of the image
    image[20:40, 80:110][image[20:40, 80:110] == 60] = 0
    found = BoxTeacher(RoleFinder(detector, "stub"), doubtful=0.05).label(image, (200,), tiles=3)
    assert detector.widths[0] == 200 and len(detector.widths) == 4
    assert sorted(found.boxes_xyxy.tolist()) == [[20, 20, 50, 40], [95, 20, 125, 40], [140, 20, 170, 40]]


class StubSegmenter:
    def __init__(self, sure: bool) -> None:
        self.sure = sure

    def segment(self, frame: Frame) -> SemanticMap:
        ids = np.full(frame.image_rgb.shape[:2], SEMANTIC_CLASSES.index("road"), np.uint8)
        ids[:, 32:] = SEMANTIC_CLASSES.index("sky")
        ids[:, 48:] = VOID_ID
        return SemanticMap(ids, np.full(ids.shape, 0.62, np.float32) if self.sure else None)


@pytest.mark.parametrize("sure", [True, False])
def test_any_segmenter_teaches_softly(sure: bool) -> None:
    taught = RoleSoftTeacher(StubSegmenter(sure)).probabilities(np.zeros((32, 64, 3), np.uint8))
    assert taught.shape == (len(SEMANTIC_CLASSES), 8, 16)
    np.testing.assert_allclose(taught[:, :, :12].sum(axis=0), 1.0, rtol=1e-5)
    assert (taught[:, :, 12:] == 0).all()
    road, sky = SEMANTIC_CLASSES.index("road"), SEMANTIC_CLASSES.index("sky")
    assert (taught.argmax(axis=0)[:, :8] == road).all() and (taught.argmax(axis=0)[:, 8:12] == sky).all()
    np.testing.assert_allclose(taught[road, :, :8], 0.62 if sure else 0.9)


def test_the_soft_loss_is_the_softened_divergence() -> None:
    generator = torch.Generator().manual_seed(0)
    teacher_logits = torch.randn(2, 20, 6, 8, generator=generator)
    logits = torch.randn(2, 20, 6, 8, generator=generator, requires_grad=True)
    for temperature in (1.0, 3.0):
        found = soft_loss(logits, teacher_logits.softmax(dim=1), temperature)
        wanted = functional.kl_div(
            (logits / temperature).log_softmax(dim=1), (teacher_logits / temperature).softmax(dim=1), reduction="none"
        ).sum(dim=1).mean() * temperature**2  # fmt: skip
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
    assert soft_loss(teacher_logits, teacher_logits.softmax(dim=1), 2.0) < 1e-5


def test_pixels_that_nobody_taught_do_not_count() -> None:
    logits = torch.randn(1, 20, 4, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
    taught = torch.zeros(1, 20, 4, 4)
    taught[:, 3, :2] = 1.0
    soft_loss(logits, taught, 2.0).backward()
    assert logits.grad is not None
    assert (logits.grad[:, :, :2] != 0).any() and (logits.grad[:, :, 2:] == 0).all()
    assert soft_loss(logits, torch.zeros(1, 20, 4, 4), 2.0) == 0


def test_the_shipped_network_teaches_boxes_and_pixels(tmp_path: Path, real_data: Path) -> None:
    import cv2

    image = cv2.imread(str(real_data / "kitti_object" / "training" / "image_2" / "000008.jpg"))
    if image is None:
        pytest.skip("kitti_object frame 000008 is absent")
    rgb = np.ascontiguousarray(image[:, :, ::-1])
    boxes = make_box_teacher(TeacherSettings(detector="network"), tmp_path, None, 1).label(rgb, (832,), tiles=0)
    assert (boxes.class_ids[~boxes.ignored] == CAR).sum() >= 3
    soft = make_soft_teacher(TeacherSettings(segmenter="network"), tmp_path, 1)
    assert isinstance(soft, NetworkSoftTeacher)
    crop = np.ascontiguousarray(rgb[-256:, :832])
    taught = soft.probabilities(crop)
    assert taught.shape == (len(SEMANTIC_CLASSES), 64, 208)
    np.testing.assert_allclose(taught.sum(axis=0), 1.0, rtol=1e-4)
    # most of what it says is what the pipeline's own role says of the same picture
    network = StreetNetwork(load_config().network, "cpu")
    said = NetworkSemantic(network).segment(Frame(0, "0", 0, crop)).class_ids[2::4, 2::4]
    assert (taught.argmax(axis=0) == said).mean() > 0.95


def test_yolox_sees_more_at_more_sizes(real_data: Path) -> None:
    import cv2

    file = real_data / "kitti_object" / "training" / "image_2" / "000008.jpg"
    weights = real_data / "weights" / "yolox_nano.onnx"
    image = cv2.imread(str(file))
    if image is None or not weights.is_file():
        pytest.skip("kitti_object frame 000008 or yolox_nano.onnx is absent")
    rgb = np.ascontiguousarray(image[:, :, ::-1])
    find = YoloxFinder(weights)
    once = BoxTeacher(find).label(rgb, (416,), tiles=0)
    often = BoxTeacher(find).label(rgb, (832, 1242), tiles=0)
    assert (~often.ignored).sum() > (~once.ignored).sum() >= 1


def test_teachers_without_weights_or_library_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"teacher\.weights is empty; expected an ONNX file"):
        make_box_teacher(TeacherSettings(), tmp_path, None, 1)
    with pytest.raises(WeightsError, match=r"none\.onnx: found no such file"):
        make_box_teacher(TeacherSettings(weights="none.onnx"), tmp_path, None, 1)
    assert make_soft_teacher(TeacherSettings(), tmp_path, 1) is None
    (tmp_path / "some.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"onnx is not installed; expected pip install 'drive-perception\[train\]'"):
        make_box_teacher(TeacherSettings(weights="some.onnx"), tmp_path, None, 1)
