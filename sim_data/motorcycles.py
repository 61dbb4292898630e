"""Motorcycles with their riders; colours are those of ``sim_data.people``: 0 jacket and paint, 1 trousers, 4 dark."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np

from sim_data.mesh import Mesh, MeshBuilder

__all__ = ["build_motorcycle"]


def _beside(point: np.ndarray, x: float, y: float, z: float) -> np.ndarray:
    return np.asarray(point + np.array([x, y, z]))


def _wheel(builder: MeshBuilder, x: float, radius: float, wide: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 17)
    ring = [(x + (radius - wide) * np.cos(a), 0.0, radius + (radius - wide) * np.sin(a)) for a in angles]
    for a, b in itertools.pairwise(ring):
        builder.add_tube(a, b, wide, wide, "cloth", 5, (4.0, 0.0))
    for a in ring[:-1:4]:
        builder.add_tube((x, 0.0, radius), a, 0.012, 0.012, "plain", 3, (0.3, 0.0))


@cache
def build_motorcycle(kind: int) -> Mesh:
    """A rider on a road motorcycle (0) or on a scooter (1); stands on z = 0 and faces x."""
    builder = MeshBuilder()
    scooter = kind == 1
    radius, half_base = (0.24, 0.63) if scooter else (0.31, 0.70)
    for x in (half_base, -half_base):
        _wheel(builder, x, radius, 0.055 if scooter else 0.065)
    head = np.array([0.42, 0.0, 0.92])
    for side in (0.07, -0.07):
        builder.add_tube(
            (half_base, side, radius), tuple(_beside(head, 0.0, side, 0.0)), 0.025, 0.03, "plain", 6, (0.3, 0.0)
        )
    # body: tank or leg shield, engine, seat, tail
    if scooter:
        builder.add_ellipsoid((0.34, 0.0, 0.62), (0.10, 0.22, 0.34), "cloth", 10, 6, (0.0, 0.0))
        builder.add_box((-0.25, -0.17, 0.22), (0.35, 0.17, 0.30), "cloth", (4.0, 0.0))
        builder.add_ellipsoid((-0.45, 0.0, 0.52), (0.36, 0.19, 0.22), "cloth", 10, 6, (0.0, 0.0))
    else:
        builder.add_ellipsoid((0.16, 0.0, 0.80), (0.30, 0.16, 0.16), "cloth", 10, 6, (0.0, 0.0))
        builder.add_ellipsoid((0.08, 0.0, 0.48), (0.30, 0.18, 0.22), "cloth", 8, 5, (4.0, 0.0))
        builder.add_ellipsoid((0.50, 0.0, 0.84), (0.16, 0.17, 0.20), "cloth", 8, 6, (0.0, 0.0))
        for side in (0.16, -0.16):
            builder.add_tube((-0.1, side, 0.34), (-0.85, side, 0.42), 0.04, 0.055, "plain", 6, (0.4, 0.0))
    builder.add_ellipsoid((-0.35, 0.0, 0.78), (0.42, 0.14, 0.08), "cloth", 8, 5, (4.0, 0.0))
    builder.add_ellipsoid((-0.82, 0.0, 0.80), (0.16, 0.10, 0.08), "cloth", 6, 4, (0.0, 0.0))
    builder.add_tube((0.40, -0.36, 1.02), (0.40, 0.36, 1.02), 0.02, 0.02, "cloth", 5, (4.0, 0.0))
    builder.add_ellipsoid((0.64, 0.0, 0.88), (0.05, 0.09, 0.09), "plain", 8, 5, (0.4, 0.0))
    _rider(builder, scooter)
    return builder.finish()


def _rider(builder: MeshBuilder, upright: bool) -> None:
    hip = np.array([-0.28, 0.0, 0.90])
    shoulder = np.array([-0.20 if upright else -0.02, 0.0, 1.42])
    for side in (1.0, -1.0):
        start, knee, foot = (
            _beside(hip, 0, 0.10 * side, 0),
            np.array([0.14, 0.22 * side, 0.74]),
            np.array([0.0, 0.20 * side, 0.34]),
        )
        for a, b, wide, thin in ((start, knee, 0.10, 0.075), (knee, foot, 0.075, 0.05)):
            builder.add_tube(tuple(a), tuple(b), wide, thin, "cloth", 7, (1.0, 0.0))
        builder.add_ellipsoid(tuple(knee), (0.08, 0.075, 0.08), "cloth", 7, 4, (1.0, 0.0))
        builder.add_ellipsoid(tuple(_beside(foot, 0.06, 0.0, -0.02)), (0.14, 0.05, 0.05), "cloth", 6, 4, (4.0, 0.0))
        top, hand = _beside(shoulder, 0.0, 0.20 * side, -0.03), np.array([0.38, 0.32 * side, 1.05])
        elbow = 0.5 * (top + hand) + [-0.05, 0.07 * side, -0.07]
        for a, b, wide, thin in ((top, elbow, 0.065, 0.055), (elbow, hand, 0.055, 0.042)):
            builder.add_tube(tuple(a), tuple(b), wide, thin, "cloth", 7, (0.0, 0.0))
        builder.add_ellipsoid(tuple(hand), (0.05, 0.04, 0.045), "cloth", 6, 4, (4.0, 0.0))
    for share, deep, wide in ((0.0, 0.15, 0.18), (0.35, 0.14, 0.18), (0.7, 0.15, 0.215), (0.95, 0.12, 0.22)):
        centre = hip * (1 - share) + shoulder * share
        builder.add_ellipsoid(tuple(centre), (deep, wide, 0.18), "cloth", 10, 6, (1.0 if share == 0 else 0.0, 0.0))
    neck = _beside(shoulder, 0.05, 0.0, 0.08)
    builder.add_tube(tuple(shoulder), tuple(_beside(neck, 0.02, 0.0, 0.06)), 0.06, 0.055, "cloth", 6, (4.0, 0.0))
    builder.add_ellipsoid(tuple(_beside(neck, 0.05, 0.0, 0.17)), (0.145, 0.125, 0.145), "cloth", 10, 7, (0.0, 0.0))
    builder.add_ellipsoid(tuple(_beside(neck, 0.12, 0.0, 0.17)), (0.09, 0.10, 0.06), "cloth", 8, 5, (4.0, 0.0))
