"""A gateway: the parts that all its requests share, started and stopped with the server."""

from __future__ import annotations

import asyncio
import secrets
import time

import structlog

from accounts.keys import parse_peppers
from inference.gateway.attempts import Attempt, Attempts
from inference.gateway.books import Books
from inference.gateway.database_watch import DatabaseWatch
from inference.gateway.dispatch import Dispatcher
from inference.gateway.fleet_view import FleetView
from inference.gateway.housekeeping import Housekeeping
from inference.gateway.principals import Principals
from inference.gateway.records import Records
from inference.gateway.relay import Relay
from inference.gateway.responses.event_log import EventLog
from inference.gateway.responses.runs import Runs
from inference.gateway.responses.store import ResponseStore
from inference.refusals import Refusal

log = structlog.get_logger(__name__)

#: Neurons report every second, so whoever is there is heard within this.
FIRST_LOOK_LIMIT_S = 2.0


class Gateway:
    """One per server process. `url` is where this very process answers, for people who look for it."""

    def __init__(
        self,
        *,
        database_url: str,
        redis_url: str,
        key_pepper: str,
        url: str,
        require_auth: bool,
        retention_days: int,
        keep_alive_s: float,
        store_days: int,
        store_max_bytes: int,
    ) -> None:
        self.id = secrets.token_hex(4)
        self.require_auth = require_auth
        #: The longest silence of a stream.
        self.keep_alive_s = keep_alive_s
        self.attempts = Attempts()
        self.fleet = FleetView()
        self.principals = Principals(database_url, parse_peppers(key_pepper), on_invalid=self._stop_work_of)
        self.runs = Runs()
        self.relay = Relay(
            redis_url,
            gateway_id=self.id,
            url=url,
            attempts=self.attempts,
            fleet=self.fleet,
            on_stop=self.runs.cancel,
        )
        self.books = Books(database_url, gateway_id=self.id, attempts=self.attempts, relay=self.relay)
        self.records = Records(database_url)
        self.responses = ResponseStore(database_url, days=store_days, max_bytes=store_max_bytes)
        self.database = DatabaseWatch(database_url, principals=self.principals, fleet=self.fleet, books=self.books)
        self.event_log = EventLog(redis_url)
        self.dispatcher = Dispatcher()
        self.housekeeping = Housekeeping(self.fleet, redis_url=redis_url, retention_days=retention_days)
        self.draining = False
        self._in_flight = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def start(self) -> None:
        await self.principals.start()
        self.database.start()
        self.relay.start()
        self.books.start()
        self.records.start()
        await self.responses.start()
        self.dispatcher.start()
        self.housekeeping.start()
        await self._look_around()
        log.info("gateway_started", gateway=self.id)

    async def _look_around(self) -> None:
        """Know keys and fleet before the server listens: clients of a shared socket must not meet a newcomer's 503s.

        Bounded, for a gateway without neurons, or with a database that is away, starts too.
        """
        until_s = time.monotonic() + FIRST_LOOK_LIMIT_S
        while not self.health()["ready"] and time.monotonic() < until_s:
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        self.housekeeping.stop()
        await self.runs.stop()
        await self.responses.stop()
        await self.event_log.stop()
        await self.books.stop()
        await self.records.stop()
        await self.dispatcher.stop()
        await self.relay.stop()
        await self.database.stop()
        await self.principals.stop()

    # -- requests in flight ----------------------------------------------------------------------

    def enter(self) -> None:
        """Count a request that runs; `drain` waits for its `leave`."""
        self._in_flight += 1
        self._idle.clear()

    def leave(self) -> None:
        self._in_flight -= 1
        if self._in_flight == 0:
            self._idle.set()

    async def drain(self) -> None:
        """Refuse new requests from now on and return when the running ones are done."""
        self.draining = True
        log.info("draining", in_flight=self._in_flight)
        await self._idle.wait()

    # -- health ----------------------------------------------------------------------------------

    def health(self) -> dict[str, object]:
        """What `/health` answers: ready or why not, in words."""
        now_s = time.monotonic()
        reasons = []
        if self.draining:
            reasons.append("This gateway is draining: it finishes what runs and takes nothing new.")
        if self.database.away_since_s is not None:
            reasons.append(f"PostgreSQL has not answered for {now_s - self.database.away_since_s:.0f} s.")
        if self.relay.away_since_s is not None:
            reasons.append(f"Redis has not answered for {now_s - self.relay.away_since_s:.0f} s.")
        healthy = len(self.fleet.healthy)
        if not healthy:
            reasons.append("No neuron is healthy.")
        return {"ready": not reasons, "reasons": reasons, "neurons": {"healthy": healthy}}

    def _stop_work_of(self, key_pks: list[int]) -> None:
        """End what revoked, expired and suspended keys still run, here and on the neurons."""
        fault = Refusal("The API key was revoked, expired or suspended while this request ran.", code="invalid_api_key")
        stopped: list[Attempt] = self.attempts.fail_where(key_pks, fault)
        if stopped:
            log.info("work_of_invalid_keys_stopped", attempts=len(stopped))
