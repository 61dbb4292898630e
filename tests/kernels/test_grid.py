from __future__ import annotations

import numpy as np
import pytest

from perception.kernels.grid import vote_ground, vote_obstacle_feet, vote_points

ROAD, WALL, CAR = 0, 3, 13


def fresh(cells: int = 40) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros((cells, cells, 20), np.uint8), np.full((cells, cells), 255, np.uint8)


def mask(*class_ids: int) -> np.ndarray:
    chosen = np.zeros(256, np.bool_)
    chosen[list(class_ids)] = True
    return chosen


def test_ground_votes_fall_where_the_pose_puts_them() -> None:
    votes, best = fresh()
    class_ids = np.array([[ROAD, CAR]], np.uint8)
    pixels = np.array([[0, 0], [0, 1]], np.int32)
    ahead = np.array([[3.0, 0.5], [3.0, 1.5]], np.float32)
    # the vehicle stands at (10, 10) and heads along +y: 3 m ahead and 0.5 m left is (9.5, 13)
    vote_ground(class_ids, pixels, ahead, mask(ROAD), np.pi / 2, (10.0, 10.0), 1.0, votes, best)
    assert np.argwhere(best != 255).tolist() == [[13, 9]]
    assert best[13, 9] == ROAD and votes[13, 9, ROAD] == 1 and votes.sum() == 1


def test_the_majority_leads_and_full_counts_are_halved() -> None:
    votes, best = fresh(4)
    pixel, place = np.zeros((1, 2), np.int32), np.full((1, 2), 0.5, np.float32)
    for class_id, times in [(WALL, 3), (ROAD, 2), (ROAD, 300)]:
        for _ in range(times):
            vote_ground(np.array([[class_id]], np.uint8), pixel, place, mask(ROAD, WALL), 0.0, (1, 1), 1.0, votes, best)
    assert best[1, 1] == ROAD
    assert votes[1, 1, ROAD] > 128 and votes[1, 1, WALL] <= 1


def test_pixels_outside_the_image_are_refused() -> None:
    votes, best = fresh(4)
    outside, place = np.array([[2, 0]], np.int32), np.zeros((1, 2), np.float32)
    with pytest.raises(ValueError, match="must lie within the image"):
        vote_ground(np.zeros((2, 2), np.uint8), outside, place, mask(0), 0, (0, 0), 1.0, votes, best)


def test_an_obstacle_stands_where_its_foot_meets_the_road() -> None:
    votes, best = fresh()
    class_ids = np.full((10, 2), ROAD, np.uint8)
    class_ids[:4] = WALL
    ground_xy = np.full((10, 2, 2), np.nan, np.float32)
    ground_xy[3:, :, 0] = np.linspace(20, 5, 7)[:, None]
    ground_xy[3:, :, 1] = 0.5
    vote_obstacle_feet(class_ids, ground_xy, mask(ROAD), mask(WALL), 25.0, 0.0, (5.0, 5.0), 1.0, votes, best)
    assert np.argwhere(best == WALL).tolist() == [[5, 25]]
    # a column without road below says nothing about distance
    votes, best = fresh()
    vote_obstacle_feet(
        np.full((10, 2), WALL, np.uint8), ground_xy, mask(ROAD), mask(WALL), 25.0, 0.0, (5, 5), 1.0, votes, best
    )
    assert (best == 255).all()


def test_depth_pixels_become_cells_and_new_points_once() -> None:
    votes, best = fresh()
    top_m = np.full((40, 40), np.nan, np.float32)
    depth = np.full((4, 4), np.nan, np.float32)
    depth[1, 2], depth[0, 0] = 8.0, 6.0
    class_ids = np.full((4, 4), WALL, np.uint8)
    class_ids[0, 0] = CAR
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    # camera z is world x, camera x is world -y
    world_T_cam = np.array([[0, 0, 1, 0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1.0]])
    intrinsics = np.array([[4.0, 0, 2], [0, 4, 1], [0, 0, 1]])
    seen = np.full(1 << 10, -1, np.int64)
    arguments = (depth, class_ids, image, mask(WALL), world_T_cam, intrinsics, 50.0, np.array([0.0, -20.0]), 1.0, 4)
    xyz, rgb = vote_points(*arguments, votes, best, top_m, 0.1, seen)
    assert np.allclose(xyz, [[8.0, 0.0, 1.5]]) and rgb.tolist() == [image[1, 2].tolist()]
    assert np.argwhere(best != 255).tolist() == [[20, 8]] and votes[20, 8, WALL] == 4
    assert top_m[20, 8] == pytest.approx(1.5)
    again, _ = vote_points(*arguments, votes, best, top_m, 0.1, seen)
    assert len(again) == 0 and votes[20, 8, WALL] == 8
