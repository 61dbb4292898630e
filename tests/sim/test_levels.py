"""Levels of detail: what is far is drawn roughly, and keeps its outline, its place and its kinds of surface."""

from __future__ import annotations

import numpy as np
import pytest
from shapely.geometry import MultiPoint

from perception.geometry import SE3
from sim_data.plants import TREE_KINDS, build_bush, build_tree
from sim_data.rigs import load_rig
from sim_data.scenario import load_scenario
from sim_data.simulation import Simulation
from sim_data.vehicles import VEHICLE_SHAPES, VehicleShape, build_vehicle

MIRROR_M = 0.12  # a rough vehicle has none
SIDES = {"side": (0, 2), "top": (0, 1), "front": (1, 2)}


@pytest.mark.parametrize("shape", VEHICLE_SHAPES, ids=[shape.name for shape in VEHICLE_SHAPES])
def test_rough_vehicles_keep_their_outline(shape: VehicleShape) -> None:
    fine, rough = build_vehicle(shape), build_vehicle(shape, rough=True)
    assert len(rough.vertices) < 0.35 * len(fine.vertices)
    assert set(rough.materials.tolist()) == set(fine.materials.tolist())
    np.testing.assert_allclose(np.array(rough.bounds)[:, [0, 2]], np.array(fine.bounds)[:, [0, 2]], atol=0.02)
    np.testing.assert_allclose(np.array(rough.bounds)[:, 1], np.array(fine.bounds)[:, 1], atol=MIRROR_M)
    for axes in SIDES.values():
        points = [mesh.vertices.reshape(-1, 3) for mesh in (fine, rough)]
        bodies = [each[np.abs(each[:, 1]) <= 0.5 * shape.width_m + 0.001] for each in points]
        outlines = [MultiPoint(body[:, axes]).convex_hull for body in bodies]
        both = outlines[0].intersection(outlines[1]).area / outlines[0].union(outlines[1]).area
        assert both > 0.93, axes


@pytest.mark.parametrize("kind", TREE_KINDS)
def test_rougher_trees_fill_as_much(kind: str) -> None:
    builds = [[build_tree(np.random.default_rng(seed), kind, detail) for seed in range(8)] for detail in range(4)]
    faces = [len(level[0].vertices) for level in builds]
    assert faces == sorted(faces) and faces[0] < 0.15 * faces[3]
    heights = [float(np.mean([mesh.bounds[1][2] for mesh in level])) for level in builds]
    widths = [float(np.mean([mesh.bounds[1][0] - mesh.bounds[0][0] for mesh in level])) for level in builds]
    assert np.ptp(heights) < 0.25 * heights[3]
    assert np.ptp(widths) < 0.6 * widths[3]  # cards are larger, and their corners are bare
    bushes = [build_bush(np.random.default_rng(1), detail) for detail in range(3)]
    assert len(bushes[0].vertices) < len(bushes[1].vertices) < len(bushes[2].vertices)


def test_distance_and_lens_choose_the_level() -> None:
    simulation = Simulation(load_scenario("suburb"), 3, load_rig("train"), threads=1)
    renderer, world = simulation.renderer, simulation.world
    scene = simulation.movers.scene(simulation._now, simulation._now)
    chosen: dict[int, int] = {}
    for focal in (241.0, 721.0):
        camera = np.array([focal, focal, 620.0, 187.0])
        pose = SE3(np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]]), np.array([0.0, 0.0, 1.6]))
        rows, meshes = renderer.visible(scene, camera, (1242, 375), pose, 900.0)
        away = np.linalg.norm(scene.centres[rows] - pose.translation, axis=1)
        for row, mesh, distance in zip(rows, meshes, away, strict=True):
            fine = int(scene.mesh[row])
            levels = [fine, world.coarse.get(fine, fine)]
            levels.append(world.distant.get(fine, levels[-1]))
            levels.append(world.faint.get(fine, levels[-1]))
            limits = np.array([42.0, 200.0, 450.0]) * focal / 721.0
            if np.abs(limits - distance).min() > 12.0:  # spheres are measured to their nearest point
                level = int((distance > limits).sum())
                chosen[level] = chosen.get(level, 0) + 1
                assert mesh == levels[level]
    assert min(chosen.get(level, 0) for level in range(4)) > 3
