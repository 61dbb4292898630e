"""Traffic: nobody touches anybody, nobody jumps, and the rules of the road are kept."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from shapely.affinity import rotate, translate
from shapely.geometry import box

from sim_data.kernels.traffic import (
    BODY_COLUMNS,
    CLAIM,
    PERSON,
    VEHICLE,
    free_distances,
    overlapping,
    place_vehicles,
)
from sim_data.population import populate
from sim_data.scenario import load_scenario
from sim_data.traffic import Traffic
from sim_data.vehicles import VEHICLE_SHAPES
from sim_data.world import World

FRAME_S = 0.1


@dataclass
class _Ride:
    traffic: Traffic
    bodies: np.ndarray  # (F, B, 8)
    paths: np.ndarray  # (F, V)
    way_m: np.ndarray  # (F, V) along them
    phases: np.ndarray  # (F, W)
    lights: list[dict[tuple[int, int], str]]

    @property
    def vehicles(self) -> int:
        return len(self.traffic.vehicles)


_RIDES: dict[tuple[str, int], _Ride] = {}


def _ride(scenario: str, seed: int, frames: int = 90) -> _Ride:
    if (scenario, seed) not in _RIDES:
        world = World.build(load_scenario(scenario), seed)
        traffic = populate(world, np.random.default_rng([seed, 3]))
        traffic.advance(4.0)
        bodies, paths, ways, phases, lights = [], [], [], [], []
        for _ in range(frames):
            traffic.advance(FRAME_S)
            bodies.append(traffic.bodies.copy())
            paths.append([vehicle.path for vehicle in traffic.vehicles])
            ways.append([vehicle.s_m for vehicle in traffic.vehicles])
            phases.append(traffic.walkers.rows[:, 7].copy())
            lights.append(
                {
                    (k, arm): junction.green_arm(arm, traffic.time_s)
                    for k, junction in enumerate(world.network.junctions)
                    if junction.signals
                    for arm in range(len(junction.arms))
                }
            )
        _RIDES[scenario, seed] = _Ride(
            traffic, np.array(bodies), np.array(paths), np.array(ways), np.array(phases), lights
        )
    return _RIDES[scenario, seed]


RIDES = [("city", 1), ("junctions", 2), ("motorway", 3), ("roundabout", 4), ("crowd", 5), ("suburb", 6)]
rides = pytest.mark.parametrize(("scenario", "seed"), RIDES)


def _outline(body: np.ndarray):  # type: ignore[no-untyped-def]
    shape = box(-body[3], -body[4], body[3], body[4])
    return translate(rotate(shape, body[2], (0, 0), use_radians=True), body[0], body[1])


@rides
def test_no_two_bodies_overlap(scenario: str, seed: int) -> None:
    ride = _ride(scenario, seed)
    moving = ride.vehicles + ride.phases.shape[1]
    for bodies in ride.bodies[::9]:
        shapes: dict[int, object] = {}
        reach = np.hypot(bodies[:, 3], bodies[:, 4])
        for i in range(moving):
            away = np.hypot(bodies[:, 0] - bodies[i, 0], bodies[:, 1] - bodies[i, 1])
            for j in np.flatnonzero(away < reach + reach[i]):
                if j <= i:
                    continue
                a, b = (shapes.setdefault(k, _outline(bodies[k])) for k in (i, int(j)))
                assert a.intersection(b).area < 1e-6, (i, j, bodies[i], bodies[j])  # type: ignore[attr-defined]


@rides
def test_nobody_jumps(scenario: str, seed: int) -> None:
    ride = _ride(scenario, seed)
    count, moving = ride.vehicles, ride.vehicles + ride.phases.shape[1]
    steps = np.diff(ride.bodies[:, :moving, :2], axis=0) / FRAME_S
    speed = np.hypot(steps[..., 0], steps[..., 1])
    turning = np.abs(np.angle(np.exp(1j * np.diff(ride.bodies[:, :moving, 2], axis=0)))) / FRAME_S
    limits = np.array([path.speed_mps for path in ride.traffic.network.paths])
    assert speed[:, :count].max() < 1.3 * limits.max()
    acceleration = np.diff(speed[:, :count], axis=0) / FRAME_S
    assert acceleration.min() > -9.0 and acceleration.max() < 8.0
    # 1 rad/s is 40 km/h in a bend of 11 m; and what turns moves
    assert turning[:, :count].max() < 1.0
    assert turning[:, :count][speed[:, :count] < 1e-6].max(initial=0.0) < 1e-6
    if count < moving:
        assert speed[:, count:].max() < 2.2
        assert turning[:, count:].max() < 3.6


@rides
def test_everybody_gets_on(scenario: str, seed: int) -> None:
    ride = _ride(scenario, seed)
    way = np.hypot(*np.diff(ride.bodies[:, : ride.vehicles, :2], axis=0).transpose(2, 0, 1)).sum(axis=0)
    assert np.median(way) > 5.0
    assert (way > 1.0).mean() > 0.6


def test_vehicles_stop_at_red_lights_and_go_at_green() -> None:
    entered: Counter[str] = Counter()
    for scenario, seed in (("junctions", 2), ("city", 1)):
        ride = _ride(scenario, seed)
        for frame in range(1, len(ride.paths)):
            for number, vehicle in enumerate(ride.traffic.vehicles):
                lane = ride.traffic.network.paths[ride.paths[frame, number]]
                light = ride.lights[frame].get((lane.ahead_junction, lane.arm))
                if light is None or lane.junction >= 0 or ride.paths[frame - 1, number] != ride.paths[frame, number]:
                    continue
                line_m = ride.traffic.network.junctions[lane.ahead_junction].arms[lane.arm].line_m
                to_line = lane.length_m - line_m - vehicle.half_long_m - ride.way_m[frame - 1 : frame + 1, number]
                if to_line[0] > 0 >= to_line[1]:
                    entered[light] += 1
    assert entered["green"] >= 5
    assert entered["red"] == 0
    standing = 0
    ride = _ride("junctions", 2)
    for number, vehicle in enumerate(ride.traffic.vehicles):
        lane = ride.traffic.network.paths[vehicle.path]
        if (lane.ahead_junction, lane.arm) in ride.lights[-1] and ride.lights[-1][
            lane.ahead_junction, lane.arm
        ] == "red":
            standing += bool(np.hypot(*ride.bodies[-1, number, 5:7]) < 0.5)
    assert standing >= 2


def test_vehicles_turn() -> None:
    turned = 0
    for scenario, seed in (("city", 1), ("junctions", 2), ("suburb", 6)):
        ride = _ride(scenario, seed)
        turn = np.unwrap(ride.bodies[:, : ride.vehicles, 2], axis=0)
        turned += int((np.abs(turn[-1] - turn[0]) > 1.2).sum())
    assert turned >= 3


def test_lanes_are_changed_smoothly_and_never_into_somebody() -> None:
    ride = _ride("motorway", 3)
    paths = ride.traffic.network.paths
    changes = 0
    for number in range(ride.vehicles):
        for frame in range(len(ride.paths) - 1):
            old, new = ride.paths[frame, number], ride.paths[frame + 1, number]
            if new in (paths[old].left, paths[old].right) and new >= 0:
                changes += 1
                step = ride.bodies[frame + 1, number, :2] - ride.bodies[frame, number, :2]
                heading = ride.bodies[frame, number, 2]
                # a lane is 3.65 m wide, and nearly nothing of it is crossed in the first tenth of a second
                assert abs(step @ [-np.sin(heading), np.cos(heading)]) < 0.1
    assert changes >= 5


def test_motorcycles_and_cyclists_take_part() -> None:
    for scenario, seed in (("city", 1), ("junctions", 2)):
        ride = _ride(scenario, seed)
        for shape in (-1, -2):
            rows = [k for k, vehicle in enumerate(ride.traffic.vehicles) if vehicle.shape == shape]
            assert rows
            way = np.hypot(*np.diff(ride.bodies[:, rows, :2], axis=0).transpose(2, 0, 1)).sum(axis=0)
            assert way.max() > 5.0


def test_people_cross_roads_and_drivers_wait_for_them() -> None:
    ride = _ride("crowd", 5)
    crossing = (ride.phases == 2).any(axis=0)
    assert crossing.sum() >= 5
    walkers = ride.traffic.walkers
    assert {bool(walkers.rows[k, 12]) for k in np.flatnonzero(crossing)} == {True, False}
    # while somebody is on the road before a vehicle, the vehicle does not drive at him
    closest = np.inf
    for frame in range(len(ride.bodies)):
        bodies = ride.bodies[frame]
        on_road = bodies[ride.vehicles : ride.vehicles + ride.phases.shape[1]][ride.phases[frame] == 2]
        for body in bodies[: ride.vehicles]:
            speed = np.hypot(*body[5:7])
            if speed < 2.0 or not len(on_road):
                continue
            delta = on_road[:, :2] - body[:2]
            ahead = delta @ [np.cos(body[2]), np.sin(body[2])] - body[3]
            aside = np.abs(delta @ [-np.sin(body[2]), np.cos(body[2])])
            hit = (ahead > 0) & (aside < body[4] + 0.3)
            if hit.any():
                closest = min(closest, float((ahead[hit] / speed).min()))
    assert closest > 0.35  # seconds


def test_the_same_seed_gives_the_same_traffic_however_it_is_advanced() -> None:
    world = World.build(load_scenario("junctions"), 8)
    a, b = (populate(world, np.random.default_rng([8, 3])) for _ in range(2))
    a.advance(3.0)
    for _ in range(30):
        b.advance(0.1)
    np.testing.assert_array_equal(a.bodies, b.bodies)
    assert [vehicle.path for vehicle in a.vehicles] == [vehicle.path for vehicle in b.vehicles]


@pytest.mark.parametrize("heavy", [0.0, 0.6, 1.0])
def test_scenarios_say_how_much_of_the_traffic_is_heavy(heavy: float) -> None:
    city = load_scenario("city")
    actors = city.actors.model_copy(update={"heavy": heavy, "vehicles": 60})
    classes: Counter[str] = Counter()
    parked: Counter[str] = Counter()
    for seed in range(4):
        world = World.build(city.model_copy(update={"actors": actors}), seed)
        traffic = populate(world, np.random.default_rng([seed, 3]))
        classes.update(VEHICLE_SHAPES[v.shape].object_class for v in traffic.vehicles[1:] if v.shape >= 0)
        parked.update(item.object_class for item in world.objects if item.object_class in ("car", "van", "truck"))
    assert abs(1 - classes["car"] / classes.total() - heavy) < 0.08
    assert abs(1 - parked["car"] / parked.total() - heavy) < 0.08
    if heavy:
        assert min(classes["van"], classes["truck"], classes["bus"]) > 10
    assert not parked["truck"]  # too wide for the bays


STRAIGHT = (
    np.column_stack([np.arange(101.0), np.zeros(101)]), np.array([0, 51, 101]), np.array([50.0, 49.0])
)  # fmt: skip
CHAIN = np.array([[-1, -1, 0, 1, -1]])


def test_free_distance_is_what_is_left_before_the_bumper() -> None:
    state = np.array([[10.0, 2.6, 0.0, 0.0, 12.0]])
    np.testing.assert_allclose(place_vehicles(STRAIGHT, CHAIN, state), [[10.0, 0.0, 0.0]], atol=1e-12)
    me = [10.0, 0.0, 0.0, 2.2, 0.9, 12.0, 0.0, VEHICLE]
    for other, free, speed in (
        ([30.0, 0.0, 0.0, 2.0, 0.9, 5.0, 0.0, VEHICLE], 15.8, 5.0),
        ([30.0, 0.0, np.pi, 2.0, 0.9, -5.0, 0.0, VEHICLE], 15.8, 0.0),
        ([30.0, 0.0, np.pi / 2, 0.5, 0.3, 0.0, 1.0, PERSON], 17.5, 0.0),
        ([30.0, 3.2, 0.0, 2.0, 0.9, 5.0, 0.0, VEHICLE], 1e3, 0.0),
        ([3.0, 0.0, 0.0, 2.0, 0.9, 5.0, 0.0, VEHICLE], 1e3, 0.0),
        ([14.5, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, CLAIM], 1e3, 0.0),  # too late for who only waits
    ):
        found = free_distances(STRAIGHT, CHAIN, state, np.array([me, other]))
        np.testing.assert_allclose(found[0], [free, speed], atol=0.8 if free < 1e3 else 1e-9)
    with pytest.raises(ValueError, match=r"bodies must be \(B, 8\)"):
        free_distances(STRAIGHT, CHAIN, state, np.zeros((1, 7)))


@pytest.mark.parametrize("seed", range(3))
def test_overlap_is_that_of_polygons(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(60):
        bodies = np.zeros((2, BODY_COLUMNS))
        bodies[:, :2], bodies[:, 2] = rng.uniform(-3, 3, (2, 2)), rng.uniform(0, 6.3, 2)
        bodies[:, 3:5] = rng.uniform(0.2, 2.5, (2, 2))
        expected = _outline(bodies[0]).intersects(_outline(bodies[1]))
        assert overlapping(bodies, 0, tuple(bodies[0, :3])) == expected  # type: ignore[arg-type]
