"""Losses of the street network. Each learns only where its labels exist."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import complete_box_iou_loss

from perception.classes import CAMVID_CLASSES, VOID_ID
from perception.models.street_layout import (
    BOX_STRIDES,
    CUE_SCALE_PX,
    DENSE_STRIDE,
    EMBEDDING,
    SEMANTIC_STRIDE,
    SOLID_CUES,
)
from perception.training.labels import LABEL_SETS, NOT_A_THING

__all__ = [
    "Targets", "box_losses", "cell_grid", "cue_loss", "decode_boxes", "depth_loss", "grouped_logits", "identity_loss",
    "semantic_losses",
]  # fmt: skip

_THINGS = tuple(CAMVID_CLASSES.index(name) for name in ("car", "pedestrian", "bicyclist"))
# task-aligned assignment: Feng et al., "TOOD", ICCV 2021
_CANDIDATES = 10
_SCORE_POWER = 0.5
_IOU_POWER = 4.0
_LEAST_BOX_PX = 12.0  # a smaller box still owns the cells around its centre
_TEMPERATURE = 0.1  # of the comparison of embeddings
_FARTHEST_LOG = 1.0  # of depth over the measured one; beyond, its error counts by the logarithm


@dataclass(frozen=True, slots=True)
class Targets:
    """Labels of one batch.

    Attributes:
        semantic: (N, H, W) u8.
        label_sets: per image, a key of ``LABEL_SETS``.
        boxes_xyxy: per image (B, 4) f32 px.
        class_ids: per image (B,) i64; -1 where ignored for every class.
        ignored: per image (B,) bool.
        known_classes: (N, C) bool.
        solid: per image (B, 7) f32 ``SOLID_COLUMNS``, the distance for a camera of ``DEPTH_FOCAL_PX``; NaN unknown.
        identities: per image (B,) i64; -1 where unknown.
        whole: per image (B,) bool: edges and cues are learnt from these alone.
        depth_m: (N, H / 4, W / 4) f32 for a camera of ``DEPTH_FOCAL_PX``; 0 where unknown.
        owners: per image (H, W) i64 rows of boxes, -1 for none; None where nobody drew them.
    """

    semantic: Tensor
    label_sets: list[str]
    boxes_xyxy: list[Tensor]
    class_ids: list[Tensor]
    ignored: list[Tensor]
    known_classes: Tensor
    solid: list[Tensor]
    identities: list[Tensor]
    whole: list[Tensor]
    depth_m: Tensor
    owners: list[Tensor | None]


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


def box_losses(out: Tensor, targets: Targets) -> dict[str, Tensor]:
    """What the cells of boxes should say.

    Args:
        out: (N, 4 + C + solid cues + embedding, A) of the network.
        targets: the labels.

    Returns:
        ``classes``: cross entropy against the quality; ``edges``: complete IoU; ``solid``: size, heading, distance and
        centre in space; ``identity``: how well embeddings tell one object from the others.
    """
    height, width = targets.semantic.shape[1:]
    centres, strides = cell_grid(height, width)
    out = out.float()
    classes = out.shape[1] - 4 - len(SOLID_CUES) - EMBEDDING
    predicted = decode_boxes(out[:, :4].transpose(1, 2), centres, strides)
    logits = out[:, 4 : 4 + classes].transpose(1, 2)
    cues = out[:, 4 + classes : 4 + classes + len(SOLID_CUES)].transpose(1, 2)
    embeddings = out[:, -EMBEDDING:].transpose(1, 2)
    wanted = torch.zeros_like(logits)
    weight = targets.known_classes[:, None, :].float().expand_as(logits).clone()
    edge_losses, edge_weights, solid_losses, solid_weights, vectors, names, places = [], [], [], [], [], [], []
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
        is_whole = targets.whole[image][~ignored][rows]
        scores = logits[image, cells, class_ids[rows]].detach().sigmoid()
        # a box of the whole object must not pay for agreeing badly with its visible part
        wanted[image, cells, class_ids[rows]] = torch.where(is_whole, quality[cells], quality[cells].maximum(scores))
        weight[image, cells, class_ids[rows]] = 1.0
        edge_losses.append(complete_box_iou_loss(predicted[image, cells], boxes[rows]))
        edge_weights.append(quality[cells] * is_whole)
        solid = _solid_targets(targets.solid[image][~ignored][rows], centres[cells], strides[cells])
        known = solid.isfinite().all(dim=1)
        solid_losses.append(_solid_loss(cues[image, cells][known], solid[known]))
        solid_weights.append(quality[cells][known])
        identities = targets.identities[image][~ignored][rows]
        for identity in torch.unique(identities[identities >= 0]):
            own = identities == identity
            vectors.append((embeddings[image, cells[own]] * (quality[cells[own]] + 0.01)[:, None]).sum(dim=0))
            names.append(int(identity))
            places.append(image)
    total = wanted.sum().clamp(min=1.0)
    # without focal weights: a score is then the expected quality, and background soon scores next to nothing
    cross_entropy = functional.binary_cross_entropy_with_logits(logits, wanted, weight, reduction="sum")
    losses = {"classes": cross_entropy / total} | dict.fromkeys(("edges", "solid", "identity"), out.sum() * 0.0)
    if edge_losses:
        losses["edges"] = (torch.cat(edge_losses) * torch.cat(edge_weights)).sum() / total
        of_solid = torch.cat(solid_weights)
        losses["solid"] = (torch.cat(solid_losses) * of_solid).sum() / of_solid.sum().clamp(min=1.0)
    if vectors:
        losses["identity"] = identity_loss(torch.stack(vectors), torch.tensor(names), torch.tensor(places))
    return losses


def _solid_targets(solid: Tensor, centres: Tensor, strides: Tensor) -> Tensor:
    """(K, 7) ``SOLID_COLUMNS`` to (K, 8) ``SOLID_CUES`` of the cells; NaN where unknown."""
    log_sides, alpha, log_distance = solid[:, :3].log(), solid[:, 3:4], solid[:, 4:5].log()
    offset = (solid[:, 5:] - centres) / strides[:, None]
    return torch.cat([log_sides, alpha.sin(), alpha.cos(), log_distance, offset], dim=1)


def _solid_loss(cues: Tensor, wanted: Tensor) -> Tensor:
    difference = functional.smooth_l1_loss(cues, wanted, beta=0.1, reduction="none")
    # offsets are in cells: a tenth of a cell matters as much as a tenth of a size
    return difference.sum(dim=1)


def identity_loss(vectors: Tensor, identities: Tensor, images: Tensor) -> Tensor:
    """Cross entropy of finding an object's other view among all objects of the batch, by the cosine of embeddings.

    van den Oord et al., "Representation learning with contrastive predictive coding", 2018.

    Args:
        vectors: (K, E), one per object and image, of any length.
        identities: (K,) i64.
        images: (K,) i64, the image that each is seen in.
    """
    unit = functional.normalize(vectors, dim=1)
    likeness = unit @ unit.T / _TEMPERATURE
    same = identities[:, None] == identities[None]
    positive = same & (images[:, None] != images[None])
    others = likeness.masked_fill(same & ~positive, -torch.inf)
    anchors = positive.any(dim=1) & (~same).any(dim=1)
    if not anchors.any():
        return vectors.sum() * 0.0
    found = likeness.masked_fill(~positive, -torch.inf).logsumexp(dim=1)
    loss: Tensor = (others.logsumexp(dim=1) - found)[anchors].mean()
    return loss


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


def grouped_logits(logits: Tensor, label_set: str) -> Tensor:
    """(P, S) logits of semantic classes to (P, L) logits of a set's labels: each label stands for some classes."""
    groups = LABEL_SETS[label_set]
    return torch.stack(
        [logits[:, group[0]] if len(group) == 1 else logits[:, list(group)].logsumexp(dim=1) for group in groups], dim=1
    )


def semantic_losses(
    logits: Tensor, targets: Targets, class_weights: dict[str, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Weighted cross entropy and Lovász loss of drawn labels, and the loss of labels derived from boxes.

    Args:
        logits: (N, S, H / 2, W / 2).
        targets: the labels.
        class_weights: by label set, (L,).
    """
    logits = logits.float()
    zero = logits.sum() * 0.0
    cross_entropy, lovasz, derived = zero, zero, zero
    start_v, start_u = (int(value) for value in torch.randint(0, SEMANTIC_STRIDE, (2,)))
    labels = targets.semantic[:, start_v::SEMANTIC_STRIDE, start_u::SEMANTIC_STRIDE]
    drawn_sets = sorted(set(targets.label_sets) - {"boxes"})
    for label_set in drawn_sets:
        images = [index for index, name in enumerate(targets.label_sets) if name == label_set]
        valid = labels[images] != VOID_ID
        if not valid.any():
            continue
        share = len(images) / sum(name != "boxes" for name in targets.label_sets)
        chosen = grouped_logits(logits[images].permute(0, 2, 3, 1)[valid], label_set)
        wanted = labels[images][valid].long()
        cross_entropy = cross_entropy + share * functional.cross_entropy(chosen, wanted, class_weights[label_set])
        # sorting is dear and neighbours say much the same
        lovasz = lovasz + share * _lovasz(chosen[::4].softmax(dim=1), wanted[::4])
    derived_images = [index for index, name in enumerate(targets.label_sets) if name == "boxes"]
    if derived_images:
        coarse = labels[derived_images, ::2, ::2].long()
        chosen = logits[derived_images, :, ::2, ::2].permute(0, 2, 3, 1)
        sure = coarse < len(CAMVID_CLASSES)
        nothing = coarse == NOT_A_THING
        parts = []
        if sure.any():
            parts.append(functional.cross_entropy(grouped_logits(chosen[sure], "boxes"), coarse[sure]))
        if nothing.any():
            log_probability = grouped_logits(chosen[nothing], "boxes").log_softmax(dim=1)
            others = [index for index in range(len(CAMVID_CLASSES)) if index not in _THINGS]
            parts.append(-log_probability[:, others].logsumexp(dim=1).mean())
        if parts:
            derived = torch.stack(parts).sum()
    return cross_entropy, lovasz, derived


def depth_loss(log_depth: Tensor, targets: Targets) -> Tensor:
    """Mean relative error of depth where it was measured.

    Args:
        log_depth: (N, H / 4, W / 4).
        targets: the labels.
    """
    known = targets.depth_m > 0
    if not known.any():
        return log_depth.sum() * 0.0
    # every image counts alike, however sparse its points
    losses = [
        _relative_error(found[mask].float() - depth[mask].log())
        for found, depth, mask in zip(log_depth, targets.depth_m, known, strict=True)
        if mask.any()
    ]
    return torch.stack(losses).mean()


def _relative_error(difference: Tensor) -> Tensor:
    """Of differences of logarithms: too far counts more than too near, as it does where depth is judged."""
    near = difference.clamp(max=_FARTHEST_LOG)
    relative = near.expm1() + near.exp() * (difference - near)
    return functional.smooth_l1_loss(relative, torch.zeros_like(relative), beta=0.05)


def cue_loss(cue: Tensor, targets: Targets) -> Tensor:
    """Distance of the box cues from the boxes that own the cells.

    Where nobody drew who owns a pixel, the nearer of overlapping objects, which reaches lower in the image, owns the
    cell. Where classes are drawn only pixels of a thing count; elsewhere only the inner part of a box does.

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
        owners = targets.owners[image]
        if owners is not None:
            row = owners[2::DENSE_STRIDE, 2::DENSE_STRIDE]
            rows_v, columns_u = (row >= 0).nonzero(as_tuple=True)
            row = row[rows_v, columns_u]
            x1, y1, x2, y2 = targets.boxes_xyxy[image][row].T
            edges = torch.stack([u[columns_u] - x1, v[rows_v] - y1, x2 - u[columns_u], y2 - v[rows_v]])
            inner = (edges > 0).all(dim=0)
            wanted[image, :, rows_v, columns_u] = torch.log1p(edges.clamp(min=0) / CUE_SCALE_PX)
            learnt = targets.whole[image] & ~targets.ignored[image]
            weight[image, rows_v, columns_u] = (inner & learnt[row]).float()
            continue
        keep = targets.class_ids[image] >= 0
        boxes = targets.boxes_xyxy[image][keep]
        ignored = targets.ignored[image][keep] | ~targets.whole[image][keep]
        is_drawn = targets.label_sets[image] == "camvid"
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
