"""Losses of the street network. Each learns only where its labels exist."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import complete_box_iou_loss

from perception.classes import CAMVID_CLASSES, VOID_ID
from perception.models.street_layout import BOX_STRIDES, CUE_SCALE_PX, DENSE_STRIDE
from perception.training.data import NOT_A_THING

__all__ = ["Targets", "box_losses", "cell_grid", "cue_loss", "decode_boxes", "semantic_losses"]

_THINGS = tuple(CAMVID_CLASSES.index(name) for name in ("car", "pedestrian", "bicyclist"))
# task-aligned assignment: Feng et al., "TOOD", ICCV 2021
_CANDIDATES = 10
_SCORE_POWER = 0.5
_IOU_POWER = 4.0
_LEAST_BOX_PX = 12.0  # a smaller box still owns the cells around its centre


@dataclass(frozen=True, slots=True)
class Targets:
    """Labels of one batch.

    Attributes:
        semantic: (N, H, W) u8.
        semantic_is_drawn: (N,) bool.
        boxes_xyxy: per image (B, 4) f32 px.
        class_ids: per image (B,) i64; -1 where ignored for every class.
        ignored: per image (B,) bool.
        known_classes: (N, C) bool.
    """

    semantic: Tensor
    semantic_is_drawn: Tensor
    boxes_xyxy: list[Tensor]
    class_ids: list[Tensor]
    ignored: list[Tensor]
    known_classes: Tensor


def cell_grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Centres (A, 2) px and strides (A,) of the box cells of an image, in the network's order."""
    centres, strides = [], []
    for stride in BOX_STRIDES:
        v, u = torch.meshgrid(torch.arange(height // stride), torch.arange(width // stride), indexing="ij")
        centres.append((torch.stack([u.flatten(), v.flatten()], dim=1).float() + 0.5) * stride)
        strides.append(torch.full((u.numel(),), float(stride)))
    return torch.cat(centres), torch.cat(strides)


def decode_boxes(log_edges: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """(..., A, 4) logarithms of edge distances to (..., A, 4) corners in px."""
    edges = log_edges.clamp(max=6.0).exp() * strides[:, None]
    return torch.cat([centres - edges[..., :2], centres + edges[..., 2:]], dim=-1)


def _pairwise_iou(first: Tensor, second: Tensor) -> Tensor:
    low = torch.maximum(first[:, None, :2], second[None, :, :2])
    high = torch.minimum(first[:, None, 2:], second[None, :, 2:])
    overlap = (high - low).clamp(min=0).prod(dim=-1)
    area = [(boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=-1) for boxes in (first, second)]
    return overlap / (area[0][:, None] + area[1][None] - overlap + 1e-6)


def _inside(centres: Tensor, boxes: Tensor) -> Tensor:
    """(B, A) whether a cell's centre lies in a box."""
    return (
        (centres[None, :, 0] > boxes[:, None, 0])
        & (centres[None, :, 0] < boxes[:, None, 2])
        & (centres[None, :, 1] > boxes[:, None, 1])
        & (centres[None, :, 1] < boxes[:, None, 3])
    )


@torch.no_grad()
def _assign(
    boxes: Tensor, class_ids: Tensor, predicted: Tensor, scores: Tensor, centres: Tensor
) -> tuple[Tensor, Tensor]:
    """Which object every cell stands for, and how well.

    Returns:
        rows (A,) i64 of ``boxes``, -1 for none; quality (A,) f32 0 ... 1, the score that the cell should give.
    """
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp(min=_LEAST_BOX_PX / 2)
    candidates = _inside(centres, torch.cat([middle - half, middle + half], dim=1))
    iou = _pairwise_iou(boxes, predicted)
    alignment = scores[:, class_ids].T.clamp(min=1e-4) ** _SCORE_POWER * iou**_IOU_POWER
    # the small term orders cells by nearness while nothing is learnt yet
    nearness = 1e-9 / (1 + torch.cdist(middle, centres))
    alignment = (alignment + nearness) * candidates
    count = min(_CANDIDATES, alignment.shape[1])
    best = alignment.topk(count, dim=1)
    chosen = torch.zeros_like(candidates).scatter_(1, best.indices, True) & candidates
    alignment = alignment * chosen
    value, row = alignment.max(dim=0)
    row = torch.where(value > 0, row, -1)
    strongest = alignment.amax(dim=1).clamp(min=1e-12)
    best_iou = (iou * chosen).amax(dim=1)
    quality = torch.where(row >= 0, value / strongest[row.clamp(min=0)] * best_iou[row.clamp(min=0)], 0.0)
    return row, quality


def box_losses(out: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """Class loss (cross entropy against the quality) and edge loss (complete IoU).

    Args:
        out: (N, 4 + C, A) of the network.
        targets: the labels.
    """
    height, width = targets.semantic.shape[1:]
    centres, strides = cell_grid(height, width)
    out = out.float()
    predicted = decode_boxes(out[:, :4].transpose(1, 2), centres, strides)
    logits = out[:, 4:].transpose(1, 2)
    wanted = torch.zeros_like(logits)
    weight = targets.known_classes[:, None, :].float().expand_as(logits).clone()
    edge_losses, edge_weights = [], []
    for image in range(len(out)):
        boxes, class_ids, ignored = targets.boxes_xyxy[image], targets.class_ids[image], targets.ignored[image]
        for box, class_id in zip(boxes[ignored], class_ids[ignored], strict=True):
            inside = _inside(centres, box[None])[0]
            if class_id < 0:
                weight[image, inside] = 0.0
            else:
                weight[image, inside, class_id] = 0.0
        boxes, class_ids = boxes[~ignored], class_ids[~ignored]
        if not len(boxes):
            continue
        row, quality = _assign(boxes, class_ids, predicted[image].detach(), logits[image].detach().sigmoid(), centres)
        cells = (row >= 0).nonzero()[:, 0]
        rows = row[cells]
        wanted[image, cells, class_ids[rows]] = quality[cells]
        weight[image, cells, class_ids[rows]] = 1.0
        edge_losses.append(complete_box_iou_loss(predicted[image, cells], boxes[rows]))
        edge_weights.append(quality[cells])
    total = wanted.sum().clamp(min=1.0)
    # without focal weights: a score is then the expected quality, and background soon scores next to nothing
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, wanted, weight, reduction="sum")
    if not edge_losses:
        return cross_entropy / total, out.sum() * 0.0
    edges = (torch.cat(edge_losses) * torch.cat(edge_weights)).sum() / total
    return cross_entropy / total, edges


def _lovasz(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Lovász softmax over the classes present; Berman et al., CVPR 2018.

    Args:
        probabilities: (P, C).
        labels: (P,) i64.
    """
    losses = []
    for class_id in torch.bincount(labels).nonzero()[:, 0]:
        member = (labels == class_id).float()
        errors, order = (member - probabilities[:, class_id]).abs().sort(descending=True)
        member = member[order]
        total = member.sum()
        jaccard = 1.0 - (total - member.cumsum(0)) / (total + (1.0 - member).cumsum(0))
        steps = torch.cat([jaccard[:1], jaccard[1:] - jaccard[:-1]])
        losses.append(torch.dot(errors, steps))
    return torch.stack(losses).mean()


def semantic_losses(logits: Tensor, targets: Targets, class_weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted cross entropy and Lovász loss of drawn labels, and the loss of labels derived from boxes.

    Args:
        logits: (N, C, H / 4, W / 4).
        targets: the labels.
        class_weights: (C,).
    """
    logits = logits.float()
    drawn = targets.semantic_is_drawn
    zero = logits.sum() * 0.0
    cross_entropy, lovasz, derived = zero, zero, zero
    if drawn.any():
        finer = functional.interpolate(logits[drawn], scale_factor=2.0, mode="bilinear", align_corners=False)
        start_v, start_u = (int(value) for value in torch.randint(0, 2, (2,)))
        labels = targets.semantic[drawn][:, start_v::2, start_u::2].long()
        if (labels != VOID_ID).any():
            cross_entropy = functional.cross_entropy(finer, labels, class_weights, ignore_index=VOID_ID)
            coarse = targets.semantic[drawn][:, start_v + 1 :: DENSE_STRIDE, start_u + 1 :: DENSE_STRIDE].long()
            valid = coarse != VOID_ID
            if valid.any():
                lovasz = _lovasz(logits[drawn].permute(0, 2, 3, 1)[valid].softmax(dim=1), coarse[valid])
    if not drawn.all():
        labels = targets.semantic[~drawn][:, 2::DENSE_STRIDE, 2::DENSE_STRIDE].long()
        chosen = logits[~drawn].permute(0, 2, 3, 1)
        sure = labels < logits.shape[1]
        nothing = labels == NOT_A_THING
        parts = []
        if sure.any():
            parts.append(functional.cross_entropy(chosen[sure], labels[sure]))
        if nothing.any():
            log_probability = chosen[nothing].log_softmax(dim=1)
            others = [index for index in range(logits.shape[1]) if index not in _THINGS]
            parts.append(-log_probability[:, others].logsumexp(dim=1).mean())
        if parts:
            derived = torch.stack(parts).sum()
    return cross_entropy, lovasz, derived


def cue_loss(cue: Tensor, targets: Targets) -> Tensor:
    """Distance of the box cues from the boxes that own the cells.

    Where boxes overlap the nearer object, which reaches lower in the image, owns the cell. Where pixels are drawn only
    those of a thing count; elsewhere only the inner part of a box does.

    Args:
        cue: (N, 4, H / 4, W / 4).
        targets: the labels.
    """
    cue = cue.float()
    wanted = torch.zeros_like(cue)
    weight = torch.zeros_like(cue[:, 0])
    height, width = cue.shape[2:]
    v = (torch.arange(height) + 0.5) * DENSE_STRIDE
    u = (torch.arange(width) + 0.5) * DENSE_STRIDE
    things = torch.tensor(_THINGS)
    for image in range(len(cue)):
        keep = targets.class_ids[image] >= 0
        boxes, ignored = targets.boxes_xyxy[image][keep], targets.ignored[image][keep]
        is_drawn = bool(targets.semantic_is_drawn[image])
        shrink = 0.0 if is_drawn else 0.12
        for row in boxes[:, 3].argsort():
            x1, y1, x2, y2 = boxes[row].tolist()
            columns = ((u > x1) & (u < x2)).nonzero()[:, 0]
            rows = ((v > y1) & (v < y2)).nonzero()[:, 0]
            if not len(columns) or not len(rows):
                continue
            area = (slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1))
            uu, vv = u[columns][None].expand(len(rows), -1), v[rows][:, None].expand(-1, len(columns))
            edges = torch.stack([uu - x1, vv - y1, x2 - uu, y2 - vv])
            wanted[image, :, area[0], area[1]] = torch.log1p(edges / CUE_SCALE_PX)
            inner = (
                (edges[0] > shrink * (x2 - x1)) & (edges[2] > shrink * (x2 - x1))
                & (edges[1] > shrink * (y2 - y1)) & (edges[3] > shrink * (y2 - y1))
            )  # fmt: skip
            weight[image, area[0], area[1]] = 0.0 if ignored[row] else inner.float()
        if is_drawn:
            drawn = targets.semantic[image, 2::DENSE_STRIDE, 2::DENSE_STRIDE].long()
            weight[image] *= torch.isin(drawn, things).float()
    difference = functional.smooth_l1_loss(cue, wanted, beta=0.1, reduction="none").sum(dim=1)
    return (difference * weight).sum() / weight.sum().clamp(min=1.0)
