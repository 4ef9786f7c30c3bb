"""One child process that is kept alive: started, listened to, started again when it dies, ended when we end."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from logging import makeLogRecord
from logging.handlers import RotatingFileHandler
from pathlib import Path

from helexa.embedded.program import Program
from helexa.home import StartError
from helexa.up.terminal import Terminal

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
#: Whoever lived this long was well: its next pause is the first one again.
STEADY_S = 15.0
#: From the second request to end to SIGKILL.
LAST_PATIENCE_S = 3.0
LOG_BYTES = 10 * 1024 * 1024
OLD_LOGS = 2
LONGEST_LINE_BYTES = 64 * 1024


class Child:
    """`prepare` runs in a thread before every start, `after_end` gets the pid after every end.

    Its output goes to `<logs>/<name>.log` and, with its name before each line, to the terminal.
    """

    def __init__(
        self,
        name: str,
        program: Program,
        *,
        logs: Path,
        terminal: Terminal,
        restart: bool = True,
        prepare: Callable[[], None] = lambda: None,
        after_end: Callable[[int], None] = lambda _pid: None,
    ) -> None:
        self.name = name
        self.pid: int | None = None
        self.started_at = 0.0  # of the present process, seconds since the epoch
        self.deaths = 0
        #: Its last lines, for a sentence about why it died.
        self.tail: deque[str] = deque(maxlen=50)
        self.log_path = logs / f"{name}.log"
        self._program = program
        self._terminal = terminal
        self._restart = restart
        self._prepare = prepare
        self._after_end = after_end
        self._stopping = asyncio.Event()
        self._gone = asyncio.Event()
        self._gone.set()

    async def run(self) -> None:
        """Until `stop`. Raises StartError when it died and is not to be restarted, or cannot be started at all."""
        log = RotatingFileHandler(self.log_path, maxBytes=LOG_BYTES, backupCount=OLD_LOGS, encoding="utf-8")
        pause_s = FIRST_PAUSE_S
        try:
            while not self._stopping.is_set():
                began_s = asyncio.get_running_loop().time()
                status = await self._live(log)
                if self._stopping.is_set():
                    return
                self.deaths += 1
                if not self._restart:
                    raise StartError(f"{self.name} ended ({_in_words(status)}): see {self.log_path}.")
                if asyncio.get_running_loop().time() - began_s >= STEADY_S:
                    pause_s = FIRST_PAUSE_S
                self._terminal.say(
                    f"{self.name} ended ({_in_words(status)}) and starts again in {pause_s:g} s; see {self.log_path}"
                )
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            log.close()

    async def stop(self, patience_s: float, hurry: asyncio.Event) -> None:
        """Ask it to end, ask again after `patience_s` or when `hurry` is set, and kill what is left after that."""
        self._stopping.set()
        self._send(self._program.stop_signal)
        if await self._is_gone_within(patience_s, hurry):
            return
        self._send(self._program.stop_signal)  # a gateway that drains takes the second one as "now"
        if not await self._is_gone_within(LAST_PATIENCE_S):
            self._send(signal.SIGKILL)
            await self._gone.wait()

    async def _live(self, log: RotatingFileHandler) -> int:
        """One life of the process, to its exit status."""
        await asyncio.to_thread(self._prepare)
        if self._stopping.is_set():
            return 0
        read_end, write_end = os.pipe()
        started_at = time.time()
        try:
            with self._program.popen_arguments() as arguments:
                process = await asyncio.create_subprocess_exec(
                    *self._program.argv, stdout=write_end, stderr=write_end, **arguments
                )
        except OSError as error:
            os.close(read_end)
            raise StartError(f"{self.name} cannot be started ({error}): see that helexa is installed whole.") from error
        finally:
            os.close(write_end)
        self.pid, self.started_at = process.pid, started_at
        self._gone.clear()
        listening = asyncio.create_task(self._listen(read_end, log))
        try:
            if self._stopping.is_set():  # asked to end while it was being started
                self._send(self._program.stop_signal)
            return await process.wait()
        finally:
            _kill_group(process.pid)  # what it started itself and left behind
            await asyncio.wait({listening}, timeout=1)
            listening.cancel()
            self.pid = None
            self._after_end(process.pid)
            self._gone.set()

    async def _listen(self, read_end: int, log: RotatingFileHandler) -> None:
        async for line in _lines(read_end):
            self.tail.append(line)
            log.handle(makeLogRecord({"msg": line}))
            self._terminal.say_of(self.name, line)

    def _send(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _is_gone_within(self, patience_s: float, hurry: asyncio.Event | None = None) -> bool:
        waits = [asyncio.create_task(self._gone.wait())]
        if hurry is not None:
            waits.append(asyncio.create_task(hurry.wait()))
        await asyncio.wait(waits, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return self._gone.is_set()


async def _lines(read_end: int) -> AsyncIterator[str]:
    """Lines of a pipe, each at most LONGEST_LINE_BYTES long."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
    )
    rest = b""
    try:
        while piece := await reader.read(LONGEST_LINE_BYTES):
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                yield line.decode(errors="replace").rstrip("\r")
            if len(rest) >= LONGEST_LINE_BYTES:
                yield rest.decode(errors="replace")
                rest = b""
        if rest:
            yield rest.decode(errors="replace")
    finally:
        transport.close()


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _in_words(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"killed by {signal.Signals(-status).name}"
