"""``perceive track DETECTIONS``: the trackers on detection files alone, without images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from perception.config import TrackingConfig
    from perception.datasets.detection_files import DetectionSequence
    from perception.geometry import SE3
    from perception.tracking.settings import BoxTrackerSettings

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command("track")(track_command)


def track_command(
    detections: Annotated[Path, typer.Argument(help="Folder or file of detections.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for SEQUENCE.txt, KITTI tracking rows with score.")],
    layout: Annotated[str, typer.Option("--format", help="pointrcnn | kitti | kitti-tracking | mot | coco")] = "kitti",
    poses: Annotated[
        Path | None, typer.Option(help="KITTI odometry rows, or a folder of SEQUENCE.txt; estimated when absent.")
    ] = None,
    classes: Annotated[str, typer.Option(help="Comma-separated names to keep, such as car,pedestrian.")] = "",
    offline: Annotated[bool, typer.Option("--offline", help="Merge, smooth and fill over the whole sequence.")] = False,
    min_score: Annotated[
        str, typer.Option("--min-score", help="all | auto (per class, from the settings) | a track score")
    ] = "all",
    settings_name: Annotated[
        str, typer.Option("--settings", help="Of the 3D tracker: a shipped name or a TOML file.")
    ] = "",
    tracker: Annotated[
        str, typer.Option(help="For detections without 3D boxes: a name from the tracker factory.")
    ] = "image",
    config: Annotated[
        Path | None, typer.Option(help="For detections without 3D boxes: TOML whose [tracking] is used.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting over both, such as tracking.min_score=0.5.")
    ] = None,
    in_image: Annotated[bool, typer.Option("--image", help="Track image boxes even where there are 3D boxes.")] = False,
    rate_hz: Annotated[float, typer.Option("--rate", min=0.001, help="Frames per second.")] = 10.0,
    sequences: Annotated[str, typer.Option(help="Comma-separated sequences; all by default.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace results of another run.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")] = False,
) -> None:
    """Track detections from files: 3D boxes where the files hold them, image boxes otherwise."""
    from perception.cli.console import progress_bar
    from perception.config import load_config
    from perception.datasets.detection_files import read_detections
    from perception.errors import InputFormatError
    from perception.files import write_text_atomic
    from perception.tracking.settings import load_box_settings

    threshold = _threshold(min_score)
    found = read_detections(detections, layout, [name for name in classes.split(",") if name])
    if sequences:
        wanted = sequences.split(",")
        missing = sorted(set(wanted) - {sequence.name for sequence in found})
        if missing:
            raise InputFormatError(f"--sequences {','.join(missing)}: not among {', '.join(s.name for s in found)}")
        found = [sequence for sequence in found if sequence.name in wanted]
    settings = load_box_settings(settings_name or ("pointrcnn" if layout == "pointrcnn" else "general"))
    tracking = load_config(config, [*(set_ or []), f"tracking.tracker={tracker}"]).tracking
    _claim(out, [sequence.name for sequence in found], overwrite)

    with progress_bar(quiet) as bar:
        task = bar.add_task("tracking", total=len(found), rate="")
        for sequence in found:
            if sequence.boxes_level is not None and not in_image:
                given = _poses_of(poses, sequence)
                lines = _track_boxes(sequence, settings, given, offline, threshold, 1.0 / rate_hz)
            else:
                lines = _track_image(sequence, tracking, offline, threshold, 1.0 / rate_hz)
            write_text_atomic(out / f"{sequence.name}.txt", "".join(f"{line}\n" for line in lines))
            bar.update(task, advance=1, rate=sequence.name)
    if not quiet:
        typer.echo(f"{len(found)} sequences tracked: {out}")


def _threshold(text: str) -> float | str | None:
    from perception.errors import ConfigError

    if text in ("all", ""):
        return None
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--min-score {text!r}: expected auto, all or a number") from None


def _claim(out: Path, names: list[str], overwrite: bool) -> None:
    """Makes the folder before any work; refuses one that holds results already."""
    from perception.errors import OutputError

    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"{out}: cannot be written: {error.strerror}") from None
    held = [name for name in names if (out / f"{name}.txt").exists()]
    if held and not overwrite:
        raise OutputError(f"{out}: holds {held[0]}.txt already; choose another folder or --overwrite")


def _poses_of(source: Path | None, sequence: DetectionSequence) -> list[SE3] | None:
    """Poses of the level camera frame, one per frame, from KITTI odometry rows (camera to first camera)."""
    if source is None:
        return None
    import numpy as np

    from perception.errors import InputFormatError
    from perception.geometry import EGO_R_CAM, SE3

    file = source / f"{sequence.name}.txt" if source.is_dir() else source
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputFormatError(f"{file}: cannot be read as poses: {error}") from None
    result = []
    for number, line in enumerate(lines, start=1):
        try:
            cam0_SE3_cam = SE3.from_matrix(np.array([float(field) for field in line.split()]).reshape(3, 4))
        except ValueError as error:
            raise InputFormatError(f"{file}:{number}: expected a pose of 12 numbers: {error}") from None
        turn = SE3(EGO_R_CAM, np.zeros(3))
        result.append(turn @ cam0_SE3_cam @ turn.inverse())
    if len(result) < sequence.frame_count:
        raise InputFormatError(
            f"{file}: expected a pose for each of the {sequence.frame_count} frames but got {len(result)}"
        )
    return result


def _track_boxes(
    sequence: DetectionSequence,
    settings: BoxTrackerSettings,
    poses: list[SE3] | None,
    offline: bool,
    threshold: float | str | None,
    frame_s: float,
) -> list[str]:
    import numpy as np

    from perception.classes import KITTI_NAME_OF_OBJECT, OBJECT_CLASSES
    from perception.datasets.kitti_detections import fit_projection, observed_image_size, tracking_row
    from perception.tracking.detection_tracks import track_boxes, track_boxes_offline

    boxes = np.zeros((0, 7)) if sequence.boxes_level is None else sequence.boxes_level
    row_of_class = np.full(len(OBJECT_CLASSES), -1)
    for row, name in enumerate(settings.class_names):
        row_of_class[OBJECT_CLASSES.index(name)] = row
    known = row_of_class[sequence.class_ids] >= 0
    kept_before = np.concatenate([[0], np.cumsum(known)])
    track = track_boxes_offline if offline else track_boxes
    rows = track(
        settings,
        kept_before[sequence.frame_starts],
        np.ascontiguousarray(boxes[known]),
        _as_logits(sequence.scores[known], settings),
        row_of_class[sequence.class_ids[known]],
        fit_projection(boxes, sequence.boxes_xyxy),
        observed_image_size(sequence.boxes_xyxy),
        frame_s,
        poses,
    )
    if threshold is not None:
        by_class = settings.offline_min_score if offline else settings.min_score
        least = np.array(
            [by_class.get(name, -np.inf) if threshold == "auto" else float(threshold) for name in settings.class_names]
        )
        rows = rows.select(rows.scores >= least[rows.class_rows])
    names = [KITTI_NAME_OF_OBJECT[name] for name in settings.class_names]
    return [
        tracking_row(
            int(rows.frames[i]), int(rows.track_ids[i]), names[rows.class_rows[i]], rows.boxes_xyxy[i],
            rows.boxes_ego[i], float(rows.scores[i]),
        )
        for i in range(len(rows))
    ]  # fmt: skip


def _as_logits(scores: npt.NDArray[np.float64], settings: BoxTrackerSettings) -> npt.NDArray[np.float64]:
    """Scores in the unit that the settings expect; probabilities become log-odds."""
    import numpy as np

    from perception.errors import InputFormatError

    if settings.score_unit == "logit":
        return scores
    outside = (scores < 0.0) | (scores > 1.0)
    if outside.any():
        raise InputFormatError(
            f"scores must be probabilities 0 ... 1 for these tracker settings but one is {scores[outside][0]}; "
            "--settings pointrcnn takes logits"
        )
    probability = np.clip(scores, 1e-4, 1.0 - 1e-4)
    return np.asarray(np.log(probability / (1.0 - probability)))


def _as_probabilities(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Scores 0 ... 1; those of a file in which one lies outside are log-odds."""
    import numpy as np

    if not len(scores) or (scores.min() >= 0.0 and scores.max() <= 1.0):
        return scores
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(scores, -50.0, 50.0))))


def _track_image(
    sequence: DetectionSequence,
    tracking: TrackingConfig,
    offline: bool,
    threshold: float | str | None,
    frame_s: float,
) -> list[str]:
    import numpy as np

    from perception.classes import KITTI_NAME_OF_OBJECT, OBJECT_CLASSES
    from perception.datasets.kitti_detections import tracking_row
    from perception.errors import ConfigError
    from perception.tracking.factory import make_tracker
    from perception.tracking.image_tracker import ImageTracker

    tracker = make_tracker(tracking, has_motion=False)
    if not isinstance(tracker, ImageTracker):
        raise ConfigError(f"--tracker {tracking.tracker}: detections without 3D boxes need a tracker of image boxes")
    if offline:
        raise ConfigError("--offline needs detections with 3D boxes")
    scores = _as_probabilities(sequence.scores).astype(np.float32)
    least = tracking.min_score if threshold == "auto" else -np.inf if threshold is None else float(threshold)
    lines = []
    for frame in range(sequence.frame_count):
        here = slice(sequence.frame_starts[frame], sequence.frame_starts[frame + 1])
        tracks = tracker.track_boxes(
            sequence.boxes_xyxy[here].astype(np.float32), scores[here],
            sequence.class_ids[here], round(frame * frame_s * 1e9),
        )  # fmt: skip
        for i in np.flatnonzero(tracks.scores >= least):
            name = KITTI_NAME_OF_OBJECT[OBJECT_CLASSES[tracks.class_ids[i]]]
            box = tracks.boxes_xyxy[i].astype(np.float64)
            lines.append(tracking_row(frame, int(tracks.track_ids[i]), name, box, None, float(tracks.scores[i])))
    return lines
