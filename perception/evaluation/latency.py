"""How long a run took: percentiles of every stage, frames per second, deadlines missed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from perception.errors import InputFormatError

__all__ = ["LatencyReport", "evaluate_latency", "latency_metrics"]

Float64Array = npt.NDArray[np.float64]

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0}


@dataclass(frozen=True, slots=True, eq=False)
class LatencyReport:
    """What a run's timings say.

    Attributes:
        metrics: flat, such as ``total/p99_ms``, ``fps``, ``deadline_misses_percent``.
        stages_ms: (F,) milliseconds per frame by stage; empty when only ``latency.json`` was there.
        notes: what a reader must know.
    """

    metrics: dict[str, float]
    stages_ms: dict[str, Float64Array]
    notes: list[str] = field(default_factory=list)


def latency_metrics(stages_ms: dict[str, Float64Array], deadline_ms: float | None = None) -> dict[str, float]:
    """Percentiles by stage, and the share of frames whose total misses the deadline.

    Args:
        stages_ms: (F,) per stage; ``total`` among them.
        deadline_ms: time allowed per frame.

    >>> latency_metrics({"total": np.array([10.0, 30.0])}, 20.0)["deadline_misses_percent"]
    50.0
    """
    metrics: dict[str, float] = {}
    for stage, values in stages_ms.items():
        known = values[np.isfinite(values)]
        if len(known):
            metrics |= {f"{stage}/{name}_ms": float(np.percentile(known, p)) for name, p in PERCENTILES.items()}
    total = stages_ms.get("total", np.zeros(0))
    total = total[np.isfinite(total)]
    if len(total):
        metrics["frames"] = float(len(total))
        metrics["fps"] = 1000.0 / float(total.mean()) if total.mean() > 0 else 0.0
        if deadline_ms:
            missed = int((total > deadline_ms).sum())
            metrics |= {"deadline_ms": deadline_ms, "deadline_misses": float(missed)}
            metrics["deadline_misses_percent"] = 100.0 * missed / len(total)
    return metrics


def evaluate_latency(run: Path, deadline_ms: float | None = None) -> LatencyReport:
    """Reads a run folder (``frames.parquet`` and ``latency.json``), or one of the two files.

    Args:
        run: folder or file.
        deadline_ms: in place of the run's own.

    Raises:
        InputFormatError: neither file is there, or one is malformed.
    """
    run = Path(run)
    table_path = run / "frames.parquet" if run.is_dir() else run
    json_path = run / "latency.json" if run.is_dir() else run
    notes: list[str] = []
    recorded = _recorded(json_path) if json_path.suffix == ".json" and json_path.is_file() else None
    if deadline_ms is None and recorded is not None and recorded.get("deadline_ms"):
        deadline_ms = float(recorded["deadline_ms"])
    # a run folder's frames.parquet need not hold timings
    wanted = not run.is_dir() or (table_path.is_file() and "total_ms" in _column_names(table_path))
    if table_path.suffix == ".parquet" and table_path.is_file() and wanted:
        stages_ms = _stages(table_path)
        return LatencyReport(latency_metrics(stages_ms, deadline_ms), stages_ms, notes)
    if recorded is None:
        raise InputFormatError(f"{run}: neither frames.parquet nor latency.json of a run")
    if deadline_ms != recorded.get("deadline_ms") and deadline_ms:
        notes.append("latency.json has no single frames: misses are those of its own deadline")
        deadline_ms = recorded.get("deadline_ms")
    metrics = {
        f"{stage}/{name}_ms": float(value)
        for stage, percentiles in recorded["stages"].items()
        for name, value in percentiles.items()
    }
    metrics |= {"frames": float(recorded["frames"]), "fps": float(recorded["fps"])}
    if deadline_ms:
        misses = float(recorded["deadline_misses"])
        metrics |= {"deadline_ms": float(deadline_ms), "deadline_misses": misses}
        metrics["deadline_misses_percent"] = 100.0 * misses / max(1.0, metrics["frames"])
    return LatencyReport(metrics, {}, notes)


def _recorded(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputFormatError(f"{path}: not readable as JSON ({error})") from None
    wanted = ("frames", "fps", "deadline_misses", "stages")
    if not isinstance(content, dict) or any(key not in content for key in wanted):
        raise InputFormatError(f"{path}: an object with {', '.join(wanted)} is expected")
    return content


def _column_names(path: Path) -> list[str]:
    try:
        return list(pq.read_schema(path).names)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputFormatError(f"{path}: not readable as Parquet ({error})") from None


def _stages(path: Path) -> dict[str, Float64Array]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise InputFormatError(f"{path}: not readable as Parquet ({error})") from None
    stages = {
        name.removesuffix("_ms"): np.asarray(table.column(name).to_numpy(), np.float64)
        for name in table.column_names
        if name.endswith("_ms")
    }
    if "total" not in stages:
        raise InputFormatError(f"{path}: a column total_ms is expected, found {', '.join(table.column_names)}")
    return stages
