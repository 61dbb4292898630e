"""Training images with the labels that each data set has; what it lacks is marked as unknown, never as absent.

Everything is decoded and reduced once and kept in memory as bytes, since decoding again would slow every step.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import CAMVID_CLASSES, OBJECT_CLASSES, OBJECT_OF_KITTI_NAME, VOID_ID
from perception.datasets.drive import Reading
from perception.datasets.factory import open_drive
from perception.errors import DriveError, InputFormatError
from perception.geometry import PinholeCamera
from perception.kernels.boxes import iou_matrix
from perception.training.labels import NOT_A_THING, SOLID_COLUMNS, LabelledBoxes, Sample
from perception.training.teacher import BoxTeacher
from perception.types import Frame

__all__ = [
    "camvid_samples", "drive_samples", "images_in", "kitti_object_samples", "read_image", "semantic_from_boxes",
    "unlabelled_samples",
]  # fmt: skip

_THING_OF_OBJECT = {
    "car": "car", "van": "car", "truck": "car", "bus": "car", "pedestrian": "pedestrian", "cyclist": "bicyclist",
}  # fmt: skip
_LINK_IOU = 0.4  # of boxes of two pictures that are taken for one object
_MODERATE_OCCLUSION = 1
_MODERATE_TRUNCATION = 0.3
_NEAREST_POINT_M = 1.0
_MIN_SIGN_AREA_PX = 40
_MIN_CYCLIST_AREA_PX = 120


def read_image(file: Path) -> npt.NDArray[np.uint8]:
    """(H, W, 3) RGB.

    Raises:
        DriveError: the file holds no readable image.
    """
    image = cv2.imread(str(file), cv2.IMREAD_COLOR)
    if image is None:
        raise DriveError(f"{file}: expected an image, but it cannot be decoded")
    return np.ascontiguousarray(image[:, :, ::-1])


def camvid_samples(root: Path, split: str, teacher: BoxTeacher | None) -> Iterator[Sample]:
    """CamVid in the form published with SegNet: ``<split>/NAME.jpg`` and ``<split>annot/NAME.png``.

    Signs and cyclists come from the drawn pixels, everything else from the teacher.
    """
    known = np.array([name != "van" for name in OBJECT_CLASSES])
    for file in images_in(root / split):
        annotation = root / f"{split}annot" / f"{file.stem}.png"
        drawn = cv2.imread(str(annotation), cv2.IMREAD_GRAYSCALE)
        image = read_image(file)
        if drawn is None or drawn.shape != image.shape[:2]:
            raise InputFormatError(f"{annotation}: expected class ids of {image.shape[1]}x{image.shape[0]} pixels")
        if drawn.max() > len(CAMVID_CLASSES):
            raise InputFormatError(f"{annotation}: expected class ids 0 ... 11 but found {drawn.max()}")
        semantic = np.where(drawn == len(CAMVID_CLASSES), VOID_ID, drawn).astype(np.uint8)
        boxes = LabelledBoxes.empty()
        if teacher is not None:
            boxes = teacher.label(image, (image.shape[1], image.shape[1] * 2), tiles=0)
            boxes = _boxes_from_pixels(boxes, semantic)
        yield Sample(f"camvid/{file.stem}", image, semantic, "camvid", boxes, known, 1.1)


def kitti_object_samples(
    root: Path, teacher: BoxTeacher | None, hold_out_every: int, held_out: bool
) -> Iterator[Sample]:
    """KITTI object frames with their labels; classes that KITTI does not label come from the teacher.

    Args:
        root: the folder that holds ``image_2`` and ``label_2``.
        teacher: detector for the other classes, or None.
        hold_out_every: every so many frames is kept apart; 0 keeps none.
        held_out: gives the frames kept apart instead of the others.
    """
    labelled = {OBJECT_CLASSES.index(name) for name in OBJECT_OF_KITTI_NAME.values()}
    known = np.array([name != "traffic_sign" for name in OBJECT_CLASSES])
    drive = open_drive(root)
    for reading in drive.readings():
        if (hold_out_every > 0 and reading.index % hold_out_every == hold_out_every - 1) != held_out:
            continue
        frame = _readable(reading, root)
        image = frame.image_rgb
        boxes, hard = _kitti_boxes(root / "label_2" / f"{frame.name}.txt", frame.camera)
        if teacher is not None:
            taught = teacher.label(image, (832, image.shape[1]), tiles=3)
            others = ~np.isin(taught.class_ids, list(labelled))
            boxes = LabelledBoxes.joined(boxes, taught.rows(others))
        yield Sample(
            f"kitti_object/{frame.name}",
            image,
            semantic_from_boxes(image, boxes),
            "boxes",
            boxes,
            known,
            832 / 1242,
            np.pad(hard, (0, len(boxes) - len(hard))),
            *_depth(frame),
        )
    drive.close()


def drive_samples(path: Path, name: str, teacher: BoxTeacher, network_width_px: int) -> Iterator[Sample]:
    """A recorded drive without labels, frame by frame; boxes come from the teacher, depth from the lidar.

    Objects keep their identity as long as their boxes of two frames overlap.
    """
    known = np.array([name not in ("traffic_sign", "van") for name in OBJECT_CLASSES])
    drive = open_drive(path)
    before, following = LabelledBoxes.empty(), 0
    for reading in drive.readings():
        frame = _readable(reading, path)
        image = frame.image_rgb
        boxes = teacher.label(image, (832, 1248), tiles=3)
        boxes, following = _linked(boxes, before, following)
        before = boxes
        semantic = semantic_from_boxes(image, boxes)
        scale = network_width_px / image.shape[1]
        source = f"{name}/{frame.name}"
        yield Sample(source, image, semantic, "boxes", boxes, known, scale, None, *_depth(frame))
    drive.close()


def _readable(reading: Reading, path: Path) -> Frame:
    if reading.frame is None:
        reasons = "; ".join(gap.reason for gap in reading.gaps)
        raise DriveError(f"{path}: frame {reading.name} cannot be trained on: {reasons}")
    return reading.frame


def _depth(frame: Frame) -> tuple[float, npt.NDArray[np.float32] | None]:
    """Focal length along v in px and what the lidar measured: (P, 3) u, v px, depth m."""
    camera = frame.camera
    if camera is None or frame.points_ego is None:
        return (0.0 if camera is None else camera.fy_px), None
    points = camera.cam_SE3_ego.apply(frame.points_ego[:, :3])
    points = points[points[:, 2] > _NEAREST_POINT_M]
    pixels = camera.project(points)
    inside = ((pixels >= 0) & (pixels < (camera.width_px, camera.height_px))).all(axis=1)
    return camera.fy_px, np.column_stack([pixels, points[:, 2]])[inside].astype(np.float32)


def _linked(boxes: LabelledBoxes, before: LabelledBoxes, following: int) -> tuple[LabelledBoxes, int]:
    """Boxes with the identities of those of the frame before that they overlap; others get new ones."""
    identities = np.where(boxes.ignored, -1, following + np.arange(len(boxes)))
    taken: set[int] = set()
    if len(boxes) and len(before):
        iou = iou_matrix(boxes.boxes_xyxy, before.boxes_xyxy)
        for row, column in zip(*np.unravel_index(np.argsort(-iou, axis=None), iou.shape), strict=True):
            if iou[row, column] < _LINK_IOU:
                break
            same = boxes.class_ids[row] == before.class_ids[column] and identities[row] >= following
            if same and before.identities[column] >= 0 and int(column) not in taken:
                identities[row] = before.identities[column]
                taken.add(int(column))
    return dataclasses.replace(boxes, identities=identities), following + len(boxes)


def unlabelled_samples(
    folder: Path, name: str, teacher: BoxTeacher, width_px: int, network_width_px: int, every: int = 1
) -> Iterator[Sample]:
    """Images without any label, reduced to ``width_px`` wide; boxes come from the teacher."""
    known = np.array([name not in ("traffic_sign", "van") for name in OBJECT_CLASSES])
    for file in images_in(folder)[::every]:
        image = read_image(file)
        boxes = teacher.label(image, (832, 1248), tiles=3)
        scale = width_px / image.shape[1]
        if scale < 1:
            image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            boxes = boxes.scaled(scale)
        semantic = semantic_from_boxes(image, boxes)
        yield Sample(f"{name}/{file.stem}", image, semantic, "boxes", boxes, known, network_width_px / image.shape[1])


def images_in(folder: Path) -> list[Path]:
    """Its JPEG and PNG files by name.

    Raises:
        DriveError: there are none.
    """
    files = sorted(file for file in folder.glob("*") if re.fullmatch(r"\.(jpe?g|png)", file.suffix.lower()))
    if not files:
        raise DriveError(f"{folder}: expected a folder of images, but found none")
    return files


def _kitti_boxes(file: Path, camera: PinholeCamera | None) -> tuple[LabelledBoxes, npt.NDArray[np.bool_]]:
    rows, class_ids = [], []
    if not file.is_file():
        raise InputFormatError(f"{file}: expected KITTI labels of the frame, but the file is missing")
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        fields = line.split()
        try:
            values = [float(value) for value in fields[1:15]]
        except ValueError:
            values = []
        if len(values) != 14:
            raise InputFormatError(f"{file}:{number}: expected a KITTI label row of 15 columns but found {line!r}")
        name = OBJECT_OF_KITTI_NAME.get(fields[0])
        rows.append(values)
        class_ids.append(-1 if name is None else OBJECT_CLASSES.index(name))
    label = np.array(rows, np.float64).reshape(-1, 14)
    ids = np.array(class_ids, np.int64)
    solid = np.full((len(ids), len(SOLID_COLUMNS)), np.nan)
    if camera is not None and len(ids):
        height, position = label[:, 7], label[:, 10:13]
        # labels are written in the frame of the rig's reference camera, and give the middle of the lower face
        centre = position - np.column_stack([np.zeros(len(ids)), height / 2, np.zeros(len(ids))])
        if camera.ego_SE3_ref is not None:
            centre = (camera.cam_SE3_ego @ camera.ego_SE3_ref).apply(centre)
        pixels = camera.project(centre)
        solid = np.column_stack([label[:, 7:10], label[:, 2], centre[:, 2], pixels])
        solid[(ids < 0) | ~np.isfinite(pixels).all(axis=1) | (height <= 0)] = np.nan
    boxes = LabelledBoxes(label[:, 3:7].astype(np.float32), ids, ids < 0, solid.astype(np.float32))
    return boxes, (label[:, 0] > _MODERATE_TRUNCATION) | (label[:, 1] > _MODERATE_OCCLUSION)


def semantic_from_boxes(image: npt.NDArray[np.uint8], boxes: LabelledBoxes) -> npt.NDArray[np.uint8]:
    """What boxes say of pixels: no thing outside all of them, the thing itself in the core of a box nobody overlaps."""
    semantic = np.full(image.shape[:2], NOT_A_THING, np.uint8)
    order = np.argsort(boxes.boxes_xyxy[:, 3], kind="stable")
    limits = boxes.boxes_xyxy.round().astype(int).clip(0)
    margin = 3
    for x1, y1, x2, y2 in limits:
        semantic[max(0, y1 - margin) : y2 + margin, max(0, x1 - margin) : x2 + margin] = VOID_ID
    for row in order:
        x1, y1, x2, y2 = limits[row]
        # a nearer object reaches lower in the image and hides what is behind it
        semantic[y1:y2, x1:x2] = VOID_ID
        thing = None if boxes.ignored[row] else _THING_OF_OBJECT.get(OBJECT_CLASSES[boxes.class_ids[row]])
        if thing is None:
            continue
        side, above, below = (0.22, 0.3, 0.25) if thing == "car" else (0.38, 0.15, 0.35)
        width, height = x2 - x1, y2 - y1
        core = np.s_[
            int(y1 + above * height) : int(y2 - below * height), int(x1 + side * width) : int(x2 - side * width)
        ]
        semantic[core] = CAMVID_CLASSES.index(thing)
    return semantic


def _boxes_from_pixels(taught: LabelledBoxes, semantic: npt.NDArray[np.uint8]) -> LabelledBoxes:
    """Adds signs and cyclists as connected regions of their pixels, and drops what the teacher calls them."""
    riders = semantic == CAMVID_CLASSES.index("bicyclist")
    keep = np.ones(len(taught.boxes_xyxy), bool)
    for row, (x1, y1, x2, y2) in enumerate(taught.boxes_xyxy.round().astype(int)):
        if OBJECT_CLASSES[taught.class_ids[row]] in ("pedestrian", "cyclist", "bicycle", "motorcycle"):
            inside = riders[max(0, y1) : y2, max(0, x1) : x2]
            keep[row] = inside.size > 0 and inside.mean() < 0.15
    parts = [taught.rows(keep)]
    for name, camvid, least_px in (
        ("traffic_sign", "sign", _MIN_SIGN_AREA_PX),
        ("cyclist", "bicyclist", _MIN_CYCLIST_AREA_PX),
    ):
        count, _, stats, _ = cv2.connectedComponentsWithStats(
            (semantic == CAMVID_CLASSES.index(camvid)).astype(np.uint8)
        )
        if count > 1:
            stats = stats[1:]
            boxes = np.stack(
                [stats[:, 0], stats[:, 1], stats[:, 0] + stats[:, 2], stats[:, 1] + stats[:, 3]], axis=1
            ).astype(np.float32)
            small = stats[:, 4] < least_px
            parts.append(LabelledBoxes(boxes, np.full(len(boxes), OBJECT_CLASSES.index(name), np.int64), small))
    # the published form has one class for signs and lights: a light may have been drawn as a sign
    lights = OBJECT_CLASSES.index("traffic_light")
    signs = parts[1] if len(parts) > 1 else LabelledBoxes.empty()
    as_lights = LabelledBoxes(
        signs.boxes_xyxy, np.full(len(signs.class_ids), lights), np.ones(len(signs.ignored), bool)
    )
    return LabelledBoxes.joined(*parts, as_lights)
