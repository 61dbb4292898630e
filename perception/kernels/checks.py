"""Argument checks that the kernels' public wrappers share. Nothing here is compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["as_array", "as_boxes"]


def as_array(name: str, value: npt.ArrayLike, dtype: npt.DTypeLike, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """A C-contiguous, writable array of ``dtype`` whose shape is ``shape``, None meaning any length.

    Raises:
        ValueError: the shape differs, or whole numbers are wanted and given are fractions or more than ``dtype`` holds.
    """
    if type(value) is np.ndarray and value.flags.carray and value.dtype == dtype:
        array = value  # as it should be: np.require would take a microsecond to find out
    else:
        if np.issubdtype(dtype, np.integer):
            _refuse_fractions(name, np.asarray(value), np.dtype(dtype))
        array = np.require(value, dtype=dtype, requirements=("C", "W"))
    if array.ndim != len(shape) and array.size == 0 and None in shape:
        array = array.reshape(tuple(0 if want is None else want for want in shape))
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        wanted = "(" + ", ".join("N" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
        raise ValueError(f"{name} must be {wanted} but got shape {array.shape}")
    return array


def _refuse_fractions(name: str, value: npt.NDArray[Any], dtype: np.dtype[Any]) -> None:
    """A conversion would cut fractions off and let large numbers wrap, both in silence."""
    if not value.size or np.can_cast(value.dtype, dtype):
        return
    if value.dtype.kind not in "iub":
        fractions = value[~(np.isfinite(value) & (np.floor(value) == value))]
        if fractions.size:
            raise ValueError(f"{name} must be whole numbers but hold {fractions[0]}")
    least, most = int(value.min()), int(value.max())
    if not (np.iinfo(dtype).min <= least and most <= np.iinfo(dtype).max):
        raise ValueError(f"{name} must fit {dtype} but span {least} ... {most}")


def as_boxes(name: str, boxes_xyxy: npt.ArrayLike) -> npt.NDArray[np.float32]:
    """(N, 4) f32 corners, each finite with x1 <= x2 and y1 <= y2.

    Raises:
        ValueError: a shape, value or order is wrong; the message names the first such row.
    """
    boxes: npt.NDArray[np.float32] = as_array(name, boxes_xyxy, np.float32, (None, 4))
    # one comparison finds NaN and inverted corners together: every comparison with NaN is false
    good = (boxes[:, 2] >= boxes[:, 0]) & (boxes[:, 3] >= boxes[:, 1]) & (np.abs(boxes).max(axis=1, initial=0) < np.inf)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise ValueError(f"{name} must be finite with x1 <= x2 and y1 <= y2 but row {row} is {boxes[row].tolist()}")
    return boxes
