"""``perceive eval detection`` and ``tracking``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perception.cli.eval_common import (
    Classes,
    Gt,
    Html,
    Json,
    Lenient,
    Only,
    Pred,
    Quiet,
    finish,
    inside,
    intake_of,
    names_of,
    words,
)

__all__ = ["detection_command", "tracking_command"]


def detection_command(
    gt: Gt,
    pred: Pred,
    classes: Classes = None,
    format_name: Annotated[str, typer.Option("--format", help="kitti or coco (gt and pred are JSON files).")] = "kitti",
    masks: Annotated[bool, typer.Option("--masks", help="COCO: masks too.")] = False,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of frames for the page's pictures.")] = None,
    only: Only = None,
    json_file: Json = None,
    html_file: Html = None,
    lenient: Lenient = False,
    quiet: Quiet = False,
) -> None:
    """KITTI AP11, AP40 and R40 in 2D, bird's-eye view, 3D and orientation; or COCO AP."""
    from perception.cli.eval_tables import class_table, detection_table
    from perception.errors import InputFormatError

    intake = intake_of(lenient)
    meta: dict[str, Any] = {"gt": str(gt), "pred": str(pred), "format": format_name}
    if format_name == "coco":
        from perception.evaluation.coco import evaluate_coco

        coco = evaluate_coco(gt, pred, ("bbox", "segm") if masks else ("bbox",), intake=intake)
        tables = class_table("COCO, %", coco.metrics, ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"))
        finish("detection", coco, tables, meta=meta, intake=intake, samples=None, sections=None,
                json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip
        return
    if format_name != "kitti":
        raise InputFormatError(f"--format must be kitti or coco but is {format_name!r}")
    from perception.evaluation.detection import evaluate_detection_folder

    names = words(classes) or ["Car", "Pedestrian", "Cyclist"]
    folder = inside(pred, "kitti/detection")
    report = evaluate_detection_folder(gt, folder, names, frames=names_of(only), intake=intake)

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import detection_samples

        return detection_samples(report)

    def sections() -> list[str]:
        from perception.evaluation.pages_detection import detection_sections

        return detection_sections(report, gt, images)

    meta |= {"classes": names, "frames": len(report.frame_names)}
    finish("detection", report, detection_table(report.metrics), meta=meta, intake=intake, samples=samples,
            sections=sections, json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip


def tracking_command(
    gt: Gt,
    pred: Pred,
    classes: Classes = None,
    format_name: Annotated[str, typer.Option("--format", help="kitti, mots or motchallenge.")] = "kitti",
    space: Annotated[
        str, typer.Option("--space", help="2d, 3d or 2d,3d; auto takes 3d too where all results have 3D boxes.")
    ] = "auto",
    benchmark: Annotated[str, typer.Option("--benchmark", help="MOT15, MOT16, MOT17 or MOT20.")] = "MOT17",
    images: Annotated[Path | None, typer.Option("--images", help="Folder image_02 for the page's pictures.")] = None,
    only: Only = None,
    json_file: Json = None,
    html_file: Html = None,
    lenient: Lenient = False,
    quiet: Quiet = False,
) -> None:
    """HOTA, CLEAR MOT and IDF1 of boxes and masks; for 3D boxes sAMOTA, AMOTA and AMOTP too."""
    from perception.cli.eval_tables import tracking_table
    from perception.errors import InputFormatError

    intake = intake_of(lenient)
    names = words(classes)
    folder = inside(pred, "kitti/tracking")
    if format_name == "kitti":
        from perception.evaluation.tracking import evaluate_tracking_folder

        spaces = None if space == "auto" else space.split(",")
        if spaces is not None and not set(spaces) <= {"2d", "3d"}:
            raise InputFormatError(f"--space must be 2d, 3d, 2d,3d or auto but is {space!r}")
        report = evaluate_tracking_folder(
            gt, folder, names or ("Car", "Pedestrian"), spaces=spaces, sequences=names_of(only), intake=intake
        )
    elif format_name == "mots":
        from perception.evaluation.tracking_mots import evaluate_mots_folder

        report = evaluate_mots_folder(
            gt, folder, names or ("car", "pedestrian"), sequences=names_of(only), intake=intake
        )
    elif format_name == "motchallenge":
        from perception.evaluation.tracking_motchallenge import evaluate_motchallenge_folder

        if benchmark not in ("MOT15", "MOT16", "MOT17", "MOT20"):
            raise InputFormatError(f"--benchmark must be MOT15, MOT16, MOT17 or MOT20 but is {benchmark!r}")
        report = evaluate_motchallenge_folder(gt, folder, benchmark=benchmark, sequences=names_of(only), intake=intake)
    else:
        raise InputFormatError(f"--format must be kitti, mots or motchallenge but is {format_name!r}")

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import tracking_samples

        return tracking_samples(report)

    def sections() -> list[str]:
        from perception.evaluation.pages import tracking_sections

        return tracking_sections(report, images)

    meta = {"gt": str(gt), "pred": str(pred), "format": format_name}
    finish("tracking", report, tracking_table(report.metrics), meta=meta, intake=intake, samples=samples,
            sections=sections, json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip
