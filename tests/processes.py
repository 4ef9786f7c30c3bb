"""How tests start a helexa, and the processes they look for among those it has started."""

from __future__ import annotations

import shutil
import sys
from contextlib import suppress

import psutil

from helexa.home import REPOSITORY

#: What ends when the thread that starts it does, however that ends (Linux): an interrupted run leaves nothing behind.
_TIED = ("setpriv", "--pdeathsig", "TERM") if shutil.which("setpriv") else ()


def manage(*arguments: str) -> list[str]:
    """`manage.py` with these arguments, as a command that does not outlive the test's process."""
    return [*_TIED, sys.executable, str(REPOSITORY / "manage.py"), *arguments]


def children_of(pid: int, word: str) -> list[psutil.Process]:
    """The children of a process that were started for that command (`serve`) or from that program (`valkey`).

    Who has died, yet unburied, is left out.
    """
    found = []
    for child in psutil.Process(pid).children():
        with suppress(psutil.NoSuchProcess):
            program, *arguments = child.cmdline() or [""]  # it is ending
            if word in arguments or program.rpartition("/")[2].startswith(word):
                found.append(child)
    return found


def alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    """Those that have not died, buried or not."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
