"""Pictures of the map: a crop that travels with the vehicle, and the whole with scale and legend."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import SEMANTIC_CLASSES, SEMANTIC_COLOURS_RGB, VOID_ID
from perception.geometry import SE3
from perception.mapping.grid import GridSnapshot

__all__ = ["draw_map", "map_crop"]

BACKGROUND_RGB = (24, 26, 30)
PAPER_RGB = (245, 245, 242)
INK_RGB = (40, 42, 46)
PATH_RGB = (255, 196, 0)
MAX_PICTURE_PX = 3000


def _palette(unknown_rgb: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    palette = np.empty((256, 3), dtype=np.uint8)
    palette[:] = unknown_rgb
    palette[: len(SEMANTIC_COLOURS_RGB)] = SEMANTIC_COLOURS_RGB
    palette[SEMANTIC_CLASSES.index("road")] = (112, 106, 118)
    palette[VOID_ID] = unknown_rgb
    return palette


def _coloured(class_ids: npt.NDArray[np.uint8], unknown_rgb: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    # OpenCV's table look-up: fancy indexing takes fourteen times as long
    table = np.ascontiguousarray(_palette(unknown_rgb)[:, None, :])
    return np.asarray(cv2.applyColorMap(np.ascontiguousarray(class_ids), table), dtype=np.uint8)


def map_crop(
    snapshot: GridSnapshot,
    world_SE3_ego: SE3,
    path_xyz_m: Sequence[tuple[float, float, float]],
    width_px: int,
    height_px: int,
    metres_across: float = 60.0,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """The map around the vehicle, its heading up, the vehicle in the lower third.

    Args:
        snapshot: the map's window.
        world_SE3_ego: pose of the vehicle.
        path_xyz_m: positions so far.
        width_px: width of the picture.
        height_px: height of the picture.
        metres_across: what the picture's smaller side spans.

    Returns:
        (height_px, width_px, 3) u8 and the (2, 3) matrix from world x, y in m to its pixels, for drawing more.
    """
    px_per_m = min(width_px, height_px) / metres_across
    cosine, sine = np.cos(world_SE3_ego.yaw_rad), np.sin(world_SE3_ego.yaw_rad)
    # ahead is up, left is left: u = -y_ego, v = -x_ego
    ego_from_world = np.array([[cosine, sine], [-sine, cosine]])
    pixel_from_ego = px_per_m * np.array([[0.0, -1.0], [-1.0, 0.0]])
    linear = pixel_from_ego @ ego_from_world
    anchor = np.array([0.5 * width_px, 0.72 * height_px])
    pixel_from_world = np.column_stack([linear, anchor - linear @ world_SE3_ego.translation[:2]])
    world_from_cell = snapshot.cell_m * np.eye(2)
    cell_linear = linear @ world_from_cell
    cell_shift = pixel_from_world[:, 2] + linear @ (snapshot.corner_m + 0.5 * snapshot.cell_m)
    colours = _coloured(snapshot.class_ids, BACKGROUND_RGB)
    picture = cv2.warpAffine(
        colours,
        np.column_stack([cell_linear, cell_shift]),
        (width_px, height_px),
        flags=cv2.INTER_NEAREST if px_per_m * snapshot.cell_m >= 1 else cv2.INTER_AREA,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=BACKGROUND_RGB,
    )
    if len(path_xyz_m) > 1:
        path = np.asarray(path_xyz_m)[:, :2] @ linear.T + pixel_from_world[:, 2]
        _polyline(picture, path, PATH_RGB, 2)
    return picture, pixel_from_world


def draw_map(
    snapshot: GridSnapshot, path_xyz_m: Sequence[tuple[float, float, float]], title: str
) -> npt.NDArray[np.uint8]:
    """The whole map on paper, world x to the right, with the vehicle's path, a scale bar and a legend.

    Returns:
        (H, W, 3) u8; large maps are shrunk to at most 3000 pixels a side.
    """
    margin_m = 5.0
    path = np.asarray(path_xyz_m, dtype=np.float64).reshape(-1, 3)[:, :2]
    extent_cells = np.array(snapshot.class_ids.shape[::-1])
    low = np.minimum(snapshot.corner_m, path.min(axis=0) if len(path) else snapshot.corner_m) - margin_m
    high = snapshot.corner_m + extent_cells * snapshot.cell_m
    high = np.maximum(high, path.max(axis=0) if len(path) else high) + margin_m
    span_m = high - low
    px_per_m = min(1.0 / snapshot.cell_m * 2.0, MAX_PICTURE_PX / span_m.max())
    px_per_m = max(px_per_m, 500.0 / span_m.max())
    width, height = (np.ceil(span_m * px_per_m)).astype(int)
    linear = np.array([[px_per_m, 0.0], [0.0, -px_per_m]])
    shift = np.array([-low[0] * px_per_m, high[1] * px_per_m])
    cell_shift = linear @ (snapshot.corner_m + 0.5 * snapshot.cell_m) + shift
    canvas = cv2.warpAffine(
        _coloured(snapshot.class_ids, PAPER_RGB),
        np.column_stack([linear * snapshot.cell_m, cell_shift]),
        (int(width), int(height)),
        flags=cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=PAPER_RGB,
    )
    if len(path):
        pixels = path @ linear.T + shift
        _polyline(canvas, pixels, PATH_RGB, 3)
        cv2.circle(canvas, (int(pixels[0, 0]), int(pixels[0, 1])), 6, (0, 150, 60), -1, cv2.LINE_AA)
        cv2.circle(canvas, (int(pixels[-1, 0]), int(pixels[-1, 1])), 6, (200, 40, 40), -1, cv2.LINE_AA)
    return _with_legend(canvas, snapshot, px_per_m, title)


def _with_legend(
    canvas: npt.NDArray[np.uint8], snapshot: GridSnapshot, px_per_m: float, title: str
) -> npt.NDArray[np.uint8]:
    present = [i for i in range(len(SEMANTIC_CLASSES)) if (snapshot.class_ids == i).any()]
    header_px, row_px, panel_px = 44, 26, 190
    height = max(canvas.shape[0] + header_px, header_px + row_px * (len(present) + 6))
    page = np.empty((height, canvas.shape[1] + panel_px, 3), dtype=np.uint8)
    page[:] = PAPER_RGB
    page[header_px : header_px + canvas.shape[0], : canvas.shape[1]] = canvas
    _text(page, title, (12, 28), 0.62)
    x, y = canvas.shape[1] + 14, header_px + 20
    palette = _palette(PAPER_RGB)
    for class_id in present:
        cv2.rectangle(page, (x, y - 13), (x + 18, y + 3), tuple(int(c) for c in palette[class_id]), -1)
        cv2.rectangle(page, (x, y - 13), (x + 18, y + 3), INK_RGB, 1)
        _text(page, SEMANTIC_CLASSES[class_id], (x + 28, y + 1), 0.46)
        y += row_px
    cv2.line(page, (x, y - 5), (x + 18, y - 5), PATH_RGB, 3, cv2.LINE_AA)
    _text(page, "path of the vehicle", (x + 28, y), 0.46)
    for label, colour in (("start", (0, 150, 60)), ("end", (200, 40, 40))):
        y += row_px
        cv2.circle(page, (x + 9, y - 5), 6, colour, -1, cv2.LINE_AA)
        _text(page, label, (x + 28, y), 0.46)
    y += int(1.6 * row_px)
    length_m = _round_length(120.0 / px_per_m)
    end = x + round(length_m * px_per_m)
    cv2.line(page, (x, y), (end, y), INK_RGB, 2)
    for tick in (x, end):
        cv2.line(page, (tick, y - 6), (tick, y + 6), INK_RGB, 2)
    _text(page, f"{length_m:g} m", (x, y + 22), 0.46)
    return page


def _round_length(metres: float) -> float:
    """The largest 1, 2 or 5 times a power of ten that is no longer than ``metres``."""
    power = 10.0 ** np.floor(np.log10(metres))
    return float(max(step * power for step in (1, 2, 5) if step * power <= metres * 1.0001))


def _polyline(
    picture: npt.NDArray[np.uint8], pixels: npt.NDArray[np.float64], colour: tuple[int, int, int], width: int
) -> None:
    # cv2 takes fixed-point coordinates; 4 fractional bits keep a slow path smooth
    points = np.clip(np.round(pixels * 16), -(1 << 26), 1 << 26).astype(np.int32).reshape(-1, 1, 2)
    cv2.polylines(picture, [points], False, colour, width, cv2.LINE_AA, 4)


def _text(picture: npt.NDArray[np.uint8], text: str, at: tuple[int, int], size: float) -> None:
    cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, INK_RGB, 1, cv2.LINE_AA)
