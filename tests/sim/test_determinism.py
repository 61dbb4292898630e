from __future__ import annotations

import numpy as np

from sim_data.rigs import LidarSpec, Rig, load_rig
from sim_data.simulation import SimFrame, stream

_RIG = Rig("small", load_rig("train").cameras, LidarSpec(azimuth_step_deg=3.0))


def _same(a: SimFrame, b: SimFrame) -> None:
    for name, picture in a.pictures.items():
        other = b.pictures[name]
        for field in ("rgb", "depth_m", "semantic", "instance", "flow_px"):
            np.testing.assert_array_equal(getattr(picture, field), getattr(other, field))
    np.testing.assert_array_equal(a.points_ego, b.points_ego)
    np.testing.assert_array_equal(a.world_SE3_ego.matrix, b.world_SE3_ego.matrix)


def test_the_same_seed_gives_the_same_frames_whatever_the_threads() -> None:
    one = list(stream("suburb", 3, 2, _RIG, threads=1))
    many = list(stream("suburb", 3, 2, _RIG, threads=3))
    for a, b in zip(one, many, strict=True):
        _same(a, b)


def test_another_seed_gives_another_world() -> None:
    (a,), (b,) = (list(stream("suburb", seed, 1, _RIG)) for seed in (3, 4))
    assert (a.pictures["image_02"].rgb != b.pictures["image_02"].rgb).mean() > 0.5


def test_a_frame_does_not_depend_on_the_frames_before() -> None:
    from sim_data.scenario import load_scenario
    from sim_data.simulation import Simulation

    *_, last = stream("city", 2, 4, _RIG)
    simulation = Simulation(load_scenario("city"), 2, _RIG)
    simulation.skip(3)
    (frame,) = simulation.frames(1)
    simulation.close()
    assert frame.index == last.index == 3
    _same(frame, last)
