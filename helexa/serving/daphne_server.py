"""Daphne as helexa runs it."""

# ruff: noqa: N802 - the names are Twisted's
# mypy: allow-subclassing-any

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine
from time import monotonic
from typing import Any

import daphne.server  # first: it makes Twisted run on asyncio, which is settled by whoever imports it first
from daphne.http_protocol import HTTPFactory
from twisted.internet import reactor
from twisted.internet.interfaces import IListeningPort
from twisted.logger import FilteringLogObserver, LogLevel, LogLevelFilterPredicate, STDLibLogObserver, globalLogBeginner

from helexa.serving.daphne_channel import Channel
from helexa.serving.errors import RenderError, http_date
from helexa.serving.lifespan import Application
from helexa.serving.limits import FLUSH_S, LOOK_AT_DEADLINES_EVERY_S, Limits

LOOP: asyncio.AbstractEventLoop = daphne.server.twisted_loop


class Factory(HTTPFactory):
    server: DaphneServer

    def buildProtocol(self, addr: Any) -> Channel:
        channel = Channel(self.server)
        channel.factory = self
        return channel

    def log(self, request: Any) -> None:
        """Twisted's access log, which it formats even where nobody reads it."""


class DaphneServer(daphne.server.Server):
    """Daphne's server, listening on sockets it is given and stopping when it is told.

    Daphne learns once a second that an application has ended or failed; here a request's task says so itself.
    """

    def __init__(self, application: Application, limits: Limits, render_error: RenderError) -> None:
        super().__init__(application, endpoints=["the sockets passed to start()"], signal_handlers=False)
        self.limits, self.render_error = limits, render_error
        self.channels: set[Channel] = set()
        self.date = http_date()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ports: list[IListeningPort] = []

    async def start(self, sockets: list[socket.socket]) -> None:
        errors_only = LogLevelFilterPredicate(LogLevel.error)
        globalLogBeginner.beginLoggingTo(
            [FilteringLogObserver(STDLibLogObserver("twisted"), [errors_only])], redirectStandardIO=False
        )
        reactor.startRunning(installSignalHandlers=False)  # the loop itself is run by our caller
        factory = Factory(self)
        for listener in sockets:
            listener.setblocking(False)
            self._ports.append(reactor.adoptStreamPort(listener.fileno(), listener.family, factory))
            listener.close()  # Twisted has a duplicate
        self._watch = asyncio.create_task(self._watch_connections())

    async def stop(self, *, grace_s: float) -> None:
        """Stop accepting, let answers under way finish and leave for `grace_s`, then cut what is left."""
        for port in self._ports:
            await port.stopListening().asFuture(LOOP)
        for channel in list(self.channels):
            channel.close_when_answered()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                while self.channels:
                    await asyncio.sleep(0.01)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=FLUSH_S)
        self._watch.cancel()
        for channel in self.channels:
            channel.transport.abortConnection()

    def start_task(self, answer: Coroutine[Any, Any, None]) -> None:
        task = LOOP.create_task(answer)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def protocol_connected(self, protocol: Any) -> None:
        """Daphne keeps a table of requests; channels and tasks are enough here."""

    def protocol_disconnected(self, protocol: Any) -> None:
        """See `protocol_connected`."""

    async def _watch_connections(self) -> None:
        while True:
            await asyncio.sleep(LOOK_AT_DEADLINES_EVERY_S)
            self.date = http_date()
            now = monotonic()
            for channel in list(self.channels):
                channel.check_deadline(now)
