"""Simulated frames as training sees them agree with themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from perception.classes import OBJECT_CLASSES, SEMANTIC_CLASSES
from perception.errors import ConfigError
from perception.training.labels import Sample
from perception.training.sim_source import sim_samples


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return list(sim_samples(["city"], [5], 2, 0.5, 128, 256))


def test_pixels_lie_in_the_boxes_of_their_owners(samples: list[Sample]) -> None:
    owned = 0
    for sample in samples:
        assert sample.owners is not None
        for row, box in enumerate(sample.boxes.boxes_xyxy):
            v, u = np.nonzero(sample.owners == row + 1)
            owned += len(v)
            if not len(v):
                continue
            assert u.min() >= box[0] - 1.01 and u.max() + 1 <= box[2] + 1.01
            assert v.min() >= box[1] - 1.01 and v.max() + 1 <= box[3] + 1.01
            name = OBJECT_CLASSES[sample.boxes.class_ids[row]]
            if name in ("car", "pedestrian"):
                wanted = SEMANTIC_CLASSES.index({"car": "car", "pedestrian": "person"}[name])
                assert (sample.semantic[v, u] == wanted).mean() > 0.9
    assert owned > 200


def test_boxes_end_where_the_pixels_of_whole_objects_end() -> None:
    """An outline ends anywhere within a pixel; a little beyond the pixels' edges, since its tips are thin."""
    beyond = []
    for sample in sim_samples(["city", "suburb"], [5, 6], 3, 1.5, 128, 416):
        assert sample.owners is not None
        for row, (x1, y1, x2, y2) in enumerate(sample.boxes.boxes_xyxy):
            v, u = np.nonzero(sample.owners == row + 1)
            box = np.array([x1, y1, x2, y2])
            if not len(v) or min(x1, y1) <= 1 or x2 >= 415 or y2 >= 127 or sample.boxes.ignored[row]:
                continue
            gaps = np.array([u.min(), v.min(), -u.max() - 1, -v.max() - 1]) - box * [1, 1, -1, -1]
            beyond += gaps[np.abs(gaps) < 1.0].tolist()  # sides that nothing hides
    assert len(beyond) > 40
    assert 0.0 <= np.mean(beyond) < 0.25


def test_objects_in_space_lie_at_their_pixels_depth(samples: list[Sample]) -> None:
    compared = 0
    for sample in samples:
        assert sample.depth_points is not None and sample.owners is not None
        u, v = sample.depth_points[:, :2].astype(int).T
        for row, (height_m, _, length_m, _, distance_m, centre_u, centre_v) in enumerate(sample.boxes.solid):
            x1, y1, x2, y2 = sample.boxes.boxes_xyxy[row]
            seen = sample.depth_points[sample.owners[v, u] == row + 1, 2]
            if sample.boxes.ignored[row] or len(seen) < 20:
                continue
            compared += 1
            assert abs(np.median(seen) - distance_m) < 0.6 * max(length_m, 1.0)
            if x1 > 0 and x2 < 256 and y1 > 0 and y2 < 128:
                assert x1 < centre_u < x2 and y1 < centre_v < y2
                # what is that tall that far away is that tall in the picture
                assert sample.focal_px * height_m / distance_m == pytest.approx(y2 - y1, rel=0.35)
    assert compared >= 2


def test_objects_keep_their_identity_from_frame_to_frame(samples: list[Sample]) -> None:
    first, second = (dict(zip(s.boxes.identities, s.boxes.class_ids, strict=True)) for s in samples)
    common = set(first) & set(second)
    assert common
    assert all(first[identity] == second[identity] for identity in common)


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(ConfigError, match="atlantis"):
        list(sim_samples(["atlantis"], [1], 2, 0.5, 64, 96))


def test_a_kept_drive_is_the_drive(samples: list[Sample], tmp_path: Path) -> None:
    drive = (["city"], [5], 2, 0.5, 128, 256, tmp_path)
    made, kept = list(sim_samples(*drive)), list(sim_samples(*drive))
    (file,) = tmp_path.iterdir()
    before = file.stat().st_mtime_ns
    assert next(sim_samples(*drive)).source == samples[0].source
    assert file.stat().st_mtime_ns == before
    for expected, first, second in zip(samples, made, kept, strict=True):
        for found in (first, second):
            for field in dataclasses.fields(Sample):
                one, other = getattr(expected, field.name), getattr(found, field.name)
                if field.name == "boxes":
                    for part in dataclasses.fields(one):
                        np.testing.assert_array_equal(getattr(one, part.name), getattr(other, part.name))
                elif isinstance(one, np.ndarray):
                    np.testing.assert_array_equal(one, other)
                    assert one.dtype == other.dtype
                else:
                    assert one == other and type(one) is type(other)
