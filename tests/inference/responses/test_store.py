"""Stored responses in a real database: whose they are, and chains of them with all that was thought and called."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.db import connections

from accounts.models import Account
from accounts.principals import Principal
from inference.dialects.responses.request import ResponsesRequest, parse
from inference.dialects.responses.stored import input_items
from inference.gateway.responses.memory import recall
from inference.gateway.responses.store import NewResponse, ResponseStore
from inference.refusals import Refusal
from tests.inference.responses.test_request import body


def principal(account_pk: int) -> Principal:
    return Principal(1, "key_1", account_pk, "team", "inference", frozenset(), None, True)


@sync_to_async
def an_account(name: str) -> int:
    try:
        return Account.objects.create(name=name).pk
    finally:
        connections.close_all()  # this thread outlives the test's database


@pytest_asyncio.fixture
async def store(fresh_database: str) -> AsyncIterator[ResponseStore]:
    made = ResponseStore(fresh_database, days=30, max_bytes=1000)
    await made.start()
    yield made
    await made.stop()


def a_turn(number: int, account_pk: int, previous: UUID | None) -> NewResponse:
    """The model thinks and calls a tool; what came in is the result of the call before."""
    id_ = uuid4()
    came: dict[str, Any] = {"role": "user", "content": "begin"}
    if number:
        came = {"type": "function_call_output", "call_id": f"call_{number - 1}", "output": f"result {number - 1}"}
    output = [
        {
            "type": "reasoning",
            "id": f"rs_{number}",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": f"thought {number}"}],
        },
        {"type": "function_call", "call_id": f"call_{number}", "name": "f", "arguments": json.dumps({"n": number})},
    ]
    return NewResponse(
        id=id_,
        account_pk=account_pk,
        previous=previous,
        model="m",
        status="completed",
        response=json.dumps({"output": output}).encode(),
        input=input_items([came], id_.hex),
        created_s=int(time.time()),
    )


async def continued(store: ResponseStore, account_pk: int, previous: UUID, **fields: object) -> ResponsesRequest:
    draft = parse(body(previous_response_id=f"resp_{previous.hex}", **fields))
    memory = await recall(store, principal(account_pk), draft)
    return draft.complete(history=memory.history, referred=memory.referred)


async def refused(work: Any) -> Refusal:
    with pytest.raises(Refusal) as refusal:
        await work
    return refusal.value


async def test_a_chain_of_30_turns_keeps_what_was_thought_and_called(store: ResponseStore) -> None:
    account = await an_account("team")
    previous: UUID | None = None
    for number in range(30):
        turn = a_turn(number, account, previous)
        await store.save_in_time(turn)
        previous = turn.id
    assert previous is not None
    result = {"type": "function_call_output", "call_id": "call_29", "output": "result 29"}
    request = await continued(store, account, previous, input=[result])
    assert request.messages[0] == {"role": "user", "content": "begin"}
    for number, (turn_message, answer) in enumerate(zip(request.messages[1::2], request.messages[2::2], strict=True)):
        assert turn_message["reasoning_content"] == f"thought {number}"
        assert json.loads(turn_message["tool_calls"][0]["function"]["arguments"]) == {"n": number}
        assert (answer["role"], answer["content"]) == ("tool", f"result {number}")
    assert len(request.messages) == 61


async def test_a_chain_that_misses_a_response_is_not_found(store: ResponseStore) -> None:
    account = await an_account("team")
    turns: list[NewResponse] = []
    for number in range(3):
        turns.append(a_turn(number, account, turns[-1].id if turns else None))
        await store.save_in_time(turns[-1])
    assert await store.delete(turns[1].id, account) == ("completed", "")
    assert await store.delete(turns[1].id, account) is None
    refusal = await refused(continued(store, account, turns[2].id))
    assert (refusal.status, refusal.code) == (400, "previous_response_not_found")
    assert (await continued(store, account, turns[0].id)).messages[-1]["content"] == "hello"


async def test_what_is_foreign_is_not_there(store: ResponseStore) -> None:
    account, stranger = await an_account("team"), await an_account("strangers")
    turn = a_turn(0, account, None)
    await store.save_in_time(turn)
    assert await store.find(turn.id, stranger) is None
    assert await store.delete(turn.id, stranger) is None
    assert (await refused(continued(store, stranger, turn.id))).code == "previous_response_not_found"
    foreign_link = replace(a_turn(1, stranger, turn.id), input=turn.input)
    await store.save_in_time(foreign_link)
    assert (await refused(continued(store, stranger, foreign_link.id))).code == "previous_response_not_found"


@pytest.mark.parametrize("status", ["queued", "in_progress", "failed"])
async def test_what_has_no_end_to_continue_is_refused(store: ResponseStore, status: str) -> None:
    account = await an_account("team")
    turn = replace(a_turn(0, account, None), status=status, background=True, gateway="g")
    await store.insert(turn)
    refusal = await refused(continued(store, account, turn.id))
    assert (refusal.status, refusal.param, refusal.code) == (400, "previous_response_id", None)


async def test_what_is_remembered_at_once_is_bounded(fresh_database: str) -> None:
    """A short body may refer to a great deal of what was stored, and to the same of it again and again."""
    small = ResponseStore(fresh_database, days=30, max_bytes=10_000, most_recalled_bytes=3_000)
    await small.start()
    account = await an_account("team")
    turns: list[NewResponse] = []
    for number in range(12):
        turns.append(a_turn(number, account, turns[-1].id if turns else None))
        await small.save_in_time(turns[-1])
    assert len((await continued(small, account, turns[2].id)).messages) > 3
    too_long = await refused(continued(small, account, turns[-1].id))
    assert (too_long.status, too_long.param) == (400, "previous_response_id")

    async def refer(to: list[NewResponse], times: int = 1) -> Any:
        ids = [json.loads(turn.input)[0]["id"] for turn in to] * times
        draft = parse(body(input=[{"type": "item_reference", "id": id_} for id_ in ids]))
        return await recall(small, principal(account), draft)

    assert (await refer(turns[:1], times=2)).referred_bytes == 2 * (await refer(turns[:1])).referred_bytes
    for many in (refer(turns), refer(turns[:1], times=40)):
        too_much = await refused(many)
        assert (too_much.status, too_much.param) == (400, "input")
    await small.stop()


async def test_what_is_kept_to_be_fetched_cannot_be_referred_to(store: ResponseStore) -> None:
    account = await an_account("team")
    fleeting = replace(a_turn(0, account, None), continuable=False)
    await store.save_in_time(fleeting)
    draft = parse(body(input=[{"type": "item_reference", "id": json.loads(fleeting.input)[0]["id"]}]))
    assert (await recall(store, principal(account), draft)).referred == {}


async def test_a_response_ends_once(store: ResponseStore) -> None:
    account = await an_account("team")
    turn = replace(a_turn(0, account, None), status="queued", background=True, gateway="g")
    await store.insert(turn)
    assert await store.update(turn.id, "in_progress", b"{}")
    ends = await asyncio.gather(*(store.update(turn.id, status, b"{}") for status in ("completed", "failed")))
    assert sorted(ends) == [False, True]
    assert not await store.update(turn.id, "in_progress", b"{}")


async def test_what_is_saved_twice_is_there_once(store: ResponseStore) -> None:
    account = await an_account("team")
    turn = a_turn(0, account, None)
    await store.save_in_time(turn)
    await store.save_in_time(turn)
    found = await store.find(turn.id, account)
    assert found is not None
    assert (bytes(found.response), bytes(found.input)) == (turn.response, turn.input)
