"""A bird's-eye map against a true one: class IoU where the truth is known, coverage, accuracy, height error."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perception.classes import SEMANTIC_CLASSES, VOID_ID
from perception.errors import InputFormatError
from perception.evaluation.segmentation import segmentation_metrics

__all__ = ["MapLayers", "MapReport", "evaluate_map", "evaluate_map_files", "read_map"]

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class MapLayers:
    """A map as ``bev.npz`` holds it.

    Attributes:
        class_ids: (R, C) u8 into ``names``, row along world y, column along world x; 255 unknown.
        corner_m: (2,) world x, y of the corner of cell (0, 0).
        cell_m: edge of a cell.
        names: of the classes.
        top_m: (R, C) highest z, NaN unknown; or None.
    """

    class_ids: npt.NDArray[np.uint8]
    corner_m: Float64Array
    cell_m: float
    names: tuple[str, ...]
    top_m: Float64Array | None = None


@dataclass(frozen=True, slots=True, eq=False)
class MapReport:
    """Metrics in percent and metres, the confusion matrix (C, C + 1) of cells, class names, and notes."""

    metrics: dict[str, float]
    confusion: npt.NDArray[np.int64]
    names: tuple[str, ...]
    notes: list[str] = field(default_factory=list)


def read_map(path: Path) -> MapLayers:
    """Reads ``bev.npz``, or the one in a run or map folder.

    Raises:
        InputFormatError: missing, or without the arrays of a map.
    """
    path = Path(path)
    if path.is_dir():
        found = [p for p in (path / "bev.npz", path / "map" / "bev.npz") if p.is_file()]
        if not found:
            raise InputFormatError(f"{path}: neither bev.npz nor map/bev.npz")
        path = found[0]
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except FileNotFoundError:
        raise InputFormatError(f"{path}: no such file") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputFormatError(f"{path}: not readable as a NumPy archive ({error})") from None
    if "low_xy_m" in arrays:  # the name in the simulator's truth
        arrays.setdefault("corner_m", arrays["low_xy_m"])
    missing = [name for name in ("class_ids", "corner_m", "cell_m") if name not in arrays]
    if missing:
        raise InputFormatError(f"{path}: array {missing[0]} is missing, found {', '.join(arrays) or 'none'}")
    class_ids = np.asarray(arrays["class_ids"])
    corner_m, cell_m = np.asarray(arrays["corner_m"], np.float64).reshape(-1), float(arrays["cell_m"])
    if class_ids.ndim != 2 or class_ids.dtype != np.uint8 or corner_m.shape != (2,) or not cell_m > 0:
        raise InputFormatError(
            f"{path}: class_ids (R, C) u8, corner_m (2,) and cell_m > 0 expected, found {class_ids.dtype} of shape "
            f"{class_ids.shape}, {corner_m.shape} and {cell_m:g}"
        )
    names = tuple(str(name) for name in arrays.get("classes", np.array(SEMANTIC_CLASSES)))
    strange = (class_ids >= len(names)) & (class_ids != VOID_ID)
    if strange.any():
        raise InputFormatError(f"{path}: class {int(class_ids[strange][0])} is unknown; there are {len(names)} classes")
    top_m = np.asarray(arrays["top_m"], np.float64) if "top_m" in arrays else None
    if top_m is not None and top_m.shape != class_ids.shape:
        raise InputFormatError(f"{path}: top_m must be {class_ids.shape} but is {top_m.shape}")
    return MapLayers(class_ids, corner_m, cell_m, names, top_m)


def evaluate_map(gt: MapLayers, pred: MapLayers) -> MapReport:
    """Compares the layers at the centres of the true map's cells; both lie in one world frame.

    ``coverage`` is the share of the truth's known cells that the map knows too; IoU, mIoU and ``cell_accuracy`` are
    over those; ``…/full_…`` count unknown cells as wrong.

    Raises:
        ValueError: different class lists.
    """
    if gt.names != pred.names:
        raise ValueError(f"the maps have different classes: {', '.join(gt.names)} and {', '.join(pred.names)}")
    rows, columns = np.nonzero(gt.class_ids != VOID_ID)
    if not len(rows):
        raise ValueError("the true map has no known cell")
    # half a thousandth of a cell keeps centres that lie on an edge on one side of it
    x = gt.corner_m[0] + (columns + 0.5) * gt.cell_m
    y = gt.corner_m[1] + (rows + 0.5) * gt.cell_m
    pred_columns = np.floor((x - pred.corner_m[0]) / pred.cell_m + 5e-4).astype(np.int64)
    pred_rows = np.floor((y - pred.corner_m[1]) / pred.cell_m + 5e-4).astype(np.int64)
    height, width = pred.class_ids.shape
    inside = (pred_rows >= 0) & (pred_rows < height) & (pred_columns >= 0) & (pred_columns < width)
    found = np.full(len(rows), VOID_ID, np.int64)
    found[inside] = pred.class_ids[pred_rows[inside], pred_columns[inside]]
    count = len(gt.names)
    truth = gt.class_ids[rows, columns].astype(np.int64)
    codes = truth * (count + 1) + np.minimum(found, count)
    matrix = np.bincount(codes, minlength=count * (count + 1)).reshape(count, count + 1)
    known = matrix.copy()
    known[:, count] = 0
    seen = int(known.sum())
    over_known = segmentation_metrics(known, gt.names)
    over_all = segmentation_metrics(matrix, gt.names)
    metrics = {
        "coverage": 100.0 * seen / len(rows),
        "mIoU": over_known["mIoU"],
        "cell_accuracy": over_known["pixel_accuracy"],
        "full_mIoU": over_all["mIoU"],
        "full_cell_accuracy": over_all["pixel_accuracy"],
        "area_m2": len(rows) * gt.cell_m**2,
    }
    metrics |= {key: value for key, value in over_known.items() if key.endswith("/IoU")}
    if gt.top_m is not None and pred.top_m is not None:
        both = np.flatnonzero(inside)
        error = pred.top_m[pred_rows[both], pred_columns[both]] - gt.top_m[rows[both], columns[both]]
        error = error[np.isfinite(error)]
        if len(error):
            metrics["height_mae_m"] = float(np.abs(error).mean())
            metrics["height_rmse_m"] = float(np.sqrt((error * error).mean()))
    return MapReport(metrics, matrix, gt.names)


def evaluate_map_files(gt_path: Path, pred_path: Path) -> MapReport:
    """Compares two ``bev.npz`` files or run folders.

    Raises:
        InputFormatError: see ``read_map``; different classes; nothing known in the truth.
    """
    gt, pred = read_map(gt_path), read_map(pred_path)
    try:
        return evaluate_map(gt, pred)
    except ValueError as error:
        raise InputFormatError(f"{gt_path} and {pred_path}: {error}") from None
