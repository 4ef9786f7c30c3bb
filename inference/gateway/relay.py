"""The gateway's one reader of Redis: events of its requests and reports of all neurons, and the way back for cancels.

One connection and one blocking XREAD for the whole process, however many streams it serves: redis-py's pool would
stop at 100 readers (DESIGN 3.5).
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from uuid import UUID

import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from fleet.reports import REPORTS_STREAM, control_stream, decode_report, gateway_presence
from inference import wire
from inference.gateway.attempts import MOST_UNREAD_EVENTS, Attempt, AttemptLost, Attempts
from inference.gateway.fleet_view import FleetView
from inference.refusals import Refusal

log = structlog.get_logger(__name__)

#: How long one XREAD waits; between two of them silence is judged.
READ_BLOCK_MS = 500
#: Attempts outlive an outage of Redis this long, as neurons do, and then end with an error.
OUTAGE_LIMIT_S = 8.0
#: How often read events are trimmed and the gateway's presence is renewed, and how long presence lasts.
UPKEEP_PERIOD_S = 1.0
#: A neuron that reads its control stream is never so far behind.
MOST_CONTROL_ENTRIES = 10_000
PRESENCE_S = 5


class Relay:
    """Runs from `start` to `stop` on the gateway's loop. `away_since_s` is None while Redis answers."""

    def __init__(
        self,
        redis_url: str,
        *,
        gateway_id: str,
        url: str,
        attempts: Attempts,
        fleet: FleetView,
        on_stop: Callable[[UUID], None],
    ) -> None:
        """`on_stop` is called with each background response that another gateway asks this one to cancel."""
        self._redis: redis.asyncio.Redis = redis.asyncio.from_url(
            redis_url, socket_connect_timeout=2, socket_timeout=3, retry=Retry(NoBackoff(), 0), protocol=2
        )
        self._stream = wire.gateway_stream(gateway_id)
        self._presence = gateway_presence(gateway_id)
        self._about = json.dumps({"id": gateway_id, "pid": os.getpid(), "url": url, "started_at": time.time()})
        self._attempts = attempts
        self._fleet = fleet
        self._on_stop = on_stop
        self._position: dict[Any, Any] = {self._stream: "0", REPORTS_STREAM: "$"}
        self._upkeep_due_s = 0.0
        #: What is to be written, by stream and field: lists of attempt ids.
        self._outbox: dict[tuple[str, bytes], list[str]] = defaultdict(list)
        self._settled: dict[str, list[str]] = defaultdict(list)
        self._post = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.away_since_s: float | None = time.monotonic()

    def start(self) -> None:
        self._tasks = [
            asyncio.create_task(self._read(), name="relay"),
            asyncio.create_task(self._write(), name="relay-writer"),
        ]

    async def stop(self) -> None:
        """Say goodbye. A stream with something that is not settled stays for another gateway to read."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            await self._redis.delete(self._presence, *(() if len(self._attempts) else (self._stream,)))
        except RedisError:
            log.warning("presence_not_withdrawn", reason="Redis does not answer; it expires by itself")
        await self._redis.aclose()

    @property
    def available(self) -> bool:
        return self.away_since_s is None

    def cancel(self, attempt: Attempt) -> None:
        """Ask the neuron to stop working on an attempt. Returns at once; safe to call while being cancelled oneself."""
        self._send(control_stream(attempt.neuron.name), wire.CANCEL_FIELD, attempt.id)

    def fence(self, attempt: Attempt) -> None:
        """Close the stream for an attempt: it is over once the fence has been read back, after all that came before."""
        self._send(self._stream, wire.FENCE_FIELD, attempt.id)

    def settled(self, attempt: Attempt) -> None:
        """Tell the neuron, within a second or so, that it need not keep the final record."""
        self._settled[attempt.neuron.name].append(attempt.id)

    @property
    def position(self) -> str:
        """Up to where this gateway's stream has been read."""
        position = self._position[self._stream]
        return position.decode() if isinstance(position, bytes) else position

    def _send(self, stream: str, field: bytes, attempt_id: str) -> None:
        self._outbox[stream, field].append(attempt_id)
        self._post.set()

    # -- reading -------------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            try:
                await self._keep_up()
                self._take(await self._redis.xread(self._position, count=500, block=READ_BLOCK_MS))
            except (RedisError, OSError) as fault:
                self._note_outage(fault)
                await asyncio.sleep(0.1)
            except Exception:
                log.exception("relay_fault")
                await asyncio.sleep(0.1)
            else:
                self._note_answer()
                self._attempts.lose_neurons(self._fleet.silent)

    def _take(self, streams: Any) -> None:
        """Hand out what was read: events first, so that a report never outruns the final event before it."""
        entries = {name.decode(): messages for name, messages in streams or []}
        for message_id, fields in entries.get(self._stream, []):
            self._position[self._stream] = message_id
            if wire.FENCE_FIELD in fields:
                for attempt_id in wire.decode_ids(fields[wire.FENCE_FIELD]):
                    fenced = self._attempts.get(attempt_id)
                    if fenced is not None:
                        fenced.fence()
                continue
            for response in wire.decode_ids(fields.get(wire.STOP_FIELD, wire.NOTHING)):
                self._on_stop(UUID(hex=response))
            for attempt_id, seq, event in wire.decode_published(fields.get(wire.EVENTS_FIELD, wire.NOTHING)):
                attempt = self._attempts.get(attempt_id)
                if attempt is not None:
                    attempt.push(seq, event)
                    if attempt.unread > MOST_UNREAD_EVENTS and not attempt.ended:
                        attempt.fail(Refusal("The client has not read for too long."))
                        self.cancel(attempt)
        for message_id, fields in entries.get(REPORTS_STREAM, []):
            self._position[REPORTS_STREAM] = message_id
            report = decode_report(fields[b"r"])
            self._fleet.hear(report)
            self._attempts.check(report)

    async def _keep_up(self) -> None:
        """Trim what was read and say that this gateway lives."""
        now_s = time.monotonic()
        if now_s < self._upkeep_due_s:
            return
        self._upkeep_due_s = now_s + UPKEEP_PERIOD_S
        settled, self._settled = self._settled, defaultdict(list)
        for neuron, attempt_ids in settled.items():
            self._outbox[control_stream(neuron), wire.SETTLED_FIELD].extend(attempt_ids)
        if settled:
            self._post.set()
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.set(self._presence, self._about, ex=PRESENCE_S)
            if self.position != "0":
                # an event stays until it is settled: should this gateway die, another one reads it
                pipe.xtrim(self._stream, minid=self._attempts.oldest_position(self.position))
                pipe.expire(self._stream, wire.EVENTS_KEPT_S)
            await pipe.execute()

    def _note_outage(self, fault: Exception) -> None:
        now_s = time.monotonic()
        if self.away_since_s is None:
            self.away_since_s = now_s
            log.error("redis_away", reason=str(fault))
        elif now_s - self.away_since_s > OUTAGE_LIMIT_S:
            self._attempts.lose_all(AttemptLost("The connection to the neurons was lost."))

    def _note_answer(self) -> None:
        if self.away_since_s is not None:
            log.info("redis_answers", away_s=round(time.monotonic() - self.away_since_s, 1))
            self.away_since_s = None
            self._fleet.forgive_silence()
            self._attempts.doubt()

    # -- writing -------------------------------------------------------------------------------

    async def _write(self) -> None:
        """Send cancels, fences and settled ids; what cannot be sent now is sent when Redis answers again."""
        while True:
            await self._post.wait()
            self._post.clear()
            while self._outbox:
                (stream, field), waiting = next(iter(self._outbox.items()))
                batch = list(waiting)
                maxlen = None if stream == self._stream else MOST_CONTROL_ENTRIES
                try:
                    await self._redis.xadd(stream, {field: wire.encode_ids(batch)}, maxlen=maxlen)
                except (RedisError, OSError):
                    await asyncio.sleep(0.1)  # a neuron without Redis stops by itself; one with it must still hear
                    continue
                del waiting[: len(batch)]
                if not waiting:
                    del self._outbox[stream, field]
