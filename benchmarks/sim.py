"""The simulator: speed by part, memory, its rasteriser beside a ray caster, how real a detector finds its pictures.

    python benchmarks/sim.py [--data ../shared/data] [--json FILE]

With ``--data``, a published detector that never saw a simulated picture is scored on simulated frames and on KITTI's:
the nearer the two, the more the pictures look like the world it was trained on.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import open3d as o3d
import pytest
import typer
from rich.console import Console
from rich.table import Table

from perception.classes import KITTI_NAME_OF_OBJECT, OBJECT_CLASSES
from perception.config import load_config
from perception.datasets.factory import open_drive
from perception.detection.onnx import OnnxDetector
from perception.evaluation.detection import evaluate_detection_folder
from perception.files import write_text_atomic
from perception.types import Frame
from sim_data import load_rig, stream
from sim_data.kitti_writer import KittiWriter, object_rows
from sim_data.lidar import Lidar
from sim_data.render import Renderer
from sim_data.rigs import Rig
from sim_data.scenario import load_scenario
from sim_data.shading import Shading
from sim_data.shadows import Shadows
from sim_data.simulation import Simulation
from sim_data.truth import TruthFinder
from sim_data.visibility import VisibleTriangles

SCENARIOS = ("city", "junctions", "suburb", "crowd", "roundabout", "dusk")


def main(
    data: Annotated[Path | None, typer.Option(help="Folder with kitti_object and weights/yolox_nano.onnx.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where to write the numbers.")] = None,
    frames: Annotated[int, typer.Option(min=20, help="Frames per speed figure.")] = 60,
) -> None:
    metrics: dict[str, float] = {}
    for rig in ("kitti", "train"):
        metrics |= speed(rig, frames)
        metrics |= parts(rig, frames)
    metrics |= visibility()
    metrics |= memory()
    if data is not None:
        metrics |= realism(data)
    table = Table("figure", "value")
    for name, value in metrics.items():
        table.add_row(name, f"{value:.2f}")
    Console().print(table)
    if json_file is not None:
        write_text_atomic(json_file, json.dumps({"metrics": metrics, "meta": {"frames": frames}}, indent=1) + "\n")


def speed(name: str, frames: int) -> dict[str, float]:
    """Frames per second on two threads, and processor time per frame, which other processes disturb less."""
    loaded = load_rig(name)
    bare = dataclasses.replace(loaded, lidar=None, positioning=None)
    size = f"{loaded.cameras[0].width_px}x{loaded.cameras[0].height_px}"
    metrics = {}
    for rig, label in ((bare, "camera and truth"), (loaded, "with lidar")):
        if label == "with lidar" and loaded.lidar is None:
            continue
        times, busy = [], []
        began, worked = time.perf_counter(), time.process_time()
        for _ in stream("city", 1, frames + 5, rig):
            times.append(time.perf_counter() - began)
            busy.append(time.process_time() - worked)
            began, worked = time.perf_counter(), time.process_time()
        metrics[f"{size} {label}: frames/s, median"] = 1.0 / statistics.median(times[5:])
        metrics[f"{size} {label}: CPU ms per frame, median"] = 1e3 * statistics.median(busy[5:])
    return metrics


def parts(name: str, frames: int) -> dict[str, float]:
    """CPU milliseconds per frame of each part, on one thread."""
    spent: dict[str, float] = {}

    def timed(owner: Any, function: str, part: str) -> None:
        inner = getattr(owner, function)

        def outer(*arguments: Any, **named: Any) -> Any:
            began = time.thread_time()
            result = inner(*arguments, **named)
            spent[part] = spent.get(part, 0.0) + 1e3 * (time.thread_time() - began)
            return result

        patch.setattr(owner, function, outer)

    with pytest.MonkeyPatch.context() as patch:
        timed(Renderer, "render", "render")
        timed(Renderer, "visible", "choosing what may be in view, lidar included")
        timed(Shadows, "maps", "shadow maps")
        timed(Shading, "fill", "shading, flow, depth, classes")
        timed(TruthFinder, "find", "boxes")
        timed(Lidar, "scan", "lidar")
        simulation = Simulation(load_scenario("city"), 1, load_rig(name), threads=1)
        for _ in simulation.frames(5):
            pass
        spent.clear()
        began = time.process_time()
        for _ in simulation.frames(frames):
            pass
        spent["everything"] = 1e3 * (time.process_time() - began)
        simulation.close()
    spent["rasterising the camera"] = (
        spent["render"] - spent["shading, flow, depth, classes"]
    )  # fmt: skip
    spent["traffic, lens, sensor and the rest"] = (
        spent["everything"] - spent.pop("render") - spent["boxes"] - spent["shadow maps"] - spent.get("lidar", 0.0)
    )
    camera = load_rig(name).cameras[0]
    size = f"{camera.width_px}x{camera.height_px}"
    return {f"{size} CPU ms per frame: {part}": total / frames for part, total in spent.items()}


def visibility() -> dict[str, float]:
    """Milliseconds to find the nearest surface of every sample of one frame, on one thread, scene set-up included."""
    simulation = Simulation(load_scenario("city"), 1, load_rig("kitti"), threads=1)
    next(simulation.frames(1))
    renderer = simulation.renderer
    scene = simulation.movers.scene(simulation._now, simulation._now)
    camera = simulation.rig.cameras[0]
    pose = simulation._now.world_SE3_ego @ camera.ego_SE3_cam
    lens = np.array([camera.fx_px, camera.fy_px, camera.cx_px, camera.cy_px])
    rows, mesh = renderer.visible(scene, lens, (1242, 375), pose, 900.0)
    linear = np.ascontiguousarray(pose.rotation.T @ (scene.rotation[rows] * scene.scale[rows][:, None, None]))
    offset = np.ascontiguousarray((scene.position[rows] - pose.translation) @ pose.rotation)
    view = VisibleTriangles.sized(751, 2485, 200_000)
    grid = np.array([*(2 * lens[:2]), *(2 * lens[2:] + 1), 2485, 751], np.float64)
    library = renderer.library
    first, last = library.first[mesh], library.last[mesh]

    def ours() -> None:
        view.draw_seen(library, renderer.masks, mesh, linear, offset, grid)

    triangles = np.concatenate(
        [library.vertices[a:b] @ m.T + t for a, b, m, t in zip(first, last, linear, offset, strict=True)]
    ).astype(np.float32)
    v, u = np.mgrid[:751, :2485]
    rays = np.zeros((751, 2485, 6), np.float32)
    rays[..., 3] = (u - grid[2]) / grid[0]
    rays[..., 4] = (v - grid[3]) / grid[1]
    rays[..., 5] = 1.0

    def theirs() -> None:
        # moving traffic means a new scene for every frame; leaves are solid here, which only helps the ray caster
        caster = o3d.t.geometry.RaycastingScene(nthreads=1)
        corners = o3d.core.Tensor(triangles.reshape(-1, 3))
        index = o3d.core.Tensor(np.arange(3 * len(triangles), dtype=np.uint32).reshape(-1, 3))
        caster.add_triangles(corners, index)
        caster.cast_rays(o3d.core.Tensor(rays), nthreads=1)

    times: dict[str, list[float]] = {"rasteriser": [], "Open3D RaycastingScene (Embree)": []}
    for _ in range(7):
        for call, name in ((ours, "rasteriser"), (theirs, "Open3D RaycastingScene (Embree)")):
            began = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - began))
    return {f"visibility of 2485x751 samples: {name}, ms": statistics.median(rows) for name, rows in times.items()}


def memory() -> dict[str, float]:
    """Resident memory after 50 and after 300 frames."""
    resident = {}
    for frame in stream("city", 2, 301, "train"):
        if frame.index in (50, 300):
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            resident[f"resident memory at frame {frame.index}, MB"] = pages * resource.getpagesize() / 2**20
    return resident


def realism(data: Path) -> dict[str, float]:
    """Average precision of YOLOX-nano (COCO) on simulated frames and on KITTI's, moderate difficulty."""
    detector = OnnxDetector(
        data / "weights" / "yolox_nano.onnx",
        load_config(
            overrides=[
                "detection.input_height_px=256", "detection.input_width_px=832", "detection.score_threshold=0.01",
            ]
        ).detection,
    )  # fmt: skip
    metrics = {}
    with tempfile.TemporaryDirectory() as scratch:
        labels, results = Path(scratch) / "labels", Path(scratch) / "results"
        labels.mkdir()
        results.mkdir()
        rig = load_rig("kitti")
        bare = Rig("kitti", rig.cameras, None, None)
        writer = KittiWriter(Path(scratch), bare)
        number = 0
        for scenario in SCENARIOS:
            for seed in (11, 12):
                for simulated in stream(scenario, seed, 41, bare):
                    if simulated.index % 10:
                        continue
                    rows = object_rows(simulated, rig.cameras[0], writer.ego_SE3_reference)
                    name = f"{number:06d}"
                    write_text_atomic(labels / f"{name}.txt", "".join(map(_label, filter(_counts, rows))))
                    frame = Frame(number, name, 0, simulated.pictures["image_02"].rgb)
                    write_text_atomic(results / f"{name}.txt", _detections(detector, frame))
                    number += 1
        found = evaluate_detection_folder(labels, results).metrics
        real = Path(scratch) / "real"
        real.mkdir()
        for reading in open_drive(data / "kitti_object" / "training").readings():
            if reading.frame is not None:
                write_text_atomic(real / f"{reading.name}.txt", _detections(detector, reading.frame))
        known = evaluate_detection_folder(data / "kitti_object" / "training" / "label_2", real).metrics
    for key in ("Car/2d@0.5/R40/moderate", "Car/2d@0.7/R40/moderate", "Pedestrian/2d@0.5/R40/moderate"):
        for name, table in (("simulated", found), ("KITTI", known)):
            if key in table:
                metrics[f"YOLOX-nano on {name}: {key}"] = table[key]
    return metrics


def _counts(row: dict[str, Any]) -> bool:
    return row["pixels"] >= 12 and row["class"] not in ("traffic_light", "traffic_sign")


def _label(row: dict[str, Any]) -> str:
    length, width, height = row["size_lwh"]
    numbers = [row["alpha"], *row["box_xyxy"], height, width, length, *row["location_cam"], row["rotation_y"]]
    name = KITTI_NAME_OF_OBJECT[row["class"]]
    return f"{name} {row['truncation']:.2f} {row['occlusion']} " + " ".join(f"{v:.2f}" for v in numbers) + "\n"


def _detections(detector: OnnxDetector, frame: Frame) -> str:
    found = detector.detect(frame)
    rows = []
    for box, score, class_id in zip(found.boxes_xyxy, found.scores, found.class_ids, strict=True):
        corners = " ".join(f"{corner:.2f}" for corner in box)
        name = KITTI_NAME_OF_OBJECT[OBJECT_CLASSES[class_id]]
        rows.append(f"{name} -1 -1 -10 {corners} -1 -1 -1 -1000 -1000 -1000 -10 {score:.6f}\n")
    return "".join(rows)


if __name__ == "__main__":
    typer.run(main)
