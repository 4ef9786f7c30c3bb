"""One batch, one transaction: on an asynchronous connection in pipeline mode, or on Django's own."""

from __future__ import annotations

from collections.abc import Sequence

from django.db import OperationalError, connection, transaction
from psycopg import errors

from accounts.booking import statements
from accounts.booking.decide import decide
from accounts.booking.operations import Answer, Operation
from accounts.booking.session import Session

#: Deadlocks and serialization failures are tried again this often before anybody hears of them.
MOST_TRIES = 3

#: Not unique: a batch was sent again while its first try, whose answer was lost, was still being committed.
PASSING = (errors.DeadlockDetected, errors.SerializationFailure, errors.UniqueViolation)


async def book_on(session: Session, operations: Sequence[Operation], *, again: bool = False) -> list[Answer]:
    """Carry out a batch on a gateway's connection, in two round trips.

    `again`: it was sent before and its outcome is not known; every operation but Refund and Credit may be repeated.
    Raises psycopg.Error; the transaction is then rolled back, or its outcome unknown if the connection broke.
    """
    reads = statements.Reads(operations, again=again)
    try:
        read = reads.read(await session.run("BEGIN", *reads.statements))
        answers, writes = decide(operations, read)
        await session.run(*statements.writes(read, writes), "COMMIT")
    except Exception:
        await session.connection.rollback()
        raise
    return answers


def book(operations: Sequence[Operation]) -> list[Answer]:
    """Carry out a batch on Django's connection: for admin, commands and the reaper.

    A transaction of its own, or part of the one that is open. Raises django.db.Error.
    """
    for tries_left in reversed(range(MOST_TRIES)):
        try:
            return _book_once(operations)
        except OperationalError as fault:
            if not tries_left or not isinstance(fault.__cause__, PASSING) or connection.in_atomic_block:
                raise
    raise AssertionError("the last try raises")


def _book_once(operations: Sequence[Operation]) -> list[Answer]:
    reads = statements.Reads(operations)
    with transaction.atomic(), connection.cursor() as cursor:
        results = []
        for sql, parameters in reads.statements:
            cursor.execute(sql, parameters)
            results.append(cursor.fetchall())
        read = reads.read(results)
        answers, writes = decide(operations, read)
        for sql, parameters in statements.writes(read, writes):
            cursor.execute(sql, parameters)
    return answers
