"""Simulated drives as training images: streamed in memory, with every label that the simulator knows."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import sim_data
from perception.classes import OBJECT_CLASSES
from perception.files import replaced_when_done
from perception.geometry import EGO_R_CAM, SE3, PinholeCamera
from perception.training.labels import SOLID_COLUMNS, LabelledBoxes, Sample
from sim_data.rigs import LensSpec, Rig
from sim_data.simulation import SimFrame, stream

__all__ = ["sim_sample", "sim_samples"]

_CAMERA = "image_02"
_LEAST_PIXELS = 30
_LEAST_VISIBLE = 0.15
_LEAST_HEIGHT_PX = 6.0
_HARD_OCCLUSION = 1
_HARD_TRUNCATION = 0.3
_DEPTH_STEP_PX = 2
_FARTHEST_M = 120.0
_HALF_PX = 0.5  # the simulator counts from the middle of the first pixel, labels from its outer edge
_BOX_PARTS = ("boxes_xyxy", "class_ids", "ignored", "solid", "identities")


def sim_samples(
    scenarios: Sequence[str],
    seeds: Sequence[int],
    frames: int,
    seconds_apart: float,
    height_px: int,
    width_px: int,
    cache: Path | None = None,
) -> Iterator[Sample]:
    """Frames of one drive after the other, each with a camera of its own.

    Args:
        scenarios: names; seeds take turns with them.
        seeds: one drive each.
        frames: of each drive.
        seconds_apart: time between two frames.
        height_px: of the images.
        width_px: of the images.
        cache: folder in which drives are kept from run to run, or None.

    Raises:
        ConfigError: an unknown scenario.
    """
    for turn, seed in enumerate(seeds):
        scenario = scenarios[turn % len(scenarios)]
        drive = (scenario, seed, frames, seconds_apart, height_px, width_px)
        if cache is None:
            yield from _drive(*drive)
            continue
        key = hashlib.sha256(repr((_simulator(), drive)).encode()).hexdigest()[:32]
        file = cache / f"sim-{key}.npz"
        if not file.is_file():
            _keep(list(_drive(*drive)), file)
        yield from _kept(file)


def _drive(
    scenario: str, seed: int, frames: int, seconds_apart: float, height_px: int, width_px: int
) -> Iterator[Sample]:
    rig = _rig(np.random.default_rng((seed, 77)), height_px, width_px, seconds_apart)
    for frame in stream(scenario, seed, frames, rig, threads=1):
        yield sim_sample(frame, rig.cameras[0], f"sim/{scenario}/{seed}/{frame.index}", seed)


@functools.cache
def _simulator() -> str:
    """Changes with the simulator, and with it all that it draws."""
    digest = hashlib.sha256()
    files = [Path(__file__), *Path(sim_data.__file__).parent.rglob("*")]
    for file in sorted(file for file in files if file.suffix in (".py", ".toml")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _keep(samples: Sequence[Sample], file: Path) -> None:
    arrays: dict[str, Any] = {}
    for number, sample in enumerate(samples):
        boxes = sample.boxes
        parts = {
            "source": np.array(sample.source), "image_rgb": sample.image_rgb, "semantic": sample.semantic,
            "boxes_xyxy": boxes.boxes_xyxy, "class_ids": boxes.class_ids, "ignored": boxes.ignored,
            "solid": boxes.solid, "identities": boxes.identities, "hard": sample.hard, "owners": sample.owners,
            "focal_px": np.array(sample.focal_px), "depth_points": sample.depth_points,
        }  # fmt: skip
        arrays |= {f"{number}/{name}": np.asarray(value) for name, value in parts.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    with replaced_when_done(file) as aside:
        np.savez_compressed(aside, count=np.array(len(samples)), **arrays)


def _kept(file: Path) -> Iterator[Sample]:
    with np.load(file) as kept:
        for number in range(int(kept["count"])):

            def part(name: str, number: int = number) -> Any:
                return kept[f"{number}/{name}"]

            boxes = LabelledBoxes(*(part(name) for name in _BOX_PARTS))
            yield Sample(
                str(part("source")), part("image_rgb"), part("semantic"), "full", boxes,
                np.ones(len(OBJECT_CLASSES), bool), 1.0, part("hard"), float(part("focal_px")), part("depth_points"),
                part("owners"),
            )  # fmt: skip


def _rig(rng: np.random.Generator, height_px: int, width_px: int, seconds_apart: float) -> Rig:
    """A forward camera such as cars and dashcams have: 45 to 85 degrees wide, 1.2 to 1.8 m up, nearly level."""
    focal_px = width_px / 2 / np.tan(np.radians(rng.uniform(45.0, 85.0)) / 2)
    pitch, roll, yaw = np.radians([rng.normal(1.0, 1.5), rng.normal(0.0, 0.7), rng.normal(0.0, 2.0)])
    about_z = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    about_y = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    place = SE3(about_z @ about_y @ about_x @ EGO_R_CAM, np.array([0.6, 0.0, rng.uniform(1.2, 1.8)]))
    centre_v = height_px * rng.uniform(0.42, 0.56)
    camera = PinholeCamera(focal_px, focal_px, width_px / 2, centre_v, width_px, height_px, np.zeros(0), place, _CAMERA)
    lens = LensSpec(
        exposure_s=float(rng.uniform(0.0, 0.015)),
        gain=float(np.exp(rng.normal(0.0, 0.15))),
        noise=float(rng.uniform(0.3, 1.5)),
        vignette=float(rng.uniform(0.0, 0.35)),
    )
    return Rig("training", (camera,), None, None, rate_hz=1.0 / seconds_apart, lens=lens)


def sim_sample(frame: SimFrame, camera: PinholeCamera, source: str, seed: int) -> Sample:
    """One frame with its truth. Objects that hardly show are ignored; those that do not show are left out."""
    picture, truth = frame.pictures[camera.name], frame.truth[camera.name]
    rows = np.flatnonzero(truth.pixels > 0)
    boxes = truth.full_xyxy[rows] + _HALF_PX  # outlines, whose whole numbers are the middles of pixels
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, camera.width_px)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, camera.height_px)
    objects = [truth.objects[int(row)] for row in rows]
    class_ids = np.array([OBJECT_CLASSES.index(item.object_class) for item in objects], np.int64)
    height = boxes[:, 3] - boxes[:, 1]
    ignored = (truth.pixels[rows] < _LEAST_PIXELS) | (truth.visible_share[rows] < _LEAST_VISIBLE)
    ignored |= height < _LEAST_HEIGHT_PX
    instances = np.array([item.instance for item in objects], np.int64)
    labelled = LabelledBoxes(
        boxes.astype(np.float32).reshape(-1, 4), class_ids, ignored, _solid(frame, camera, [int(row) for row in rows]),
        seed * 100_000 + instances,
    )  # fmt: skip
    table = np.zeros(int(picture.instance.max()) + 1, np.uint16)
    seen = instances < len(table)
    table[instances[seen]] = 1 + np.flatnonzero(seen)
    depth = picture.depth_m[::_DEPTH_STEP_PX, ::_DEPTH_STEP_PX]
    v, u = np.nonzero(np.isfinite(depth) & (depth < _FARTHEST_M))
    points = np.column_stack([u * _DEPTH_STEP_PX + 0.5, v * _DEPTH_STEP_PX + 0.5, depth[v, u]]).astype(np.float32)
    hard = (truth.occlusion[rows] > _HARD_OCCLUSION) | (truth.truncation[rows] > _HARD_TRUNCATION)
    return Sample(
        source, picture.rgb.copy(), picture.semantic.copy(), "full", labelled, np.ones(len(OBJECT_CLASSES), bool),
        1.0, hard, float(camera.fy_px), points, table[picture.instance],
    )  # fmt: skip


def _solid(frame: SimFrame, camera: PinholeCamera, rows: list[int]) -> npt.NDArray[np.float32]:
    out = np.full((len(rows), len(SOLID_COLUMNS)), np.nan)
    cam_SE3_world = (frame.world_SE3_ego @ camera.ego_SE3_cam).inverse()
    truth = frame.truth[camera.name]
    for place, row in enumerate(rows):
        item = truth.objects[row]
        low, high = np.array(item.low), np.array(item.high)
        length, width, height = high - low
        world_SE3_object = SE3.from_yaw(item.yaw, item.position)
        centre = cam_SE3_world.apply(world_SE3_object.apply(((low + high) / 2)[None]))
        ahead = cam_SE3_world.rotation @ np.array([np.cos(item.yaw), np.sin(item.yaw), 0.0])
        pixel = camera.project(centre)[0]
        x, _, z = centre[0]
        if z <= 0:
            continue
        alpha = np.arctan2(-ahead[2], ahead[0]) - np.arctan2(x, z)
        out[place] = (height, width, length, alpha, z, *pixel)
    return out.astype(np.float32)
