"""Scan registration against a hashed voxel map of Gaussians.

Each voxel of the map keeps the mean and scatter of the points that fell into it. A scan is aligned by Gauss-Newton on
the Mahalanobis distance between its points and the voxels they fall next to, weighted by a Geman-McClure kernel. The
form follows normal-distributions transforms (Magnusson, 2009) and voxelized GICP (Koide et al., ICRA 2021).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

__all__ = ["VoxelGaussians", "voxel_sample"]

_EMPTY = np.int64(-1)


@njit("i8(i8, i8, i8)", cache=True, nogil=True, inline="always")
def _key(ix, iy, iz):  # type: ignore[no-untyped-def]
    # 21 bits an axis: a million voxels either way
    return ((ix + 1048576) << 42) | ((iy + 1048576) << 21) | (iz + 1048576)


@njit("i8(i8[::1], i8)", cache=True, nogil=True)
def _find(keys, key):  # type: ignore[no-untyped-def]
    """Slot of ``key``, or of the empty place where it belongs; the table is never full."""
    mask = keys.shape[0] - 1
    # one step of MurmurHash3's finaliser: its factor as a signed number keeps the product inside 64 bits
    mixed = ((key ^ (key >> 29)) & 0xFFFFFFFF) * -0x7A143595 & 0xFFFFFFFF
    slot = (mixed ^ (mixed >> 15)) & mask
    while keys[slot] != -1 and keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@njit("i8(f4[:,::1], f8, f8, i8[::1], i8[::1])", cache=True, nogil=True)
def _voxel_sample(points, voxel_m, max_range_m, keys, chosen):  # type: ignore[no-untyped-def]
    count = 0
    limit = max_range_m * max_range_m
    capacity = keys.shape[0] // 2
    for i in range(points.shape[0]):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        if not (x * x + y * y + z * z <= limit):
            continue
        key = _key(int(np.floor(x / voxel_m)), int(np.floor(y / voxel_m)), int(np.floor(z / voxel_m)))
        slot = _find(keys, key)
        if keys[slot] == -1:
            keys[slot] = key
            chosen[count] = i
            count += 1
            if count >= capacity:
                break
    return count


def voxel_sample(points: npt.NDArray[np.float32], voxel_m: float, max_range_m: float = np.inf) -> npt.NDArray[np.int64]:
    """Indices of the first point in each voxel, points beyond ``max_range_m`` or NaN left out.

    Args:
        points: (P, 3 or more) f32 m.
        voxel_m: edge of a voxel, positive.
        max_range_m: distance from the origin.

    Returns:
        (K,) i64 ascending indices into ``points``.

    Raises:
        ValueError: a shape or the voxel size is wrong.
    """
    points = np.require(points, np.float32, "C")
    if points.ndim != 2 or points.shape[1] < 3:
        raise ValueError(f"points must be (P, 3 or more) but got shape {points.shape}")
    if not voxel_m > 0:
        raise ValueError(f"voxel_m must be positive but got {voxel_m}")
    capacity = 1 << max(4, int(np.ceil(np.log2(max(1, 2 * len(points) + 2)))))
    keys = np.full(capacity, _EMPTY, dtype=np.int64)
    chosen = np.empty(len(points), dtype=np.int64)
    range_m = min(max_range_m, 1e6 * voxel_m)
    count = _voxel_sample(points, voxel_m, range_m, keys, chosen)
    return chosen[:count]


@njit("i8(f4[:,::1], f8[:,::1], f8[::1], f8, i8[::1], f8[:,::1], f8[:,::1], i8)", cache=True, nogil=True)
def _insert(points, rotation, translation, voxel_m, keys, sums, models, used):  # type: ignore[no-untyped-def]
    """Adds points to the voxel statistics; returns the number of voxels in use, or -1 when the table is too full."""
    for i in range(points.shape[0]):
        px, py, pz = points[i, 0], points[i, 1], points[i, 2]
        x = rotation[0, 0] * px + rotation[0, 1] * py + rotation[0, 2] * pz + translation[0]
        y = rotation[1, 0] * px + rotation[1, 1] * py + rotation[1, 2] * pz + translation[1]
        z = rotation[2, 0] * px + rotation[2, 1] * py + rotation[2, 2] * pz + translation[2]
        ix, iy, iz = int(np.floor(x / voxel_m)), int(np.floor(y / voxel_m)), int(np.floor(z / voxel_m))
        slot = _find(keys, _key(ix, iy, iz))
        row = sums[slot]
        models[slot, 0] = 0.0  # to be summarised anew when a scan is aligned
        if keys[slot] == -1:
            if used * 2 >= keys.shape[0]:
                return -1
            keys[slot] = _key(ix, iy, iz)
            used += 1
            row[:] = 0.0
        # within the voxel's own frame, so that sums keep their precision far from the origin
        x -= (ix + 0.5) * voxel_m
        y -= (iy + 0.5) * voxel_m
        z -= (iz + 0.5) * voxel_m
        if row[0] >= 200.0:  # an old average gives way slowly, so that drift does not freeze a blur
            for k in range(10):
                row[k] *= 0.5
        row[0] += 1.0
        row[1] += x
        row[2] += y
        row[3] += z
        row[4] += x * x
        row[5] += x * y
        row[6] += x * z
        row[7] += y * y
        row[8] += y * z
        row[9] += z * z
    return used


@njit("i8(i8[::1], f8[:,::1], f8[::1], f8, f8, i8[::1], f8[:,::1])", cache=True, nogil=True)
def _rehash_near(keys, sums, centre, radius_m, voxel_m, new_keys, new_sums):  # type: ignore[no-untyped-def]
    """Copies the voxels within ``radius_m`` of ``centre`` into an empty table."""
    used = 0
    for old in range(keys.shape[0]):
        key = keys[old]
        if key == -1:
            continue
        x = (((key >> 42) & 0x1FFFFF) - 1048576 + 0.5) * voxel_m - centre[0]
        y = (((key >> 21) & 0x1FFFFF) - 1048576 + 0.5) * voxel_m - centre[1]
        if x * x + y * y > radius_m * radius_m:
            continue
        slot = _find(new_keys, key)
        new_keys[slot] = key
        new_sums[slot] = sums[old]
        used += 1
    return used


@njit("void(f8[::1], f8[::1], f8, f8, f8, f8)", cache=True, nogil=True)
def _summarise(row, model, centre_x, centre_y, centre_z, noise_m):  # type: ignore[no-untyped-def]
    """Writes a voxel's mean and inverse covariance; ``model[0]`` is 1, or -1 for a voxel that says nothing yet."""
    n = row[0]
    model[0] = -1.0
    if n < 4.0:
        return
    mx, my, mz = row[1] / n, row[2] / n, row[3] / n
    cxx = row[4] / n - mx * mx + noise_m * noise_m
    cxy = row[5] / n - mx * my
    cxz = row[6] / n - mx * mz
    cyy = row[7] / n - my * my + noise_m * noise_m
    cyz = row[8] / n - my * mz
    czz = row[9] / n - mz * mz + noise_m * noise_m
    a = cyy * czz - cyz * cyz
    b = cxz * cyz - cxy * czz
    c = cxy * cyz - cxz * cyy
    determinant = cxx * a + cxy * b + cxz * c
    if not determinant > 1e-15:
        return
    inverse = 1.0 / determinant
    model[0] = 1.0
    model[1], model[2], model[3] = mx + centre_x, my + centre_y, mz + centre_z
    model[4], model[5], model[6] = a * inverse, b * inverse, c * inverse
    model[7] = (cxx * czz - cxz * cxz) * inverse
    model[8] = (cxy * cxz - cxx * cyz) * inverse
    model[9] = (cxx * cyy - cxy * cxy) * inverse


@njit("b1(f8[:,::1], f8[::1])", cache=True, nogil=True)
def _solve_spd(matrix, right):  # type: ignore[no-untyped-def]
    """Solves in place by Cholesky; False when the matrix is not positive definite."""
    n = right.shape[0]
    for j in range(n):
        for k in range(j):
            matrix[j, j] -= matrix[j, k] * matrix[j, k]
        if not matrix[j, j] > 1e-12:
            return False
        matrix[j, j] = np.sqrt(matrix[j, j])
        for i in range(j + 1, n):
            for k in range(j):
                matrix[i, j] -= matrix[i, k] * matrix[j, k]
            matrix[i, j] /= matrix[j, j]
    for i in range(n):
        for k in range(i):
            right[i] -= matrix[i, k] * right[k]
        right[i] /= matrix[i, i]
    for i in range(n - 1, -1, -1):
        for k in range(i + 1, n):
            right[i] -= matrix[k, i] * right[k]
        right[i] /= matrix[i, i]
    return True


@njit(
    "f8(f4[:,::1], f8[:,::1], f8[::1], f8, f8, f8, i8, i8[::1], f8[:,::1], f8[:,::1])",
    cache=True,
    nogil=True,
)
def _align(points, rotation, translation, voxel_m, noise_m, gate, iterations, keys, sums, models):  # type: ignore[no-untyped-def]
    """Refines ``rotation`` and ``translation`` in place; returns the weighted mean of the robust kernel, 0 ... 1."""
    hessian = np.empty((6, 6))
    step = np.empty(6)
    score = 0.0
    total = 1e-9
    for _ in range(iterations):
        hessian[:] = 0.0
        step[:] = 0.0
        matched = 0
        score = 0.0
        total = 1e-9
        for i in range(points.shape[0]):
            total += points[i, 3]
            qx = rotation[0, 0] * points[i, 0] + rotation[0, 1] * points[i, 1] + rotation[0, 2] * points[i, 2]
            qy = rotation[1, 0] * points[i, 0] + rotation[1, 1] * points[i, 1] + rotation[1, 2] * points[i, 2]
            qz = rotation[2, 0] * points[i, 0] + rotation[2, 1] * points[i, 1] + rotation[2, 2] * points[i, 2]
            x, y, z = qx + translation[0], qy + translation[1], qz + translation[2]
            fx, fy, fz = x / voxel_m, y / voxel_m, z / voxel_m
            ix, iy, iz = int(np.floor(fx)), int(np.floor(fy)), int(np.floor(fz))
            # the voxel itself and the next ones on the near side of each axis: the 8 whose centres surround the point
            sx = 1 if fx - ix >= 0.5 else -1
            sy = 1 if fy - iy >= 0.5 else -1
            sz = 1 if fz - iz >= 0.5 else -1
            best = gate
            bx = by = bz = 0.0
            a = b = c = d = e = f = 0.0
            for corner in range(8):
                jx = ix + sx * (corner & 1)
                jy = iy + sy * ((corner >> 1) & 1)
                jz = iz + sz * (corner >> 2)
                slot = _find(keys, _key(jx, jy, jz))
                if keys[slot] == -1:
                    continue
                model = models[slot]
                if model[0] == 0.0:
                    _summarise(
                        sums[slot], model, (jx + 0.5) * voxel_m, (jy + 0.5) * voxel_m, (jz + 0.5) * voxel_m, noise_m
                    )
                if model[0] < 0.0:
                    continue
                rx, ry, rz = x - model[1], y - model[2], z - model[3]
                ia, ib, ic, i_d, ie, i_f = model[4], model[5], model[6], model[7], model[8], model[9]
                distance = (
                    ia * rx * rx + i_d * ry * ry + i_f * rz * rz + 2.0 * (ib * rx * ry + ic * rx * rz + ie * ry * rz)
                )
                if distance < best:
                    best = distance
                    bx, by, bz = rx, ry, rz
                    a, b, c, d, e, f = ia, ib, ic, i_d, ie, i_f
            if best >= gate:
                continue
            matched += 1
            weight = gate / (gate + best)
            score += points[i, 3] * weight
            weight *= weight * points[i, 3]
            # residual r = q + t - mean; dr/dt = I, dr/dw = -[q]x for a left rotation increment
            gx = a * bx + b * by + c * bz
            gy = b * bx + d * by + e * bz
            gz = c * bx + e * by + f * bz
            step[0] -= weight * gx
            step[1] -= weight * gy
            step[2] -= weight * gz
            step[3] -= weight * (qy * gz - qz * gy)
            step[4] -= weight * (qz * gx - qx * gz)
            step[5] -= weight * (qx * gy - qy * gx)
            # rows of J_w = -[q]x: (0, qz, -qy), (-qz, 0, qx), (qy, -qx, 0); B = information @ J_w
            b00 = -b * qz + c * qy
            b01 = a * qz - c * qx
            b02 = -a * qy + b * qx
            b10 = -d * qz + e * qy
            b11 = b * qz - e * qx
            b12 = -b * qy + d * qx
            b20 = -e * qz + f * qy
            b21 = c * qz - f * qx
            b22 = -c * qy + e * qx
            hessian[0, 0] += weight * a
            hessian[1, 0] += weight * b
            hessian[2, 0] += weight * c
            hessian[1, 1] += weight * d
            hessian[2, 1] += weight * e
            hessian[2, 2] += weight * f
            hessian[3, 0] += weight * b00
            hessian[4, 0] += weight * b01
            hessian[5, 0] += weight * b02
            hessian[3, 1] += weight * b10
            hessian[4, 1] += weight * b11
            hessian[5, 1] += weight * b12
            hessian[3, 2] += weight * b20
            hessian[4, 2] += weight * b21
            hessian[5, 2] += weight * b22
            hessian[3, 3] += weight * (-qz * b10 + qy * b20)
            hessian[4, 3] += weight * (qz * b00 - qx * b20)
            hessian[5, 3] += weight * (-qy * b00 + qx * b10)
            hessian[4, 4] += weight * (qz * b01 - qx * b21)
            hessian[5, 4] += weight * (-qy * b01 + qx * b11)
            hessian[5, 5] += weight * (-qy * b02 + qx * b12)
        if matched < 20:
            break
        for k in range(6):
            hessian[k, k] *= 1.0 + 1e-6
        if not _solve_spd(hessian, step):
            break
        translation[0] += step[0]
        translation[1] += step[1]
        translation[2] += step[2]
        angle = np.sqrt(step[3] ** 2 + step[4] ** 2 + step[5] ** 2)
        if angle > 1e-12:
            kx, ky, kz = step[3] / angle, step[4] / angle, step[5] / angle
            sine, versine = np.sin(angle), 1.0 - np.cos(angle)
            r00 = 1.0 - versine * (ky * ky + kz * kz)
            r01 = versine * kx * ky - sine * kz
            r02 = versine * kx * kz + sine * ky
            r10 = versine * kx * ky + sine * kz
            r11 = 1.0 - versine * (kx * kx + kz * kz)
            r12 = versine * ky * kz - sine * kx
            r20 = versine * kx * kz - sine * ky
            r21 = versine * ky * kz + sine * kx
            r22 = 1.0 - versine * (kx * kx + ky * ky)
            for column in range(3):
                x, y, z = rotation[0, column], rotation[1, column], rotation[2, column]
                rotation[0, column] = r00 * x + r01 * y + r02 * z
                rotation[1, column] = r10 * x + r11 * y + r12 * z
                rotation[2, column] = r20 * x + r21 * y + r22 * z
        moved = np.sqrt(step[0] ** 2 + step[1] ** 2 + step[2] ** 2)
        if moved < 2e-3 and angle < 2e-4:
            break
    return score / total


class VoxelGaussians:
    """A map of voxels with Gaussians, in which scans are inserted and against which scans are aligned.

    Args:
        voxel_m: edge of a voxel.
        capacity: number of slots, a power of two; half of them may be in use.

    Raises:
        ValueError: the capacity is no power of two or the voxel size is not positive.
    """

    def __init__(self, voxel_m: float, capacity: int = 1 << 17) -> None:
        if capacity < 16 or capacity & (capacity - 1):
            raise ValueError(f"capacity must be a power of two of at least 16 but got {capacity}")
        if not voxel_m > 0:
            raise ValueError(f"voxel_m must be positive but got {voxel_m}")
        self.voxel_m = float(voxel_m)
        self._keys = np.full(capacity, _EMPTY, dtype=np.int64)
        self._sums = np.zeros((capacity, 10))
        self._models = np.zeros((capacity, 10))
        self._used = 0

    def __len__(self) -> int:
        return self._used

    def clear(self) -> None:
        """Forgets all voxels."""
        self._keys.fill(_EMPTY)
        self._used = 0

    def insert(
        self,
        points: npt.NDArray[np.float32],
        rotation: npt.NDArray[np.float64],
        translation: npt.NDArray[np.float64],
        keep_radius_m: float,
    ) -> None:
        """Adds (P, 3 or more) f32 points at a pose; a full table first drops voxels beyond ``keep_radius_m`` of it."""
        points = np.require(points, np.float32, "C")
        rotation = np.require(rotation, np.float64, "C")
        translation = np.require(translation, np.float64, "C")
        if (self._used + len(points)) * 2 >= len(self._keys):
            self.drop_far(translation, keep_radius_m)
        used = _insert(points, rotation, translation, self.voxel_m, self._keys, self._sums, self._models, self._used)
        if used < 0:
            self.clear()
            used = _insert(points, rotation, translation, self.voxel_m, self._keys, self._sums, self._models, 0)
        self._used = max(used, 0)

    def drop_far(self, centre: npt.NDArray[np.float64], radius_m: float) -> None:
        """Forgets voxels farther than ``radius_m`` from ``centre`` in the x-y plane."""
        keys = np.full(len(self._keys), _EMPTY, dtype=np.int64)
        sums = np.zeros_like(self._sums)
        self._used = _rehash_near(self._keys, self._sums, centre, radius_m, self.voxel_m, keys, sums)
        self._keys, self._sums = keys, sums
        self._models[:, 0] = 0.0

    def align(
        self,
        points: npt.NDArray[np.float32],
        rotation: npt.NDArray[np.float64],
        translation: npt.NDArray[np.float64],
        noise_m: float = 0.1,
        gate: float = 9.0,
        iterations: int = 15,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
        """Pose of a scan in the map, starting from a guess.

        Args:
            points: (P, 4) f32: x, y, z in m in the sensor's own frame, and a weight.
            rotation: (3, 3) guess.
            translation: (3,) guess, m.
            noise_m: standard deviation added to every voxel; the same in every call.
            gate: squared Mahalanobis distance beyond which a point has no partner.
            iterations: at most so many Gauss-Newton steps.

        Returns:
            rotation (3, 3), translation (3,) and a score: the weighted mean of gate / (gate + squared distance), 0 for
            points without a partner.

        Raises:
            ValueError: a shape is wrong.
        """
        points = np.require(points, np.float32, "C")
        if points.ndim != 2 or points.shape[1] != 4:
            raise ValueError(f"points must be (P, 4) but got shape {points.shape}")
        rotation = np.array(rotation, dtype=np.float64, order="C")
        translation = np.array(translation, dtype=np.float64)
        score = _align(
            points, rotation, translation, self.voxel_m, noise_m, gate, iterations, self._keys, self._sums, self._models
        )
        left, _, right = np.linalg.svd(rotation)
        return left @ right, translation, float(score)
