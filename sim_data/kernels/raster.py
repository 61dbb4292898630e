"""Triangles to visibility: which triangle a sample sees, and how near it is.

Two steps. ``setup_triangles`` takes the triangles of placed meshes into a view (pinhole or orthographic), clips them at
the near plane and writes, for each that may be seen, its edge functions and the planes of inverse depth and texture
coordinates over the sample grid. ``rasterise`` fills a band of rows of the z-buffer from them; bands share nothing, so
threads may fill them side by side and the result does not depend on how many there are.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from sim_data.kernels.simd import part, vector_kernel

__all__ = ["FLAG_MASKED", "FLAG_TWO_SIDED", "SETUP_COLUMNS", "rasterise", "setup_triangles"]

FLAG_TWO_SIDED = 1
FLAG_MASKED = 2  # a sample counts only where the mask texture is opaque; the mask layer lies in bits 4 and up

SETUP_COLUMNS = 18  # three edges (A, B, C), then the planes of inverse depth, u * inverse depth, v * inverse depth
_NEAR_M = 0.08
_BLOCK = 16  # samples on a side, in which triangles behind all that is drawn are left out
_PATIENCE = 8  # triangles drawn in a block before it is looked through again


@njit(cache=True, nogil=True, error_model="numpy")
def _plane(x0, y0, f0, x1, y1, f1, x2, y2, f2, inverse_area, out, column):  # type: ignore[no-untyped-def]
    a = ((f1 - f0) * (y2 - y0) - (f2 - f0) * (y1 - y0)) * inverse_area
    b = ((f2 - f0) * (x1 - x0) - (f1 - f0) * (x2 - x0)) * inverse_area
    out[column] = a
    out[column + 1] = b
    out[column + 2] = f0 - a * x0 - b * y0


@njit(
    "int64(float32[:,:,::1], float32[:,::1], uint8[::1], int64[::1], int64[::1], float64[:,:,::1], float64[:,::1], "
    "float64[::1], boolean, float64[:,::1], int32[:,::1], int32[:,::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _setup(  # type: ignore[no-untyped-def]
    vertices, attributes, flags, first, last, view_L_local, view_t_local, view, orthographic, planes, boxes, sources
):
    fx, fy, cx, cy, width, height = view[0], view[1], view[2], view[3], view[4], view[5]
    capacity = planes.shape[0]
    count = 0
    clipped = np.empty((4, 5))
    local = np.empty((3, 5))
    for instance in range(first.shape[0]):
        rotation = view_L_local[instance]
        r00, r01, r02 = rotation[0, 0], rotation[0, 1], rotation[0, 2]
        r10, r11, r12 = rotation[1, 0], rotation[1, 1], rotation[1, 2]
        r20, r21, r22 = rotation[2, 0], rotation[2, 1], rotation[2, 2]
        t0, t1, t2 = view_t_local[instance, 0], view_t_local[instance, 1], view_t_local[instance, 2]
        for triangle in range(first[instance], last[instance]):
            behind = 0
            for k in range(3):
                x = vertices[triangle, k, 0]
                y = vertices[triangle, k, 1]
                z = vertices[triangle, k, 2]
                local[k, 0] = r00 * x + r01 * y + r02 * z + t0
                local[k, 1] = r10 * x + r11 * y + r12 * z + t1
                local[k, 2] = r20 * x + r21 * y + r22 * z + t2
                if local[k, 2] < _NEAR_M:
                    behind += 1
            if behind == 3:
                continue
            masked = flags[triangle] & FLAG_MASKED
            if masked:
                for k in range(3):
                    x = vertices[triangle, k, 0]
                    y = vertices[triangle, k, 1]
                    z = vertices[triangle, k, 2]
                    for c in range(2):
                        base = 12 + 4 * c
                        local[k, 3 + c] = (
                            attributes[triangle, base] * x
                            + attributes[triangle, base + 1] * y
                            + attributes[triangle, base + 2] * z
                            + attributes[triangle, base + 3]
                        )
            corners = 0
            if behind == 0:
                for k in range(3):
                    for c in range(5):
                        clipped[k, c] = local[k, c]
                corners = 3
            else:
                for k in range(3):
                    n = (k + 1) % 3
                    here, there = local[k, 2], local[n, 2]
                    if here >= _NEAR_M:
                        for c in range(5):
                            clipped[corners, c] = local[k, c]
                        corners += 1
                    if (here >= _NEAR_M) != (there >= _NEAR_M):
                        share = (_NEAR_M - here) / (there - here)
                        for c in range(5):
                            clipped[corners, c] = local[k, c] + share * (local[n, c] - local[k, c])
                        corners += 1
            for fan in range(corners - 2):
                second, third = fan + 1, fan + 2
                if orthographic:
                    x0, y0 = fx * clipped[0, 0] + cx, fy * clipped[0, 1] + cy
                    x1, y1 = fx * clipped[second, 0] + cx, fy * clipped[second, 1] + cy
                    x2, y2 = fx * clipped[third, 0] + cx, fy * clipped[third, 1] + cy
                    w0, w1, w2 = 1.0e4 - clipped[0, 2], 1.0e4 - clipped[second, 2], 1.0e4 - clipped[third, 2]
                else:
                    w0, w1, w2 = 1.0 / clipped[0, 2], 1.0 / clipped[second, 2], 1.0 / clipped[third, 2]
                    x0, y0 = fx * clipped[0, 0] * w0 + cx, fy * clipped[0, 1] * w0 + cy
                    x1, y1 = fx * clipped[second, 0] * w1 + cx, fy * clipped[second, 1] * w1 + cy
                    x2, y2 = fx * clipped[third, 0] * w2 + cx, fy * clipped[third, 1] * w2 + cy
                left, right = min(x0, x1, x2), max(x0, x1, x2)
                top, bottom = min(y0, y1, y2), max(y0, y1, y2)
                if right < 0 or bottom < 0 or left > width - 1 or top > height - 1:
                    continue
                area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
                if area == 0.0:
                    continue
                # outward normals turn clockwise on a screen whose v grows downwards
                if area > 0 and not (flags[triangle] & FLAG_TWO_SIDED):
                    continue
                column0, column1 = np.ceil(max(left, 0.0)), np.floor(min(right, width - 1.0))
                row0, row1 = np.ceil(max(top, 0.0)), np.floor(min(bottom, height - 1.0))
                if column0 > column1 or row0 > row1:
                    continue  # falls between the samples
                if count >= capacity:
                    count += 1
                    continue
                out = planes[count]
                side = 1.0 if area > 0 else -1.0
                out[0], out[1] = side * (y0 - y1), side * (x1 - x0)
                out[2] = -(out[0] * x0 + out[1] * y0)
                out[3], out[4] = side * (y1 - y2), side * (x2 - x1)
                out[5] = -(out[3] * x1 + out[4] * y1)
                out[6], out[7] = side * (y2 - y0), side * (x0 - x2)
                out[8] = -(out[6] * x2 + out[7] * y2)
                inverse_area = 1.0 / area
                _plane(x0, y0, w0, x1, y1, w1, x2, y2, w2, inverse_area, out, 9)
                if masked:
                    p0, p1, p2 = (1.0, 1.0, 1.0) if orthographic else (w0, w1, w2)
                    for c in range(2):
                        _plane(
                            x0, y0, clipped[0, 3 + c] * p0, x1, y1, clipped[second, 3 + c] * p1,
                            x2, y2, clipped[third, 3 + c] * p2, inverse_area, out, 12 + 3 * c,
                        )  # fmt: skip
                boxes[count, 0], boxes[count, 1] = int(column0), int(row0)
                boxes[count, 2], boxes[count, 3] = int(column1), int(row1)
                sources[count, 0], sources[count, 1] = triangle, instance
                count += 1
    return count


@part
def _edge(a, b, c):  # type: ignore[no-untyped-def]
    """Factors and constants over y of where ``a x + b y + c >= 0`` begins, where it ends, and what must be positive."""
    inverse = 1.0 / a if a != 0.0 else 0.0
    from_, to = -b * inverse, -c * inverse
    begins, ends = a > 0.0, a < 0.0
    return (
        from_ if begins else 0.0,
        to - 1e-7 if begins else -1e9,
        from_ if ends else 0.0,
        to + 1e-7 if ends else 1e9,
        0.0 if begins or ends else b,
        0.0 if begins or ends else c,
    )


@vector_kernel(
    "void(float64[:,::1], int32[:,::1], int32[:,::1], int64, uint8[::1], uint8[:,:,::1], boolean, int64, int64, "
    "float32[:,::1], int32[:,::1])"
)
def _rasterise(planes, boxes, sources, count, flags, masks, orthographic, band0, band1, nearness, ids):  # type: ignore[no-untyped-def]
    nearness[band0:band1] = 0.0
    named = ids.shape[0] > 0
    if named:
        ids[band0:band1] = -1
    size = masks.shape[1]
    wrap = np.int32(size - 1)
    # the farthest sample of each block as of its last look, and how many triangles have been drawn there since
    blocks = (nearness.shape[1] + _BLOCK - 1) // _BLOCK
    farthest = np.zeros(((band1 - band0 + _BLOCK - 1) // _BLOCK, blocks), np.int32)
    drawn = np.zeros(farthest.shape, np.int32)
    # numbers that are not negative are in the order of their bits, and integers compare faster
    bits = nearness.view(np.int32)
    # what hides most is drawn first: triangles with holes come last
    for turn in range(2):
        for row in range(count):
            top = max(boxes[row, 1], band0)
            bottom = min(boxes[row, 3], band1 - 1)
            if top > bottom:
                continue
            flag = flags[sources[row, 0]]
            masked = (flag & FLAG_MASKED) != 0
            if masked != (turn == 1):
                continue
            layer = flag >> 4
            left, right = boxes[row, 0], boxes[row, 2]
            plane = planes[row]
            slope, steep, constant = plane[9], plane[10], plane[11]
            across = max(slope * left, slope * right) + constant
            number = np.int32(row)
            mask = masks[layer]
            # where each edge starts or ends a line
            l0, m0, h0, n0, f0, g0 = _edge(plane[0], plane[1], plane[2])
            l1, m1, h1, n1, f1, g1 = _edge(plane[3], plane[4], plane[5])
            l2, m2, h2, n2, f2, g2 = _edge(plane[6], plane[7], plane[8])
            for line in range((top - band0) // _BLOCK, (bottom - band0) // _BLOCK + 1):
                y0 = max(top, band0 + line * _BLOCK)
                y1 = min(bottom, band0 + line * _BLOCK + _BLOCK - 1)
                nearest = np.float32(max(across + max(steep * y0, steep * y1), 0.0)).view(np.int32)
                # the blocks in which some of the triangle may be seen
                first, last = blocks, -1
                for block in range(left // _BLOCK, right // _BLOCK + 1):
                    if drawn[line, block] >= _PATIENCE:
                        drawn[line, block] = 0
                        far = np.int32(0x7FFFFFFF)
                        stop_x = min(block * _BLOCK + _BLOCK, nearness.shape[1])
                        for y in range(band0 + line * _BLOCK, min(band0 + line * _BLOCK + _BLOCK, band1)):
                            line_bits = bits[y]
                            for x in range(block * _BLOCK, stop_x):
                                far = min(far, line_bits[np.uint64(x)])
                        farthest[line, block] = far
                    if nearest > farthest[line, block]:
                        drawn[line, block] += 1
                        first, last = min(first, block), block
                if last < 0:
                    continue
                start, stop = float(max(left, first * _BLOCK)), float(min(right, last * _BLOCK + _BLOCK - 1))
                for y in range(y0, y1 + 1):
                    low = max(start, l0 * y + m0, l1 * y + m1, l2 * y + m2)
                    high = min(stop, h0 * y + n0, h1 * y + n1, h2 * y + n2)
                    if low > high or min(f0 * y + g0, f1 * y + g1, f2 * y + g2) < 0.0:
                        continue
                    x0, x1 = int(np.ceil(low)), int(np.floor(high)) + 1
                    base = steep * y + constant
                    near_row = nearness[y]
                    if not (named or masked):
                        for x in range(x0, x1):
                            near = np.float32(base + slope * x)
                            near_row[np.uint64(x)] = max(near, near_row[np.uint64(x)])
                        continue
                    id_row = ids[y] if named else near_row.view(np.int32)
                    if not masked:
                        for x in range(x0, x1):
                            near = np.float32(base + slope * x)
                            seen = near > near_row[np.uint64(x)]
                            near_row[np.uint64(x)] = near if seen else near_row[np.uint64(x)]
                            id_row[np.uint64(x)] = number if seen else id_row[np.uint64(x)]
                        continue
                    while x0 < x1 and np.float32(base + slope * x0) <= near_row[np.uint64(x0)]:
                        x0 += 1
                    base_u, base_v = plane[13] * y + plane[14], plane[16] * y + plane[17]
                    for x in range(x0, x1):
                        exact = base + slope * x
                        depth = 1.0 if orthographic else 1.0 / exact
                        u, v = (plane[12] * x + base_u) * depth, (plane[15] * x + base_v) * depth
                        column = np.int32((u - np.floor(u)) * size) & wrap
                        height = np.int32((v - np.floor(v)) * size) & wrap
                        near = np.float32(exact)
                        opaque = mask[np.uint32(height), np.uint32(column)] >= 128
                        seen = opaque & (near > near_row[np.uint64(x)])
                        near_row[np.uint64(x)] = near if seen else near_row[np.uint64(x)]
                        if named:
                            id_row[np.uint64(x)] = number if seen else id_row[np.uint64(x)]


def setup_triangles(
    vertices: npt.NDArray[np.float32],
    attributes: npt.NDArray[np.float32],
    flags: npt.NDArray[np.uint8],
    first: npt.NDArray[np.int64],
    last: npt.NDArray[np.int64],
    view_L_local: npt.NDArray[np.float64],
    view_t_local: npt.NDArray[np.float64],
    view: npt.NDArray[np.float64],
    orthographic: bool,
    planes: npt.NDArray[np.float64],
    boxes: npt.NDArray[np.int32],
    sources: npt.NDArray[np.int32],
) -> int:
    """Takes placed triangles into a view and writes those that may be seen.

    Args:
        vertices: (T, 3, 3) corners in the mesh's own frame, m, counter-clockwise from outside.
        attributes: (T, 20) affine functions of the local position: normal (3 x 4), u (4), v (4).
        flags: (T,) ``FLAG_*`` bits, mask layer in bits 4 and up.
        first: (I,) first triangle of each placed mesh; ``last`` one past its last.
        last: (I,).
        view_L_local: (I, 3, 3) linear part from the mesh's frame to the view's (rotation times scale).
        view_t_local: (I, 3) m.
        view: (6,) fx, fy, cx, cy, width, height of the sample grid; for an orthographic view samples per metre.
        orthographic: whether rays are parallel.
        planes: (M, 18) written; ``boxes`` (M, 4) and ``sources`` (M, 2: triangle, placed mesh) likewise.
        boxes: written: first column, first row, last column, last row.
        sources: written.

    Returns:
        How many triangles there are; more than M when the arrays are too short, whose content is then incomplete.
    """
    if planes.shape[1:] != (SETUP_COLUMNS,) or not len(planes) == len(boxes) == len(sources):
        raise ValueError(f"setup arrays must be (M, {SETUP_COLUMNS}), (M, 4), (M, 2) but got {planes.shape}")
    return int(
        _setup(
            vertices, attributes, flags, first, last, view_L_local, view_t_local, view, orthographic, planes, boxes,
            sources,
        )
    )  # fmt: skip


def rasterise(
    planes: npt.NDArray[np.float64],
    boxes: npt.NDArray[np.int32],
    sources: npt.NDArray[np.int32],
    count: int,
    flags: npt.NDArray[np.uint8],
    masks: npt.NDArray[np.uint8],
    orthographic: bool,
    band: tuple[int, int],
    nearness: npt.NDArray[np.float32],
    ids: npt.NDArray[np.int32],
) -> None:
    """Clears and fills rows ``band[0] <= y < band[1]`` of the z-buffer.

    Args:
        planes: from ``setup_triangles``, like ``boxes``, ``sources`` and ``count``.
        boxes: as above.
        sources: as above.
        count: rows of ``planes`` in use.
        flags: (T,) of the mesh triangles.
        masks: (L, S, S) opacity textures of masked triangles, S a power of two.
        orthographic: as in ``setup_triangles``.
        band: rows to fill.
        nearness: (H, W) written: inverse depth (1/m), or 10000 m minus depth when orthographic; 0 where nothing is.
        ids: (H, W) written: row of ``planes``, -1 where nothing is; of no size where nobody asks.
    """
    if masks.shape[1] & (masks.shape[1] - 1):
        raise ValueError(f"masks must have a power of two as size but got {masks.shape}")
    if ids.shape not in (nearness.shape, (0, 0)) or not 0 <= band[0] <= band[1] <= len(nearness):
        raise ValueError(f"band {band} must lie in both buffers but they are {nearness.shape} and {ids.shape}")
    _rasterise(planes, boxes, sources, count, flags, masks, orthographic, band[0], band[1], nearness, ids)
