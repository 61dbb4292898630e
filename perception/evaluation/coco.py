"""COCO AP of boxes and masks, by the library pycocotools, with the files checked first."""

from __future__ import annotations

import contextlib
import io
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from perception.errors import InputFormatError, PerceptionError
from perception.evaluation.intake import Intake

__all__ = ["CocoReport", "evaluate_coco"]

_SUMMARY = ("AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large", "AR1", "AR10", "AR100")


@dataclass(frozen=True, slots=True)
class CocoReport:
    """Metrics such as ``bbox/AP`` and ``person/segm/AP`` in percent, and notes."""

    metrics: dict[str, float]
    notes: list[str] = field(default_factory=list)


def evaluate_coco(
    gt_path: Path, pred_path: Path, kinds: tuple[str, ...] = ("bbox",), *, intake: Intake | None = None
) -> CocoReport:
    """Evaluates a COCO result file against an annotation file.

    Args:
        gt_path: ``instances_*.json``.
        pred_path: a list of ``{"image_id", "category_id", "bbox" or "segmentation", "score"}``.
        kinds: ``bbox`` and ``segm``.
        intake: strict by default.

    Raises:
        InputFormatError: malformed JSON, an unknown image or category, a NaN or negative box.
        PerceptionError: pycocotools is not installed.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise PerceptionError("COCO AP needs pycocotools: pip install 'drive-perception[eval]'") from None
    intake = intake or Intake()
    truth, found = _load(Path(gt_path)), _load(Path(pred_path))
    wanted = ("images", "annotations", "categories")
    if not isinstance(truth, dict) or any(key not in truth for key in wanted):
        raise InputFormatError(f"{gt_path}: an object with {', '.join(wanted)} is expected")
    if not isinstance(found, list):
        raise InputFormatError(f"{pred_path}: a list of results is expected, found {type(found).__name__}")
    images = {image["id"] for image in truth["images"]}
    names = {category["id"]: str(category["name"]) for category in truth["categories"]}
    results = []
    for place, result in enumerate(found):
        reason = _broken(result, images, names, kinds)
        if reason:
            intake.refuse("broken result", f"{pred_path}: result {place}: {reason}")
        else:
            results.append(result)
    metrics: dict[str, float] = {}
    # pycocotools reports on standard output whatever it does
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        for kind in kinds:
            if not results:
                metrics |= {f"{kind}/{name}": 0.0 for name in _SUMMARY}
                continue
            evaluation = COCOeval(coco, coco.loadRes(results), kind)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            # -1 means that there is nothing to measure
            metrics |= {
                f"{kind}/{name}": 100.0 * float(value)
                for name, value in zip(_SUMMARY, evaluation.stats, strict=False)
                if value >= 0
            }
            precision = evaluation.eval["precision"][:, :, :, 0, -1]
            for k, category in enumerate(evaluation.params.catIds):
                values = precision[:, :, k]
                if (values > -1).any():
                    metrics[f"{names[category]}/{kind}/AP"] = 100.0 * float(np.mean(values[values > -1]))
    return CocoReport(metrics, intake.summary())


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputFormatError(f"{path}: no such file") from None
    except OSError as error:
        raise InputFormatError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputFormatError(f"{path}: not readable as JSON ({error})") from None


def _broken(result: object, images: set[Any], names: dict[Any, str], kinds: tuple[str, ...]) -> str:
    if not isinstance(result, dict):
        return f"an object is expected, found {type(result).__name__}"
    needed = ["image_id", "category_id", "score", *("segmentation" if kind == "segm" else kind for kind in kinds)]
    missing = [key for key in needed if key not in result]
    if missing:
        return f"{missing[0]} is missing"
    if result["image_id"] not in images:
        return f"the ground truth has no image {result['image_id']!r}"
    if result["category_id"] not in names:
        return f"unknown category {result['category_id']!r}"
    numbers = [result["score"], *(result["bbox"] if "bbox" in kinds else [])]
    if not all(isinstance(n, (int, float)) and math.isfinite(n) for n in numbers):
        return f"score and box must be finite numbers but are {numbers}"
    if "bbox" in kinds and (len(result["bbox"]) != 4 or min(result["bbox"][2:]) < 0):
        return f"a box is x, y, width, height with sizes from 0 but is {result['bbox']}"
    return ""
