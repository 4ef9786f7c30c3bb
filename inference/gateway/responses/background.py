"""Responses that run in a gateway with no client: whoever asked may leave, and follow from any gateway later."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import msgspec
import structlog
from redis.exceptions import RedisError

from accounts.principals import Principal
from fleet.reports import NeuronReport
from inference import wire
from inference.dialects.responses.answer import ResponsesAnswer
from inference.dialects.responses.request import ResponsesRequest
from inference.events import Finished
from inference.gateway import route
from inference.gateway.attempts import Attempt
from inference.gateway.call import Call
from inference.gateway.exchange import Exchange
from inference.gateway.recipient import Broken
from inference.gateway.responses.event_log import EventLog
from inference.gateway.responses.kept import new_response
from inference.gateway.responses.store import ResponseStore
from inference.gateway.runtime import Gateway
from inference.refusals import Refusal, unavailable

log = structlog.get_logger(__name__)

#: How long a response waits for a place on a neuron (WIRE_APIS, Background).
PATIENCE_S = 600.0
#: The pauses between two tries: the first, and the longest.
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
DRAIN_LOOK_S = 0.5


class PatientCall(Call):
    """Tries again for as long as it may wait, unless something that was generated is lost."""

    _until_s = 0.0
    _pause_s = FIRST_PAUSE_S

    def be_patient(self) -> None:
        """From now on: until then the client is there to hear that there is no place."""
        self._until_s = time.monotonic() + PATIENCE_S

    def _may_ask_another(self) -> bool:
        spare = wire.MOST_ATTEMPTS - self._attempts > 4  # for counting again
        return spare and time.monotonic() < self._until_s and not self._gateway.draining

    async def _route(self) -> NeuronReport:
        while True:
            try:
                return route.choose(self._gateway, self._request.model, self._avoid)
            except Refusal:
                if not self._may_ask_another():
                    raise
            self._avoid.clear()
            await self._pause()

    async def _pause(self) -> None:
        """Longer each time; a gateway that drains does not wait for it."""
        until_s = time.monotonic() + self._pause_s
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        while time.monotonic() < until_s and not self._gateway.draining:
            await asyncio.sleep(DRAIN_LOOK_S)


class Run:
    """The recipient of a background response: every event is in the log before anybody sees it."""

    def __init__(self, gateway: Gateway, exchange: Exchange, answer: ResponsesAnswer) -> None:
        self.id = exchange.id
        self.request_id = exchange.request_id
        self.status: int | None = None
        self.answer_made = answer
        self.exchange = exchange
        self._store: ResponseStore = gateway.responses
        self._log: EventLog = gateway.event_log
        self._next_number = 0
        self._told_status = "queued"

    @property
    def facts(self) -> dict[str, Any]:
        return self.exchange.facts

    @property
    def attempt(self) -> Attempt | None:
        return self.exchange.attempt

    @attempt.setter
    def attempt(self, attempt: Attempt | None) -> None:
        self.exchange.attempt = attempt

    async def answer(self, body: bytes) -> None:
        raise NotImplementedError("what runs in the background is streamed into its log")

    async def open_stream(self, broken: Broken) -> None:
        self.status = 200

    async def send(self, frames: bytes) -> None:
        if self._told_status != self.answer_made.status:
            self._told_status = self.answer_made.status
            await self._store.update_in_time(self.id, self._told_status, self.answer_made.encoded())
        await self.write(frames)

    async def send_last(self, frames: bytes) -> None:
        """Stored first: whoever reads the end finds the whole."""
        if await self._is_mine_to_end():
            await self.write(frames, end=True)

    async def _is_mine_to_end(self) -> bool:
        """Write down how it ended. Not if it was deleted meanwhile: then its log goes too; or ended by another."""
        if await self._store.update(self.id, self.answer_made.status, self.answer_made.encoded()):
            return True
        with contextlib.suppress(Refusal, RedisError, OSError):
            if not await self._store.is_there(self.id):
                await self._log.drop(self.id)
        return False

    async def write(self, frames: bytes, *, end: bool = False) -> None:
        """Raises Refusal where Redis does not come back."""
        events = [frame + b"\n\n" for frame in frames.split(b"\n\n") if frame and not frame.startswith(b":")]
        try:
            await self._log.append(self.id, self._next_number, events, end=end)
        except (RedisError, OSError) as fault:
            raise unavailable("Redis does not answer, so no event can be kept.", retry_after_s=5) from fault
        self._next_number += len(events)

    # -- the ways it ends without an answer --------------------------------------------------------

    async def fail(self, refusal: Refusal) -> None:
        self.facts["code"] = refusal.code or refusal.status
        frames = self.answer_made.broken(refusal)
        await self._end(frames)

    async def cancel(self) -> None:
        """There is no event for it: the log just ends (WIRE_APIS 3.3)."""
        self.answer_made.cancel(Finished("cancelled", *self.attempt.usage) if self.attempt else None)
        await self._end(b"")

    async def _end(self, frames: bytes) -> None:
        if not await self._is_mine_to_end():
            return
        try:
            await self.write(frames, end=True)
        except Refusal as fault:
            log.warning("log_not_ended", response=self.id.hex, reason=fault.message)


async def begin(
    gateway: Gateway,
    exchange: Exchange,
    principal: Principal,
    request: ResponsesRequest,
    *,
    dialect: str,
    prompt_bytes: int,
) -> bytes:
    """Start a response and return its object, queued. Raises Refusal for all that refuses it plainly."""
    route.require_model(gateway, principal, request.model)
    exchange.facts.update(dialect=dialect, model=request.model, stream=request.stream)
    answer = request.answer(exchange.request_id, model=request.model, created_s=int(exchange.came_at))
    prepared = msgspec.structs.replace(request, stream=True, prepared=answer)
    run = Run(gateway, exchange, answer)
    call = PatientCall(gateway, run, principal, prepared, prompt_bytes=prompt_bytes)
    neuron = await call.begin()
    try:
        frames = b"".join(answer.queued())
        body = answer.encoded()
        row = new_response(answer, request, exchange.id, principal.account_pk, gateway=gateway.id)
        await gateway.responses.insert(row)
        await run.write(frames)
    except BaseException:  # its client has left, or Redis is away: nobody will ever work on it
        call.close()
        gateway.responses.spawn(_take_back(gateway, run))
        raise
    exchange.body = b""
    exchange.goes_on = True
    call.be_patient()
    gateway.enter()
    gateway.runs.start(run.id, _carry_out(gateway, call, run, neuron))
    return body


async def _take_back(gateway: Gateway, run: Run) -> None:
    await gateway.responses.remove(run.id)
    with contextlib.suppress(RedisError, OSError):
        await gateway.event_log.drop(run.id)


async def _carry_out(gateway: Gateway, call: Call, run: Run, neuron: NeuronReport) -> None:
    try:
        await call.run_metered(neuron)
    except Refusal as refusal:
        await run.fail(refusal)
    except asyncio.CancelledError:
        if gateway.runs.is_cancelled(run.id):
            await run.cancel()
        else:
            await run.fail(unavailable("The gateway that ran this response stopped."))
    except Exception:
        log.exception("background_fault", response=run.id.hex)
        await run.fail(Refusal("Something went wrong here; the error was logged under this request's id."))
    finally:
        gateway.leave()
        gateway.records.add(run.exchange)
