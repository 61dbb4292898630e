"""A coloured point cloud that grows on disk, not in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from perception.files import replaced_when_done

__all__ = ["CloudSpool"]

_POINT = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])


class CloudSpool:
    """Collects world points in an unnamed temporary file and writes them as binary PLY."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self.count = 0

    def append(self, world_xyz: npt.NDArray[np.float32], rgb: npt.NDArray[np.uint8]) -> None:
        """Adds (N, 3) points in m with (N, 3) u8 colours."""
        records = np.empty(len(world_xyz), dtype=_POINT)
        records["xyz"], records["rgb"] = world_xyz, rgb
        self._file.write(records.tobytes())
        self.count += len(records)

    def write_ply(self, path: Path) -> None:
        """Writes all points so far, aside and then renamed."""
        header = (
            "ply\nformat binary_little_endian 1.0\ncomment metres, world frame: origin at the first pose, z up\n"
            f"element vertex {self.count}\nproperty float x\nproperty float y\nproperty float z\n"
            "property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
        )
        with replaced_when_done(path) as aside, aside.open("wb") as target:
            target.write(header.encode("ascii"))
            self._file.seek(0)
            while block := self._file.read(1 << 20):
                target.write(block)
        self._file.seek(0, 2)

    def clear(self) -> None:
        """Forgets all points."""
        self._file.seek(0)
        self._file.truncate()
        self.count = 0

    def close(self) -> None:
        """Releases the file."""
        self._file.close()

    def __enter__(self) -> CloudSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
