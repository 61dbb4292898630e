"""Decorators of kernels whose loops must become vector instructions.

LLVM does that to a loop with table lookups only where it knows that no array written is also read. numba has a flag for
it and no name for the flag in its decorator; here it gets one. Results do not depend on it, speed does. Columns are
indexed by ``np.uint64``: a signed index might be negative and count from the end, and then LLVM scatters to neighbours
one by one what it could store at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.cpu import CPUTargetOptions
from numba.core.options import TargetOptions

__all__ = ["part", "vector_kernel"]

if not hasattr(CPUTargetOptions, "noalias"):
    CPUTargetOptions.noalias = TargetOptions.Mapping("noalias")

# no assumption about NaN or the order of sums, so nothing here changes which numbers come out beyond the last digit
_MATHS = {"contract", "nsz", "arcp"}


def vector_kernel(signature: str) -> Callable[[Any], Any]:
    """A compiled kernel whose array arguments never overlap; the caller sees to that."""
    return njit(  # type: ignore[no-any-return]
        signature, cache=True, nogil=True, error_model="numpy", fastmath=_MATHS, noalias=True
    )


def part(function: Any) -> Any:
    """A piece of kernels, put into each loop that calls it, since a loop with calls stays scalar."""
    return njit(forceinline=True, error_model="numpy", fastmath=_MATHS)(function)
