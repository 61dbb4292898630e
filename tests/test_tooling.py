"""The project's own rules: formatting, lint, types, layers, and an instant ``--help``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent


def run(project: Path, *command: str) -> None:
    result = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_format_and_lint(project: Path) -> None:
    run(project, str(BIN / "ruff"), "format", "--check", ".")
    run(project, str(BIN / "ruff"), "check", ".")


def test_types(project: Path) -> None:
    run(project, str(BIN / "mypy"))


def test_import_layers(project: Path) -> None:
    run(project, str(BIN / "lint-imports"))


def test_pre_commit_configuration_is_valid(project: Path) -> None:
    run(project, str(BIN / "pre-commit"), "validate-config")


def test_help_imports_nothing_heavy(project: Path) -> None:
    """What makes --help slow is importing the libraries of the commands; half a second is measured in benchmarks/."""
    heavy = "torch torchvision numpy cv2 numba open3d av scipy pyarrow onnxruntime plotly".split()
    code = (
        "import sys\nfrom perception.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"loaded = [name for name in {heavy!r} if name in sys.modules]\n"
        "sys.exit(f'loaded {loaded}' if loaded else 0)"
    )
    run(project, sys.executable, "-c", code)


@pytest.mark.parametrize("folder", ["perception", "sim_data", "tools", "tests", "benchmarks", "examples"])
def test_no_catch_all_module(project: Path, folder: str) -> None:
    assert not list((project / folder).rglob("utils.py"))


def test_product_code_knows_no_data_folder(project: Path) -> None:
    for file in [*project.glob("perception/**/*.py"), *project.glob("sim_data/**/*.py")]:
        found = re.search(r"shared/data|PERCEPTION_DATA", file.read_text(encoding="utf-8"))
        assert found is None, f"{file} refers to {found and found.group()}"
