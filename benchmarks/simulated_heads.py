"""Every head of a network on simulated drives that nobody trained on, against their exact truth.

    python benchmarks/simulated_heads.py [--weights street] [--drives 12] [--frames 8] [--figures] [--json FILE]

Instance AP is Cityscapes' (ten overlaps, objects of 100 px and more), over the classes that the drives show. Beside the
network stands what its boxes alone would give: every box filled as a mask, and the network's depth beside a flat road.
The network sees what it sees in a replay, or, with ``--figures``, as much as in the tools that measure on real data,
and masks are refined.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from rich.console import Console
from rich.table import Table

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from perception.cli.benchmark_runs import FOR_PIXELS
from perception.config import load_config
from perception.detection.network import NetworkDetector
from perception.evaluation.instances import InstanceFrame, InstancePrediction, instance_ap, match_instances
from perception.evaluation.panoptic import Segments
from perception.files import write_text_atomic
from perception.geometry import EGO_R_CAM, SE3, PinholeCamera
from perception.kernels.boxes import iou_matrix
from perception.lifting.network_depth import NetworkDepth
from perception.models.street_network import StreetNetwork
from perception.segmentation.factory import make_instance, make_semantic
from perception.training.labels import Sample
from perception.training.sim_source import sim_samples
from perception.types import Detections, Frame

SCENARIOS = ("city", "suburb", "crowd", "junctions", "motorway", "roundabout")
CLASSES = ("car", "van", "truck", "bus", "pedestrian", "cyclist")
FIRST_SEED = 70_000
HEIGHT_PX, WIDTH_PX = 375, 1242
SAME_OBJECT_IOU = 0.5


def main(
    weights: Annotated[str, typer.Option(help="A name from `perceive weights list`, or a file.")] = "street",
    drives: Annotated[int, typer.Option(min=1)] = 12,
    frames: Annotated[int, typer.Option(min=2, help="Of each drive, two seconds apart in pairs of half a second.")] = 8,
    figures: Annotated[bool, typer.Option("--figures", help="See as much as tools/kitti_*_benchmark.py do.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="One setting, key.path=value.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the numbers.")] = None,
) -> None:
    seen = FOR_PIXELS if figures else ("detection.score_threshold=0.05",)
    config = load_config(overrides=[f"network.weights={weights}", *seen, *(set_ or ())])
    network = StreetNetwork(config.network, "cpu")
    detector, depth = NetworkDetector(network, config.detection), NetworkDepth(network)
    semantic, instances = make_semantic(config.segmentation, network), make_instance(config.segmentation, network)
    masks: dict[str, list[InstanceFrame]] = {"network": [], "boxes filled": []}
    confusion = np.zeros((len(SEMANTIC_CLASSES),) * 2)
    errors: dict[str, list[float]] = {"depth": [], "distance": [], "heading_deg": [], "known again": []}
    before: tuple[Sample, Detections, npt.NDArray[np.int64]] | None = None
    seeds = range(FIRST_SEED, FIRST_SEED + drives)
    for sample in sim_samples(SCENARIOS, seeds, frames, 0.5, HEIGHT_PX, WIDTH_PX):
        frame = Frame(0, sample.source, 0, sample.image_rgb, camera_of(sample))
        found, classes = detector.detect(frame), semantic.segment(frame)
        rows = instances.segment(frame, found, classes).detection_rows
        truth = segments_of(sample)
        masks["network"].append(match_instances(truth, predictions(found, lambda k, rows=rows: rows == k)))
        masks["boxes filled"].append(match_instances(truth, predictions(found, lambda k, f=found: filled(f, k))))
        confusion += np.bincount(
            sample.semantic.astype(np.int64).ravel() * len(confusion) + classes.class_ids.ravel(),
            minlength=confusion.size,
        ).reshape(confusion.shape)
        metres = depth.estimate(frame)
        assert metres is not None and sample.depth_points is not None
        u, v, measured = sample.depth_points[sample.depth_points[:, 2] < 80].T
        errors["depth"].append(float(np.mean(np.abs(metres.depth_m[v.astype(int), u.astype(int)] / measured - 1))))
        owners = truth_of(sample, found)
        for row, owner in enumerate(owners):
            if owner < 0 or found.solid is None or not np.isfinite(sample.boxes.solid[owner]).all():
                continue
            seen, real = found.solid[row], sample.boxes.solid[owner]
            errors["distance"].append(abs(float(seen[4] / real[4]) - 1))
            turn = (float(seen[3] - real[3]) + np.pi) % (2 * np.pi) - np.pi
            errors["heading_deg"].append(abs(float(np.degrees(turn))))
        if before is not None and same_drive(before[0], sample):
            errors["known again"] += known_again(before, (sample, found, owners))
        before = (sample, found, owners)
    report(masks, confusion, errors, json_file)


def report(
    masks: dict[str, list[InstanceFrame]],
    confusion: npt.NDArray[np.float64],
    errors: dict[str, list[float]],
    json_file: Path | None,
) -> None:
    union = confusion.sum(0) + confusion.sum(1) - np.diag(confusion)
    shown = confusion.sum(1) > 0
    numbers = {"mIoU": 100 * float((np.diag(confusion) / np.maximum(union, 1))[shown].mean())}
    table = Table("class", *[f"{name}, {kind}" for name in masks for kind in ("AP", "AP50")], title="instances, %")
    means: dict[str, list[float]] = {}
    for name in CLASSES:
        cells = []
        for source, frames in masks.items():
            ap = 100 * instance_ap(frames, OBJECT_CLASSES.index(name))
            for kind, value in (("AP", float(ap.mean())), ("AP50", float(ap[0]))):
                cells.append(f"{value:.1f}")
                if np.isfinite(value):
                    means.setdefault(f"{source}/{kind}", []).append(value)
                    numbers[f"{source}/{name}/{kind}"] = value
        table.add_row(name, *cells)
    numbers |= {f"{key}": float(np.mean(values)) for key, values in means.items()}
    table.add_row("mean", *[f"{np.mean(means[f'{s}/{k}']):.1f}" for s in masks for k in ("AP", "AP50")])
    console = Console()
    console.print(table)
    numbers |= {
        "depth/abs_rel": float(np.mean(errors["depth"])),
        "distance/abs_rel_median": float(np.median(errors["distance"])),
        "heading/error_deg_median": float(np.median(errors["heading_deg"])),
        "embedding/known_again": 100 * float(np.mean(errors["known again"])),
    }
    table = Table("figure", "value")
    for key in (
        "mIoU",
        "depth/abs_rel",
        "distance/abs_rel_median",
        "heading/error_deg_median",
        "embedding/known_again",
    ):
        table.add_row(key, f"{numbers[key]:.3f}")
    console.print(table)
    if json_file is not None:
        write_text_atomic(json_file, json.dumps({"metrics": numbers, "meta": {}}, indent=2) + "\n")


def camera_of(sample: Sample) -> PinholeCamera:
    height, width = sample.image_rgb.shape[:2]
    place = SE3(EGO_R_CAM, np.array([0.0, 0.0, 1.5]))
    return PinholeCamera(
        sample.focal_px, sample.focal_px, width / 2, height / 2, width, height, np.zeros(0), place, "sim"
    )


def segments_of(sample: Sample) -> Segments:
    """Objects as segments; what is too little seen to be labelled is void."""
    assert sample.owners is not None
    kept = np.flatnonzero(~sample.boxes.ignored)
    table = np.zeros(len(sample.boxes) + 1, np.int64)
    table[kept + 1] = 2 + np.arange(len(kept))
    rows = table[sample.owners]
    rows[sample.owners == 0] = 1  # background: no object, but not void
    class_ids = np.concatenate([[-1, -2], sample.boxes.class_ids[kept]])
    return Segments(rows, class_ids, np.zeros(len(class_ids), bool))


def predictions(found: Detections, mask_of: object) -> list[InstancePrediction]:
    masks = ((row, mask_of(row)) for row in range(len(found)))  # type: ignore[operator]
    return [
        InstancePrediction(mask, int(found.class_ids[row]), float(found.scores[row]))
        for row, mask in masks
        if mask.any()
    ]


def filled(found: Detections, row: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), bool)
    x1, y1, x2, y2 = found.boxes_xyxy[row].round().astype(int)
    mask[y1:y2, x1:x2] = True
    return mask


def truth_of(sample: Sample, found: Detections) -> npt.NDArray[np.int64]:
    """(N,) row of the labelled object that each detection is, or -1."""
    if not len(found) or not len(sample.boxes):
        return np.full(len(found), -1)
    iou = iou_matrix(found.boxes_xyxy, sample.boxes.boxes_xyxy)
    best = iou.argmax(axis=1)
    same = iou[np.arange(len(found)), best] >= SAME_OBJECT_IOU
    same &= (found.class_ids == sample.boxes.class_ids[best]) & ~sample.boxes.ignored[best]
    return np.where(same, best, -1)


def same_drive(first: Sample, second: Sample) -> bool:
    return first.source.rpartition("/")[0] == second.source.rpartition("/")[0]


def known_again(
    before: tuple[Sample, Detections, npt.NDArray[np.int64]], now: tuple[Sample, Detections, npt.NDArray[np.int64]]
) -> list[float]:
    """For each object of its class that is seen twice: whether its embedding is the likest to its earlier one."""
    (first, earlier, first_rows), (second, later, second_rows) = before, now
    if earlier.embeddings is None or later.embeddings is None:
        return []
    right = []
    likeness = later.embeddings @ earlier.embeddings.T
    for row in np.flatnonzero(second_rows >= 0):
        identity = second.boxes.identities[second_rows[row]]
        rivals = np.flatnonzero((first_rows >= 0) & (earlier.class_ids == later.class_ids[row]))
        same = first.boxes.identities[first_rows[rivals]] == identity
        if same.any() and not same.all():
            right.append(float(same[likeness[row, rivals].argmax()]))
    return right


if __name__ == "__main__":
    typer.run(main)
