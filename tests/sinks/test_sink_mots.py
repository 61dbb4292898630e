"""Masks of tracks, written and read back by the evaluator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_results import HEIGHT, WIDTH, made_context, made_result

from perception.evaluation.intake import Intake
from perception.evaluation.tracking_mots import evaluate_mots_folder, read_mots_file
from perception.sinks.mots import MotsSink
from perception.sinks.sink import RunSummary
from perception.types import FrameResult, InstanceMap

mask_tools = pytest.importorskip("pycocotools.mask", reason="reading masks needs pycocotools")


def masked_result(index: int) -> FrameResult:
    """Three detections, a car, a van and a truck made a pedestrian, whose boxes are their masks; the last is free."""
    result = made_result(index, objects=4)
    classes = np.array([0, 1, 7, 7])
    rows = np.full((HEIGHT, WIDTH), -1, np.int32)
    for row, box in enumerate(result.detections.boxes_xyxy.astype(int)):
        rows[box[1] : box[3], box[0] : box[2]] = row
    tracks = result.tracks
    kinds = np.where(tracks.detection_rows >= 0, classes[tracks.detection_rows], 0)
    return replace(
        result,
        detections=replace(result.detections, class_ids=classes),
        instances=InstanceMap(rows),
        tracks=replace(tracks, class_ids=kinds),
    )


def test_masks_follow_their_tracks_and_score_full_marks_against_themselves(tmp_path: Path) -> None:
    context = made_context(tmp_path, "save.mots=true")
    sink = MotsSink(context)
    results = [masked_result(index) for index in range(5)]
    for result in results:
        sink.write(result)
    sink.finish(RunSummary(5, 1.0))
    rows = read_mots_file(tmp_path / "mots" / f"{context.drive.name}.txt", Intake())
    # a van has no class in MOTS, what coasts has no mask, and a detection without track has no row
    assert rows.class_ids.tolist() == [1, 2] * 5
    assert rows.frames.tolist() == [frame for frame in range(5) for _ in range(2)]
    for k, mask in enumerate(rows.masks):
        result = results[int(rows.frames[k])]
        track = int(np.flatnonzero(result.tracks.track_ids == rows.track_ids[k])[0])
        wanted = result.instances.detection_rows == result.tracks.detection_rows[track]
        np.testing.assert_array_equal(mask_tools.decode(mask).astype(bool), wanted)
    report = evaluate_mots_folder(tmp_path / "mots", tmp_path / "mots")
    assert report.metrics["car/HOTA"] == pytest.approx(100.0)
    assert report.metrics["pedestrian/sMOTSA"] == pytest.approx(100.0)


def test_an_aborted_run_keeps_its_masks_aside(tmp_path: Path) -> None:
    context = made_context(tmp_path, "save.mots=true")
    sink = MotsSink(context)
    sink.write(masked_result(0))
    sink.abort()
    assert [file.name for file in (tmp_path / "mots").iterdir()] == [f"{context.drive.name}.partial.txt"]


def test_a_frame_without_tracks_has_no_rows(tmp_path: Path) -> None:
    from perception.sinks.mots import mots_rows

    assert mots_rows(made_result(0, objects=0)) == []
