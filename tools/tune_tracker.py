"""Searches the 3D tracker's settings on detections and labels, and writes them as a configuration.

The search is CMA-ES (package ``cma``) over the settings in ``SEARCHED``, each in a unit of its own and drawn back to
where it started, since few sequences tell little. The classes are searched side by side: one run of the tracker serves
a candidate of each. The vehicle's motion is estimated once, with the settings of the start, and kept. A setting's worth
is sAMOTA at 0.25 plus half of that at 0.5 plus one and a half times HOTA at the best of a few score thresholds, less a
little for every identity switch.

With ``--folds K`` the sequences are dealt into K parts; each part is scored with settings and thresholds found on the
others, which is what to expect on new sequences, before the settings that are written are found on all of them.

Example:
    python tools/tune_tracker.py --detections detections/pointrcnn --labels training/label_02 \
        --minutes 8 --folds 2 --out configs/trackers/pointrcnn.toml
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.classes import KITTI_NAME_OF_OBJECT, OBJECT_CLASSES
from perception.datasets.detection_files import DetectionSequence, read_detections
from perception.datasets.kitti_detections import fit_projection, observed_image_size
from perception.evaluation.intake import Intake
from perception.evaluation.kitti_rows import KittiRows, kitti_class_id, read_tracking_file
from perception.evaluation.tracking import SequenceScores, score_sequences
from perception.evaluation.tracking_amota import amota
from perception.evaluation.tracking_kitti import amota_sequence, kitti_sequence
from perception.files import write_text_atomic
from perception.geometry import SE3
from perception.tracking.box_tracker import BoxTracker
from perception.tracking.detection_tracks import TrackRows, track_boxes, track_boxes_offline
from perception.tracking.settings import BoxTrackerSettings, load_box_settings

# setting, whether its unit is a factor (exp of it) or a step, and the unit
SEARCHED: tuple[tuple[str, bool, float], ...] = (
    ("position_std_m", True, 0.3), ("position_std_per_m", True, 0.3), ("trust", True, 0.3),
    ("acceleration_std", True, 0.4), ("newcomer_log_density", False, 1.0), ("tail_degrees", True, 0.3),
    ("miss_evidence", True, 0.3), ("show_evidence", False, 1.0), ("show_coast_frames", True, 0.4),
    ("length_bonus", True, 0.3), ("coast_penalty", True, 0.4), ("size_std_m", True, 0.3), ("overlap", True, 0.4),
)  # fmt: skip
# least track scores tried for HOTA
THRESHOLDS = {"car": (2.5, 3.5), "pedestrian": (0.0, 1.0), "cyclist": (1.0, 2.0)}
OFFLINE_THRESHOLDS = {"car": (3.0, 4.5, 6.0), "pedestrian": (0.0, 1.0, 2.0), "cyclist": (1.0, 2.5, 4.0)}
POPULATION = 8
SEED = 1
# worth that a setting one unit from its start must gain to be chosen
PULL = 0.04


@dataclass(frozen=True, slots=True)
class Outcome:
    """Scores of one class on some sequences.

    Attributes:
        samota25, samota50: percent, at IoU 0.25 and 0.5.
        switches_3d: at 0.25 and the best threshold.
        least: the track score at which HOTA is best.
        hota: percent, there.
        switches: in the image, there.
    """

    samota25: float
    samota50: float
    switches_3d: float
    least: float
    hota: float
    switches: float

    @property
    def worth(self) -> float:
        """What the search maximises."""
        return (
            self.samota25 + 0.5 * self.samota50 + 1.5 * self.hota - 0.05 * self.switches_3d - 0.03 * self.switches
        )  # fmt: skip

    def __str__(self) -> str:
        return (
            f"sAMOTA {self.samota25:.2f} / {self.samota50:.2f} ({self.switches_3d:.0f} switches), HOTA "
            f"{self.hota:.2f} ({self.switches:.0f} switches) over {self.least:g}"
        )


class Workbench:
    """Detections and labels of every sequence with the vehicle's motion, ready to be tracked again and again."""

    def __init__(self, detections: Path, layout: str, labels: Path, start: BoxTrackerSettings) -> None:
        self.start = start
        self.sequences = {sequence.name: sequence for sequence in read_detections(detections, layout)}
        self._labels = {name: read_tracking_file(labels / f"{name}.txt", Intake()) for name in self.sequences}
        self._poses = {name: self._estimated_poses(name) for name in self.sequences}

    def tracked(self, settings: BoxTrackerSettings, name: str, offline: bool = False) -> KittiRows:
        """Tracks of one sequence, as a results file would hold them."""
        sequence = self.sequences[name]
        boxes, rows = self._inputs(sequence)
        scores = np.ascontiguousarray(sequence.scores)
        track = track_boxes_offline if offline else track_boxes
        tracks = track(
            settings, sequence.frame_starts, boxes, scores, rows, fit_projection(boxes, sequence.boxes_xyxy),
            observed_image_size(sequence.boxes_xyxy), 0.1, self._poses[name],
        )  # fmt: skip
        return kitti_rows(tracks, settings.class_names).select(tracks.frames[_by_frame(tracks)] < self._frames(name))

    def outcome(self, rows: Mapping[str, KittiRows], class_name: str, thresholds: Sequence[float]) -> Outcome:
        """Scores of one class, HOTA at the best of some thresholds."""
        kind = KITTI_NAME_OF_OBJECT[class_name]
        parts = [
            amota_sequence(self._labels[name], tracks, kind, self._frames(name), name) for name, tracks in rows.items()
        ]
        loose, strict = amota(parts, 0.25).metrics(), amota(parts, 0.5).metrics()
        tried = [self._hota({name: rows[name].select(rows[name].scores >= least) for name in rows}, kind)
                 for least in thresholds]  # fmt: skip
        (hota, fewer_switches), least = max(zip(tried, thresholds, strict=True))
        return Outcome(loose["sAMOTA"], strict["sAMOTA"], loose["IDS"], least, hota, -fewer_switches)

    def _hota(self, rows: Mapping[str, KittiRows], kind: str) -> tuple[float, float]:
        parts = [
            kitti_sequence(self._labels[name], tracks, kind, self._frames(name), name) for name, tracks in rows.items()
        ]
        metrics = SequenceScores.combine(list(score_sequences(parts).values())).metrics()
        return metrics["HOTA"], -metrics["IDSW"]

    def _frames(self, name: str) -> int:
        return int(self._labels[name].frames[-1]) + 1

    def _inputs(self, sequence: DetectionSequence) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        if sequence.boxes_level is None:
            raise SystemExit(f"{sequence.name}: its detections hold no 3D boxes")
        names = self.start.class_names
        rows = np.array([names.index(OBJECT_CLASSES[i]) for i in sequence.class_ids], np.int64)
        return np.ascontiguousarray(sequence.boxes_level), rows

    def _estimated_poses(self, name: str) -> list[SE3]:
        sequence, tracker, poses = self.sequences[name], BoxTracker(self.start), []
        boxes, rows = self._inputs(sequence)
        for frame in range(sequence.frame_count):
            here = slice(sequence.frame_starts[frame], sequence.frame_starts[frame + 1])
            tracker.step(boxes[here], sequence.scores[here], rows[here], frame * 100_000_000)
            poses.append(tracker.world_SE3_ego)
        return poses


def _by_frame(tracks: TrackRows) -> npt.NDArray[np.int64]:
    return np.argsort(tracks.frames, kind="stable")


def kitti_rows(tracks: TrackRows, class_names: Sequence[str]) -> KittiRows:
    """Tracks in KITTI's conventions, by frame."""
    order, count = _by_frame(tracks), len(tracks)
    x, y, z, yaw, length, width, height = tracks.boxes_ego[order].T
    ids = np.array([kitti_class_id(KITTI_NAME_OF_OBJECT[name]) for name in class_names])
    unknown = np.full(count, -1)
    return KittiRows(
        frames=tracks.frames[order],
        track_ids=tracks.track_ids[order],
        class_ids=ids[tracks.class_rows[order]],
        truncations=unknown.astype(np.float64),
        occlusions=unknown,
        alphas=np.full(count, -10.0),
        boxes_xyxy=tracks.boxes_xyxy[order],
        sizes_hwl=np.stack([height, width, length], axis=1),
        locations_cam=np.stack([-y, 0.5 * height - z, x], axis=1),
        rotations_y=-yaw - 0.5 * np.pi,
        scores=tracks.scores[order],
    )


def changed(start: BoxTrackerSettings, points: Mapping[str, npt.NDArray[np.float64]]) -> BoxTrackerSettings:
    """The start with each class's settings moved by a point of its search."""
    tree = start.model_dump()
    for class_name, point in points.items():
        values = tree["classes"][class_name]
        for (name, is_factor, unit), amount in zip(SEARCHED, point, strict=True):
            value = values[name] * math.exp(unit * amount) if is_factor else values[name] + unit * amount
            values[name] = float(f"{value:.4g}")
        values["overlap"] = min(max(values["overlap"], 0.01), 0.9)
    return BoxTrackerSettings.model_validate(tree)


def search(bench: Workbench, class_names: Sequence[str], names: Sequence[str], minutes: float) -> BoxTrackerSettings:
    """The best settings found on the given sequences in the given time."""
    import cma

    options = {"popsize": POPULATION, "seed": SEED, "bounds": [-3, 3], "verbose": -9}
    strategies = {kind: cma.CMAEvolutionStrategy(np.zeros(len(SEARCHED)), 0.5, dict(options)) for kind in class_names}
    best = {kind: np.zeros(len(SEARCHED)) for kind in class_names}
    best_worth = {kind: worth for kind, worth in _worths(bench, best, names).items()}
    print(f"start: {_shown(best_worth)} on {', '.join(names)}", flush=True)
    end = time.monotonic() + 60.0 * minutes
    generation = 0
    while time.monotonic() < end:
        asked = {kind: strategy.ask() for kind, strategy in strategies.items()}
        found = [_worths(bench, {kind: asked[kind][k] for kind in class_names}, names) for k in range(POPULATION)]
        for kind, strategy in strategies.items():
            strategy.tell(asked[kind], [-worths[kind] for worths in found])
            for k, worths in enumerate(found):
                if worths[kind] > best_worth[kind]:
                    best[kind], best_worth[kind] = asked[kind][k], worths[kind]
        generation += 1
        print(f"generation {generation}: best {_shown(best_worth)}", flush=True)
    return changed(bench.start, best)


def _worths(bench: Workbench, points: Mapping[str, npt.NDArray[np.float64]], names: Sequence[str]) -> dict[str, float]:
    settings = changed(bench.start, points)
    rows = {name: bench.tracked(settings, name) for name in names}
    return {
        kind: bench.outcome(rows, kind, THRESHOLDS[kind]).worth - PULL * float(point @ point)
        for kind, point in points.items()
    }


def _shown(worths: Mapping[str, float]) -> str:
    return ", ".join(f"{kind} {worth:.2f}" for kind, worth in worths.items())


def report(
    bench: Workbench, settings: BoxTrackerSettings, class_names: Sequence[str], names: Sequence[str], given: bool
) -> dict[str, tuple[Outcome, Outcome]]:
    """Prints and returns the online and offline outcomes; thresholds as the settings give them, or the best."""
    online = {name: bench.tracked(settings, name) for name in names}
    offline = {name: bench.tracked(settings, name, offline=True) for name in names}
    outcomes = {}
    for kind in class_names:
        outcomes[kind] = (
            bench.outcome(online, kind, (settings.min_score[kind],) if given else THRESHOLDS[kind]),
            bench.outcome(offline, kind, (settings.offline_min_score[kind],) if given else OFFLINE_THRESHOLDS[kind]),
        )
        print(f"  {kind}: {outcomes[kind][0]}; offline {outcomes[kind][1]}", flush=True)
    return outcomes


def with_thresholds(
    bench: Workbench, settings: BoxTrackerSettings, class_names: Sequence[str], names: Sequence[str]
) -> BoxTrackerSettings:
    """The settings with the track scores over which HOTA on the given sequences is best."""
    tree = settings.model_dump()
    for kind, (online, offline) in report(bench, settings, class_names, names, given=False).items():
        tree["min_score"][kind], tree["offline_min_score"][kind] = online.least, offline.least
    return BoxTrackerSettings.model_validate(tree)


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
    parser.add_argument("--classes", default="car,pedestrian,cyclist", help="to search, with commas between")
    parser.add_argument("--start", default="pointrcnn", help="settings to start from: a shipped name or a file")
    parser.add_argument("--minutes", type=float, default=20.0, help="for each search; 0 only measures the start")
    parser.add_argument("--folds", type=int, default=0, help="parts of a cross-validation by sequence; 0 for none")
    parser.add_argument("--out", type=Path, required=True, help="configuration to write")
    arguments = parser.parse_args()
    class_names = arguments.classes.split(",")
    unknown = sorted(set(class_names) - set(THRESHOLDS))
    if unknown:
        parser.error(f"--classes {unknown[0]}: expected names from {', '.join(THRESHOLDS)}")
    bench = Workbench(arguments.detections, arguments.format, arguments.labels, load_box_settings(arguments.start))
    names = sorted(bench.sequences)
    for fold in range(arguments.folds):
        held_out = names[fold :: arguments.folds]
        others = [name for name in names if name not in held_out]
        found = with_thresholds(bench, search(bench, class_names, others, arguments.minutes), class_names, others)
        print(f"fold {fold}: left out {', '.join(held_out)}; with the settings of the start", flush=True)
        report(bench, bench.start, class_names, held_out, given=True)
        print(f"fold {fold}: left out {', '.join(held_out)}; with those found on the others", flush=True)
        report(bench, found, class_names, held_out, given=True)
    print("all sequences", flush=True)
    found = with_thresholds(bench, search(bench, class_names, names, arguments.minutes), class_names, names)
    command = f"tools/tune_tracker.py --minutes {arguments.minutes:g} --classes {arguments.classes}"
    write_text_atomic(arguments.out, as_toml(found, f"found by {command} --start {arguments.start}"))


if __name__ == "__main__":
    main()
