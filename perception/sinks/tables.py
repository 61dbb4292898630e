"""tracks.parquet and frames.parquet, written in batches so that a long drive takes no more memory than a short one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from perception.classes import OBJECT_CLASSES
from perception.datasets.drive import Reading
from perception.sinks.aside import GrowingFile
from perception.sinks.sink import RunContext, RunSummary
from perception.sinks.track_boxes import track_boxes3d
from perception.types import FrameResult

__all__ = ["FramesTable", "TracksTable"]

_FRAMES_PER_BATCH = 200

_TRACKS_SCHEMA = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("frame_name", pa.string()),
        *[(name, pa.int64()) for name in ("timestamp_ns", "track_id")],
        ("class", pa.string()),
        *[(name, pa.float32()) for name in ("score", "x1_px", "y1_px", "x2_px", "y2_px")],
        *[(f"{axis}_ego_m", pa.float32()) for axis in "xyz"],
        *[(name, pa.float32()) for name in ("length_m", "width_m", "height_m", "yaw_ego_rad")],
        *[(f"{axis}_world_m", pa.float64()) for axis in "xyz"],
        ("yaw_world_rad", pa.float64()),
        *[(f"v{axis}_world_mps", pa.float32()) for axis in "xyz"],
        *[(name, pa.float32()) for name in ("vu_pxps", "vv_pxps")],
        *[(name, pa.int64()) for name in ("detection_row", "age_frames")],
    ]
)

_POSE_COLUMNS = tuple(f"world_T_ego_{row}{column}" for row in range(3) for column in range(4))

_FRAMES_SCHEMA = pa.schema(
    [
        ("frame_index", pa.int64()),
        ("frame_name", pa.string()),
        ("timestamp_ns", pa.int64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        *[(name, pa.float64()) for name in _POSE_COLUMNS],
        *[(name, pa.int64()) for name in ("detections", "tracks", "lidar_points")],
    ]
)


class _Table:
    """Columns gathered over some frames, then written as one row group."""

    def __init__(self, path: Path) -> None:
        self._file = GrowingFile(path)
        self._writer: pq.ParquetWriter | None = None
        self._batch: list[pa.RecordBatch] = []
        self._frames = 0

    def add(self, rows: pa.RecordBatch) -> None:
        self._batch.append(rows)
        self._frames += 1
        if self._frames >= _FRAMES_PER_BATCH:
            self.flush()

    def flush(self) -> None:
        if self._batch:
            self._writer_for(self._batch[0].schema).write_table(pa.Table.from_batches(self._batch))
        self._batch, self._frames = [], 0

    def finish(self, schema: pa.Schema) -> None:
        self.flush()
        self._writer_for(schema).close()
        self._file.finish()

    def abort(self, schema: pa.Schema) -> None:
        try:
            self.flush()
            self._writer_for(schema).close()
        except (pa.ArrowException, OSError):
            # without its footer a parquet file cannot be read at all
            self._file.discard()
            raise
        self._file.keep_partial()

    def _writer_for(self, schema: pa.Schema) -> pq.ParquetWriter:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file.aside, schema, compression="zstd", version="2.6")
        return self._writer


class TracksTable:
    """Writes tracks.parquet: one row per track and frame, those that coast included.

    A 3D box is null where none is known. A tracker in 3D has velocities in the world, an image tracker in the image;
    the other columns are null.

    Args:
        context: the run.
    """

    name = "tracks"

    def __init__(self, context: RunContext) -> None:
        self._table = _Table(context.out / "tracks.parquet")

    def write(self, result: FrameResult) -> None:
        """Appends the tracks of one frame."""
        tracks, frame = result.tracks, result.frame
        count = len(tracks)
        if not count:
            return
        columns: dict[str, Any] = dict.fromkeys(_TRACKS_SCHEMA.names, [None] * count)
        columns |= {
            "frame_index": [frame.index] * count,
            "frame_name": [frame.name] * count,
            "timestamp_ns": [frame.timestamp_ns] * count,
            "track_id": tracks.track_ids,
            "class": [OBJECT_CLASSES[class_id] for class_id in tracks.class_ids],
            "score": tracks.scores,
            "detection_row": tracks.detection_rows,
            "age_frames": tracks.ages,
        }
        columns |= dict(zip(("x1_px", "y1_px", "x2_px", "y2_px"), tracks.boxes_xyxy.T, strict=True))
        columns |= _columns_3d(result)
        velocity = ("vu_pxps", "vv_pxps") if tracks.boxes3d is None else tuple(f"v{axis}_world_mps" for axis in "xyz")
        columns |= dict(zip(velocity, tracks.velocities.T, strict=True))
        arrays = [pa.array(columns[field.name], field.type) for field in _TRACKS_SCHEMA]
        self._table.add(pa.RecordBatch.from_arrays(arrays, schema=_TRACKS_SCHEMA))

    def skip(self, reading: Reading) -> None:
        """A skipped frame has no tracks; frames.parquet has its row."""

    def finish(self, summary: RunSummary) -> None:
        """Completes the file."""
        self._table.finish(_TRACKS_SCHEMA)

    def abort(self) -> None:
        """Keeps the rows so far as ``tracks.partial.parquet``."""
        self._table.abort(_TRACKS_SCHEMA)


class FramesTable:
    """Writes frames.parquet: one row per frame, skipped ones included.

    The timings are the last columns, ``ms_<stage>``. They are the stages of the first batch of frames; a stage that
    first runs later is counted in ``ms_other``.

    Args:
        context: the run.
    """

    name = "frames"

    def __init__(self, context: RunContext) -> None:
        self._table = _Table(context.out / "frames.parquet")
        self._rows: list[dict[str, Any]] = []
        self._timings: list[dict[str, float]] = []
        self._stages: tuple[str, ...] | None = None

    def write(self, result: FrameResult) -> None:
        """Appends one frame."""
        frame = result.frame
        pose = result.world_SE3_ego.matrix[:3].ravel().tolist()
        self._append(
            {
                "frame_index": frame.index,
                "frame_name": frame.name,
                "timestamp_ns": frame.timestamp_ns,
                "status": "done",
                "reason": None,
                "detections": len(result.detections),
                "tracks": len(result.tracks),
                "lidar_points": None if frame.points_ego is None else len(frame.points_ego),
                **dict(zip(_POSE_COLUMNS, pose, strict=True)),
            },
            result.timings_ms,
        )

    def skip(self, reading: Reading) -> None:
        """Appends a frame of which there is no more than its name and the reason."""
        reason = "; ".join(gap.reason for gap in reading.gaps)
        row = {"frame_index": reading.index, "frame_name": reading.name, "status": "skipped", "reason": reason}
        self._append(row, {})

    def finish(self, summary: RunSummary) -> None:
        """Completes the file."""
        self._flush()
        self._table.finish(self._schema())

    def abort(self) -> None:
        """Keeps the rows so far as ``frames.partial.parquet``."""
        self._flush()
        self._table.abort(self._schema())

    def _append(self, row: dict[str, Any], timings_ms: dict[str, float]) -> None:
        self._rows.append(row)
        self._timings.append(dict(timings_ms))
        if len(self._rows) >= _FRAMES_PER_BATCH:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._stages is None:
            self._stages = tuple(dict.fromkeys(stage for timings in self._timings for stage in timings))
        rows = [row | self._timing_columns(ms) for row, ms in zip(self._rows, self._timings, strict=True)]
        self._table.add(pa.RecordBatch.from_pylist(rows, schema=self._schema()))
        self._table.flush()
        self._rows, self._timings = [], []

    def _timing_columns(self, timings_ms: dict[str, float]) -> dict[str, float]:
        known = {f"ms_{stage}": ms for stage, ms in timings_ms.items() if stage in (self._stages or ())}
        other = [ms for stage, ms in timings_ms.items() if f"ms_{stage}" not in known]
        return known | ({"ms_other": float(np.sum(other))} if other else {})

    def _schema(self) -> pa.Schema:
        stages = [*(stage for stage in self._stages or () if stage != "other"), "other"]
        return pa.schema([*_FRAMES_SCHEMA, *[(f"ms_{stage}", pa.float64()) for stage in stages]])


def _columns_3d(result: FrameResult) -> dict[str, Any]:
    """3D columns of a frame's tracks; rows without a 3D box are null."""
    boxes = track_boxes3d(result)
    unknown = boxes.scores <= 0
    centers_world = result.world_SE3_ego.apply(boxes.centers_ego)
    headings = np.stack([np.cos(boxes.yaws), np.sin(boxes.yaws), np.zeros(len(boxes))]).T
    headings_world = headings @ result.world_SE3_ego.rotation.T
    columns: dict[str, Any] = {
        "yaw_ego_rad": boxes.yaws,
        "yaw_world_rad": np.arctan2(headings_world[:, 1], headings_world[:, 0]),
    }
    for i, axis in enumerate("xyz"):
        columns[f"{axis}_ego_m"] = boxes.centers_ego[:, i]
        columns[f"{axis}_world_m"] = centers_world[:, i]
    for i, name in enumerate(("length_m", "width_m", "height_m")):
        columns[name] = boxes.sizes_lwh[:, i]
    return {name: pa.array(values, _TRACKS_SCHEMA.field(name).type, mask=unknown) for name, values in columns.items()}
