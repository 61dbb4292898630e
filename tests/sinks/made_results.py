"""Small made-up results and runs for the tests of sinks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from perception.config import load_config
from perception.datasets.drive import DriveInfo, Gap, Reading
from perception.geometry import SE3, PinholeCamera, guess_camera
from perception.sinks.sink import RunContext
from perception.types import Boxes3D, DepthMap, Detections, Frame, FrameResult, InstanceMap, SemanticMap, Tracks

WIDTH, HEIGHT = 124, 38
FRAME_NS = 100_000_000

SMALL = ("video.height_px=180", "report.pictures=2")


def made_camera(width: int = WIDTH, height: int = HEIGHT) -> PinholeCamera:
    return guess_camera(width, height)


def made_frame(index: int, width: int = WIDTH, height: int = HEIGHT, camera: bool = True) -> Frame:
    image = np.random.default_rng(index).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Frame(
        index,
        f"{index:010d}",
        index * FRAME_NS,
        image,
        made_camera(width, height) if camera else None,
        points_ego=np.ones((5, 4), np.float32),
    )


def made_result(
    index: int,
    objects: int = 3,
    width: int = WIDTH,
    height: int = HEIGHT,
    in_3d: bool = True,
    camera: bool = True,
    pose: SE3 | None = None,
) -> FrameResult:
    """``objects`` detections that move right; each is a track but the last, and one more track coasts."""
    rng = np.random.default_rng(1000 + index)
    corner = rng.uniform(2, 8, (objects, 2)) + [index % 20, 0] + 15.0 * np.arange(objects)[:, None] * [1, 0]
    boxes = np.concatenate([corner, corner + rng.uniform(8, 14, (objects, 2))], axis=1)
    scores = rng.uniform(0.3, 0.9, objects)
    class_ids = np.arange(objects) % 11
    detections = Detections(boxes, scores, class_ids)
    centers = np.stack([10.0 + 5 * np.arange(objects), np.linspace(-4, 4, objects), np.full(objects, 0.8)], axis=1)
    lifted = np.where(np.arange(objects) % 3 == 1, 0.0, 0.9)
    boxes3d = Boxes3D(
        centers * (lifted > 0)[:, None],
        np.tile([4.0, 1.8, 1.6], (objects, 1)) * (lifted > 0)[:, None],
        rng.uniform(-3, 3, objects) * (lifted > 0),
        lifted,
    )
    rows = np.array([*range(max(0, objects - 1)), -1][: objects if objects else 0], np.int64)
    coasting = np.array([[40.0, 5.0, 60.0, 20.0]])
    tracks = (
        Tracks(
            np.arange(1, len(rows) + 1),
            np.concatenate([boxes[:-1], coasting]),
            Boxes3D(boxes3d.centers_ego[rows], boxes3d.sizes_lwh[rows], boxes3d.yaws[rows], boxes3d.scores[rows])
            if in_3d
            else None,
            rng.normal(size=(len(rows), 3 if in_3d else 2)),
            np.append(scores[:-1], 0.2),
            np.append(class_ids[:-1], 0),
            rows,
            np.full(len(rows), index + 1),
        )
        if objects
        else Tracks.empty()
    )
    semantic = np.zeros((height, width), np.uint8)
    semantic[: height // 2] = 10
    semantic[0, 0] = 255
    instances = np.full((height, width), -1, np.int32)
    for row, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        instances[y1:y2, x1:x2] = row
    depth = np.full((height, width), 12.5, np.float32)
    depth[0] = np.nan
    return FrameResult(
        made_frame(index, width, height, camera),
        detections,
        SemanticMap(semantic),
        InstanceMap(instances),
        DepthMap(depth),
        boxes3d,
        tracks,
        pose or SE3.from_yaw(0.02 * index, [1.0 * index, 0.1 * index, 0.0]),
        {"detection": 10.0 + index % 7, "tracking": 1.0, "total": 11.0 + index % 7},
    )


def made_skip(index: int, reason: str = "found 12 bytes; expected a picture") -> Reading:
    name = f"{index:010d}"
    return Reading(index, name, None, (Gap(name, "camera", reason),))


def made_context(out: Path, *overrides: str, **more: object) -> RunContext:
    out.mkdir(parents=True, exist_ok=True)
    drive = DriveInfo(
        name="made_drive",
        kind="made",
        path=Path("made_drive"),
        frame_count=30,
        rate_hz=10.0,
        camera=made_camera(),
        calibration_source="a guess",
        pose_source=None,
        sensors=("camera",),
    )
    settings: dict[str, object] = {"deadline_ms": 15.0, "pose_source": "made up", "depth_source": "made up", **more}
    return RunContext(out, drive, load_config(None, [*SMALL, *overrides]), **settings)  # type: ignore[arg-type]
