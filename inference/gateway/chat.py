"""One chat completion: from a parsed body to the last byte (DESIGN 3)."""

from __future__ import annotations

import time

import structlog

from accounts.principals import Principal
from fleet import routing
from fleet.reports import NeuronReport
from inference import wire
from inference.dialects import openai_chat
from inference.dialects.openai_chat import ChatRequest, ChatStream, Choice
from inference.events import FINAL, Ended, Event, Failed, Finished, Text
from inference.gateway.attempts import Attempt, AttemptLost
from inference.gateway.dispatch import START_LIMIT_S
from inference.gateway.exchange import Exchange
from inference.gateway.meter import Meter
from inference.gateway.runtime import Gateway
from inference.refusals import Refusal, unavailable
from inference.requests import DEFAULT_MAX_TOKENS

log = structlog.get_logger(__name__)

#: How often a request is tried on another neuron when its neuron is lost before the first token left.
MOST_ATTEMPTS = 2


async def complete_chat(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    """POST /v1/chat/completions. Raises Refusal for everything known before the first byte."""
    exchange.require_json()
    request = openai_chat.parse(exchange.body)
    require_model(gateway, principal, request.model)
    exchange.facts.update(dialect="openai-chat", model=request.model, stream=request.stream)
    meter = Meter(request.model)
    try:
        await _complete(gateway, exchange, principal, request, meter)
    except BaseException as fault:
        meter.count_error(fault)
        raise
    finally:
        meter.close()
        exchange.facts.update(meter.facts)


def require_model(gateway: Gateway, principal: Principal | None, model_id: str) -> None:
    """Raises 404 for a model that is nowhere, and for one this key may not use: the two look the same."""
    known = model_id in gateway.fleet.catalogue or any(routing.locations(model_id, gateway.fleet.healthy))
    if not known or (principal is not None and not principal.may_use(model_id)):
        raise Refusal(
            f"The model `{model_id}` does not exist or this key may not use it.", code="model_not_found", param="model"
        )


async def _complete(
    gateway: Gateway, exchange: Exchange, principal: Principal | None, request: ChatRequest, meter: Meter
) -> None:
    """Try the request on a neuron, and once more on another one if the first is lost before a token left."""
    avoid: list[str] = []
    while True:
        neuron = _route(gateway, request.model, avoid)
        meter.node = neuron.name
        attempt = Attempt(
            f"{exchange.request_id[4:]}.{len(avoid)}",
            model=request.model,
            neuron=neuron,
            key_pk=principal.key_pk if principal else None,
        )
        gateway.attempts.open(attempt)
        finished = False
        try:
            generation = request.generation(
                attempt.id, max_tokens=request.max_tokens or DEFAULT_MAX_TOKENS, granted=None
            )
            gateway.dispatcher.send(attempt, wire.Order(gateway.id, neuron.boot_id, generation))
            events = await _first_events(attempt)
            await _relay(exchange, request, attempt, events, meter)
            finished = True
            return
        except AttemptLost:
            avoid.append(neuron.name)
            if (
                exchange.status is not None
                or len(avoid) == MOST_ATTEMPTS
                or not _another(gateway, request.model, avoid)
            ):
                raise
            log.warning("attempt_lost", request=exchange.request_id, neuron=neuron.name)
        finally:
            gateway.attempts.close(attempt)
            if not finished:
                gateway.relay.cancel(attempt)


def _route(gateway: Gateway, model_id: str, avoid: list[str]) -> NeuronReport:
    """The neuron that takes the request. Raises 503 with the reason where there is none (MISSION G7)."""
    if not gateway.relay.available:
        raise unavailable("Redis does not answer, so no neuron can be reached.", retry_after_s=5)
    healthy = gateway.fleet.healthy
    neuron = routing.choose(model_id, healthy, sent=gateway.attempts.by_neuron(), avoid=avoid)
    if neuron is not None:
        return neuron
    obstacle, reason = routing.obstacle(model_id, healthy)
    if obstacle == "no_healthy_neuron":
        raise unavailable("No neuron is healthy now.", retry_after_s=5)
    if obstacle == "loading":
        raise unavailable(f"The model `{model_id}` is loading{f': {reason}' if reason else ''}.", retry_after_s=5)
    if obstacle == "failed":
        entry = gateway.fleet.catalogue.get(model_id)
        retried = entry is not None and bool(entry.pinned_on)
        raise unavailable(
            f"The model `{model_id}` could not be loaded: {reason}", retry_after_s=60 if retried else None
        )
    raise unavailable(f"The model `{model_id}` is not loaded on any healthy neuron.")


def _another(gateway: Gateway, model_id: str, avoid: list[str]) -> bool:
    return routing.choose(model_id, gateway.fleet.healthy, sent={}, avoid=avoid) is not None


async def _first_events(attempt: Attempt) -> list[Event]:
    """Wait until the neuron has taken or refused the request: the 200 leaves only after that."""
    try:
        return await attempt.events(timeout_s=START_LIMIT_S)
    except TimeoutError as fault:
        message = f"The request waited {START_LIMIT_S} s for its turn; too much is going on."
        raise Refusal(message, code="rate_limit_exceeded", status=503, retry_after_s=10) from fault


async def _relay(exchange: Exchange, request: ChatRequest, attempt: Attempt, events: list[Event], meter: Meter) -> None:
    """Turn events into the client's answer, as chunks or whole, up to the final event."""
    if type(events[0]) is Failed:
        raise _refusal(events[0])
    answer_id, created = f"chatcmpl-{exchange.request_id[4:]}", int(time.time())
    if not request.stream:
        choices, finished = await _collect(attempt, events, request.n, meter)
        meter.saw_content()
        await exchange.answer(
            openai_chat.answer(
                answer_id=answer_id, model=request.model, created=created, choices=choices, finished=finished
            )
        )
        return
    stream = ChatStream(
        answer_id=answer_id, model=request.model, created=created, n=request.n, include_usage=request.include_usage
    )
    await exchange.open_stream()
    frames = [stream.opening()]
    while True:
        final = _project(stream, events, frames, meter)
        if final is not None:
            await exchange.send_last(b"".join(frames))
            return
        if frames:
            await exchange.send(b"".join(frames))
        frames = []
        events = await attempt.events()


def _project(stream: ChatStream, events: list[Event], frames: list[bytes], meter: Meter) -> Finished | None:
    """Append the chunks of these events; the final event, if it was among them."""
    for event in events:
        if type(event) is Text:
            meter.saw_content()
            frames.append(stream.text(event))
        elif type(event) is Ended:
            frames.append(stream.ended(event))
        elif isinstance(event, FINAL):
            finished = _whole(event, meter)
            frames.append(stream.closing(finished))
            return finished
    return None


async def _collect(attempt: Attempt, events: list[Event], n: int, meter: Meter) -> tuple[list[Choice], Finished]:
    """The whole choices, in order, and the final event of an answer that does not stream."""
    texts: list[list[str]] = [[] for _ in range(n)]
    choices: dict[int, Choice] = {}
    while True:
        for event in events:
            if type(event) is Text:
                texts[event.index].append(event.text)
            elif type(event) is Ended:
                choices[event.index] = Choice("".join(texts[event.index]), event.reason)
            elif isinstance(event, FINAL):
                finished = _whole(event, meter)
                return [choices[index] for index in range(n)], finished
        events = await attempt.events()


def _whole(final: Finished | Failed, meter: Meter) -> Finished:
    """The end of an answer that is complete. Raises Refusal for one that broke, or that its neuron gave up."""
    meter.saw_end(final)
    if isinstance(final, Failed):
        raise _refusal(final)
    if final.reason == "cancelled":  # by the neuron, that stops or was cut off: what a client cancels is not relayed
        raise unavailable("The neuron that worked on this request gave it up.", retry_after_s=5)
    return final


def _refusal(event: Failed) -> Refusal:
    """What a neuron refused or broke on, as the client is told."""
    param = "messages" if event.code == "context_length_exceeded" else None
    retry_after_s = 5 if event.code == "service_unavailable" else None
    return Refusal(
        event.message, code=event.code, param=param, retry_after_s=retry_after_s, diagnostics=event.diagnostics
    )
