"""How the C library gives out memory in this process."""

from __future__ import annotations

import ctypes
import os
import platform

#: Of malloc, for all threads together. A neuron has dozens of threads, and glibc lets them have 8 arenas for each core:
#: what was freed in one is of no use to the others, so the process grows until each has held the largest requests.
ARENAS = 2
#: `M_ARENA_MAX` of glibc's malloc.h.
_M_ARENA_MAX = -8


def limit_arenas() -> None:
    """Have the threads that come share `ARENAS` arenas, unless `MALLOC_ARENA_MAX` says something else.

    Only glibc has such arenas: elsewhere this does nothing. Raises OSError.
    """
    if platform.libc_ver()[0] != "glibc" or "MALLOC_ARENA_MAX" in os.environ:
        return
    if not ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS):
        raise OSError("malloc does not take a limit of its arenas")
