from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from drive_makers import picture

from perception.datasets.drive import DamagedError
from perception.datasets.images import probe_size, read_image
from perception.errors import DriveError


def encoded(suffix: str) -> bytes:
    ok, data = cv2.imencode(suffix, cv2.cvtColor(picture(3), cv2.COLOR_RGB2BGR))
    assert ok
    return data.tobytes()


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".tiff"])
def test_lossless_pictures_come_back_as_rgb(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(encoded(suffix))
    np.testing.assert_array_equal(read_image(file), picture(3))


def test_grey_deep_and_transparent_pictures_become_eight_bit_rgb(tmp_path: Path) -> None:
    grey = picture(1)[:, :, 0]
    for name, image in [
        ("grey", grey),
        ("deep", grey.astype(np.uint16) * 257),
        ("transparent", np.dstack([grey, grey, grey, np.full_like(grey, 9)])),
    ]:
        cv2.imwrite(str(tmp_path / f"{name}.png"), image)
        found = read_image(tmp_path / f"{name}.png")
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, np.dstack([grey] * 3), err_msg=name)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_every_truncation_is_noticed(tmp_path: Path, suffix: str) -> None:
    data = encoded(suffix)
    file = tmp_path / f"a{suffix}"
    file.write_bytes(data)
    read_image(file)
    for length in [*range(0, len(data), 97), len(data) - 1]:
        file.write_bytes(data[:length])
        with pytest.raises(DamagedError, match=str(file)):
            read_image(file)


def test_a_jpeg_with_a_thumbnail_is_truncated_where_its_own_end_is_missing(tmp_path: Path) -> None:
    data, thumbnail = encoded(".jpg"), encoded(".jpg")[:600] + b"\xff\xd9"
    application = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    file = tmp_path / "a.jpg"
    file.write_bytes(data[:2] + application + data[2:])
    assert read_image(file).shape == picture(3).shape
    file.write_bytes(data[:2] + application + data[2:-200])
    with pytest.raises(DamagedError, match="truncated JPEG"):
        read_image(file)


def test_bytes_after_the_end_of_a_jpeg_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(encoded(".jpg") + b"a trailer \xff\xda of some camera")
    assert read_image(file).shape == picture(3).shape


@pytest.mark.parametrize("options", [[cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]])
def test_jpegs_of_other_kinds_are_whole_until_cut(tmp_path: Path, options: list[int]) -> None:
    file = tmp_path / "a.jpg"
    cv2.imwrite(str(file), picture(3), options)
    assert read_image(file).shape == picture(3).shape
    file.write_bytes(file.read_bytes()[:-2])
    with pytest.raises(DamagedError, match="truncated JPEG"):
        read_image(file)


def test_a_flipped_bit_in_a_png_fails_its_checksum(tmp_path: Path) -> None:
    data = bytearray(encoded(".png"))
    data[len(data) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(bytes(data))
    with pytest.raises(DamagedError, match=r"chunk IDAT at byte .* fails its checksum"):
        read_image(tmp_path / "a.png")


def test_what_is_no_picture_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("not a picture, whatever its name says")
    with pytest.raises(DamagedError, match="expected a picture"):
        read_image(tmp_path / "a.png")
    with pytest.raises(DamagedError, match="No such file"):
        read_image(tmp_path / "b.png")


def test_probe_takes_the_first_readable_pictures(tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.png" for number in range(20)]
    for file in files:
        file.write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DriveError, match="none of its 20 pictures can be read"):
        probe_size(files, "drive")
    files[7].write_bytes(encoded(".png"))
    assert probe_size(files, "drive") == {(64, 48): 1}


def test_every_real_picture_passes_and_fails_once_cut(real_data: Path, tmp_path: Path) -> None:
    files = sorted((real_data / "kitti_object" / "training" / "image_2").iterdir())[::10]
    files += sorted((real_data / "kitti_odometry" / "sequences" / "01" / "image_0").iterdir())[::25]
    assert files
    for file in files:
        image = read_image(file)
        np.testing.assert_array_equal(image[:, :, ::-1], cv2.imread(str(file), cv2.IMREAD_COLOR))
        cut = tmp_path / file.name
        cut.write_bytes(file.read_bytes()[: int(file.stat().st_size * 0.9)])
        with pytest.raises(DamagedError, match="truncated"):
            read_image(cut)
