"""Holds what clients saw against what was booked: every difference is a sentence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from tests.proofs.asking import Seen
from tests.proofs.ledger import Booked
from tests.proofs.running import Proving


def differences(seen: Sequence[Seen], booked: Mapping[UUID, Booked], key_ids: Mapping[str, str]) -> list[str]:
    """`key_ids` gives the public id of a secret. Every reservation must belong to somebody who asked."""
    found = [sentence for one in seen for sentence in _of_one(one, booked)]
    return found + list(_unclaimed(seen, booked, key_ids))


def of_request(up: Proving, seen: Sequence[Seen], booked: Mapping[UUID, Booked]) -> Iterator[str]:
    """Whether `audit_ledger --request` tells of one request, the last that was told its usage, what the client was."""
    told = next((one for one in reversed(seen) if one.usage and one.request_id in booked), None)
    if told is None or told.request_id is None:
        return
    shown = up.booked_for(f"req_{told.request_id.hex}")["counts"]
    if (shown["prompt_tokens"], shown["completion_tokens"]) != told.usage:
        yield f"{_name(told)} was told {told.usage}, `audit_ledger --request` shows {shown}."


def _of_one(seen: Seen, booked: Mapping[UUID, Booked]) -> Iterator[str]:
    if seen.end == "malformed":
        yield f"{_name(seen)} ended malformed: {seen.note or seen.error or seen.status}."
    if seen.request_id is None:
        return
    entry = booked.get(seen.request_id)
    if entry is None:
        if seen.usage or seen.chunks:
            yield f"{_name(seen)} was answered, but nothing was reserved for it."
        return
    if entry.state == "open":
        yield f"{_name(seen)} is still open."
        return
    if seen.usage is not None and seen.usage != (entry.prompt_tokens, entry.completion_tokens):
        yield f"{_name(seen)} was told {seen.usage}, billed are {entry.prompt_tokens, entry.completion_tokens}."
    if seen.chunks > entry.completion_tokens:
        yield f"{_name(seen)} saw {seen.chunks} pieces of text, billed are {entry.completion_tokens} tokens."
    if (seen.usage or seen.chunks) and entry.usage_entries != 1:
        yield f"{_name(seen)} has {entry.usage_entries} entries of usage."
    if seen.status == 429 and entry.tokens:
        yield f"{_name(seen)} was refused and billed {entry.tokens} tokens."
    if entry.tokens > entry.granted:
        yield f"{_name(seen)} was granted {entry.granted} tokens and billed {entry.tokens}."
    if entry.tokens != entry.prompt_tokens + entry.completion_tokens or entry.nano_usd != entry.cost:
        yield f"{_name(seen)} was billed {entry.tokens} tokens for {entry.nano_usd} nano-USD instead of {entry.cost}."


def _unclaimed(seen: Iterable[Seen], booked: Mapping[UUID, Booked], key_ids: Mapping[str, str]) -> Iterator[str]:
    """Whoever left or was cut off before the headers came does not know its id; nobody else may lack one."""
    claimed = {one.request_id for one in seen}
    nameless = Counter(key_ids[one.wish.secret] for one in seen if one.request_id is None)
    unclaimed = Counter(entry.key_id for id_, entry in booked.items() if id_ not in claimed)
    for key_id, number in (unclaimed - nameless).items():
        yield f"Key {key_id} has {number} reservations that none of its clients asked for."
    for id_, entry in booked.items():
        if id_ not in claimed and (entry.usage_entries > 1 or entry.tokens > entry.granted or entry.state == "open"):
            yield f"Request {id_}, whose client left: {entry}."


def _name(seen: Seen) -> str:
    kind = "stream" if seen.wish.stream else "answer"
    return f"Request {seen.request_id} ({kind}, n {seen.wish.n}, {seen.end}, {seen.code or seen.status})"
