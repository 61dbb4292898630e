"""The rasteriser and the lidar against brute-force ray casting; also runnable with NUMBA_DISABLE_JIT=1."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from sim_data.kernels.boxes import bound_instances, bound_outlines
from sim_data.kernels.contact import darken
from sim_data.kernels.culling import farthest_of_blocks, may_be_seen
from sim_data.kernels.lidar import cast_beams
from sim_data.kernels.post import develop
from sim_data.kernels.raster import (
    FLAG_MASKED,
    FLAG_TWO_SIDED,
    SETUP_COLUMNS,
    count_whole,
    pack_masks,
    rasterise,
    setup_triangles,
)  # fmt: skip
from sim_data.mesh import affine_attributes, face_planes

VIEW = np.array([20.0, 20.0, 15.5, 11.5, 32.0, 24.0])
OPAQUE = np.full((1, 8, 8), 255, np.uint8)


def _see(
    vertices: np.ndarray, flags: np.ndarray, masks: np.ndarray = OPAQUE, uvs: np.ndarray | None = None, bands: int = 1
) -> tuple[np.ndarray, ...]:
    count = len(vertices)
    attributes = np.zeros((count, 20), np.float32)
    if uvs is not None:
        attributes[:, 12:] = affine_attributes(vertices, uvs).reshape(count, 8)
    planes, boxes = np.empty((4 * count + 4, SETUP_COLUMNS)), np.empty((4 * count + 4, 4), np.int32)
    sources = np.empty((4 * count + 4, 2), np.int32)
    corners = np.ascontiguousarray(vertices, np.float32)
    found = setup_triangles(
        corners, face_planes(corners), attributes, flags, np.array([0]), np.array([count]),
        np.eye(3)[None], np.zeros((1, 3)), VIEW, False, planes, boxes, sources,
    )  # fmt: skip
    height, width = int(VIEW[5]), int(VIEW[4])
    nearness, ids = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
    edges = np.linspace(0, height, bands + 1).astype(int)
    for low, high in itertools.pairwise(edges):
        rasterise(planes, boxes, sources, found, flags, pack_masks(masks), False, (int(low), int(high)), nearness, ids)
    seen = np.where(ids >= 0, sources[np.maximum(ids, 0), 0], -1)
    return seen, nearness, ids, planes, sources


def _hit(origin_rays: np.ndarray, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest z along rays (dx, dy, 1), the triangle hit, and how far inside every triangle each ray passes."""
    first, second = vertices[:, 1] - vertices[:, 0], vertices[:, 2] - vertices[:, 0]
    normal = np.cross(first, second)
    along = origin_rays @ normal.T
    z = (vertices[:, 0] * normal).sum(axis=1) / np.where(along == 0, np.nan, along)
    points = z[..., None] * origin_rays[:, None]
    offset = points - vertices[:, 0]
    area = (normal * normal).sum(axis=1)
    b = (np.cross(offset, second) * normal).sum(axis=-1) / area
    c = (np.cross(first, offset) * normal).sum(axis=-1) / area
    depth_inside = np.minimum(np.minimum(b, c), 1 - b - c)
    valid = (depth_inside >= 0) & (z > 0.08)
    z = np.where(valid, z, np.inf)
    best = z.argmin(axis=1)
    nearest = z[np.arange(len(z)), best]
    return nearest, np.where(np.isfinite(nearest), best, -1), np.abs(depth_inside).min(axis=1)


def _rays() -> np.ndarray:
    v, u = np.mgrid[: int(VIEW[5]), : int(VIEW[4])]
    return np.stack([(u - VIEW[2]) / VIEW[0], (v - VIEW[3]) / VIEW[1], np.ones(u.shape)], axis=-1).reshape(-1, 3)


@pytest.mark.parametrize("seed", range(8))
def test_visibility_is_that_of_ray_casting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = (rng.uniform([-3, -3, 0.5], [3, 3, 9], (12, 1, 3)) + rng.normal(0, 1.5, (12, 3, 3))).astype(np.float32)
    vertices = vertices.astype(np.float64)
    flags = np.full(12, FLAG_TWO_SIDED, np.uint8)
    seen, nearness, *_ = _see(vertices, flags)
    nearest, expected, margin = _hit(_rays(), vertices)
    clear = margin > 1e-5  # a ray through an edge may fall to either side
    np.testing.assert_array_equal(seen.ravel()[clear], expected[clear])
    np.testing.assert_allclose(nearness.ravel()[clear], np.where(expected < 0, 0, 1 / nearest)[clear], rtol=1e-5)


def test_triangles_that_reach_behind_the_camera_are_clipped() -> None:
    ground = np.array([[[-500.0, 1.5, -50.0], [500.0, 1.5, -50.0], [0.0, 1.5, 800.0]]])
    seen, nearness, *_ = _see(ground, np.full(1, FLAG_TWO_SIDED, np.uint8))
    rows = (np.arange(24) - VIEW[3]) / VIEW[1]
    for row, slope in enumerate(rows):
        if slope > 0.01:
            assert (seen[row] == 0).all()
            np.testing.assert_allclose(nearness[row], slope / 1.5, rtol=1e-5)
        elif slope < 0:
            assert (seen[row] == -1).all()


def test_only_front_faces_are_seen_unless_two_sided() -> None:
    # counter-clockwise as the camera sees it, v downwards
    front = np.array([[[-2.0, 2.0, 4.0], [2.0, 2.0, 4.0], [0.0, -2.0, 4.0]]])
    for vertices, flag, visible in (
        (front, 0, True),
        (front[:, ::-1], 0, False),
        (front[:, ::-1], FLAG_TWO_SIDED, True),
    ):
        seen, *_ = _see(vertices, np.full(1, flag, np.uint8))
        assert (seen == 0).any() == visible


def test_masked_samples_let_through() -> None:
    quad = np.array([[-4.0, -4.0, 5.0], [4.0, -4.0, 5.0], [4.0, 4.0, 5.0], [-4.0, 4.0, 5.0]])
    uv = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    split = [[0, 1, 2], [0, 2, 3]]
    masks = np.zeros((1, 8, 8), np.uint8)
    masks[0, :, :4] = 255
    flags = np.full(2, FLAG_TWO_SIDED | FLAG_MASKED, np.uint8)
    seen, *_ = _see(quad[split], flags, masks, uv[split])
    u = (np.arange(32) - VIEW[2]) / VIEW[0] * 5.0
    np.testing.assert_array_equal(seen[12] >= 0, (u > -4) & (u < 0))


def test_bands_make_no_difference() -> None:
    rng = np.random.default_rng(5)
    vertices = rng.uniform([-3, -3, 1], [3, 3, 9], (20, 3, 3))
    flags = np.full(20, FLAG_TWO_SIDED, np.uint8)
    whole, pieces = _see(vertices, flags, bands=1), _see(vertices, flags, bands=5)
    np.testing.assert_array_equal(whole[0], pieces[0])
    np.testing.assert_array_equal(whole[1], pieces[1])


def test_faces_that_look_away_are_left_out_of_turned_and_sheared_views_alike() -> None:
    rng = np.random.default_rng(7)
    corners = np.ascontiguousarray(rng.uniform([-1, -1, -1], [1, 1, 1], (400, 3, 3)), np.float32)
    for parallel in (False, True):
        for _ in range(6):
            linear = np.linalg.qr(rng.normal(size=(3, 3)))[0] * rng.uniform(0.5, 2.0)
            linear *= np.sign(np.linalg.det(linear))
            linear = np.ascontiguousarray(np.array([[1, 0, 0.3], [0, 1, -0.2], [0, 0, 1]]) @ linear)
            offset = np.array([[0.2, -0.1, 4.0]])
            found = []
            for faces in (face_planes(corners), np.full((400, 4), np.inf, np.float32)):  # the latter leaves out none
                sources = np.full((800, 2), -1, np.int32)
                count = setup_triangles(
                    corners, faces, np.zeros((400, 20), np.float32), np.zeros(400, np.uint8), np.array([0]),
                    np.array([400]), linear[None], offset, VIEW, parallel, np.empty((800, SETUP_COLUMNS)),
                    np.empty((800, 4), np.int32), sources,
                )  # fmt: skip
                found.append(sources[:count, 0].tolist())
            assert found[0] == found[1] and len(found[0]) > 50


def test_drawing_in_parts_is_drawing_at_once() -> None:
    rng = np.random.default_rng(9)
    vertices = rng.uniform([-3, -3, 1], [3, 3, 9], (30, 3, 3))
    flags = np.full(30, FLAG_TWO_SIDED, np.uint8)
    whole = _see(vertices, flags)
    corners = np.ascontiguousarray(vertices, np.float32)
    planes, boxes = np.empty((64, SETUP_COLUMNS)), np.empty((64, 4), np.int32)
    sources = np.empty((64, 2), np.int32)
    nearness, ids = np.ones((24, 32), np.float32), np.zeros((24, 32), np.int32)
    begun = 0
    for number, (first, last) in enumerate(((0, 11), (11, 20), (20, 30))):
        count = setup_triangles(
            corners, face_planes(corners), np.zeros((30, 20), np.float32), flags, np.array([first]), np.array([last]),
            np.eye(3)[None], np.zeros((1, 3)), VIEW, False, planes, boxes, sources, (begun, number),
        )  # fmt: skip
        assert (sources[begun:count, 1] == number).all()
        rasterise(planes, boxes, sources, count, flags, pack_masks(OPAQUE), False, (0, 24), nearness, ids, begun)
        begun = count
    np.testing.assert_array_equal(nearness, whole[1])
    np.testing.assert_array_equal(np.where(ids >= 0, sources[np.maximum(ids, 0), 0], -1), whole[0])


def test_nearness_alone_is_that_of_a_view_with_ids() -> None:
    rng = np.random.default_rng(11)
    vertices = rng.uniform([-3, -3, 1], [3, 3, 9], (20, 3, 3))
    masks = np.zeros((1, 16, 16), np.uint8)
    masks[0, ::3] = 255
    for flag in (FLAG_TWO_SIDED, FLAG_TWO_SIDED | FLAG_MASKED):
        flags = np.full(20, flag, np.uint8)
        _, nearness, _, planes, sources = _see(vertices, flags, masks, rng.uniform(0, 3, (20, 3, 2)))
        boxes = np.tile(np.array([0, 0, 31, 23], np.int32), (len(planes), 1))
        count = int(np.flatnonzero(np.isin(sources[:, 0], np.arange(20)))[-1]) + 1
        again, named = np.empty((24, 32), np.float32), np.empty((24, 32), np.float32)
        arguments = (planes, boxes, sources, min(count, 20), flags, pack_masks(masks), False, (0, 24))
        rasterise(*arguments, named, np.empty((24, 32), np.int32))
        rasterise(*arguments, again, np.empty((0, 0), np.int32))
        np.testing.assert_array_equal(again, named)
        assert (nearness > 0).any()
    with pytest.raises(ValueError, match="at least 8 samples wide"):
        rasterise(*arguments[:-1], (0, 1), np.empty((1, 7), np.float32), np.empty((0, 0), np.int32))


def test_pixels_of_a_whole_object_are_those_it_has_alone() -> None:
    rng = np.random.default_rng(13)
    vertices = rng.uniform([-2, -2, 3], [2, 2, 6], (9, 3, 3))
    masks = np.zeros((1, 8, 8), np.uint8)
    masks[0, :, 2:7] = 255
    uvs = rng.uniform(0, 2, (9, 3, 2))
    flags = np.full(9, FLAG_TWO_SIDED, np.uint8)
    flags[6:] |= FLAG_MASKED
    corners, attributes = np.ascontiguousarray(vertices, np.float32), np.zeros((9, 20), np.float32)
    attributes[:, 12:] = affine_attributes(vertices, uvs).reshape(9, 8)
    planes, boxes, sources = np.empty((40, SETUP_COLUMNS)), np.empty((40, 4), np.int32), np.empty((40, 2), np.int32)
    grid = np.array([40.0, 40.0, 32.0, 24.0, 65.0, 49.0])
    count = setup_triangles(
        corners, face_planes(corners), attributes, flags, np.array([0, 2, 5, 6]), np.array([2, 5, 6, 9]),
        np.tile(np.eye(3), (4, 1, 1)), np.zeros((4, 3)), grid, False, planes, boxes, sources,
    )  # fmt: skip
    ends = np.searchsorted(sources[:count, 1], np.arange(5)).astype(np.int64)
    # the second and third mesh are parts of one object
    groups = np.array([0, 1, 1, 2])
    found = count_whole(
        planes, boxes, sources, flags, pack_masks(masks), (ends[:-1], ends[1:]), groups, (24, 32)
    )  # fmt: skip
    for group in range(3):
        rows = np.flatnonzero(groups[sources[:count, 1]] == group)
        nearness, ids = np.empty((49, 65), np.float32), np.empty((49, 65), np.int32)
        rasterise(
            planes[rows], boxes[rows], sources[rows], len(rows), flags, pack_masks(masks), False, (0, 49), nearness, ids
        )
        # single precision decides at the very edge of a texel
        assert abs(int(found[group]) - int((ids[1::2, 1::2] >= 0).sum())) <= (1 if group == 2 else 0)
    assert (found > 10).all()


def test_nothing_that_could_be_seen_is_left_out() -> None:
    rng = np.random.default_rng(17)
    low = rng.uniform(-1.0, -0.1, (300, 3))
    high = rng.uniform(0.1, 1.0, (300, 3))
    linear = np.linalg.qr(rng.normal(size=(300, 3, 3)))[0]
    offset = rng.uniform([-8, -6, -2], [8, 6, 14], (300, 3))
    nearness = rng.uniform(0.02, 0.6, (24, 32)).astype(np.float32)
    nearness[:16, :16] = 0.0
    farthest = farthest_of_blocks(nearness)
    assert farthest.tolist() == [[nearness[a : a + 16, b : b + 16].min() for b in (0, 16)] for a in (0, 16)]
    seen = may_be_seen(low, high, linear, offset, VIEW, farthest)
    assert 20 < seen.sum() < 280
    rays = _rays()
    for k in np.flatnonzero(~seen):
        eye, ways = -linear[k].T @ offset[k], rays @ linear[k]
        with np.errstate(divide="ignore"):
            ends = np.sort(np.stack([(low[k] - eye) / ways, (high[k] - eye) / ways]), axis=0)
        enter, leave = np.maximum(ends[0].max(axis=1), 0.08), ends[1].min(axis=1)
        hit = enter < leave
        assert (1.0 / enter[hit] <= nearness.ravel()[hit] * (1 + 1e-5)).all()


def test_boxes_of_instances_and_outlines() -> None:
    rng = np.random.default_rng(19)
    instance = rng.integers(0, 6, (20, 30)).astype(np.int32)
    instance[:, 10:] = 0
    instance[3, 20:25] = 9
    pixels, boxes = bound_instances(instance, 9)
    for number in range(1, 9):
        ys, xs = np.nonzero(instance == number)
        assert pixels[number] == len(xs)
        if len(xs):
            assert boxes[number].tolist() == [xs.min(), ys.min(), xs.max(), ys.max()]
    assert pixels[8] == 0 and boxes[8, 2] == -1
    points = rng.normal(size=(12, 3))
    rotations = np.linalg.qr(rng.normal(size=(2, 3, 3)))[0]
    places = np.array([[0.5, 0.2, 6.0], [0.0, 0.0, 0.5]])
    found, deepest = bound_outlines(points, np.array([0, 5, 12]), rotations, places, VIEW[:4])
    for k, rows in enumerate((slice(0, 5), slice(5, 12))):
        there = points[rows] @ rotations[k].T + places[k]
        assert deepest[k] == pytest.approx(there[:, 2].max())
        image = there[:, :2] / np.maximum(there[:, 2:], 0.1) * VIEW[:2] + VIEW[2:4]
        np.testing.assert_allclose(found[k], [*image.min(axis=0), *image.max(axis=0)])
    empty, _ = bound_outlines(np.zeros((0, 3)), np.zeros(1, np.int64), np.zeros((0, 3, 3)), np.zeros((0, 3)), VIEW[:4])
    assert empty.shape == (0, 4)


def test_the_ground_is_darkest_beneath_a_vehicle() -> None:
    field = np.full((80, 120), 7.0, np.float32)
    darken(np.array([[15.0, 10.0, np.pi / 2, 4.0, 2.0]]), (0.0, 0.0), 4.0, field)
    rows, columns = np.nonzero(field > 0.5)
    # rows along y; a vehicle that looks along y is 4 m long there
    assert abs(rows.mean() / 4 - 10.0) < 0.2 and abs(columns.mean() / 4 - 15.0) < 0.2
    assert 3.5 < (rows.max() - rows.min() + 1) / 4 < 4.3 and 1.5 < (columns.max() - columns.min() + 1) / 4 < 2.3
    assert field[40, 60] == np.float32(0.88) and field[0, 0] == 0.0
    darken(np.zeros((0, 5)), (0.0, 0.0), 4.0, field)
    assert (field == 0.0).all()


def test_nothing_is_seen_of_nothing() -> None:
    seen, nearness, *_ = _see(np.zeros((0, 3, 3)), np.zeros(0, np.uint8))
    assert (seen == -1).all() and (nearness == 0).all()


def test_setup_says_how_much_room_it_needs() -> None:
    vertices = np.array([[[-2.0, 2.0, 4.0], [2.0, 2.0, 4.0], [0.0, -2.0, 4.0]]] * 5, np.float32)
    found = setup_triangles(
        vertices, face_planes(vertices), np.zeros((5, 20), np.float32), np.ones(5, np.uint8), np.array([0]),
        np.array([5]), np.eye(3)[None],
        np.zeros((1, 3)), VIEW, False, np.empty((2, SETUP_COLUMNS)), np.empty((2, 4), np.int32),
        np.empty((2, 2), np.int32),
    )  # fmt: skip
    assert found == 5


def test_beams_meet_what_ray_casting_meets() -> None:
    rng = np.random.default_rng(3)
    vertices = (rng.uniform([-4, -4, 3], [4, 4, 9], (10, 1, 3)) + rng.normal(0, 2.0, (10, 3, 3))).astype(np.float32)
    flags = np.full(10, FLAG_TWO_SIDED, np.uint8)
    _, _, ids, planes, sources = _see(vertices.astype(np.float64), flags)
    pixels = rng.uniform([1, 1], [30, 22], (400, 2))
    rays = np.column_stack([(pixels - VIEW[2:4]) / VIEW[:2], np.ones(400)])
    ranges, hits = cast_beams(rays, VIEW, ids, planes, sources, flags, pack_masks(OPAQUE))
    nearest, expected, _ = _hit(rays, vertices.astype(np.float64))
    found = np.where(hits >= 0, sources[np.maximum(hits, 0), 0], -1)
    agree = found == expected
    # a surface that none of the nine nearest samples sees is missed, which is rare, and nothing else may differ
    assert agree.mean() > 0.98
    length = np.linalg.norm(rays, axis=1)
    hit = agree & (expected >= 0)
    np.testing.assert_allclose(ranges[hit], (nearest * length)[hit], rtol=1e-9)
    assert np.isinf(ranges[hits < 0]).all()


def test_beams_must_point_into_the_view() -> None:
    with pytest.raises(ValueError, match=r"directions must be \(B, 3\) with z > 0"):
        cast_beams(
            np.array([[0.0, 0.0, -1.0]]), VIEW, np.zeros((24, 32), np.int32), np.empty((1, SETUP_COLUMNS)),
            np.zeros((1, 2), np.int32), np.zeros(1, np.uint8), pack_masks(OPAQUE),
        )  # fmt: skip


def test_more_light_is_never_darker_and_no_light_is_black() -> None:
    light = np.repeat(np.linspace(0, 3, 64, dtype=np.float32)[None, :, None], 3, axis=2).repeat(4, axis=0)
    curve = np.linspace(0, 255.4, 512, dtype=np.float32)
    out = np.empty((4, 64, 3), np.uint8)
    quiet = np.zeros((8, 8, 3), np.float32)
    develop(light, np.zeros_like(light), np.array([1.0, 0.0, 0.0, 0.0]), curve, quiet, (0, 0), (0, 4), out)
    assert (out[:, 0] == 0).all()
    assert (np.diff(out.astype(int), axis=1) >= 0).all() and out.max() > 200
    with pytest.raises(ValueError, match="images must agree"):
        develop(light, light[:1], np.zeros(4), curve, quiet, (0, 0), (0, 4), out)
