"""Ends background responses whose gateway is dead: what was told of them stays, and they fail with a reason."""

from __future__ import annotations

from typing import Any

import msgspec
import redis
import structlog

from inference.dialects.responses.replay import Replay
from inference.gateway.responses.event_log import END_FIELD, FRAME_FIELD, KEPT_S, entry_id, log_key
from inference.models import StoredResponse

log = structlog.get_logger(__name__)

RUNNING = (StoredResponse.Status.QUEUED, StoredResponse.Status.IN_PROGRESS)
REASON = "The gateway that ran this response is gone."

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def gateways_with_responses() -> set[str]:
    """The ids of gateways in whose name responses run."""
    return set(StoredResponse.objects.filter(status__in=RUNNING).values_list("gateway", flat=True))


def end_responses_of(gateway: str, client: redis.Redis) -> None:
    """End what a dead gateway ran. Raises RedisError and django.db.Error; what is left is ended at the next look."""
    for row in StoredResponse.objects.filter(status__in=RUNNING, gateway=gateway):
        _end(row, client)


def _end(row: StoredResponse, client: redis.Redis) -> None:
    """The row decides: a gateway that was only slow, and ends it in the same moment, or this one."""
    entries: Any = client.xrange(log_key(row.id))
    replay = Replay(fields[FRAME_FIELD] for _, fields in entries if FRAME_FIELD in fields)
    body, frames = replay.fail(REASON, fallback=_decode(bytes(row.response)))
    first = replay.next_number - len(frames)
    ended = StoredResponse.objects.filter(id=row.id, status__in=RUNNING).update(
        status=StoredResponse.Status.FAILED, response=body, size_bytes=len(bytes(row.input)) + len(body)
    )
    if not ended:
        return
    key = log_key(row.id)
    with client.pipeline(transaction=True) as pipe:
        for number, frame in enumerate(frames, first):
            pipe.xadd(key, {FRAME_FIELD: frame}, id=entry_id(number))
        pipe.xadd(key, {END_FIELD: b"1"}, id=entry_id(replay.next_number))
        pipe.expire(key, KEPT_S)
        pipe.execute(raise_on_error=False)  # a number that is taken was told by its gateway, with its last breath
    log.warning("response_of_a_dead_gateway_ended", response=row.id.hex, gateway=row.gateway)
