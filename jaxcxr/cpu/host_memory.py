"""The host's memory: what is freed stays with the process, where the next arrays will be.

glibc gives the memory of every large array back to the system as soon as it is freed, and Linux
hands it out again page by page, zeroed. A program of XLA:CPU asks for all its temporaries again at
every call, and a training step would spend much of its time in page faults (docs/PERFORMANCE.md,
"Freed memory on CPUs").
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

# Of malloc.h. One heap for all threads, no array outside it, and nothing of its end given back.
_M_ARENA_MAX, _M_MMAP_MAX, _M_TRIM_THRESHOLD = -8, -4, -1
_KEEP = ((_M_ARENA_MAX, 1), (_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1))


def keep_freed() -> bool:
    """Has glibc's malloc keep what is freed.

    Call it before NumPy and JAX start threads, which get heaps of their own.

    Returns:
        Whether it does: not where the C library has no such setting, nor where the user has set
        malloc by the environment (GLIBC_TUNABLES, or MALLOC_ with glibc's name of a setting, as in
        MALLOC_TRIM_THRESHOLD_).
    """
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ):
        return False
    mallopt = _of_glibc("mallopt")
    return mallopt is not None and all([mallopt(*setting) for setting in _KEEP])


def give_back() -> None:
    """Gives the system the memory that is free now.

    Programs of another kind and size come next, whose arrays lie elsewhere.
    """
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Callable[..., int] | None:
    """A function of the C library; None on macOS and Windows, whose libraries lack it."""
    try:
        return getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
