"""The pipeline's 3D tracker: lifted detections tracked as boxes in the world, the others in the image.

Camera and lidar continue each other. A detection that could not be lifted first looks for a track that coasts: where it
lies on that track's projected box it is a sighting, which corrects the track across the line of sight, weakly along it,
and adds to its evidence. One on a box that was lifted in this frame is that box's double. What is left is tracked in
the image, and such tracks carry a 3D box of score 0. When an object tracked in the image is lifted for the first time,
its new track takes over its id.

Several cameras take turns: each frame of a moment is one call of ``update``. In the world an object is one track, by
however many cameras it is seen; in the image every camera, told apart by its name, has a tracker of its own.
"""

from __future__ import annotations

import copy

import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES
from perception.geometry import SE3, PinholeCamera
from perception.kernels import assignment
from perception.kernels.boxes import iou_matrix
from perception.tracking.box_tracker import BoxTracker, BoxTracks
from perception.tracking.image_tracker import ImageTracker
from perception.tracking.settings import BoxTrackerSettings
from perception.types import Boxes3D, Detections, Frame, Tracks

__all__ = ["WorldTracker"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Int64Array = npt.NDArray[np.int64]

# a camera box on a coasting track's projection, or a lifted one on an image track's expected box, with this IoU is
# taken for the same object
_SAME_OBJECT_IOU = 0.4
# a camera box on a lifted detection's with this IoU is its double; neighbours in a crowd overlap by less
_DOUBLE_IOU = 0.7


class WorldTracker:
    """Follows objects in the world; plays the ``Tracker`` role."""

    def __init__(self, settings: BoxTrackerSettings, image_tracker: ImageTracker, min_hits: int) -> None:
        self._boxes = BoxTracker(settings)
        self._image_prototype = image_tracker
        self._images: dict[str, ImageTracker] = {}
        self._min_hits = min_hits
        self._class_ids = np.array([OBJECT_CLASSES.index(name) for name in settings.class_names], np.int64)
        self._row_of_class = np.full(len(OBJECT_CLASSES), -1, np.int64)
        self._row_of_class[self._class_ids] = np.arange(len(self._class_ids))
        self.reset()

    def reset(self) -> None:
        """Forgets all tracks and starts ids anew."""
        self._boxes.reset()
        self._image_prototype.reset()
        self._images.clear()
        # id here of the live tracks of each tracker: by camera, None for tracks in the world
        self._ids: dict[tuple[str | None, int], int] = {}
        # of each camera: when it last looked, and the tracks in its image then
        self._last_image: dict[str, tuple[int, Tracks]] = {}
        self._next_id = 1

    def update(self, frame: Frame, detections: Detections, boxes3d: Boxes3D, world_SE3_ego: SE3) -> Tracks:
        """Tracks after this frame, boxes in its pixels and in its ego frame."""
        class_rows = self._row_of_class[detections.class_ids]
        lifted = (boxes3d.scores > 0) & (class_rows >= 0) & (boxes3d.sizes_lwh > 0).all(axis=1)
        rows_3d, rows_2d = np.flatnonzero(lifted), np.flatnonzero(~lifted)
        boxes = np.concatenate(
            [boxes3d.centers_ego[rows_3d], boxes3d.yaws[rows_3d, None], boxes3d.sizes_lwh[rows_3d]], axis=1
        ).astype(np.float64)
        projection, size = _projection(frame.camera)
        tracked = self._boxes.step(
            boxes, _log_odds(detections.scores[rows_3d]), class_rows[rows_3d], frame.timestamp_ns, world_SE3_ego,
            projection, size,
        )  # fmt: skip
        if len(rows_2d) and projection is not None:
            rows_2d = self._without_doubles(detections, rows_3d, rows_2d)
            tracked, seen, rows_2d = self._continue_coasting(tracked, detections, rows_2d)
        else:
            seen = {}
        detection_rows = _mapped(rows_3d, tracked.detection_rows)
        for track_id, row in seen.items():
            detection_rows[tracked.track_ids == track_id] = row
        camera = frame.camera.name if frame.camera is not None else ""
        image_tracker = self._images.get(camera)
        if image_tracker is None:
            image_tracker = self._images[camera] = copy.deepcopy(self._image_prototype)
        self._take_over(tracked, detection_rows, detections, camera, frame.timestamp_ns)
        # at the start of a drive nothing can be old; what was tracked in the image is known already
        known = np.array([(None, int(i)) in self._ids for i in tracked.track_ids], np.bool_)
        shown = known | (tracked.ages >= min(self._min_hits, image_tracker.frames_seen + 1))
        looks, now_H_last = image_tracker.context(frame, detections, world_SE3_ego)
        image = image_tracker.track_boxes(
            detections.boxes_xyxy[rows_2d], detections.scores[rows_2d], detections.class_ids[rows_2d],
            frame.timestamp_ns, None if looks is None else looks[rows_2d], now_H_last,
        )  # fmt: skip
        self._last_image[camera] = frame.timestamp_ns, image
        return self._joined(tracked, detection_rows, shown, image, camera, rows_2d, detections)

    def _without_doubles(self, detections: Detections, rows_3d: Int64Array, rows_2d: Int64Array) -> Int64Array:
        """The camera detections that are not a lifted one's object once more."""
        boxes = detections.boxes_xyxy
        doubles = iou_matrix(boxes[rows_2d], boxes[rows_3d]) > _DOUBLE_IOU
        doubles &= detections.class_ids[rows_2d][:, None] == detections.class_ids[rows_3d][None]
        return rows_2d[~doubles.any(axis=1)]

    def _continue_coasting(
        self, tracked: BoxTracks, detections: Detections, rows_2d: Int64Array
    ) -> tuple[BoxTracks, dict[int, int], Int64Array]:
        """Gives camera detections to the coasting tracks they lie on.

        Returns:
            Tracks to show now, the row of each track that was seen so, and the rows that are left.
        """
        coasting = np.flatnonzero(tracked.detection_rows < 0)
        column = self._on_boxes(
            tracked.boxes_xyxy[coasting], self._class_ids[tracked.class_rows[coasting]], detections, rows_2d
        )
        found = column >= 0
        if not found.any():
            return tracked, {}, rows_2d
        ids, rows = tracked.track_ids[coasting[found]], rows_2d[column[found]]
        tracked = self._boxes.correct_from_camera(
            ids, detections.boxes_xyxy[rows].astype(np.float64), _log_odds(detections.scores[rows])
        )
        return tracked, dict(zip(ids.tolist(), rows.tolist(), strict=True)), np.delete(rows_2d, column[found])

    def _take_over(
        self, tracked: BoxTracks, detection_rows: Int64Array, detections: Detections, camera: str, timestamp_ns: int
    ) -> None:
        """Gives the ids of image tracks to newborn tracks in the world whose detections lie where those should be."""
        then_ns, image = self._last_image.get(camera, (timestamp_ns, None))
        newborn = np.flatnonzero((tracked.ages == 1) & (detection_rows >= 0))
        newborn = newborn[[(None, int(i)) not in self._ids for i in tracked.track_ids[newborn]]]
        if image is None or not len(image) or not len(newborn):
            return
        gone = np.tile(image.velocities * np.float32((timestamp_ns - then_ns) * 1e-9), (1, 2))
        row = self._on_boxes(image.boxes_xyxy + gone, image.class_ids, detections, detection_rows[newborn])
        for track in np.flatnonzero(row >= 0):
            shared = self._ids.pop((camera, int(image.track_ids[track])), None)
            if shared is not None:
                self._ids[None, int(tracked.track_ids[newborn[row[track]]])] = shared

    def _on_boxes(
        self,
        boxes_xyxy: npt.NDArray[np.floating],
        class_ids: Int64Array,
        detections: Detections,
        rows: Int64Array,
    ) -> Int64Array:
        """(K,) place in ``rows`` of the detection of its class that lies on each of K boxes, -1 where none does."""
        costs = 1.0 - iou_matrix(boxes_xyxy.astype(np.float32), detections.boxes_xyxy[rows]).astype(np.float64)
        costs[class_ids[:, None] != detections.class_ids[rows][None]] = np.inf
        return assignment.assign_gated(costs, 1.0 - _SAME_OBJECT_IOU)

    def _joined(
        self,
        tracked: BoxTracks,
        detection_rows: Int64Array,
        shown: npt.NDArray[np.bool_],
        image: Tracks,
        camera: str,
        rows_2d: Int64Array,
        detections: Detections,
    ) -> Tracks:
        keep = np.flatnonzero(shown)
        boxes_ego = tracked.boxes_ego[keep]
        rows = detection_rows[keep]
        seen = rows >= 0
        boxes_xyxy = np.zeros((len(keep), 4), np.float32)
        if len(tracked.boxes_xyxy):
            boxes_xyxy[:] = tracked.boxes_xyxy[keep]
        # the detector's own box is nearer to the object's outline than a projected cuboid
        boxes_xyxy[seen] = detections.boxes_xyxy[rows[seen]]
        probability = (1.0 / (1.0 + np.exp(-tracked.scores[keep]))).astype(np.float32)
        none = Boxes3D.empty(len(image))
        image_rows = _mapped(rows_2d, image.detection_rows)
        return Tracks(
            track_ids=self._shared_ids(tracked, keep, image, camera),
            boxes_xyxy=np.concatenate([boxes_xyxy, image.boxes_xyxy]),
            boxes3d=Boxes3D(
                np.concatenate([boxes_ego[:, :3].astype(np.float32), none.centers_ego]),
                np.concatenate([boxes_ego[:, 4:].astype(np.float32), none.sizes_lwh]),
                np.concatenate([boxes_ego[:, 3].astype(np.float32), none.yaws]),
                np.concatenate([np.maximum(probability, np.float32(1e-6)), none.scores]),
            ),
            velocities=np.concatenate(
                [np.pad(tracked.velocities_world[keep], ((0, 0), (0, 1))), np.zeros((len(image), 3))]
            ).astype(np.float32),
            scores=np.concatenate([probability, image.scores]),
            class_ids=np.concatenate([self._class_ids[tracked.class_rows[keep]], image.class_ids]),
            detection_rows=np.concatenate([rows, image_rows]),
            ages=np.concatenate([tracked.ages[keep], image.ages]),
        )

    def _shared_ids(self, tracked: BoxTracks, keep: Int64Array, image: Tracks, camera: str) -> Int64Array:
        """One numbering for every kind of track, kept as long as its tracker knows the track."""
        keys: list[tuple[str | None, int]] = [(None, int(i)) for i in tracked.track_ids[keep]]
        keys += [(camera, int(i)) for i in image.track_ids]
        for key in keys:
            if key not in self._ids:
                self._ids[key] = self._next_id
                self._next_id += 1
        live: set[tuple[str | None, int]] = {(None, i) for i in self._boxes.live_ids()}
        for name, tracker in self._images.items():
            live |= {(name, i) for i in tracker.live_ids()}
        result = np.array([self._ids[key] for key in keys], np.int64)
        self._ids = {key: value for key, value in self._ids.items() if key in live}
        return result


def _projection(camera: PinholeCamera | None) -> tuple[Float64Array | None, tuple[float, float]]:
    if camera is None:
        return None, (np.inf, np.inf)
    cam_SE3_ego = camera.cam_SE3_ego
    matrix = camera.matrix @ np.concatenate([cam_SE3_ego.rotation, cam_SE3_ego.translation[:, None]], axis=1)
    return matrix, (float(camera.width_px), float(camera.height_px))


def _mapped(rows: Int64Array, chosen: Int64Array) -> Int64Array:
    """``rows[chosen]``, with -1 where nothing was chosen."""
    result = np.full(len(chosen), -1, np.int64)
    result[chosen >= 0] = rows[chosen[chosen >= 0]]
    return result


def _log_odds(scores: Float32Array) -> Float64Array:
    probability = np.clip(scores.astype(np.float64), 1e-4, 1.0 - 1e-4)
    return np.asarray(np.log(probability / (1.0 - probability)))
