"""Rigid transforms, pinhole cameras and 3D boxes, in metres and radians.

Frames: world z up; ego x forward, y left, z up, origin on the road (ISO 8855); camera x right, y down, z forward;
image u right, v down, pixels. Poses are named ``dst_SE3_src``: ``world_SE3_ego`` takes ego points to the world.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["EGO_R_CAM", "SE3", "PinholeCamera", "box_corners", "guess_camera", "wrap_angle"]

Float64Array = npt.NDArray[np.float64]

# a camera that looks straight ahead: its x is ego -y, its y is ego -z, its z is ego x
EGO_R_CAM: Float64Array = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True, slots=True, eq=False)
class SE3:
    """A rigid transform ``dst_SE3_src``.

    Attributes:
        rotation: (3, 3) f64, orthonormal with determinant 1.
        translation: (3,) f64, metres.

    Raises:
        ValueError: a shape is wrong, a value is not finite, or the rotation is not one.
    """

    rotation: Float64Array
    translation: Float64Array

    def __post_init__(self) -> None:
        rotation = np.asarray(self.rotation, dtype=np.float64)
        translation = np.asarray(self.translation, dtype=np.float64)
        if rotation.shape != (3, 3):
            raise ValueError(f"SE3.rotation must be (3, 3) but got shape {rotation.shape}")
        if translation.shape != (3,):
            raise ValueError(f"SE3.translation must be (3,) but got shape {translation.shape}")
        if not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
            raise ValueError("SE3 must be finite but holds NaN or infinity")
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-4 or np.linalg.det(rotation) < 0:
            raise ValueError(f"SE3.rotation must be a rotation but got {rotation.tolist()}")
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(self, "translation", translation)

    @classmethod
    def identity(cls) -> SE3:
        """The transform that moves nothing."""
        return cls(np.eye(3), np.zeros(3))

    @classmethod
    def from_matrix(cls, matrix: npt.ArrayLike) -> SE3:
        """From a (3, 4) or (4, 4) matrix; rotations that are off by rounding are made orthonormal."""
        array = np.asarray(matrix, dtype=np.float64)
        if array.shape not in ((3, 4), (4, 4)):
            raise ValueError(f"a pose matrix must be (3, 4) or (4, 4) but got shape {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError("a pose matrix must be finite but holds NaN or infinity")
        left, scale, right = np.linalg.svd(array[:3, :3])
        if np.abs(scale - 1.0).max() > 1e-2:
            raise ValueError(f"a pose matrix must hold a rotation but its singular values are {scale.tolist()}")
        return cls(left @ right, array[:3, 3])

    @classmethod
    def from_yaw(cls, yaw_rad: float, translation_m: npt.ArrayLike = (0.0, 0.0, 0.0)) -> SE3:
        """A rotation about z, then a translation."""
        cosine, sine = np.cos(yaw_rad), np.sin(yaw_rad)
        rotation = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        return cls(rotation, np.asarray(translation_m, dtype=np.float64))

    @property
    def matrix(self) -> Float64Array:
        """(4, 4) homogeneous form."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation
        matrix[:3, 3] = self.translation
        return matrix

    @property
    def yaw_rad(self) -> float:
        """Heading of the source's x axis in the destination's x-y plane."""
        return float(np.arctan2(self.rotation[1, 0], self.rotation[0, 0]))

    def inverse(self) -> SE3:
        """``src_SE3_dst``."""
        return SE3(self.rotation.T, -self.rotation.T @ self.translation)

    def __matmul__(self, other: SE3) -> SE3:
        """``a_SE3_b @ b_SE3_c`` is ``a_SE3_c``."""
        return SE3(self.rotation @ other.rotation, self.rotation @ other.translation + self.translation)

    def apply(self, points_src: npt.NDArray[np.floating]) -> Float64Array:
        """Takes (..., 3) points from the source to the destination frame."""
        return np.asarray(np.asarray(points_src, dtype=np.float64) @ self.rotation.T + self.translation)


@dataclass(frozen=True, slots=True, eq=False)
class PinholeCamera:
    """A calibrated pinhole camera with optional Brown-Conrady distortion (OpenCV's order k1 k2 p1 p2 k3 ...).

    Attributes:
        fx_px: focal length along u; likewise ``fy_px`` along v.
        cx_px: principal point u; likewise ``cy_px`` for v.
        width_px: image width; likewise ``height_px``.
        distortion: (0,), (4,), (5,) or (8,) f64 coefficients as cv2 orders them; empty for a rectified image.
        ego_SE3_cam: pose of the camera on the vehicle.
        name: the drive's name for it, such as ``image_02``.
        ego_SE3_ref: pose of the rig's reference camera, in whose frame the drive's 3D labels are written and results
            are expected (KITTI: the rectified camera 0); None where that is this camera itself.
    """

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float
    width_px: int
    height_px: int
    distortion: Float64Array
    ego_SE3_cam: SE3
    name: str = "camera"
    ego_SE3_ref: SE3 | None = None

    def __post_init__(self) -> None:
        if not (self.fx_px > 0 and self.fy_px > 0 and np.isfinite([self.fx_px, self.fy_px]).all()):
            raise ValueError(f"focal lengths must be positive but got fx={self.fx_px}, fy={self.fy_px}")
        if not np.isfinite([self.cx_px, self.cy_px]).all():
            raise ValueError(f"the principal point must be finite but got ({self.cx_px}, {self.cy_px})")
        if self.width_px < 1 or self.height_px < 1:
            raise ValueError(f"image size must be positive but got {self.width_px}x{self.height_px}")
        distortion = np.asarray(self.distortion, dtype=np.float64)
        if distortion.shape not in ((0,), (4,), (5,), (8,)):
            raise ValueError(f"distortion must hold 0, 4, 5 or 8 coefficients but got shape {distortion.shape}")
        if not np.isfinite(distortion).all():
            raise ValueError("distortion must be finite")
        object.__setattr__(self, "distortion", distortion)

    @property
    def matrix(self) -> Float64Array:
        """(3, 3) intrinsic matrix K, pixels."""
        return np.array([[self.fx_px, 0.0, self.cx_px], [0.0, self.fy_px, self.cy_px], [0.0, 0.0, 1.0]])

    @property
    def cam_SE3_ego(self) -> SE3:
        """Ego points to camera points."""
        return self.ego_SE3_cam.inverse()

    def project(self, points_cam: npt.NDArray[np.floating]) -> Float64Array:
        """Projects (N, 3) camera points to (N, 2) pixels; points at or behind the camera become NaN."""
        points = np.asarray(points_cam, dtype=np.float64).reshape(-1, 3)
        depth = points[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            x = np.where(depth > 1e-6, points[:, 0] / depth, np.nan)
            y = np.where(depth > 1e-6, points[:, 1] / depth, np.nan)
        x, y = self._distort(x, y)
        return np.stack([self.fx_px * x + self.cx_px, self.fy_px * y + self.cy_px], axis=1)

    def project_ego(self, points_ego: npt.NDArray[np.floating]) -> Float64Array:
        """Projects (N, 3) ego points to (N, 2) pixels; points at or behind the camera become NaN."""
        return self.project(self.cam_SE3_ego.apply(points_ego))

    def rays_cam(self, pixels: npt.NDArray[np.floating]) -> Float64Array:
        """(N, 3) camera-frame directions with z = 1 through (N, 2) pixels, undistorted by fixed-point iteration."""
        pixels = np.asarray(pixels, dtype=np.float64).reshape(-1, 2)
        target_x = (pixels[:, 0] - self.cx_px) / self.fx_px
        target_y = (pixels[:, 1] - self.cy_px) / self.fy_px
        x, y = target_x.copy(), target_y.copy()
        if self.distortion.size:
            for _ in range(20):
                distorted_x, distorted_y = self._distort(x, y)
                x += target_x - distorted_x
                y += target_y - distorted_y
        return np.stack([x, y, np.ones_like(x)], axis=1)

    def _distort(self, x: Float64Array, y: Float64Array) -> tuple[Float64Array, Float64Array]:
        if not self.distortion.size:
            return x, y
        k1, k2, p1, p2, k3, k4, k5, k6 = np.pad(self.distortion, (0, 8 - self.distortion.size))
        r2 = x * x + y * y
        radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
        return (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )


def guess_camera(
    width_px: int, height_px: int, height_m: float = 1.5, horizontal_fov_deg: float = 80.0
) -> PinholeCamera:
    """A forward-looking camera for footage without calibration: an assumption that a run must state.

    80 degrees is in the middle of what dashcams have (60 to 110 undistorted); the principal point is the image centre.
    """
    focal_px = 0.5 * width_px / float(np.tan(np.radians(horizontal_fov_deg) / 2))
    ego_SE3_cam = SE3(EGO_R_CAM, np.array([0.0, 0.0, height_m]))
    return PinholeCamera(
        focal_px,
        focal_px,
        width_px / 2,
        height_px / 2,
        width_px,
        height_px,
        np.zeros(0),
        ego_SE3_cam,
        "camera (guessed)",
    )


def box_corners(
    centers: npt.NDArray[np.floating], sizes_lwh: npt.NDArray[np.floating], yaws: npt.NDArray[np.floating]
) -> Float64Array:
    """(N, 8, 3) corners of boxes with z up: the four bottom ones counter-clockwise from front left, then the top ones.

    Args:
        centers: (N, 3) m, geometric centres.
        sizes_lwh: (N, 3) m, along x, y and z of the box.
        yaws: (N,) rad about z.
    """
    signs = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], dtype=np.float64) * 0.5
    local = np.empty((8, 3))
    local[:4, :2] = local[4:, :2] = signs
    local[:4, 2], local[4:, 2] = -0.5, 0.5
    scaled = local[None] * np.asarray(sizes_lwh, dtype=np.float64).reshape(-1, 1, 3)
    yaws = np.asarray(yaws, dtype=np.float64).reshape(-1, 1)
    cosine, sine = np.cos(yaws), np.sin(yaws)
    x = scaled[..., 0] * cosine - scaled[..., 1] * sine
    y = scaled[..., 0] * sine + scaled[..., 1] * cosine
    return np.stack([x, y, scaled[..., 2]], axis=-1) + np.asarray(centers, dtype=np.float64).reshape(-1, 1, 3)


def wrap_angle(angle_rad: npt.ArrayLike) -> Float64Array:
    """Angles to [-pi, pi).

    >>> float(wrap_angle(3 * np.pi / 2).round(6))
    -1.570796
    """
    return np.asarray((np.asarray(angle_rad, dtype=np.float64) + np.pi) % (2 * np.pi) - np.pi)
