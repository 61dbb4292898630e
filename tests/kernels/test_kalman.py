"""Kalman kernels against the textbook's matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perception.kernels import kalman


def textbook(
    mean: np.ndarray, covariance: np.ndarray, transition: np.ndarray, process: np.ndarray, measured: float, std: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    ahead = transition @ mean
    spread = transition @ covariance @ transition.T + process
    if np.isnan(measured):
        return ahead, spread, ahead, spread
    seen = np.eye(1, len(mean))
    gain = spread @ seen.T / (seen @ spread @ seen.T + std**2)
    return ahead, spread, ahead + (gain * (measured - ahead[0])).ravel(), spread - gain @ seen @ spread


def dynamics(order: int, dt: float, std: float) -> tuple[np.ndarray, np.ndarray]:
    if order == 2:
        enters = np.array([dt**2 / 2, dt])
        return np.array([[1, dt], [0, 1]]), std**2 * np.outer(enters, enters)
    enters = np.array([dt**3 / 6, dt**2 / 2, dt])
    return np.array([[1, dt, dt**2 / 2], [0, 1, dt], [0, 0, 1]]), std**2 * np.outer(enters, enters)


@pytest.mark.parametrize("order", [2, 3])
def test_linear_filters_agree_with_the_matrices(order: int) -> None:
    rng = np.random.default_rng(order)
    upper = np.triu_indices(order)
    means = rng.normal(size=(4, 3, order))
    full = np.empty((4, 3, order, order))
    for index in np.ndindex(4, 3):
        root = rng.normal(size=(order, order))
        full[index] = root @ root.T + np.eye(order)
    covariances = np.ascontiguousarray(full[:, :, upper[0], upper[1]])
    expected = [(means[i].copy(), full[i].copy()) for i in np.ndindex(4, 3)]
    predict = kalman.predict_velocity if order == 2 else kalman.predict_acceleration
    for dt in (0.1, 0.0, 0.7):
        measured = rng.normal(size=(4, 3))
        measured[1, 1] = np.nan
        predict(means, covariances, dt, 1.3)
        distances = kalman.correct_positions(means, covariances, measured, 0.4)
        transition, process = dynamics(order, dt, 1.3)
        expected_distance = np.zeros(4)
        for n, index in enumerate(np.ndindex(4, 3)):
            ahead, spread, mean, covariance = textbook(*expected[n], transition, process, measured[index], 0.4)
            if not np.isnan(measured[index]):
                expected_distance[index[0]] += (measured[index] - ahead[0]) ** 2 / (spread[0, 0] + 0.16)
            expected[n] = (mean, covariance)
            np.testing.assert_allclose(means[index], mean, rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(covariances[index], covariance[upper], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(distances, expected_distance, rtol=1e-9)


def box_states(count: int, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Standing 3D boxes at the origin, uncertain by 1 in everything."""
    means, covariances = np.zeros((count, 7, order)), np.zeros((count, 7, order * (order + 1) // 2))
    diagonal = [0, 2] if order == 2 else [0, 3, 5]
    covariances[:, :, diagonal] = 1.0
    return means, covariances


@pytest.mark.parametrize("order", [2, 3])
@settings(max_examples=25, deadline=None)
@given(st.floats(-3.2, 3.2), st.floats(-2.0, 2.0), st.integers(0, 10**6))
def test_box_whose_yaw_wraps_is_the_one_that_does_not(order: int, start: float, rate: float, seed: int) -> None:
    """Yaw given in -pi ... pi, or unrolled to a plain coordinate: the same state but for whole turns."""
    predict = kalman.predict_velocity if order == 2 else kalman.predict_acceleration
    rng = np.random.default_rng(seed)
    wrapped, plain = box_states(2, order), box_states(2, order)
    wrapped[0][:, 6, 0], plain[0][:, 6, 0] = (start + np.pi) % (2 * np.pi) - np.pi, start
    for step in range(12):
        boxes = rng.normal(size=(2, 7))
        boxes[:, 6] = start + rate * 0.1 * step + rng.normal(0, 0.02, 2)
        turned = boxes.copy()
        turned[:, 6] = (boxes[:, 6] + np.pi) % (2 * np.pi) - np.pi
        predict(*wrapped, 0.1, 2.0, angles=(6,))
        predict(*plain, 0.1, 2.0)
        first = kalman.correct_positions(*wrapped, turned, 0.3, angles=(6,))
        second = kalman.correct_positions(*plain, boxes, 0.3)
        np.testing.assert_allclose(first, second, atol=1e-9)
        apart = wrapped[0] - plain[0]
        apart[:, 6, 0] -= np.round(apart[:, 6, 0] / (2 * np.pi)) * 2 * np.pi
        np.testing.assert_allclose(apart, 0.0, atol=1e-9)
        assert (np.abs(wrapped[0][:, 6, 0]) <= np.pi).all()
        np.testing.assert_allclose(wrapped[1], plain[1])


def test_flipped_yaw_is_mended_only_where_asked() -> None:
    boxes = np.zeros((1, 7))
    boxes[0, 6] = np.pi - 0.1
    mended, kept = box_states(1, 2), box_states(1, 2)
    kalman.correct_positions(*mended, boxes, 0.5, angles=(6,), mend_flips=True)
    kalman.correct_positions(*kept, boxes, 0.5, angles=(6,))
    assert mended[0][0, 6, 0] == pytest.approx(-0.1 / 1.25)
    assert kept[0][0, 6, 0] == pytest.approx((np.pi - 0.1) / 1.25)


def test_noise_may_differ_by_object_and_coordinate() -> None:
    """As image trackers want it, whose noise grows with a box's height."""
    heights = np.array([20.0, 200.0])
    together = np.zeros((2, 4, 2)), np.ones((2, 4, 3))
    stds = 0.05 * heights[:, None] * np.array([1.0, 1.0, 0.1, 2.0])
    measured = np.arange(8.0).reshape(2, 4)
    kalman.predict_velocity(*together, 0.1, stds)
    distances = kalman.correct_positions(*together, measured, stds)
    for i, k in np.ndindex(2, 4):
        alone = np.zeros((1, 1, 2)), np.ones((1, 1, 3))
        kalman.predict_velocity(*alone, 0.1, stds[i, k])
        distances[i] -= kalman.correct_positions(*alone, [[measured[i, k]]], stds[i, k])[0]
        np.testing.assert_array_equal(alone[0][0, 0], together[0][i, k])
        np.testing.assert_array_equal(alone[1][0, 0], together[1][i, k])
    np.testing.assert_allclose(distances, 0.0, atol=1e-12)


def test_turning_state_follows_the_circle_it_describes() -> None:
    """Speed 10 m/s and 0.5 rad/s for a half turn: a circle of radius 20 m, whatever the step."""
    for steps in (1, 10, 1000):
        means = np.array([[0.0, 0.0, 0.0, 10.0, 0.5]])
        covariances = np.zeros((1, 5, 5))
        for _ in range(steps):
            kalman.predict_turn(means, covariances, np.pi / 0.5 / steps, 0.0, 0.0)
        np.testing.assert_allclose(means[0, :2], [0.0, 40.0], atol=1e-9)
        assert abs(abs(means[0, 2]) - np.pi) < 1e-9


def test_turn_jacobian_is_the_derivative() -> None:
    for rate in (0.4, 1e-7):
        state = np.array([1.0, 2.0, 0.3, 7.0, rate])
        columns = []
        for k in range(5):
            high, low = state.copy(), state.copy()
            high[k] += 1e-5
            low[k] -= 1e-5
            pair = np.stack([high, low])
            kalman.predict_turn(pair, np.zeros((2, 5, 5)), 0.2, 0.0, 0.0)
            columns.append((pair[0] - pair[1]) / 2e-5)
        jacobian = np.stack(columns, axis=1)
        covariance = np.diag([0.1, 0.2, 0.3, 0.4, 0.5])
        means, covariances = state[None].copy(), covariance[None].copy()
        kalman.predict_turn(means, covariances, 0.2, 0.0, 0.0)
        np.testing.assert_allclose(covariances[0], jacobian @ covariance @ jacobian.T, rtol=1e-4, atol=1e-6)


def test_turn_correction_wraps_and_mends_flips() -> None:
    means = np.array([[0.0, 0.0, np.pi - 0.01, 5.0, 0.0]] * 3)
    covariances = np.repeat(np.eye(5)[None], 3, axis=0)
    # just past the wrap, reversed, and not measured
    poses = np.array([[0.0, 0.0, -np.pi + 0.01], [0.0, 0.0, -0.01], [np.nan, 0.0, 0.0]])
    distances = kalman.correct_turn(means, covariances, poses, 0.1, 0.1)
    assert distances[0] < 1e-3 and distances[1] < 1e-9 and distances[2] == 0.0
    assert abs(abs(means[0, 2]) - np.pi) < 0.011
    assert means[1, 2] == pytest.approx(np.pi - 0.01)
    np.testing.assert_array_equal(covariances[2], np.eye(5))


def test_smoother_is_the_least_squares_solution() -> None:
    """The same posterior by solving the whole Gaussian problem at once."""
    rng = np.random.default_rng(5)
    times = np.cumsum(rng.uniform(0.05, 0.3, 12))
    positions = rng.normal(size=(12, 2)).cumsum(axis=0)
    positions[4:7] = np.nan
    stds = rng.uniform(0.1, 0.5, 12)
    means, deviations = kalman.smooth(times, positions, stds, 2.0)
    for k in range(2):
        size = 24
        information, vector = np.zeros((size, size)), np.zeros(size)
        information[1, 1] += 1e-4
        for t in range(12):
            if not np.isnan(positions[t, k]):
                information[2 * t, 2 * t] += stds[t] ** -2
                vector[2 * t] += positions[t, k] / stds[t] ** 2
            if t:
                dt = times[t] - times[t - 1]
                transition, process = dynamics(2, dt, 2.0)
                inverse = np.linalg.inv(process + 1e-12 * np.eye(2))
                link = np.zeros((2, size))
                link[:, 2 * t : 2 * t + 2] = np.eye(2)
                link[:, 2 * t - 2 : 2 * t] = -transition
                information += link.T @ inverse @ link
        solution = np.linalg.solve(information, vector).reshape(12, 2)
        np.testing.assert_allclose(means[:, k, 0], solution[:, 0], atol=2e-3)
        np.testing.assert_allclose(means[:, k, 1], solution[:, 1], atol=2e-2)
    assert (deviations[4:7] > deviations[3]).all(), "a gap is less certain than what was measured"


def test_wrong_shapes_types_and_values_are_named() -> None:
    states = box_states(2, 2)
    with pytest.raises(ValueError, match=r"means must be \(N, N, 2\)"):
        kalman.predict_velocity(np.zeros((2, 3, 3)), np.zeros((2, 3, 3)), 0.1, 1.0)
    with pytest.raises(ValueError, match=r"covariances must be"):
        kalman.predict_velocity(states[0], np.zeros((2, 3, 3)), 0.1, 1.0)
    with pytest.raises(ValueError, match="means must be a C-contiguous, writable float64"):
        kalman.predict_velocity(states[0].astype(np.float32), states[1], 0.1, 1.0)
    for dt in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="dt_s must be 0 or more"):
            kalman.predict_velocity(*states, dt, 1.0)
        with pytest.raises(ValueError, match="dt_s must be 0 or more"):
            kalman.predict_turn(np.zeros((1, 5)), np.zeros((1, 5, 5)), dt, 1.0, 1.0)
    with pytest.raises(ValueError, match="acceleration_std must be finite and 0 or more but holds -1"):
        kalman.predict_velocity(*states, 0.1, [1.0] * 6 + [-1.0])
    with pytest.raises(ValueError, match="position_stds must be finite and positive but holds 0"):
        kalman.correct_positions(*states, np.zeros((2, 7)), 0.0)
    with pytest.raises(ValueError, match="row 1"):
        kalman.correct_positions(*states, np.vstack([np.zeros(7), np.full(7, np.inf)]), 1.0)
    with pytest.raises(ValueError, match=r"angles must lie in 0 ... 6 but hold 7"):
        kalman.correct_positions(*states, np.zeros((2, 7)), 1.0, angles=(7,))
    with pytest.raises(ValueError, match="row 0"):
        kalman.correct_turn(np.zeros((1, 5)), np.zeros((1, 5, 5)), [[0, np.inf, 0]], 1.0, 1.0)
    with pytest.raises(ValueError, match="rise"):
        kalman.smooth([0.0, 0.0], np.zeros((2, 1)), np.ones(2), 1.0)
    with pytest.raises(ValueError, match="first row"):
        kalman.smooth([0.0, 1.0], [[np.nan], [0.0]], np.ones(2), 1.0)


def test_no_objects_are_fine() -> None:
    for order, predict in ((2, kalman.predict_velocity), (3, kalman.predict_acceleration)):
        states = box_states(0, order)
        predict(*states, 0.1, 1.0)
        assert kalman.correct_positions(*states, np.zeros((0, 7)), 1.0).shape == (0,)
    kalman.predict_turn(np.zeros((0, 5)), np.zeros((0, 5, 5)), 0.1, 1.0, 1.0)
