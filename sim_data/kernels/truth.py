"""What the centre of each pixel sees: depth, class, instance, and where it will be in the next frame."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from sim_data.kernels.simd import vector_kernel

__all__ = ["mark", "see_centres"]

_SKY_ID = 10


@vector_kernel(
    "void(int64, int64, float64[::1], int32[:,::1], float64[:,::1], int32[:,::1], float64[:,::1], uint8[::1], "
    "int32[::1], float32[:,::1], uint8[:,::1], int32[:,::1], float32[:,:,::1])"
)
def _see(  # type: ignore[no-untyped-def]
    row0, row1, camera, ids, planes, sources, motions, classes, instances, depth_m, semantic, instance, flow
):
    fx, fy, cx, cy = camera[0], camera[1], camera[2], camera[3]
    last = motions.shape[0] - 1
    nothing = np.float32(np.nan)
    for y in range(row0, row1):
        dy = (y - cy) / fy
        seen = ids[2 * y + 1]
        depth_row, class_row, instance_row = depth_m[y], semantic[y], instance[y]
        flow_row = flow[y].reshape(-1)
        for x in range(depth_m.shape[1]):
            index = seen[np.uint64(2 * x + 1)]
            sky = index < 0
            known = np.uint32(max(index, 0))
            placed = np.uint32(last if sky else sources[known, 1])
            near = planes[known, 9] * (2 * x + 1) + planes[known, 10] * (2 * y + 1) + planes[known, 11]
            z = 1.0 / (1.0 if sky else near)
            dx = (x - cx) / fx
            # directions instead of points in the sky: its shift is zero
            px, py = dx * z, dy * z
            nx = motions[placed, 0] * px + motions[placed, 1] * py + motions[placed, 2] * z + motions[placed, 3]
            ny = motions[placed, 4] * px + motions[placed, 5] * py + motions[placed, 6] * z + motions[placed, 7]
            nz = motions[placed, 8] * px + motions[placed, 9] * py + motions[placed, 10] * z + motions[placed, 11]
            depth_row[x] = nothing if sky else np.float32(z)
            class_row[x] = classes[placed]
            instance_row[x] = instances[placed]
            ahead = nz > 1e-3
            inverse = 1.0 / (nz if ahead else 1.0)
            flow_row[np.uint64(2 * x)] = np.float32(fx * nx * inverse + cx - x) if ahead else nothing
            flow_row[np.uint64(2 * x + 1)] = np.float32(fy * ny * inverse + cy - y) if ahead else nothing


def see_centres(
    rows: tuple[int, int],
    camera: npt.NDArray[np.float64],
    visibility: tuple[npt.NDArray[np.int32], npt.NDArray[np.float64], npt.NDArray[np.int32]],
    motions: npt.NDArray[np.float64],
    classes: npt.NDArray[np.uint8],
    instances: npt.NDArray[np.int32],
    out: tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], npt.NDArray[np.int32], npt.NDArray[np.float32]],
) -> None:
    """Fills rows ``rows[0] <= y < rows[1]`` of the truth.

    Args:
        rows: of the image.
        camera: (4,) fx, fy, cx, cy in pixels.
        visibility: ids (2H+1, 2W+1), planes and sources from the rasteriser, at least one row of both.
        motions: (I + 1, 12) per placed mesh, and last for the sky: (3 x 4) from this camera's points to the next
            frame's.
        classes: (I + 1,); ``instances`` (I + 1,) likewise.
        instances: as above.
        out: depth m, NaN in the sky; semantic; instance; flow (H, W, 2) px, NaN where the point goes behind the camera.
    """
    height, width = out[0].shape
    if visibility[0].shape != (2 * height + 1, 2 * width + 1):
        raise ValueError(f"ids must be {(2 * height + 1, 2 * width + 1)} but got {visibility[0].shape}")
    if not len(motions) == len(classes) == len(instances) or classes[-1] != _SKY_ID:
        raise ValueError(f"the last row must be the sky but of {len(motions)} rows it is of class {classes[-1]}")
    _see(rows[0], rows[1], camera, *visibility, motions, classes, instances, *out)


@njit(
    "void(int64, int64, int64, uint8, int32[::1], float32[::1], uint8[:,::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _mark(start, stop, row0, class_id, pixels, shares, semantic):  # type: ignore[no-untyped-def]
    flat = semantic[row0:].reshape(-1)
    for i in range(start, stop):
        if shares[i] > 0.5 and pixels[i] & 1:
            flat[pixels[i] >> 1] = class_id


def mark(
    span: tuple[int, int],
    row0: int,
    class_id: int,
    pixels: npt.NDArray[np.int32],
    shares: npt.NDArray[np.float32],
    semantic: npt.NDArray[np.uint8],
) -> None:
    """Gives pixels another class where their centre's fragment is painted by more than half.

    Args:
        span: fragments.
        row0: the row that pixels are counted from.
        class_id: to write.
        pixels: (N,) from ``collect``.
        shares: (N,) painted share, 0 ... 1.
        semantic: (H, W) written.
    """
    _mark(span[0], span[1], row0, class_id, pixels, shares, semantic)
