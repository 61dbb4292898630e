"""Ego-motion from one camera: tracked corners, the essential matrix, and scale from the road's known distance.

A first estimate for drives without poses and lidar. The scale comes from the camera's height over the road, so with a
guessed calibration the path is right only up to that guess. Motion is kept in the plane: over a minute a drift in roll
and pitch would harm the map more than a slope does.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np
import numpy.typing as npt

from perception.config import EgoMotionConfig
from perception.egomotion.simple import extrapolate
from perception.geometry import SE3, PinholeCamera, guess_camera
from perception.types import Frame

__all__ = ["VisualOdometry"]

WORKING_WIDTH_PX = 640
STANDSTILL_PX = 0.25
MIN_TRACKED = 25
MIN_ROAD_POINTS = 8
MAX_SPEED_M_PER_S = 60.0
ROAD_SLOPES = np.tan(np.radians(np.arange(-2.5, 2.51, 0.5)))


class VisualOdometry:
    """Frame-to-frame visual odometry in the plane."""

    source = "camera (estimated by visual odometry, scale from the camera height)"

    def __init__(self, settings: EgoMotionConfig) -> None:
        self._max_corners = settings.visual_features
        self.reset()

    def reset(self) -> None:
        """Forgets the drive."""
        self._grey: npt.NDArray[np.uint8] | None = None
        self._corners: npt.NDArray[np.float32] = np.zeros((0, 1, 2), np.float32)
        self._last = SE3.identity()
        self._previous = SE3.identity()
        self._last_ns: int | None = None
        self._steps_m: deque[float] = deque(maxlen=5)

    def estimate(self, frame: Frame) -> SE3:
        """``world_SE3_ego``; the first frame is the origin."""
        height_px, width_px = frame.image_rgb.shape[:2]
        camera = frame.camera or guess_camera(width_px, height_px)
        scale = min(1.0, WORKING_WIDTH_PX / width_px)
        size = (round(width_px * scale), round(height_px * scale))
        grey = cv2.cvtColor(cv2.resize(frame.image_rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        pose = self._last
        if self._grey is not None and self._grey.shape == grey.shape:
            motion = self._motion(grey, camera, scale, frame.timestamp_ns)
            pose = extrapolate(self._previous, self._last) if motion is None else self._last @ motion
        self._grey = grey
        self._corners = self._find_corners(grey)
        self._previous, self._last = self._last, pose
        self._last_ns = frame.timestamp_ns
        return pose

    def _find_corners(self, grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Corners of the whole picture and, with a threshold of its own, of its lower part: asphalt has faint ones."""
        road_top = 3 * grey.shape[0] // 5
        upper = cv2.goodFeaturesToTrack(grey[:road_top], self._max_corners // 2, 0.01, 7, blockSize=5)
        lower = cv2.goodFeaturesToTrack(grey[road_top:], self._max_corners // 2, 0.003, 7, blockSize=5)
        found = [] if upper is None else [upper]
        if lower is not None:
            found.append(lower + np.array([0, road_top], dtype=np.float32))
        return np.concatenate(found) if found else np.zeros((0, 1, 2), np.float32)

    def _motion(
        self, grey: npt.NDArray[np.uint8], camera: PinholeCamera, scale: float, timestamp_ns: int
    ) -> SE3 | None:
        """``last_SE3_now`` of the ego frame in the plane, or None when the picture does not tell."""
        if len(self._corners) < MIN_TRACKED:
            return None
        moved, status, _ = cv2.calcOpticalFlowPyrLK(
            self._grey, grey, self._corners, None, winSize=(15, 15), maxLevel=4,
            criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 0.03),
        )  # fmt: skip
        tracked = status[:, 0] == 1
        if tracked.sum() < MIN_TRACKED:
            return None
        before = self._corners[tracked, 0].astype(np.float64)
        after = moved[tracked, 0].astype(np.float64)
        if float(np.median(np.linalg.norm(after - before, axis=1))) < STANDSTILL_PX:
            self._steps_m.append(0.0)
            return SE3.identity()
        rays_before = camera.rays_cam((before + 0.5) / scale - 0.5)
        rays_after = camera.rays_cam((after + 0.5) / scale - 0.5)
        essential, inliers = cv2.findEssentialMat(
            rays_before[:, :2], rays_after[:, :2], np.eye(3), method=cv2.USAC_FAST, prob=0.999,
            threshold=1.0 / (camera.fx_px * scale),
        )  # fmt: skip
        if essential is None or essential.shape != (3, 3):
            return None
        _, rotation, direction, inliers = cv2.recoverPose(
            essential, rays_before[:, :2], rays_after[:, :2], np.eye(3), mask=inliers
        )
        used = inliers[:, 0] > 0
        now_SE3_last_cam = SE3(rotation, direction[:, 0])
        step_m = self._step_length_m(rays_before[used], rays_after[used], now_SE3_last_cam, camera, timestamp_ns)
        if step_m is None:
            return None
        last_SE3_now_cam = now_SE3_last_cam.inverse()
        last_SE3_now_cam = SE3(last_SE3_now_cam.rotation, last_SE3_now_cam.translation * step_m)
        motion = camera.ego_SE3_cam @ last_SE3_now_cam @ camera.cam_SE3_ego
        # the lever arm of the camera turns pitch into a false translation, so only the camera's own is kept
        shift = camera.ego_SE3_cam.rotation @ last_SE3_now_cam.translation
        return SE3.from_yaw(motion.yaw_rad, (shift[0], shift[1], 0.0))

    def _step_length_m(
        self,
        rays_before: npt.NDArray[np.float64],
        rays_after: npt.NDArray[np.float64],
        now_SE3_last: SE3,
        camera: PinholeCamera,
        timestamp_ns: int,
    ) -> float | None:
        """Metres per unit of the recovered translation, by the height of triangulated road points under the camera."""
        points = _triangulate(rays_before, rays_after, now_SE3_last)
        ego_R_cam = camera.ego_SE3_cam.rotation
        up = points @ ego_R_cam[2]
        ahead = points @ ego_R_cam[0]
        sideways = points @ ego_R_cam[1]
        camera_height_m = float(camera.ego_SE3_cam.translation[2])
        # below the camera, ahead, and no farther aside than a lane or two
        below = (up < 0) & (ahead > 0) & (np.abs(sideways) < 3.0 * -up) & (ahead < 12.0 * -up)
        if below.sum() >= MIN_ROAD_POINTS:
            step_m = camera_height_m / max(1e-6, _camera_height(-up[below], ahead[below]))
            seconds = 0.1 if self._last_ns is None else max(1e-3, (timestamp_ns - self._last_ns) * 1e-9)
            if step_m < MAX_SPEED_M_PER_S * seconds:
                self._steps_m.append(step_m)
        if not self._steps_m:
            return None
        return float(np.median(self._steps_m))


def _triangulate(
    rays_a: npt.NDArray[np.float64], rays_b: npt.NDArray[np.float64], b_SE3_a: SE3
) -> npt.NDArray[np.float64]:
    """(N, 3) points in frame a where (N, 3) rays of frames a and b come nearest; infinitely far ones become NaN."""
    a = rays_a @ b_SE3_a.rotation.T
    t = b_SE3_a.translation
    # depth_a * a + t = depth_b * b, solved for depth_a by the cross product with b
    across = np.cross(a, rays_b)
    shift = np.cross(np.broadcast_to(t, rays_b.shape), rays_b)
    norm = (across * across).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.where(norm > 1e-12, -(across * shift).sum(axis=1) / norm, np.nan)
    return np.asarray(rays_a * depth[:, None])


def _camera_height(below: npt.NDArray[np.float64], ahead: npt.NDArray[np.float64]) -> float:
    """Height of the camera over the plane that holds most points, in the units of the points.

    The road is the largest flat thing under a camera; its slope against the vehicle (load, hills) is searched, since
    one degree is a third of a metre 20 m ahead.
    """
    best_count, best_height = -1, 0.0
    for slope in ROAD_SLOPES:
        heights = np.sort(below - slope * ahead)
        heights = heights[heights > 0]
        if not heights.size:
            continue
        counts = np.searchsorted(heights, 1.08 * heights) - np.searchsorted(heights, 0.92 * heights)
        row = int(np.argmax(counts))
        if counts[row] > best_count:
            near = heights[np.abs(heights - heights[row]) <= 0.08 * heights[row]]
            best_count, best_height = int(counts[row]), float(np.median(near))
    return best_height
