"""Scores of tracks on KITTI tracking's labels, as both benches need them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from perception.classes import KITTI_NAME_OF_OBJECT
from perception.evaluation.intake import Intake
from perception.evaluation.kitti_rows import KittiRows, read_tracking_file
from perception.evaluation.tracking import SequenceScores, score_sequences
from perception.evaluation.tracking_amota import AmotaScore, amota
from perception.evaluation.tracking_kitti import amota_sequence, kitti_sequence

__all__ = ["Labels"]


class Labels:
    """The labels of all sequences."""

    def __init__(self, folder: Path, names: tuple[str, ...]) -> None:
        self._rows = {name: read_tracking_file(folder / f"{name}.txt", Intake()) for name in names}

    def frames(self, name: str) -> int:
        """Frames of a sequence, up to the last label."""
        return int(self._rows[name].frames[-1]) + 1

    def hota(self, rows: Mapping[str, KittiRows], class_name: str, least: Mapping[str, float]) -> tuple[float, float]:
        """HOTA in percent and identity switches in the image, of tracks over each sequence's least score."""
        kind = KITTI_NAME_OF_OBJECT[class_name]
        parts = []
        for name, tracks in rows.items():
            kept = tracks.select(tracks.scores >= least[name])
            parts.append(kitti_sequence(self._rows[name], kept, kind, self.frames(name), name))
        metrics = SequenceScores.combine(list(score_sequences(parts).values())).metrics()
        return metrics["HOTA"], metrics["IDSW"]

    def amota(self, rows: Mapping[str, KittiRows], class_name: str) -> tuple[AmotaScore, AmotaScore]:
        """Scores swept over all thresholds, at 3D IoU 0.25 and 0.5."""
        kind = KITTI_NAME_OF_OBJECT[class_name]
        parts = [
            amota_sequence(self._rows[name], tracks, kind, self.frames(name), name) for name, tracks in rows.items()
        ]
        return amota(parts, 0.25), amota(parts, 0.5)
