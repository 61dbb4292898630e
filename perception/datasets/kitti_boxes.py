"""3D boxes as KITTI writes them, and as the rest of the project holds them.

KITTI gives a box by its bottom centre in the rectified reference camera 0 (x right, y down, z forward), by height,
width and length, and by ``rotation_y`` about that camera's y axis; ``alpha`` is the same angle seen along the ray to
the box. Source: the object development kit's ``readme.txt``.

The reference camera is ``PinholeCamera.ego_SE3_ref``, or the camera itself where that is None. Ego z and camera -y
differ by the camera's pitch and roll (under one degree on KITTI's car), so "upright" differs as much; angles are
carried over by the heading's direction in the ground plane, so that both conversions are exact inverses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from perception.geometry import SE3, PinholeCamera, wrap_angle
from perception.types import Boxes3D

__all__ = [
    "UNKNOWN_ANGLE",
    "UNKNOWN_LOCATION",
    "UNKNOWN_SIZE",
    "KittiBoxes",
    "boxes3d_from_kitti",
    "kitti_from_boxes3d",
]

Float64Array = npt.NDArray[np.float64]

# what the development kit writes for DontCare regions and for detections without a place in 3D
UNKNOWN_LOCATION = -1000.0
UNKNOWN_SIZE = -1.0
UNKNOWN_ANGLE = -10.0


@dataclass(frozen=True, slots=True, eq=False)
class KittiBoxes:
    """Boxes in KITTI's form. Rows without a place in 3D hold -1000, -1 and -10, as the development kit writes them.

    Attributes:
        locations_ref: (N, 3) f64 m, bottom centres in the reference camera.
        sizes_hwl: (N, 3) f64 m, height, width, length.
        rotations_y: (N,) f64 rad, -pi ... pi, 0 along the camera's x axis.
        alphas: (N,) f64 rad, ``rotation_y`` less the bearing ``atan2(x, z)`` of the bottom centre.
    """

    locations_ref: Float64Array
    sizes_hwl: Float64Array
    rotations_y: Float64Array
    alphas: Float64Array

    def __len__(self) -> int:
        return len(self.locations_ref)

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """(N,) True for the rows that have a place in 3D."""
        return np.asarray(self.sizes_hwl[:, 0] > 0)


def kitti_from_boxes3d(boxes: Boxes3D, camera: PinholeCamera) -> KittiBoxes:
    """Boxes in the ego frame to KITTI's form; rows of score 0 become unknown.

    Args:
        boxes: (N) boxes in the ego frame.
        camera: the camera of the frame that they belong to.

    Returns:
        N boxes in KITTI's form.
    """
    ego_SE3_ref = _reference(camera)
    ref_SE3_ego = ego_SE3_ref.inverse()
    sizes_hwl = boxes.sizes_lwh[:, ::-1].astype(np.float64)
    locations = ref_SE3_ego.apply(boxes.centers_ego)
    locations[:, 1] += sizes_hwl[:, 0] / 2
    yaws = boxes.yaws.astype(np.float64)
    heading = np.stack([np.cos(yaws), np.sin(yaws)]).T @ np.linalg.inv(_ground_of_heading(ego_SE3_ref)).T
    rotations_y = np.arctan2(-heading[:, 1], heading[:, 0])
    alphas = wrap_angle(rotations_y - np.arctan2(locations[:, 0], locations[:, 2]))
    unknown = boxes.scores <= 0
    locations[unknown] = UNKNOWN_LOCATION
    sizes_hwl[unknown] = UNKNOWN_SIZE
    rotations_y[unknown] = alphas[unknown] = UNKNOWN_ANGLE
    return KittiBoxes(locations, sizes_hwl, rotations_y, alphas)


def boxes3d_from_kitti(
    locations_ref: npt.ArrayLike,
    sizes_hwl: npt.ArrayLike,
    rotations_y: npt.ArrayLike,
    camera: PinholeCamera,
    scores: npt.ArrayLike | None = None,
) -> Boxes3D:
    """KITTI's form to boxes in the ego frame; unknown rows (DontCare) get score 0 and zeros.

    Args:
        locations_ref: (N, 3) m, bottom centres in the reference camera.
        sizes_hwl: (N, 3) m.
        rotations_y: (N,) rad.
        camera: the camera of the frame that they belong to.
        scores: (N,), 1 where not given.

    Returns:
        N boxes in the ego frame.

    Raises:
        ValueError: the shapes do not agree, or a value is not finite.
    """
    locations = np.array(locations_ref, dtype=np.float64).reshape(-1, 3)
    sizes = np.asarray(sizes_hwl, dtype=np.float64).reshape(-1, 3)
    angles = np.asarray(rotations_y, dtype=np.float64).reshape(-1)
    if not len(locations) == len(sizes) == len(angles):
        raise ValueError(
            f"locations_ref, sizes_hwl and rotations_y must have as many rows but got {len(locations)}, {len(sizes)} "
            f"and {len(angles)}"
        )
    ego_SE3_ref = _reference(camera)
    locations[:, 1] -= sizes[:, 0] / 2
    centers = ego_SE3_ref.apply(locations)
    heading = np.stack([np.cos(angles), -np.sin(angles)]).T @ _ground_of_heading(ego_SE3_ref).T
    yaws = np.arctan2(heading[:, 1], heading[:, 0])
    known = (sizes > 0).all(axis=1) & (locations[:, 2] > UNKNOWN_LOCATION)
    rows = np.ones(len(centers)) if scores is None else np.asarray(scores, dtype=np.float64)
    return Boxes3D(
        np.where(known[:, None], centers, 0.0).astype(np.float32),
        np.where(known[:, None], sizes[:, ::-1], 0.0).astype(np.float32),
        np.where(known, yaws, 0.0).astype(np.float32),
        np.where(known, rows, 0.0).astype(np.float32),
    )


def _reference(camera: PinholeCamera) -> SE3:
    return camera.ego_SE3_cam if camera.ego_SE3_ref is None else camera.ego_SE3_ref


def _ground_of_heading(ego_SE3_ref: SE3) -> Float64Array:
    """(2, 2) taking a heading's camera (x, z) to ego (x, y): the ground plane part of the rotation."""
    return ego_SE3_ref.rotation[np.ix_([0, 1], [0, 2])]
