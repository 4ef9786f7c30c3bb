"""A client whose answer is stored before its last bytes leave."""

from __future__ import annotations

import contextlib
from typing import Any
from uuid import UUID

import msgspec

from inference.dialects.responses.answer import ResponsesAnswer
from inference.dialects.responses.request import ResponsesRequest
from inference.dialects.responses.stored import input_items, response_uuid
from inference.events import Finished
from inference.gateway.attempts import Attempt
from inference.gateway.books import LAST_WORD_LIMIT_S
from inference.gateway.exchange import Exchange
from inference.gateway.recipient import Broken
from inference.gateway.responses.store import NewResponse, ResponseStore
from inference.refusals import Refusal


class Kept:
    """A recipient between the call and the client.

    The call streams to it, also for a client that does not: so there is a response at every moment, whichever way the
    request ends.
    """

    def __init__(self, exchange: Exchange, request: ResponsesRequest, store: ResponseStore, *, account_pk: int) -> None:
        self._answer = request.answer(exchange.request_id, model=request.model, created_s=int(exchange.came_at))
        #: What the call is made with.
        self.request = msgspec.structs.replace(request, stream=True, prepared=self._answer)
        self._exchange = exchange
        self._live = request.stream
        self._store = store
        self._account_pk = account_pk
        self._last: bytes | None = None
        self._saved = False

    # -- as the call sees it -----------------------------------------------------------------------

    @property
    def id(self) -> UUID:
        return self._exchange.id

    @property
    def request_id(self) -> str:
        return self._exchange.request_id

    @property
    def facts(self) -> dict[str, Any]:
        return self._exchange.facts

    @property
    def status(self) -> int | None:
        return self._exchange.status

    @property
    def attempt(self) -> Attempt | None:
        return self._exchange.attempt

    @attempt.setter
    def attempt(self, attempt: Attempt | None) -> None:
        self._exchange.attempt = attempt

    async def answer(self, body: bytes) -> None:
        await self._exchange.answer(body)

    async def open_stream(self, broken: Broken) -> None:
        if self._live:
            await self._exchange.open_stream(lambda refusal: self._last or broken(refusal))

    async def send(self, frames: bytes) -> None:
        if self._live:
            await self._exchange.send(frames)

    async def send_last(self, frames: bytes) -> None:
        self._saved = True
        await self._store.save_in_time(self._row())
        if self._live:
            await self._exchange.send_last(frames)
        else:
            await self._exchange.answer(self._answer.encoded())

    # -- when it does not come to its end ----------------------------------------------------------

    async def fail(self, refusal: Refusal) -> None:
        """The stream is told by whoever catches the refusal; here it becomes what is stored and what is told."""
        if self._live and self._exchange.status is not None and not self._saved:
            self._saved = True
            self._last = self._answer.broken(refusal)
            await self._store.save_in_time(self._row())

    def leave(self) -> None:
        """The client has gone: what was made is kept, with the count that its neuron comes to."""
        attempt = self.attempt
        if attempt is not None and attempt.started and not self._saved:
            self._saved = True
            self._store.spawn(self._keep_what_was_made(attempt))

    async def _keep_what_was_made(self, attempt: Attempt) -> None:
        with contextlib.suppress(TimeoutError):
            await attempt.conclusion(LAST_WORD_LIMIT_S)
        self._answer.give_up(Finished("cancelled", *attempt.usage))
        await self._store.save_in_time(self._row())

    def _row(self) -> NewResponse:
        return new_response(self._answer, self.request, self.id, self._account_pk)


def new_response(
    answer: ResponsesAnswer, request: ResponsesRequest, id_: UUID, account_pk: int, *, gateway: str = ""
) -> NewResponse:
    """The row of a response as it is now. `gateway` is the one that runs it in the background."""
    previous = request.stated["previous_response_id"]
    return NewResponse(
        id=id_,
        account_pk=account_pk,
        previous=response_uuid(previous) if previous else None,
        model=request.model[:200],
        status=answer.status,
        response=answer.encoded(),
        input=input_items(request.input_items, id_.hex),
        created_s=answer.created_s,
        background=request.background,
        continuable=request.store,
        gateway=gateway,
    )
