"""Who takes part in a drive: the ego vehicle, the traffic around it, people on foot, and how they look."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from perception.errors import ConfigError
from sim_data.kernels.traffic import BODY_COLUMNS, STANDING
from sim_data.lane_paths import LanePath
from sim_data.traffic import Traffic
from sim_data.vehicle_state import Vehicle
from sim_data.vehicles import VEHICLE_SHAPES
from sim_data.walking import Walkers
from sim_data.world import World, paint_colour

__all__ = ["CYCLIST", "MOTORCYCLIST", "Cast", "name_movers", "populate"]

CYCLIST, MOTORCYCLIST = -1, -2
_EGO_SHAPE = 1
_EGO_HALF_M = (2.31, 0.95)
_SHAPE_SHARES = (0.25, 0.17, 0.15, 0.12, 0.11, 0.08, 0.06, 0.04, 0.02)
_TRUCK_SHARES = (0.20, 0.18, 0.16, 0.06, 0.14, 0.06, 0.08, 0.11, 0.01)  # on motorways
_HEAVY_SHARES = (0.0,) * 6 + (0.42, 0.33, 0.25)  # of what a scenario asks for
_NEAR_GROUND_M = 2.0  # what begins higher is no obstacle


@dataclass(slots=True)
class Cast:
    """How everything that moves looks: one row per vehicle but the ego, per person and per traffic light.

    Attributes:
        looks: two colours, a seed and whether lamps are on; ``classes`` in ``OBJECT_CLASSES``.
        classes: object classes.
        instances: ids, the same over the drive.
    """

    looks: list[tuple[float, ...]] = field(default_factory=list)
    classes: list[str] = field(default_factory=list)
    instances: list[int] = field(default_factory=list)

    def add(self, looks: tuple[float, ...], object_class: str, instance: int) -> None:
        """Adds a row."""
        self.looks.append(looks)
        self.classes.append(object_class)
        self.instances.append(instance)


def populate(world: World, rng: np.random.Generator) -> Traffic:
    """Puts the ego vehicle on a lane, the others clear of it and of each other, and people on the pavements."""
    network, actors = world.network, world.scenario.actors
    lanes = [k for k, path in enumerate(network.paths) if path.junction < 0 and path.following and path.length_m > 30]
    if not lanes:
        raise ConfigError(f"scenario {world.scenario.title!r}: its roads leave no lane to drive on")
    streets = [k for k in lanes if network.roads[network.paths[k].road].edge.kind != "ring"]
    preferred = [k for k in streets if _leads_far(network.paths, k)] or streets
    start = preferred[int(rng.integers(len(preferred)))]
    standing = _standing(world)
    figures = np.array([_half_size(world, group[0]) for group in world.vehicle_mesh_of_walker])
    traffic = Traffic(network, [], Walkers(network, figures), standing, rng)
    ego_start = min(12.0, 0.2 * network.paths[start].length_m)
    traffic.vehicles.append(
        Vehicle(
            0, _EGO_SHAPE, *_EGO_HALF_M, start, traffic.choose(network.paths[start]), ego_start,
            min(0.7 * network.paths[start].speed_mps, 22.0), power_mps2=1.4,
        )
    )  # fmt: skip
    weights = np.array([network.paths[k].length_m for k in lanes])
    # the ego vehicle's own road gets its share of company
    home = network.paths[start].road
    weights *= np.where([network.paths[k].road == home for k in lanes], 3.0, 1.0)
    shares = _shape_shares(actors.heavy, motorway=network.roads[home].edge.kind == "motorway")
    kinds = [CYCLIST] * actors.cyclists + [MOTORCYCLIST] * actors.motorcycles
    kinds += [int(rng.choice(len(VEHICLE_SHAPES), p=shares)) for _ in range(actors.vehicles)]
    for kind in kinds:
        for _ in range(20):
            lane = int(rng.choice(lanes, p=weights / weights.sum()))
            vehicle = _drawn(world, traffic, kind, lane, rng)
            if vehicle is not None and traffic.free_at_start(vehicle, 3.0 + 0.35 * vehicle.speed_mps):
                vehicle.number = len(traffic.vehicles)
                traffic.vehicles.append(vehicle)
                break
    traffic.walkers.populate(actors.pedestrians, home, standing, rng)
    traffic.begin()
    return traffic


def _shape_shares(heavy: float | None, *, motorway: bool) -> npt.NDArray[np.float64]:
    """(V,) how often each of ``VEHICLE_SHAPES`` drives."""
    shares = np.array(_TRUCK_SHARES if motorway else _SHAPE_SHARES)
    shares /= shares.sum()
    if heavy is not None:
        is_heavy = np.array([shape.object_class != "car" for shape in VEHICLE_SHAPES])
        shares = np.where(is_heavy, heavy * np.array(_HEAVY_SHARES), (1 - heavy) * shares / shares[~is_heavy].sum())
    return shares


def _drawn(world: World, traffic: Traffic, kind: int, lane: int, rng: np.random.Generator) -> Vehicle | None:
    path = world.network.paths[lane]
    s = float(rng.uniform(8.0, path.length_m - 8.0))
    if kind == CYCLIST:
        if world.network.roads[path.road].edge.kind == "motorway":
            return None
        half = _half_size(world, world.cyclist_mesh[0][0])
        speed = float(rng.uniform(3.8, 5.6))
        return Vehicle(
            0, kind, *half, lane, traffic.choose(path), s, 0.8 * speed, power_mps2=0.9, offset_m=-1.05,
            top_speed_mps=speed,
        )  # fmt: skip
    desire = float(rng.uniform(0.85, 1.1))
    if kind == MOTORCYCLIST:
        half = _half_size(world, world.motorcycle_mesh[0])
        return Vehicle(0, kind, *half, lane, traffic.choose(path), s, 0.6 * path.speed_mps, desire=1.05 * desire,
                       power_mps2=2.2)  # fmt: skip
    heavy = VEHICLE_SHAPES[kind].object_class in ("truck", "bus")
    return Vehicle(
        0, kind, *_half_size(world, world.vehicle_mesh[kind]), lane, traffic.choose(path), s, 0.6 * path.speed_mps,
        desire=desire, power_mps2=1.0 if heavy else 1.6, top_speed_mps=24.5 if heavy else 99.0,
    )  # fmt: skip


def _half_size(world: World, mesh: int) -> tuple[float, float]:
    low, high = world.boxes[mesh]
    return max(-low[0], high[0]), max(-low[1], high[1])


def _standing(world: World) -> npt.NDArray[np.float64]:
    rows = []
    for item in world.objects:
        if item.position[2] + item.low[2] > _NEAR_GROUND_M:
            continue
        middle = 0.5 * (np.array(item.low[:2]) + item.high[:2])
        half = 0.5 * (np.array(item.high[:2]) - item.low[:2])
        cosine, sine = np.cos(item.yaw), np.sin(item.yaw)
        x = item.position[0] + cosine * middle[0] - sine * middle[1]
        y = item.position[1] + sine * middle[0] + cosine * middle[1]
        rows.append([x, y, item.yaw, half[0], half[1], 0.0, 0.0, STANDING])
    return np.array(rows).reshape(-1, BODY_COLUMNS)


def _leads_far(paths: list[LanePath], number: int) -> bool:
    path = paths[number]
    return path.length_m > 45 and any(
        paths[onward].following for turn in path.following for onward in paths[turn].following
    )


def name_movers(world: World, traffic: Traffic, rng: np.random.Generator) -> Cast:
    """Colours, classes and instance ids of everything that moves or changes."""
    weather = world.scenario.weather
    lamps = 0.0 if weather.time == "day" and weather.rain < 0.3 else 1.0
    cast, number = Cast(), world.next_instance
    for vehicle in traffic.vehicles[1:]:
        cloth, paint = _garments(rng), paint_colour(rng)
        seed = float(rng.integers(1, 1 << 20))
        if vehicle.shape == CYCLIST:
            cast.add((*cloth, seed, 0.0), "cyclist", number)
        elif vehicle.shape == MOTORCYCLIST:
            cast.add((*cloth, seed, 0.0), "motorcycle", number)
        else:
            shape = VEHICLE_SHAPES[vehicle.shape]
            if shape.object_class == "bus":
                paint = ((0.45, 0.05, 0.03), (0.55, 0.45, 0.05), (0.60, 0.60, 0.58))[int(rng.integers(3))]
            cast.add((*paint, 0.0, 0.0, 0.0, seed, lamps), shape.object_class, number)
        number += 1
    for row in range(len(traffic.walkers.rows)):
        cast.add((*_garments(rng), float(row + 5), 0.0), "pedestrian", number)
        number += 1
    for _, _, instance, _, _, _ in world.signal_heads:
        cast.add((0.9, 0.8, 0.3, 0.0, 0.0, 0.0, 1.0, 0.0), "traffic_light", instance)
    return cast


def _garments(rng: np.random.Generator) -> tuple[float, ...]:
    """Colours of an upper and a lower garment: mostly muted, the lower one darker."""
    colours = []
    for darkest, lightest in ((0.015, 0.40), (0.012, 0.14)):
        tone = float(np.exp(rng.uniform(np.log(darkest), np.log(lightest))))
        strength = float(rng.uniform(0.0, 0.25) if rng.uniform() < 0.75 else rng.uniform(0.4, 0.8))
        tint = 1.0 + strength * rng.uniform(-1, 1, 3)
        colours += [float(v) for v in tone * tint]
    return tuple(colours)
