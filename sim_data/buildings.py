"""Houses: walls whose texture coordinates count window bays and floors, under flat, gabled or hipped roofs."""

from __future__ import annotations

import numpy as np

from sim_data.mesh import Mesh, MeshBuilder
from sim_data.textures import MASK_LAYERS

__all__ = ["BAY_M", "FLOOR_M", "build_house"]

BAY_M = 2.7
FLOOR_M = 3.0


def _wall(builder: MeshBuilder, a: tuple[float, float], b: tuple[float, float], height: float, windows: bool) -> None:
    length = float(np.hypot(b[0] - a[0], b[1] - a[1]))
    bays = max(1.0, round(length / BAY_M)) if windows else length / BAY_M
    floors = height / FLOOR_M
    quad = [[a[0], a[1], -0.2], [b[0], b[1], -0.2], [b[0], b[1], height], [a[0], a[1], height]]
    foot = -0.2 / FLOOR_M
    builder.add_quads(
        [quad], "facade", [[[0, foot], [bays, foot], [bays, floors], [0, floors]]], None, (float(windows), 0)
    )


def build_house(
    rng: np.random.Generator, width_m: float, depth_m: float, floors: int, roof: str, attached: bool = False
) -> Mesh:
    """A house with its front on x = 0, looking along -x... the street; y runs along the front, from 0 to ``width_m``.

    Args:
        rng: for details.
        width_m: along the street.
        depth_m: away from the street.
        floors: number of storeys.
        roof: ``flat``, ``gable`` (ridge along the street) or ``hip``.
        attached: whether neighbours hide the side walls' windows.
    """
    builder = MeshBuilder()
    height = floors * FLOOR_M + 0.3
    w, d = width_m, depth_m
    # the front wall as seen from the street at negative x: counter-clockwise is from y = w to y = 0
    _wall(builder, (0, w), (0, 0), height, True)
    _wall(builder, (d, 0), (d, w), height, True)
    _wall(builder, (0, 0), (d, 0), height, not attached)
    _wall(builder, (d, w), (0, w), height, not attached)
    _front_details(builder, rng, w, floors)
    if roof == "flat":
        builder.add_quads([[[0, 0, height], [d, 0, height], [d, w, height], [0, w, height]]], "concrete")
        rim = 0.35
        for low, high in (
            ((-0.12, -0.05, height - 0.1), (0.15, w + 0.05, height + rim)),
            ((d - 0.15, -0.05, height - 0.1), (d + 0.12, w + 0.05, height + rim)),
            ((0.15, -0.05, height - 0.1), (d - 0.15, 0.15, height + rim)),
            ((0.15, w - 0.15, height - 0.1), (d - 0.15, w + 0.05, height + rim)),
        ):
            builder.add_box(low, high, "concrete")
        if rng.uniform() < 0.6:
            x, y = rng.uniform(2, max(2.1, d - 4)), rng.uniform(1, max(1.1, w - 4))
            builder.add_box((x, y, height), (x + 2.5, y + 2.5, height + 2.2), "concrete")
        return builder.finish()
    rise = 0.5 * d * float(rng.uniform(0.62, 0.95))
    over = 0.35
    ridge = height + rise
    eave = height - over * rise / (0.5 * d)
    inset = 0.0 if roof == "gable" else min(0.5 * d, 0.4 * w)
    x0, x1, y0, y1, mid = -over, d + over, -0.15, w + 0.15, 0.5 * d
    slope = float(np.hypot(rise, 0.5 * d))
    front = [[x0, y1, eave], [x0, y0, eave], [mid, y0 + inset, ridge], [mid, y1 - inset, ridge]]
    back = [[x1, y0, eave], [x1, y1, eave], [mid, y1 - inset, ridge], [mid, y0 + inset, ridge]]
    uvs = [[0, 0], [w, 0], [w - inset, slope], [inset, slope]]
    builder.add_quads([front, back], "roof", [uvs, uvs], two_sided=True)
    if roof == "gable":
        builder.add(
            [[[0, 0, height], [d, 0, height], [mid, 0, ridge - 0.05]]], "facade", [[[0, 0.9], [3, 0.9], [1.5, 2]]]
        )
        builder.add(
            [[[d, w, height], [0, w, height], [mid, w, ridge - 0.05]]], "facade", [[[0, 0.9], [3, 0.9], [1.5, 2]]]
        )
    else:
        side = [[0, 0], [d, 0], [0.5 * d, slope]]
        builder.add([[[x0, y0, eave], [x1, y0, eave], [mid, y0 + inset, ridge]]], "roof", [side], two_sided=True)
        builder.add([[[x1, y1, eave], [x0, y1, eave], [mid, y1 - inset, ridge]]], "roof", [side], two_sided=True)
    chimney = float(rng.uniform(0.2, 0.7)) * w
    builder.add_box((mid + 0.3, chimney, ridge - 1.2), (mid + 0.9, chimney + 0.7, ridge + 0.7), "kerb")
    if w > 8 and rng.uniform() < 0.6:
        for k in range(int(w // 4)):
            y = 2.0 + 4.0 * k
            z = height + 0.25 * rise
            x = mid * 0.25
            builder.add_box((x, y - 0.7, z), (x + 1.8, y + 0.7, z + 1.5), "plain")
            glass = [
                [x - 0.01, y + 0.5, z + 0.35],
                [x - 0.01, y - 0.5, z + 0.35],
                [x - 0.01, y - 0.5, z + 1.3],
                [x - 0.01, y + 0.5, z + 1.3],
            ]
            builder.add_quads([glass], "glass")
    return builder.finish()


def _front_details(builder: MeshBuilder, rng: np.random.Generator, width: float, floors: int) -> None:
    """Cornice, drainpipe, balconies and an awning on the front wall."""
    height = floors * FLOOR_M + 0.3
    builder.add_box((-0.22, 0.0, height - 0.22), (0.05, width, height - 0.02), "plain")
    builder.add_tube((-0.09, 0.12, 0.0), (-0.09, 0.12, height), 0.05, 0.05, "cloth", 5, (4.0, 0.0))
    bays = max(1, round(width / BAY_M))
    bay_m = width / bays
    if floors > 2 and rng.uniform() < 0.35:
        for floor in range(1, floors):
            for bay in range(0, bays, 2):
                y, z = bay * bay_m + 0.2, floor * FLOOR_M + 0.25
                builder.add_box((-1.1, y, z), (0.0, y + bay_m - 0.4, z + 0.14), "concrete")
                rail = [[-1.1, y + bay_m - 0.4, z], [-1.1, y, z], [-1.1, y, z + 1.0], [-1.1, y + bay_m - 0.4, z + 1.0]]
                builder.add_quads(
                    [rail], "plain", [[[0, 0], [2, 0], [2, 1], [0, 1]]], None, (0.1, 0.0), True, MASK_LAYERS["railing"]
                )
    if rng.uniform() < 0.25:
        y = float(rng.uniform(0, max(0.1, width - 4.0)))
        z = 2.35
        quad = [[-1.3, y + 3.4, z - 0.45], [-1.3, y, z - 0.45], [-0.02, y, z], [-0.02, y + 3.4, z]]
        builder.add_quads([quad], "roof", [[[0, 0], [0.1, 0], [0.1, 0.1], [0, 0.1]]], two_sided=True)
