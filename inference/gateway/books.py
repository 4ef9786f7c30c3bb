"""A request's money: what it may use, reserved before any neuron sees it, and closed exactly once whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from psycopg import AsyncConnection

from accounts.booking.loop import BookingLoop, BooksAwayError
from accounts.booking.operations import (
    Answer,
    Closed,
    Correct,
    Extend,
    Granted,
    KeyNotValid,
    Need,
    NoPrice,
    NotOpen,
    OverCap,
    Release,
    Reserve,
    Settle,
    TokensLeft,
)
from accounts.money import Counts, Prices
from accounts.principals import Principal
from inference.gateway import metrics
from inference.gateway.attempts import Attempt, Attempts
from inference.gateway.caps import CapReached
from inference.gateway.principals import wrong_key
from inference.gateway.relay import Relay
from inference.refusals import Refusal, unavailable

log = structlog.get_logger(__name__)

_OPEN = """
SELECT id, budget_ids FROM accounts_reservation
WHERE state = 'open' AND gateway = %s AND created_at < clock_timestamp() - interval '15 seconds'
"""

#: How long a cancelled request may take to say its last word before its attempt is fenced.
LAST_WORD_LIMIT_S = 10.0
#: How long the end of an answer waits for its settle; after that it leaves, and is settled when PostgreSQL answers.
SETTLE_LIMIT_S = 2.0
#: How long a gateway that stops waits for what its clients left behind.
STOP_LIMIT_S = 12.0


@dataclass(slots=True)
class Hold:
    """An open reservation. `wanted` is the output bound per sequence before anything shrank it, `bound` what it is."""

    id: UUID
    principal: Principal
    model: str
    wanted: int
    stated: bool
    sequences: int
    granted: int
    bound: int
    budget_ids: tuple[int, ...]
    left: TokensLeft | None = None
    closing: bool = False

    def take(self, granted: Granted) -> None:
        self.granted = granted.granted
        self.bound = granted.completion_tokens // self.sequences
        self.budget_ids = granted.budget_ids
        self.left = granted.left


class Books:
    """What the gateway's requests ask of its booking loop, and what happens to requests nobody waits for any more."""

    def __init__(self, database_url: str, *, gateway_id: str, attempts: Attempts, relay: Relay) -> None:
        self.loop = BookingLoop(database_url)
        self._gateway_id = gateway_id
        self._attempts = attempts
        self._relay = relay
        self._conclusions: set[asyncio.Task[None]] = set()
        #: Reservations that this gateway made and has not seen closed.
        self.open: dict[UUID, Hold] = {}

    def start(self) -> None:
        self.loop.start()

    async def stop(self) -> None:
        if self._conclusions:
            await asyncio.wait(self._conclusions, timeout=STOP_LIMIT_S)
        for task in self._conclusions:
            task.cancel()
        await self.loop.stop()

    async def reserve(
        self,
        reservation_id: UUID,
        principal: Principal,
        *,
        model: str,
        node: str,
        prompt_estimate: int,
        bound: int,
        stated: bool,
        sequences: int,
        prices: Prices | None,
    ) -> Hold:
        """Reserve for a request. Raises Refusal: 401, 429, or 503 where the books do not answer."""
        need = Need(prompt_estimate, bound * sequences, sequences, stated)
        answer = await self._ask(
            Reserve(
                reservation_id,
                principal.account_pk,
                principal.key_pk,
                self._gateway_id,
                model,
                node,
                need,
                prices,
            )
        )
        granted = _granted(answer)
        hold = Hold(reservation_id, principal, model, bound, stated, sequences, 0, 0, ())
        hold.take(granted)
        self.open[reservation_id] = hold
        return hold

    async def extend(self, hold: Hold, *, prompt_tokens: int, bound: int) -> None:
        """Make the reservation what the neuron counted: `bound` is what the context leaves a sequence."""
        wanted = bound if hold.stated else max(1, min(hold.wanted, bound if bound < hold.bound else hold.wanted))
        need = Need(prompt_tokens, wanted * hold.sequences, hold.sequences, hold.stated)
        hold.take(_granted(await self._ask(Extend(hold.id, need, hold.budget_ids))))

    async def _ask(self, operation: Reserve | Extend) -> Answer:
        try:
            return await self.loop.reserve(operation)
        except BooksAwayError:
            raise unavailable("PostgreSQL does not answer, so no budget can be reserved.", retry_after_s=5) from None

    # -- closing ---------------------------------------------------------------------------------

    def release(self, hold: Hold) -> None:
        """Close a reservation of which nothing was used."""
        if not hold.closing:
            hold.closing = True
            self.loop.close(Release(hold.id, hold.budget_ids)).add_done_callback(lambda _: self.open.pop(hold.id, None))

    async def settle_in_time(self, hold: Hold, attempt: Attempt) -> None:
        """Settle an attempt that is over, before its last bytes leave if the database is quick."""
        await asyncio.wait([self.settle(hold, attempt)], timeout=SETTLE_LIMIT_S)

    def settle(self, hold: Hold, attempt: Attempt) -> asyncio.Future[Answer]:
        """Close the reservation with what its attempt used. Called once, when the attempt is over."""
        assert attempt.over, "only what is over can be counted"
        assert not hold.closing, "a reservation is closed once"
        hold.closing = True
        counts = Counts(*attempt.usage)
        if not counts.tokens or (attempt.estimated and not counts.completion_tokens):
            closing = self.loop.close(Release(hold.id, hold.budget_ids))
        else:
            closing = self.loop.close(
                Settle(hold.id, counts, hold.budget_ids, attempt.neuron.name, estimated=attempt.estimated)
            )
        closing.add_done_callback(lambda done: self._closed(hold, attempt, counts, done))
        return closing

    def _closed(self, hold: Hold, attempt: Attempt, counts: Counts, done: asyncio.Future[Answer]) -> None:
        if done.cancelled() or done.exception() is not None:
            return  # logged by the loop: it stays open, is not swept away, and the audit tells
        self.open.pop(hold.id, None)
        self._attempts.close(attempt)
        answer = done.result()
        if isinstance(answer, NotOpen):
            self._put_right(hold, attempt, counts)
        elif isinstance(answer, Closed):
            _count_spend(hold, counts, answer)
        if attempt.started and not attempt.estimated:
            self._relay.settled(attempt)

    def _put_right(self, hold: Hold, attempt: Attempt, counts: Counts) -> None:
        """Somebody settled it from what was published, thinking this gateway dead. Now the true count is here."""
        if not attempt.estimated:
            log.warning("settled_by_another", reservation=str(hold.id), tokens=counts.tokens)
            self.loop.close(Correct(hold.id, counts, hold.budget_ids))

    def conclude(self, hold: Hold, attempt: Attempt) -> None:
        """See to a request that nobody waits for any more: its neuron is cancelled, its last word awaited, then billed.

        Returns at once; safe to call while being cancelled oneself.
        """
        if attempt.over:
            self.settle(hold, attempt)
            return
        task = asyncio.create_task(self._conclude(hold, attempt), name=f"conclude {attempt.id}")
        self._conclusions.add(task)
        task.add_done_callback(self._conclusions.discard)

    async def _conclude(self, hold: Hold, attempt: Attempt) -> None:
        self._relay.cancel(attempt)
        with contextlib.suppress(TimeoutError):
            await attempt.conclusion(LAST_WORD_LIMIT_S)
        if not attempt.over:
            self._relay.fence(attempt)
            await attempt.closing()
        await self.settle(hold, attempt)

    async def sweep(self, connection: AsyncConnection[Any]) -> None:
        """Release what is open in this gateway's name and unknown to it.

        Left by a reserve whose connection broke, and that the server committed after its release had been sent.
        """
        cursor = await connection.execute(_OPEN, [self._gateway_id])
        for reservation_id, budget_ids in await cursor.fetchall():
            if reservation_id not in self.open:
                log.warning("forgotten_reservation_released", reservation=str(reservation_id))
                self.loop.close(Release(reservation_id, tuple(budget_ids)))


def _count_spend(hold: Hold, counts: Counts, answer: Closed) -> None:
    if answer.entry_id is not None:
        labels = (hold.principal.account, hold.principal.key_id)
        metrics.spend_tokens.labels(*labels).inc(counts.tokens)
        metrics.spend_prompt_tokens.labels(*labels).inc(counts.prompt_tokens)
        metrics.spend_completion_tokens.labels(*labels).inc(counts.completion_tokens)
    if answer.overrun_tokens:
        metrics.overrun_tokens.inc(answer.overrun_tokens)
        log.critical("grant_overrun", reservation=str(hold.id), tokens=answer.overrun_tokens)


def _granted(answer: Answer) -> Granted:
    """The grant, or the Refusal that says why there is none."""
    if isinstance(answer, Granted):
        return answer
    if isinstance(answer, KeyNotValid):
        raise wrong_key()
    if isinstance(answer, OverCap):
        raise CapReached(answer)
    if isinstance(answer, NoPrice):
        raise Refusal(
            f"The model `{answer.model}` has no price, and this key or its account has a cap in US dollars: "
            "an operator must set a price first.",
            code="insufficient_quota",
            param="model",
            final=True,
        )
    assert isinstance(answer, NotOpen), answer
    raise unavailable("The reservation of this request was closed meanwhile.", retry_after_s=2)
