"""The bird's-eye map around the vehicle, with the vehicle and the tracked objects on it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from perception.geometry import box_corners
from perception.mapping.birdseye import BirdsEyeMap
from perception.mapping.grid import GridSnapshot
from perception.mapping.render import map_crop
from perception.sinks.overlays import class_colour
from perception.sinks.sink import MapDrawing, MapView, map_scale
from perception.sinks.track_boxes import track_boxes3d
from perception.types import FrameResult

__all__ = ["make_map_view"]

_VEHICLE_RGB = (255, 255, 255)
_OUTLINE_RGB = (17, 20, 26)

# ego frame, metres: an arrowhead the size of a car
_VEHICLE_EGO = np.array([[2.6, 0.0], [-1.9, 1.2], [-1.1, 0.0], [-1.9, -1.2]])

# more of the way than a picture shows
_PATH_FRAMES = 1000

_SHIFT = 4  # fractional bits of the coordinates that cv2 draws at


def make_map_view(layer: BirdsEyeMap) -> MapView:
    """A view of a map layer for ``RunContext.map_view``."""

    def view(result: FrameResult) -> MapDrawing:
        snapshot, path_xyz_m = layer.grid.snapshot(), layer.path_xyz_m[-_PATH_FRAMES:]

        def draw(width_px: int, height_px: int) -> npt.NDArray[np.uint8]:
            scale = map_scale(width_px, height_px)
            reach_m = np.array([width_px, height_px]) / scale
            visible = _part_around(snapshot, result, reach_m)
            picture, pixel_from_world = map_crop(
                visible, result.world_SE3_ego, path_xyz_m, width_px, height_px, min(width_px, height_px) / scale
            )
            picture = np.ascontiguousarray(picture)
            _draw_tracks(picture, result, pixel_from_world)
            _fill(picture, _to_pixels(_VEHICLE_EGO, result, pixel_from_world), _VEHICLE_RGB)
            return picture

        return draw

    return view


def _part_around(snapshot: GridSnapshot, result: FrameResult, reach_m: npt.NDArray[np.float64]) -> GridSnapshot:
    """The cells that may show in a picture of that many metres, since colouring all of them takes longest."""
    pose = result.world_SE3_ego
    # the picture's corners, and some more: the vehicle is in its lower third
    across, ahead, behind = 0.5 * reach_m[0], 0.8 * reach_m[1], -0.4 * reach_m[1]
    corners_ego = np.array([[ahead, across], [ahead, -across], [behind, across], [behind, -across]])
    turn = np.array([[np.cos(pose.yaw_rad), -np.sin(pose.yaw_rad)], [np.sin(pose.yaw_rad), np.cos(pose.yaw_rad)]])
    corners = (corners_ego @ turn.T + pose.translation[:2] - snapshot.corner_m) / snapshot.cell_m
    height, width = snapshot.class_ids.shape
    first = np.clip(np.floor(corners.min(axis=0)).astype(int), 0, [width - 1, height - 1])
    last = np.clip(np.ceil(corners.max(axis=0)).astype(int), first + 1, [width, height])
    return GridSnapshot(
        np.ascontiguousarray(snapshot.class_ids[first[1] : last[1], first[0] : last[0]]),
        snapshot.corner_m + first * snapshot.cell_m,
        snapshot.cell_m,
    )


def _draw_tracks(
    picture: npt.NDArray[np.uint8], result: FrameResult, pixel_from_world: npt.NDArray[np.float64]
) -> None:
    boxes = track_boxes3d(result)
    corners = box_corners(boxes.centers_ego, boxes.sizes_lwh, boxes.yaws)
    for row in np.flatnonzero(boxes.scores > 0):
        footprint = _to_pixels(corners[row, :4, :2], result, pixel_from_world)
        _fill(picture, footprint, class_colour(int(result.tracks.class_ids[row])))


def _to_pixels(
    points_ego_xy: npt.NDArray[np.float64], result: FrameResult, pixel_from_world: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    points_world = result.world_SE3_ego.apply(np.pad(points_ego_xy, ((0, 0), (0, 1))))
    return np.asarray(points_world[:, :2] @ pixel_from_world[:, :2].T + pixel_from_world[:, 2])


def _fill(picture: npt.NDArray[np.uint8], pixels: npt.NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    points = np.rint(np.clip(pixels, -20_000, 20_000) * (1 << _SHIFT)).astype(np.int32).reshape(-1, 1, 2)
    cv2.fillPoly(picture, [points], colour, cv2.LINE_AA, _SHIFT)
    cv2.polylines(picture, [points], True, _OUTLINE_RGB, 1, cv2.LINE_AA, _SHIFT)
