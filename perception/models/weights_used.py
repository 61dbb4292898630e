"""Which file a network's numbers came from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perception.files import sha256_of

__all__ = ["WeightsUsed"]


@dataclass(frozen=True, slots=True)
class WeightsUsed:
    """One entry of the weights list in ``run.json``.

    Attributes:
        name: what a user calls it: the file's stem, or the name in the manifest.
        path: the file that was read.
        sha256: of the file's bytes, 64 hex digits.
        precision: that the network computed in, where it has a choice.
    """

    name: str
    path: str
    sha256: str
    precision: str = ""

    @classmethod
    def of_file(cls, path: Path, name: str = "") -> WeightsUsed:
        """Reads the file once for its digest; ``name`` defaults to its stem."""
        return cls(name or path.stem, str(path), sha256_of(path))
