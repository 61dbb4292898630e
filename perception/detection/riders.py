"""Makes one cyclist of a person and the bicycle or motorcycle under them.

Detectors trained on COCO see two objects; KITTI's cyclist box covers rider and bicycle together.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from perception.classes import OBJECT_CLASSES
from perception.kernels.boxes import iou_matrix
from perception.types import Detections

__all__ = ["merge_riders"]

_PEDESTRIAN = OBJECT_CLASSES.index("pedestrian")
_CYCLIST = OBJECT_CLASSES.index("cyclist")
_BIKES = (OBJECT_CLASSES.index("bicycle"), OBJECT_CLASSES.index("motorcycle"))

# Shares of the bike's width or height, or of the person's height. Set on the cyclists and the pedestrians beside parked
# bicycles of KITTI object frames: a rider's feet are off the ground and their head is well above the handlebar, while
# whoever stands at a bicycle reaches the ground with it or covers it in full.
_MAX_SIDE_OFFSET = 0.5
_FEET_ABOVE_GROUND = (0.02, 0.5)
_MIN_HEAD_ABOVE_BIKE = 0.3
_BIKE_HEIGHT_OF_PERSON = (0.4, 1.1)
# two boxes of one bicycle that suppression left, as a bicycle and as a motorcycle
_SAME_BIKE_IOU = 0.4
# a person who is seen clearly does not turn into a cyclist by a bike that hardly is
_MIN_BIKE_SCORE_OF_PERSON = 0.25


def merge_riders(detections: Detections) -> Detections:
    """Replaces each rider's row by a cyclist that covers rider and bike, and leaves out the bike's rows.

    A bike carries one rider and a rider sits on one bike: the surest pairs are taken first, of equally sure ones the
    best centred. The cyclist gets the higher score of the two, since each box confirms the other. All other rows stay
    as they are, in order.
    """
    people = np.flatnonzero(detections.class_ids == _PEDESTRIAN)
    bikes = np.flatnonzero(np.isin(detections.class_ids, _BIKES))
    if not len(people) or not len(bikes):
        return detections
    boxes = detections.boxes_xyxy.copy()
    scores = detections.scores.copy()
    class_ids = detections.class_ids.copy()
    stays = np.ones(len(detections), bool)
    offsets = _side_offsets(boxes[people], boxes[bikes])
    same_bike = iou_matrix(boxes[bikes], boxes[bikes]) >= _SAME_BIKE_IOU
    person_scores, bike_scores = scores[people][:, None], scores[bikes][None]
    rides = np.isfinite(offsets) & (bike_scores >= _MIN_BIKE_SCORE_OF_PERSON * person_scores)
    person_rows, bike_rows = np.nonzero(rides)
    order = np.lexsort((offsets[rides], -(person_scores * bike_scores)[rides]))
    for person_at, bike_at in zip(person_rows[order], bike_rows[order], strict=True):
        person, bike = people[person_at], bikes[bike_at]
        if class_ids[person] == _CYCLIST or not stays[bike]:
            continue
        stays[bikes[same_bike[bike_at]]] = False
        stays[bike] = False
        boxes[person, :2] = np.minimum(boxes[person, :2], boxes[bike, :2])
        boxes[person, 2:] = np.maximum(boxes[person, 2:], boxes[bike, 2:])
        scores[person] = max(scores[person], scores[bike])
        class_ids[person] = _CYCLIST
    return Detections(boxes, scores, class_ids, detections.keypoints).select(stays)


def _side_offsets(people: npt.NDArray[np.float32], bikes: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """(P, B) distance between the centres in u as a share of the bike's width; infinite where no one rides."""
    person_x1, person_y1, person_x2, person_y2 = people.astype(np.float64).T[:, :, None]
    bike_x1, bike_y1, bike_x2, bike_y2 = bikes.astype(np.float64).T[:, None, :]
    person_height = np.maximum(person_y2 - person_y1, 1e-6)
    bike_width, bike_height = np.maximum(bike_x2 - bike_x1, 1e-6), np.maximum(bike_y2 - bike_y1, 1e-6)
    offset = np.abs((person_x1 + person_x2) - (bike_x1 + bike_x2)) / 2 / bike_width
    feet = (bike_y2 - person_y2) / bike_height
    head = (bike_y1 - person_y1) / person_height
    height_ratio = bike_height / person_height
    rides = (
        (offset <= _MAX_SIDE_OFFSET)
        & (feet >= _FEET_ABOVE_GROUND[0])
        & (feet <= _FEET_ABOVE_GROUND[1])
        & (head >= _MIN_HEAD_ABOVE_BIKE)
        & (height_ratio >= _BIKE_HEIGHT_OF_PERSON[0])
        & (height_ratio <= _BIKE_HEIGHT_OF_PERSON[1])
    )
    return np.where(rides, offset, np.inf)
