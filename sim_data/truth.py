"""True boxes of objects in a picture: full and visible, truncation and occlusion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects
from scipy.spatial import ConvexHull

from perception.geometry import SE3, PinholeCamera
from sim_data.kernels.raster import SETUP_COLUMNS, rasterise, setup_triangles
from sim_data.mesh import MeshLibrary
from sim_data.optics import Optics, Picture
from sim_data.world import SceneObject

__all__ = ["ObjectTruth", "TruthFinder"]

Array = npt.NDArray[np.float64]
_HIDDEN_RANGE_M = 130.0  # objects that nothing is seen of are listed up to here
_ALONE_PX = 96  # an object's lone silhouette is counted on a grid at most this wide


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

    objects: list[SceneObject]
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


def _clipped(box: Array, camera: PinholeCamera) -> Array:
    last = np.array([camera.width_px - 1.0, camera.height_px - 1.0])
    return np.concatenate([np.maximum(box[:2], 0.0), np.minimum(box[2:], last)])


class TruthFinder:
    """Finds boxes; keeps the convex hulls of the meshes it has seen."""

    def __init__(self, library: MeshLibrary, masks: npt.NDArray[np.uint8]) -> None:
        self.library, self.masks = library, masks
        self.hulls: dict[int, Array] = {}
        self.planes = np.empty((8000, SETUP_COLUMNS))
        self.bounds = np.empty((8000, 4), np.int32)
        self.sources = np.empty((8000, 2), np.int32)

    def _hull(self, mesh: int) -> Array:
        if mesh not in self.hulls:
            points = np.unique(self.library.meshes[mesh].vertices.reshape(-1, 3).astype(np.float64), axis=0)
            flat = (points.max(axis=0) - points.min(axis=0)).min() < 1e-6
            self.hulls[mesh] = points if flat else points[ConvexHull(points).vertices]
        return self.hulls[mesh]

    def find(
        self, objects: list[SceneObject], optics: Optics, world_SE3_cam: SE3, picture: Picture,
        seen_instance: npt.NDArray[np.int32],
    ) -> ObjectTruth:  # fmt: skip
        """The truth of every object whose full box meets the picture.

        Args:
            objects: all objects.
            optics: of the camera.
            world_SE3_cam: its pose.
            picture: its picture.
            seen_instance: (h, w) ids in the view of ``optics.pinhole``, which shares of visible pixels are counted in.
        """
        camera = optics.pinhole
        slices = find_objects(picture.instance)
        pixels = np.bincount(picture.instance.ravel(), minlength=len(slices) + 1)
        seen_pixels = pixels if optics.pinhole is optics.camera else np.bincount(seen_instance.ravel())
        rows: list[SceneObject] = []
        full, visible, counts, shares, truncated = [], [], [], [], []
        for item, rotation, place in self._in_view(objects, camera, world_SE3_cam):
            far = item.instance >= len(pixels) or pixels[item.instance] == 0
            if far and place[2] > _HIDDEN_RANGE_M:
                continue
            hull = self._hull(item.mesh) @ rotation.T + place
            if hull[:, 2].max() < 0.3:
                continue
            # what lies beside or behind the camera is moved just before it: its box leaves the picture there
            hull[:, 2] = np.maximum(hull[:, 2], 0.1)
            ideal = hull[:, :2] / hull[:, 2:] * [camera.fx_px, camera.fy_px] + [camera.cx_px, camera.cy_px]
            outline = optics.outline(ideal)
            box = np.concatenate([outline.min(axis=0), outline.max(axis=0)])
            inside = _clipped(box, optics.camera)
            if inside[0] >= inside[2] or inside[1] >= inside[3]:
                continue
            count = int(pixels[item.instance]) if item.instance < len(pixels) else 0
            seen = np.full(4, np.nan)
            if count:
                ys, xs = slices[item.instance - 1]
                seen = np.array([xs.start, ys.start, xs.stop - 1, ys.stop - 1], np.float64)
            rows.append(item)
            full.append(box)
            visible.append(seen)
            counts.append(count)
            if count and optics.pinhole is not optics.camera:
                count = int(seen_pixels[item.instance]) if item.instance < len(seen_pixels) else 0
                ideal_box = _clipped(np.concatenate([ideal.min(axis=0), ideal.max(axis=0)]), camera)
                shares.append(self._share(item.mesh, camera, rotation, place, ideal_box, count) if count else 1.0)
            else:
                shares.append(self._share(item.mesh, camera, rotation, place, inside, count) if count else 0.0)
            area = (box[2] - box[0]) * (box[3] - box[1])
            truncated.append(1.0 - (inside[2] - inside[0]) * (inside[3] - inside[1]) / area)
        return ObjectTruth(
            rows, np.array(full).reshape(-1, 4), np.array(visible).reshape(-1, 4), np.array(counts, np.int64),
            np.array(shares), np.array(truncated),
        )  # fmt: skip

    def _in_view(
        self, objects: list[SceneObject], camera: PinholeCamera, world_SE3_cam: SE3
    ) -> list[tuple[SceneObject, Array, Array]]:
        """Objects whose bounding sphere may meet the picture, with their poses in the camera: rotation and place."""
        if not objects:
            return []
        position = np.array([item.position for item in objects])
        # the pose is a product of two checked ones, for hundreds of objects
        place = (position - world_SE3_cam.translation) @ world_SE3_cam.rotation
        corner = np.maximum(np.abs([item.low for item in objects]), np.abs([item.high for item in objects]))
        reach = np.linalg.norm(corner, axis=1)
        seen = place[:, 2] > -reach
        for axis, low, high in (
            (0, -camera.cx_px / camera.fx_px, (camera.width_px - camera.cx_px) / camera.fx_px),
            (1, -camera.cy_px / camera.fy_px, (camera.height_px - camera.cy_px) / camera.fy_px),
        ):
            seen &= (place[:, axis] - low * place[:, 2]) / np.hypot(1, low) > -reach
            seen &= (place[:, axis] - high * place[:, 2]) / np.hypot(1, high) < reach
        chosen = np.flatnonzero(seen)
        yaw = np.array([objects[k].yaw for k in chosen])
        turn = np.zeros((len(chosen), 3, 3))
        turn[:, 0, 0] = turn[:, 1, 1] = np.cos(yaw)
        turn[:, 1, 0] = np.sin(yaw)
        turn[:, 0, 1] = -turn[:, 1, 0]
        turn[:, 2, 2] = 1.0
        rotation = world_SE3_cam.rotation.T @ turn
        return [(objects[k], rotation[n], place[k]) for n, k in enumerate(chosen)]

    def _share(
        self, number: int, camera: PinholeCamera, rotation: Array, place: Array, inside: Array, count: int
    ) -> float:
        """Visible pixels over the pixels of the mesh drawn alone on a coarse grid over its box."""
        size = max(inside[2] - inside[0], inside[3] - inside[1]) + 2.0
        scale = min(1.0, _ALONE_PX / size)
        width = int((inside[2] - inside[0] + 2.0) * scale) + 1
        height = int((inside[3] - inside[1] + 2.0) * scale) + 1
        grid = np.array(
            [
                camera.fx_px * scale, camera.fy_px * scale, (camera.cx_px - np.floor(inside[0])) * scale,
                (camera.cy_px - np.floor(inside[1])) * scale, width, height,
            ]
        )  # fmt: skip
        mesh = np.array([number])
        library = self.library
        found = setup_triangles(
            library.vertices, library.attributes, library.flags, library.first[mesh], library.last[mesh],
            np.ascontiguousarray(rotation[None]), np.ascontiguousarray(place[None]), grid, False,
            self.planes, self.bounds, self.sources,
        )  # fmt: skip
        nearness, ids = np.empty((height, width), np.float32), np.empty((height, width), np.int32)
        rasterise(
            self.planes, self.bounds, self.sources, min(found, len(self.planes)), library.flags, self.masks, False,
            (0, height), nearness, ids,
        )  # fmt: skip
        alone = float(np.count_nonzero(ids >= 0)) / scale**2
        return float(min(1.0, count / max(alone, 1.0)))
