"""Settles what dead gateways left open, by reading the streams that were theirs (DESIGN 3.6, 3.7), and ends their
background responses.

Runs in the housekeeping of one gateway, in its thread. A gateway is dead when it has not said for some seconds that it
lives. What it left is cancelled; the final events appear on its stream like all the others. Where none comes, because
the neuron is gone too, the stream is fenced for that attempt and the highest count before the fence is billed.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from accounts.booking.operations import Release, Settle
from accounts.booking.transaction import book
from accounts.models import Reservation
from accounts.money import Counts
from fleet.reports import GATEWAY_PRESENCE_PATTERN, NeuronReport, control_stream
from inference import wire
from inference.events import FINAL, Event
from inference.gateway.relay import MOST_CONTROL_ENTRIES
from inference.gateway.responses.orphans import end_responses_of, gateways_with_responses
from inference.usage import Usage

log = structlog.get_logger(__name__)

#: A gateway is given up after this, on top of the seconds for which its last word holds; and as long again after an
#: outage of Redis or PostgreSQL, in which it could not speak.
GRACE_S = 5.0
#: How long cancelled work may take to say its last word before it is fenced.
LAST_WORD_LIMIT_S = 8.0
READ_COUNT = 500


@dataclass(slots=True)
class Seen:
    """What a stream says of one attempt, up to its fence."""

    usage: Usage = field(default_factory=Usage)
    final: bool = False
    fenced: bool = False

    def take(self, event: Event) -> None:
        self.usage = self.usage.after(event)
        self.final = self.final or isinstance(event, FINAL)


@dataclass(slots=True)
class Estate:
    """A dead gateway: since when it is missing, and since when its work is cancelled."""

    missing_since_s: float
    cancelled_at_s: dict[UUID, float] = field(default_factory=dict)


class Reaper:
    def __init__(self, redis_url: str) -> None:
        self._redis: redis.Redis = redis.Redis.from_url(
            redis_url, socket_connect_timeout=2, socket_timeout=3, retry=Retry(NoBackoff(), 0), protocol=2
        )
        self._estates: dict[str, Estate] = {}

    def close(self) -> None:
        self._redis.close()

    def forgive(self) -> None:
        """Redis or PostgreSQL was away: whoever is silent gets a full period of grace."""
        self._estates.clear()

    def work(self, reports: Collection[NeuronReport]) -> None:
        """One look. Raises RedisError and django.db.Error."""
        owners = set(Reservation.objects.filter(state=Reservation.State.OPEN).values_list("gateway", flat=True))
        owners |= gateways_with_responses()
        living = self._living() if owners else set()
        now_s = time.monotonic()
        self._estates = {
            gateway: self._estates.get(gateway) or Estate(now_s) for gateway in owners if gateway not in living
        }
        for gateway, estate in self._estates.items():
            if now_s - estate.missing_since_s >= GRACE_S:
                self._settle(gateway, estate, reports)
                end_responses_of(gateway, self._redis)

    def _living(self) -> set[str]:
        prefix, suffix = GATEWAY_PRESENCE_PATTERN.split("*")
        keys: Iterable[bytes] = self._redis.scan_iter(GATEWAY_PRESENCE_PATTERN, count=1000)
        return {key.decode().removeprefix(prefix).removesuffix(suffix) for key in keys}

    def _settle(self, gateway: str, estate: Estate, reports: Collection[NeuronReport]) -> None:
        """Close what can be closed now; the rest at one of the next looks."""
        left = list(Reservation.objects.filter(state=Reservation.State.OPEN, gateway=gateway))
        seen = self._read(gateway, {one.id.hex for one in left})
        for reservation in left:
            ids = [wire.attempt_id(reservation.id.hex, number) for number in range(wire.MOST_ATTEMPTS)]
            attempts = [_with_record(seen.get(attempt_id, Seen()), attempt_id, reports) for attempt_id in ids]
            ended = [attempt for attempt in attempts if attempt.final and any(attempt.usage)]
            if ended or all(attempt.final or attempt.fenced for attempt in attempts):
                self._close(reservation, max(ended or attempts, key=lambda attempt: attempt.usage.completion_tokens))
            else:
                self._give_up(estate, reservation, ids, reports)

    def _give_up(
        self, estate: Estate, reservation: Reservation, ids: list[str], reports: Collection[NeuronReport]
    ) -> None:
        """Cancel all attempts of a request wherever they may run; fence them when nobody runs any, or after a while."""
        now_s = time.monotonic()
        cancelled_at_s = estate.cancelled_at_s.get(reservation.id)
        if cancelled_at_s is None:
            estate.cancelled_at_s[reservation.id] = now_s
            for report in reports:
                self._redis.xadd(
                    control_stream(report.name), {wire.CANCEL_FIELD: wire.encode_ids(ids)}, maxlen=MOST_CONTROL_ENTRIES
                )
        elif now_s - cancelled_at_s > LAST_WORD_LIMIT_S or not any(id_ in r.running for r in reports for id_ in ids):
            self._redis.xadd(wire.gateway_stream(reservation.gateway), {wire.FENCE_FIELD: wire.encode_ids(ids)})

    def _close(self, reservation: Reservation, attempt: Seen) -> None:
        counts = Counts(*attempt.usage)
        budget_ids = tuple(reservation.budget_ids)
        if not counts.tokens or (not attempt.final and not counts.completion_tokens):
            book([Release(reservation.id, budget_ids)])
        else:
            book([Settle(reservation.id, counts, budget_ids, estimated=not attempt.final)])
        log.warning(
            "settled_for_a_dead_gateway",
            request=reservation.request_id,
            gateway=reservation.gateway,
            tokens=counts.tokens,
            estimated=not attempt.final,
        )

    def _read(self, gateway: str, requests: Collection[str]) -> dict[str, Seen]:
        """What the stream of a gateway says of the attempts of these requests, from its beginning."""
        seen: dict[str, Seen] = {}
        position = "-"
        while True:
            entries: Any = self._redis.xrange(wire.gateway_stream(gateway), min=position, count=READ_COUNT)
            for entry_id, fields in entries:
                position = "(" + entry_id.decode()
                if wire.FENCE_FIELD in fields:
                    for attempt_id in wire.decode_ids(fields[wire.FENCE_FIELD]):
                        seen.setdefault(attempt_id, Seen()).fenced = True
                    continue
                for attempt_id, _, event in wire.decode_published(fields.get(wire.EVENTS_FIELD, wire.NOTHING)):
                    if attempt_id.partition(".")[0] in requests:
                        attempt = seen.setdefault(attempt_id, Seen())
                        if not attempt.fenced:
                            attempt.take(event)
            if len(entries) < READ_COUNT:
                return seen


def _with_record(attempt: Seen, attempt_id: str, reports: Collection[NeuronReport]) -> Seen:
    """The attempt, by its neuron's final record where the final event was lost on its way."""
    record = next((report.finals[attempt_id] for report in reports if attempt_id in report.finals), None)
    if record is not None and not attempt.final:
        attempt.usage = attempt.usage.at_least(record)
        attempt.final = True
    return attempt
