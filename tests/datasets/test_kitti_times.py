from __future__ import annotations

from pathlib import Path

import pytest

from perception.datasets.kitti_times import read_times, steady_times
from perception.errors import DriveError

DATES = [f"2011-09-26 13:02:{25 + n // 10:02d}.{n % 10}64389445" for n in range(20)]


def write(tmp_path: Path, rows: list[str]) -> Path:
    file = tmp_path / "timestamps.txt"
    file.write_text("\n".join(rows) + "\n")
    return file


def test_dates_keep_their_nanoseconds(tmp_path: Path) -> None:
    times = read_times(write(tmp_path, DATES), range(20))
    # 2011-09-26T13:02:25Z by `date -u -d ... +%s`
    assert times.timestamps_ns[0] == 1317042145_064389445
    assert times.timestamps_ns[13] - times.timestamps_ns[0] == 1_300_000_000
    assert times.rate_hz == pytest.approx(10.0)
    assert not times.gaps


def test_a_short_fraction_is_not_nanoseconds(tmp_path: Path) -> None:
    times = read_times(write(tmp_path, ["2011-09-26 13:02:25.5", "2011-09-26 13:02:26"]), range(2))
    assert times.timestamps_ns == (1317042145_500000000, 1317042146_000000000)


def test_seconds_of_the_odometry_benchmark(tmp_path: Path) -> None:
    times = read_times(write(tmp_path, ["0.000000e+00", "1.037000e-01", "2.074000e-01"]), range(3))
    assert times.timestamps_ns == (0, 103_700_000, 207_400_000)


def test_rows_belong_to_frame_numbers(tmp_path: Path) -> None:
    times = read_times(write(tmp_path, DATES), range(7, 9))
    assert times.timestamps_ns == (1317042145_764389445, 1317042145_864389445)


@pytest.mark.parametrize("broken", ["", "nonsense", "2011-09-26 25:02:25.0", "nan", "2099-01-01 00:00:00.000000000"])
def test_a_broken_row_costs_itself_alone(tmp_path: Path, broken: str) -> None:
    rows = [*DATES]
    rows[5] = broken
    times = read_times(write(tmp_path, rows), range(20))
    exact = read_times(write(tmp_path, DATES), range(20))
    assert list(times.gaps) == [5]
    assert "row 6 is" in times.gaps[5]
    assert times.timestamps_ns[:5] + times.timestamps_ns[6:] == exact.timestamps_ns[:5] + exact.timestamps_ns[6:]
    assert abs(times.timestamps_ns[5] - exact.timestamps_ns[5]) < 1000


def test_a_short_file_is_continued_at_its_rate(tmp_path: Path) -> None:
    times = read_times(write(tmp_path, DATES[:10]), range(12))
    assert list(times.gaps) == [10, 11]
    assert "only 10 rows" in times.gaps[11]
    assert times.timestamps_ns[11] - times.timestamps_ns[9] == pytest.approx(200_000_000, abs=1000)


def test_no_file_means_the_usual_rate_and_says_so(tmp_path: Path) -> None:
    times = read_times(tmp_path / "times.txt", range(3))
    assert times.timestamps_ns == steady_times(range(3)).timestamps_ns == (0, 100_000_000, 200_000_000)
    assert "is missing" in times.notes[0]


def test_a_file_without_times_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DriveError, match=r"timestamps\.txt: expected one time a row but 0 of 3"):
        read_times(write(tmp_path, ["a", "b", "c"]), range(3))
