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


def give_back() -> None:
    """Memory that is free goes back to the system, where malloc keeps what lies between things that are in use."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


class Heap:
    """Gives free memory back once for each time that work has ended.

    Idle twice in a row is idle: who asks again at once need not
    fetch the same pages anew.
    """

    def __init__(self) -> None:
        self._idle = 2

    def seen(self, *, idle: bool) -> None:
        """Say, every second or so, whether there is nothing to do."""
        self._idle = self._idle + 1 if idle else 0
        if self._idle == 2:
            give_back()
