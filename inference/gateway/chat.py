"""One chat completion: from a parsed body to the last byte (DESIGN 3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from accounts.money import Prices
from accounts.principals import Principal
from fleet import routing
from fleet.catalogue import CatalogueEntry
from fleet.reports import NeuronReport
from inference import wire
from inference.dialects import openai_chat
from inference.dialects.openai_chat import ChatRequest, ChatStream, Choice
from inference.events import FINAL, Ended, Event, Failed, Finished, Text
from inference.gateway.attempts import Attempt, AttemptLost
from inference.gateway.books import Hold
from inference.gateway.dispatch import START_LIMIT_S
from inference.gateway.exchange import Exchange
from inference.gateway.meter import Meter
from inference.gateway.runtime import Gateway
from inference.refusals import Refusal, unavailable
from inference.requests import DEFAULT_MAX_TOKENS

log = structlog.get_logger(__name__)

#: On how many neurons a request is tried, if it is lost before its first token left.
MOST_NEURONS = 2
#: How long a lost attempt is waited for to be fenced before another one may be made.
FENCE_LIMIT_S = 3.0
#: The estimate of a prompt (MISSION G14): the exact count decides.
BYTES_PER_TOKEN = 4


async def complete_chat(gateway: Gateway, exchange: Exchange, principal: Principal | None) -> None:
    """POST /v1/chat/completions. Raises Refusal for everything known before the first byte."""
    exchange.require_json()
    request = openai_chat.parse(exchange.body)
    require_model(gateway, principal, request.model)
    exchange.facts.update(dialect="openai-chat", model=request.model, stream=request.stream)
    meter = Meter(request.model)
    try:
        await ChatCall(gateway, exchange, principal, request, meter).run()
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


class GrantExceeded(Exception):  # noqa: N818 - what the neuron calls it, and no error
    """The neuron's exact count does not fit the reservation; nothing was generated."""

    def __init__(self, event: Failed) -> None:
        super().__init__(event.message)
        self.prompt_tokens = int(event.diagnostics["prompt_tokens"])
        self.bound = int(event.diagnostics["bound"])


class NeuronFull(Exception):  # noqa: N818 - no error either: another neuron may have room
    """As many requests wait on the neuron as may; this one was turned away."""

    def __init__(self, event: Failed) -> None:
        super().__init__(event.message)
        self.event = event


class ChatCall:
    """One request on its way: reserved once, tried on one neuron or two, and closed once whichever way it ends."""

    def __init__(
        self, gateway: Gateway, exchange: Exchange, principal: Principal | None, request: ChatRequest, meter: Meter
    ) -> None:
        self._gateway = gateway
        self._exchange = exchange
        self._principal = principal
        self._request = request
        self._meter = meter
        self._hold: Hold | None = None
        self._attempts = 0
        self._avoid: list[str] = []

    async def run(self) -> None:
        """Try on a neuron: again with a larger reservation, or on another neuron if no token had left the first."""
        neuron = _route(self._gateway, self._request.model, self._avoid)
        if self._principal is not None:
            self._hold = await self._reserve(self._principal, neuron)
        try:
            while True:
                attempt = self._open(neuron)
                try:
                    await self._answer(attempt)
                    return
                except GrantExceeded as grant:
                    await self._extend(grant)
                except NeuronFull as full:
                    self._avoid.append(neuron.name)
                    if not self._may_ask_another():
                        raise _refusal(full.event) from None
                    neuron = _route(self._gateway, self._request.model, self._avoid)
                except AttemptLost:
                    if self._exchange.status is not None or not await self._may_try_again(attempt):
                        raise
                    log.warning("attempt_lost", request=self._exchange.request_id, neuron=neuron.name)
                    neuron = _route(self._gateway, self._request.model, self._avoid)
                self._gateway.attempts.close(attempt)
        finally:
            self._close()

    async def _reserve(self, principal: Principal, neuron: NeuronReport) -> Hold:
        entry = self._gateway.fleet.catalogue.get(self._request.model)
        return await self._gateway.books.reserve(
            self._exchange.id,
            principal,
            model=self._request.model,
            node=neuron.name,
            prompt_estimate=max(1, len(self._exchange.body) // BYTES_PER_TOKEN),
            bound=_output_bound(self._request, neuron),
            stated=self._request.max_tokens is not None,
            sequences=self._request.n,
            prices=prices_of(entry),
        )

    async def _extend(self, grant: GrantExceeded) -> None:
        assert self._hold is not None, "without a reservation there is no grant to exceed"
        if self._attempts == wire.MOST_ATTEMPTS:
            log.error("grant_never_fits", request=self._exchange.request_id, attempts=self._attempts)
            raise Refusal("The request was counted differently each time; the error was logged under its id.")
        await self._gateway.books.extend(self._hold, prompt_tokens=grant.prompt_tokens, bound=grant.bound)

    def _open(self, neuron: NeuronReport) -> Attempt:
        """Send the request to a neuron."""
        gateway, hold = self._gateway, self._hold
        self._meter.node = neuron.name
        attempt = Attempt(
            wire.attempt_id(self._exchange.id.hex, self._attempts),
            model=self._request.model,
            neuron=neuron,
            key_pk=self._principal.key_pk if self._principal else None,
        )
        self._attempts += 1
        self._exchange.attempt = attempt
        attempt.first_position = gateway.relay.position
        gateway.attempts.open(attempt)
        generation = self._request.generation(
            attempt.id,
            max_tokens=hold.bound if hold else _output_bound(self._request, neuron),
            granted=hold.granted if hold else None,
            account=str(self._principal.account_pk) if self._principal else None,
            key=self._principal.key_id if self._principal else None,
        )
        gateway.dispatcher.send(attempt, wire.Order(gateway.id, neuron.boot_id, generation))
        return attempt

    async def _answer(self, attempt: Attempt) -> None:
        events = await _first_events(attempt)
        if isinstance(events[0], Failed) and events[0].code == "grant_exceeded":
            raise GrantExceeded(events[0])
        if isinstance(events[0], Failed) and events[0].status == 503:
            raise NeuronFull(events[0])
        await _relay(self._exchange, self._request, attempt, events, meter=self._meter, before_end=self._settle)

    async def _settle(self) -> None:
        """Before the last bytes leave: who has a whole answer finds it billed."""
        attempt = self._exchange.attempt
        if self._hold is not None and attempt is not None:
            await self._gateway.books.settle_in_time(self._hold, attempt)

    def _may_ask_another(self) -> bool:
        return len(self._avoid) < MOST_NEURONS and _another(self._gateway, self._request.model, self._avoid)

    async def _may_try_again(self, attempt: Attempt) -> bool:
        """Whether another neuron can be asked: nothing that was generated has left this one, and nothing will."""
        self._avoid.append(attempt.neuron.name)
        if not self._may_ask_another():
            return False
        self._gateway.relay.fence(attempt)
        self._gateway.relay.cancel(attempt)
        try:
            async with asyncio.timeout(FENCE_LIMIT_S):
                await attempt.closing()
        except TimeoutError:
            return False
        return attempt.usage.completion_tokens == 0

    def _close(self) -> None:
        """See that the neuron stops and the reservation is closed, unless both have happened."""
        gateway, hold, attempt = self._gateway, self._hold, self._exchange.attempt
        if hold is None:
            if attempt is not None:
                gateway.attempts.close(attempt)
                if not attempt.over:
                    gateway.relay.cancel(attempt)
        elif not hold.closing:
            if attempt is None:
                gateway.books.release(hold)
            else:
                gateway.books.conclude(hold, attempt)


def prices_of(entry: CatalogueEntry | None) -> Prices | None:
    if entry is None or entry.input_price is None or entry.output_price is None:
        return None
    return Prices(entry.input_price, entry.output_price, entry.cached_price, entry.reasoning_price)


def _output_bound(request: ChatRequest, neuron: NeuronReport) -> int:
    """The bound of one sequence (MISSION G14): stated, or the model's, and never more than the whole context."""
    limit = next((model.limit for model in neuron.models if model.id == request.model), None)
    if limit is None:
        return request.max_tokens or DEFAULT_MAX_TOKENS
    bound = request.max_tokens if request.max_tokens is not None else limit.output
    return max(1, min(bound, limit.context))


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


async def _relay(
    exchange: Exchange,
    request: ChatRequest,
    attempt: Attempt,
    events: list[Event],
    *,
    meter: Meter,
    before_end: Callable[[], Awaitable[None]],
) -> None:
    """Turn events into the client's answer, as chunks or whole, up to the final event.

    `before_end` is awaited when all is there and only the last bytes are to be sent.
    """
    if type(events[0]) is Failed:
        raise _refusal(events[0])
    answer_id, created = f"chatcmpl-{exchange.request_id[4:]}", int(time.time())
    if not request.stream:
        choices, finished = await _collect(attempt, events, request.n, meter)
        meter.saw_content()
        await before_end()
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
            await before_end()
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
    param = "messages" if event.code == "context_length_exceeded" else event.param
    retry_after_s = 5 if event.code == "service_unavailable" else event.retry_after_s
    return Refusal(
        event.message,
        code=event.code,
        status=event.status,
        param=param,
        retry_after_s=retry_after_s,
        diagnostics=event.diagnostics,
    )
