"""``perceive eval``: results against ground truth, with the devkits' numbers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

if TYPE_CHECKING:
    from rich.table import Table

    from perception.evaluation.intake import Intake

__all__ = ["register"]

Gt = Annotated[Path, typer.Option("--gt", help="Ground truth.")]
Pred = Annotated[Path, typer.Option("--pred", help="Results, or a run folder of perceive replay.")]
Classes = Annotated[
    list[str] | None, typer.Option("--classes", help="KITTI class names, separated by commas or spaces.")
]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="Only these frames or sequences, separated by commas, or @FILE with one a line."),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the metrics as data.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page with curves and the worst frames.")]
Lenient = Annotated[bool, typer.Option("--lenient", help="Leave out and count what breaks the rules.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No table.")]
Threads = Annotated[int, typer.Option("--threads", min=1, help="Threads that decode images.")]

_LIST_OPTIONS = ("--classes", "--only")
_IMAGE_CLASSES_HELP = "camvid, cityscapes, cityscapes-ids, semantic, or a file with one class name a line."


class _ListCommand(TyperCommand):
    """Takes ``--classes Car Pedestrian`` as ``--classes Car,Pedestrian``, and ``--only`` alike."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Joins the words after a list option before typer parses them."""
        joined: list[str] = []
        for word in args:
            if len(joined) > 1 and joined[-2] in _LIST_OPTIONS and not word.startswith("-"):
                joined[-1] += f",{word}"
            else:
                joined.append(word)
        return super().parse_args(ctx, joined)


def register(app: typer.Typer) -> None:
    """Adds the verb with all that can be evaluated."""
    verb = typer.Typer(no_args_is_help=True, help="Results against ground truth, with the devkits' numbers.")
    for name, command in (
        ("detection", detection_command),
        ("tracking", tracking_command),
        ("segmentation", segmentation_command),
        ("instances", instances_command),
        ("panoptic", panoptic_command),
        ("depth", depth_command),
        ("odometry", odometry_command),
        ("map", map_command),
        ("latency", latency_command),
        ("compare", compare_command),
    ):
        verb.command(name, cls=_ListCommand)(command)
    app.add_typer(verb, name="eval")


def _words(values: Sequence[str] | None) -> list[str]:
    return [word for value in values or () for word in value.split(",") if word]


def _names(values: Sequence[str] | None) -> list[str]:
    """Names from ``--only``; ``@val.txt`` reads the customary split files."""
    from perception.evaluation.readers_text import read_lines

    names: list[str] = []
    for word in _words(values):
        names += [line.strip() for line in read_lines(Path(word[1:]))] if word.startswith("@") else [word]
    return [name for name in names if name]


def _inside(path: Path, *places: str) -> Path:
    """The part of a run folder that a verb wants, or the path itself."""
    return next((path / place for place in places if (path / place).exists()), path)


def _one_class_list(values: Sequence[str] | None, default: str) -> str:
    from perception.errors import InputFormatError

    names = _words(values) or [default]
    if len(names) > 1:
        raise InputFormatError(f"one class list is expected but got {', '.join(names)}; {_IMAGE_CLASSES_HELP}")
    return names[0]


def _finish(
    task: str,
    report: Any,
    tables: list[Table],
    *,
    meta: dict[str, Any],
    intake: Intake | None,
    samples: Callable[[], dict[str, Any]] | None,
    sections: Callable[[], list[str]] | None,
    json_file: Path | None,
    html_file: Path | None,
    quiet: bool,
) -> None:
    """Prints the table and what was left out; writes the files that were asked for."""
    from perception.errors import OutputError
    from perception.evaluation.results import EvaluationResult, write_result
    from perception.files import write_text_atomic

    meta = meta | {"notes": list(report.notes), "left_out": dict(intake.left_out) if intake else {}}
    if json_file is not None:
        write_result(EvaluationResult(task, report.metrics, meta, samples() if samples else {}), json_file)
    if html_file is not None:
        from perception.evaluation.page import document
        from perception.evaluation.pages import all_metrics

        body = [*(sections() if sections else []), all_metrics(report.metrics)]
        lead = f"ground truth {meta.get('gt', '')} · results {meta.get('pred', '')}"
        try:
            html_file.parent.mkdir(parents=True, exist_ok=True)
            write_text_atomic(html_file, document(f"Evaluation of {task}", lead, report.notes, body))
        except OSError as error:
            raise OutputError(f"{html_file}: cannot be written ({error.strerror})") from None
    if not quiet:
        _print(tables)
    for note in report.notes:
        print(f"perceive: {note}", file=sys.stderr)


def _print(tables: list[Table]) -> None:
    from rich.console import Console

    console = Console(soft_wrap=True)
    # a pipe or a file has no width to fit into
    if not console.is_terminal:
        console = Console(soft_wrap=True, width=200)
    for table in tables:
        console.print(table)


def _intake(lenient: bool) -> Intake:
    from perception.evaluation.intake import Intake

    return Intake(lenient)


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

    intake = _intake(lenient)
    meta: dict[str, Any] = {"gt": str(gt), "pred": str(pred), "format": format_name}
    if format_name == "coco":
        from perception.evaluation.coco import evaluate_coco

        coco = evaluate_coco(gt, pred, ("bbox", "segm") if masks else ("bbox",), intake=intake)
        tables = class_table("COCO, %", coco.metrics, ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large"))
        _finish("detection", coco, tables, meta=meta, intake=intake, samples=None, sections=None,
                json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip
        return
    if format_name != "kitti":
        raise InputFormatError(f"--format must be kitti or coco but is {format_name!r}")
    from perception.evaluation.detection import evaluate_detection_folder

    names = _words(classes) or ["Car", "Pedestrian", "Cyclist"]
    folder = _inside(pred, "kitti/detection")
    report = evaluate_detection_folder(gt, folder, names, frames=_names(only), intake=intake)

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import detection_samples

        return detection_samples(report)

    def sections() -> list[str]:
        from perception.evaluation.pages_detection import detection_sections

        return detection_sections(report, gt, images)

    meta |= {"classes": names, "frames": len(report.frame_names)}
    _finish("detection", report, detection_table(report.metrics), meta=meta, intake=intake, samples=samples,
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

    intake = _intake(lenient)
    names = _words(classes)
    folder = _inside(pred, "kitti/tracking")
    if format_name == "kitti":
        from perception.evaluation.tracking import evaluate_tracking_folder

        spaces = None if space == "auto" else space.split(",")
        if spaces is not None and not set(spaces) <= {"2d", "3d"}:
            raise InputFormatError(f"--space must be 2d, 3d, 2d,3d or auto but is {space!r}")
        report = evaluate_tracking_folder(
            gt, folder, names or ("Car", "Pedestrian"), spaces=spaces, sequences=_names(only), intake=intake
        )
    elif format_name == "mots":
        from perception.evaluation.tracking_mots import evaluate_mots_folder

        report = evaluate_mots_folder(gt, folder, names or ("car", "pedestrian"), sequences=_names(only), intake=intake)
    elif format_name == "motchallenge":
        from perception.evaluation.tracking_motchallenge import evaluate_motchallenge_folder

        if benchmark not in ("MOT15", "MOT16", "MOT17", "MOT20"):
            raise InputFormatError(f"--benchmark must be MOT15, MOT16, MOT17 or MOT20 but is {benchmark!r}")
        report = evaluate_motchallenge_folder(gt, folder, benchmark=benchmark, sequences=_names(only), intake=intake)
    else:
        raise InputFormatError(f"--format must be kitti, mots or motchallenge but is {format_name!r}")

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import tracking_samples

        return tracking_samples(report)

    def sections() -> list[str]:
        from perception.evaluation.pages import tracking_sections

        return tracking_sections(report, images)

    meta = {"gt": str(gt), "pred": str(pred), "format": format_name}
    _finish("tracking", report, tracking_table(report.metrics), meta=meta, intake=intake, samples=samples,
            sections=sections, json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip


def segmentation_command(
    gt: Gt,
    pred: Pred,
    classes: Annotated[list[str] | None, typer.Option("--classes", help=_IMAGE_CLASSES_HELP)] = None,
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

    intake = _intake(lenient)
    names = _one_class_list(classes, "camvid")
    folder = _inside(pred, "semantic")
    report = evaluate_segmentation_folder(
        gt, folder, names, boundary=boundary, frames=_names(only), intake=intake, threads=threads
    )

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import segmentation_samples

        return segmentation_samples(report)

    def sections() -> list[str]:
        from perception.evaluation.pages import segmentation_sections

        return segmentation_sections(report, gt, folder)

    columns = ("mIoU", "IoU", "fwIoU", "pixel_accuracy", "mean_accuracy", "boundary_F")
    meta = {"gt": str(gt), "pred": str(pred), "classes": names, "frames": len(report.frame_names)}
    _finish("segmentation", report, class_table("Segmentation, %", report.metrics, columns), meta=meta, intake=intake,
            samples=samples, sections=sections, json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip


def instances_command(
    gt: Gt,
    pred: Pred,
    classes: Annotated[list[str] | None, typer.Option("--classes", help=_IMAGE_CLASSES_HELP)] = None,
    json_file: Json = None,
    html_file: Html = None,
    lenient: Lenient = False,
    quiet: Quiet = False,
) -> None:
    """Instance AP as Cityscapes defines it: instanceIds images against text files of masks."""
    from perception.cli.eval_tables import class_table
    from perception.evaluation.instances import evaluate_instances_folder

    intake = _intake(lenient)
    names = _one_class_list(classes, "cityscapes-ids")
    report = evaluate_instances_folder(gt, pred, names, intake=intake)
    meta = {"gt": str(gt), "pred": str(pred), "classes": names, "frames": len(report.frame_names)}
    _finish("instances", report, class_table("Instances, %", report.metrics, ("AP", "AP50")), meta=meta, intake=intake,
            samples=None, sections=None, json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip


def panoptic_command(
    gt: Gt,
    pred: Pred,
    classes: Annotated[list[str] | None, typer.Option("--classes", help=_IMAGE_CLASSES_HELP)] = None,
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

    intake = _intake(lenient)
    names = _one_class_list(classes, "cityscapes")
    report = evaluate_panoptic_folder(gt, pred, names, frames=_names(only), intake=intake, threads=threads)

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import panoptic_samples

        return panoptic_samples(report, label_classes(names).things)

    meta = {"gt": str(gt), "pred": str(pred), "classes": names, "frames": len(report.frame_names)}
    _finish("panoptic", report, class_table("Panoptic, %", report.metrics, ("PQ", "SQ", "RQ")), meta=meta,
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

    intake = _intake(lenient)
    report = evaluate_depth_folder(
        gt,
        _inside(pred, "depth"),
        max_depth_m=max_depth_m,
        scale=scale,
        median_scaling=median_scaling,
        frames=_names(only),
        intake=intake,
        threads=threads,
    )

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import depth_samples

        return depth_samples(report)

    meta = {"gt": str(gt), "pred": str(pred), "frames": len(report.frame_names), "median_scaling": median_scaling}
    _finish("depth", report, plain_table("Depth", report.metrics), meta=meta, intake=intake, samples=samples,
            sections=None, json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip


def odometry_command(
    gt: Gt,
    pred: Pred,
    json_file: Json = None,
    html_file: Html = None,
    lenient: Lenient = False,
    quiet: Quiet = False,
) -> None:
    """KITTI translation and rotation error by length, ATE and RPE, from poses.txt files or folders."""
    from perception.cli.eval_tables import plain_table
    from perception.evaluation.odometry import evaluate_odometry_files

    intake = _intake(lenient)
    report = evaluate_odometry_files(gt, pred, intake=intake)

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import odometry_samples

        return odometry_samples(report)

    def sections() -> list[str]:
        from perception.evaluation.pages import odometry_sections

        return odometry_sections(report)

    meta = {"gt": str(gt), "pred": str(pred), "sequences": list(report.sequence_metrics)}
    _finish("odometry", report, plain_table("Odometry", report.metrics), meta=meta, intake=intake, samples=samples,
            sections=sections, json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip


def map_command(gt: Gt, pred: Pred, json_file: Json = None, html_file: Html = None, quiet: Quiet = False) -> None:
    """A bird's-eye map (bev.npz) against a true one: class IoU, coverage, height error."""
    from perception.cli.eval_tables import class_table
    from perception.evaluation.map_layers import evaluate_map_files

    report = evaluate_map_files(gt, pred)

    def sections() -> list[str]:
        from perception.evaluation.pages import map_sections

        return map_sections(report)

    columns = ("mIoU", "IoU", "coverage", "cell_accuracy", "full_mIoU", "height_mae_m", "height_rmse_m", "area_m2")
    _finish("map", report, class_table("Map, % and m", report.metrics, columns),
            meta={"gt": str(gt), "pred": str(pred)}, intake=None, samples=None, sections=sections,
            json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip


def latency_command(
    pred: Pred,
    gt: Annotated[Path | None, typer.Option("--gt", help="Not needed: latency has no ground truth.")] = None,
    deadline_ms: Annotated[float | None, typer.Option("--deadline", min=0.0, help="Milliseconds per frame.")] = None,
    json_file: Json = None,
    html_file: Html = None,
    quiet: Quiet = False,
) -> None:
    """Percentiles of every stage and deadline misses of a run folder."""
    from perception.cli.eval_tables import class_table
    from perception.evaluation.latency import evaluate_latency

    report = evaluate_latency(pred, deadline_ms)
    if gt is not None:
        report.notes.append(f"--gt {gt} is not used: latency has no ground truth")

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import latency_samples

        return latency_samples(report)

    def sections() -> list[str]:
        from perception.evaluation.pages import latency_sections

        return latency_sections(report)

    columns = ("p50_ms", "p90_ms", "p99_ms", "max_ms", "p50", "p90", "p99", "max", "frames", "fps", "deadline_ms",
               "deadline_misses", "deadline_misses_percent")  # fmt: skip
    _finish("latency", report, class_table("Latency", report.metrics, columns), meta={"pred": str(pred)}, intake=None,
            samples=samples, sections=sections, json_file=json_file, html_file=html_file, quiet=quiet)  # fmt: skip


def compare_command(
    before: Annotated[Path, typer.Argument(help="Metric file of the first evaluation.")],
    after: Annotated[Path, typer.Argument(help="Metric file of the second.")],
    metrics: Annotated[list[str] | None, typer.Option("--metrics", help="Patterns such as '*/HOTA'.")] = None,
    tolerance: Annotated[float, typer.Option("--tolerance", min=0.0, help="Differences up to it are the same.")] = 0.0,
    resamples: Annotated[int, typer.Option("--resamples", min=10, help="Of the bootstrap.")] = 500,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.")] = 0,
    fail_if_worse: Annotated[
        bool, typer.Option("--fail-if-worse", help="Exit with 1 when anything got worse.")
    ] = False,
    json_file: Json = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show what stayed the same, too.")] = False,
    quiet: Quiet = False,
) -> None:
    """What got better or worse between two metric files, with bootstrap intervals over frames or sequences."""
    from perception.cli.eval_tables import comparison_table
    from perception.errors import InputFormatError
    from perception.evaluation.compare import compare_results
    from perception.evaluation.results import read_result

    comparison = compare_results(
        read_result(before),
        read_result(after),
        patterns=_words(metrics),
        tolerance=tolerance,
        resamples=resamples,
        seed=seed,
    )
    if not comparison.changes:
        raise InputFormatError(f"{before} and {after} have no metric in common" + (" that matches" if metrics else ""))
    if json_file is not None:
        _write_comparison(comparison, json_file)
    if not quiet:
        _print(comparison_table(comparison, everything=verbose))
        counts = {v: sum(c.verdict == v for c in comparison.changes) for v in ("worse", "unclear", "better", "same")}
        print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()))
    for note in comparison.notes:
        print(f"perceive: {note}", file=sys.stderr)
    if fail_if_worse and comparison.worse:
        names = [change.name for change in comparison.worse]
        shown = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
        print(f"perceive: {len(names)} metrics got worse: {shown}", file=sys.stderr)
        raise typer.Exit(1)


def _write_comparison(comparison: Any, path: Path) -> None:
    import json

    from perception.errors import OutputError
    from perception.files import write_text_atomic

    content = {
        "changes": {
            change.name: {
                "before": change.before,
                "after": change.after,
                "interval": change.interval,
                "verdict": change.verdict,
            }
            for change in comparison.changes
        },
        "notes": comparison.notes,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, json.dumps(content, indent=2, allow_nan=False) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
