"""Laser beams against a rasterised view: exact distances from the triangles that the nearest samples see."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["cast_beams"]


@njit(
    "void(float64[:,::1], float64[::1], int32[:,::1], float64[:,::1], int32[:,::1], uint8[::1], int32[:,::1], "
    "float64[::1], int32[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _cast(directions, view, ids, planes, sources, flags, masks, ranges_m, hits):  # type: ignore[no-untyped-def]
    fx, fy, cx, cy = view[0], view[1], view[2], view[3]
    height, width = ids.shape
    size = round(math.sqrt(32.0 * masks.shape[1]))
    for beam in range(directions.shape[0]):
        dx, dy, dz = directions[beam, 0], directions[beam, 1], directions[beam, 2]
        px, py = fx * dx / dz + cx, fy * dy / dz + cy
        column, row = math.floor(px + 0.5), math.floor(py + 0.5)
        best, hit, last = 0.0, -1, -1
        for j in range(-1, 2):
            for i in range(-1, 2):
                x, y = column + i, row + j
                if x < 0 or y < 0 or x >= width or y >= height:
                    continue
                index = ids[y, x]
                if index < 0 or index == last or index == hit:
                    continue
                last = index
                plane = planes[index]
                inside = True
                for e in range(3):
                    if plane[3 * e] * px + plane[3 * e + 1] * py + plane[3 * e + 2] < -1e-9:
                        inside = False
                        break
                if not inside:
                    continue
                near = plane[9] * px + plane[10] * py + plane[11]
                if near <= best:
                    continue
                flag = flags[sources[index, 0]]
                if flag & 2:
                    u = (plane[12] * px + plane[13] * py + plane[14]) / near
                    v = (plane[15] * px + plane[16] * py + plane[17]) / near
                    a = int((u - math.floor(u)) * size) % size
                    b = int((v - math.floor(v)) * size) % size
                    place = b * size + a
                    if not (masks[flag >> 4, place >> 5] >> (place & 31)) & 1:
                        continue
                best, hit = near, index
        hits[beam] = hit
        ranges_m[beam] = math.sqrt(dx * dx + dy * dy + dz * dz) / (dz * best) if hit >= 0 else math.inf


def cast_beams(
    directions: npt.NDArray[np.float64],
    view: npt.NDArray[np.float64],
    ids: npt.NDArray[np.int32],
    planes: npt.NDArray[np.float64],
    sources: npt.NDArray[np.int32],
    flags: npt.NDArray[np.uint8],
    masks: npt.NDArray[np.int32],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int32]]:
    """Distances of beams that all lie inside one rasterised view.

    A beam is tested against the triangles seen by the nine samples around it, at its own exact position; a surface that
    none of them sees is thinner than the grid and is missed.

    Args:
        directions: (B, 3) in the view's frame, z forward.
        view: (6,) fx, fy, cx, cy, width, height of the grid.
        ids: (H, W) rows of ``planes``; likewise ``planes``, ``sources``, ``flags``, ``masks`` from the rasteriser.
        planes: as above.
        sources: as above.
        flags: as above.
        masks: as above.

    Returns:
        (B,) distances in m, infinite where nothing is, and (B,) rows of ``planes``, -1 where nothing is.
    """
    beams = np.require(directions, np.float64, "C")
    if beams.ndim != 2 or beams.shape[1] != 3 or (len(beams) and not beams[:, 2].min() > 0):
        raise ValueError(f"directions must be (B, 3) with z > 0 but got shape {beams.shape}")
    ranges = np.empty(len(beams))
    hits = np.empty(len(beams), np.int32)
    _cast(beams, view, ids, planes, sources, flags, masks, ranges, hits)
    return ranges, hits
