"""``perceive info DRIVE``: what a drive holds, by its layout and calibration."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from perception.datasets.drive import DriveInfo
    from perception.geometry import PinholeCamera

__all__ = ["register"]

_SHOWN_GAPS = 5


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("info")(info_command)


def info_command(
    drive: Annotated[str, typer.Argument(help="KITTI folder, image folder, glob, video, camera index or stream.")],
    calib: Annotated[Path | None, typer.Option(help="Calibration file that replaces the drive's own.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No table.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Every gap, not the first few.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the table as data.")] = None,
) -> None:
    """Show what a drive holds: frames, rate, sensors, calibration, poses, labels, gaps."""
    import json

    from rich.console import Console

    from perception.datasets.factory import open_drive
    from perception.errors import OutputError
    from perception.files import write_text_atomic

    opened = open_drive(drive, calib)
    opened.close()
    if json_file is not None:
        try:
            write_text_atomic(json_file, json.dumps(_as_dict(opened.info), indent=2) + "\n")
        except OSError as error:
            raise OutputError(f"{json_file}: cannot be written: {error.strerror}") from None
    if not quiet:
        Console().print(_table(opened.info, None if verbose else _SHOWN_GAPS))


def _table(info: DriveInfo, shown_gaps: int | None) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(show_header=False, title=escape(info.name), title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")

    def row(name: str, value: object) -> None:
        table.add_row(name, escape(str(value)))

    row("kind", info.kind if info.is_sequence else f"{info.kind} (unrelated frames, no sequence)")
    row("path", info.path)
    row("frames", "live" if info.frame_count is None else info.frame_count)
    row("duration", "unknown" if info.duration_s is None else f"{info.duration_s:.1f} s")
    row("rate", "unknown" if info.rate_hz is None else f"{info.rate_hz:.2f} Hz")
    row("sensors", ", ".join(info.sensors))
    row("calibration", info.calibration_source)
    if info.camera is not None:
        for name, value in _camera_rows(info.camera):
            row(name, value)
    row("poses", info.pose_source or "none given")
    row("labels", info.labels or "none")
    for note in info.notes:
        row("note", note)
    row("gaps", _gap_summary(info))
    for gap in info.gaps[:shown_gaps]:
        row("", f"{gap.frame_name} {gap.sensor}: {gap.reason}")
    if shown_gaps is not None and len(info.gaps) > shown_gaps:
        row("", f"and {len(info.gaps) - shown_gaps} more")
    return table


def _camera_rows(camera: PinholeCamera) -> list[tuple[str, str]]:
    coefficients = ", ".join(f"{value:g}" for value in camera.distortion)
    return [
        ("image", f"{camera.width_px}x{camera.height_px} px"),
        ("focal length", f"{camera.fx_px:.2f}, {camera.fy_px:.2f} px"),
        ("principal point", f"{camera.cx_px:.2f}, {camera.cy_px:.2f} px"),
        ("distortion", coefficients or "none (rectified)"),
        ("camera height", f"{camera.ego_SE3_cam.translation[2]:.2f} m"),
    ]


def _gap_summary(info: DriveInfo) -> str:
    if not info.gaps:
        return "none by the file names"
    counts: dict[str, int] = {}
    for gap in info.gaps:
        counts[gap.sensor] = counts.get(gap.sensor, 0) + 1
    return f"{len(info.gaps)}: " + ", ".join(f"{count} {sensor}" for sensor, count in counts.items())


def _as_dict(info: DriveInfo) -> dict[str, Any]:
    camera = info.camera
    return {
        "name": info.name,
        "kind": info.kind,
        "path": str(info.path),
        "is_sequence": info.is_sequence,
        "frames": info.frame_count,
        "duration_s": info.duration_s,
        "rate_hz": info.rate_hz,
        "sensors": list(info.sensors),
        "calibration_source": info.calibration_source,
        "camera": None
        if camera is None
        else {
            "name": camera.name,
            "width_px": camera.width_px,
            "height_px": camera.height_px,
            "fx_px": camera.fx_px,
            "fy_px": camera.fy_px,
            "cx_px": camera.cx_px,
            "cy_px": camera.cy_px,
            "distortion": camera.distortion.tolist(),
            "ego_SE3_cam": camera.ego_SE3_cam.matrix.tolist(),
        },
        "pose_source": info.pose_source,
        "labels": None if info.labels is None else str(info.labels),
        "gaps": [{"frame": gap.frame_name, "sensor": gap.sensor, "reason": gap.reason} for gap in info.gaps],
        "notes": list(info.notes),
    }
