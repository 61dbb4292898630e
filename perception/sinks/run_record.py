"""run.json: what was run, on what, with what, and whether it reached the end.

The file says ``partial`` from the first moment on and is replaced by one that says ``complete`` as the very last act
of a run, so that no kill leaves a claim of completeness behind. Everything that differs between two equal runs lies
under ``timings``.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from perception.datasets.drive import DriveInfo, Reading
from perception.errors import OutputError
from perception.files import write_text_atomic
from perception.sinks.sink import RunContext, RunSummary
from perception.types import FrameResult

__all__ = ["RunRecord", "software_versions", "without_password"]

# import name -> distribution; torch is named only when it took part
_DISTRIBUTIONS = {
    "numpy": "numpy",
    "cv2": "opencv-python",
    "numba": "numba",
    "scipy": "scipy",
    "av": "av",
    "pyarrow": "pyarrow",
    "onnxruntime": "onnxruntime",
    "torch": "torch",
    "torchvision": "torchvision",
    "open3d": "open3d",
}

# sinks whose failure leaves every file of the run folder in place
_FILELESS = frozenset({"viewer", "map view"})


class RunRecord:
    """Collects what run.json says.

    Args:
        context: the run.
    """

    def __init__(self, context: RunContext) -> None:
        self._path = context.out / "run.json"
        self._context = context
        self._frames = 0
        self._skipped: list[dict[str, object]] = []
        self._started = datetime.now(timezone.utc)
        self._versions = software_versions()

    def begin(self) -> None:
        """Writes the first, partial run.json.

        Raises:
            OutputError: it cannot be written.
        """
        self._save("partial", None, {})

    def write(self, result: FrameResult) -> None:
        """Counts a frame."""
        self._frames += 1

    def skip(self, reading: Reading) -> None:
        """Keeps a skipped frame and why."""
        self._skipped.append(
            {"index": reading.index, "name": reading.name, "reasons": [gap.reason for gap in reading.gaps]}
        )

    def finish(self, summary: RunSummary, sink_errors: Mapping[str, str]) -> str:
        """Writes the final run.json and returns its status.

        A run is ``complete`` when the drive was read to its end and every sink that writes files finished.
        """
        lost = [name for name in sink_errors if name not in _FILELESS]
        status = "complete" if summary.complete and not lost else "partial"
        self._save(status, summary, sink_errors)
        return status

    def abort(self, summary: RunSummary | None, sink_errors: Mapping[str, str]) -> None:
        """Writes how far an interrupted run came."""
        self._save("partial", summary, sink_errors)

    def _save(self, status: str, summary: RunSummary | None, sink_errors: Mapping[str, str]) -> None:
        # modules load lazily, so the last word on versions is at the end
        self._versions.update(software_versions())
        context = self._context
        record: dict[str, object] = {
            "status": status,
            "drive": _describe(context.drive),
            "selection": {"start": context.start, "step": context.step, "count": context.count},
            "frames": self._frames,
            "skipped": self._skipped,
            "gaps": [
                {"frame": gap.frame_name, "sensor": gap.sensor, "reason": gap.reason}
                for gap in (summary.gaps if summary is not None else context.drive.gaps)
            ],
            "pose_source": context.pose_source,
            "depth_source": context.depth_source,
            "device": context.device,
            "weights": {
                role: {"name": used.name, "path": used.path, "sha256": used.sha256}
                | ({"precision": used.precision} if used.precision else {})
                for role, used in context.weights.items()
            },
            "deadline_ms": context.deadline_ms,
            "sink_errors": dict(sink_errors),
            "notes": list(summary.notes) if summary is not None else [],
            **(dict(summary.extra) if summary is not None else {}),
            "config": context.config.model_dump(mode="json"),
            "versions": dict(sorted(self._versions.items())),
            "machine": {"system": platform.system(), "architecture": platform.machine()},
            "timings": {
                "started_utc": self._started.isoformat(timespec="seconds"),
                "elapsed_s": round(summary.elapsed_s, 3) if summary is not None else None,
            },
        }
        try:
            write_text_atomic(self._path, json.dumps(record, indent=2, allow_nan=False) + "\n")
        except OSError as error:
            raise OutputError(f"{self._path}: cannot be written: {error.strerror or error}") from error


def software_versions() -> dict[str, str]:
    """Versions of Python, of this project and of those libraries that are loaded."""
    versions = {"python": platform.python_version(), "perception": _version_of("drive-perception")}
    for module, distribution in _DISTRIBUTIONS.items():
        if module in sys.modules:
            versions[distribution] = _version_of(distribution, module)
    return versions


def without_password(address: str) -> str:
    """A stream's address without the user's name and password, fit to be written down.

    >>> without_password("rtsp://me:secret@camera.local/1")
    'rtsp://camera.local/1'
    """
    return re.sub(r"^(\w+://)[^/@]*@", r"\1", address)


def _version_of(distribution: str, module: str = "perception") -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        # another distribution may provide the module, such as opencv-python-headless
        return str(getattr(sys.modules[module], "__version__", "unknown"))


def _describe(drive: DriveInfo) -> dict[str, object]:
    return {
        "name": drive.name,
        "kind": drive.kind,
        "path": drive.path.as_posix() if isinstance(drive.path, Path) else without_password(drive.path),
        "frames": drive.frame_count,
        "rate_hz": drive.rate_hz,
        "is_sequence": drive.is_sequence,
        "sensors": list(drive.sensors),
        "calibration": drive.calibration_source,
        "given_poses": drive.pose_source,
        "notes": list(drive.notes),
    }
