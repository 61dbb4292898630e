"""The image tracker's kernel against other implementations of its parts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from perception.kernels import image_tracks
from perception.tracking.image_settings import ImageTrackerSettings


@pytest.mark.parametrize("seed", range(40))
def test_sparse_assignment_costs_what_scipys_does(seed: int) -> None:
    """Scipy gets one more column a row, which stands for staying alone."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(1, 14, 2)
    costs = rng.uniform(0, 1, (rows, columns)) if seed % 3 else rng.integers(0, 4, (rows, columns)) / 4
    costs[rng.random((rows, columns)) < rng.choice([0.0, 0.4, 0.8])] = np.inf
    alone = np.full(rows, 2.0) if seed % 2 else rng.uniform(0, 1.5, rows)
    listed = np.isfinite(costs)
    starts = np.concatenate([[0], np.cumsum(listed.sum(axis=1))]).astype(np.int64)
    column_of_row = np.full(rows, -1, np.int64)
    image_tracks._assign(
        starts, np.nonzero(listed)[1].astype(np.int64), costs[listed], alone, int(columns), column_of_row
    )
    own = np.full((rows, rows), 1e6)
    np.fill_diagonal(own, alone)
    dense = np.concatenate([np.where(listed, costs, 1e6), own], axis=1)
    best = dense[linear_sum_assignment(dense)].sum()
    taken = column_of_row >= 0
    assert len(set(column_of_row[taken].tolist())) == taken.sum()
    total = costs[np.flatnonzero(taken), column_of_row[taken]].sum() + alone[~taken].sum()
    assert total == pytest.approx(best, abs=1e-9)


class PlainTrack:
    """One track's four filters as matrices."""

    def __init__(self, box: np.ndarray, settings: ImageTrackerSettings) -> None:
        self.settings = settings
        self.mean = np.stack([self.measured(box), np.zeros(4)], axis=1)
        height = self.mean[3, 0]
        spread = [(3.0 * height) ** 2 + 1.0] * 2 + [height**2 + 1.0] * 2
        self.covariance = np.stack([np.diag([n, s]) for n, s in zip(self.noise(height), spread, strict=True)])

    @staticmethod
    def measured(box: np.ndarray) -> np.ndarray:
        return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]])

    def noise(self, height: float) -> np.ndarray:
        stds = [self.settings.position_std] * 2 + [self.settings.size_std] * 2
        return (np.array(stds) * height) ** 2

    def step(self, box: np.ndarray, dt: float) -> None:
        move = np.array([[1.0, dt], [0.0, 1.0]])
        shape = np.outer([dt**2 / 2, dt], [dt**2 / 2, dt])
        stds = [self.settings.acceleration_std] * 2 + [self.settings.growth_std] * 2
        # the kernel works on the filters in turn, so the height that scales the noise of the last is still the old one
        height = self.mean[3, 0]
        measured = self.measured(box)
        noise = self.noise(measured[3])
        for k in range(4):
            self.mean[k] = move @ self.mean[k]
            self.covariance[k] = move @ self.covariance[k] @ move.T + shape * (stds[k] * height) ** 2
            gain = self.covariance[k][:, 0] / (self.covariance[k][0, 0] + noise[k])
            self.mean[k] += gain * (measured[k] - self.mean[k, 0])
            self.covariance[k] -= np.outer(gain, self.covariance[k][0])


def advanced(
    state: tuple[np.ndarray, np.ndarray, np.ndarray], count: int, parameters: np.ndarray, box: np.ndarray, t: int,
    warp: np.ndarray | None = None,
) -> tuple:  # fmt: skip
    boxes = np.array([box], np.float32).reshape(-1, 4)
    return image_tracks.advance(
        *state, count, parameters, boxes, np.full(len(boxes), 0.9, np.float32), np.zeros(len(boxes), np.int64),
        np.zeros((0, 0), np.float32), np.zeros((0, 0)) if warp is None else warp, t * 0.1, 0.1 if t else 0.0, 1, True,
    )  # fmt: skip


def empty_state(capacity: int = 10) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return (
        np.zeros((capacity, image_tracks.FLOATS)),
        np.zeros((capacity, image_tracks.INTEGERS), np.int64),
        np.zeros((capacity, 0), np.float32),
    )


def test_the_filter_is_kalmans() -> None:
    rng = np.random.default_rng(0)
    settings = ImageTrackerSettings(min_hits=1, position_std=0.04, size_std=0.07, acceleration_std=1.5, growth_std=0.8)
    state, parameters = empty_state(), settings.parameters()
    boxes = [
        np.array([100 + 9 * t, 50 + 2 * t, 160 + 10 * t, 90 + 3 * t], np.float32) + rng.normal(0, 1, 4).astype("f4")
        for t in range(12)
    ]
    plain = PlainTrack(boxes[0].astype(float), settings)
    count = advanced(state, 0, parameters, boxes[0], 0)[0]
    for t in range(1, 12):
        count, _, ids, corners, velocities, *_ = advanced(state, count, parameters, boxes[t], t)
        plain.step(boxes[t].astype(float), 0.1)
        assert ids.tolist() == [1]
        np.testing.assert_allclose(state[0][0, :4], plain.mean[:, 0], rtol=1e-6)
        np.testing.assert_allclose(state[0][0, 4:8], plain.mean[:, 1], rtol=1e-4)
        np.testing.assert_allclose(
            state[0][0, 8:20].reshape(3, 4).T, plain.covariance[:, [0, 0, 1], [0, 1, 1]], rtol=1e-5
        )
        np.testing.assert_allclose(velocities[0], plain.mean[:2, 1], rtol=1e-5)
        assert corners.shape == (1, 4)


def test_a_homography_moves_state_and_covariance_as_its_linearisation_says() -> None:
    settings = ImageTrackerSettings(min_hits=1)
    state, parameters = empty_state(), settings.parameters()
    count = 0
    for t in range(6):
        count = advanced(state, count, parameters, np.array([100.0 + 5 * t, 50, 160 + 5 * t, 90]), t)[0]
    before = state[0][0].copy()
    warp = np.array([[1.02, -0.05, 12.0], [0.04, 0.99, -7.0], [2e-5, -1e-5, 1.0]])
    image_tracks._warp_one(state[0][0], warp)
    after = state[0][0]

    def through(point: np.ndarray) -> np.ndarray:
        lifted = warp @ [point[0], point[1], 1.0]
        return lifted[:2] / lifted[2]

    jacobian = np.stack([(through(before[:2] + d) - through(before[:2] - d)) / 2e-4 for d in 1e-4 * np.eye(2)], axis=1)
    scale = np.sqrt(np.linalg.det(jacobian))
    np.testing.assert_allclose(after[:2], through(before[:2]), rtol=1e-12)
    np.testing.assert_allclose(after[4:6], jacobian @ before[4:6], rtol=1e-6)
    np.testing.assert_allclose(after[2:4], scale * before[2:4], rtol=1e-6)
    for row in (8, 12, 16):
        full = jacobian @ np.diag(before[row : row + 2]) @ jacobian.T
        np.testing.assert_allclose(after[row : row + 2], np.diag(full), rtol=1e-6)
        np.testing.assert_allclose(after[row + 2 : row + 4], scale**2 * before[row + 2 : row + 4], rtol=1e-6)
    middle = 0.5 * (before[20:22] + before[22:24])
    np.testing.assert_allclose(0.5 * (after[20:22] + after[22:24]), through(middle), atol=0.05)
    np.testing.assert_allclose(after[24:26], through(before[24:26]), atol=0.05)


def test_a_motion_that_takes_a_track_behind_the_camera_is_left_out() -> None:
    settings = ImageTrackerSettings(min_hits=1)
    state, parameters = empty_state(), settings.parameters()
    advanced(state, 0, parameters, np.array([100.0, 50, 160, 90]), 0)
    before = state[0].copy()
    image_tracks._warp_one(state[0][0], np.array([[1.0, 0, 0], [0, 1.0, 0], [-0.1, 0, 1.0]]))
    np.testing.assert_array_equal(state[0], before)
