"""Each head learns where its labels exist, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from perception.classes import CAMVID_CLASSES, OBJECT_CLASSES, SEMANTIC_CLASSES, VOID_ID
from perception.models.street_layout import CUE_SCALE_PX, EMBEDDING, SOLID_CUES
from perception.training.labels import LABEL_SETS, NOT_A_THING
from perception.training.losses import (
    Targets,
    box_losses,
    cell_grid,
    cue_loss,
    depth_loss,
    grouped_logits,
    identity_loss,
    semantic_losses,
)

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
    label_set: str = "camvid",
    solid: list[list[float]] | None = None,
    identities: list[int] | None = None,
    whole: list[bool] | None = None,
    depth: Tensor | None = None,
    owners: Tensor | None = None,
) -> Targets:
    if isinstance(semantic, int):
        semantic = torch.full((HEIGHT, WIDTH), semantic, dtype=torch.uint8)
    known_classes = torch.tensor([known is None or name in known for name in OBJECT_CLASSES])
    return Targets(
        semantic[None],
        [label_set],
        [torch.tensor(boxes).reshape(-1, 4)],
        [torch.tensor(class_ids, dtype=torch.int64)],
        [torch.tensor(ignored or [False] * len(boxes), dtype=torch.bool)],
        known_classes[None],
        [torch.full((len(boxes), 7), torch.nan) if solid is None else torch.tensor(solid)],
        [torch.tensor(identities or [-1] * len(boxes), dtype=torch.int64)],
        [torch.tensor(whole or [True] * len(boxes), dtype=torch.bool)],
        torch.zeros(1, HEIGHT // 4, WIDTH // 4) if depth is None else depth[None],
        [owners],
    )


def every(losses: dict[str, Tensor]) -> Tensor:
    return torch.stack(list(losses.values())).sum()


def box_output(boxes: Tensor | None = None, logit: float = 0.0) -> Tensor:
    """An output whose every cell predicts the given box (or a small one) and the same logits."""
    centres, strides = cell_grid(HEIGHT, WIDTH)
    out = torch.full((1, 4 + len(OBJECT_CLASSES) + len(SOLID_CUES) + EMBEDDING, len(centres)), logit)
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
    every(box_losses(out, targets([], [], known=["car"]))).backward()
    assert out.grad is not None
    taught = out.grad[0, 4:].abs().sum(dim=1) > 0
    extra = len(SOLID_CUES) + EMBEDDING
    assert taught.tolist() == [name == "car" for name in OBJECT_CLASSES] + [False] * extra


def test_nothing_is_taught_inside_an_ignored_region() -> None:
    centres, _ = cell_grid(HEIGHT, WIDTH)
    inside = (centres[:, 0] < 48) & (centres[:, 1] < 64)
    for class_id in (-1, CAR):
        out = box_output()
        every(box_losses(out, targets([[0, 0, 48, 64]], [class_id], ignored=[True]))).backward()
        assert out.grad is not None
        gradient = out.grad[0, 4:].abs()
        assert (gradient[CAR, inside] == 0).all()
        assert (gradient[CAR, ~inside] > 0).all()
        assert (gradient[VAN, inside] == 0).all() == (class_id == -1)


def test_a_box_is_taught_to_cells_inside_it() -> None:
    out = box_output()
    every(box_losses(out, targets([[10, 10, 70, 50]], [CAR], known=["car"]))).backward()
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
    box_losses(out, targets([[33, 33, 35, 35]], [CAR]))["edges"].backward()
    assert out.grad is not None
    assert (out.grad[0, :4] != 0).any()


def test_the_true_box_costs_less_than_a_wrong_one() -> None:
    truth = [20.0, 12.0, 84.0, 52.0]
    wanted = targets([truth], [CAR])
    right = box_losses(box_output(torch.tensor(truth)), wanted)["edges"]
    wrong = box_losses(box_output(torch.tensor([28.0, 20.0, 90.0, 62.0])), wanted)["edges"]
    assert right < 0.05 < wrong


def test_a_box_of_the_visible_part_teaches_no_edges_and_lowers_no_score() -> None:
    seen, predicted = [20.0, 12.0, 60.0, 52.0], torch.tensor([20.0, 12.0, 84.0, 52.0])
    gradients = {}
    for whole in (True, False):
        out = box_output(predicted, logit=3.0)
        losses = box_losses(out, targets([seen], [CAR], known=["car"], whole=[whole]))
        (losses["edges"] + losses["classes"]).backward()
        assert out.grad is not None
        gradients[whole] = out.grad[0]
    centres, _ = cell_grid(HEIGHT, WIDTH)
    inside = (centres[:, 0] > 20) & (centres[:, 0] < 60) & (centres[:, 1] > 12) & (centres[:, 1] < 52)
    chosen = gradients[True][:4].abs().sum(dim=0) > 0
    assert chosen.any() and inside[chosen].all()
    assert (gradients[False][:4] == 0).all()
    # a score of 0.95 is too high for an overlap of 0.6, which is all that the visible part allows
    assert (gradients[True][4 + CAR, chosen] > 0).all()
    assert (gradients[False][4 + CAR, chosen] == 0).all()
    cue = torch.zeros(1, 4, HEIGHT // 4, WIDTH // 4, requires_grad=True)
    things = torch.full((HEIGHT, WIDTH), CAMVID_CLASSES.index("car"), dtype=torch.uint8)
    cue_loss(cue, targets([seen], [CAR], semantic=things, whole=[False])).backward()
    assert cue.grad is not None and (cue.grad == 0).all()


def test_an_object_in_space_costs_nothing_where_it_is_right() -> None:
    centres, strides = cell_grid(HEIGHT, WIDTH)
    truth = [20.0, 12.0, 84.0, 52.0]
    solid = [1.5, 1.7, 4.0, -1.2, 18.0, 55.0, 30.0]
    out = box_output(torch.tensor(truth)).detach()
    cues = out[0, 4 + len(OBJECT_CLASSES) : 4 + len(OBJECT_CLASSES) + len(SOLID_CUES)]
    angle = torch.tensor(solid[3])
    cues[:3] = torch.tensor(solid[:3]).log()[:, None]
    cues[3], cues[4], cues[5] = angle.sin(), angle.cos(), torch.tensor(solid[4]).log()
    cues[6:] = ((torch.tensor(solid[5:]) - centres) / strides[:, None]).T
    right = box_losses(out, targets([truth], [CAR], solid=[solid]))["solid"]
    turned = box_losses(out, targets([truth], [CAR], solid=[[*solid[:3], 1.2, *solid[4:]]]))["solid"]
    unknown = box_losses(out, targets([truth], [CAR]))["solid"]
    assert right < 1e-6
    assert turned > 0.5
    assert unknown == 0


def test_embeddings_are_drawn_to_the_other_view_and_from_other_objects() -> None:
    unit = torch.eye(3)
    names, images = torch.tensor([5, 6, 5, 6]), torch.tensor([0, 0, 1, 1])
    right = identity_loss(torch.stack([unit[0], unit[1], unit[0], unit[1]]), names, images)
    swapped = identity_loss(torch.stack([unit[0], unit[1], unit[1], unit[0]]), names, images)
    assert right < 1e-3
    assert swapped > 5.0
    # an object seen once has nothing to be drawn to
    assert identity_loss(unit[:2], torch.tensor([1, 2]), torch.tensor([0, 1])) == 0


def semantic_output() -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(1, len(SEMANTIC_CLASSES), HEIGHT // 2, WIDTH // 2, generator=generator).requires_grad_()


def dense_output(channels: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(1, channels, HEIGHT // 4, WIDTH // 4, generator=generator).requires_grad_()


WEIGHTS = {"camvid": torch.ones(11), "full": torch.ones(20), "cityscapes": torch.ones(19)}
ROAD_CLASSES = list(LABEL_SETS["camvid"][ROAD])


@pytest.mark.parametrize("label_set", ["camvid", "full", "boxes"])
def test_void_teaches_no_semantics(label_set: str) -> None:
    logits = semantic_output()
    sum(semantic_losses(logits, targets([], [], label_set=label_set), WEIGHTS)).backward()
    assert logits.grad is not None
    assert (logits.grad == 0).all()


def test_drawn_pixels_teach_where_they_are() -> None:
    semantic = torch.full((HEIGHT, WIDTH), VOID_ID, dtype=torch.uint8)
    semantic[:, :48] = ROAD
    logits = semantic_output()
    cross_entropy, lovasz, derived = semantic_losses(logits, targets([], [], semantic=semantic), WEIGHTS)
    (cross_entropy + lovasz + derived).backward()
    assert derived == 0
    assert logits.grad is not None
    assert (logits.grad[0, ROAD_CLASSES, :, :24] < 0).all()
    assert (logits.grad[0, :, :, 24:] == 0).all()


def test_a_label_of_several_classes_leaves_open_which_it_is() -> None:
    assert [SEMANTIC_CLASSES[k] for k in ROAD_CLASSES] == ["road", "lane marking"]
    lane = torch.zeros(1, len(SEMANTIC_CLASSES), HEIGHT // 2, WIDTH // 2)
    lane[:, SEMANTIC_CLASSES.index("lane marking")] = 20.0
    assert semantic_losses(lane, targets([], [], semantic=ROAD), WEIGHTS)[0] < 1e-3
    exact = targets([], [], semantic=SEMANTIC_CLASSES.index("road"), label_set="full")
    assert semantic_losses(lane, exact, WEIGHTS)[0] > 10
    logits = torch.randn(7, 20, generator=torch.Generator().manual_seed(1))
    for name, groups in LABEL_SETS.items():
        assert sorted(k for group in groups for k in group) == list(range(20)), name
        total = grouped_logits(logits, name).logsumexp(dim=1)
        torch.testing.assert_close(total, logits.logsumexp(dim=1))


def test_outside_all_boxes_only_things_are_denied() -> None:
    logits = semantic_output()
    losses = semantic_losses(logits, targets([], [], semantic=NOT_A_THING, label_set="boxes"), WEIGHTS)
    assert losses[0] == losses[1] == 0
    losses[2].backward()
    assert logits.grad is not None
    taught = logits.grad[0].abs().sum(dim=0) > 0
    assert (logits.grad[0, SEMANTIC_CLASSES.index("car")][taught] > 0).all()
    assert (logits.grad[0, ROAD_CLASSES][:, taught] < 0).all()


def test_right_semantics_cost_next_to_nothing() -> None:
    logits = torch.zeros(1, 20, HEIGHT // 2, WIDTH // 2)
    logits[:, SEMANTIC_CLASSES.index("road")] = 20.0
    cross_entropy, lovasz, _ = semantic_losses(logits, targets([], [], semantic=ROAD), WEIGHTS)
    assert cross_entropy < 1e-3
    assert lovasz < 1e-3


def test_depth_learns_where_it_was_measured() -> None:
    depth = torch.zeros(HEIGHT // 4, WIDTH // 4)
    depth[5, 7] = 12.0
    found = torch.zeros(1, HEIGHT // 4, WIDTH // 4, requires_grad=True)
    depth_loss(found, targets([], [], depth=depth)).backward()
    assert found.grad is not None
    assert found.grad.nonzero().tolist() == [[0, 5, 7]]
    right = torch.full((1, HEIGHT // 4, WIDTH // 4), 12.0).log()
    assert depth_loss(right, targets([], [], depth=depth)) < 1e-6
    assert depth_loss(found, targets([], [])) == 0


def test_depth_counts_by_its_relative_error() -> None:
    depth = torch.full((HEIGHT // 4, WIDTH // 4), 12.0)

    def cost(metres: float) -> float:
        found = torch.full((1, HEIGHT // 4, WIDTH // 4), metres).log()
        return float(depth_loss(found, targets([], [], depth=depth)))

    # half the threshold of the smooth part is taken off
    assert cost(18.0) == pytest.approx(0.5 - 0.025, rel=1e-5)
    assert cost(6.0) == pytest.approx(0.5 - 0.025, rel=1e-5)
    far = torch.full((1, HEIGHT // 4, WIDTH // 4), 120.0).log().requires_grad_()
    depth_loss(far, targets([], [], depth=depth)).backward()
    assert far.grad is not None and (far.grad > 0).all()
    assert cost(120.0) < 10 - 1, "an edge of an object would say everything"


def test_cues_learn_from_the_pixels_owners() -> None:
    boxes = [[0.0, 8.0, 56.0, 40.0], [40.0, 8.0, 96.0, 60.0]]
    owners = torch.full((HEIGHT, WIDTH), -1)
    owners[8:40, 0:56] = 0  # against the rule for overlaps that nobody drew
    wanted = targets(boxes, [CAR, CAR], label_set="full", owners=owners)
    cue = dense_output(4)
    cue_loss(cue, wanted).backward()
    assert cue.grad is not None
    taught = (cue.grad[0].abs().sum(dim=0) > 0).nonzero()
    assert taught.min(dim=0).values.tolist() == [2, 0]
    assert taught.max(dim=0).values.tolist() == [9, 13]


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
