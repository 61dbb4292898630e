"""True boxes of objects in a picture: full and visible, truncation and occlusion."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull

from perception.geometry import SE3, PinholeCamera
from sim_data.kernels.boxes import bound_instances, bound_outlines
from sim_data.mesh import Mesh, MeshLibrary
from sim_data.movers import Objects
from sim_data.optics import Optics, Picture
from sim_data.scene import about_z
from sim_data.shading import View

__all__ = ["ObjectTruth", "TruthFinder"]

Array = npt.NDArray[np.float64]
_HIDDEN_RANGE_M = 130.0  # objects that nothing is seen of are listed up to here
_LEAST_DEPTH_M = 0.3  # an object that ends nearer is not listed
_LEAST_OUTLINE_M = 0.1  # as in ``bound_outlines``


@dataclass(slots=True, eq=False)
class ObjectTruth:
    """Objects whose full box meets a picture, one row each: all that are seen, and hidden ones up to 130 m.

    Attributes:
        objects: the objects.
        full_xyxy: (N, 4) px: bounds of the whole object's outline, also beyond the picture and behind others.
        visible_xyxy: (N, 4) px: bounds of its pixels, NaN without any.
        pixels: (N,) number of visible pixels.
        visible_share: (N,) visible pixels over those it would have in this picture with nothing in front of it; before
            the lens bends the picture.
        truncation: (N,) share of the full box's area beyond the picture.
    """

    objects: Objects
    full_xyxy: Array
    visible_xyxy: Array
    pixels: npt.NDArray[np.int64]
    visible_share: Array
    truncation: Array

    @property
    def occlusion(self) -> npt.NDArray[np.int64]:
        """(N,) KITTI's levels: 0 fully visible, 1 partly occluded, 2 largely occluded, 3 unknown (not visible)."""
        share = self.visible_share
        return np.where(self.pixels == 0, 3, np.where(share >= 0.80, 0, np.where(share >= 0.45, 1, 2))).astype(np.int64)


class TruthFinder:
    """Finds boxes."""

    def __init__(self, library: MeshLibrary) -> None:
        self.library = library

    def find(
        self, objects: Objects, optics: Optics, world_SE3_cam: SE3, picture: Picture, view: View
    ) -> ObjectTruth:  # fmt: skip
        """The truth of every object whose full box meets the picture.

        Args:
            objects: all objects.
            optics: of the camera.
            world_SE3_cam: its pose.
            picture: its picture.
            view: of ``optics.pinhole``, which shares of visible pixels are counted in.
        """
        camera = optics.pinhole
        bent = camera is not optics.camera
        ids = int(objects.instance.max(initial=0)) + 1
        pixels, bounds = bound_instances(picture.instance, ids)
        rows, place = _in_view(objects, camera, world_SE3_cam)
        kept = (pixels[objects.instance[rows]] > 0) | (place[:, 2] <= _HIDDEN_RANGE_M)
        rows, place = rows[kept], place[kept]
        rotation = world_SE3_cam.rotation.T @ about_z(objects.yaw[rows])
        hulls = [_hull(self.library.meshes[int(mesh)]) for mesh in objects.mesh[rows]]
        starts = np.concatenate([[0], np.cumsum([len(hull) for hull in hulls])]).astype(np.int64)
        lens = np.array([camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px])
        ideal, deepest = bound_outlines(
            np.concatenate(hulls) if hulls else np.zeros((0, 3)), starts, rotation, place, lens
        )
        full = ideal
        if bent:
            full = np.array(
                [_bent_box(hull @ turn.T + at, optics) for hull, turn, at in zip(hulls, rotation, place, strict=True)]
            ).reshape(-1, 4)
        inside = _clipped(full, optics.camera)
        met = (inside[:, 0] < inside[:, 2]) & (inside[:, 1] < inside[:, 3]) & (deepest >= _LEAST_DEPTH_M)
        rows, place, rotation, full, inside = rows[met], place[met], rotation[met], full[met], inside[met]
        numbers = objects.instance[rows]
        count = pixels[numbers]
        visible = np.where(count[:, None] > 0, bounds[numbers].astype(np.float64), np.nan)
        share = np.zeros(len(rows))
        seen = np.flatnonzero(count > 0)
        shown = bound_instances(view.instance, ids)[0][numbers[seen]] if bent else count[seen]
        whole = np.array([view.whole.get(int(number), 0) for number in numbers[seen]])
        # a lone pixel of the bent picture may fall between those of the view
        share[seen] = np.where(shown > 0, np.minimum(1.0, shown / np.maximum(whole, 1)), 1.0)
        area = (full[:, 2] - full[:, 0]) * (full[:, 3] - full[:, 1])
        cut = 1.0 - (inside[:, 2] - inside[:, 0]) * (inside[:, 3] - inside[:, 1]) / area
        return ObjectTruth(objects.take(rows), full, visible, count, share, cut)


@lru_cache(maxsize=1024)
def _hull(mesh: Mesh) -> Array:
    """(P, 3) corners of a mesh's convex hull, m; many drives share their meshes."""
    points = np.unique(mesh.vertices.reshape(-1, 3).astype(np.float64), axis=0)
    flat = (points.max(axis=0) - points.min(axis=0)).min() < 1e-6
    return points if flat else points[ConvexHull(points).vertices]


def _clipped(boxes: Array, camera: PinholeCamera) -> Array:
    last = np.array([camera.width_px - 1.0, camera.height_px - 1.0])
    return np.concatenate([np.maximum(boxes[:, :2], 0.0), np.minimum(boxes[:, 2:], last)], axis=1)


def _bent_box(hull: Array, optics: Optics) -> Array:
    """(4,) box in the picture of a hull (P, 3) in camera coordinates."""
    camera = optics.pinhole
    depth = np.maximum(hull[:, 2:], _LEAST_OUTLINE_M)
    outline = optics.outline(hull[:, :2] / depth * [camera.fx_px, camera.fy_px] + [camera.cx_px, camera.cy_px])
    return np.concatenate([outline.min(axis=0), outline.max(axis=0)])


def _in_view(objects: Objects, camera: PinholeCamera, world_SE3_cam: SE3) -> tuple[npt.NDArray[np.int64], Array]:
    """Rows whose bounding sphere may meet the picture, and (N, 3) where they are in the camera's frame."""
    # the pose is a product of two checked ones, for hundreds of objects
    place = (objects.position - world_SE3_cam.translation) @ world_SE3_cam.rotation
    reach = np.linalg.norm(np.maximum(np.abs(objects.low), np.abs(objects.high)), axis=1)
    seen = place[:, 2] > -reach
    for axis, low, high in (
        (0, -camera.cx_px / camera.fx_px, (camera.width_px - camera.cx_px) / camera.fx_px),
        (1, -camera.cy_px / camera.fy_px, (camera.height_px - camera.cy_px) / camera.fy_px),
    ):
        seen &= (place[:, axis] - low * place[:, 2]) / np.hypot(1, low) > -reach
        seen &= (place[:, axis] - high * place[:, 2]) / np.hypot(1, high) < reach
    rows = np.flatnonzero(seen)
    return rows, place[rows]
