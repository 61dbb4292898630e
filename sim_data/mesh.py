"""Triangle meshes with what the shading needs: affine attribute functions, materials and flags.

A ``MeshBuilder`` collects triangles in a mesh's own frame (z up, metres); ``MeshLibrary`` joins finished meshes into
the flat arrays that the kernels read.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sim_data.kernels.raster import FLAG_MASKED, FLAG_TWO_SIDED
from sim_data.materials import MATERIALS

__all__ = ["Mesh", "MeshBuilder", "MeshLibrary", "affine_attributes", "face_planes"]

Array = npt.NDArray[np.float64]
Numbers = Any  # an array or nested sequences of numbers
# corners of an upright box's faces: which of x0 y0 z0 x1 y1 z1 they have
_BOX = np.array(
    [
        [[3, 1, 2], [3, 4, 2], [3, 4, 5], [3, 1, 5]],
        [[0, 4, 2], [0, 1, 2], [0, 1, 5], [0, 4, 5]],
        [[3, 4, 2], [0, 4, 2], [0, 4, 5], [3, 4, 5]],
        [[0, 1, 2], [3, 1, 2], [3, 1, 5], [0, 1, 5]],
        [[0, 1, 5], [3, 1, 5], [3, 4, 5], [0, 4, 5]],
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """A finished mesh.

    Attributes:
        vertices: (T, 3, 3) f32 m, counter-clockwise from outside.
        attributes: (T, 20) f32 affine functions of the position: normal, u, v.
        materials: (T,) u8 into ``MATERIALS``.
        flags: (T,) u8 for the rasteriser.
        pars: (T, 2) f32, meaning by material.
    """

    vertices: npt.NDArray[np.float32]
    attributes: npt.NDArray[np.float32]
    materials: npt.NDArray[np.uint8]
    flags: npt.NDArray[np.uint8]
    pars: npt.NDArray[np.float32]

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest corner, (3,) m each."""
        points = self.vertices.reshape(-1, 3).astype(np.float64)
        return points.min(axis=0), points.max(axis=0)


def _cross(a: Array, b: Array) -> Array:
    """Cross products of rows; ``np.cross`` is slow on the few rows of a small part."""
    out = np.empty_like(a)
    out[:, 0] = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    out[:, 1] = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    out[:, 2] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return out


def affine_attributes(vertices: Array, values: Array) -> Array:
    """Affine functions that take the given values at the corners and do not change along the face normal.

    Args:
        vertices: (T, 3, 3) corners, m.
        values: (T, 3, K) values at the corners.

    Returns:
        (T, K, 4): gradient (3) and constant.
    """
    first = vertices[:, 1] - vertices[:, 0]
    second = vertices[:, 2] - vertices[:, 0]
    normal = _cross(first, second)
    frame = np.stack([first, second, normal], axis=1)
    tiny = np.linalg.norm(normal, axis=1) < 1e-12
    frame[tiny] = np.eye(3)
    delta = np.stack([values[:, 1] - values[:, 0], values[:, 2] - values[:, 0], np.zeros_like(values[:, 0])], axis=1)
    delta[tiny] = 0.0
    gradient = np.linalg.solve(frame, delta)  # (T, 3, K)
    constant = values[:, 0] - np.einsum("tc,tck->tk", vertices[:, 0], gradient)
    return np.concatenate([gradient.transpose(0, 2, 1), constant[..., None]], axis=2)


def face_planes(vertices: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(T, 4) outward unit normals and constants of triangles (T, 3, 3): together the distance before a face, m."""
    corners = vertices.astype(np.float64)
    normal = _cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return np.column_stack([normal, -np.einsum("tc,tc->t", normal, corners[:, 0])]).astype(np.float32)


@dataclass(slots=True)
class MeshBuilder:
    """Collects triangles; every ``add_*`` takes arrays in the mesh's frame."""

    vertices: list[Array] = field(default_factory=list)
    normals: list[Array] = field(default_factory=list)
    uvs: list[Array] = field(default_factory=list)
    materials: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    flags: list[npt.NDArray[np.uint8]] = field(default_factory=list)
    pars: list[Array] = field(default_factory=list)

    def add(
        self,
        vertices: Numbers,
        material: str,
        uvs: Numbers | None = None,
        normals: Numbers | None = None,
        par: tuple[float, float] = (0.0, 0.0),
        two_sided: bool = False,
        mask_layer: int | None = None,
    ) -> None:
        """Adds (T, 3, 3) triangles with (T, 3, 2) texture coordinates and (T, 3, 3) normals (default: flat)."""
        triangles = np.asarray(vertices, dtype=np.float64).reshape(-1, 3, 3)
        cross = _cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
        length = np.sqrt(np.einsum("tc,tc->t", cross, cross))[:, None]
        keep: npt.NDArray[np.bool_] | slice = slice(None)
        if not length.min(initial=1.0) > 1e-10:
            keep = length[:, 0] > 1e-10
            triangles, cross, length = triangles[keep], cross[keep], length[keep]
        count = len(triangles)
        if count == 0:
            return
        smooth = np.empty((count, 3, 3))
        if normals is None:
            smooth[:] = (cross / length)[:, None]
        else:
            smooth[:] = np.asarray(normals, dtype=np.float64).reshape(-1, 3, 3)[keep]
        texture = np.zeros((count, 3, 2)) if uvs is None else np.asarray(uvs, dtype=np.float64).reshape(-1, 3, 2)[keep]
        flag = (FLAG_TWO_SIDED if two_sided else 0) | (0 if mask_layer is None else FLAG_MASKED | (mask_layer << 4))
        self.vertices.append(triangles)
        self.normals.append(smooth)
        self.uvs.append(texture)
        self.materials.append(np.full(count, MATERIALS.index(material), np.uint8))
        self.flags.append(np.full(count, flag, np.uint8))
        self.pars.append(np.full((count, 2), par, np.float64))

    def grow(self, factor: float) -> None:
        """Makes everything that was added so far larger about the origin."""
        self.vertices = [factor * part for part in self.vertices]

    def add_quads(
        self,
        corners: Numbers,
        material: str,
        uvs: Numbers | None = None,
        normals: Numbers | None = None,
        par: tuple[float, float] = (0.0, 0.0),
        two_sided: bool = False,
        mask_layer: int | None = None,
    ) -> None:
        """Adds (Q, 4, 3) quads, corners counter-clockwise from outside."""
        quads = np.asarray(corners, dtype=np.float64).reshape(-1, 4, 3)
        split = [0, 1, 2, 0, 2, 3]

        def spread(values: Numbers | None, width: int) -> Array | None:
            if values is None:
                return None
            return np.asarray(values, dtype=np.float64).reshape(-1, 4, width)[:, split].reshape(-1, 3, width)

        self.add(
            quads[:, split].reshape(-1, 3, 3), material, spread(uvs, 2), spread(normals, 3), par, two_sided, mask_layer
        )

    def add_box(self, low: Numbers, high: Numbers, material: str, par: tuple[float, float] = (0.0, 0.0)) -> None:
        """An upright box without its bottom face; texture coordinates in metres."""
        ends = np.concatenate([np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)])
        quads = ends[_BOX]
        uvs = np.stack([quads[..., 0] + quads[..., 1], quads[..., 2]], axis=-1)
        uvs[4] = quads[4, :, :2]
        self.add_quads(quads, material, uvs, None, par)

    def add_tube(
        self,
        start: Numbers,
        end: Numbers,
        radius_start: float,
        radius_end: float,
        material: str,
        sides: int = 6,
        par: tuple[float, float] = (0.0, 0.0),
        caps: bool = False,
        v_scale: float = 1.0,
    ) -> None:
        """A round bar between two points with smooth sides."""
        a, b = np.asarray(start, dtype=np.float64), np.asarray(end, dtype=np.float64)
        axis = b - a
        length = float(np.linalg.norm(axis))
        axis = axis / length
        helper = np.array([1.0, 0.0, 0.0]) if abs(axis[0]) < 0.8 else np.array([0.0, 1.0, 0.0])
        right = np.cross(axis, helper)
        right /= np.linalg.norm(right)
        up = np.cross(axis, right)
        angles = np.arange(sides + 1) * (2 * np.pi / sides)
        ring = np.cos(angles)[:, None] * right + np.sin(angles)[:, None] * up
        lower, upper = a + ring * radius_start, b + ring * radius_end
        quads = np.stack([lower[:-1], lower[1:], upper[1:], upper[:-1]], axis=1)
        normals = np.stack([ring[:-1], ring[1:], ring[1:], ring[:-1]], axis=1)
        u = angles * max(radius_start, radius_end)
        uvs = np.stack(
            [
                np.stack([u[:-1], u[1:], u[1:], u[:-1]], axis=1),
                np.tile([0.0, 0.0, length * v_scale, length * v_scale], (sides, 1)),
            ],
            axis=-1,
        )
        self.add_quads(quads, material, uvs, normals, par)
        if caps:
            self.add(np.stack([upper[:-1], upper[1:], np.tile(b, (sides, 1))], axis=1), material, par=par)
            self.add(np.stack([lower[1:], lower[:-1], np.tile(a, (sides, 1))], axis=1), material, par=par)

    def add_ellipsoid(
        self,
        centre: Numbers,
        radii: Numbers,
        material: str,
        sides: int = 8,
        rings: int = 5,
        par: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        """An ellipsoid with smooth normals."""
        middle, radius = np.asarray(centre, dtype=np.float64), np.asarray(radii, dtype=np.float64)
        latitude = np.linspace(-np.pi / 2, np.pi / 2, rings + 1)
        longitude = np.linspace(0, 2 * np.pi, sides + 1)
        unit = np.stack(
            [
                np.cos(latitude)[:, None] * np.cos(longitude),
                np.cos(latitude)[:, None] * np.sin(longitude),
                np.sin(latitude)[:, None] * np.ones_like(longitude),
            ],
            axis=-1,
        )
        points = middle + unit * radius
        slopes = unit / radius
        slopes /= np.linalg.norm(slopes, axis=-1, keepdims=True)
        uv = np.stack(np.broadcast_arrays(longitude[None] * radius[0], latitude[:, None] * radius[2]), axis=-1)

        def cells(values: Array) -> Array:
            return np.stack([values[:-1, :-1], values[:-1, 1:], values[1:, 1:], values[1:, :-1]], axis=2)

        self.add_quads(cells(points), material, cells(uv), cells(slopes), par)

    def finish(self) -> Mesh:
        """The mesh of all triangles added."""
        vertices = np.concatenate(self.vertices)
        values = np.concatenate([np.concatenate(self.normals), np.concatenate(self.uvs)], axis=2)
        attributes = affine_attributes(vertices, values).reshape(len(vertices), 20)
        return Mesh(
            np.ascontiguousarray(vertices, np.float32),
            np.ascontiguousarray(attributes, np.float32),
            np.concatenate(self.materials),
            np.concatenate(self.flags),
            np.ascontiguousarray(np.concatenate(self.pars), np.float32),
        )


@dataclass(slots=True)
class MeshLibrary:
    """Meshes by number, and the flat arrays of them all once ``freeze`` has run."""

    meshes: list[Mesh] = field(default_factory=list)
    first: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    last: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    vertices: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 3, 3), np.float32))
    faces: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    attributes: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 20), np.float32))
    materials: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    flags: npt.NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    pars: npt.NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    lows: Array = field(default_factory=lambda: np.zeros((0, 3)))
    highs: Array = field(default_factory=lambda: np.zeros((0, 3)))
    centres: Array = field(default_factory=lambda: np.zeros((0, 3)))
    radii: Array = field(default_factory=lambda: np.zeros(0))

    def add(self, mesh: Mesh) -> int:
        """Takes a mesh and returns its number."""
        self.meshes.append(mesh)
        return len(self.meshes) - 1

    def freeze(self) -> None:
        """Joins all meshes; call once, when the world is complete."""
        counts = np.array([len(mesh.vertices) for mesh in self.meshes], np.int64)
        self.last = np.cumsum(counts)
        self.first = self.last - counts
        self.vertices = np.concatenate([mesh.vertices for mesh in self.meshes])
        self.faces = face_planes(self.vertices)
        self.attributes = np.concatenate([mesh.attributes for mesh in self.meshes])
        self.materials = np.concatenate([mesh.materials for mesh in self.meshes])
        self.flags = np.concatenate([mesh.flags for mesh in self.meshes])
        self.pars = np.concatenate([mesh.pars for mesh in self.meshes])
        bounds = [mesh.bounds for mesh in self.meshes]
        self.lows = np.array([low for low, _ in bounds])
        self.highs = np.array([high for _, high in bounds])
        self.centres = (self.lows + self.highs) / 2
        self.radii = np.linalg.norm(self.highs - self.lows, axis=1) / 2
