"""What stands where at one moment, as the renderer and the lidar read it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sim_data.mesh import MeshLibrary

__all__ = ["Scene", "about_z", "spheres"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Placed meshes at one moment, one row each; what moves comes last.

    Attributes:
        mesh: (I,) numbers in the library.
        rotation: (I, 3, 3) to the world, without scale; ``position`` (I, 3) m; ``scale`` (I,).
        next_rotation: the same one frame later; ``next_position`` likewise.
        looks: (I, 8) two colours, seed, lamps.
        semantic: (I,) u8; ``instance`` (I,) i32.
        casts: (I,) whether it throws a shadow.
        centres: (I, 3) of spheres around them in the world, m; ``radii`` (I,).
        fixed: number of rows that never move.
    """

    mesh: npt.NDArray[np.int64]
    rotation: Array
    position: Array
    scale: Array
    next_rotation: Array
    next_position: Array
    looks: Array
    semantic: npt.NDArray[np.uint8]
    instance: npt.NDArray[np.int32]
    casts: npt.NDArray[np.bool_]
    centres: Array
    radii: Array
    fixed: int


def about_z(yaw: Array) -> Array:
    """(N, 3, 3) rotations by (N,) angles."""
    rotation = np.zeros((len(yaw), 3, 3))
    rotation[:, 0, 0] = rotation[:, 1, 1] = np.cos(yaw)
    rotation[:, 1, 0] = np.sin(yaw)
    rotation[:, 0, 1] = -rotation[:, 1, 0]
    rotation[:, 2, 2] = 1.0
    return rotation


def spheres(
    library: MeshLibrary, mesh: npt.NDArray[np.int64], rotation: Array, position: Array, scale: Array
) -> tuple[Array, Array]:
    """Spheres around placed meshes: centres (N, 3) in the world and radii (N,), m."""
    local = library.centres[mesh] * scale[:, None]
    return np.einsum("nij,nj->ni", rotation, local) + position, library.radii[mesh] * scale
