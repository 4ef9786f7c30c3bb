"""The events of one attempt on their way to whoever asked: streamed as they come, or whole."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from inference.dialects.assembly import Assembly
from inference.dialects.dialect import Answer, Content, DialectRequest
from inference.events import FINAL, CallBegun, Ended, Event, Failed, Finished, Started
from inference.gateway.attempts import Attempt
from inference.gateway.meter import Meter
from inference.gateway.recipient import Recipient
from inference.refusals import Refusal, unavailable


class Delivery:
    """Up to the final event. `before_end` is awaited when all is there and only the last bytes are to be sent.

    A stream is never silent for longer than `keep_alive_s`: proxies and clients give up on one that is.
    """

    def __init__(
        self,
        recipient: Recipient,
        request: DialectRequest,
        attempt: Attempt,
        *,
        meter: Meter,
        keep_alive_s: float,
        before_end: Callable[[], Awaitable[None]],
    ) -> None:
        self._recipient = recipient
        self._request = request
        self._attempt = attempt
        self._meter = meter
        self._keep_alive_s = keep_alive_s
        self._before_end = before_end
        self._sent_s = 0.0

    async def run(self, events: list[Event]) -> None:
        """Deliver the attempt whose first events these are. Raises Refusal if it is refused or breaks."""
        first = events[0]
        if isinstance(first, FINAL):
            finished = self._complete(first)
            first = Started(finished.prompt_tokens, finished.cached_tokens)
        assert isinstance(first, Started), first
        answer = self._request.answer(self._recipient.request_id, model=self._request.model, created_s=int(time.time()))
        if self._request.stream:
            await self._stream(answer, first, events)
        else:
            await self._whole(answer, first, events)

    async def _whole(self, answer: Answer, started: Started, events: list[Event]) -> None:
        assembly = Assembly(self._request.sequences)
        while (finished := self._take(events, assembly.add)) is None:
            events = await self._attempt.events()
        self._meter.saw_content()
        await self._before_end()
        await self._recipient.answer(answer.whole(assembly, started, finished))

    async def _stream(self, answer: Answer, started: Started, events: list[Event]) -> None:
        await self._recipient.open_stream(answer.broken)
        self._sent_s = time.monotonic()
        frames = [answer.opening(started)]

        def project(event: Content) -> None:
            if type(event) is not Ended:
                self._meter.saw_content()
            frames.append(answer.content(event))

        while True:
            try:
                finished = self._take(events, project)
            except Refusal:
                await self._send(b"".join(frames))  # what came before it broke was generated, and is paid for
                raise
            if finished is not None:
                break
            await self._send(b"".join(frames))
            frames.clear()
            events = await self._next(answer)
        frames.append(answer.closing(finished))
        await self._before_end()
        await self._recipient.send_last(b"".join(frames))

    def _take(self, events: list[Event], content: Callable[[Content], None]) -> Finished | None:
        """Pass on what these events hold; the final one, if it is among them."""
        for event in events:
            if isinstance(event, FINAL):
                return self._complete(event)
            if not isinstance(event, Started):
                if type(event) is CallBegun:
                    self._meter.saw_call()
                content(event)
        return None

    async def _send(self, frames: bytes) -> None:
        if frames:
            await self._recipient.send(frames)
            self._sent_s = time.monotonic()

    async def _next(self, answer: Answer) -> list[Event]:
        """The next events. A silence is filled until they come, also one of events that nothing was sent for."""
        while True:
            left_s = self._sent_s + self._keep_alive_s - time.monotonic()
            try:
                return await self._attempt.events(timeout_s=max(0.0, left_s))
            except TimeoutError:
                await self._send(answer.keep_alive())

    def _complete(self, final: Finished | Failed) -> Finished:
        """The end of an answer that is complete. Raises Refusal for one that broke, or that its neuron gave up."""
        self._meter.saw_end(final)
        if isinstance(final, Failed):
            raise refusal_of(final, self._request)
        if (
            final.reason == "cancelled"
        ):  # by the neuron, that stops or was cut off: what a client cancels is not relayed
            raise unavailable("The neuron that worked on this request gave it up.", retry_after_s=5)
        return final


def refusal_of(failed: Failed, request: DialectRequest) -> Refusal:
    """What a neuron refused or broke on, as the client is told."""
    field = "messages" if failed.code == "context_length_exceeded" else failed.param
    return Refusal(
        failed.message,
        code=failed.code,
        status=failed.status,
        param=request.param(field) if field is not None else None,
        retry_after_s=5 if failed.code == "service_unavailable" else failed.retry_after_s,
        diagnostics=failed.diagnostics,
    )
