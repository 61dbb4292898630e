"""The world of a drive: meshes, where they stand, and which of them are objects with truth."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from perception.classes import SEMANTIC_CLASSES, SEMANTIC_OF_OBJECT
from sim_data.ground import Ground, build_ground
from sim_data.layouts import build_layout
from sim_data.mesh import Mesh, MeshLibrary
from sim_data.motorcycles import build_motorcycle
from sim_data.network import Network
from sim_data.people import FIGURES, PEDAL_PHASES, STEP_PHASES, build_bicycle, build_cyclist, build_pedestrian
from sim_data.scenario import Scenario
from sim_data.vehicles import VEHICLE_SHAPES, build_vehicle

__all__ = ["Placed", "SceneObject", "World", "paint_colour"]

Array = npt.NDArray[np.float64]
Colours = tuple[float, float, float, float, float, float]


@dataclass(slots=True)
class Placed:
    """Meshes standing in the world, one row each.

    Attributes:
        mesh: numbers in the library.
        position: (x, y, z) m; ``yaw`` rad; ``scale``.
        looks: two colours, a seed, and whether lamps are on.
        semantic: class id; ``instance`` 0 for stuff.
    """

    mesh: list[int] = field(default_factory=list)
    position: list[tuple[float, float, float]] = field(default_factory=list)
    yaw: list[float] = field(default_factory=list)
    scale: list[float] = field(default_factory=list)
    looks: list[tuple[float, ...]] = field(default_factory=list)
    semantic: list[int] = field(default_factory=list)
    instance: list[int] = field(default_factory=list)

    def put(
        self,
        mesh: int,
        position: tuple[float, float, float],
        yaw: float,
        semantic: str,
        colours: Colours,
        seed: int = 0,
        scale: float = 1.0,
        instance: int = 0,
        lamps: float = 0.0,
    ) -> None:
        """Adds a row."""
        self.mesh.append(mesh)
        self.position.append(position)
        self.yaw.append(yaw)
        self.scale.append(scale)
        self.looks.append((*colours, float(seed), lamps))
        self.semantic.append(SEMANTIC_CLASSES.index(semantic))
        self.instance.append(instance)


@dataclass(frozen=True, slots=True)
class SceneObject:
    """Something with an identity, at one moment.

    Attributes:
        instance: id, stable over the drive.
        object_class: in ``OBJECT_CLASSES``.
        position: (x, y, z) of the mesh's origin, m; ``yaw`` rad, in the world.
        low: (3,) lowest corner of the box in the mesh's frame; ``high`` the highest, m.
        velocity: (3,) m/s in the world.
        mesh: number in the library.
        moving: False for parked and fixed objects.
    """

    instance: int
    object_class: str
    position: tuple[float, float, float]
    yaw: float
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    velocity: tuple[float, float, float]
    mesh: int
    moving: bool


def paint_colour(rng: np.random.Generator) -> tuple[float, float, float]:
    """A car colour, as often as one sees it: mostly black, grey, silver and white."""
    draw = rng.uniform()
    if draw < 0.24:
        tone = rng.uniform(0.008, 0.03)
        return tone, tone, tone * 1.05
    if draw < 0.48:
        tone = rng.uniform(0.06, 0.16)
        return tone, tone * 1.01, tone * 1.04
    if draw < 0.64:
        tone = rng.uniform(0.28, 0.42)
        return tone, tone, tone
    if draw < 0.78:
        tone = rng.uniform(0.58, 0.72)
        return tone, tone, tone * 0.98
    palette = (
        (0.20, 0.018, 0.018),
        (0.018, 0.035, 0.10),
        (0.035, 0.075, 0.16),
        (0.02, 0.05, 0.03),
        (0.20, 0.16, 0.10),
        (0.10, 0.02, 0.03),
    )
    base = palette[int(rng.integers(len(palette)))]
    gain = float(rng.uniform(0.6, 1.4))
    return base[0] * gain, base[1] * gain, base[2] * gain


@dataclass(slots=True)
class World:
    """A network with everything that stands still around it, and the meshes of what moves."""

    scenario: Scenario
    network: Network
    ground: Ground
    library: MeshLibrary
    placed: Placed
    objects: list[SceneObject]
    vehicle_mesh: list[int]
    vehicle_mesh_of_walker: list[list[int]]
    cyclist_mesh: list[list[int]]
    motorcycle_mesh: list[int]
    bicycle_mesh: int
    lamps: Array
    boxes: dict[int, tuple[tuple[float, float, float], tuple[float, float, float]]]
    next_instance: int = 1
    shared: dict[str, int] = field(default_factory=dict)
    coarse: dict[int, int] = field(default_factory=dict)
    distant: dict[int, int] = field(default_factory=dict)
    faint: dict[int, int] = field(default_factory=dict)
    signal_heads: list[tuple[int, int, int, tuple[float, float, float], float, dict[str, int]]] = field(
        default_factory=list
    )

    @classmethod
    @lru_cache(maxsize=2)
    def build(cls, scenario: Scenario, seed: int) -> World:
        """The world of a scenario and a seed; nobody changes it once it is built."""
        from sim_data.roadside import furnish

        rng = np.random.default_rng([seed, 1])
        network = build_layout(scenario.roads, rng)
        ground = build_ground(network, rng)
        library = MeshLibrary()
        placed = Placed()
        for surface in ground.surfaces:
            placed.put(library.add(surface.mesh), (0.0, 0.0, 0.0), 0.0, surface.semantic, surface.colours, surface.seed)
        boxes: dict[int, tuple[tuple[float, float, float], tuple[float, float, float]]] = {}
        vehicles = [library.add(build_vehicle(shape)) for shape in VEHICLE_SHAPES]
        for number in vehicles:
            boxes[number] = _bounds([library.meshes[number]])
        walkers = [
            [library.add(build_pedestrian(phase, figure)) for phase in range(STEP_PHASES)]
            for figure in range(len(FIGURES))
        ]
        cyclists = [
            [library.add(build_cyclist(phase, helmet)) for phase in range(PEDAL_PHASES)] for helmet in (False, True)
        ]
        for group in [*walkers, *cyclists]:
            common = _bounds([library.meshes[number] for number in group])
            boxes.update(dict.fromkeys(group, common))
        motorcycles = [library.add(build_motorcycle(kind)) for kind in range(2)]
        for number in motorcycles:
            boxes[number] = _bounds([library.meshes[number]])
        bicycle = library.add(build_bicycle())
        boxes[bicycle] = _bounds([library.meshes[bicycle]])
        world = cls(
            scenario,
            network,
            ground,
            library,
            placed,
            [],
            vehicles,
            walkers,
            cyclists,
            motorcycles,
            bicycle,
            np.zeros((0, 10)),
            boxes,
        )
        world.distant.update(
            (number, library.add(build_vehicle(shape, rough=True)))
            for number, shape in zip(vehicles, VEHICLE_SHAPES, strict=True)
        )
        furnish(world, rng)
        library.freeze()
        return world

    def put_object(
        self,
        object_class: str,
        mesh: int,
        position: tuple[float, float, float],
        yaw: float,
        colours: Colours,
        seed: int,
        lamps: float = 0.0,
    ) -> None:
        """Places something that stands still and has an identity."""
        if mesh not in self.boxes:
            self.boxes[mesh] = _bounds([self.library.meshes[mesh]])
        low, high = self.boxes[mesh]
        instance = self.next_instance
        self.next_instance += 1
        self.placed.put(
            mesh, position, yaw, SEMANTIC_OF_OBJECT[object_class], colours, seed, instance=instance, lamps=lamps
        )
        self.objects.append(SceneObject(instance, object_class, position, yaw, low, high, (0.0, 0.0, 0.0), mesh, False))


def _bounds(meshes: list[Mesh]) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    lows = np.min([mesh.bounds[0] for mesh in meshes], axis=0)
    highs = np.max([mesh.bounds[1] for mesh in meshes], axis=0)
    return (float(lows[0]), float(lows[1]), float(lows[2])), (float(highs[0]), float(highs[1]), float(highs[2]))
