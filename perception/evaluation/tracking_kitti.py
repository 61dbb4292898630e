"""KITTI's rules on what counts in tracking: classes, neighbours, occlusion, truncation, small boxes, DontCare.

Two rule sets exist. ``kitti_sequence`` follows TrackEval's KITTI 2D box dataset, which removes boxes before anything is
counted. ``amota_sequence`` follows AB3DMOT's evaluator, which grew out of KITTI's older one and corrects its counts
afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from perception.evaluation.intake import Intake
from perception.evaluation.kitti_rows import KITTI_CLASSES, NEIGHBOURS, KittiRows, kitti_class_id
from perception.evaluation.tracking_amota import AmotaSequence
from perception.evaluation.tracking_data import TrackingSequence, first_of_each_id, frame_pairs
from perception.kernels.evaluation import unique_matches
from perception.kernels.frame_overlaps import box_overlaps, inside_any
from perception.kernels.rotated_iou import paired_overlap_3d

__all__ = ["amota_sequence", "drop_duplicate_ids", "kitti_sequence", "pair_similarity"]

Float64Array = npt.NDArray[np.float64]

MAX_OCCLUSION = 2
MAX_TRUNCATION = 0
MIN_HEIGHT_PX = 25.0
MATCH_IOU = 0.5
DONT_CARE_SHARE = 0.5
EPS = float(np.finfo(np.float64).eps)

_DONT_CARE = KITTI_CLASSES.index("DontCare")


def drop_duplicate_ids(rows: KittiRows, name: str, owner: str, intake: Intake) -> KittiRows:
    """Refuses an id that a class has twice in one frame, as the devkit does; a lenient intake keeps the first row.

    Args:
        rows: of one sequence.
        name: the sequence, for the message.
        owner: ``the ground truth`` or ``the prediction``.
        intake: what to do.
    """
    ids = np.where(rows.class_ids == _DONT_CARE, -1, rows.track_ids)
    keep = first_of_each_id(name, owner, rows.frames, ids, intake, rows.class_ids)
    return rows if keep.all() else rows.select(keep)


def pair_similarity(gt: KittiRows, pred: KittiRows, frame_count: int, space: str) -> Float64Array:
    """(pairs,) IoU of every pair that shares a frame: of image boxes (``2d``) or of 3D boxes (``3d``)."""
    gt_starts, pred_starts = gt.starts(frame_count), pred.starts(frame_count)
    if space == "2d":
        return box_overlaps(gt.boxes_xyxy, gt_starts, pred.boxes_xyxy, pred_starts)
    gt_rows, pred_rows = frame_pairs(gt_starts, pred_starts)
    return paired_overlap_3d(gt.boxes3d, pred.boxes3d, gt_rows, pred_rows)[1]


def _is_one_of(rows: KittiRows, names: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.isin(rows.class_ids, [kitti_class_id(name) for name in names])


def kitti_sequence(
    gt: KittiRows, pred: KittiRows, class_name: str, frame_count: int, name: str, space: str = "2d"
) -> TrackingSequence:
    """One class of one sequence after TrackEval's four steps of preprocessing.

    Args:
        gt: all label rows, DontCare with them.
        pred: all predicted rows.
        class_name: such as ``Car``.
        frame_count: frames of the sequence, with the empty ones.
        name: for messages.
        space: ``2d``, or ``3d`` for 3D IoU in place of image IoU; heights and DontCare stay in the image.

    Raises:
        InputFormatError: an id occurs twice in one frame.
    """
    regions = gt.select(gt.class_ids == _DONT_CARE)
    gt = gt.select(_is_one_of(gt, [class_name, *NEIGHBOURS.get(class_name, ())]) & (gt.track_ids >= 0))
    pred = pred.select(_is_one_of(pred, [class_name]))
    gt_starts, pred_starts = gt.starts(frame_count), pred.starts(frame_count)
    sequence = TrackingSequence.build(
        name, gt_starts, gt.track_ids, pred_starts, pred.track_ids, pair_similarity(gt, pred, frame_count, space)
    )
    counts = _is_one_of(gt, [class_name]) & (gt.occlusions <= MAX_OCCLUSION) & (gt.truncations <= MAX_TRUNCATION)
    gt_of_pred = unique_matches(gt_starts, pred_starts, sequence.pair_starts, sequence.similarity, MATCH_IOU)
    matched = gt_of_pred >= 0
    heights = pred.boxes_xyxy[:, 3] - pred.boxes_xyxy[:, 1]
    in_region = inside_any(
        pred.boxes_xyxy, pred_starts, regions.boxes_xyxy, regions.starts(frame_count), DONT_CARE_SHARE + EPS
    )
    unmatched_kept = ~(heights <= MIN_HEIGHT_PX + EPS) & ~in_region
    if len(counts):
        pred_kept = np.where(matched, counts[gt_of_pred], unmatched_kept)
    else:
        pred_kept = unmatched_kept
    return sequence.keep(counts, pred_kept)


def amota_sequence(
    gt: KittiRows, pred: KittiRows, class_name: str, frame_count: int, name: str, space: str = "3d"
) -> AmotaSequence:
    """One class of one sequence as AB3DMOT's evaluator reads it.

    Neighbouring classes are read on both sides: a predicted van takes part in the matching of cars, and is ignored
    where it matches nothing.
    """
    neighbours = NEIGHBOURS.get(class_name, ())
    regions = gt.select(gt.class_ids == _DONT_CARE)
    gt = gt.select(_is_one_of(gt, [class_name, *neighbours]) & (gt.track_ids >= 0))
    pred = pred.select(_is_one_of(pred, [class_name, *neighbours]))
    heights = np.abs(pred.boxes_xyxy[:, 3] - pred.boxes_xyxy[:, 1])
    in_region = inside_any(
        pred.boxes_xyxy,
        pred.starts(frame_count),
        regions.boxes_xyxy,
        regions.starts(frame_count),
        DONT_CARE_SHARE,
    )
    return AmotaSequence(
        name=name,
        gt_starts=gt.starts(frame_count),
        gt_ids=gt.track_ids,
        gt_ignorable=((gt.occlusions > MAX_OCCLUSION) | (gt.truncations > MAX_TRUNCATION) | _is_one_of(gt, neighbours)),
        pred_starts=pred.starts(frame_count),
        pred_ids=pred.track_ids,
        # AB3DMOT gives rows without a score the score -1
        pred_scores=np.where(np.isnan(pred.scores), -1.0, pred.scores),
        pred_ignorable=(heights <= MIN_HEIGHT_PX) | in_region | _is_one_of(pred, neighbours),
        similarity=pair_similarity(gt, pred, frame_count, space),
    )
