"""A gateway's booking loop: what arrives while a batch is under way goes together in the next one (DESIGN 4)."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence

import structlog
from psycopg import AsyncConnection, Error, InterfaceError, OperationalError, errors

from accounts.booking.operations import Answer, Extend, Granted, Operation, Release, Reserve
from accounts.booking.session import Session
from accounts.booking.transaction import MOST_TRIES, PASSING, book_on

log = structlog.get_logger(__name__)

#: Operations in one batch.
MOST_PER_BATCH = 64
#: A reserve that is not committed after this is answered 503, and released should it be committed later.
RESERVE_LIMIT_S = 2.8
#: A batch that takes longer counts as an outage: its connection is given up.
BATCH_LIMIT_S = 4.0
RECONNECT_PERIOD_S = 0.2

#: A gateway that stops while it holds locks must not stop the others. Statements are planned once and not for each
#: batch: with arrays for parameters PostgreSQL would think every time that it could do better, a tenth of a batch.
_OPTIONS = "-c idle_in_transaction_session_timeout=2000 -c lock_timeout=2500 -c plan_cache_mode=force_generic_plan"

#: Says nothing about what was asked: the connection or the whole database is of no use now. psycopg does not count the
#: end of a transaction that idled (of a gateway that was stopped) and a database that went read-only among the first.
OUTAGE = (
    OperationalError,
    InterfaceError,
    errors.IdleInTransactionSessionTimeout,
    errors.ReadOnlySqlTransaction,
    TimeoutError,
    OSError,
)


class BooksAwayError(Exception):
    """The database did not answer in time: money fails closed."""


class _Waiting:
    """One operation, and who waits for its answer.

    `sent` once it may have been committed; `abandoned` once nobody waits, while it is under way.
    """

    __slots__ = ("abandoned", "answer", "operation", "sent")

    def __init__(self, operation: Operation) -> None:
        self.operation = operation
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.sent = False
        self.abandoned = False


class BookingLoop:
    """One connection, one batch at a time. `start` and `stop` belong to the gateway's event loop."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._queue: deque[_Waiting] = deque()
        self._under_way: dict[_Waiting, None] = {}  # in the order in which they came
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._session: Session | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="booking")

    async def stop(self, *, patience_s: float = 5.0) -> None:
        """Finish what is queued if the database answers, then close. What stays open others will settle."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while self.pending:
                    await asyncio.sleep(0.01)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._disconnect()

    @property
    def pending(self) -> int:
        """Operations that are not answered yet."""
        return len(self._queue) + len(self._under_way)

    async def reserve(self, operation: Reserve | Extend) -> Answer:
        """The answer, within RESERVE_LIMIT_S. Raises BooksAwayError; what was granted nevertheless is then released.

        Released too if the caller is cancelled: nobody would settle it.
        """
        waiting = self._put(operation)
        try:
            async with asyncio.timeout(RESERVE_LIMIT_S):
                return await asyncio.shield(waiting.answer)
        except TimeoutError:
            self._abandon(waiting)
            raise BooksAwayError from None
        except asyncio.CancelledError:
            self._abandon(waiting)
            raise

    def close(self, operation: Operation) -> asyncio.Future[Answer]:
        """Queue a settle or release. It is sent until it is answered, whatever happens to the database meanwhile."""
        return self._put(operation).answer

    def _put(self, operation: Operation) -> _Waiting:
        waiting = _Waiting(operation)
        self._queue.append(waiting)
        self._wake.set()
        return waiting

    def _abandon(self, waiting: _Waiting) -> None:
        """Nobody waits any more. What is under way is released when its outcome is known, the rest right away.

        Never both in one batch: a batch closes reservations before it makes any.
        """
        if waiting in self._under_way:
            waiting.abandoned = True
        elif waiting in self._queue:
            self._queue.remove(waiting)
            if waiting.sent:
                self._release(waiting)
        elif waiting.answer.done() and not waiting.answer.exception():
            self._release(waiting)  # it was granted in the same moment

    def _release(self, waiting: _Waiting) -> None:
        operation = waiting.operation
        if isinstance(operation, Reserve):
            self.close(Release(operation.id, account_id=operation.account_id, key_id=operation.key_id))

    # -- the loop --------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), MOST_PER_BATCH))]
                self._under_way.update(dict.fromkeys(batch))
                try:
                    await self._book(batch)
                except OUTAGE as fault:
                    await self._outage(fault)

    async def _book(self, batch: list[_Waiting]) -> None:
        """Book a batch and answer it: by halves where it holds something that cannot be booked.

        Raises what an outage raises; the batch, or what is left of it, is then still under way.
        """
        try:
            answers = await self._try(batch)
        except OUTAGE:
            raise
        except Exception as fault:
            if len(batch) > 1:  # one bad operation must not fail its neighbours
                await self._book(batch[: len(batch) // 2])
                await self._book(batch[len(batch) // 2 :])
                return
            log.exception("operation_failed", operation=repr(batch[0].operation))
            self._fail(batch[0], fault)
            return
        for waiting, answer in zip(batch, answers, strict=True):
            self._answer(waiting, answer)

    async def _try(self, batch: Sequence[_Waiting]) -> list[Answer]:
        operations = [waiting.operation for waiting in batch]
        for tries_left in reversed(range(MOST_TRIES)):
            again = any(waiting.sent for waiting in batch)
            try:
                async with asyncio.timeout(BATCH_LIMIT_S):
                    session = await self._connected()
                    for waiting in batch:
                        waiting.sent = True
                    return await book_on(session, operations, again=again)
            except PASSING:
                if not tries_left:
                    raise
        raise AssertionError("the last try raises")

    def _answer(self, waiting: _Waiting, answer: Answer) -> None:
        self._under_way.pop(waiting, None)
        if waiting.abandoned and isinstance(answer, Granted):
            self._release(waiting)
        if not waiting.answer.done():
            waiting.answer.set_result(answer)

    def _fail(self, waiting: _Waiting, fault: Exception) -> None:
        self._under_way.pop(waiting, None)
        if not waiting.answer.done():
            waiting.answer.set_exception(fault)
            waiting.answer.exception()  # marks it as seen: nobody may be waiting, and it was logged

    async def _outage(self, fault: Exception) -> None:
        """The connection is of no use. What somebody waits for goes back to the front, in its order."""
        log.warning("books_away", operations=self.pending, reason=str(fault))
        await self._disconnect()
        unanswered = [waiting for waiting in self._under_way if not waiting.abandoned]
        abandoned = [waiting for waiting in self._under_way if waiting.abandoned]
        self._under_way.clear()
        self._queue.extendleft(reversed(unanswered))
        for waiting in abandoned:
            self._release(waiting)
        self._wake.set()
        await asyncio.sleep(RECONNECT_PERIOD_S)

    async def _connected(self) -> Session:
        if self._session is None or self._session.connection.closed:
            connection = await AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=2, tcp_user_timeout=4000, options=_OPTIONS
            )
            self._session = Session(connection)
        return self._session

    async def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(Error, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await session.connection.close()
