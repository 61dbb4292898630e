import numpy as np
import pytest
from shapely.geometry import Polygon

from perception.kernels.rotated_iou import paired_bev_overlap, paired_overlap_3d, pairwise_bev_iou, pairwise_iou_3d


def polygon(box):
    x, y, length, width, yaw = box
    c, s = np.cos(yaw), np.sin(yaw)
    sides = [(1, 1), (-1, 1), (-1, -1), (1, -1)]
    return Polygon(
        [(x + c * a * length / 2 - s * b * width / 2, y + s * a * length / 2 + c * b * width / 2) for a, b in sides]
    )


def random_boxes(count, seed):
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(-3, 3, (count, 2)), rng.uniform(0.1, 5, (count, 2)), rng.uniform(-7, 7, count)])


def hard_pairs():
    """Equal, quarter-turned, barely moved, touching, nested and crossing boxes."""
    a = random_boxes(120, 1)
    b = a.copy()
    b[20:40, 4] += np.pi / 2
    b[40:60, :2] += 1e-9
    b[60:80, 0] += b[60:80, 2]
    b[60:80, 4] = a[60:80, 4] = 0.0
    b[80:100, 2:4] *= 0.5
    b[100:, 4] += 1e-12
    return a, b


@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_bev_agrees_with_shapely(offset):
    a, b = hard_pairs()
    a, b = np.vstack([a, random_boxes(60, 2)]), np.vstack([b, random_boxes(60, 3)])
    shift = np.array([offset, -offset, 0, 0, 0])
    found = pairwise_bev_iou(a + shift, b + shift)
    assert found.shape == (180, 180)
    polygons_a, polygons_b = [polygon(box) for box in a], [polygon(box) for box in b]
    for i, pa in enumerate(polygons_a):
        for j in (i, *range(0, 180, 7)):
            inter = pa.intersection(polygons_b[j]).area
            assert found[i, j] == pytest.approx(inter / (pa.area + polygons_b[j].area - inter), abs=1e-9)


def test_3d_is_area_times_shared_height():
    rng = np.random.default_rng(4)
    flat_a, flat_b = random_boxes(40, 5), random_boxes(40, 6)
    z_a, z_b, h_a, h_b = (
        rng.uniform(-1, 1, 40),
        rng.uniform(-1, 1, 40),
        rng.uniform(0.2, 3, 40),
        rng.uniform(0.2, 3, 40),
    )
    a = np.column_stack([flat_a[:, :2], z_a, flat_a[:, 2:4], h_a, flat_a[:, 4]])
    b = np.column_stack([flat_b[:, :2], z_b, flat_b[:, 2:4], h_b, flat_b[:, 4]])
    found = pairwise_iou_3d(a, b)
    for i in range(40):
        for j in range(40):
            tall = max(
                0.0, min(z_a[i] + h_a[i] / 2, z_b[j] + h_b[j] / 2) - max(z_a[i] - h_a[i] / 2, z_b[j] - h_b[j] / 2)
            )
            inter = polygon(flat_a[i]).intersection(polygon(flat_b[j])).area * tall
            volumes = np.prod(a[i, 3:6]) + np.prod(b[j, 3:6])
            assert found[i, j] == pytest.approx(inter / (volumes - inter), abs=1e-9)
    rows = np.arange(40)
    volume, iou = paired_overlap_3d(a, b, rows, rows[::-1])
    assert iou == pytest.approx(found[rows, rows[::-1]], abs=0)
    assert volume.shape == (40,)


def test_is_symmetric_and_bounded():
    a, b = hard_pairs()
    forth, back = pairwise_bev_iou(a, b), pairwise_bev_iou(b, a)
    assert forth == pytest.approx(back.T, abs=1e-12)
    assert forth.min() >= 0 and forth.max() <= 1 + 1e-12
    assert np.diagonal(pairwise_bev_iou(a, a)) == pytest.approx(np.ones(len(a)), abs=1e-12)


def test_empty_flat_and_wrong_input():
    assert pairwise_bev_iou(np.zeros((0, 5)), random_boxes(3, 0)).shape == (0, 3)
    assert pairwise_bev_iou([[0, 0, 0, 2, 0]], [[0, 0, 2, 2, 0]])[0, 0] == 0
    assert pairwise_bev_iou([[0, 0, -1, 2, 0]], [[0, 0, 2, 2, 0]])[0, 0] == 0
    assert pairwise_bev_iou([[0, 0, np.nan, 2, 0]], [[0, 0, 2, 2, 0]])[0, 0] == 0
    with pytest.raises(ValueError, match="boxes_a must be"):
        pairwise_bev_iou(np.zeros((2, 4)), np.zeros((2, 5)))
    with pytest.raises(ValueError, match="rows_a must lie in"):
        paired_bev_overlap(random_boxes(2, 0), random_boxes(2, 0), [2], [0])
