"""What malloc holds, seen in a process of its own: a limit of arenas holds for the rest of a process's life."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from inference.worker.heap import ARENAS

#: More threads than arenas, all alive at once, each with memory from malloc; then malloc says how many arenas it has.
_PROGRAM = """
import ctypes, threading
from inference.worker.heap import limit_arenas

{first}
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
all_have_some = threading.Barrier(7)

def work():
    libc.malloc(100_000)
    all_have_some.wait()

for _ in range(6):
    threading.Thread(target=work).start()
all_have_some.wait()
output = ctypes.c_void_p(libc.fopen(b"/dev/stdout", b"w"))
libc.malloc_info(0, output)
libc.fclose(output)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has arenas")


def _arenas(first: str, **environment: str) -> int:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(first=first)],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.count("<heap ")


def test_threads_share_a_few_arenas() -> None:
    assert _arenas("") > ARENAS, "as it is without a limit"
    assert _arenas("limit_arenas()") == ARENAS


def test_who_runs_a_neuron_may_set_another_number_of_arenas() -> None:
    assert _arenas("limit_arenas()", MALLOC_ARENA_MAX="4") == 4


_FREED = """
import ctypes, os
import psutil
from inference.worker.heap import Heap

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
blocks = [libc.malloc(2000) for _ in range(40_000)]
for block in blocks:
    ctypes.memset(ctypes.c_void_p(block), 1, 2000)
for block in blocks[:-1]:  # the last one keeps malloc from lowering its end
    libc.free(block)
heap, me = Heap(), psutil.Process()
for idle in (False, True, True):
    heap.seen(idle=idle)
    print(me.memory_info().rss)
"""


def test_what_is_free_goes_back_to_the_system_when_a_neuron_stays_idle() -> None:
    ran = subprocess.run([sys.executable, "-c", _FREED], capture_output=True, text=True, check=True)
    busy, idle_once, idle = map(int, ran.stdout.split())
    assert idle_once > busy - 1e6, "it may be asked again at once"
    assert idle < busy - 60e6
