"""Each head learns where its labels exist, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perception.classes import CAMVID_CLASSES, OBJECT_CLASSES, VOID_ID
from perception.models.street_layout import CUE_SCALE_PX
from perception.training.data import NOT_A_THING
from perception.training.losses import Targets, box_losses, cell_grid, cue_loss, semantic_losses

HEIGHT, WIDTH = 64, 96
CAR, VAN = OBJECT_CLASSES.index("car"), OBJECT_CLASSES.index("van")
ROAD, CAR_PIXEL = CAMVID_CLASSES.index("road"), CAMVID_CLASSES.index("car")


def targets(
    boxes: list[list[float]],
    class_ids: list[int],
    *,
    ignored: list[bool] | None = None,
    known: list[str] | None = None,
    semantic: int | Tensor = VOID_ID,
    drawn: bool = True,
) -> Targets:
    if isinstance(semantic, int):
        semantic = torch.full((HEIGHT, WIDTH), semantic, dtype=torch.uint8)
    known_classes = torch.tensor([known is None or name in known for name in OBJECT_CLASSES])
    return Targets(
        semantic[None],
        torch.tensor([drawn]),
        [torch.tensor(boxes).reshape(-1, 4)],
        [torch.tensor(class_ids, dtype=torch.int64)],
        [torch.tensor(ignored or [False] * len(boxes), dtype=torch.bool)],
        known_classes[None],
    )


def box_output(boxes: Tensor | None = None, logit: float = 0.0) -> Tensor:
    """An output whose every cell predicts the given box (or a small one) and the same logits."""
    centres, strides = cell_grid(HEIGHT, WIDTH)
    out = torch.full((1, 4 + len(OBJECT_CLASSES), len(centres)), logit)
    out[0, :4] = 0.0
    if boxes is not None:
        edges = torch.cat([centres - boxes[:2], boxes[2:] - centres], dim=1).clamp(min=0.5)
        out[0, :4] = (edges / strides[:, None]).log().T
    return out.requires_grad_()


def test_cells_come_in_the_networks_order() -> None:
    centres, strides = cell_grid(HEIGHT, WIDTH)
    assert len(centres) == len(strides) == 8 * 12 + 4 * 6 + 2 * 3
    assert centres[0].tolist() == [4, 4]
    assert centres[1].tolist() == [12, 4]
    assert centres[12].tolist() == [4, 12]
    assert centres[96].tolist() == [8, 8]
    assert strides[[0, 95, 96, 119, 120]].tolist() == [8, 8, 16, 16, 32]


def test_an_unknown_class_is_not_taught_to_be_absent() -> None:
    out = box_output()
    sum(box_losses(out, targets([], [], known=["car"]))).backward()
    assert out.grad is not None
    taught = out.grad[0, 4:].abs().sum(dim=1) > 0
    assert taught.tolist() == [name == "car" for name in OBJECT_CLASSES]


def test_nothing_is_taught_inside_an_ignored_region() -> None:
    centres, _ = cell_grid(HEIGHT, WIDTH)
    inside = (centres[:, 0] < 48) & (centres[:, 1] < 64)
    for class_id in (-1, CAR):
        out = box_output()
        sum(box_losses(out, targets([[0, 0, 48, 64]], [class_id], ignored=[True]))).backward()
        assert out.grad is not None
        gradient = out.grad[0, 4:].abs()
        assert (gradient[CAR, inside] == 0).all()
        assert (gradient[CAR, ~inside] > 0).all()
        assert (gradient[VAN, inside] == 0).all() == (class_id == -1)


def test_a_box_is_taught_to_cells_inside_it() -> None:
    out = box_output()
    sum(box_losses(out, targets([[10, 10, 70, 50]], [CAR], known=["car"]))).backward()
    assert out.grad is not None
    centres, _ = cell_grid(HEIGHT, WIDTH)
    inside = (centres[:, 0] > 10) & (centres[:, 0] < 70) & (centres[:, 1] > 10) & (centres[:, 1] < 50)
    moved = out.grad[0, :4].abs().sum(dim=0) > 0
    assert 0 < moved.sum() <= 10
    assert inside[moved].all()
    # the score of a cell that stands for the car is raised, others are lowered
    raised = out.grad[0, 4 + CAR] < 0
    assert moved[raised].all()


def test_a_tiny_box_still_has_a_cell() -> None:
    out = box_output()
    _, edges = box_losses(out, targets([[33, 33, 35, 35]], [CAR]))
    edges.backward()
    assert out.grad is not None
    assert (out.grad[0, :4] != 0).any()


def test_the_true_box_costs_less_than_a_wrong_one() -> None:
    truth = [20.0, 12.0, 84.0, 52.0]
    wanted = targets([truth], [CAR])
    right = box_losses(box_output(torch.tensor(truth)), wanted)[1]
    wrong = box_losses(box_output(torch.tensor([28.0, 20.0, 90.0, 62.0])), wanted)[1]
    assert right < 0.05 < wrong


def dense_output(classes: int = len(CAMVID_CLASSES)) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(1, classes, HEIGHT // 4, WIDTH // 4, generator=generator).requires_grad_()


@pytest.mark.parametrize("drawn", [True, False])
def test_void_teaches_no_semantics(drawn: bool) -> None:
    logits = dense_output()
    sum(semantic_losses(logits, targets([], [], drawn=drawn), torch.ones(11))).backward()
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_drawn_pixels_teach_where_they_are() -> None:
    semantic = torch.full((HEIGHT, WIDTH), VOID_ID, dtype=torch.uint8)
    semantic[:, :48] = ROAD
    logits = dense_output()
    cross_entropy, lovasz, derived = semantic_losses(logits, targets([], [], semantic=semantic), torch.ones(11))
    (cross_entropy + lovasz + derived).backward()
    assert derived == 0
    assert logits.grad is not None
    assert (logits.grad[0, ROAD, :, :12] < 0).all()
    # bilinear enlargement reaches one cell further
    assert (logits.grad[0, :, :, 13:] == 0).all()


def test_outside_all_boxes_only_things_are_denied() -> None:
    logits = dense_output()
    losses = semantic_losses(logits, targets([], [], semantic=NOT_A_THING, drawn=False), torch.ones(11))
    assert losses[0] == losses[1] == 0
    losses[2].backward()
    assert logits.grad is not None
    assert (logits.grad[0, CAR_PIXEL] > 0).all()
    assert (logits.grad[0, ROAD] < 0).all()


def test_right_semantics_cost_next_to_nothing() -> None:
    logits = torch.zeros(1, 11, HEIGHT // 4, WIDTH // 4)
    logits[:, ROAD] = 20.0
    cross_entropy, lovasz, _ = semantic_losses(logits, targets([], [], semantic=ROAD), torch.ones(11))
    assert cross_entropy < 1e-3
    assert lovasz < 1e-3


def test_cues_learn_the_nearer_of_overlapping_boxes() -> None:
    boxes = [[0.0, 8.0, 56.0, 40.0], [40.0, 8.0, 96.0, 60.0]]
    wanted = targets(boxes, [CAR, CAR], semantic=CAR_PIXEL)
    v, u = torch.meshgrid((torch.arange(16) + 0.5) * 4, (torch.arange(24) + 0.5) * 4, indexing="ij")
    owner = torch.tensor(boxes)[(u > 40).long()]
    edges = torch.stack([u - owner[..., 0], v - owner[..., 1], owner[..., 2] - u, owner[..., 3] - v])
    right = torch.log1p(edges.clamp(min=0) / CUE_SCALE_PX)[None]
    assert cue_loss(right, wanted) < 1e-6
    assert cue_loss(right + 0.5, wanted) > 0.5


def test_cues_learn_only_on_things_with_a_sure_box() -> None:
    for semantic, ignored, learns in ((CAR_PIXEL, False, True), (ROAD, False, False), (CAR_PIXEL, True, False)):
        cue = dense_output(4)
        cue_loss(cue, targets([[8, 8, 56, 40]], [CAR], ignored=[ignored], semantic=semantic)).backward()
        assert cue.grad is not None
        assert (cue.grad != 0).any() == learns
