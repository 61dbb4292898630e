"""People on foot and on bicycles, in the phases of a step or a turn of the pedals.

Parts are coloured by the ``cloth`` material's first parameter: 0 upper garment, 1 lower garment, 2 skin, 3 hair,
4 dark.
Meshes stand on z = 0 and face x; all phases of one figure share one bounding box.
"""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np

from sim_data.mesh import Mesh, MeshBuilder

__all__ = [
    "FIGURES", "PEDAL_PHASES", "STEP_LENGTH_M", "STEP_PHASES", "build_bicycle", "build_cyclist", "build_pedestrian",
]  # fmt: skip

STEP_PHASES = 8
PEDAL_PHASES = 8
STEP_LENGTH_M = 1.45  # one full cycle of both legs
# build (0 slim, 1 broad with a rucksack, 2 in a skirt with long hair) and size over 1.75 m
FIGURES = ((0, 1.0), (1, 1.03), (2, 0.95), (0, 1.08), (1, 0.97), (2, 1.0), (0, 0.72))


def _limb(
    builder: MeshBuilder, points: list[tuple[float, float, float]], radii: list[float], part: int, sides: int = 6
) -> None:
    for a, b, first, second in zip(points, points[1:], radii, radii[1:], strict=False):
        builder.add_tube(a, b, first, second, "cloth", sides, (float(part), 0.0))
    for point, radius in zip(points[1:-1], radii[1:-1], strict=True):
        builder.add_ellipsoid(point, [radius] * 3, "cloth", sides, 3, (float(part), 0.0))


@cache
def build_pedestrian(phase: int, figure: int) -> Mesh:
    """Somebody who walks, in one phase of a step; ``figure`` is a row of ``FIGURES``."""
    build, size = FIGURES[figure]
    swing = np.sin(2 * np.pi * phase / STEP_PHASES) if phase >= 0 else 0.0
    lift = np.cos(2 * np.pi * phase / STEP_PHASES) if phase >= 0 else 0.0
    builder = MeshBuilder()
    wide = (0.19, 0.215, 0.175)[build]
    hip, shoulder = 0.92, 1.44
    for side in (1.0, -1.0):
        stride = 0.34 * swing * side
        knee_lift = 0.07 * max(0.0, lift * side)
        y = 0.09 * side
        ankle = (stride - 0.10 * max(0.0, -swing * side), y, 0.09 + 1.6 * knee_lift)
        knee = (stride * 0.55 + 0.06 + 0.5 * knee_lift, y, 0.50 + 0.3 * knee_lift)
        _limb(builder, [(0.0, y, hip), knee, ankle], [0.095, 0.068, 0.048], 1 if build != 2 else 2)
        builder.add_ellipsoid((ankle[0] + 0.07, y, ankle[2] - 0.04), (0.14, 0.05, 0.045), "cloth", 6, 4, (4.0, 0.0))
        arm = -0.26 * swing * side
        elbow = (arm * 0.5 - 0.02, (wide + 0.06) * side, 1.14)
        hand = (arm + 0.06, (wide + 0.07) * side, 0.90)
        _limb(builder, [(0.0, (wide + 0.01) * side, shoulder - 0.04), elbow, hand], [0.055, 0.045, 0.036], 0)
        builder.add_ellipsoid(
            (hand[0] + 0.01, hand[1], hand[2] - 0.05), (0.04, 0.025, 0.055), "cloth", 5, 3, (2.0, 0.0)
        )
    builder.add_ellipsoid((0.0, 0.0, 1.20), (0.125, wide, 0.31), "cloth", 10, 7, (0.0, 0.0))
    builder.add_ellipsoid((0.0, 0.0, 1.40), (0.10, wide + 0.02, 0.10), "cloth", 10, 5, (0.0, 0.0))
    builder.add_ellipsoid((0.0, 0.0, 0.94), (0.125, 0.165, 0.14), "cloth", 10, 5, (1.0, 0.0))
    if build == 2:
        builder.add_tube((0.0, 0.0, 0.55), (0.0, 0.0, 1.0), 0.24, 0.15, "cloth", 10, (1.0, 0.0))
    builder.add_tube((0.0, 0.0, 1.46), (0.01, 0.0, 1.56), 0.055, 0.05, "cloth", 6, (2.0, 0.0))
    builder.add_ellipsoid((0.02, 0.0, 1.63), (0.095, 0.078, 0.115), "cloth", 8, 6, (2.0, 0.0))
    builder.add_ellipsoid((-0.012, 0.0, 1.668), (0.10, 0.088, 0.098), "cloth", 8, 5, (3.0, 0.0))
    if build == 2:
        builder.add_ellipsoid((-0.06, 0.0, 1.55), (0.05, 0.085, 0.14), "cloth", 8, 5, (3.0, 0.0))
    if build == 1:
        builder.add_ellipsoid((-0.17, 0.0, 1.25), (0.10, 0.14, 0.20), "cloth", 8, 5, (4.0, 0.0))
    builder.grow(size)
    return builder.finish()


def _bicycle_parts(builder: MeshBuilder) -> None:
    for x in (0.52, -0.52):
        for ring, (radius, thick) in enumerate(((0.335, 0.018), (0.30, 0.008))):
            angles = np.linspace(0, 2 * np.pi, 15)
            points = [(x + radius * np.cos(a), 0.0, 0.345 + radius * np.sin(a)) for a in angles]
            for a, b in itertools.pairwise(points):
                builder.add_tube(a, b, thick, thick, "cloth", 4, (4.0, 0.0))
            if ring == 1:
                for a in angles[:-1:2]:
                    end = (x + radius * np.cos(a), 0.0, 0.345 + radius * np.sin(a))
                    builder.add_tube((x, 0.0, 0.345), end, 0.004, 0.004, "plain", 3, (0.2, 0.0))
    bottom, seat, head = (-0.08, 0.0, 0.30), (-0.24, 0.0, 0.86), (0.36, 0.0, 0.88)
    for a, b in (
        (bottom, seat), (bottom, head), (seat, head), (bottom, (-0.52, 0.0, 0.345)), (seat, (-0.52, 0.0, 0.345)),
        (head, (0.52, 0.0, 0.345)), (head, (0.32, 0.0, 1.0)),
    ):  # fmt: skip
        builder.add_tube(a, b, 0.018, 0.018, "plain", 5, (0.3, 0.0))
    builder.add_tube((0.30, -0.28, 1.0), (0.30, 0.28, 1.0), 0.015, 0.015, "cloth", 5, (4.0, 0.0))
    builder.add_ellipsoid((-0.27, 0.0, 0.92), (0.13, 0.07, 0.035), "cloth", 6, 4, (4.0, 0.0))


@cache
def build_bicycle() -> Mesh:
    """A parked bicycle; its frame takes the placed mesh's first colour."""
    builder = MeshBuilder()
    _bicycle_parts(builder)
    return builder.finish()


@cache
def build_cyclist(phase: int, helmet: bool) -> Mesh:
    """A rider on a bicycle."""
    builder = MeshBuilder()
    _bicycle_parts(builder)
    turn = 2 * np.pi * phase / PEDAL_PHASES
    hip, shoulder = np.array([-0.24, 0.0, 1.0]), np.array([0.05, 0.0, 1.48])
    for side in (1.0, -1.0):
        pedal = np.array([-0.08 + 0.16 * np.cos(turn) * side, 0.10 * side, 0.30 - 0.16 * np.sin(turn) * side])
        start = hip + np.array([0.0, 0.09 * side, 0.0])
        middle = 0.5 * (start + pedal)
        reach = float(np.linalg.norm(pedal - start))
        bend = np.sqrt(max(0.0, 0.43**2 - (reach / 2) ** 2))
        along = (pedal - start) / reach
        ahead = np.cross([0.0, 1.0, 0.0], along)
        knee = middle - ahead * bend if (-ahead)[0] > 0 else middle + ahead * bend
        _limb(builder, [tuple(start), tuple(knee), tuple(pedal + np.array([0.0, 0.0, 0.06]))], [0.09, 0.065, 0.045], 1)
        builder.add_ellipsoid(
            tuple(pedal + np.array([0.05, 0.0, 0.02])), (0.13, 0.045, 0.04), "cloth", 6, 4, (4.0, 0.0)
        )
        top = shoulder + np.array([0.0, 0.18 * side, -0.03])
        hand = np.array([0.30, 0.25 * side, 1.02])
        elbow = 0.5 * (top + hand) + [-0.03, 0.05 * side, -0.06]
        _limb(builder, [tuple(top), tuple(elbow), tuple(hand)], [0.055, 0.045, 0.035], 0)
        builder.add_ellipsoid(tuple(hand), (0.04, 0.03, 0.04), "cloth", 5, 3, (2.0, 0.0))
    for share, deep, wide in ((0.0, 0.13, 0.165), (0.35, 0.125, 0.17), (0.7, 0.13, 0.20), (0.95, 0.11, 0.21)):
        centre = hip * (1 - share) + shoulder * share
        builder.add_ellipsoid(tuple(centre), (deep, wide, 0.17), "cloth", 9, 6, (1.0 if share == 0 else 0.0, 0.0))
    builder.add_tube((0.07, 0.0, 1.50), (0.12, 0.0, 1.60), 0.055, 0.05, "cloth", 6, (2.0, 0.0))
    builder.add_ellipsoid((0.14, 0.0, 1.67), (0.095, 0.078, 0.115), "cloth", 8, 6, (2.0, 0.0))
    builder.add_ellipsoid((0.115, 0.0, 1.72), (0.115, 0.092, 0.085), "cloth", 8, 5, (0.0 if helmet else 3.0, 0.0))
    return builder.finish()
