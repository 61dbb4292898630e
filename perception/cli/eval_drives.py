"""``perceive eval odometry``, ``map``, ``latency`` and ``compare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from perception.cli.eval_common import (
    Gt,
    Html,
    Json,
    Lenient,
    Pred,
    Quiet,
    finish,
    intake_of,
    print_tables,
    words,
)

__all__ = ["compare_command", "latency_command", "map_command", "odometry_command"]


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

    intake = intake_of(lenient)
    report = evaluate_odometry_files(gt, pred, intake=intake)

    def samples() -> dict[str, Any]:
        from perception.evaluation.samples import odometry_samples

        return odometry_samples(report)

    def sections() -> list[str]:
        from perception.evaluation.pages import odometry_sections

        return odometry_sections(report)

    meta = {"gt": str(gt), "pred": str(pred), "sequences": list(report.sequence_metrics)}
    finish("odometry", report, plain_table("Odometry", report.metrics), meta=meta, intake=intake, samples=samples,
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
    finish("map", report, class_table("Map, % and m", report.metrics, columns),
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
    finish("latency", report, class_table("Latency", report.metrics, columns), meta={"pred": str(pred)}, intake=None,
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
        patterns=words(metrics),
        tolerance=tolerance,
        resamples=resamples,
        seed=seed,
    )
    if not comparison.changes:
        raise InputFormatError(f"{before} and {after} have no metric in common" + (" that matches" if metrics else ""))
    if json_file is not None:
        _write_comparison(comparison, json_file)
    if not quiet:
        print_tables(comparison_table(comparison, everything=verbose))
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
