"""How the image moved as a whole because the camera did, told to image trackers as a homography.

From poses: the rotation between two frames moves every pixel alike, near or far; what translation adds is left to the
tracks' filters, which see it as velocity. From images: corners of the background are followed by sparse optical flow
(Lucas and Kanade in pyramids) in a reduced picture, and RANSAC fits a motion to them.
"""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from perception.geometry import SE3
from perception.types import Frame

__all__ = ["CameraMotion"]

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_WORKING_WIDTH_PX = 384
_MAX_CORNERS = 120
_MIN_CORNERS = 12
_MIN_INLIER_SHARE = 0.35
_INLIER_PX = 1.0
# boxes grow by this share before corners inside are left out
_MARGIN = 0.05


class CameraMotion:
    """Estimates the image's motion between consecutive frames.

    Args:
        source: ``poses`` or ``images``.
        model: what is fitted to the images' corners; poses always give a homography.
    """

    def __init__(
        self,
        source: Literal["poses", "images"],
        model: Literal["similarity", "affine", "homography"] = "similarity",
    ) -> None:
        self._source = source
        self._model = model
        self.reset()

    def reset(self) -> None:
        """Forgets the last frame."""
        self._world_SE3_cam: SE3 | None = None
        self._grey: npt.NDArray[np.uint8] | None = None
        self._corners: Float32Array = np.zeros((0, 1, 2), np.float32)

    def estimate(self, frame: Frame, boxes_xyxy: Float32Array, world_SE3_ego: SE3) -> Float64Array | None:
        """``now_H_last``: takes pixels of the last frame's background to this frame's.

        Args:
            frame: the image and its camera.
            boxes_xyxy: (N, 4) f32 px of what may move by itself.
            world_SE3_ego: pose of the frame.

        Returns:
            (3, 3) f64, or None in the first frame and where nothing can be told.
        """
        if self._source == "poses":
            return self._from_poses(frame, world_SE3_ego)
        return self._from_images(frame, boxes_xyxy)

    def _from_poses(self, frame: Frame, world_SE3_ego: SE3) -> Float64Array | None:
        if frame.camera is None:
            return None
        last, self._world_SE3_cam = self._world_SE3_cam, world_SE3_ego @ frame.camera.ego_SE3_cam
        if last is None:
            return None
        now_R_last = self._world_SE3_cam.rotation.T @ last.rotation
        intrinsics = frame.camera.matrix
        return np.ascontiguousarray(intrinsics @ now_R_last @ np.linalg.inv(intrinsics))

    def _from_images(self, frame: Frame, boxes_xyxy: Float32Array) -> Float64Array | None:
        height_px, width_px = frame.image_rgb.shape[:2]
        # whole blocks of pixels are averaged many times faster than other reductions; the green channel alone is most
        # of the brightness
        block_px = max(1, min(round(width_px / _WORKING_WIDTH_PX), width_px, height_px))
        scale = 1.0 / block_px
        size = (width_px // block_px, height_px // block_px)
        green = cv2.extractChannel(frame.image_rgb, 1)[: size[1] * block_px, : size[0] * block_px]
        grey = cv2.resize(green, size, interpolation=cv2.INTER_AREA)
        background = np.full(grey.shape, 255, np.uint8)
        for x1, y1, x2, y2 in boxes_xyxy * np.float32(scale):
            grow_x, grow_y = _MARGIN * (x2 - x1) + 1.0, _MARGIN * (y2 - y1) + 1.0
            left, top = max(0, int(x1 - grow_x)), max(0, int(y1 - grow_y))
            background[top : max(0, int(y2 + grow_y) + 1), left : max(0, int(x2 + grow_x) + 1)] = 0
        motion = None
        if self._grey is not None and self._grey.shape == grey.shape and len(self._corners) >= _MIN_CORNERS:
            motion = self._fit(grey, background)
        found = cv2.goodFeaturesToTrack(grey, _MAX_CORNERS, 0.01, 6, mask=background, blockSize=3)
        self._grey = grey
        self._corners = np.zeros((0, 1, 2), np.float32) if found is None else found
        if motion is None:
            return None
        shift = 0.5 * scale - 0.5
        reduced_H_full = np.array([[scale, 0.0, shift], [0.0, scale, shift], [0.0, 0.0, 1.0]])
        return np.ascontiguousarray(np.linalg.inv(reduced_H_full) @ motion @ reduced_H_full)

    def _fit(self, grey: npt.NDArray[np.uint8], background: npt.NDArray[np.uint8]) -> Float64Array | None:
        moved, status, _ = cv2.calcOpticalFlowPyrLK(
            self._grey, grey, self._corners, None, winSize=(9, 9), maxLevel=3,
            criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 10, 0.03),
        )  # fmt: skip
        u = np.clip(moved[:, 0, 0], 0, grey.shape[1] - 1).astype(np.int64)
        v = np.clip(moved[:, 0, 1], 0, grey.shape[0] - 1).astype(np.int64)
        usable = (status[:, 0] == 1) & (background[v, u] > 0)
        before, after = self._corners[usable, 0], moved[usable, 0]
        if len(before) < _MIN_CORNERS:
            return None
        motion = np.eye(3)
        if self._model == "homography":
            fitted, inliers = cv2.findHomography(before, after, cv2.RANSAC, _INLIER_PX, maxIters=200, confidence=0.99)
        else:
            fit = cv2.estimateAffinePartial2D if self._model == "similarity" else cv2.estimateAffine2D
            fitted, inliers = fit(
                before, after, method=cv2.RANSAC, ransacReprojThreshold=_INLIER_PX, maxIters=200, confidence=0.99
            )
        if fitted is None or inliers.sum() < max(_MIN_CORNERS, _MIN_INLIER_SHARE * len(before)):
            return None
        motion[: len(fitted)] = fitted
        return motion
