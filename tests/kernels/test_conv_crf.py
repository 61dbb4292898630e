import numpy as np
import pytest

from perception.kernels.conv_crf import conv_crf

SETTINGS = {"radius_px": 3, "colour_deviation": 20.0, "place_deviation_px": 2.0, "coupling": 3.0, "rounds": 2}


def field_by_hand(scores, image, free, *, radius_px, colour_deviation, place_deviation_px, coupling, rounds):
    """The mean field as the papers write it, pixel by pixel."""
    height, width, _ = scores.shape
    chances = np.exp(scores.astype(float))
    chances /= chances.sum(axis=2, keepdims=True)
    colours = image.astype(float)
    for _ in range(rounds):
        new = chances.copy()
        for v, u in np.argwhere(free):
            asked, total = 0.0, 0.0
            for row in range(max(0, v - radius_px), min(height, v + radius_px + 1)):
                for column in range(max(0, u - radius_px), min(width, u + radius_px + 1)):
                    if (row, column) == (v, u):
                        continue
                    place = ((row - v) ** 2 + (column - u) ** 2) / (2 * place_deviation_px**2)
                    colour = ((colours[row, column] - colours[v, u]) ** 2).sum() / (2 * colour_deviation**2)
                    weight = np.exp(-place - colour)
                    asked, total = asked + weight * chances[row, column], total + weight
            energy = scores[v, u] + coupling * asked / total
            new[v, u] = np.exp(energy) / np.exp(energy).sum()
        chances = new
    return chances


@pytest.mark.parametrize("labels", [2, 5])
def test_it_is_the_papers_mean_field(labels):
    rng = np.random.default_rng(labels)
    scores = rng.normal(0, 1.5, (9, 12, labels)).astype(np.float32)
    image = rng.integers(90, 150, (9, 12, 3)).astype(np.uint8)
    free = rng.random((9, 12)) < 0.7
    found = conv_crf(scores, image, free, **SETTINGS)
    np.testing.assert_allclose(found, field_by_hand(scores, image, free, **SETTINGS), atol=3e-3)


def test_labels_come_to_lie_where_the_colour_changes():
    v, u = np.mgrid[:40, :40]
    disc = (v - 20) ** 2 + (u - 20) ** 2 < 100
    image = np.where(disc[..., None], [200, 60, 50], [90, 110, 100]).astype(np.uint8)
    moved = np.roll(disc, (2, -2), axis=(0, 1))
    scores = -np.stack([moved, ~moved], axis=2).astype(np.float32)
    found = conv_crf(
        scores, image, np.ones_like(disc), **(SETTINGS | {"rounds": 30, "radius_px": 6, "place_deviation_px": 4.0})
    )
    assert (moved != disc).sum() > 60
    np.testing.assert_array_equal(found.argmax(axis=2) == 1, disc)


def test_pixels_that_are_not_free_keep_what_their_scores_say():
    rng = np.random.default_rng(3)
    scores = rng.normal(0, 1, (20, 30, 3)).astype(np.float32)
    image = rng.integers(90, 130, (20, 30, 3)).astype(np.uint8)
    free = np.zeros((20, 30), bool)
    alone = conv_crf(scores, image, free, **SETTINGS)
    np.testing.assert_allclose(alone, np.exp(scores) / np.exp(scores).sum(2, keepdims=True), rtol=1e-5)
    free[:, :15] = True
    found = conv_crf(scores, image, free, **SETTINGS)
    np.testing.assert_array_equal(found[:, 15:], alone[:, 15:])
    assert (found[:, :15] != alone[:, :15]).any(axis=2).all()


def test_shapes_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match=r"image_rgb \(H, W, 3\)"):
        conv_crf(np.zeros((4, 5, 2), np.float32), np.zeros((5, 4, 3), np.uint8), np.zeros((4, 5), bool), **SETTINGS)
