"""One call of a model in any dialect: from a parsed body to the last byte (DESIGN 3)."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

from accounts.principals import Principal
from fleet.reports import NeuronReport
from inference import wire
from inference.dialects.dialect import DialectRequest
from inference.dialects.parsed import Terms
from inference.events import Event, Failed
from inference.gateway import bounds, route
from inference.gateway.attempts import Attempt, AttemptLost
from inference.gateway.books import Hold
from inference.gateway.delivery import Delivery, refusal_of
from inference.gateway.dispatch import START_LIMIT_S
from inference.gateway.meter import Meter
from inference.gateway.recipient import Recipient
from inference.gateway.runtime import Gateway
from inference.refusals import Refusal
from inference.requests import GenerationRequest

log = structlog.get_logger(__name__)

#: On how many neurons a request is tried, if it is lost before its first token left.
MOST_NEURONS = 2
#: A prompt that is counted differently so often will never fit its reservation.
MOST_COUNTS = 4
#: How long a lost attempt is waited for to be fenced before another one may be made.
FENCE_LIMIT_S = 3.0


async def call(
    gateway: Gateway,
    recipient: Recipient,
    principal: Principal | None,
    request: DialectRequest,
    *,
    dialect: str,
    prompt_bytes: int,
) -> None:
    """Answer a request, and see that it is billed once. Raises Refusal for everything known before the first byte.

    `dialect` is the label in logs and records. `prompt_bytes` is what the prompt's estimate is made of: all of the
    text that will be in it, images not counted.
    """
    route.require_model(gateway, principal, request.model)
    recipient.facts.update(dialect=dialect, model=request.model, stream=request.stream)
    await Call(gateway, recipient, principal, request, prompt_bytes=prompt_bytes).run_metered()


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


class Call:
    """One request on its way: reserved once, tried on one neuron or two, and closed once whichever way it ends."""

    def __init__(
        self,
        gateway: Gateway,
        recipient: Recipient,
        principal: Principal | None,
        request: DialectRequest,
        *,
        prompt_bytes: int,
    ) -> None:
        self._gateway = gateway
        self._recipient = recipient
        self._principal = principal
        self._request = request
        self._prompt_bytes = prompt_bytes
        self._meter = Meter(request.model, generates=request.sequences > 0)
        self._hold: Hold | None = None
        self._attempts = 0
        self._counts = 0
        self._avoid: list[str] = []

    async def run_metered(self, neuron: NeuronReport | None = None) -> None:
        """Run it, and count how it went."""
        try:
            await self.run(neuron)
        except BaseException as fault:
            self._meter.count_error(fault)
            raise
        finally:
            self._meter.close()
            self._recipient.facts.update(self._meter.facts)

    async def begin(self) -> NeuronReport:
        """Find a neuron and reserve: what refuses a request before any neuron has seen it."""
        neuron = await self._route()
        if self._principal is not None and self._request.sequences:
            self._hold = await self._reserve(self._principal, neuron)
        return neuron

    async def run(self, neuron: NeuronReport | None = None) -> None:
        """Try on a neuron: again with a larger reservation, or on another neuron if no token had left the first.

        `neuron` is the one that `begin` found, where it has been called.
        """
        neuron = neuron or await self.begin()
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
                        raise refusal_of(full.event, self._request) from None
                    neuron = await self._route()
                except AttemptLost:
                    if self._recipient.status is not None or not await self._may_try_again(attempt):
                        raise
                    log.warning("attempt_lost", request=self._recipient.request_id, neuron=neuron.name)
                    neuron = await self._route()
                self._gateway.attempts.close(attempt)
        finally:
            self.close()

    async def _route(self) -> NeuronReport:
        return route.choose(self._gateway, self._request.model, self._avoid)

    async def _reserve(self, principal: Principal, neuron: NeuronReport) -> Hold:
        entry = self._gateway.fleet.catalogue.get(self._request.model)
        return await self._gateway.books.reserve(
            self._recipient.id,
            principal,
            model=self._request.model,
            node=neuron.name,
            prompt_estimate=bounds.prompt_tokens(self._prompt_bytes),
            bound=bounds.output_tokens(self._request, neuron),
            stated=self._request.max_tokens is not None,
            sequences=self._request.sequences,
            prices=bounds.prices_of(entry),
        )

    async def _extend(self, grant: GrantExceeded) -> None:
        assert self._hold is not None, "without a reservation there is no grant to exceed"
        self._counts += 1
        if self._counts == MOST_COUNTS:
            log.error("grant_never_fits", request=self._recipient.request_id, attempts=self._attempts)
            raise Refusal("The request was counted differently each time; the error was logged under its id.")
        await self._gateway.books.extend(self._hold, prompt_tokens=grant.prompt_tokens, bound=grant.bound)

    def _open(self, neuron: NeuronReport) -> Attempt:
        """Send the request to a neuron."""
        gateway, hold = self._gateway, self._hold
        self._meter.node = neuron.name
        attempt = Attempt(
            wire.attempt_id(self._recipient.id.hex, self._attempts),
            model=self._request.model,
            neuron=neuron,
            key_pk=self._principal.key_pk if self._principal else None,
        )
        self._attempts += 1
        self._recipient.attempt = attempt
        attempt.first_position = gateway.relay.position
        attempt.tokens_left = hold.left if hold else None
        gateway.attempts.open(attempt)
        terms = Terms(
            attempt.id,
            max_tokens=hold.bound if hold else bounds.output_tokens(self._request, neuron),
            granted=hold.granted if hold else None,
            account=str(self._principal.account_pk) if self._principal else None,
            key=self._principal.key_id if self._principal else None,
        )
        generation = self._request.generation(terms)
        self._recipient.facts.update(_tool_facts(generation))
        gateway.dispatcher.send(attempt, wire.Order(gateway.id, neuron.boot_id, generation))
        return attempt

    async def _answer(self, attempt: Attempt) -> None:
        events = await _first_events(attempt)
        first = events[0]
        if isinstance(first, Failed) and first.code == "grant_exceeded":
            raise GrantExceeded(first)
        if isinstance(first, Failed) and first.status == 503:
            raise NeuronFull(first)
        delivery = Delivery(
            self._recipient,
            self._request,
            attempt,
            meter=self._meter,
            keep_alive_s=self._gateway.keep_alive_s,
            before_end=self._settle,
        )
        await delivery.run(events)

    async def _settle(self) -> None:
        """Before the last bytes leave: who has a whole answer finds it billed."""
        attempt = self._recipient.attempt
        if self._hold is not None and attempt is not None:
            await self._gateway.books.settle_in_time(self._hold, attempt)

    def _may_ask_another(self) -> bool:
        return len(self._avoid) < MOST_NEURONS and route.another(self._gateway, self._request.model, self._avoid)

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

    def close(self) -> None:
        """See that the neuron stops and the reservation is closed, unless both have happened."""
        gateway, hold, attempt = self._gateway, self._hold, self._recipient.attempt
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


def _tool_facts(generation: GenerationRequest) -> dict[str, Any]:
    """What the log says of a request's tools (MISSION G17): how many, and whether some were called before."""
    tools = generation.tool_use.tools if generation.tool_use else []
    history = any(message["role"] == "tool" or message.get("tool_calls") for message in generation.messages)
    return {"tools": len(tools), "tool_history": history}


async def _first_events(attempt: Attempt) -> list[Event]:
    """Wait until the neuron has taken or refused the request: the 200 leaves only after that."""
    try:
        return await attempt.events(timeout_s=START_LIMIT_S)
    except TimeoutError as fault:
        message = f"The request waited {START_LIMIT_S} s for its turn; too much is going on."
        raise Refusal(message, code="rate_limit_exceeded", status=503, retry_after_s=10) from fault
