from __future__ import annotations

import numpy as np
import pytest

from perception.geometry import EGO_R_CAM, box_corners
from perception.kernels.lifting import fit_boxes

MATRIX = np.array([[700.0, 0, 320], [0, 700, 120], [0, 0, 1]])
CAMERA_M = np.array([0.0, 0.0, 1.65])


def rendered_box(centre: list[float], size: list[float], yaw: float) -> tuple[np.ndarray, np.ndarray]:
    """Depth of the visible sides of a box, sampled, over a far background; and its mask."""
    depth = np.full((240, 640), 60.0, np.float32)
    rows = np.full((240, 640), -1, np.int32)
    rng = np.random.default_rng(0)
    local = rng.uniform(-0.5, 0.5, (60000, 3))
    face = rng.integers(0, 4, len(local))
    local[face == 0, 0], local[face == 1, 0] = 0.5, -0.5
    local[face == 2, 1], local[face == 3, 1] = 0.5, -0.5
    local *= size
    turned = np.column_stack(
        [
            local[:, 0] * np.cos(yaw) - local[:, 1] * np.sin(yaw),
            local[:, 0] * np.sin(yaw) + local[:, 1] * np.cos(yaw),
            local[:, 2],
        ]
    )
    camera = (turned + centre - CAMERA_M) @ EGO_R_CAM
    u = np.round(camera[:, 0] / camera[:, 2] * 700 + 320).astype(int)
    v = np.round(camera[:, 1] / camera[:, 2] * 700 + 120).astype(int)
    inside = (u >= 0) & (u < 640) & (v >= 0) & (v < 240)
    for column, row, z in zip(u[inside], v[inside], camera[inside, 2], strict=True):
        depth[row, column] = min(depth[row, column], z)
        rows[row, column] = 0
    return depth, rows


def lift(depth: np.ndarray, rows: np.ndarray, size: list[float], oriented: bool = True) -> np.ndarray:
    sizes = np.array([size])
    return fit_boxes(depth, rows, MATRIX, EGO_R_CAM, CAMERA_M, sizes, np.array([oriented]), 5, 80.0)[0]


@pytest.mark.parametrize("yaw", [0.0, 0.5, -0.7, 1.4])
@pytest.mark.parametrize("centre", [[15.0, 2.0, 0.75], [22.0, -4.0, 0.75]])
def test_a_car_seen_from_outside_is_found_whole(centre: list[float], yaw: float) -> None:
    size = [4.0, 1.7, 1.5]
    box = lift(*rendered_box(centre, size, yaw), size)
    assert np.abs(box[:2] - centre[:2]).max() < 0.4
    assert box[2] == pytest.approx(0.75, abs=0.2)
    assert abs((box[6] - yaw + np.pi / 2) % np.pi - np.pi / 2) < 0.12
    assert box_corners(box[None, :3], box[None, 3:6], box[6:7])[0, :, 0].min() > 10


def test_background_in_the_mask_does_not_move_the_box() -> None:
    size = [4.0, 1.7, 1.5]
    depth, rows = rendered_box([15.0, 2.0, 0.75], size, 0.3)
    clean = lift(depth, rows, size)
    seen = np.argwhere(rows == 0)
    rows[seen[:, 0].min() - 8 : seen[:, 0].min(), seen[:, 1].min() : seen[:, 1].max()] = 0
    assert np.abs(lift(depth, rows, size)[:2] - clean[:2]).max() < 0.1


def test_too_few_points_give_no_box() -> None:
    depth = np.full((10, 10), np.nan, np.float32)
    rows = np.full((10, 10), -1, np.int32)
    depth[0, :4], rows[0, :4] = 5.0, 0
    assert lift(depth, rows, [4, 2, 1.5])[7] == 0
    nothing = np.full((10, 10), -1, np.int32)
    none = fit_boxes(depth, nothing, MATRIX, EGO_R_CAM, CAMERA_M, np.zeros((0, 3)), np.zeros(0, bool), 5, 80.0)
    assert none.shape == (0, 8)
    with pytest.raises(ValueError, match="must be below 1 but holds 3"):
        lift(depth, np.full((10, 10), 3, np.int32), [4, 2, 1.5])
