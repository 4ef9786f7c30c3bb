"""What a request refers to of what was stored: the responses it continues, and single items by their ids."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from accounts.principals import Principal
from inference.dialects.responses.request import Draft
from inference.dialects.responses.stored import by_id, items_of, owner_of, response_uuid
from inference.gateway.responses.store import ResponseStore, Stored
from inference.refusals import Refusal, invalid


@dataclass(frozen=True)
class Memory:
    """Items of the chain, oldest first, and by their ids those that the input names.

    `referred_bytes` counts an item as often as it is named.
    """

    history: list[msgspec.Raw] = field(default_factory=list)
    referred: dict[str, msgspec.Raw] = field(default_factory=dict)
    referred_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        return sum(len(bytes(item)) for item in self.history) + self.referred_bytes


async def recall(store: ResponseStore, principal: Principal | None, draft: Draft) -> Memory:
    """Look up what a request refers to. Raises Refusal: 400 for what is not there to be continued, or too much, 503.

    Unknown, foreign, deleted and expired cannot be told apart, nor can what an anonymous client says it stored.
    """
    history: list[msgspec.Raw] = []
    if draft.previous is not None:
        chain = await _chain(store, principal, draft.previous)
        history = [item for stored in chain for item in items_of(stored.input, stored.response)]
    referred = await _referred(store, principal, draft.references) if draft.references and principal else {}
    sizes = {id_: len(bytes(item)) for id_, item in referred.items()}
    referred_bytes = sum(sizes.get(id_, 0) for id_ in draft.references)
    if referred_bytes > store.most_recalled_bytes:
        raise store.too_much("input")
    return Memory(history, referred, referred_bytes)


async def _referred(store: ResponseStore, principal: Principal, ids: list[str]) -> dict[str, msgspec.Raw]:
    owners = {owner for id_ in ids if (owner := owner_of(id_))}
    known: dict[str, msgspec.Raw] = {}
    for stored in await store.find_all(owners, principal.account_pk):
        if stored.continuable:
            known |= by_id(items_of(stored.input, stored.response))
    return {id_: known[id_] for id_ in ids if id_ in known}


async def _chain(store: ResponseStore, principal: Principal | None, previous: str) -> list[Stored]:
    parent = response_uuid(previous)
    chain = await store.chain(parent, principal.account_pk) if parent and principal else []
    if not chain:
        raise Refusal(
            f"The response `{previous}` is not stored here, or one that it continues is not.",
            code="previous_response_not_found",
            status=400,
            param="previous_response_id",
        )
    if chain[-1].running or chain[-1].status == "failed":
        raise invalid(
            f"The response `{previous}` is {chain[-1].status} and cannot be continued.", "previous_response_id"
        )
    return chain
