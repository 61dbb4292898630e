"""What stands along a street: lamp posts, signs, traffic lights, fences, hedges, walls, bins and bollards.

Everything stands on z = 0 of its own frame and faces -x, towards the traffic that approaches along +x... the placed
mesh's yaw turns it.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from sim_data.mesh import Mesh, MeshBuilder
from sim_data.textures import MASK_LAYERS

__all__ = [
    "LIGHT_RGB", "LIGHT_STATES", "SIGN_DESIGNS", "build_bin", "build_bollard", "build_guard_rail", "build_hedge",
    "build_lamp_post", "build_light_head", "build_mast", "build_railing", "build_sign", "build_wall",
]  # fmt: skip

LIGHT_STATES = ("red", "yellow", "green")
LIGHT_RGB = {"red": (1.0, 0.07, 0.03), "yellow": (1.0, 0.55, 0.05), "green": (0.06, 0.85, 0.42)}
SIGN_DESIGNS = {"speed": 0, "warning": 1, "priority": 2, "mandatory": 3, "board": 4, "back": 5}


@cache
def build_lamp_post(height_m: float = 7.5, arm_m: float = 1.6) -> Mesh:
    """A lamp post whose arm reaches along +y."""
    builder = MeshBuilder()
    builder.add_tube((0, 0, 0), (0, 0, 1.0), 0.10, 0.085, "plain", 8)
    builder.add_tube((0, 0, 1.0), (0, 0, height_m), 0.075, 0.05, "plain", 8)
    builder.add_tube((0, 0, height_m - 0.05), (0, arm_m, height_m + 0.18), 0.045, 0.035, "plain", 6)
    builder.add_box((-0.13, arm_m - 0.1, height_m + 0.12), (0.13, arm_m + 0.5, height_m + 0.25), "plain")
    low = height_m + 0.115
    builder.add_quads(
        [[[-0.1, arm_m, low], [-0.1, arm_m + 0.4, low], [0.1, arm_m + 0.4, low], [0.1, arm_m, low]]],
        "lamp",
        par=(0.6, 0),
    )
    return builder.finish()


def build_mast(height_m: float, radius_m: float = 0.035) -> Mesh:
    """A plain post."""
    builder = MeshBuilder()
    builder.add_tube((0, 0, 0), (0, 0, height_m), radius_m, radius_m, "plain", 6, caps=True)
    return builder.finish()


def _disc(sides: int, radius: float, turn: float) -> np.ndarray:
    angles = np.arange(sides) * (2 * np.pi / sides) + turn
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radius


@cache
def build_sign(design: str) -> Mesh:
    """A sign plate centred on its own origin; the face looks along -x."""
    builder = MeshBuilder()
    if design == "board":
        outline = np.array([[1.4, -0.6], [1.4, 0.6], [-1.4, 0.6], [-1.4, -0.6]])
        scale = np.array([1.4, 0.6])
    elif design == "warning":
        outline, scale = np.array([[0.45, -0.33], [0.0, 0.45], [-0.45, -0.33]]), np.array([0.45, 0.45])
    elif design == "priority":
        outline, scale = _disc(4, 0.42, 0.0), np.array([0.42, 0.42])
    else:
        outline, scale = _disc(18, 0.33, 0.0), np.array([0.33, 0.33])
    # seen from -x, +y is to the left
    ring = np.stack([np.full(len(outline), -0.03), -outline[:, 0], outline[:, 1]], axis=1)
    fan = np.array([[ring[0], ring[k], ring[k + 1]] for k in range(1, len(ring) - 1)])
    flat = outline / scale
    uvs = np.array([[flat[0], flat[k], flat[k + 1]] for k in range(1, len(flat) - 1)])
    cross = np.cross(fan[:, 1] - fan[:, 0], fan[:, 2] - fan[:, 0])[:, 0].sum()
    front, front_uvs = (fan, uvs) if cross < 0 else (fan[:, ::-1], uvs[:, ::-1])
    builder.add(front, "sign", front_uvs, par=(float(SIGN_DESIGNS[design]), 0))
    builder.add(front[:, ::-1] + [0.012, 0, 0], "sign", front_uvs[:, ::-1], par=(float(SIGN_DESIGNS["back"]), 0))
    return builder.finish()


@cache
def build_light_head(state: str) -> Mesh:
    """A traffic light's housing, 0.95 m tall, with its three lenses looking along -x."""
    builder = MeshBuilder()
    builder.add_box((-0.12, -0.17, 0.0), (0.12, 0.17, 0.95), "cloth", (4.0, 0.0))
    builder.add_box((0.12, -0.17, 0.0), (0.13, 0.17, 0.95), "cloth", (4.0, 0.0))
    for k, name in enumerate(("green", "yellow", "red")):
        centre = np.array([-0.125, 0.0, 0.17 + 0.30 * k])
        ring = _disc(12, 0.105, 0.0)
        points = np.stack([np.full(12, centre[0]), ring[:, 0], centre[2] + ring[:, 1]], axis=1)
        fan = np.array([[points[0], points[j + 1], points[j]] for j in range(1, 11)])
        builder.add(fan, "lamp", par=(3.0 if name == state else 0.02, 0), two_sided=True)
        builder.add_tube((-0.12, 0, centre[2] + 0.10), (-0.27, 0, centre[2] + 0.08), 0.09, 0.09, "cloth", 6, (4.0, 0.0))
    return builder.finish()


def build_railing(length_m: float, height_m: float = 1.0) -> Mesh:
    """A railing along +x, cut out by a mask."""
    builder = MeshBuilder()
    quad = [[0, 0, 0], [length_m, 0, 0], [length_m, 0, height_m], [0, 0, height_m]]
    uv = [[0, 0], [length_m, 0], [length_m, 1], [0, 1]]
    builder.add_quads([quad], "plain", [uv], None, (0.1, 0.0), True, MASK_LAYERS["railing"])
    return builder.finish()


def build_hedge(length_m: float, height_m: float, depth_m: float) -> Mesh:
    """A clipped hedge along +x, its back at +y."""
    builder = MeshBuilder()
    builder.add_box((0, 0, 0), (length_m, depth_m, height_m), "hedge")
    return builder.finish()


def build_wall(length_m: float, height_m: float) -> Mesh:
    """A garden wall along +x."""
    builder = MeshBuilder()
    builder.add_box((0, 0, 0), (length_m, 0.25, height_m), "concrete")
    builder.add_box((0, -0.04, height_m), (length_m, 0.29, height_m + 0.06), "kerb")
    return builder.finish()


def build_guard_rail(length_m: float) -> Mesh:
    """A steel crash barrier along +x."""
    builder = MeshBuilder()
    builder.add_box((0, -0.04, 0.45), (length_m, 0.04, 0.75), "plain", (0.15, 0.0))
    for x in np.arange(1.0, length_m, 4.0):
        builder.add_box((x, -0.05, 0), (x + 0.1, 0.05, 0.6), "plain")
    return builder.finish()


@cache
def build_bollard() -> Mesh:
    """A bollard."""
    builder = MeshBuilder()
    builder.add_tube((0, 0, 0), (0, 0, 0.9), 0.07, 0.06, "plain", 8, caps=True)
    return builder.finish()


@cache
def build_bin() -> Mesh:
    """A wheeled bin."""
    builder = MeshBuilder()
    builder.add_box((-0.3, -0.28, 0.05), (0.3, 0.28, 0.95), "plain")
    builder.add_box((-0.34, -0.30, 0.95), (0.32, 0.30, 1.05), "plain")
    return builder.finish()
