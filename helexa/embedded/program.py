"""A program to run as a child that never outlives us: what to start, as whom, and how it is asked to end."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from helexa.embedded.account import Account

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Program:
    """`orphan_signal` reaches the program when the process that started it dies, however it dies (Linux).

    `stdin` is what it reads there, at most a pipe's 64 KiB: the place for a password; argv and environment are not.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    account: Account | None = None
    stdin: bytes = b""
    pass_fds: Sequence[int] = ()
    folder: Path = Path("/")

    @contextmanager
    def popen_arguments(self) -> Iterator[dict[str, Any]]:
        """Arguments for Popen and its relatives, to be used inside the block.

        Start it from a thread that lives as long as the process should: the kernel watches that thread.
        """
        read_end, write_end = os.pipe()
        try:
            os.write(write_end, self.stdin)
            os.close(write_end)
            yield {
                "stdin": read_end,
                "env": dict(self.environment),
                "cwd": self.folder,
                "pass_fds": tuple(self.pass_fds),
                "start_new_session": True,  # Ctrl-C in the terminal is for us alone; we end our children in order
                "preexec_fn": _tie_to_parent(self.orphan_signal),
                **self._identity(),
            }
        finally:
            os.close(read_end)

    def start(self, **streams: Any) -> subprocess.Popen[bytes]:
        """Start it for a caller that watches it by itself."""
        with self.popen_arguments() as arguments:
            return subprocess.Popen(list(self.argv), **arguments, **streams)

    def run(self) -> subprocess.CompletedProcess[bytes]:
        """Run it to its end and give its exit status and its joined output."""
        with self.popen_arguments() as arguments:
            return subprocess.run(
                list(self.argv), check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **arguments
            )

    def _identity(self) -> dict[str, Any]:
        if self.account is None:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}


def _tie_to_parent(orphan_signal: signal.Signals) -> Callable[[], None] | None:
    """What the new process does before it becomes the program. Runs after the change of user, which would undo it."""
    libc, parent = _libc, os.getpid()
    if libc is None:
        return None

    def tie() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(orphan_signal), 0, 0, 0)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return tie


def stop_leftover(pid_file: Path, mark: str, *, stop_signal: signal.Signals, patience_s: float = 20) -> None:
    """End the process of `pid_file` if `mark` stands in its command line, that is, if it works on our data.

    Left over where `up` was killed and its server is still writing, or on systems that do not tell orphans.
    """
    try:
        process = psutil.Process(int(pid_file.read_text().split()[0]))
        if mark not in process.cmdline():
            return
        process.send_signal(stop_signal)
        try:
            process.wait(patience_s)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(patience_s)
    except (FileNotFoundError, ValueError, IndexError, psutil.NoSuchProcess):
        return
    finally:
        with suppress(FileNotFoundError):
            pid_file.unlink()
