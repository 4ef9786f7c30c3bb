"""The events of background responses: a Redis stream for each, which any gateway reads (WIRE_APIS, Background).

An entry's id is the event's number, so an event is written once however often that is tried, and whoever wrote a
number first has said what it is. Entries are as they go to a client.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from inference import wire

log = structlog.get_logger(__name__)

#: After its end a response can be replayed for a day; later only the whole of it is there.
KEPT_S = 86_400
#: Redis may be away for so long before a response is given up: neurons and relays wait no longer either.
AWAY_LIMIT_S = 15.0
RETRY_PERIOD_S = 0.2
#: How often a log that another gateway writes is looked at for news, at first and after a while of silence.
FIRST_POLL_S = 0.05
LONGEST_POLL_S = 0.5
READ_COUNT = 200

FRAME_FIELD = b"f"
#: Marks the last entry.
END_FIELD = b"end"


def log_key(response: UUID) -> str:
    return f"helexa:response:{response.hex}:events"


def entry_id(number: int) -> str:
    """Entries are numbered from 1, events from 0."""
    return f"{number + 1}-0"


class EventLog:
    def __init__(self, redis_url: str) -> None:
        self._redis: redis.asyncio.Redis = redis.asyncio.from_url(
            redis_url, socket_connect_timeout=2, socket_timeout=3, retry=Retry(NoBackoff(), 0), protocol=2
        )
        #: Set when a response that is written here has news.
        self._news: dict[UUID, asyncio.Event] = {}

    async def stop(self) -> None:
        await self._redis.aclose()

    # -- writing ---------------------------------------------------------------------------------

    async def append(self, response: UUID, first: int, frames: Sequence[bytes], *, end: bool = False) -> None:
        """Write events, the first of which has that number; `end` closes the log. Raises RedisError after a while."""
        until_s = time.monotonic() + AWAY_LIMIT_S
        while True:
            try:
                await self._write(response, first, frames, end=end)
                break
            except (RedisError, OSError):
                if time.monotonic() > until_s:
                    raise
                await asyncio.sleep(RETRY_PERIOD_S)
        if response in self._news:
            self._news.pop(response).set()

    async def _write(self, response: UUID, first: int, frames: Sequence[bytes], *, end: bool) -> None:
        key = log_key(response)
        entries: list[dict[Any, Any]] = [{FRAME_FIELD: frame} for frame in frames]
        if end:
            entries.append({END_FIELD: b"1"})
        async with self._redis.pipeline(transaction=False) as pipe:
            for number, entry in enumerate(entries, first):
                pipe.xadd(key, entry, id=entry_id(number))
            pipe.expire(key, KEPT_S)
            results = await pipe.execute(raise_on_error=False)
        for result in results:
            # refused because it is there: this very try came through before, or another gateway has ended the log
            if isinstance(result, Exception) and not isinstance(result, ResponseError):
                raise result

    async def drop(self, response: UUID) -> None:
        await self._redis.delete(log_key(response))

    async def ask_to_stop(self, response: UUID, gateway: str) -> None:
        """Have the gateway that runs a response cancel it. Raises RedisError."""
        stream = wire.gateway_stream(gateway)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.xadd(stream, {wire.STOP_FIELD: wire.encode_ids([response.hex])})
            pipe.expire(stream, wire.EVENTS_KEPT_S)
            await pipe.execute()

    # -- reading ---------------------------------------------------------------------------------

    async def is_there(self, response: UUID) -> bool:
        """Whether the whole of it can be replayed. Raises RedisError."""
        first: Any = await self._redis.xrange(log_key(response), count=1)
        return bool(first) and first[0][0].decode() == entry_id(0)

    async def _ended_before(self, response: UUID, number: int) -> bool:
        """Whether the log is closed and all its events come before that number."""
        last: Any = await self._redis.xrevrange(log_key(response), count=1)
        return bool(last) and END_FIELD in last[0][1] and int(last[0][0].split(b"-")[0]) <= number + 1

    async def follow(self, response: UUID, after: int) -> AsyncIterator[list[bytes]]:
        """The events behind that number, as they come, until the last. Nothing, an empty list, now and then.

        Raises RedisError.
        """
        if after >= 0 and await self._ended_before(response, after):
            return
        position = f"({entry_id(after)}" if after >= 0 else "-"
        pause_s = FIRST_POLL_S
        try:
            while True:
                news = self._news.setdefault(response, asyncio.Event())
                entries: Any = await self._redis.xrange(log_key(response), min=position, count=READ_COUNT)
                if entries:
                    position = f"({entries[-1][0].decode()}"
                    pause_s = FIRST_POLL_S
                if frames := [fields[FRAME_FIELD] for _, fields in entries if FRAME_FIELD in fields]:
                    yield frames
                if entries and END_FIELD in entries[-1][1]:
                    return
                if not entries:
                    yield []
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause_s):
                            await news.wait()
                    pause_s = min(pause_s * 1.5, LONGEST_POLL_S)
        finally:
            self._news.pop(response, None)
