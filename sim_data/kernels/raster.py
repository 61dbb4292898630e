"""Triangles to visibility: which triangle a sample sees, and how near it is.

Two steps. ``setup_triangles`` takes the triangles of placed meshes into a view (pinhole or orthographic), clips them at
the near plane and writes, for each that may be seen, its edge functions and the planes of inverse depth and texture
coordinates over the sample grid. ``rasterise`` fills a band of rows of the z-buffer from them; bands share nothing, so
threads may fill them side by side and the result does not depend on how many there are. Both steps share the columns of
a set-up triangle, and kernel files do not import one another, so they are one file although it is long.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from sim_data.kernels.simd import part, vector_kernel

__all__ = [
    "FLAG_MASKED",
    "FLAG_TWO_SIDED",
    "SETUP_COLUMNS",
    "count_whole",
    "pack_masks",
    "rasterise",
    "setup_triangles",
]

FLAG_TWO_SIDED = 1
FLAG_MASKED = 2  # a sample counts only where the mask texture is opaque; the mask layer lies in bits 4 and up

SETUP_COLUMNS = 18  # three edges (A, B, C), then the planes of inverse depth, u * inverse depth, v * inverse depth
_NEAR_M = 0.08
_BLOCK = 16  # samples on a side, in which triangles behind all that is drawn are left out
_F, _I = np.float32, np.int32
_LANES, _LONG = 8, 40
_PATIENCE = 8  # triangles drawn in a block before it is looked through again


@part
def _plane(x0, y0, f0, x1, y1, f1, x2, y2, f2, inverse_area, out, column):  # type: ignore[no-untyped-def]
    a = ((f1 - f0) * (y2 - y0) - (f2 - f0) * (y1 - y0)) * inverse_area
    b = ((f2 - f0) * (x1 - x0) - (f1 - f0) * (x2 - x0)) * inverse_area
    out[column] = a
    out[column + 1] = b
    out[column + 2] = f0 - a * x0 - b * y0


@part
def _texture_at(attributes, triangle, c, x, y, z):  # type: ignore[no-untyped-def]
    base = 12 + 4 * c
    return (
        attributes[triangle, base] * x
        + attributes[triangle, base + 1] * y
        + attributes[triangle, base + 2] * z
        + attributes[triangle, base + 3]
    )


@part
def _write(x0, y0, w0, x1, y1, w1, x2, y2, w2, width, height, two_sided, plane, box):  # type: ignore[no-untyped-def]
    """Edges, inverse depth and bounds of a triangle; 0 where no sample can see it, else 1 over twice its area."""
    left, right = min(x0, x1, x2), max(x0, x1, x2)
    top, bottom = min(y0, y1, y2), max(y0, y1, y2)
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    column0, column1 = np.ceil(max(left, 0.0)), np.floor(min(right, width - 1.0))
    row0, row1 = np.ceil(max(top, 0.0)), np.floor(min(bottom, height - 1.0))
    # outward normals turn clockwise on a screen whose v grows downwards; and some fall between the samples
    if area == 0.0 or (area > 0 and not two_sided) or column0 > column1 or row0 > row1:
        return 0.0
    side = 1.0 if area > 0 else -1.0
    plane[0], plane[1] = side * (y0 - y1), side * (x1 - x0)
    plane[2] = -(plane[0] * x0 + plane[1] * y0)
    plane[3], plane[4] = side * (y1 - y2), side * (x2 - x1)
    plane[5] = -(plane[3] * x1 + plane[4] * y1)
    plane[6], plane[7] = side * (y2 - y0), side * (x0 - x2)
    plane[8] = -(plane[6] * x2 + plane[7] * y2)
    inverse_area = 1.0 / area
    _plane(x0, y0, w0, x1, y1, w1, x2, y2, w2, inverse_area, plane, 9)
    box[0], box[1], box[2], box[3] = int(column0), int(row0), int(column1), int(row1)
    return inverse_area


@njit(
    "int64(float32[:,:,::1], float32[:,::1], float32[:,::1], uint8[::1], int64[::1], int64[::1], float64[:,:,::1], "
    "float64[:,::1], float64[::1], boolean, int64, int64, float64[:,::1], int32[:,::1], int32[:,::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _setup(  # type: ignore[no-untyped-def]
    vertices, faces, attributes, flags, first, last, view_L_local, view_t_local, view, orthographic, count, number,
    planes, boxes, sources,
):  # fmt: skip
    fx, fy, cx, cy, width, height = view[0], view[1], view[2], view[3], view[4], view[5]
    capacity = planes.shape[0]
    clipped = np.empty((4, 5))
    local = np.empty((3, 5))
    # a triangle that does not fit is written here and forgotten
    spare, spare_box = np.empty(SETUP_COLUMNS), np.empty(4, np.int32)
    for instance in range(first.shape[0]):
        rotation = view_L_local[instance]
        r00, r01, r02 = rotation[0, 0], rotation[0, 1], rotation[0, 2]
        r10, r11, r12 = rotation[1, 0], rotation[1, 1], rotation[1, 2]
        r20, r21, r22 = rotation[2, 0], rotation[2, 1], rotation[2, 2]
        t0, t1, t2 = view_t_local[instance, 0], view_t_local[instance, 1], view_t_local[instance, 2]
        # where the eye is in the mesh's frame, or which way parallel rays go there: adjugate over determinant
        c00, c01, c02 = r11 * r22 - r12 * r21, r02 * r21 - r01 * r22, r01 * r12 - r02 * r11
        c10, c11, c12 = r12 * r20 - r10 * r22, r00 * r22 - r02 * r20, r02 * r10 - r00 * r12
        c20, c21, c22 = r10 * r21 - r11 * r20, r01 * r20 - r00 * r21, r00 * r11 - r01 * r10
        determinant = r00 * c00 + r01 * c10 + r02 * c20
        inverse = 1.0 / determinant if determinant > 0.0 else 0.0
        if orthographic:
            px, py, pz, point = -c02 * inverse, -c12 * inverse, -c22 * inverse, 0.0
        else:
            px = -(c00 * t0 + c01 * t1 + c02 * t2) * inverse
            py = -(c10 * t0 + c11 * t1 + c12 * t2) * inverse
            pz = -(c20 * t0 + c21 * t1 + c22 * t2) * inverse
            point = 1.0
        slack = -1e-4 * (1.0 + abs(px) + abs(py) + abs(pz))
        for triangle in range(first[instance], last[instance]):
            face = faces[triangle]
            away = face[0] * px + face[1] * py + face[2] * pz + face[3] * point < slack
            if away and inverse > 0.0 and not (flags[triangle] & FLAG_TWO_SIDED):
                continue  # what is nearly edge-on is decided on the screen
            corner = vertices[triangle]
            ax, ay, az = corner[0, 0], corner[0, 1], corner[0, 2]
            bx, by, bz = corner[1, 0], corner[1, 1], corner[1, 2]
            ex, ey, ez = corner[2, 0], corner[2, 1], corner[2, 2]
            z0 = r20 * ax + r21 * ay + r22 * az + t2
            z1 = r20 * bx + r21 * by + r22 * bz + t2
            z2 = r20 * ex + r21 * ey + r22 * ez + t2
            behind = int(z0 < _NEAR_M) + int(z1 < _NEAR_M) + int(z2 < _NEAR_M)
            if behind == 3:
                continue
            two_sided = (flags[triangle] & FLAG_TWO_SIDED) != 0
            masked = (flags[triangle] & FLAG_MASKED) != 0
            x0 = r00 * ax + r01 * ay + r02 * az + t0
            x1 = r00 * bx + r01 * by + r02 * bz + t0
            x2 = r00 * ex + r01 * ey + r02 * ez + t0
            y0 = r10 * ax + r11 * ay + r12 * az + t1
            y1 = r10 * bx + r11 * by + r12 * bz + t1
            y2 = r10 * ex + r11 * ey + r12 * ez + t1
            corners = 3
            if behind > 0:
                local[0, 0], local[0, 1], local[0, 2] = x0, y0, z0
                local[1, 0], local[1, 1], local[1, 2] = x1, y1, z1
                local[2, 0], local[2, 1], local[2, 2] = x2, y2, z2
                if masked:
                    for c in range(2):
                        for k in range(3):
                            local[k, 3 + c] = _texture_at(
                                attributes, triangle, c, corner[k, 0], corner[k, 1], corner[k, 2]
                            )
                corners = 0
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
                if behind > 0:
                    x0, y0, z0 = clipped[0, 0], clipped[0, 1], clipped[0, 2]
                    x1, y1, z1 = clipped[second, 0], clipped[second, 1], clipped[second, 2]
                    x2, y2, z2 = clipped[third, 0], clipped[third, 1], clipped[third, 2]
                if orthographic:
                    x0, y0, w0 = fx * x0 + cx, fy * y0 + cy, 1.0e4 - z0
                    x1, y1, w1 = fx * x1 + cx, fy * y1 + cy, 1.0e4 - z1
                    x2, y2, w2 = fx * x2 + cx, fy * y2 + cy, 1.0e4 - z2
                else:
                    w0, w1, w2 = 1.0 / z0, 1.0 / z1, 1.0 / z2
                    x0, y0 = fx * x0 * w0 + cx, fy * y0 * w0 + cy
                    x1, y1 = fx * x1 * w1 + cx, fy * y1 * w1 + cy
                    x2, y2 = fx * x2 * w2 + cx, fy * y2 * w2 + cy
                fits = count < capacity
                out = planes[count] if fits else spare
                inverse_area = _write(
                    x0, y0, w0, x1, y1, w1, x2, y2, w2, width, height, two_sided, out,
                    boxes[count] if fits else spare_box,
                )  # fmt: skip
                if inverse_area == 0.0:
                    continue
                if masked and fits:
                    p0, p1, p2 = (1.0, 1.0, 1.0) if orthographic else (w0, w1, w2)
                    for c in range(2):
                        if behind > 0:
                            f0, f1, f2 = clipped[0, 3 + c], clipped[second, 3 + c], clipped[third, 3 + c]
                        else:
                            f0 = _texture_at(attributes, triangle, c, ax, ay, az)
                            f1 = _texture_at(attributes, triangle, c, bx, by, bz)
                            f2 = _texture_at(attributes, triangle, c, ex, ey, ez)
                        _plane(x0, y0, f0 * p0, x1, y1, f1 * p1, x2, y2, f2 * p2, inverse_area, out, 12 + 3 * c)
                if fits:
                    sources[count, 0], sources[count, 1] = triangle, number + instance
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


@part
def _filled(mask, width, size, u, v):  # type: ignore[no-untyped-def]
    """Whether an opacity texture is opaque at u, v."""
    column = _I((u - np.floor(u)) * size) & _I(width - _I(1))
    row = _I((v - np.floor(v)) * size) & _I(width - _I(1))
    place = _I(_I(row * width) + column)
    return (mask[np.uint32(place >> _I(5))] >> (place & _I(31))) & _I(1) != _I(0)


@vector_kernel(
    "void(float64[:,::1], int32[:,::1], int32[:,::1], int64, int64, uint8[::1], int32[:,::1], boolean, int64, int64, "
    "float32[:,::1], int32[:,::1])"
)
def _rasterise(planes, boxes, sources, start_row, count, flags, masks, orthographic, band0, band1, nearness, ids):  # type: ignore[no-untyped-def]
    named = ids.shape[0] > 0
    if start_row == 0:
        nearness[band0:band1] = 0.0
        if named:
            ids[band0:band1] = -1
    width = _I(round(np.sqrt(32.0 * masks.shape[1])))
    size = _F(width)
    limit = nearness.shape[1] - _LANES
    # the farthest sample of each block as of its last look, and how many triangles have been drawn there since
    blocks = (nearness.shape[1] + _BLOCK - 1) // _BLOCK
    farthest = np.zeros(((band1 - band0 + _BLOCK - 1) // _BLOCK, blocks), np.int32)
    drawn = np.full(farthest.shape, 0 if start_row == 0 else _PATIENCE, np.int32)
    # numbers that are not negative are in the order of their bits, and integers compare faster
    bits = nearness.view(np.int32)
    # what hides most is drawn first: triangles with holes come last
    for turn in range(2):
        for row in range(start_row, count):
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
            step_u, step_v = _F(plane[12]), _F(plane[15])
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
                    # counted from the line's start, where 32 bits are exact enough to find a texel
                    begin = float(x0)
                    near0, step = _F(base + slope * begin), _F(slope)
                    u0 = _F(plane[12] * begin + plane[13] * y + plane[14])
                    v0 = _F(plane[15] * begin + plane[16] * y + plane[17])
                    # by eight, since most lines are too short for the vector code of a loop of unknown length; and four
                    # loops, since one with a choice in it would not become vector code at all
                    if named and not masked and x1 - x0 > _LONG:
                        id_row = ids[y]
                        for x in range(x0, x1):
                            near, old = near0 + step * _F(_I(x - x0)), near_row[np.uint64(x)]
                            near_row[np.uint64(x)] = near if near > old else old
                            id_row[np.uint64(x)] = number if near > old else id_row[np.uint64(x)]
                        continue
                    for chunk in range(x0, x1, _LANES):
                        first = min(chunk, limit)
                        if named:
                            id_row = ids[y]
                            if not masked:
                                for lane in range(_LANES):
                                    x = first + lane
                                    near, old = near0 + step * _F(_I(x - x0)), near_row[np.uint64(x)]
                                    seen = (near > old) & (x >= x0) & (x < x1)
                                    near_row[np.uint64(x)] = near if seen else old
                                    id_row[np.uint64(x)] = number if seen else id_row[np.uint64(x)]
                                continue
                            for lane in range(_LANES):
                                x = first + lane
                                along = _F(_I(x - x0))
                                near, old = near0 + step * along, near_row[np.uint64(x)]
                                depth = _F(1.0) if orthographic else _F(1.0) / near
                                u, v = (u0 + step_u * along) * depth, (v0 + step_v * along) * depth
                                seen = _filled(mask, width, size, u, v) & (near > old) & (x >= x0) & (x < x1)
                                near_row[np.uint64(x)] = near if seen else old
                                id_row[np.uint64(x)] = number if seen else id_row[np.uint64(x)]
                            continue
                        if not masked:
                            for lane in range(_LANES):
                                x = first + lane
                                near, old = near0 + step * _F(_I(x - x0)), near_row[np.uint64(x)]
                                near_row[np.uint64(x)] = near if (near > old) & (x >= x0) & (x < x1) else old
                            continue
                        for lane in range(_LANES):
                            x = first + lane
                            along = _F(_I(x - x0))
                            near, old = near0 + step * along, near_row[np.uint64(x)]
                            depth = _F(1.0) if orthographic else _F(1.0) / near
                            u, v = (u0 + step_u * along) * depth, (v0 + step_v * along) * depth
                            seen = _filled(mask, width, size, u, v) & (near > old) & (x >= x0) & (x < x1)
                            near_row[np.uint64(x)] = near if seen else old


@njit(
    "void(float64[:,::1], int32[:,::1], int32[:,::1], uint8[::1], int32[:,::1], int64[::1], int64[::1], int64[::1], "
    "uint8[:,::1], int64[::1])",
    cache=True,
    nogil=True,
    error_model="numpy",
)
def _count_whole(planes, boxes, sources, flags, masks, first, last, groups, covered, counts):  # type: ignore[no-untyped-def]
    width = _I(round(np.sqrt(32.0 * masks.shape[1])))
    size = _F(width)
    height, columns = covered.shape
    k = 0
    while k < len(first):
        group = groups[k]
        left, top, right, bottom = columns, height, -1, -1
        while k < len(first) and groups[k] == group:
            for row in range(first[k], last[k]):
                plane = planes[row]
                flag = flags[sources[row, 0]]
                masked, mask = (flag & FLAG_MASKED) != 0, masks[flag >> 4]
                l0, m0, h0, n0, f0, g0 = _edge(plane[0], plane[1], plane[2])
                l1, m1, h1, n1, f1, g1 = _edge(plane[3], plane[4], plane[5])
                l2, m2, h2, n2, f2, g2 = _edge(plane[6], plane[7], plane[8])
                # pixel centres are the odd samples
                y0, y1 = boxes[row, 1] // 2, (boxes[row, 3] - 1) // 2
                for line in range(y0, min(y1, height - 1) + 1):
                    y = 2.0 * line + 1.0
                    low = max(float(boxes[row, 0]), l0 * y + m0, l1 * y + m1, l2 * y + m2)
                    high = min(float(boxes[row, 2]), h0 * y + n0, h1 * y + n1, h2 * y + n2)
                    if low > high or min(f0 * y + g0, f1 * y + g1, f2 * y + g2) < 0.0:
                        continue
                    x0 = int(np.ceil(0.5 * (low - 1.0)))
                    x1 = min(int(np.floor(0.5 * (high - 1.0))) + 1, columns)
                    if x0 >= x1:
                        continue
                    left, right = min(left, x0), max(right, x1 - 1)
                    top, bottom = min(top, line), max(bottom, line)
                    out = covered[line]
                    if not masked:
                        out[x0:x1] = 1
                        continue
                    for x in range(x0, x1):
                        at = 2.0 * x + 1.0
                        depth = 1.0 / (plane[9] * at + plane[10] * y + plane[11])
                        u = _F((plane[12] * at + plane[13] * y + plane[14]) * depth)
                        v = _F((plane[15] * at + plane[16] * y + plane[17]) * depth)
                        if _filled(mask, width, size, u, v):
                            out[x] = 1
            k += 1
        total = 0
        for line in range(top, bottom + 1):
            for x in range(left, right + 1):
                total += covered[line, x]
                covered[line, x] = 0
        counts[group] = total


def count_whole(
    planes: npt.NDArray[np.float64],
    boxes: npt.NDArray[np.int32],
    sources: npt.NDArray[np.int32],
    flags: npt.NDArray[np.uint8],
    masks: npt.NDArray[np.int32],
    rows: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]],
    groups: npt.NDArray[np.int64],
    size: tuple[int, int],
) -> npt.NDArray[np.int64]:
    """Pixels that objects would have in a pinhole view if nothing stood before them.

    Args:
        planes: from ``setup_triangles``, over samples of which the odd ones are pixel centres; likewise the next two.
        boxes: as above.
        sources: as above.
        flags: (T,) of the mesh triangles; ``masks`` from ``pack_masks``.
        masks: as above.
        rows: (D,) first rows of ``planes`` of each placed mesh and (D,) one past the last.
        groups: (D,) objects that they are parts of, ascending from 0.
        size: height and width of the picture, px.

    Returns:
        (groups,) numbers of pixels.
    """
    counts = np.zeros(int(groups[-1]) + 1 if len(groups) else 0, np.int64)
    covered = np.zeros(size, np.uint8)
    _count_whole(planes, boxes, sources, flags, masks, *rows, groups, covered, counts)
    return counts


def pack_masks(masks: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Opacity textures (L, S, S), opaque from 128 on, as ``rasterise`` reads them: (L, S * S / 32), a bit each.

    S is a power of two, and at least 8.
    """
    if (
        masks.ndim != 3
        or masks.shape[1] != masks.shape[2]
        or masks.shape[1] < 8
        or masks.shape[1] & (masks.shape[1] - 1)
    ):
        raise ValueError(f"masks must be (L, S, S) with a power of two from 8 on as S but got {masks.shape}")
    bits = np.packbits((masks >= 128).reshape(len(masks), -1), axis=1, bitorder="little")
    return bits.view("<i4").astype(np.int32)


def setup_triangles(
    vertices: npt.NDArray[np.float32],
    faces: npt.NDArray[np.float32],
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
    begun: tuple[int, int] = (0, 0),
) -> int:
    """Takes placed triangles into a view and writes those that may be seen.

    Args:
        vertices: (T, 3, 3) corners in the mesh's own frame, m, counter-clockwise from outside.
        faces: (T, 4) outward unit normal and constant, so that both give the distance before a face, m.
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
        begun: rows that hold triangles of earlier placed meshes of the same view, and how many meshes those are.

    Returns:
        How many triangles there are, earlier ones included; more than M when the arrays are too short, whose content is
        then incomplete.
    """
    if planes.shape[1:] != (SETUP_COLUMNS,) or not len(planes) == len(boxes) == len(sources):
        raise ValueError(f"setup arrays must be (M, {SETUP_COLUMNS}), (M, 4), (M, 2) but got {planes.shape}")
    return int(
        _setup(
            vertices, faces, attributes, flags, first, last, view_L_local, view_t_local, view, orthographic, *begun,
            planes, boxes, sources,
        )
    )  # fmt: skip


def rasterise(
    planes: npt.NDArray[np.float64],
    boxes: npt.NDArray[np.int32],
    sources: npt.NDArray[np.int32],
    count: int,
    flags: npt.NDArray[np.uint8],
    masks: npt.NDArray[np.int32],
    orthographic: bool,
    band: tuple[int, int],
    nearness: npt.NDArray[np.float32],
    ids: npt.NDArray[np.int32],
    begun: int = 0,
) -> None:
    """Clears and fills rows ``band[0] <= y < band[1]`` of the z-buffer.

    Args:
        planes: from ``setup_triangles``, like ``boxes``, ``sources`` and ``count``.
        boxes: as above.
        sources: as above.
        count: rows of ``planes`` in use.
        flags: (T,) of the mesh triangles.
        masks: opacity textures of masked triangles, from ``pack_masks``.
        orthographic: as in ``setup_triangles``.
        band: rows to fill.
        nearness: (H, W) written: inverse depth (1/m), or 10000 m minus depth when orthographic; 0 where nothing is.
        ids: (H, W) written: row of ``planes``, -1 where nothing is; of no size where nobody asks.
        begun: rows of ``planes`` that are drawn already; with any, nothing is cleared.
    """
    if nearness.shape[1] < _LANES:
        raise ValueError(f"a view must be at least {_LANES} samples wide but got {nearness.shape}")
    if ids.shape not in (nearness.shape, (0, 0)) or not 0 <= band[0] <= band[1] <= len(nearness):
        raise ValueError(f"band {band} must lie in both buffers but they are {nearness.shape} and {ids.shape}")
    _rasterise(planes, boxes, sources, begun, count, flags, masks, orthographic, band[0], band[1], nearness, ids)
