from __future__ import annotations

from pathlib import Path

import pytest

from perception.config import Config, load_config
from perception.errors import ConfigError


def test_defaults_hold_every_key_of_the_models() -> None:
    config = load_config()
    assert config.detection.source == "network"
    assert set(Config.model_fields) == set(config.model_dump())


def test_file_then_set_win_in_that_order(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[detection]\nnms_iou = 0.4\nscore_threshold = 0.1\n")
    config = load_config(file, ["detection.nms_iou=0.5", "tracking.tracker=ocsort"])
    assert config.detection.nms_iou == 0.5
    assert config.detection.score_threshold == 0.1
    assert config.tracking.tracker == "ocsort"


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("detection.nms_iuo=0.5", "did you mean detection.nms_iou"),
        ("detecton.nms_iou=0.5", "unknown key detecton"),
        ("nms_iou=0.5", "did you mean detection.nms_iou"),
        ("detection.nms_iou=1.5", "detection.nms_iou = 1.5"),
        ("detection.nms_iou=often", "detection.nms_iou = 'often'"),
        ("detection.input_width_px=833", "multiple of 32"),
        ("detection=0.5", "is a section"),
        ("detection.nms_iou", "expected key.path=value"),
        ("egomotion.source=gps", "'given', 'lidar', 'visual' or 'still'"),
    ],
)
def test_bad_settings_name_the_key(override: str, told: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(overrides=[override])
    assert told in str(error.value)
    assert override.split("=")[0].split(".")[-1] in str(error.value)


def test_bad_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text("[detection\n")
    with pytest.raises(ConfigError, match=r"broken\.toml: expected TOML"):
        load_config(file)
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read"):
        load_config(tmp_path / "absent.toml")
    file.write_text("[video]\ncrf = 99\n")
    with pytest.raises(ConfigError, match=r"broken\.toml: video\.crf = 99"):
        load_config(file)
