"""``perceive eval segmentation``, ``instances``, ``panoptic`` and ``depth``."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perception.cli.eval_common import (
    IMAGE_CLASSES_HELP,
    Gt,
    Html,
    Json,
    Lenient,
    Only,
    Pred,
    Quiet,
    Threads,
    finish,
    inside,
    intake_of,
    names_of,
    one_class_list,
)

__all__ = ["depth_command", "instances_command", "panoptic_command", "segmentation_command"]


def segmentation_command(
    gt: Gt,
    pred: Pred,
    classes: Annotated[list[str] | None, typer.Option("--classes", help=IMAGE_CLASSES_HELP)] = None,
    boundary: Annotated[bool, typer.Option("--boundary", help="Boundary F too, about twice the time.")] = False,
    only: Only = None,
    json_file: Json = None,
    html_file: Html = None,
    lenient: Lenient = False,
    threads: Threads = 2,
    quiet: Quiet = False,
) -> None:
    """IoU by class, mIoU, frequency-weighted IoU, accuracy, boundary F, from PNG images of class ids."""
    from perception.cli.eval_tables import class_table
    from perception.evaluation.segmentation import evaluate_segmentation_folder

    intake = intake_of(lenient)
    names = one_class_list(classes, "camvid")
    folder = inside(pred, "semantic")
    report = evaluate_segmentation_folder(
        gt, folder, names, boundary=boundary, frames=names_of(only), intake=intake, threads=threads
    )

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import segmentation_samples

        return segmentation_samples(report)

    def sections() -> list[str]:
        from perception.evaluation.pages import segmentation_sections

        return segmentation_sections(report, gt, folder)

    columns = ("mIoU", "IoU", "fwIoU", "pixel_accuracy", "mean_accuracy", "boundary_F")
    meta = {"gt": str(gt), "pred": str(pred), "classes": names, "frames": len(report.frame_names)}
    finish("segmentation", report, class_table("Segmentation, %", report.metrics, columns), meta=meta, intake=intake,
            samples=samples, sections=sections, json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip


def instances_command(
    gt: Gt,
    pred: Pred,
    classes: Annotated[list[str] | None, typer.Option("--classes", help=IMAGE_CLASSES_HELP)] = None,
    json_file: Json = None,
    html_file: Html = None,
    lenient: Lenient = False,
    quiet: Quiet = False,
) -> None:
    """Instance AP as Cityscapes defines it: instanceIds images against text files of masks."""
    from perception.cli.eval_tables import class_table
    from perception.evaluation.instances import evaluate_instances_folder

    intake = intake_of(lenient)
    names = one_class_list(classes, "cityscapes-ids")
    report = evaluate_instances_folder(gt, pred, names, intake=intake)
    meta = {"gt": str(gt), "pred": str(pred), "classes": names, "frames": len(report.frame_names)}
    finish("instances", report, class_table("Instances, %", report.metrics, ("AP", "AP50")), meta=meta, intake=intake,
            samples=None, sections=None, json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip


def panoptic_command(
    gt: Gt,
    pred: Pred,
    classes: Annotated[list[str] | None, typer.Option("--classes", help=IMAGE_CLASSES_HELP)] = None,
    only: Only = None,
    json_file: Json = None,
    html_file: Html = None,
    lenient: Lenient = False,
    threads: Threads = 2,
    quiet: Quiet = False,
) -> None:
    """PQ, SQ and RQ, from 16-bit PNG images of class * 1000 + instance."""
    from perception.cli.eval_tables import class_table
    from perception.evaluation.label_classes import label_classes
    from perception.evaluation.panoptic import evaluate_panoptic_folder

    intake = intake_of(lenient)
    names = one_class_list(classes, "cityscapes")
    report = evaluate_panoptic_folder(gt, pred, names, frames=names_of(only), intake=intake, threads=threads)

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import panoptic_samples

        return panoptic_samples(report, label_classes(names).things)

    meta = {"gt": str(gt), "pred": str(pred), "classes": names, "frames": len(report.frame_names)}
    finish("panoptic", report, class_table("Panoptic, %", report.metrics, ("PQ", "SQ", "RQ")), meta=meta,
            intake=intake, samples=samples, sections=None, json_file=json_file, html_file=html_file,
            quiet=quiet)  # fmt: skip


def depth_command(
    gt: Gt,
    pred: Pred,
    max_depth_m: Annotated[float, typer.Option("--max-depth", min=1.0, help="Labels beyond, in m, do not count.")] = 80,
    scale: Annotated[float, typer.Option("--scale", min=1e-9, help="Image value of one metre.")] = 256.0,
    median_scaling: Annotated[bool, typer.Option("--median-scaling", help="For depth without scale.")] = False,
    only: Only = None,
    json_file: Json = None,
    html_file: Html = None,
    lenient: Lenient = False,
    threads: Threads = 2,
    quiet: Quiet = False,
) -> None:
    """Absolute relative error, RMSE and delta thresholds, from 16-bit PNG images in KITTI's scale."""
    from perception.cli.eval_tables import plain_table
    from perception.evaluation.depth import evaluate_depth_folder

    intake = intake_of(lenient)
    report = evaluate_depth_folder(
        gt,
        inside(pred, "depth"),
        max_depth_m=max_depth_m,
        scale=scale,
        median_scaling=median_scaling,
        frames=names_of(only),
        intake=intake,
        threads=threads,
    )

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import depth_samples

        return depth_samples(report)

    meta = {"gt": str(gt), "pred": str(pred), "frames": len(report.frame_names), "median_scaling": median_scaling}
    finish("depth", report, plain_table("Depth", report.metrics), meta=meta, intake=intake, samples=samples,
            sections=None, json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip
