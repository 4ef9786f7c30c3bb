"""One server process from its application's start to its end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from helexa.serving.errors import RenderError
from helexa.serving.lifespan import Application, Lifespan, LifespanError
from helexa.serving.limits import FLUSH_S, Limits
from helexa.serving.sockets import listen

logger = logging.getLogger(__name__)

ServerName = Literal["daphne", "uvicorn"]


class MissingServerError(Exception):
    """The packages of the wanted server are not installed."""


class HttpServer(Protocol):
    async def start(self, sockets: list[socket.socket]) -> None: ...

    async def stop(self, *, grace_s: float) -> None: ...


def run(
    application: Application,
    *,
    sockets: list[socket.socket],
    server: ServerName,
    limits: Limits,
    drain: Callable[[], Awaitable[None]],
    on_ready: Callable[[], None] | None,
    render_error: RenderError,
) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code. Blocks; call it once, in the main thread.

    The application starts (lifespan) before anything listens. At the first signal `drain` is awaited, `drain_s` at
    most, while connections are still accepted: the application itself refuses new work. Then listeners close, what is
    being answered or flushed gets a few seconds, and the application ends (lifespan). A second signal does not wait.

    Raises `MissingServerError` and `ListenError`, each with a sentence for an operator.
    """
    if server == "daphne":
        from helexa.serving.daphne_server import LOOP, DaphneServer

        asyncio.set_event_loop(LOOP)
        process = Process(application, DaphneServer(application, limits, render_error), drain, limits.drain_s)
        return LOOP.run_until_complete(process.run(sockets, on_ready))

    try:
        import uvloop

        from helexa.serving.uvicorn_server import UvicornServer
    except ImportError as error:
        raise MissingServerError("uvicorn is not installed: pip install 'helexa[fast]', or use Daphne.") from error
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        process = Process(application, UvicornServer(application, limits, render_error), drain, limits.drain_s)
        return runner.run(process.run(sockets, on_ready))


@dataclass(frozen=True)
class Process:
    """What the two servers have in common."""

    application: Application
    server: HttpServer
    drain: Callable[[], Awaitable[None]]
    drain_s: float

    async def run(self, sockets: list[socket.socket], on_ready: Callable[[], None] | None) -> int:
        signals = StopSignals()
        try:
            lifespan = Lifespan(self.application)
            try:
                if not await signals.first_or(lifespan.startup()):
                    await lifespan.cancel()
                    return 0
            except LifespanError as error:
                logger.error("The application did not start: %s", error)
                return 1
            except Exception:
                logger.exception("The application did not start")
                return 1
            # What start-up made stays: left out of every later collection, which stops all requests while it lasts.
            gc.collect()
            gc.freeze()
            listen(sockets)
            await self.server.start(sockets)
            if on_ready is not None:
                on_ready()
            await signals.first.wait()
            await self._drain(signals)
            await self.server.stop(grace_s=0 if signals.second.is_set() else FLUSH_S)
            return await _end(lifespan)
        finally:
            signals.restore()

    async def _drain(self, signals: StopSignals) -> None:
        try:
            async with asyncio.timeout(self.drain_s):
                await signals.second_or(self.drain())
        except TimeoutError:
            logger.warning("Work still ran after %g s and is cut off", self.drain_s)
        except Exception:
            logger.exception("The application's drain failed; what still runs is cut off")


async def _end(lifespan: Lifespan) -> int:
    try:
        async with asyncio.timeout(FLUSH_S):
            await lifespan.shutdown()
    except LifespanError as error:
        logger.error("The application did not stop well: %s", error)
        return 1
    except TimeoutError:
        logger.error("The application did not stop within %g s", FLUSH_S)
        return 1
    return 0


class StopSignals:
    """SIGTERM and SIGINT: the first asks to drain, the second not to wait for it."""

    def __init__(self) -> None:
        self.first, self.second = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._received)

    def _received(self) -> None:
        (self.second if self.first.is_set() else self.first).set()

    async def first_or(self, work: Awaitable[None]) -> bool:
        return await _done_before(work, self.first)

    async def second_or(self, work: Awaitable[None]) -> bool:
        return await _done_before(work, self.second)

    def restore(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.remove_signal_handler(number)


async def _done_before(work: Awaitable[None], event: asyncio.Event) -> bool:
    """Did the work end before the event? If not it is cancelled."""
    task, happened = asyncio.ensure_future(work), asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait([task, happened], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            return False
        task.result()
        return True
    finally:
        task.cancel()
        happened.cancel()
