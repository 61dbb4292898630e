"""Results made from real labels by known mistakes."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def tracker_from_labels(lines: list[str], rng: np.random.Generator) -> list[str]:
    """Tracking results: moved boxes, dropped boxes, switched ids, duplicates, hits on vans and DontCare."""
    new_id = 5000
    id_of: dict[str, str] = {}
    out = []
    for line in lines:
        fields = line.split()
        if fields[2] == "DontCare":
            if rng.random() < 0.15:
                new_id += 1
                values = ["1.5", "1.6", "4.0", "1.0", "1.6", "30.0", "0.1"]
                out.append(" ".join([fields[0], str(new_id), "Car", "0", "0", "-10", *fields[6:10], *values, "0.3"]))
            continue
        if rng.random() < 0.1:
            continue
        if fields[1] not in id_of or rng.random() < 0.02:
            new_id += 1
            id_of[fields[1]] = str(new_id)
        fields[1] = id_of[fields[1]]
        if fields[2] in ("Van", "Person") and rng.random() < 0.5:
            fields[2] = {"Van": "Car", "Person": "Pedestrian"}[fields[2]]
        box = np.array(fields[6:10], float)
        width, height = box[2] - box[0], box[3] - box[1]
        box += rng.normal(0, 0.08, 4) * [width, height, width, height]
        box = np.array([*np.minimum(box[:2], box[2:]), *np.maximum(box[:2], box[2:])])
        solid = np.array(fields[10:17], float) + rng.normal(0, 0.1, 7)
        solid[:3] = np.abs(solid[:3]) + 0.1
        fields[6:17] = [f"{value:.6f}" for value in (*box, *solid)]
        out.append(" ".join([*fields, f"{rng.random():.4f}"]))
        if rng.random() < 0.1:
            new_id += 1
            fields[1] = str(new_id)
            out.append(" ".join([*fields, f"{rng.random():.4f}"]))
    return out


def write_tracker(labels: Path, out: Path, seed: int, names: list[str]) -> None:
    rng = np.random.default_rng(seed)
    out.mkdir(parents=True)
    for name in names:
        lines = tracker_from_labels((labels / f"{name}.txt").read_text().splitlines(), rng)
        (out / f"{name}.txt").write_text("\n".join(lines) + "\n")


def detections_from_labels(lines: list[str], rng: np.random.Generator) -> list[str]:
    """Object results: moved boxes, several for one object, other classes, tied scores, hits on DontCare."""
    out = []
    for line in lines:
        fields = line.split()
        if fields[0] == "DontCare":
            if rng.random() < 0.5:
                continue
            fields = ["Car", "0", "0", "0.1", *fields[4:8], "1.5", "1.6", "4", "3", "1.7", "40", "0.3"]
        for _ in range(1 + int(rng.random() < 0.6) + int(rng.random() < 0.4)):
            if rng.random() < 0.15:
                continue
            row = list(fields)
            if rng.random() < 0.1:
                row[0] = str(rng.choice(["Car", "Pedestrian", "Cyclist", "Van"]))
            values = np.array(row[3:15], float)
            box = values[1:5]
            width, height = box[2] - box[0], box[3] - box[1]
            box = box + rng.normal(0, 0.06, 4) * [width, height, width, height]
            values[1:5] = [*np.minimum(box[:2], box[2:]), *np.maximum(box[:2], box[2:])]
            values[0] += rng.normal(0, 0.3)
            values[5:] += rng.normal(0, 0.08, 7)
            values[5:8] = np.abs(values[5:8]) + 0.05
            row[3:15] = [f"{value:.3f}" for value in values]
            # one decimal makes many ties
            score = f"{rng.random():.1f}" if rng.random() < 0.3 else f"{rng.random():.5f}"
            out.append(" ".join([*row[:15], score]))
    return out


def write_detections(labels: list[Path], gt: Path, pred: Path, seed: int, repeats: int = 1) -> None:
    rng = np.random.default_rng(seed)
    gt.mkdir(parents=True)
    pred.mkdir(parents=True)
    for k, path in enumerate(labels * repeats):
        lines = path.read_text().splitlines()
        (gt / f"{k:06d}.txt").write_text("\n".join(lines) + "\n")
        (pred / f"{k:06d}.txt").write_text("".join(line + "\n" for line in detections_from_labels(lines, rng)))
