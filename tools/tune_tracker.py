"""Searches the 3D tracker's settings of one class on detections and labels, and writes them as a configuration.

The search is CMA-ES (package ``cma``) over the settings in ``SEARCHED``, each in a unit of its own. The vehicle's
motion is estimated once, from all classes, and kept. A setting's worth is sAMOTA at 0.25 plus half of that at 0.5 plus
one and a half times HOTA at the best of a few score thresholds, less a little for every identity switch.

With ``--folds K`` the sequences are dealt into K parts; each part is scored with settings found on the others, which is
what to expect on new sequences, before the settings that are written are found on all of them.

Example:
    python tools/tune_tracker.py --detections detections/pointrcnn --labels training/label_02 --class car \
        --minutes 40 --folds 2 --out configs/trackers/pointrcnn.toml
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.classes import KITTI_NAME_OF_OBJECT, OBJECT_CLASSES
from perception.datasets.detection_files import DetectionSequence, read_detections
from perception.datasets.kitti_detections import fit_projection, observed_image_size, tracking_row
from perception.evaluation.tracking import evaluate_tracking_folder
from perception.files import write_text_atomic
from perception.geometry import SE3
from perception.tracking.box_tracker import BoxTracker
from perception.tracking.detection_tracks import TrackRows, track_boxes, track_boxes_offline
from perception.tracking.settings import BoxTrackerSettings, load_box_settings

# setting, whether its unit is a factor (exp of it) or a step, and the unit
SEARCHED: tuple[tuple[str, bool, float], ...] = (
    ("position_std_m", True, 0.4), ("position_std_per_m", True, 0.4), ("trust", True, 0.3),
    ("acceleration_std", True, 0.4), ("birth_speed_std", True, 0.4), ("newcomer_log_density", False, 1.0),
    ("tail_degrees", True, 0.4), ("score_per_m2", False, 0.0007), ("score_offset", False, 0.7),
    ("miss_evidence", True, 0.4), ("show_evidence", False, 1.0), ("show_coast_frames", True, 0.4),
    ("length_bonus", True, 0.4), ("overlap", True, 0.4), ("max_coast_frames", True, 0.3), ("size_std_m", True, 0.2),
    ("height_std_m", True, 0.3),
)  # fmt: skip
THRESHOLDS = {"car": (1.0, 2.0, 3.5), "pedestrian": (-1.0, 0.0, 1.0), "cyclist": (-0.5, 0.5, 1.5)}
POPULATION = 8
SEED = 1


class Workbench:
    """Detections of every sequence with the vehicle's motion, ready to be tracked again and again."""

    def __init__(self, detections: Path, layout: str, labels: Path, class_name: str, start: BoxTrackerSettings) -> None:
        self.labels, self.class_name, self.start = labels, class_name, start
        self.sequences = {sequence.name: sequence for sequence in read_detections(detections, layout)}
        self._poses = {name: self._estimated_poses(sequence) for name, sequence in self.sequences.items()}

    def _estimated_poses(self, sequence: DetectionSequence) -> list[SE3]:
        tracker, poses = BoxTracker(self.start), []
        rows = np.array([self.start.class_names.index(OBJECT_CLASSES[i]) for i in sequence.class_ids], np.int64)
        boxes = np.zeros((0, 7)) if sequence.boxes_level is None else sequence.boxes_level
        for frame in range(sequence.frame_count):
            here = slice(sequence.frame_starts[frame], sequence.frame_starts[frame + 1])
            tracker.step(boxes[here], sequence.scores[here], rows[here], frame * 100_000_000)
            poses.append(tracker.world_SE3_ego)
        return poses

    def tracked(self, settings: BoxTrackerSettings, name: str, offline: bool = False) -> TrackRows:
        """Tracks of the class in one sequence."""
        sequence = self.sequences[name]
        mine = sequence.class_ids == OBJECT_CLASSES.index(self.class_name)
        starts = np.concatenate([[0], np.cumsum(mine)])[sequence.frame_starts]
        boxes = np.zeros((0, 7)) if sequence.boxes_level is None else sequence.boxes_level
        row = settings.class_names.index(self.class_name)
        track = track_boxes_offline if offline else track_boxes
        return track(
            settings, starts, np.ascontiguousarray(boxes[mine]), sequence.scores[mine],
            np.full(int(mine.sum()), row, np.int64), fit_projection(boxes, sequence.boxes_xyxy),
            observed_image_size(sequence.boxes_xyxy), 0.1, self._poses[name],
        )  # fmt: skip

    def metrics(self, rows: dict[str, TrackRows], least: float | None) -> dict[str, float]:
        """The evaluation's own metrics of the given sequences; 2D ones alone when a score threshold is given."""
        kitti_name = KITTI_NAME_OF_OBJECT[self.class_name]
        with tempfile.TemporaryDirectory() as folder:
            for name, tracks in rows.items():
                kept = tracks if least is None else tracks.select(tracks.scores >= least)
                lines = [
                    tracking_row(
                        int(kept.frames[i]), int(kept.track_ids[i]), kitti_name, kept.boxes_xyxy[i],
                        kept.boxes_ego[i], float(kept.scores[i]),
                    )
                    for i in range(len(kept))
                ]  # fmt: skip
                (Path(folder) / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
            report = evaluate_tracking_folder(
                self.labels, Path(folder), (kitti_name,), spaces=("2d", "3d") if least is None else ("2d",),
                sequences=tuple(rows),
            )  # fmt: skip
        return report.metrics

    def worth(self, settings: BoxTrackerSettings, names: Sequence[str]) -> float:
        """What the search maximises."""
        rows = {name: self.tracked(settings, name) for name in names}
        key = self.class_name
        swept = self.metrics(rows, None)
        best = max((self.metrics(rows, least) for least in THRESHOLDS[key]), key=lambda metrics: metrics[f"{key}/HOTA"])
        return (
            swept[f"{key}/3d@0.25/sAMOTA"] + 0.5 * swept[f"{key}/3d@0.5/sAMOTA"] + 1.5 * best[f"{key}/HOTA"]
            - 0.05 * swept[f"{key}/3d@0.25/IDS"] - 0.03 * best[f"{key}/IDSW"]
        )  # fmt: skip


def changed(start: BoxTrackerSettings, class_name: str, point: npt.NDArray[np.float64]) -> BoxTrackerSettings:
    """The start with one class's settings moved by a point of the search."""
    values = start.classes[class_name].model_dump()
    for (name, is_factor, unit), amount in zip(SEARCHED, point, strict=True):
        values[name] = values[name] * math.exp(unit * amount) if is_factor else values[name] + unit * amount
        values[name] = float(f"{values[name]:.4g}")
    values["overlap"] = min(max(values["overlap"], 0.01), 0.9)
    tree = start.model_dump()
    tree["classes"][class_name] = values
    return BoxTrackerSettings.model_validate(tree)


def search(bench: Workbench, names: Sequence[str], minutes: float) -> BoxTrackerSettings:
    """The best settings found on the given sequences in the given time."""
    import cma

    strategy = cma.CMAEvolutionStrategy(
        np.zeros(len(SEARCHED)), 0.5, {"popsize": POPULATION, "seed": SEED, "bounds": [-3, 3], "verbose": -9}
    )
    best, best_worth = bench.start, bench.worth(bench.start, names)
    print(f"start: {best_worth:.2f} on {', '.join(names)}", flush=True)
    end = time.monotonic() + 60.0 * minutes
    while time.monotonic() < end and not strategy.stop():
        points = strategy.ask()
        worths = []
        for point in points:
            candidate = changed(bench.start, bench.class_name, point)
            worths.append(bench.worth(candidate, names))
            if worths[-1] > best_worth:
                best, best_worth = candidate, worths[-1]
        strategy.tell(points, [-worth for worth in worths])
        print(f"generation {strategy.countiter}: mean {np.mean(worths):.2f}, best {best_worth:.2f}", flush=True)
    return best


def best_threshold(bench: Workbench, settings: BoxTrackerSettings, offline: bool) -> float:
    """The track score above which HOTA over all sequences is highest."""
    rows = {name: bench.tracked(settings, name, offline) for name in bench.sequences}
    scores = np.concatenate([tracks.scores for tracks in rows.values()])
    candidates = np.quantile(scores, np.linspace(0.2, 0.9, 15))
    return float(max(candidates, key=lambda least: bench.metrics(rows, least)[f"{bench.class_name}/HOTA"]))


def as_toml(settings: BoxTrackerSettings, comment: str) -> str:
    """The configuration file's text."""
    tree = settings.model_dump()
    lines = [f"# {comment}", ""]
    for key, value in tree.items():
        if not isinstance(value, dict):
            lines.append(f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}")
    for key in ("ego", "min_score", "offline_min_score"):
        lines += ["", f"[{key}]", *(f"{name} = {value}" for name, value in tree[key].items())]
    for name, values in tree["classes"].items():
        lines += ["", f"[classes.{name}]", *(f"{key} = {value}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Runs the search from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=Path, required=True, help="folder of detections")
    parser.add_argument("--format", default="pointrcnn", help="as perceive track has it")
    parser.add_argument("--labels", type=Path, required=True, help="KITTI tracking label_02")
    parser.add_argument("--class", dest="class_name", required=True, choices=sorted(THRESHOLDS))
    parser.add_argument("--start", default="pointrcnn", help="settings to start from: a shipped name or a file")
    parser.add_argument("--minutes", type=float, default=20.0, help="for each search")
    parser.add_argument("--folds", type=int, default=0, help="parts of a cross-validation by sequence; 0 for none")
    parser.add_argument("--out", type=Path, required=True, help="configuration to write")
    arguments = parser.parse_args()
    start = load_box_settings(arguments.start)
    bench = Workbench(arguments.detections, arguments.format, arguments.labels, arguments.class_name, start)
    names = sorted(bench.sequences)
    for fold in range(arguments.folds):
        held_out = names[fold :: arguments.folds]
        found = search(bench, [name for name in names if name not in held_out], arguments.minutes)
        before, after = bench.worth(start, held_out), bench.worth(found, held_out)
        print(f"fold {fold}: held-out {', '.join(held_out)}: {before:.2f} before, {after:.2f} after", flush=True)
    found = search(bench, names, arguments.minutes)
    tree = found.model_dump()
    tree["min_score"][bench.class_name] = round(best_threshold(bench, found, offline=False), 2)
    tree["offline_min_score"][bench.class_name] = round(best_threshold(bench, found, offline=True), 2)
    command = (
        f"tools/tune_tracker.py --class {bench.class_name} --minutes {arguments.minutes:g} --start {arguments.start}"
    )
    write_text_atomic(arguments.out, as_toml(BoxTrackerSettings.model_validate(tree), f"found by {command}"))


if __name__ == "__main__":
    main()
