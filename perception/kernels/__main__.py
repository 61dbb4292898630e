"""``python -m perception.kernels``: compiles every kernel into numba's cache, so that no run waits for it."""

from __future__ import annotations

import pkgutil
from importlib import import_module

import perception.kernels


def compile_all() -> list[str]:
    """Imports every kernel module, which compiles what is not cached; returns their names."""
    names = [module.name for module in pkgutil.iter_modules(perception.kernels.__path__)]
    names = [f"perception.kernels.{name}" for name in names if not name.startswith("_")]
    for name in names:
        import_module(name)
    return names


if __name__ == "__main__":
    print(f"{len(compile_all())} kernel modules are compiled")
