"""Shared fixtures. Real frames are read from ``$PERCEPTION_DATA`` or ``../shared/data``; without them tests skip."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def project() -> Path:
    return PROJECT


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = Path(os.environ.get("PERCEPTION_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real data is absent: {folder} is no folder (set PERCEPTION_DATA)")
    return folder
