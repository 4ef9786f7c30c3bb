"""A client that follows a background response, from the beginning or from where it was cut off."""

from __future__ import annotations

import time
from uuid import UUID

import msgspec
from redis.exceptions import RedisError

from inference.gateway.exchange import Exchange
from inference.gateway.runtime import Gateway
from inference.refusals import Refusal, invalid, unavailable

_encode = msgspec.json.Encoder().encode

#: After so long without an event the store is asked whether there is anything to come.
SILENCE_LIMIT_S = 5.0


async def follow(gateway: Gateway, exchange: Exchange, response: UUID, account_pk: int, *, after: int = -1) -> None:
    """Replay what comes behind that number and go on live. Raises Refusal where there is no log of it any more."""
    try:
        replayable = await gateway.event_log.is_there(response)
    except (RedisError, OSError) as fault:
        raise unavailable("Redis does not answer, so no event can be read.", retry_after_s=5) from fault
    if not replayable:
        raise invalid("The events of this response are not kept any more: fetch it without `stream`.", "stream")
    number = after

    def broken(refusal: Refusal) -> bytes:
        """No `response.failed`: the response goes on, only this reader does not."""
        told = {"code": refusal.code, "message": refusal.message, "param": refusal.param}
        data = _encode({"type": "error", "sequence_number": number + 1, **told, "error": told})
        return b"event: error\ndata: " + data + b"\n\n"

    await exchange.open_stream(broken)
    heard_s = told_s = time.monotonic()
    try:
        async for frames in gateway.event_log.follow(response, after):
            now_s = time.monotonic()
            if frames:
                number += len(frames)
                heard_s = told_s = now_s
                await exchange.send(b"".join(frames))
                continue
            if now_s - heard_s > SILENCE_LIMIT_S:
                heard_s = now_s
                stored = await gateway.responses.find(response, account_pk)
                if stored is None or not stored.running:
                    break  # ended, or deleted, while nobody could write it down
            if now_s - told_s > gateway.keep_alive_s:
                told_s = now_s
                await exchange.send(b": keep-alive\n\n")
    except (RedisError, OSError) as fault:
        raise unavailable("Redis does not answer: follow again, with `starting_after`.", retry_after_s=5) from fault
    await exchange.send_last(b"")
