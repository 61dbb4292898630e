"""Writing the map folder of a run."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from perception.classes import SEMANTIC_CLASSES
from perception.files import replaced_when_done
from perception.mapping.birdseye import BirdsEyeMap
from perception.mapping.render import draw_map

__all__ = ["write_map"]


def write_map(layer: BirdsEyeMap, folder: Path, title: str) -> None:
    """Writes ``bev.png``, ``bev.npz`` and, where points were seen, ``points.ply`` into ``folder``.

    ``bev.npz`` holds ``class_ids`` (R, C) u8 (255 unknown; row along world y, column along world x), ``votes`` of that
    class, ``top_m`` highest z in m, ``corner_m`` world x, y of the corner of cell (0, 0), ``cell_m``, ``classes`` and
    ``path_xyz_m`` (F, 3).
    """
    folder.mkdir(parents=True, exist_ok=True)
    snapshot, votes, top_m = layer.grid.assemble()
    picture = draw_map(snapshot, layer.path_xyz_m, title)
    with replaced_when_done(folder / "bev.png") as aside:
        cv2.imwrite(str(aside), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    with replaced_when_done(folder / "bev.npz") as aside:
        np.savez_compressed(
            aside,
            class_ids=snapshot.class_ids,
            votes=votes,
            top_m=top_m,
            corner_m=snapshot.corner_m,
            cell_m=np.float64(snapshot.cell_m),
            classes=np.array(SEMANTIC_CLASSES),
            path_xyz_m=np.asarray(layer.path_xyz_m, dtype=np.float64).reshape(-1, 3),
        )
    if layer.cloud.count:
        layer.cloud.write_ply(folder / "points.ply")
