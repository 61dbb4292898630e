"""The bird's-eye map around the vehicle, with the vehicle and the tracked objects on it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from perception.geometry import box_corners
from perception.mapping.birdseye import BirdsEyeMap
from perception.mapping.render import map_crop
from perception.sinks.overlays import class_colour
from perception.sinks.sink import MAP_METRES_ACROSS, MapDrawing, MapView
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
            picture, pixel_from_world = map_crop(
                snapshot, result.world_SE3_ego, path_xyz_m, width_px, height_px, MAP_METRES_ACROSS
            )
            picture = np.ascontiguousarray(picture)
            _draw_tracks(picture, result, pixel_from_world)
            _fill(picture, _to_pixels(_VEHICLE_EGO, result, pixel_from_world), _VEHICLE_RGB)
            return picture

        return draw

    return view


def _draw_tracks(
    picture: npt.NDArray[np.uint8], result: FrameResult, pixel_from_world: npt.NDArray[np.float64]
) -> None:
    """Footprints: of tracks where they are tracked in 3D, else of the detections that they follow."""
    tracks = result.tracks
    boxes, rows = tracks.boxes3d, np.arange(len(tracks))
    if boxes is None:
        boxes, rows = result.boxes3d, tracks.detection_rows
    for class_id, row in zip(tracks.class_ids.tolist(), rows.tolist(), strict=True):
        if row < 0 or boxes.scores[row] <= 0:
            continue
        one = slice(row, row + 1)
        footprint = box_corners(boxes.centers_ego[one], boxes.sizes_lwh[one], boxes.yaws[one])[0, :4, :2]
        _fill(picture, _to_pixels(footprint, result, pixel_from_world), class_colour(class_id))


def _to_pixels(
    points_ego_xy: npt.NDArray[np.float64], result: FrameResult, pixel_from_world: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    points_world = result.world_SE3_ego.apply(np.pad(points_ego_xy, ((0, 0), (0, 1))))
    return np.asarray(points_world[:, :2] @ pixel_from_world[:, :2].T + pixel_from_world[:, 2])


def _fill(picture: npt.NDArray[np.uint8], pixels: npt.NDArray[np.float64], colour: tuple[int, int, int]) -> None:
    points = np.rint(np.clip(pixels, -20_000, 20_000) * (1 << _SHIFT)).astype(np.int32).reshape(-1, 1, 2)
    cv2.fillPoly(picture, [points], colour, cv2.LINE_AA, _SHIFT)
    cv2.polylines(picture, [points], True, _OUTLINE_RGB, 1, cv2.LINE_AA, _SHIFT)
