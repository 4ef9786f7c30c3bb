"""The workers of torch's threads on a CPU, and how a thread gives its own back.

Every thread that computes something large starts OpenMP workers of its own, and keeps them for as long as it lives.
While all of them together are more than the CPUs, libgomp has none of them wait by spinning for more than an instant:
each operation then wakes its workers through the kernel. One large addition in the main thread of a process made every
later run of the bench's requests in the owner thread take 9.3 s instead of 5.8. So in a process with an engine whoever
stops computing gives them back; they are started anew when they are needed, which takes some 0.1 ms.

Source: libgomp's `gomp_throttled_spin_count_var`; OpenMP 5.0, 3.2.44 `omp_pause_resource_all`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache

_PAUSE_SOFT = 1


def give_back() -> None:
    """End the workers of the calling thread, where the OpenMP that torch runs on can do so. It stays as usable."""
    _pause()(_PAUSE_SOFT)


@cache
def _pause() -> Callable[[int], object]:
    try:
        pause: Callable[[int], object] = ctypes.CDLL(None).omp_pause_resource_all
    except (AttributeError, OSError):  # a torch on another OpenMP, or on threads of its own
        return lambda _kind: None
    return pause
