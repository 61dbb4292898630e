"""No kernel keeps memory: what numba allocates for a call is free again once its results are."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from perception.kernels import assignment, boxes, boxes3d, kalman, masks, nms, nms_rotated, nms_soft, points, projection


def everything(rng: np.random.Generator) -> None:
    corners = rng.uniform(0, 50, (30, 2))
    image_boxes = np.concatenate([corners, corners + 20], axis=1)
    scores, class_ids = rng.random(30), rng.integers(0, 3, 30)
    for measure in (boxes.iou_matrix, boxes.giou_matrix, boxes.diou_matrix):
        measure(image_boxes, image_boxes[:7])
    nms.class_nms(image_boxes, scores, class_ids, 0.5)
    nms_soft.soft_nms(image_boxes, scores)
    nms_soft.fuse_boxes(image_boxes, scores, class_ids)
    nms_soft.matrix_nms(boxes.iou_matrix(image_boxes, image_boxes), scores, class_ids)
    upright = np.column_stack([rng.uniform(0, 20, (30, 3)), rng.uniform(1, 5, (30, 3)), rng.uniform(-3, 3, 30)])
    nms_rotated.nms_3d(upright, scores, 0.3)
    boxes3d.giou_3d_matrix(upright, upright)
    boxes3d.diou_3d_matrix(upright, upright)
    costs = rng.random((30, 25))
    assignment.assign(costs)
    assignment.assign_gated(costs, 0.05)
    assignment.assign_greedy(costs, 0.5)
    assignment.assign_auction(costs, 0.01)
    states = np.zeros((30, 7, 2)), np.ones((30, 7, 3))
    kalman.predict_velocity(*states, 0.1, 1.0)
    kalman.correct_positions(*states, upright, 0.5, angles=(6,))
    turning = np.zeros((30, 5)), np.tile(np.eye(5), (30, 1, 1))
    kalman.predict_turn(*turning, 0.1, 1.0, 1.0)
    kalman.correct_turn(*turning, upright[:, :3], 0.5, 0.1)
    kalman.smooth(np.arange(30.0), upright[:, :2], np.ones(30), 1.0)
    runs = masks.rle_encode(rng.random((12, 9)) > 0.5)
    masks.rle_iou([runs], [runs])
    masks.mask_outline(masks.rle_decode(runs, 12, 9))
    cloud = rng.uniform(-5, 5, (200, 4))
    points.points_in_boxes(cloud, upright)
    points.voxel_means(cloud, 0.5)
    points.ground_mask(cloud, max_range_m=6.0)
    projection.depth_image(cloud, np.eye(3, 4), 20, 30)
    with pytest.raises(ValueError, match="row 0"):
        boxes.iou_matrix(np.array([[np.nan, 0, 1, 1]], np.float32), image_boxes.astype(np.float32))
    for solve in (assignment.assign, lambda bad: assignment.assign_gated(bad, 0.5)):
        for bad in (np.full((3, 4), np.nan), np.full((4, 3), np.nan)):
            with pytest.raises(ValueError, match=r"costs\[0, 0\]"):
                solve(bad)


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="numba allocates nothing when it does not compile")
def test_calls_leave_nothing_allocated() -> None:
    from numba.core.runtime import _nrt_python, rtsys

    rtsys.initialize(numba.core.registry.cpu_target.target_context)
    _nrt_python.memsys_enable_stats()
    rng = np.random.default_rng(0)
    left = []
    for _ in range(3):
        before = rtsys.get_allocation_stats()
        everything(rng)
        after = rtsys.get_allocation_stats()
        assert after.alloc > before.alloc, "the counters count"
        left.append((after.alloc - before.alloc) - (after.free - before.free))
    assert left[1:] == [0, 0]
