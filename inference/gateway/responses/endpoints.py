"""What answers under `/v1/responses`."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from uuid import UUID

import msgspec
from redis.exceptions import RedisError

from accounts.principals import Principal
from inference.dialects.responses.request import Draft, ResponsesRequest, parse
from inference.dialects.responses.stored import page_of, response_uuid
from inference.gateway.call import call
from inference.gateway.exchange import Exchange
from inference.gateway.responses.background import begin
from inference.gateway.responses.following import follow
from inference.gateway.responses.kept import Kept
from inference.gateway.responses.memory import Memory, recall
from inference.gateway.responses.store import Stored
from inference.gateway.runtime import Gateway
from inference.refusals import Refusal, invalid, unavailable

_encode = msgspec.json.Encoder().encode

DIALECT = "openai-responses"
#: How many input items a page has at most, and where nobody says how many.
MOST_PER_PAGE = 100
DEFAULT_PER_PAGE = 20
#: How long a cancel waits for the end that it asked for, and how often it looks.
CANCEL_LIMIT_S = 10.0
CANCEL_POLL_S = 0.05

_NUMBER = re.compile(r"-1|[0-9]{1,9}")
_PAGE_SIZE = re.compile(r"[0-9]{1,3}")  # thousands of digits are no number to Python either


async def create(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    """POST /v1/responses."""
    exchange.require_json()
    draft = parse(exchange.body)
    memory = await recall(gateway.responses, principal, draft)
    request, prompt_bytes = _complete(exchange, principal, draft, memory)
    if request.background and principal is None:
        raise invalid("A background response belongs to an account: send an API key.", "background")
    if principal is None or not (request.store or request.background):
        await call(gateway, exchange, principal, request, dialect=DIALECT, prompt_bytes=prompt_bytes)
        return
    if len(exchange.body) + memory.referred_bytes > gateway.responses.max_bytes:
        raise invalid(
            f"A response whose input is larger than {gateway.responses.max_bytes} bytes is not stored: "
            "send `store: false`.",
            "input",
        )
    if request.background:
        await _begin(gateway, exchange, principal, request, prompt_bytes)
        return
    kept = Kept(exchange, request, gateway.responses, account_pk=principal.account_pk)
    try:
        await call(gateway, kept, principal, kept.request, dialect=DIALECT, prompt_bytes=prompt_bytes)
    except Refusal as refusal:
        await kept.fail(refusal)
        raise
    except asyncio.CancelledError:
        kept.leave()
        raise


async def _begin(
    gateway: Gateway, exchange: Exchange, principal: Principal, request: ResponsesRequest, prompt_bytes: int
) -> None:
    """Have it run in the background; a client that streams follows it as anybody may."""
    body = await begin(gateway, exchange, principal, request, dialect=DIALECT, prompt_bytes=prompt_bytes)
    if request.stream:
        await follow(gateway, exchange, exchange.id, principal.account_pk)
    else:
        await exchange.answer(body)


async def count_input(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    """POST /v1/responses/input_tokens: what the same body would come to as a prompt. Nothing is reserved or billed."""
    exchange.require_json()
    draft = parse(exchange.body)
    memory = await recall(gateway.responses, principal, draft)
    request, prompt_bytes = _complete(exchange, principal, draft, memory, only_count=True)
    await call(gateway, exchange, principal, request, dialect=DIALECT, prompt_bytes=prompt_bytes)


def _complete(
    exchange: Exchange, principal: Principal | None, draft: Draft, memory: Memory, *, only_count: bool = False
) -> tuple[ResponsesRequest, int]:
    """The request with all that it refers to, and how many bytes its prompt is made of."""
    request = draft.complete(
        history=memory.history, referred=memory.referred, only_count=only_count, may_store=principal is not None
    )
    return request, len(exchange.body) + memory.size_bytes


async def retrieve(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    """GET /v1/responses/{id}: the response as it is now, or with `stream=true` the events of one in the background."""
    stored = await find(gateway, exchange, principal)
    if exchange.query.get("stream", ["false"])[-1] not in ("true", "1"):
        await exchange.answer(stored.response)
        return
    after = exchange.query.get("starting_after", ["-1"])[-1]
    if not _NUMBER.fullmatch(after):
        raise invalid("The parameter `starting_after` must be the number of an event.", "starting_after")
    if not stored.background or principal is None:
        raise invalid("Only a response that was created with `background` can be streamed again.", "stream")
    await follow(gateway, exchange, stored.id, principal.account_pk, after=int(after))


async def cancel(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    """POST /v1/responses/{id}/cancel: stop one that runs in the background; one that has ended stays as it is."""
    stored = await find(gateway, exchange, principal)
    if not stored.background:
        raise invalid("Only a response that was created with `background` can be cancelled.")
    if stored.running:
        await _stop(gateway, stored.id, stored.gateway)
    until_s = time.monotonic() + CANCEL_LIMIT_S
    while stored.running and time.monotonic() < until_s:
        await asyncio.sleep(CANCEL_POLL_S)
        stored = await find(gateway, exchange, principal)
    await exchange.answer(stored.response)


async def _stop(gateway: Gateway, response: UUID, runner: str) -> None:
    if runner == gateway.id:
        gateway.runs.cancel(response)
        return
    try:
        await gateway.event_log.ask_to_stop(response, runner)
    except (RedisError, OSError) as fault:
        raise unavailable("Redis does not answer, so its gateway cannot be told.", retry_after_s=5) from fault


async def delete(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    """DELETE /v1/responses/{id}: from now on nobody can read or continue it."""
    response = response_uuid(exchange.item_id)
    gone = await gateway.responses.delete(response, principal.account_pk) if response and principal else None
    if response is None or gone is None:
        raise unknown(exchange.item_id)
    status, runner = gone
    if status in ("queued", "in_progress"):
        await _stop(gateway, response, runner)  # its gateway drops the log when it has ended
    else:
        await _forget_events(gateway, response)
    await exchange.answer(_encode({"id": exchange.item_id, "object": "response", "deleted": True}))


async def _forget_events(gateway: Gateway, response: UUID) -> None:
    """What cannot be dropped now is unreachable all the same, and expires."""
    with contextlib.suppress(RedisError, OSError):
        await gateway.event_log.drop(response)


async def list_input_items(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    """GET /v1/responses/{id}/input_items: a page of them, the newest first unless `order=asc`."""
    query = exchange.query
    limit = query.get("limit", [str(DEFAULT_PER_PAGE)])[-1]
    if not _PAGE_SIZE.fullmatch(limit) or not 1 <= int(limit) <= MOST_PER_PAGE:
        raise invalid(f"The parameter `limit` must be a number from 1 to {MOST_PER_PAGE}.", "limit")
    order = query.get("order", ["desc"])[-1]
    if order not in ("asc", "desc"):
        raise invalid("The parameter `order` must be `asc` or `desc`.", "order")
    stored = await find(gateway, exchange, principal)
    after = query.get("after", [None])[-1]
    page = page_of(stored.input, limit=int(limit), newest_first=order == "desc", after=after)
    if page is None:
        raise invalid(f"The response has no input item `{after}`.", "after")
    await exchange.answer(page)


async def compact(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    """POST /v1/responses/compact."""
    raise Refusal("Compaction is not offered here.", status=404)


async def find(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> Stored:
    """The response in the path. Raises 404 for one that is not there, or not this account's."""
    response = response_uuid(exchange.item_id)
    stored = await gateway.responses.find(response, principal.account_pk) if response and principal else None
    if stored is None:
        raise unknown(exchange.item_id)
    return stored


def unknown(response_id: str) -> Refusal:
    return Refusal(f"The response `{response_id[:100]}` is not stored here.", status=404)
