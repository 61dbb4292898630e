"""What was found, drawn over the camera image: masks, boxes, ids, trails, poses of pedestrians."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES, OBJECT_COLOURS_RGB, SEMANTIC_CLASSES, SEMANTIC_COLOURS_RGB
from perception.kernels.drawing import tint
from perception.sinks.layout import Rect
from perception.sinks.text import Colour, put_text, text_size
from perception.types import FrameResult

__all__ = ["Trails", "draw_overlays"]

# track id -> where its box touched the ground, oldest first, in image pixels
Trails = Mapping[int, Sequence[tuple[float, float]]]
Image = npt.NDArray[np.uint8]

# weight of each semantic colour, of 256: strong where one drives, faint where one looks, none on the sky
_SEMANTIC_ALPHAS = {
    "road": 88, "lane marking": 130, "sidewalk": 88, "terrain": 56, "vegetation": 44, "building": 36, "wall": 44,
    "fence": 56, "pole": 72, "traffic light": 110, "traffic sign": 110, "sky": 0, "person": 72, "rider": 72,
}  # fmt: skip
_OTHER_ALPHA = 64

# COCO's 17 keypoints: face, arms, trunk, legs
_LIMBS = (
    (0, 1), (0, 2), (1, 3), (2, 4), (5, 7), (7, 9), (6, 8), (8, 10), (5, 6), (5, 11), (6, 12), (11, 12), (11, 13),
    (13, 15), (12, 14), (14, 16),
)  # fmt: skip
_MIN_KEYPOINT_CONFIDENCE = 0.3

_SHIFT = 4  # fractional bits of the coordinates that cv2 draws at


def _semantic_tables() -> tuple[Image, npt.NDArray[np.int64]]:
    colours, alphas = np.zeros((256, 3), np.uint8), np.zeros(256, np.int64)
    for class_id, name in enumerate(SEMANTIC_CLASSES):
        colours[class_id] = SEMANTIC_COLOURS_RGB[class_id]
        alphas[class_id] = _SEMANTIC_ALPHAS.get(name, _OTHER_ALPHA)
    return colours, alphas


_SEMANTIC_COLOURS, _SEMANTIC_WEIGHTS = _semantic_tables()
_CLASS_COLOURS: tuple[Colour, ...] = tuple((red, green, blue) for red, green, blue in OBJECT_COLOURS_RGB.tolist())


def draw_overlays(result: FrameResult, width_px: int, height_px: int, trails: Trails, scale: float = 1.0) -> Image:
    """The camera image at the given size with everything that was found in it.

    Args:
        result: one frame; left as it is.
        width_px: of the picture; the image's aspect is the caller's concern.
        height_px: of the picture.
        trails: where tracks have been.
        scale: of text and lines.

    Returns:
        (height_px, width_px, 3) u8 RGB.
    """
    source = result.frame.image_rgb
    smaller = width_px * height_px < source.shape[0] * source.shape[1]
    image = cv2.resize(source, (width_px, height_px), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    picture = tint(
        image,
        result.semantic.class_ids,
        result.instances.detection_rows,
        _SEMANTIC_COLOURS,
        _SEMANTIC_WEIGHTS,
        OBJECT_COLOURS_RGB[result.detections.class_ids],
    )
    to_picture = np.array([width_px / source.shape[1], height_px / source.shape[0]])
    _draw_trails(picture, result, trails, to_picture, scale)
    _draw_loose_detections(picture, result, to_picture)
    _draw_keypoints(picture, result, to_picture, scale)
    _draw_tracks(picture, result, to_picture, scale)
    _draw_tags(picture, result, to_picture, scale)
    return picture


def class_colour(class_id: int) -> Colour:
    """The colour of an object class."""
    return _CLASS_COLOURS[class_id]


def _draw_trails(
    picture: Image, result: FrameResult, trails: Trails, to_picture: npt.NDArray[np.float64], scale: float
) -> None:
    for track_id, class_id in zip(result.tracks.track_ids.tolist(), result.tracks.class_ids.tolist(), strict=True):
        if len(trails.get(track_id, ())) < 2:
            continue
        points = np.array(_fixed(np.array(trails[track_id]) * to_picture), np.int32)
        # thin where old; neighbouring parts share a point
        thirds = np.array_split(np.arange(len(points) - 1), 3)
        for thickness, part in enumerate(thirds, 1):
            if len(part):
                line = points[part[0] : part[-1] + 2]
                width = max(1, round(thickness * scale))
                cv2.polylines(picture, [line], False, class_colour(class_id), width, cv2.LINE_AA, _SHIFT)


def _draw_loose_detections(picture: Image, result: FrameResult, to_picture: npt.NDArray[np.float64]) -> None:
    """Thin, darker boxes around detections that no track has taken up."""
    followed = set(result.tracks.detection_rows.tolist())
    detections = result.detections
    for row in range(len(detections)):
        if row not in followed:
            upper_left, lower_right = _fixed(detections.boxes_xyxy[row].reshape(2, 2) * to_picture)
            red, green, blue = class_colour(int(detections.class_ids[row]))
            darker = (red * 2 // 3, green * 2 // 3, blue * 2 // 3)
            cv2.rectangle(picture, upper_left, lower_right, darker, 1, cv2.LINE_AA, _SHIFT)


def _draw_tracks(picture: Image, result: FrameResult, to_picture: npt.NDArray[np.float64], scale: float) -> None:
    tracks = result.tracks
    # far ones first: those whose box ends lower in the image are nearer
    for row in np.argsort(tracks.boxes_xyxy[:, 3], kind="stable").tolist():
        class_id = int(tracks.class_ids[row])
        corners = tracks.boxes_xyxy[row].reshape(2, 2) * to_picture
        colour = class_colour(class_id)
        if tracks.detection_rows[row] < 0:
            _dashed_box(picture, corners, colour, round(10 * scale))
            continue
        upper_left, lower_right = _fixed(corners)
        cv2.rectangle(picture, upper_left, lower_right, colour, max(1, round(2 * scale)), cv2.LINE_AA, _SHIFT)


def _draw_tags(picture: Image, result: FrameResult, to_picture: npt.NDArray[np.float64], scale: float) -> None:
    """Class, id and score of tracks; the nearest choose their place first, and none hides another."""
    tracks, text_height = result.tracks, 14 * scale
    pad = max(2, round(text_height * 0.25))
    taken: list[Rect] = []
    for row in np.argsort(-tracks.boxes_xyxy[:, 3], kind="stable").tolist():
        if tracks.detection_rows[row] < 0:
            continue
        (x1, y1), (x2, _) = (tracks.boxes_xyxy[row].reshape(2, 2) * to_picture).tolist()
        class_id, track_id = int(tracks.class_ids[row]), int(tracks.track_ids[row])
        whole = f"{OBJECT_CLASSES[class_id].replace('_', ' ')} {track_id}  {tracks.scores[row]:.2f}"
        for label in (whole, str(track_id)):
            width, height = (length + 2 * pad for length in text_size(label, text_height))
            # a far car must not hide the road behind its label
            if label == whole and width > 1.7 * (x2 - x1):
                continue
            left = int(np.clip(round(x1), 0, max(0, picture.shape[1] - width)))
            top = round(y1) - height if y1 >= height else max(0, round(y1))
            place = Rect(left, top, width, height)
            if not any(place.overlaps(other) for other in taken):
                taken.append(place)
                colour = class_colour(class_id)
                cv2.rectangle(picture, (left, top), (left + width, top + height), colour, -1)
                put_text(picture, label, left + pad, top + height - pad, text_height, _ink_on(colour))
                break


def _ink_on(colour: Colour) -> Colour:
    luminance = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
    return (16, 18, 22) if luminance > 120 else (255, 255, 255)


def _dashed_box(picture: Image, corners: npt.NDArray[np.float64], colour: Colour, dash_px: int) -> None:
    """Corner marks only: a track that is not seen in this frame."""
    (x1, y1), (x2, y2) = corners
    reach_x, reach_y = min(dash_px, (x2 - x1) / 3), min(dash_px, (y2 - y1) / 3)
    for x, inward_x in ((x1, reach_x), (x2, -reach_x)):
        for y, inward_y in ((y1, reach_y), (y2, -reach_y)):
            corner, across, along = _fixed(np.array([[x, y], [x + inward_x, y], [x, y + inward_y]]))
            _line(picture, corner, across, colour, 1)
            _line(picture, corner, along, colour, 1)


def _draw_keypoints(picture: Image, result: FrameResult, to_picture: npt.NDArray[np.float64], scale: float) -> None:
    keypoints = result.detections.keypoints
    if keypoints is None or keypoints.shape[1] != 17:
        return
    for row, person in enumerate(keypoints):
        good = np.isfinite(person).all(axis=1) & (person[:, 2] >= _MIN_KEYPOINT_CONFIDENCE)
        points = _fixed(np.where(good[:, None], person[:, :2], 0.0) * to_picture)
        colour = class_colour(int(result.detections.class_ids[row]))
        for start, end in _LIMBS:
            if good[start] and good[end]:
                _line(picture, points[start], points[end], colour, max(1, round(2 * scale)))


def _fixed(points_px: npt.NDArray[np.floating]) -> list[tuple[int, int]]:
    """Points in cv2's fixed-point coordinates, whose whole values lie on pixel centres."""
    # far outside is as good as just outside, and keeps cv2 within its integers
    near = np.clip(np.asarray(points_px, np.float64) - 0.5, -20_000, 20_000)
    return [(int(x), int(y)) for x, y in np.rint(near * (1 << _SHIFT))]


def _line(picture: Image, start: tuple[int, int], end: tuple[int, int], colour: Colour, thickness: int) -> None:
    cv2.line(picture, start, end, colour, thickness, cv2.LINE_AA, _SHIFT)
