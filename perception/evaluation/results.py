"""The metric file: flat metrics, what they were made of, and the parts from which they can be resampled."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from perception import __version__
from perception.errors import InputFormatError, OutputError
from perception.files import write_text_atomic

__all__ = ["EvaluationResult", "read_result", "write_result"]


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """One evaluation.

    Attributes:
        task: ``detection``, ``tracking`` and so on.
        metrics: flat.
        meta: what was compared, how, and what was left out.
        samples: per frame or sequence, from which ``perceive eval compare`` resamples; see ``samples.py``.
    """

    task: str
    metrics: dict[str, float]
    meta: dict[str, Any]
    samples: dict[str, Any] = field(default_factory=dict)


def write_result(result: EvaluationResult, path: Path) -> None:
    """Writes ``{"metrics": …, "meta": …, "samples": …}``.

    Raises:
        OutputError: the file cannot be written.
    """
    meta = {"task": result.task, "version": __version__} | result.meta
    content = {"metrics": result.metrics, "meta": meta, "samples": result.samples}
    head = json.dumps({"metrics": content["metrics"], "meta": meta}, indent=2, allow_nan=False)
    # one line for the bulk, so that the metrics stay readable
    tail = json.dumps(result.samples, allow_nan=False, separators=(",", ":"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, f'{head[:-2]},\n  "samples": {tail}\n}}\n')
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


def read_result(path: Path) -> EvaluationResult:
    """Reads a metric file; any JSON with flat ``metrics`` will do.

    Raises:
        InputFormatError: unreadable, or without metrics.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputFormatError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputFormatError(f"{path}: not readable as JSON ({error})") from None
    metrics = content.get("metrics") if isinstance(content, dict) else None
    if not isinstance(metrics, dict) or not metrics:
        raise InputFormatError(f'{path}: {{"metrics": {{name: number}}, "meta": {{…}}}} is expected')
    for name, value in metrics.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InputFormatError(f"{path}: metric {name} must be a number but is {value!r}")
    meta = content.get("meta") or {}
    return EvaluationResult(str(meta.get("task", "")), metrics, meta, content.get("samples") or {})
