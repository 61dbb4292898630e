from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_results import HEIGHT, WIDTH, made_result, made_skip

from perception.config import load_config
from perception.geometry import SE3
from perception.kernels.drawing import tint
from perception.mapping.factory import make_map
from perception.sinks.layout import make_layout
from perception.sinks.map_view import make_map_view
from perception.sinks.render import Painter, render_frame
from perception.types import Detections


def nearest(values, height, width):
    """What each pixel of a larger or smaller picture takes from ``values``."""
    rows = ((np.arange(height) + 0.5) * values.shape[0] / height).astype(int)
    columns = ((np.arange(width) + 0.5) * values.shape[1] / width).astype(int)
    return values[rows[:, None], columns]


def tint_oracle(image, class_ids, object_rows, colours, alphas, object_colours, inside):
    height, width = image.shape[:2]
    ids, rows = nearest(class_ids, height, width), nearest(object_rows, height, width)
    is_object = (rows >= 0) & (rows < len(object_colours))
    edge = np.zeros_like(is_object)
    for axis in (0, 1):
        differs = np.diff(rows, axis=axis) != 0
        low, high = [slice(None)] * 2, [slice(None)] * 2
        low[axis], high[axis] = slice(None, -1), slice(1, None)
        edge[tuple(low)] |= differs
        edge[tuple(high)] |= differs
    colour = np.where(is_object[..., None], object_colours[np.where(is_object, rows, 0)], colours[ids]).astype(int)
    alpha = np.where(is_object, np.where(edge, 192, inside), alphas[ids])[..., None]
    return image + ((colour - image.astype(int)) * alpha >> 8)


@pytest.mark.parametrize("size", [(12, 17), (24, 34), (30, 40), (7, 9), (1, 1)])
def test_tint_agrees_with_numpy(size):
    rng = np.random.default_rng(3)
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    class_ids = np.kron(rng.integers(0, 20, (4, 5)), np.ones((3, 4))).astype(np.uint8)
    object_rows = np.kron(rng.integers(-2, 5, (4, 5)), np.ones((3, 4))).astype(np.int32)
    colours = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    alphas = rng.integers(0, 257, 256)
    object_colours = rng.integers(0, 256, (4, 3), dtype=np.uint8)
    before = image.copy()
    got = tint(image, class_ids, object_rows, colours, alphas, object_colours, 100)
    assert got.dtype == np.uint8
    assert not np.shares_memory(got, image)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(got, tint_oracle(image, class_ids, object_rows, colours, alphas, object_colours, 100))


def test_tint_refuses_what_does_not_fit():
    image, ids, rows = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.uint8), np.full((4, 4), -1, np.int32)
    table, alphas, none = np.zeros((256, 3), np.uint8), np.zeros(256, np.int64), np.zeros((0, 3), np.uint8)
    with pytest.raises(ValueError, match="image_rgb"):
        tint(image[..., 0], ids, rows, table, alphas, none)
    with pytest.raises(ValueError, match="object_rows"):
        tint(image, ids, rows[:3], table, alphas, none)
    with pytest.raises(ValueError, match="alphas"):
        tint(image, ids, rows, table, alphas + 300, none)


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(64, 2160))
@settings(max_examples=200, deadline=None)
def test_layouts_keep_their_parts_on_the_canvas_and_apart(width, height, canvas_height):
    if not 0.3 < width / height < 6:
        return
    layout = make_layout(width, height, canvas_height)
    assert layout.width_px % 2 == layout.height_px % 2 == 0
    assert layout.height_px == canvas_height + canvas_height % 2
    parts = [layout.header, layout.camera, layout.bird_eye, layout.panel]
    for i, part in enumerate(parts):
        assert part.width_px > 0
        assert part.height_px > 0
        assert 0 <= part.x_px <= part.x_px + part.width_px <= layout.width_px
        assert 0 <= part.y_px <= part.y_px + part.height_px <= layout.height_px
        assert not any(part.overlaps(other) for other in parts[i + 1 :])
    if canvas_height >= 360 and width / height < 4:
        # the camera is not squeezed
        assert layout.camera.width_px / layout.camera.height_px == pytest.approx(width / height, rel=0.02)


def arrays_of(result):
    detections, tracks, boxes = result.detections, result.tracks, result.boxes3d
    return [
        result.frame.image_rgb,
        result.semantic.class_ids,
        result.instances.detection_rows,
        result.depth.depth_m,
        detections.boxes_xyxy,
        detections.scores,
        detections.class_ids,
        boxes.centers_ego,
        tracks.boxes_xyxy,
        tracks.track_ids,
        tracks.detection_rows,
    ]


def test_painting_changes_nothing_that_it_is_given():
    result = made_result(2, objects=5)
    before = [array.copy() for array in arrays_of(result)]
    for array in arrays_of(result):
        array.setflags(write=False)
    render_frame(result, 360, "title")
    for array, old in zip(arrays_of(result), before, strict=True):
        np.testing.assert_array_equal(array, old)


def test_every_canvas_has_the_size_that_the_first_frame_decided():
    painter = Painter("title", 180)
    first = painter.paint(made_result(0))
    assert painter.canvas_size == (first.shape[1], first.shape[0]) == (320, 180)
    assert painter.paint(made_result(1, objects=0)).shape == first.shape
    camera = make_layout(WIDTH, HEIGHT, 180).camera
    # a square picture between black bars
    other = painter.paint(made_result(2, objects=0, width=50, height=50))[camera.rows, camera.columns]
    assert painter.canvas_size == (320, 180)
    side = camera.height_px
    bar = (camera.width_px - side) // 2
    assert (other[:, : bar - 1] == 0).all()
    assert (other[:, -bar + 1 :] == 0).all()
    assert other[:, bar : bar + side].mean() > 50


def test_boxes_ids_and_masks_show():
    painter = Painter("title", 360)
    nothing, something = made_result(0, objects=0), made_result(0, objects=3)
    np.testing.assert_array_equal(nothing.frame.image_rgb, something.frame.image_rgb)
    changed = (painter.paint(nothing) != Painter("title", 360).paint(something)).any(axis=2)
    camera = make_layout(WIDTH, HEIGHT, 360).camera
    scale = camera.width_px / WIDTH
    for x1, y1, x2, y2 in something.detections.boxes_xyxy * scale:
        inside = changed[camera.y_px + int(y1) + 1 : camera.y_px + int(y2) - 1, int(x1) + 1 : int(x2) - 1]
        assert inside.mean() > 0.6


def test_a_trail_follows_a_track_whether_its_frames_were_painted_or_not():
    results = [made_result(i, objects=2) for i in range(8)]
    painted, followed, alone = (Painter("title", 360) for _ in range(3))
    for result in results[:-1]:
        painted.paint(result)
        followed.follow(result)
        followed.follow(result)
    last = painted.paint(results[-1])
    np.testing.assert_array_equal(last, followed.paint(results[-1]))
    assert (last != alone.paint(results[-1])).any()


def test_the_map_is_drawn_as_it_stood_when_it_was_captured():
    asked = []

    def view(result):
        shade = 40 * (result.frame.index + 1)

        def draw(width, height):
            asked.append((width, height))
            picture = np.zeros((height, width, 3), np.uint8)
            # the upper half, ahead of the vehicle
            picture[: height // 2] = shade
            return picture

        return draw

    painter = Painter("title", 360, map_view=view)
    results = [made_result(i, objects=0) for i in range(3)]
    for result in results:
        painter.capture(result)
    layout = make_layout(WIDTH, HEIGHT, 360)
    assert layout.map_heads_right
    for result in results:
        area = painter.paint(result)[layout.bird_eye.rows, layout.bird_eye.columns]
        ahead, behind = area[5:-40, -20:], area[5:-40, 20:40]
        assert (ahead == 40 * (result.frame.index + 1)).all()
        assert (behind == 0).all()
    assert asked == [(layout.bird_eye.height_px, layout.bird_eye.width_px)] * 3


def test_a_real_map_shows_the_road_and_the_vehicle():
    config = load_config()
    layer = make_map(config.mapping)
    result = made_result(0, width=320, height=120, pose=SE3.from_yaw(1.0, [3.0, 4.0, 0.0]))
    layer.integrate(result.frame, result.semantic, None, result.tracks, result.world_SE3_ego)
    drawing = make_map_view(layer)(result)
    # later changes of the map must not show
    layer.reset()
    picture = drawing(200, 260)
    assert picture.shape == (260, 200, 3)
    white = np.argwhere((picture == 255).all(axis=2))
    # ten pixels a metre at 56 m across: an arrowhead of a few square metres, in the middle of the lower part
    assert len(white) >= 10
    np.testing.assert_allclose(white.mean(axis=0), [0.72 * 260, 100], atol=5)
    background = picture[0, 0]
    ahead, behind = picture[:180, 60:140], picture[215:, 60:140]
    assert (ahead != background).any(axis=2).mean() > 0.2
    assert (behind == background).all()


def test_a_skipped_frame_shows_the_picture_before_and_the_reason():
    painter = Painter("title", 180)
    assert painter.paint_skipped(made_skip(0)) is None
    picture = painter.paint(made_result(0)).copy()
    skipped = painter.paint_skipped(made_skip(1))
    assert skipped.shape == picture.shape
    assert (skipped != picture >> 1).any()
    assert (skipped == picture >> 1).mean() > 0.8
    np.testing.assert_array_equal(painter.paint_skipped(made_skip(1)), skipped)


def test_the_pose_of_a_pedestrian_is_drawn():
    result = made_result(0, objects=1)
    keypoints = np.full((1, 17, 3), 0.9, np.float32)
    keypoints[0, :, 0], keypoints[0, :, 1] = np.linspace(90, 120, 17), np.linspace(3, 30, 17)
    detections = result.detections
    posed = Detections(detections.boxes_xyxy, detections.scores, detections.class_ids, keypoints)
    object.__setattr__(result, "detections", posed)
    with_pose = render_frame(result, 360)
    assert (with_pose != render_frame(made_result(0, objects=1), 360)).any(axis=2).sum() > 50
    keypoints[:, :, 2] = 0.0
    np.testing.assert_array_equal(render_frame(result, 360), render_frame(made_result(0, objects=1), 360))
