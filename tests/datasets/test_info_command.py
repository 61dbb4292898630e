from __future__ import annotations

import json
from pathlib import Path

import pytest
from drive_makers import make_object_folder, make_raw_drive

from perception.cli.app import main


def run(args: list[str]) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(args)
    return int(exit_info.value.code or 0)


def test_info_tells_what_a_drive_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_raw_drive(tmp_path, 9)
    for number in (2, 3, 4, 5, 6, 7):
        (folder / "velodyne_points" / "data" / f"{number:010d}.bin").unlink()
    (folder / "image_02" / "data" / "0000000004.png").unlink()
    assert run(["info", str(folder), "--json", str(tmp_path / "info.json")]) == 0
    text = capsys.readouterr().out
    for part in ("kitti_raw", "0.8 s", "10.00 Hz", "camera image_02, lidar velodyne_points", "64x48 px", "1.65 m"):
        assert part in text
    assert "7: 6 lidar, 1 camera" in text
    assert "and 2 more" in text
    found = json.loads((tmp_path / "info.json").read_text())
    assert (found["frames"], found["kind"], found["rate_hz"]) == (9, "kitti_raw", pytest.approx(10))
    assert found["camera"]["fx_px"] == 50
    assert len(found["gaps"]) == 7
    assert found["gaps"][0]["frame"] == "0000000002"
    assert run(["info", str(folder), "--verbose"]) == 0
    assert "more" not in capsys.readouterr().out
    assert run(["info", str(folder), "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_info_of_unrelated_frames_and_of_a_real_drive(
    tmp_path: Path, real_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["info", str(make_object_folder(tmp_path))]) == 0
    assert "no sequence" in capsys.readouterr().out
    assert run(["info", str(real_data / "kitti_raw")]) == 0
    assert "1242x375 px" in capsys.readouterr().out


def test_bad_input_is_one_line_and_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_raw_drive(tmp_path)
    assert run(["info", str(tmp_path / "absent")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"perceive: {tmp_path / 'absent'}: no such file or folder; expected")
    assert error.count("\n") == 1
    assert run(["info", str(folder), "--calib", "absent.toml"]) == 2
    assert "absent.toml: expected a calibration file but there is none" in capsys.readouterr().err
    assert run(["info", str(folder), "--json", str(tmp_path / "no" / "folder.json")]) == 2
    assert "folder.json: cannot be written" in capsys.readouterr().err
