"""Figures of a network while it is trained, on CamVid, on KITTI frames kept apart and on simulated frames.

The AP here follows KITTI's moderate rules (least height 25 px, occlusion up to 1, truncation up to 0.3 where known,
other objects and "DontCare" neutral) but is computed on few frames; the project's evaluation is the one to quote.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import batched_nms, box_iou

from perception.classes import CAMVID_CLASSES, OBJECT_CLASSES, SEMANTIC_CLASSES, semantic_to_camvid
from perception.models.street import StreetNet
from perception.models.street_layout import (
    DENSE_STRIDE,
    DEPTH_FOCAL_PX,
    EMBEDDING,
    IMAGENET_MEAN,
    IMAGENET_STD,
    SOLID_CUES,
)
from perception.training.labels import Sample
from perception.training.losses import cell_grid, decode_boxes

__all__ = ["abs_rel", "average_precision", "figures", "score_shift", "validate"]

_LEAST_HEIGHT_PX = 25.0
_RECALLS = 40
_RIGHT_IOU = 0.5
_SIZE_STEP_PX = 32
CAMVID_INPUT_HW = (384, 512)
KITTI_INPUT_HW = (256, 832)


def validate(
    network: StreetNet,
    camvid: Sequence[Sample] = (),
    kitti: Sequence[Sample] = (),
    sim: Sequence[Sample] = (),
) -> dict[str, float]:
    """Figures by name.

    Args:
        network: to judge.
        camvid: images with CamVid's labels.
        kitti: frames kept apart.
        sim: simulated frames.
        others: images with semantic classes, boxes or depth, by the name that their figures begin with.

    Returns:
        Percentages ``mIoU``, ``<class>/IoU``, ``<class>/AP40@<IoU>`` and, of simulated frames, ``sim/...``;
        ``abs rel``, the relative error of depth; ``score shift``, a logit.
    """
    network.eval()
    with torch.inference_mode():
        metrics = {}
        if camvid:
            iou = _iou(network, camvid, CAMVID_INPUT_HW, len(CAMVID_CLASSES))
            metrics = {"mIoU": float(np.nanmean(iou))}
            metrics |= {f"{name}/IoU": float(value) for name, value in zip(CAMVID_CLASSES, iou, strict=True)}
        if kitti:
            found = [_boxes(network, sample, KITTI_INPUT_HW) for sample in kitti]
            for name, least_iou in (("car", 0.7), ("car", 0.5), ("pedestrian", 0.5)):
                metrics[f"{name}/AP40@{least_iou}"] = average_precision(found, kitti, name, least_iou)
            metrics["score shift"] = score_shift(found, kitti)
            metrics["abs rel"] = abs_rel(network, kitti, KITTI_INPUT_HW)
        if sim:
            metrics |= {f"sim/{name}": value for name, value in figures(network, sim).items()}
    return metrics


def figures(network: StreetNet, samples: Sequence[Sample]) -> dict[str, float]:
    """Percentages ``mIoU`` and ``<class>/AP40@0.5``, and ``abs rel``, on images with semantic classes, boxes or depth.

    What the images have no labels for is NaN or 0.
    """
    network.eval()
    with torch.inference_mode():
        size = _input_hw(samples[0])
        iou = _iou(network, samples, size, len(SEMANTIC_CLASSES))
        metrics = {"mIoU": float(iou[~np.isnan(iou)].mean()) if not np.isnan(iou).all() else float("nan")}
        found = [_boxes(network, sample, size) for sample in samples]
        for name in ("car", "pedestrian", "cyclist"):
            metrics[f"{name}/AP40@0.5"] = average_precision(found, samples, name, 0.5)
        metrics["abs rel"] = abs_rel(network, samples, size)
    return metrics


def _input_hw(sample: Sample) -> tuple[int, int]:
    """The size at which the network sees an image in use, in whole cells."""
    height, width = (
        max(_SIZE_STEP_PX, round(side * sample.scale / _SIZE_STEP_PX) * _SIZE_STEP_PX)
        for side in sample.image_rgb.shape[:2]
    )
    return height, width


def _forward(
    network: StreetNet, image: npt.NDArray[np.uint8], size_hw: tuple[int, int]
) -> tuple[Tensor, Tensor, Tensor]:
    resized = cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_LINEAR)
    mean, deviation = torch.tensor(IMAGENET_MEAN) * 255, torch.tensor(IMAGENET_STD) * 255
    batch = ((torch.from_numpy(resized).float() - mean) / deviation).permute(2, 0, 1)[None]
    boxes, semantic, dense = network(batch.contiguous(memory_format=torch.channels_last))
    return boxes, semantic, dense


def _iou(
    network: StreetNet, samples: Sequence[Sample], size_hw: tuple[int, int], count: int
) -> npt.NDArray[np.float64]:
    """IoU per label, over all pixels of all images that are not void; in CamVid's labels or in semantic classes."""
    confusion = np.zeros((count, count), np.int64)
    for sample in samples:
        _, semantic, _ = _forward(network, sample.image_rgb, size_hw)
        logits = functional.interpolate(semantic, sample.semantic.shape, mode="bilinear", align_corners=False)
        found = logits[0].argmax(dim=0).numpy().astype(np.uint8)
        if sample.label_set == "camvid":
            found = semantic_to_camvid(found)
        valid = sample.semantic < count
        confusion += np.bincount(
            sample.semantic[valid].astype(np.int64) * count + found[valid], minlength=count * count
        ).reshape(count, count)
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    iou: npt.NDArray[np.float64] = np.where(union > 0, 100 * np.diag(confusion) / np.maximum(union, 1), np.nan)
    return iou


def abs_rel(network: StreetNet, samples: Sequence[Sample], size_hw: tuple[int, int], farthest_m: float = 80.0) -> float:
    """Mean relative error of depth at the points where it was measured, up to ``farthest_m``."""
    errors = []
    for sample in samples:
        if sample.depth_points is None or sample.focal_px <= 0:
            continue
        _, _, dense = _forward(network, sample.image_rgb, size_hw)
        height, width = sample.image_rgb.shape[:2]
        depth = dense[0, 4].exp().numpy() * (sample.focal_px * size_hw[0] / height / DEPTH_FOCAL_PX)
        u, v, truth = sample.depth_points[sample.depth_points[:, 2] <= farthest_m].T
        column = (u * size_hw[1] / width / DENSE_STRIDE).astype(int).clip(0, depth.shape[1] - 1)
        row = (v * size_hw[0] / height / DENSE_STRIDE).astype(int).clip(0, depth.shape[0] - 1)
        errors.append(np.abs(depth[row, column] - truth) / truth)
    return float(np.mean([error.mean() for error in errors])) if errors else float("nan")


def _boxes(network: StreetNet, sample: Sample, size_hw: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    out, _, _ = _forward(network, sample.image_rgb, size_hw)
    centres, strides = cell_grid(*size_hw)
    height, width = sample.image_rgb.shape[:2]
    scale = torch.tensor([width / size_hw[1], height / size_hw[0]]).repeat(2)
    boxes = decode_boxes(out[0, :4].T, centres, strides) * scale
    scores, class_ids = out[0, 4 : -len(SOLID_CUES) - EMBEDDING].sigmoid().max(dim=0)
    keep = scores > 0.02
    boxes, scores, class_ids = boxes[keep], scores[keep], class_ids[keep]
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, width - 1)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, height - 1)
    rows = batched_nms(boxes, scores, class_ids, 0.6)[:200]
    return boxes[rows], scores[rows], class_ids[rows]


def average_precision(
    found: list[tuple[Tensor, Tensor, Tensor]], samples: Sequence[Sample], name: str, least_iou: float
) -> float:
    """Interpolated at 40 recalls; boxes that are small, of a neighbouring class or in ignored regions are neutral."""
    class_id = OBJECT_CLASSES.index(name)
    neighbour = {"car": "van", "pedestrian": "cyclist"}.get(name)
    neutral_id = OBJECT_CLASSES.index(neighbour) if name == "car" and neighbour else -2
    scores, hits, total = [], [], 0
    for (boxes, box_scores, class_ids), sample in zip(found, samples, strict=True):
        truth = torch.from_numpy(sample.boxes.boxes_xyxy)
        is_class = torch.from_numpy((sample.boxes.class_ids == class_id) & ~sample.boxes.ignored)
        tall = (truth[:, 3] - truth[:, 1]) >= _LEAST_HEIGHT_PX
        hard = torch.from_numpy(sample.hard) if sample.hard is not None else torch.zeros(len(truth), dtype=torch.bool)
        valid = is_class & tall & ~hard
        is_neutral = (is_class & ~valid) | torch.from_numpy(sample.boxes.class_ids == neutral_id)
        region = truth[torch.from_numpy(sample.boxes.class_ids == -1)]
        total += int(valid.sum())
        chosen = (class_ids == class_id) & ((boxes[:, 3] - boxes[:, 1]) >= _LEAST_HEIGHT_PX)
        boxes, box_scores = boxes[chosen], box_scores[chosen]
        taken = torch.zeros(len(truth), dtype=torch.bool)
        iou = box_iou(boxes, truth) if len(truth) else torch.zeros(len(boxes), 0)
        for row in box_scores.argsort(descending=True):
            free = iou[row] * (~taken) if len(truth) else iou[row]
            best = int((free * (valid | is_neutral)).argmax()) if len(truth) else -1
            if best >= 0 and free[best] >= least_iou and valid[best]:
                taken[best] = True
                scores.append(float(box_scores[row]))
                hits.append(True)
                continue
            if best >= 0 and free[best] >= least_iou and is_neutral[best]:
                taken[best] = True
                continue
            if len(region) and _covered(boxes[row], region) > least_iou:
                continue
            scores.append(float(box_scores[row]))
            hits.append(False)
    if not total or not scores:
        return 0.0
    order = np.argsort(-np.array(scores), kind="stable")
    true = np.cumsum(np.array(hits)[order])
    precision = true / np.arange(1, len(order) + 1)
    recall = true / total
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    wanted = np.arange(1, _RECALLS + 1) / _RECALLS
    at = np.searchsorted(recall, wanted - 1e-9)
    return float(100 * np.where(at < len(envelope), envelope[np.minimum(at, len(envelope) - 1)], 0.0).mean())


def score_shift(found: list[tuple[Tensor, Tensor, Tensor]], samples: Sequence[Sample]) -> float:
    """What to add to class logits so that a car's score is the probability that its box is right (IoU above 0.5).

    The network learns to score by expected quality, which is lower. The shift with the highest likelihood is chosen, in
    steps of 0.1; it changes no order and so no average precision.
    """
    car, van = OBJECT_CLASSES.index("car"), OBJECT_CLASSES.index("van")
    logits, hits = [], []
    for (boxes, scores, class_ids), sample in zip(found, samples, strict=True):
        truth = torch.from_numpy(sample.boxes.boxes_xyxy[np.isin(sample.boxes.class_ids, [car, van])])
        ignored = torch.from_numpy(sample.boxes.boxes_xyxy[sample.boxes.class_ids == -1])
        cars = class_ids == car
        best = box_iou(boxes[cars], truth).amax(dim=1) if len(truth) else torch.zeros(int(cars.sum()))
        judged = torch.tensor([not len(ignored) or _covered(box, ignored) < _RIGHT_IOU for box in boxes[cars]])
        if len(judged):
            logits.append(scores[cars][judged].clamp(1e-4, 1 - 1e-4).logit())
            hits.append((best[judged] > _RIGHT_IOU).float())
    if not logits:
        return 0.0
    logit, hit = torch.cat(logits), torch.cat(hits)
    shifts = torch.arange(-20, 41) / 10
    losses = [torch.nn.functional.binary_cross_entropy_with_logits(logit + shift, hit) for shift in shifts]
    return float(shifts[int(torch.stack(losses).argmin())])


def _covered(box: Tensor, regions: Tensor) -> float:
    low = torch.maximum(box[:2], regions[:, :2])
    high = torch.minimum(box[2:], regions[:, 2:])
    area = float((box[2:] - box[:2]).prod())
    return float((high - low).clamp(min=0).prod(dim=1).max()) / max(area, 1e-6)
