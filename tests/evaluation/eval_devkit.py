"""KITTI's rules written down a second time, slowly and frame by frame, as an oracle."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from shapely.geometry import Polygon

MIN_HEIGHT = (40, 25, 25)
MAX_OCCLUSION = (0, 1, 2)
MAX_TRUNCATION = (0.15, 0.3, 0.5)


@dataclass
class Box:
    kind: str
    truncation: float
    occlusion: int
    alpha: float
    x1: float
    y1: float
    x2: float
    y2: float
    h: float
    w: float
    l: float  # noqa: E741
    x: float
    y: float
    z: float
    ry: float
    score: float = 0.0


def read(path: Path) -> list[Box]:
    rows = [line.split() for line in path.read_text().splitlines()]
    return [Box(r[0], float(r[1]), int(float(r[2])), *(float(v) for v in r[3:])) for r in rows]


def image_iou(a: Box, b: Box, of_first: bool = False) -> float:
    width, height = min(a.x2, b.x2) - max(a.x1, b.x1), min(a.y2, b.y2) - max(a.y1, b.y1)
    if width <= 0 or height <= 0:
        return 0.0
    inter = width * height
    area_a, area_b = (a.x2 - a.x1) * (a.y2 - a.y1), (b.x2 - b.x1) * (b.y2 - b.y1)
    return inter / area_a if of_first else inter / (area_a + area_b - inter)


def footprint(box: Box) -> Polygon:
    c, s = math.cos(box.ry), math.sin(box.ry)
    corners = [(1, 1), (1, -1), (-1, -1), (-1, 1)]
    return Polygon(
        [
            (box.x + c * a * box.l / 2 + s * b * box.w / 2, box.z - s * a * box.l / 2 + c * b * box.w / 2)
            for a, b in corners
        ]
    )


def ground_iou(a: Box, b: Box, of_first: bool = False) -> float:
    if of_first or min(a.l, a.w, b.l, b.w) <= 0:
        return 0.0
    pa, pb = footprint(a), footprint(b)
    inter = pa.intersection(pb).area
    return inter / (pa.area + pb.area - inter)


def solid_iou(a: Box, b: Box, of_first: bool = False) -> float:
    if of_first or min(a.l, a.w, b.l, b.w) <= 0:
        return 0.0
    tall = min(a.y, b.y) - max(a.y - a.h, b.y - b.h)
    inter = footprint(a).intersection(footprint(b)).area * max(0.0, tall)
    return inter / (a.h * a.l * a.w + b.h * b.l * b.w - inter)


OVERLAPS: dict[str, Callable[..., float]] = {"2d": image_iou, "bev": ground_iou, "3d": solid_iou}


def thresholds(scores: list[float], n_gt: int) -> list[float]:
    scores = sorted(scores, reverse=True)
    out = []
    recall = 0.0
    for i, score in enumerate(scores):
        left = (i + 1) / n_gt
        right = (i + 2) / n_gt if i < len(scores) - 1 else left
        if right - recall < recall - left and i < len(scores) - 1:
            continue
        out.append(score)
        recall += 1 / 40
    return out


class Evaluation:
    """One class, difficulty, space and overlap over all frames."""

    def __init__(self, frames: list[tuple[list[Box], list[Box]]], kind: str, level: int, space: str, least: float):
        self.least = least
        self.overlap = OVERLAPS[space]
        self.frames = []
        self.n_gt = 0
        neighbour = {"car": "van", "pedestrian": "person_sitting"}.get(kind.lower())
        for gt, det in frames:
            state = []
            for box in gt:
                hard = (
                    box.occlusion > MAX_OCCLUSION[level]
                    or box.truncation > MAX_TRUNCATION[level]
                    or box.y2 - box.y1 < MIN_HEIGHT[level]
                )
                same = box.kind.lower() == kind.lower()
                state.append(0 if same and not hard else 1 if same or box.kind.lower() == neighbour else -1)
            self.n_gt += state.count(0)
            low = [int(abs(d.y1 - d.y2)) < MIN_HEIGHT[level] for d in det]
            det_state = [
                1 if lo else 0 if d.kind.lower() == kind.lower() else -1 for d, lo in zip(det, low, strict=True)
            ]
            regions = [box for box in gt if box.kind.lower() == "dontcare"]
            self.frames.append((gt, det, state, det_state, regions, {}))

    def _iou(self, frame, i, j):
        gt, det, *_, cache = frame
        if (i, j) not in cache:
            cache[i, j] = self.overlap(det[j], gt[i])
        return cache[i, j]

    def hits(self) -> list[float]:
        scores = []
        for frame in self.frames:
            gt, det, state, det_state, _, _ = frame
            used = [False] * len(det)
            for i in range(len(gt)):
                if state[i] == -1:
                    continue
                best, chosen = -1e7, -1
                for j in range(len(det)):
                    if (
                        det_state[j] != -1
                        and not used[j]
                        and self._iou(frame, i, j) > self.least
                        and det[j].score > best
                    ):
                        best, chosen = det[j].score, j
                if chosen < 0:
                    continue
                used[chosen] = True
                if state[i] == 0 and det_state[chosen] == 0:
                    scores.append(best)
        return scores

    def counts(self, threshold: float) -> tuple[int, int, float]:
        tp_all = fp_all = 0
        similarity = 0.0
        for frame in self.frames:
            gt, det, state, det_state, regions, _ = frame
            used = [False] * len(det)
            out = [d.score < threshold for d in det]
            for i in range(len(gt)):
                if state[i] == -1:
                    continue
                chosen, greatest, ignored = -1, 0.0, False
                for j in range(len(det)):
                    if det_state[j] == -1 or used[j] or out[j]:
                        continue
                    iou = self._iou(frame, i, j)
                    if iou > self.least and (iou > greatest or ignored) and det_state[j] == 0:
                        chosen, greatest, ignored = j, iou, False
                    elif iou > self.least and chosen < 0 and det_state[j] == 1:
                        chosen, ignored = j, True
                if chosen < 0:
                    continue
                used[chosen] = True
                if state[i] == 0 and det_state[chosen] == 0:
                    tp_all += 1
                    similarity += (1 + math.cos(gt[i].alpha - det[chosen].alpha)) / 2
            for j in range(len(det)):
                if used[j] or out[j] or det_state[j] != 0:
                    continue
                # regions have no 3D box; in the image they excuse what lies in them
                excused = self.overlap is image_iou and any(
                    image_iou(det[j], region, of_first=True) > self.least for region in regions
                )
                fp_all += not excused
        return tp_all, fp_all, similarity

    def precisions(self, orientation: bool = False) -> list[float]:
        values = [0.0] * 41
        if not self.n_gt:
            return values
        for k, threshold in enumerate(thresholds(self.hits(), self.n_gt)[:41]):
            tp, fp, similarity = self.counts(threshold)
            values[k] = (similarity if orientation else tp) / (tp + fp) if tp + fp else 0.0
        return [max(values[k:]) for k in range(41)]

    def r40(self) -> float:
        scores = sorted({d.score for frame in self.frames for d in frame[1]}, reverse=True)
        points = [self.counts(score)[:2] for score in scores]
        total = 0.0
        for k in range(1, 41):
            total += max((tp / (tp + fp) for tp, fp in points if 40 * tp >= k * self.n_gt and tp), default=0.0)
        return 100 * total / 40
