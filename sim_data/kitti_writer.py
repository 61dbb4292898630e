"""Writes frames in the KITTI raw layout, the truth beside them. The only place that knows KITTI's conventions.

DATE/calib_cam_to_cam.txt  calib_velo_to_cam.txt  calib_imu_to_velo.txt
DATE/DATE_drive_NNNN_sync/image_02/data  velodyne_points/data  oxts/data        what a recorded drive holds
                          truth/semantic  instance  depth  flow                 a PNG per frame (and camera)
                          truth/label_02/NNNN.txt  poses.txt  objects.parquet   KITTI tracking labels, odometry rows
                          truth/map/                                            bird's-eye map, lines, fixed objects
                          sim.json                                              settings and status
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from perception.classes import KITTI_NAME_OF_OBJECT
from perception.files import replaced_when_done, write_text_atomic
from perception.geometry import SE3, PinholeCamera
from sim_data.rigs import Rig
from sim_data.simulation import SimFrame

__all__ = ["DATE", "KittiWriter", "drive_folder", "object_rows", "tracking_label"]

DATE = "2030_01_01"
_VELODYNE_HEIGHT_M = 1.73
# where KITTI's inertial unit sits, seen from its velodyne
_VELO_SE3_IMU = SE3(np.eye(3), np.array([-0.8087, 0.3196, -0.7997]))
# the reference, camera 0, lies 6 cm to the right of the left colour camera
_REFERENCE_FROM_CAM_M = 0.0621690
_EARTH_RADIUS_M = 6378137.0
_GRAVITY_MPS2 = 9.81
_LATITUDE_DEG, _LONGITUDE_DEG = 49.011, 8.422
_START = datetime.datetime(2030, 1, 1, 10, 0, 0)
_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]
_LABELLED = frozenset(KITTI_NAME_OF_OBJECT) - {"traffic_light", "traffic_sign"}
_MIN_LABEL_PIXELS = 12


def drive_folder(out: Path, seed: int) -> Path:
    """Where the drive of a seed lies under an output folder."""
    return out / DATE / f"{DATE}_drive_{seed % 10000:04d}_sync"


def _numbers(values: npt.ArrayLike) -> str:
    return " ".join(f"{value:.9e}" for value in np.asarray(values, np.float64).ravel())


def _png(path: Path, image: npt.NDArray[Any]) -> None:
    done, data = cv2.imencode(".png", image, _PNG)
    if not done:
        raise ValueError(f"{path}: an image of shape {image.shape} and type {image.dtype} cannot be a PNG")
    with replaced_when_done(path) as aside:
        aside.write_bytes(data.tobytes())


class KittiWriter:
    """Writes the frames of one drive, in any order."""

    def __init__(self, folder: Path, rig: Rig) -> None:
        self.folder, self.rig = folder, rig
        first = rig.cameras[0]
        shift = SE3(np.eye(3), np.array([_REFERENCE_FROM_CAM_M, 0.0, 0.0]))
        self.ego_SE3_reference = first.ego_SE3_cam @ shift
        self.ego_SE3_velo = SE3(np.eye(3), np.array([0.0, 0.0, _VELODYNE_HEIGHT_M]))

    def prepare(self) -> None:
        """Makes the folders and writes the calibration."""
        names = [f"{camera.name}/data" for camera in self.rig.cameras] + ["truth/label_02", "truth/map", ".partial"]
        names += [
            f"truth/{kind}/{camera.name}"
            for camera in self.rig.cameras
            for kind in ("semantic", "instance", "depth", "flow")
        ]
        names += ["velodyne_points/data"] if self.rig.lidar is not None else []
        names += ["oxts/data"] if self.rig.positioning is not None else []
        for name in names:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for name, text in self.calibration().items():
            write_text_atomic(self.folder.parent / name, text)

    def calibration(self) -> dict[str, str]:
        """Names and contents of the day's calibration files."""
        rows = ["calib_time: 01-Jan-2030 00:00:00", "corner_dist: 9.950000e-02"]
        for camera in self.rig.cameras:
            rows += self._camera_rows(camera)
        texts = {"calib_cam_to_cam.txt": "\n".join(rows) + "\n"}
        reference_SE3_velo = self.ego_SE3_reference.inverse() @ self.ego_SE3_velo
        for name, transform in (("velo_to_cam", reference_SE3_velo), ("imu_to_velo", _VELO_SE3_IMU)):
            rows = ["calib_time: 01-Jan-2030 00:00:00", f"R: {_numbers(transform.rotation)}"]
            texts[f"calib_{name}.txt"] = "\n".join([*rows, f"T: {_numbers(transform.translation)}"]) + "\n"
        return texts

    def _camera_rows(self, camera: PinholeCamera) -> list[str]:
        """``P_rect`` for rectified cameras that look where the reference does; ``K``, ``D``, ``R``, ``T`` for all."""
        number = camera.name[-2:]
        cam_SE3_reference = camera.ego_SE3_cam.inverse() @ self.ego_SE3_reference
        aligned = np.abs(cam_SE3_reference.rotation - np.eye(3)).max() < 1e-9
        size = _numbers([camera.width_px, camera.height_px])
        distortion = np.zeros(5)
        distortion[: camera.distortion.size] = camera.distortion[:5]
        rows = [
            f"S_{number}: {size}", f"K_{number}: {_numbers(camera.matrix)}", f"D_{number}: {_numbers(distortion)}",
            f"R_{number}: {_numbers(cam_SE3_reference.rotation)}",
            f"T_{number}: {_numbers(cam_SE3_reference.translation)}",
        ]  # fmt: skip
        if aligned and not distortion.any():
            projection = camera.matrix @ np.column_stack([np.eye(3), cam_SE3_reference.translation])
            rows += [f"S_rect_{number}: {size}", f"P_rect_{number}: {_numbers(projection)}"]
        if camera is self.rig.cameras[0]:
            rows.append(f"R_rect_00: {_numbers(np.eye(3))}")
        return rows

    def has(self, index: int) -> bool:
        """Whether a frame is completely written."""
        return (self.folder / ".partial" / f"{index:010d}.json").exists()

    def write(self, frame: SimFrame, seed: int) -> None:
        """Writes everything of one frame; the marker that it is complete comes last."""
        name = f"{frame.index:010d}"
        truth = self.folder / "truth"
        for camera, picture in frame.pictures.items():
            _png(self.folder / camera / "data" / f"{name}.png", picture.rgb[..., ::-1])
            _png(truth / "semantic" / camera / f"{name}.png", picture.semantic)
            _png(truth / "instance" / camera / f"{name}.png", picture.instance.astype(np.uint16))
            # KITTI's depth maps: metres times 256, 0 where unknown
            depth = np.nan_to_num(np.minimum(picture.depth_m, 255.99), nan=0.0)
            _png(truth / "depth" / camera / f"{name}.png", np.rint(depth * 256.0).astype(np.uint16))
            _png(truth / "flow" / camera / f"{name}.png", _flow_image(picture.flow_px))
        if frame.points_ego is not None:
            points = frame.points_ego.copy()
            points[:, 2] -= _VELODYNE_HEIGHT_M
            with replaced_when_done(self.folder / "velodyne_points" / "data" / f"{name}.bin") as aside:
                aside.write_bytes(points.astype("<f4").tobytes())
        if self.rig.positioning is not None:
            write_text_atomic(self.folder / "oxts" / "data" / f"{name}.txt", self._oxts(frame, seed))
        record = {
            "timestamp_ns": frame.timestamp_ns,
            "world_T_ego": frame.world_SE3_ego.matrix[:3].tolist(),
            "objects": [
                row for camera in self.rig.cameras for row in object_rows(frame, camera, self.ego_SE3_reference)
            ],
        }
        write_text_atomic(self.folder / ".partial" / f"{name}.json", json.dumps(record))

    def _oxts(self, frame: SimFrame, seed: int) -> str:
        spec = self.rig.positioning
        if spec is None:
            raise ValueError(f"rig {self.rig.name!r} has no positioning")
        rng = np.random.default_rng([seed, 11, frame.index])
        world_SE3_imu = frame.world_SE3_ego @ self.ego_SE3_velo @ _VELO_SE3_IMU
        scale = np.cos(np.radians(_LATITUDE_DEG))
        east0 = scale * np.radians(_LONGITUDE_DEG) * _EARTH_RADIUS_M
        north0 = scale * _EARTH_RADIUS_M * np.log(np.tan(np.radians(90 + _LATITUDE_DEG) / 2))
        east, north, up = world_SE3_imu.translation + spec.position_noise_m * rng.standard_normal(3) * [1, 1, 1.5]
        longitude = np.degrees((east0 + east) / (scale * _EARTH_RADIUS_M))
        latitude = np.degrees(2 * np.arctan(np.exp((north0 + north) / (scale * _EARTH_RADIUS_M)))) - 90
        rotation = world_SE3_imu.rotation
        angles = np.array(
            [
                np.arctan2(rotation[2, 1], rotation[2, 2]),
                -np.arcsin(np.clip(rotation[2, 0], -1, 1)),
                np.arctan2(rotation[1, 0], rotation[0, 0]),
            ]
        ) + spec.angle_noise_rad * rng.standard_normal(3)
        velocity = frame.velocity_world + spec.velocity_noise_mps * rng.standard_normal(3)
        body = frame.world_SE3_ego.rotation.T @ velocity
        # what an accelerometer at rest feels pushes up
        felt = frame.acceleration_ego + frame.world_SE3_ego.rotation.T @ np.array([0.0, 0.0, _GRAVITY_MPS2])
        acceleration = felt + spec.accel_noise_mps2 * rng.standard_normal(3)
        turn = np.array([0.0, 0.0, frame.turn_rate_radps]) + spec.turn_noise_radps * rng.standard_normal(3)
        values = [
            latitude, longitude, up + 116.0, *angles, velocity[1], velocity[0], *body, *acceleration, *acceleration,
            *turn, *turn, spec.position_noise_m, spec.velocity_noise_mps,
        ]  # fmt: skip
        return " ".join(f"{value:.13f}" for value in values) + " 4 10 4 4 0\n"

    def finish(self, frames: int, seed: int) -> list[SE3]:
        """Writes what belongs to the whole drive, from the frames' records, and returns the true ``world_SE3_ego``."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        records = [
            json.loads((self.folder / ".partial" / f"{k:010d}.json").read_text(encoding="utf-8")) for k in range(frames)
        ]
        times = [_START + datetime.timedelta(microseconds=record["timestamp_ns"] // 1000) for record in records]
        stamps = "".join(f"{time.strftime('%Y-%m-%d %H:%M:%S.%f')}000\n" for time in times)
        sensors = [camera.name for camera in self.rig.cameras]
        sensors += ["velodyne_points"] if self.rig.lidar is not None else []
        sensors += ["oxts"] if self.rig.positioning is not None else []
        for sensor in sensors:
            write_text_atomic(self.folder / sensor / "timestamps.txt", stamps)
        truth = self.folder / "truth"
        ego_poses = [SE3.from_matrix(np.array(record["world_T_ego"])) for record in records]
        poses = [pose @ self.ego_SE3_reference for pose in ego_poses]
        start = poses[0].inverse()
        write_text_atomic(truth / "poses.txt", "".join(_numbers((start @ pose).matrix[:3]) + "\n" for pose in poses))
        rows = [{"frame": k, **row} for k, record in enumerate(records) for row in record["objects"]]
        first = self.rig.cameras[0].name
        labels = [tracking_label(row) for row in rows if row["camera"] == first and _is_labelled(row)]
        write_text_atomic(truth / "label_02" / f"{seed % 10000:04d}.txt", "".join(labels))
        if rows:
            with replaced_when_done(truth / "objects.parquet") as aside:
                pq.write_table(pa.Table.from_pylist(rows), aside)
        matrices = [_numbers(record["world_T_ego"]) for record in records]
        write_text_atomic(truth / "world_T_ego.txt", "\n".join(matrices) + "\n")
        return ego_poses

    def clean(self, frames: int) -> None:
        """Removes the frames' records, once the drive is complete."""
        for k in range(frames):
            (self.folder / ".partial" / f"{k:010d}.json").unlink()
        (self.folder / ".partial").rmdir()


def _flow_image(flow_px: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """KITTI's flow maps: blue valid, green v, red u, each times 64 plus 2^15 (cv2's channel order)."""
    largest = np.abs(np.nan_to_num(flow_px, nan=1e9)).max(axis=2)
    valid: npt.NDArray[np.bool_] = np.asarray(largest < 500.0)
    coded = np.where(valid[:, :, None], np.rint(np.nan_to_num(flow_px) * 64.0 + 32768.0), 0.0)
    return np.ascontiguousarray(np.dstack([valid.astype(np.float64), coded[..., 1], coded[..., 0]]).astype(np.uint16))


def object_rows(frame: SimFrame, camera: PinholeCamera, ego_SE3_reference: SE3) -> list[dict[str, Any]]:
    """One plain row per object in front of a camera; boxes in px, 3D boxes in ego and reference camera frame."""
    truth = frame.truth[camera.name]
    ego_SE3_world = frame.world_SE3_ego.inverse()
    rows = []
    for k, item in enumerate(truth.objects):
        low, high = np.array(item.low), np.array(item.high)
        world_SE3_object = SE3.from_yaw(item.yaw, item.position)
        ego_SE3_object = ego_SE3_world @ world_SE3_object
        reference_SE3_object = ego_SE3_reference.inverse() @ ego_SE3_object
        centre = ego_SE3_object.apply((low + high) / 2)
        bottom = reference_SE3_object.apply(np.array([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2]]))
        ahead = reference_SE3_object.rotation[:, 0]
        rotation_y = float(-np.arctan2(ahead[2], ahead[0]))
        alpha = float(np.angle(np.exp(1j * (rotation_y - np.arctan2(bottom[0], bottom[2])))))
        width, height = camera.width_px, camera.height_px
        clipped = np.clip(truth.full_xyxy[k], 0, [width - 1, height - 1, width - 1, height - 1])
        visible = truth.visible_xyxy[k]
        rows.append(
            {
                "camera": camera.name,
                "instance": item.instance,
                "class": item.object_class,
                "moving": item.moving,
                "pixels": int(truth.pixels[k]),
                "visible_share": round(float(truth.visible_share[k]), 4),
                "truncation": round(float(truth.truncation[k]), 4),
                "occlusion": int(truth.occlusion[k]),
                "box_xyxy": [round(float(v), 3) for v in clipped],
                "full_box_xyxy": [round(float(v), 3) for v in truth.full_xyxy[k]],
                "visible_box_xyxy": [float(v) for v in visible] if np.isfinite(visible).all() else None,
                "center_ego": [round(float(v), 5) for v in centre],
                "size_lwh": [round(float(v), 5) for v in high - low],
                "yaw_ego": round(ego_SE3_object.yaw_rad, 6),
                "velocity_world": [round(float(v), 5) for v in item.velocity],
                "location_cam": [round(float(v), 5) for v in bottom],
                "rotation_y": round(rotation_y, 6),
                "alpha": round(alpha, 6),
            }
        )
    return rows


def _is_labelled(row: dict[str, Any]) -> bool:
    return row["class"] in _LABELLED and row["pixels"] >= _MIN_LABEL_PIXELS


def tracking_label(row: dict[str, Any]) -> str:
    """A row of KITTI's tracking labels."""
    truncated = 0 if row["truncation"] < 0.15 else 1 if row["truncation"] < 0.5 else 2
    length, width, height = row["size_lwh"]
    numbers = [row["alpha"], *row["box_xyxy"], height, width, length, *row["location_cam"], row["rotation_y"]]
    return (
        f"{row['frame']} {row['instance']} {KITTI_NAME_OF_OBJECT[row['class']]} {truncated} {row['occlusion']} "
        + " ".join(f"{value:.6f}" for value in numbers)
        + "\n"
    )
