"""What the 3D tracker's settings are worth: sAMOTA over all thresholds, and HOTA over the best one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.classes import KITTI_NAME_OF_OBJECT, OBJECT_CLASSES
from perception.datasets.detection_files import read_detections
from perception.datasets.kitti_detections import fit_projection, observed_image_size
from perception.evaluation.kitti_rows import KittiRows, kitti_class_id
from perception.geometry import SE3
from perception.tracking.box_tracker import BoxTracker
from perception.tracking.detection_tracks import TrackRows, track_boxes, track_boxes_offline
from perception.tracking.settings import BoxTrackerSettings
from tuning.scoring import Labels
from tuning.search import Knob, Point

__all__ = ["KNOBS", "SHOWN", "BoxBench", "BoxOutcome"]

KNOBS: tuple[Knob, ...] = (
    Knob("position_std_m", 0.3), Knob("position_std_per_m", 0.3), Knob("trust", 0.3), Knob("acceleration_std", 0.4),
    Knob("newcomer_log_density", 1.0, factor=False, low=-20.0), Knob("tail_degrees", 0.3),
    Knob("overlap", 0.4, low=0.01, high=0.9), Knob("size_std_m", 0.3), Knob("score_scale", 0.2),
    Knob("score_per_m2", 0.0003, factor=False), Knob("miss_evidence", 0.3),
    Knob("show_evidence", 1.0, factor=False, low=-5.0), Knob("show_coast_frames", 0.4), Knob("length_bonus", 0.3),
    Knob("bonus_doublings", 1.5, factor=False, low=1.0, high=20.0), Knob("coast_penalty", 0.4),
    Knob("min_giou", 0.15, factor=False, low=-1.0, high=0.5), Knob("show_measured", 0.2, factor=False, high=1.0),
    # bounded by what is known of more than these few people: in all of KITTI's object labels pedestrians are 0.84 m
    # long and 0.66 m wide in the mean (published with PointRCNN), 3 and 6 percent below this detector's boxes
    Knob("show_length", 0.02, low=0.97, high=1.03), Knob("show_width", 0.02, low=0.94, high=1.06),
    Knob("width_share", 0.04, high=1.0),
)  # fmt: skip
# what is searched unless told otherwise: how tracks are scored and shown. All 21 together did worse than the start on
# what was left out, but for the sizes of pedestrians
SHOWN = ("length_bonus", "bonus_doublings", "coast_penalty", "show_length", "show_width", "width_share")
# track scores tried for HOTA, about the start's threshold
STEPS = (-1.0, 0.0, 1.0)
FINE_STEPS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)


@dataclass(frozen=True, slots=True)
class BoxOutcome:
    """Scores of one class on some sequences.

    Attributes:
        samota25, samota50: percent, at IoU 0.25 and 0.5.
        switches_3d: at 0.25 and the best threshold.
        hota: percent, over the threshold.
        switches: in the image, there.
    """

    samota25: float
    samota50: float
    switches_3d: float
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
            f"{self.hota:.2f} ({self.switches:.0f})"
        )


class BoxBench:
    """Detections and labels of every sequence with the vehicle's motion, ready to be tracked again and again.

    The motion is estimated once, with the settings of the start.
    """

    def __init__(
        self,
        detections: Path,
        layout: str,
        labels: Path,
        start: BoxTrackerSettings,
        class_names: tuple[str, ...],
        knob_names: Sequence[str] = SHOWN,
    ) -> None:
        self.start, self.class_names = start, class_names
        self.knobs: tuple[Knob, ...] = tuple(knob for knob in KNOBS if knob.name in knob_names)
        self._sequences = {sequence.name: sequence for sequence in read_detections(detections, layout)}
        self.names = tuple(sorted(self._sequences))
        self._labels = Labels(labels, self.names)
        self._inputs: dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]] = {}
        self._cameras = {}
        rows_of = [start.class_names.index(name) if name in start.class_names else -1 for name in OBJECT_CLASSES]
        for name, sequence in self._sequences.items():
            if sequence.boxes_level is None:
                raise SystemExit(f"{name}: its detections hold no 3D boxes")
            boxes = np.ascontiguousarray(sequence.boxes_level)
            rows = np.array(rows_of, np.int64)[sequence.class_ids]
            self._inputs[name] = boxes, np.ascontiguousarray(sequence.scores), rows
            self._cameras[name] = fit_projection(boxes, sequence.boxes_xyxy), observed_image_size(sequence.boxes_xyxy)
        self._poses = {name: self._estimated_poses(name) for name in self.names}

    def settings(self, points: Mapping[str, Point]) -> BoxTrackerSettings:
        """The start with each class's settings moved by its point."""
        tree = self.start.model_dump()
        for class_name, point in points.items():
            values = tree["classes"][class_name]
            for knob, amount in zip(self.knobs, point, strict=True):
                # 0 is the start itself, to all its digits
                if amount:
                    values[knob.name] = knob.moved(values[knob.name], float(amount))
        return BoxTrackerSettings.model_validate(tree)

    def run(self, points: Mapping[str, Point], names: Sequence[str]) -> dict[str, KittiRows]:
        """Tracks of the named sequences, online."""
        settings = self.settings(points)
        return {name: self.tracked(settings, name) for name in names}

    def tracked(self, settings: BoxTrackerSettings, name: str, *, offline: bool = False) -> KittiRows:
        """Tracks of one sequence, as a results file would hold them."""
        track = track_boxes_offline if offline else track_boxes
        frame_starts = self._sequences[name].frame_starts
        tracks = track(settings, frame_starts, *self._inputs[name], *self._cameras[name], 0.1, self._poses[name])
        rows = kitti_rows(tracks, settings.class_names)
        return rows.select(rows.frames < self._labels.frames(name))

    def least(self, rows: Mapping[str, KittiRows], class_name: str, *, offline: bool = False) -> float:
        """The track score over which HOTA, less a little for switches, is best."""
        start = (self.start.offline_min_score if offline else self.start.min_score)[class_name]
        return self._best(rows, class_name, start, FINE_STEPS)[0]

    def outcome(
        self, rows: Mapping[str, KittiRows], class_name: str, least: Mapping[str, float] | None = None
    ) -> BoxOutcome:
        """Scores of one class; without ``least``, over the best of three thresholds about the start's."""
        if least is None:
            hota, switches = self._best(rows, class_name, self.start.min_score[class_name], STEPS)[1:]
        else:
            hota, switches = self._labels.hota(rows, class_name, least)
        loose, strict = (score.metrics() for score in self._labels.amota(rows, class_name))
        return BoxOutcome(loose["sAMOTA"], strict["sAMOTA"], loose["IDS"], hota, switches)

    def _best(
        self, rows: Mapping[str, KittiRows], class_name: str, about: float, steps: Sequence[float]
    ) -> tuple[float, float, float]:
        tried = []
        for step in steps:
            hota, switches = self._labels.hota(rows, class_name, dict.fromkeys(rows, about + step))
            tried.append((hota - 0.03 * switches, about + step, hota, switches))
        return max(tried)[1:]

    def _estimated_poses(self, name: str) -> list[SE3]:
        tracker, poses = BoxTracker(self.start), []
        boxes, scores, rows = self._inputs[name]
        starts = self._sequences[name].frame_starts
        for frame in range(len(starts) - 1):
            here = slice(starts[frame], starts[frame + 1])
            tracker.step(boxes[here], scores[here], rows[here], frame * 100_000_000)
            poses.append(tracker.world_SE3_ego)
        return poses


def kitti_rows(tracks: TrackRows, class_names: Sequence[str]) -> KittiRows:
    """Tracks in KITTI's conventions, by frame."""
    order, count = np.argsort(tracks.frames, kind="stable"), len(tracks)
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
