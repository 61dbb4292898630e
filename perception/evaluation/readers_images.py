"""Label images in pairs: PNG files of class ids, instance ids or depth, matched by name and checked."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from perception.errors import InputFormatError
from perception.evaluation.intake import Intake

__all__ = ["in_pairs", "pair_images", "read_image"]

Image = npt.NDArray[Any]
Result = TypeVar("Result")

SUFFIXES = (".png",)
# Cityscapes and its tools name the same frame by what the file holds
_NAME_ENDS = re.compile(r"_(gtFine|gtCoarse|leftImg8bit|pred|instanceIds|labelIds|labelTrainIds|color)\w*$")


def _frame_name(path: Path) -> str:
    return _NAME_ENDS.sub("", path.stem)


def _files(folder: Path, what: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputFormatError(f"{folder}: no such folder of {what}")
    files: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        name = _frame_name(path)
        if name in files:
            raise InputFormatError(f"{path}: a second image of frame {name} beside {files[name]}")
        files[name] = path
    if not files:
        raise InputFormatError(f"{folder}: an empty folder of {what}; PNG images are expected")
    return files


def pair_images(gt_dir: Path, pred_dir: Path, intake: Intake, only: Sequence[str] = ()) -> list[tuple[str, Path, Path]]:
    """Frame name, ground truth and prediction, paired by file name.

    Raises:
        InputFormatError: a missing or empty folder, or an image without counterpart.
    """
    gt_files, pred_files = _files(gt_dir, "ground truth"), _files(pred_dir, "predictions")
    if only:
        unknown = [name for name in only if name not in gt_files]
        if unknown:
            raise InputFormatError(f"{gt_dir}: no frame {unknown[0]!r}")
        gt_files = {name: gt_files[name] for name in only}
        pred_files = {name: path for name, path in pred_files.items() if name in gt_files}
    for name in sorted(pred_files.keys() - gt_files.keys()):
        intake.refuse(
            "prediction without ground truth", f"{pred_files[name]}: the ground truth {gt_dir} has no frame {name}"
        )
    pairs = []
    for name, gt in gt_files.items():
        if name in pred_files:
            pairs.append((name, gt, pred_files[name]))
        else:
            intake.refuse(
                "frame without prediction",
                f"{pred_dir}: no prediction for frame {name} ({gt.name} in the ground truth)",
            )
    return pairs


def read_image(path: Path, dtypes: Sequence[npt.DTypeLike], what: str) -> Image:
    """Reads a single-channel image without any conversion; a palette image gives its indices.

    Raises:
        InputFormatError: missing, cut short, of another type, or in colour.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputFormatError(f"{path}: cannot be read ({error.strerror})") from None
    # OpenCV decodes a truncated file without a word
    if path.suffix.lower() == ".png" and not content[-12:].endswith(b"IEND\xaeB`\x82"):
        raise InputFormatError(f"{path}: no whole PNG file ({len(content)} bytes, its end mark is missing)")
    # byte 25 of a PNG is its colour type, 3 a palette, which OpenCV would replace by colours
    if path.suffix.lower() == ".png" and len(content) > 25 and content[25] == 3:
        image: Image | None = _palette_indices(path)
    else:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    wanted = " or ".join(str(np.dtype(dtype)) for dtype in dtypes)
    if image is None:
        raise InputFormatError(f"{path}: no readable image; {what} expected")
    if image.ndim != 2 or image.dtype not in [np.dtype(dtype) for dtype in dtypes]:
        raise InputFormatError(
            f"{path}: {what} expected, a single channel of {wanted}, but it is {image.dtype} of shape {image.shape}"
        )
    return np.asarray(image)


def _palette_indices(path: Path) -> Image:
    from PIL import Image as Pillow  # comes with torchvision

    with Pillow.open(path) as image:
        return np.asarray(image)


def in_pairs(
    pairs: Sequence[tuple[str, Path, Path]], work: Callable[[str, Path, Path], Result], threads: int = 2
) -> Iterator[tuple[str, Result]]:
    """Runs ``work(name, gt_path, pred_path)`` over the pairs in threads, giving results in order.

    No more than a few pairs are in memory at a time.
    """
    with ThreadPoolExecutor(max_workers=threads) as pool:
        waiting: deque[tuple[str, Future[Result]]] = deque()
        for name, gt_path, pred_path in pairs:
            waiting.append((name, pool.submit(work, name, gt_path, pred_path)))
            if len(waiting) >= 2 * threads:
                first, future = waiting.popleft()
                yield first, future.result()
        for name, future in waiting:
            yield name, future.result()
