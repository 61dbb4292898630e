"""What the image tracker's settings are worth on the boxes of detections in the image: HOTA, less switches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from perception.classes import KITTI_NAME_OF_OBJECT, OBJECT_CLASSES
from perception.config import load_config
from perception.datasets.detection_files import DetectionSequence, read_detections
from perception.evaluation.kitti_rows import KittiRows, kitti_class_id
from perception.tracking.factory import make_tracker
from perception.tracking.image_tracker import ImageTracker, ImageTrackerSettings
from tuning.scoring import Labels
from tuning.search import Knob, Point

__all__ = ["KNOBS", "ImageBench", "ImageOutcome"]

KNOBS: tuple[Knob, ...] = (
    Knob("high_score", 0.02, factor=False, high=1.0), Knob("low_score", 0.05, factor=False, high=1.0),
    Knob("birth_score", 0.02, factor=False), Knob("min_iou", 0.05, factor=False, high=1.0),
    Knob("weak_iou", 0.05, factor=False, high=1.0), Knob("recover_iou", 0.05, factor=False, high=1.0),
    Knob("double_iou", 0.05, factor=False, high=1.0), Knob("direction_weight", 0.05, factor=False),
    Knob("score_weight", 0.05, factor=False), Knob("max_coast_frames", 0.3), Knob("position_std", 0.3),
    Knob("show_coast_frames", 1.0, factor=False), Knob("acceleration_std", 0.3), Knob("size_std", 0.3),
    Knob("growth_std", 0.3),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """HOTA in percent, and identity switches, of one class on some sequences."""

    hota: float
    switches: float

    @property
    def worth(self) -> float:
        """What the search maximises."""
        return self.hota - 0.03 * self.switches

    def __str__(self) -> str:
        return f"HOTA {self.hota:.2f} ({self.switches:.0f} switches)"


class ImageBench:
    """Detections and labels of every sequence, ready to be tracked again and again in the image."""

    def __init__(
        self,
        detections: Path,
        layout: str,
        labels: Path,
        start: str,
        class_names: tuple[str, ...],
        knob_names: Sequence[str],
    ) -> None:
        self.class_names = class_names
        self.knobs: tuple[Knob, ...] = tuple(knob for knob in KNOBS if knob.name in knob_names)
        tracker = make_tracker(load_config(Path(start)).tracking, has_motion=False)
        if not isinstance(tracker, ImageTracker):
            raise SystemExit(f"{start}: its tracker is none of boxes in the image")
        self.start: ImageTrackerSettings = tracker.settings
        self._sequences = {sequence.name: sequence for sequence in read_detections(detections, layout)}
        self.names = tuple(sorted(self._sequences))
        self._labels = Labels(labels, self.names)

    def per_class(self, points: Mapping[str, Point]) -> tuple[str, ...]:
        """The start's differences for each class, with those that its point makes."""
        result = {text.partition("=")[0]: text.partition("=")[2] for text in self.start.per_class}
        for class_name, point in points.items():
            own = self.start.of_class(class_name)
            moved = {
                knob.name: knob.moved(float(getattr(own, knob.name)), float(amount))
                for knob, amount in zip(self.knobs, point, strict=True)
                if amount
            }
            if "low_score" in moved:
                moved["low_score"] = min(moved["low_score"], moved.get("high_score", own.high_score))
            result |= {f"{class_name}.{name}": f"{value:g}" for name, value in moved.items()}
        return tuple(f"{key}={value}" for key, value in result.items())

    def run(self, points: Mapping[str, Point], names: Sequence[str]) -> dict[str, KittiRows]:
        """Tracks of the named sequences."""
        settings = replace(self.start, per_class=self.per_class(points))
        return {name: self._tracked(settings, self._sequences[name]) for name in names}

    def least(self, rows: Mapping[str, KittiRows], class_name: str) -> float:
        """The image tracker shows what it believes in: no threshold is applied to its tracks."""
        return -np.inf

    def outcome(
        self, rows: Mapping[str, KittiRows], class_name: str, least: Mapping[str, float] | None = None
    ) -> ImageOutcome:
        """Scores of one class."""
        return ImageOutcome(*self._labels.hota(rows, class_name, least or dict.fromkeys(rows, -np.inf)))

    def _tracked(self, settings: ImageTrackerSettings, sequence: DetectionSequence) -> KittiRows:
        tracker, found = ImageTracker(settings), []
        boxes = sequence.boxes_xyxy.astype(np.float32)
        scores = (1.0 / (1.0 + np.exp(-sequence.scores))).astype(np.float32)
        frames = min(sequence.frame_count, self._labels.frames(sequence.name))
        for frame in range(frames):
            here = slice(sequence.frame_starts[frame], sequence.frame_starts[frame + 1])
            found.append(tracker.track_boxes(boxes[here], scores[here], sequence.class_ids[here], frame * 100_000_000))
        counts = [len(tracks) for tracks in found]
        total = sum(counts)
        ids = np.array([kitti_class_id(KITTI_NAME_OF_OBJECT.get(name, "Misc")) for name in OBJECT_CLASSES])
        unknown = np.full((total, 3), -1.0)
        return KittiRows(
            frames=np.repeat(np.arange(frames), counts),
            track_ids=np.concatenate([tracks.track_ids for tracks in found]),
            class_ids=ids[np.concatenate([tracks.class_ids for tracks in found])],
            truncations=np.zeros(total),
            occlusions=np.zeros(total, np.int64),
            alphas=np.full(total, -10.0),
            boxes_xyxy=np.concatenate([tracks.boxes_xyxy for tracks in found]).astype(np.float64),
            sizes_hwl=unknown,
            locations_cam=unknown,
            rotations_y=np.full(total, -10.0),
            scores=np.concatenate([tracks.scores for tracks in found]).astype(np.float64),
        )
