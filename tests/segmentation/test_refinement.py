import numpy as np

from perception.segmentation.refinement import NO_GROUP, likeliest_classes, refined_groups


def street(height=60, width=90):
    """A grey picture, slightly noisy, with a red person of 8 x 30 pixels, and where the person is."""
    rng = np.random.default_rng(0)
    image = np.full((height, width, 3), (110, 115, 112))
    person = np.zeros((height, width), bool)
    person[15:45, 40:48] = True
    image[person] = (170, 60, 55)
    return np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8), person


def test_masks_grow_and_shrink_to_where_the_colour_changes():
    image, person = street()
    seen = np.zeros_like(person)
    seen[18:47, 37:49] = True  # no head, too wide, and beyond the feet
    boxes = np.array([[37, 15, 49, 47]], np.float32)
    found = refined_groups(np.where(seen, 1, -1), 3, image, boxes)
    np.testing.assert_array_equal(found == 1, person)
    assert set(np.unique(found)) == {1, NO_GROUP}


def test_a_map_far_from_every_box_stays_as_it_is():
    image, person = street()
    seen = np.roll(person, 3, axis=1)
    groups = np.where(seen, 0, -1)
    for boxes in (np.zeros((0, 4), np.float32), np.array([[0, 0, 20, 20]], np.float32)):
        np.testing.assert_array_equal(refined_groups(groups, 2, image, boxes), np.where(seen, 0, NO_GROUP))


def test_boxes_may_reach_beyond_the_picture():
    image, person = street()
    boxes = np.array([[-30, -10, 200, 90]], np.float32)
    found = refined_groups(np.where(person, 2, -1), 3, image, boxes)
    np.testing.assert_array_equal(found == 2, person)


def test_classes_of_one_label_are_counted_together():
    # road 0.3 and lane marking 0.3 are CamVid's road, before building with 0.4
    logits = np.log(np.array([0.3, 0.4, 0.25], np.float32))[:, None, None] * np.ones((3, 2, 2), np.float32)
    image = np.zeros((6, 8, 3), np.uint8)
    apart = likeliest_classes(logits, np.array([0, 1, 2]), image, refined=False)
    together = likeliest_classes(logits, np.array([0, 1, 0]), image, refined=False)
    assert (apart == 1).all()
    assert (together == 0).all()
    assert together.shape == (6, 8)


def test_only_unsure_pixels_follow_the_colours():
    image, person = street()
    u = np.arange(90)[None] * np.ones((60, 1))
    # a soft edge one pixel to the right of the true one, on either side
    logit = np.where(person.any(axis=1)[:, None], np.minimum(u - 40.5, 48.5 - u), -20.0)
    logits = np.stack([-logit, logit]).astype(np.float32) / 2
    assert ((logits.argmax(axis=0) == 1) != person).sum() >= 30
    found = likeliest_classes(logits, np.arange(2), image, refined=True)
    np.testing.assert_array_equal(found == 1, person)
    sure = likeliest_classes(50 * logits, np.arange(2), image, refined=True)
    np.testing.assert_array_equal(sure, logits.argmax(axis=0))
