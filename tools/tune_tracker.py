"""Searches a tracker's settings on detections and KITTI tracking labels, and writes them as a configuration.

The search starts from the shipped settings and is stopped by sequences that were left out (``tuning/search.py``). The
classes are searched side by side: one run of the tracker serves a candidate of each. The 3D tracker's settings are
worth sAMOTA at 0.25 plus half of that at 0.5 plus one and a half times HOTA at the best of a few thresholds, those of
the image tracker (``--image``) HOTA, both less a little for every identity switch.

What is written says in its head by which command it was found, what it scored on the sequences that were left out, and
what on all of them.

Example:
    python tools/tune_tracker.py --detections detections/pointrcnn --labels training/label_02 \
        --start tools/tuning/pointrcnn_start.toml --out configs/trackers/pointrcnn.toml
"""

from __future__ import annotations

import argparse
import re
import textwrap
from pathlib import Path

from perception.config import config_folder
from perception.files import write_text_atomic
from perception.tracking.settings import BoxTrackerSettings, load_box_settings
from tuning import box_bench, image_bench
from tuning.box_bench import BoxBench
from tuning.image_bench import ImageBench
from tuning.search import Bench, Point, Validation, cross_validate, evolve


def searched(bench: Bench, folds: int, generations: int) -> tuple[dict[str, Point], dict[str, Validation]]:
    """Each class's point after as many generations as were best on what was left out; the start where none was."""
    validated = cross_validate(bench, folds, generations)
    last = max(one.generation for one in validated.values())
    trail = evolve(bench, bench.names, last)
    return {kind: trail[one.generation][kind] for kind, one in validated.items()}, validated


def told(validated: dict[str, Validation]) -> list[str]:
    """What the left-out sequences say, class by class."""
    lines = []
    for kind, one in validated.items():
        text = f"{kind}: {one.start}"
        if one.generation:
            text += f"; after {one.generation} generations {one.found}"
        else:
            text += "; the search found nothing better, so these are the settings of the start"
        lines.append(text)
    return lines


def tuned_boxes(bench: BoxBench, points: dict[str, Point]) -> tuple[BoxTrackerSettings, list[str]]:
    """The settings with the track scores over which HOTA is best, and what they score on all sequences."""
    settings = bench.settings(points)
    tree, lines = settings.model_dump(), []
    online = {name: bench.tracked(settings, name) for name in bench.names}
    offline = {name: bench.tracked(settings, name, offline=True) for name in bench.names}
    for kind in bench.class_names:
        tree["min_score"][kind] = bench.least(online, kind)
        tree["offline_min_score"][kind] = bench.least(offline, kind, offline=True)
        now, later = (
            bench.outcome(rows, kind, dict.fromkeys(bench.names, tree[key][kind]))
            for rows, key in ((online, "min_score"), (offline, "offline_min_score"))
        )
        lines.append(f"{kind}: {now}; offline {later}")
    return BoxTrackerSettings.model_validate(tree), lines


def as_toml(settings: BoxTrackerSettings) -> str:
    """The configuration file's text, but for its head."""
    tree = settings.model_dump()
    lines = []
    for key, value in tree.items():
        if not isinstance(value, dict):
            lines.append(f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}")
    for key in ("ego", "min_score", "offline_min_score"):
        lines += ["", f"[{key}]", *(f"{name} = {value}" for name, value in tree[key].items())]
    for name, values in tree["classes"].items():
        lines += ["", f"[classes.{name}]", *(f"{key} = {value}" for key, value in values.items())]
    return "\n".join(lines) + "\n"


def as_image_toml(start: str, per_class: tuple[str, ...]) -> str:
    """The text of the start's file without its head, its differences for each class replaced."""
    file = Path(start)
    text = (file if file.is_file() else config_folder() / f"{start}.toml").read_text(encoding="utf-8")
    listed = "".join(f'    "{difference}",\n' for difference in sorted(per_class))
    body = re.sub(r"\A(#.*\n)*\n*", "", text)
    replaced, count = re.subn(r"per_class = \[.*?\]", lambda _: f"per_class = [\n{listed}]", body, flags=re.DOTALL)
    if count != 1:
        raise SystemExit(f"{start}: expected one per_class = [...] in [tracking.image] but got {count}")
    return replaced


def head(what: str, command: str, left_out: list[str], in_sample: list[str]) -> str:
    """The comment above a configuration."""
    left = (
        "On the sequences that were left out of the search and of the choice of thresholds; the start may have known "
        "them:"
    )
    paragraphs = [what, f"  {command}", left]
    paragraphs += [f"  {line}" for line in left_out]
    paragraphs += ["On all sequences, which is optimistic:", *(f"  {line}" for line in in_sample)]
    lines: list[str] = []
    for text in paragraphs:
        indent = "  " if text.startswith("  ") else ""
        lines += textwrap.wrap(text.strip(), 117, initial_indent=f"# {indent}", subsequent_indent=f"# {indent}{indent}")
    return "\n".join(lines) + "\n\n"


def main() -> None:
    """Runs the search from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=Path, required=True, help="folder of detections")
    parser.add_argument("--format", default="pointrcnn", help="as perceive track has it")
    parser.add_argument("--labels", type=Path, required=True, help="KITTI tracking label_02")
    parser.add_argument("--image", action="store_true", help="the image tracker instead of the 3D tracker")
    parser.add_argument("--classes", default="car,pedestrian,cyclist", help="to search, with commas between")
    parser.add_argument("--start", help="settings to start from: a shipped name or a file; as shipped if not given")
    parser.add_argument(
        "--knobs",
        default="",
        help="settings to search, with commas between, or all; if not given, all of the image tracker, and of the 3D "
        "tracker how tracks are scored and shown",
    )
    parser.add_argument("--generations", type=int, default=12, help="of the search, at most")
    parser.add_argument("--folds", type=int, default=5, help="parts of the cross-validation by sequence, 2 or more")
    parser.add_argument("--out", type=Path, required=True, help="configuration to write")
    arguments = parser.parse_args()
    class_names = tuple(arguments.classes.split(","))
    unknown = sorted(set(class_names) - {"car", "pedestrian", "cyclist"})
    if unknown:
        parser.error(f"--classes {unknown[0]}: expected names from car, pedestrian, cyclist")
    if arguments.folds < 2 or arguments.generations < 1:
        parser.error("--folds must be 2 or more and --generations 1 or more")
    known = tuple(knob.name for knob in (image_bench if arguments.image else box_bench).KNOBS)
    usual = known if arguments.image else box_bench.SHOWN
    knobs = known if arguments.knobs == "all" else tuple(arguments.knobs.split(",")) if arguments.knobs else usual
    for name in sorted(set(knobs) - set(known)):
        parser.error(f"--knobs {name}: expected all or names from {', '.join(known)}")
    start = arguments.start or ("pointrcnn_image" if arguments.image else "pointrcnn")
    command = (
        f"tools/tune_tracker.py {'--image ' if arguments.image else ''}--classes {arguments.classes} --start {start} "
        f"{'--knobs ' + arguments.knobs + ' ' if arguments.knobs else ''}--generations {arguments.generations} "
        f"--folds {arguments.folds}"
    )
    places = arguments.detections, arguments.format, arguments.labels
    if arguments.image:
        bench2d = ImageBench(*places, start, class_names, knobs)
        points, validated = searched(bench2d, arguments.folds, arguments.generations)
        rows = bench2d.run(points, bench2d.names)
        in_sample = [f"{kind}: {bench2d.outcome(rows, kind)}" for kind in class_names]
        what = (
            f"The image tracker on the boxes of {arguments.format} detections, for perceive track --image --config "
            f"{arguments.out.stem}. Found by"
        )
        body = as_image_toml(start, bench2d.per_class(points))
    else:
        bench = BoxBench(*places, load_box_settings(start), class_names, knobs)
        points, validated = searched(bench, arguments.folds, arguments.generations)
        settings, in_sample = tuned_boxes(bench, points)
        what, body = f"The 3D tracker on {arguments.format} detections. Found by", as_toml(settings)
    comment = head(what, command, told(validated), in_sample)
    write_text_atomic(arguments.out, comment + body)
    print(comment)


if __name__ == "__main__":
    main()
