"""Properties and hand-worked cases of the tracking metrics."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from perception.evaluation.recall_sampling import recall_thresholds
from perception.evaluation.tracking import SequenceScores, score_sequences
from perception.evaluation.tracking_amota import AmotaSequence, amota
from perception.evaluation.tracking_clear import clear
from perception.evaluation.tracking_data import TrackingSequence, frame_pairs
from perception.evaluation.tracking_hota import ALPHAS, hota
from perception.evaluation.tracking_identity import identity
from perception.kernels.evaluation import _assign
from perception.kernels.frame_overlaps import box_overlaps, count_switches, inside_any


def random_frames(seed, frames=25, objects=6):
    rng = np.random.default_rng(seed)
    gt, pred, similarity = [], [], []
    for _ in range(frames):
        g = np.flatnonzero(rng.random(objects) < 0.8)
        p = rng.permutation(objects + 3)[: rng.integers(0, objects + 2)]
        block = np.round(rng.random((len(g), len(p))), 1) * (rng.random((len(g), len(p))) < 0.5)
        gt.append(g)
        pred.append(p)
        similarity.append(block)
    return gt, pred, similarity


def metrics_of(gt, pred, similarity):
    sequence = TrackingSequence.from_frames(gt, pred, similarity)
    return score_sequences([sequence])["sequence"].metrics()


def test_perfect_tracks_score_everything():
    gt = [np.arange(k % 4) for k in range(20)]
    found = metrics_of(gt, [ids + 7 for ids in gt], [np.eye(len(ids)) for ids in gt])
    assert all(
        found[name] == pytest.approx(100.0) for name in ("HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1", "MT")
    )
    assert all(found[name] == 0 for name in ("IDSW", "FN", "FP", "ML"))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_permuting_ids_changes_nothing(seed):
    gt, pred, similarity = random_frames(seed)
    rng = np.random.default_rng(seed + 1)
    new_gt, new_pred = rng.permutation(50), rng.permutation(50)
    first = metrics_of(gt, pred, similarity)
    second = metrics_of([new_gt[ids] for ids in gt], [new_pred[ids] for ids in pred], similarity)
    assert first == pytest.approx(second, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_a_false_track_never_helps(seed):
    gt, pred, similarity = random_frames(seed)
    more_pred = [np.append(ids, 99) for ids in pred]
    more = [np.hstack([block, np.zeros((len(g), 1))]) for g, block in zip(gt, similarity, strict=True)]
    before, after = metrics_of(gt, pred, similarity), metrics_of(gt, more_pred, more)
    for name in ("HOTA", "DetA", "MOTA", "MODA", "IDF1", "precision"):
        assert after[name] <= before[name] + 1e-9


def test_a_switch_by_hand():
    """One object of four frames, two ids of two frames each, similarity 0.8."""
    sequence = TrackingSequence.from_frames([[1]] * 4, [[5], [5], [6], [6]], [[[0.8]]] * 4)
    score = hota(sequence)
    below = ALPHAS <= 0.8 + 1e-9
    assert score.det_a.tolist() == pytest.approx(below.astype(float).tolist())
    # each match shares 2 of 4 frames with its object: 2 / (4 + 2 - 2)
    assert score.ass_a[below] == pytest.approx(np.full(below.sum(), 0.5))
    assert score.metrics()["LocA"] == pytest.approx(100 * np.mean(np.where(below, 0.8, 1.0)))
    counted = clear(sequence)
    assert (counted.tp, counted.switches, counted.fragments, counted.mostly_tracked) == (4, 1, 0, 1)
    assert counted.metrics()["MOTA"] == pytest.approx(75.0) and counted.metrics()["MOTP"] == pytest.approx(80.0)
    assert identity(sequence).metrics()["IDF1"] == pytest.approx(50.0)


def test_a_gap_is_a_fragment():
    sequence = TrackingSequence.from_frames([[1]] * 3, [[5], [6], [5]], [[[1.0]], [[0.1]], [[1.0]]])
    counted = clear(sequence)
    assert (counted.tp, counted.fn, counted.fp, counted.switches, counted.fragments) == (2, 1, 1, 0, 1)


def test_empty_sides():
    for gt, pred in (([[1], [1]], [[], []]), ([[], []], [[1], [2]]), ([[], []], [[], []])):
        found = metrics_of(gt, pred, [np.zeros((len(g), len(p))) for g, p in zip(gt, pred, strict=True)])
        assert found["HOTA"] == 0 and found["MOTA"] <= 0 and found["LocA"] == pytest.approx(100.0)
    combined = SequenceScores.combine([])
    assert combined.metrics()["MOTA"] == 0


def test_duplicate_ids_are_refused_with_their_place():
    from perception.errors import InputFormatError

    with pytest.raises(InputFormatError, match=r"sequence s, frame 1: the prediction has track id 4 more than once"):
        TrackingSequence.from_frames([[1], [1]], [[3], [4, 4]], [[[1.0]], [[1.0, 1.0]]], name="s")


def test_lengths_are_checked():
    with pytest.raises(ValueError, match=r"similarity of frame 0 must be \(1, 2\)"):
        TrackingSequence.from_frames([[1]], [[3, 4]], [[[1.0]]])


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 10**6), st.booleans())
def test_assignment_decides_ties_as_scipy(rows, cols, seed, coarse):
    rng = np.random.default_rng(seed)
    cost = rng.integers(-3, 1, (rows, cols)).astype(float) if coarse else rng.normal(size=(rows, cols))
    found = _assign(np.ascontiguousarray(cost))
    expected = np.full(rows, -1)
    r, c = linear_sum_assignment(cost)
    expected[r] = c
    assert found.tolist() == expected.tolist()


def test_pairs_and_overlaps_follow_one_order():
    gt_starts, pred_starts = np.array([0, 2, 2, 3]), np.array([0, 1, 3, 5])
    gt_rows, pred_rows = frame_pairs(gt_starts, pred_starts)
    assert gt_rows.tolist() == [0, 1, 2, 2] and pred_rows.tolist() == [0, 0, 3, 4]
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(0, 10, (8, 2, 2)), axis=1).reshape(8, 4)
    flat = box_overlaps(corners[:3], gt_starts, corners[3:], pred_starts)
    for value, g, p in zip(flat, gt_rows, pred_rows, strict=True):
        a, b = corners[g], corners[3 + p]
        inter = np.prod(np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])))
        assert value == pytest.approx(inter / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inter))
    assert inside_any([[0, 0, 2, 2]], [0, 1], [[0, 0, 1, 2]], [0, 1], 0.5).tolist() == [False]
    assert inside_any([[0, 0, 2, 2]], [0, 1], [[0, 0, 1.1, 2]], [0, 1], 0.5).tolist() == [True]


class SlowAmota:
    """AB3DMOT's evaluation written down a second time, object by object."""

    def __init__(self, frames, iou):
        self.frames, self.iou = frames, iou
        self.ever = set()
        scores: dict[int, list[float]] = {}
        for _, preds, _ in frames:
            for track, score, _ in preds:
                scores.setdefault(track, []).append(score)
        self.mean = {track: sum(s) / len(s) for track, s in scores.items()}

    def run(self, threshold):
        tp = fn = fp = n_gt = 0
        cost_sum = 0.0
        scores = []
        tracks: dict[int, list[tuple[int, bool]]] = {}
        for f, (labels, preds, similarity) in enumerate(self.frames):
            kept = [j for j, (track, _, _) in enumerate(preds) if not self.mean[track] < threshold]
            cost = np.array([[1 - similarity[i, j] if 1 - similarity[i, j] <= 1 - self.iou else 1e6 for j in kept]
                             for i in range(len(labels))]).reshape(len(labels), len(kept))  # fmt: skip
            rows, cols = linear_sum_assignment(cost)
            match = {i: kept[k] for i, k in zip(rows, cols, strict=True) if cost[i, k] < 1e6}
            for i, j in match.items():
                self.ever.add((f, j))
                tp += 1
                cost_sum += similarity[i, j]
                scores.append(self.mean[preds[j][0]])
            ignored_pred = sum(preds[j][2] and (f, j) not in self.ever for j in kept)
            for i, (track, ignorable) in enumerate(labels):
                tracks.setdefault(track, []).append((preds[match[i]][0] if i in match else -1, ignorable))
                n_gt += not ignorable
                fn += i not in match and not ignorable
            fp += len(kept) - len(match) - ignored_pred
        switches = 0
        for states in tracks.values():
            if all(ignored for _, ignored in states) or all(track == -1 for track, _ in states):
                continue
            last = states[0][0]
            for before, (track, ignored) in pairwise(states):
                if ignored:
                    last = -1
                    continue
                switches += last not in (track, -1) and track != -1 and before[0] != -1
                last = track if track != -1 else last
        return tp, fn, fp, n_gt, switches, cost_sum, scores

    def averages(self):
        tp, fn, *_, scores = self.run(-10000)
        total = {"sAMOTA": 0.0, "AMOTA": 0.0, "AMOTP": 0.0}
        thresholds, recalls = recall_thresholds(np.array(scores), tp + fn)
        for threshold, recall in list(zip(thresholds, recalls, strict=True))[1:]:
            tp, fn, fp, n_gt, switches, overlap, _ = self.run(threshold)
            total["AMOTA"] += 1 - (fn + fp + switches) / n_gt
            total["AMOTP"] += overlap / tp
            total["sAMOTA"] += min(1, max(0, 1 - (fn + fp + switches - (1 - recall) * n_gt) / (recall * n_gt)))
        return {name: 100 * value / 40 for name, value in total.items()}


@pytest.mark.parametrize("seed", range(4))
def test_amota_agrees_with_a_slow_second_writing(seed):
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(40):
        labels = [(k, bool(rng.random() < 0.15)) for k in range(6) if rng.random() < 0.8]
        preds = [(10 + k, rng.random() + k / 5, bool(rng.random() < 0.2)) for k in range(8) if rng.random() < 0.7]
        similarity = rng.random((len(labels), len(preds))) * 0.2
        for i, (label, _) in enumerate(labels):
            for j, (track, _, _) in enumerate(preds):
                if track - 10 == label or rng.random() < 0.05:
                    similarity[i, j] = rng.uniform(0.2, 1.0)
        frames.append((labels, preds, similarity))
    sequence = AmotaSequence(
        "s",
        np.cumsum([0] + [len(f[0]) for f in frames]),
        np.array([label for f in frames for label, _ in f[0]]),
        np.array([ignorable for f in frames for _, ignorable in f[0]]),
        np.cumsum([0] + [len(f[1]) for f in frames]),
        np.array([track for f in frames for track, _, _ in f[1]]),
        np.array([score for f in frames for _, score, _ in f[1]]),
        np.array([ignorable for f in frames for *_, ignorable in f[1]]),
        np.concatenate([f[2].reshape(-1) for f in frames]),
    )
    found = amota([sequence], 0.25).metrics()
    for name, value in SlowAmota(frames, 0.25).averages().items():
        assert found[name] == pytest.approx(value, abs=1e-9), name
    assert found["sAMOTA"] > 0


def test_amota_of_perfect_tracks():
    count = 80
    sequence = AmotaSequence(
        "s", np.arange(count + 1), np.zeros(count, int), np.zeros(count, bool), np.arange(count + 1),
        np.arange(count) // 2, np.linspace(1, 0, count), np.zeros(count, bool), np.ones(count),
    )  # fmt: skip
    found = amota([sequence], 0.25).metrics()
    assert found["AMOTP"] == pytest.approx(100.0) and found["MOTA"] < 100.0  # ids change every other frame


def test_switches_fragments_and_lost_tracks_by_hand():
    # tracked throughout with a switch; lost; ignored throughout; a gap
    ids = np.array([5, 5, 6, 6, -1, -1, 7, 7, 8, -1, 8, 8])
    starts = np.array([0, 4, 6, 8, 12])
    ignored = np.zeros(12, bool)
    ignored[6:8] = True
    switches, fragments, tracked, partly, lost, all_ignored = count_switches(starts, ids, ignored).tolist()
    assert (switches, tracked, partly, lost, all_ignored) == (1, 1, 1, 1, 1)
    assert fragments == 2


def test_recall_thresholds_walk_as_the_devkit_does():
    rng = np.random.default_rng(0)
    for hits, labels in ((1, 1), (5, 5), (39, 39), (40, 41), (100, 130), (500, 700), (1000, 1000)):
        scores = rng.random(hits)
        expected, recall, ordered = [], 0.0, sorted(scores, reverse=True)
        for i, score in enumerate(ordered):
            left = (i + 1) / labels
            right = (i + 2) / labels if i < hits - 1 else left
            if right - recall < recall - left and i < hits - 1:
                continue
            expected.append(score)
            recall += 1 / 40
        assert recall_thresholds(scores, labels)[0].tolist() == expected
